"""Templates rendered exactly as transformers renders them: text, spans of generation blocks, and what is an error.

FTD_JINJA_CASES multiplies the random ones; FTD_TEST_SEED repeats a run.
"""
import os
import pathlib
import random
import re
import sys
import unicodedata

import pytest
import trl

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import jinja_cases  # noqa: E402
import jinja_conversations  # noqa: E402
import jinja_random  # noqa: E402
import jinja_reference  # noqa: E402
import jinja_visits  # noqa: E402

TEMPLATES = sorted((pathlib.Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
TIMES = int(os.environ.get("FTD_JINJA_CASES", 1))
pytestmark = pytest.mark.filterwarnings("ignore:invalid .*escape sequence", "ignore::SyntaxWarning")


@pytest.fixture(scope="module")
def seed():
    value = int(os.environ.get("FTD_TEST_SEED", random.randrange(2**32)))
    print("FTD_TEST_SEED =", value)
    return value


def test_one_thing_each():
    cases = list(jinja_cases.all_cases())
    assert len(cases) > 2000
    assert jinja_reference.problems(cases) == []


@pytest.mark.parametrize("table,at_parse", [(jinja_cases.REFUSED_AT_PARSE, True), (jinja_cases.REFUSED_AT_RENDERING, False)])
def test_what_is_refused(table, at_parse):
    """By name and with its place, never rendered otherwise: transformers renders all of these."""
    answers = jinja_reference.ours([(template, jinja_cases.VARIABLES) for template, _ in table])
    for (template, word), answer in zip(table, answers, strict=True):
        assert "text" in jinja_reference.theirs(template, jinja_cases.VARIABLES), template
        assert word in answer.get("error", ""), (template, answer)
        assert answer["parse"] == at_parse and re.match(r"line 1, column \d+: ", answer["error"]), (template, answer)


def test_random_templates(seed):
    templates = jinja_random.Templates(seed)
    cases = [(templates.template(), jinja_random.VARIABLES) for _ in range(1000 * TIMES)]
    assert jinja_reference.problems(cases) == []


def test_templates_of_the_field(seed):
    """Every template of trl over 200 conversations."""
    assert len(TEMPLATES) > 60
    for path in TEMPLATES:
        conversations = jinja_conversations.Conversations(seed)
        cases = [(path.read_text(), conversations.variables()) for _ in range(200 * TIMES)]
        assert jinja_reference.problems(cases) == [], path.name


def test_visits(seed):
    """Which part of the text came from which message, against marks that Jinja2 itself sets."""
    compared = found = 0
    for path in TEMPLATES:
        template, conversations = path.read_text(), jinja_conversations.Conversations(seed + 1)
        cases = [(template, conversations.variables()) for _ in range(10 * TIMES)]
        for (_, variables), answer in zip(cases, jinja_reference.ours(cases, "messages"), strict=True):
            if "error" in answer:
                continue
            want = jinja_visits.visits(template, variables, "messages")
            got = [[i, *(g if w is not None else None for g, w in zip((begin, end), wanted[1:]))]
                   for (i, begin, end), wanted in zip(answer["visits"], want)]
            assert got == want and len(answer["visits"]) == len(want), (path.name, variables["messages"])
            compared += 1
            found += any(end is not None and begin < end for _, begin, end in want)
    assert compared > 300 and found > compared / 2


CHARACTERS = "{% for c in t %}{{ c.upper() }},{{ c.lower() }},{{ c.title() }},{{ c.swapcase() }},{{ c.capitalize() }},{{ [c] }},{{ c.isalpha() }}{{ c.isdigit() }}{{ c.isdecimal() }}{{ c.isnumeric() }}{{ c.isspace() }}{{ c.isupper() }}{{ c.islower() }}{{ c.istitle() }}{{ c.isprintable() }}{{ c.isalnum() }};{% endfor %}"


def test_every_character():
    """The methods of str on each code point of Python's Unicode, which is older than utf8proc's."""
    points = [chr(p) for p in range(0x110000) if not 0xD800 <= p < 0xE000 and unicodedata.category(chr(p)) != "Cn"]
    texts = ["".join(points[i:i + 2000]) for i in range(0, len(points), 2000)]
    want = ["".join(f"{c.upper()},{c.lower()},{c.title()},{c.swapcase()},{c.capitalize()},{[c]},{c.isalpha()}{c.isdigit()}{c.isdecimal()}{c.isnumeric()}"
                    f"{c.isspace()}{c.isupper()}{c.islower()}{c.istitle()}{c.isprintable()}{c.isalnum()};" for c in text) for text in texts]
    got = jinja_reference.ours([(CHARACTERS, {"t": text}) for text in texts])
    assert [(w, g) for wanted, answer in zip(want, got, strict=True) if answer["text"] != wanted
            for w, g in zip(wanted.split(";"), answer["text"].split(";")) if w != g][:10] == []
