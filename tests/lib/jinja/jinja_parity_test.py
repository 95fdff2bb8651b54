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


def differing_visits(cases, watched):
    """Compares with the marks that Jinja2 itself sets: (compared, those with text, the templates that differ)."""
    compared, with_text, differing = 0, 0, []
    for (template, variables), answer in zip(cases, jinja_reference.ours(cases, watched), strict=True):
        if "error" in answer:
            continue
        want = jinja_visits.visits(template, variables, watched)
        got = [[i, *(g if w is not None else None for g, w in zip((begin, end), wanted[1:]))]
               for (i, begin, end), wanted in zip(answer["visits"], want)]
        compared += 1
        with_text += any(end is not None and begin < end for _, begin, end in want)
        if got != want or len(answer["visits"]) != len(want):
            differing.append((template[-400:], answer["visits"], want))
    return compared, with_text, differing


def test_visits(seed):
    """Which part of the text came from which message."""
    conversations = jinja_conversations.Conversations(seed + 1)
    cases = [(path.read_text(), conversations.variables()) for path in TEMPLATES for _ in range(10 * TIMES)]
    compared, with_text, differing = differing_visits(cases, "messages")
    assert differing == [] and compared > 300 and with_text > compared / 2


def test_visits_of_random_templates(seed):
    """Among them loops in macros and in other captured output, which are not recorded."""
    templates, cases = jinja_random.Templates(seed + 2), []
    while len(cases) < 300 * TIMES:
        if "in m " in (template := templates.template().replace(" in l ", " in m ")):
            cases.append((template, jinja_random.VARIABLES))
    compared, with_text, differing = differing_visits(cases, "m")
    assert differing == [] and compared > 60 and with_text > 5


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
