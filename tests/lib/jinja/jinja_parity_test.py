"""Templates rendered exactly as transformers renders them: text, spans of generation blocks, and what is an error."""
import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import jinja_cases  # noqa: E402
import jinja_reference  # noqa: E402


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
