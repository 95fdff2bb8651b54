"""The bugs that the chaos harness has to find are edits of the sources as they are."""
import importlib.util

import pytest
import tree


def planted():
    spec = importlib.util.spec_from_file_location("planted", tree.ROOT / "tests" / "chaos" / "planted.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BUGS = planted().BUGS


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_can_be_planted(name):
    bug = BUGS[name]
    assert (tree.ROOT / bug.file).read_text().count(bug.old) == 1 and bug.old != bug.new


def test_there_are_enough():
    assert len(BUGS) >= 8
