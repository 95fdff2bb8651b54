"""Documents, strings and comments are plain English: no turn of phrase of english.py."""
import english
import pytest
import tree


# `python tests/project/english.py FILE` shows where one has such a turn.
@pytest.mark.parametrize("name", english.read_by_users())
def test_plain_english(name):
    assert english.matches(name, tree.text(name)) == []


def test_all_that_users_read_is_looked_at():
    names = english.read_by_users()
    for part in ("dev", "proto/ftd/v1/job.proto", "lib/spec/judge.cc", "server/main.cc",
                 "client/main.cc", "worker/main.cc"):
        assert part in names, part


@pytest.mark.parametrize("name,source,line", [
    ("a.md", "Fix it.\nMended, it runs.", 2),
    ("a.md", "The training goes\non.", 1),
    ("a.md", "It tells of a step.", 1),
    ("a.md", "The file is no\nfile of ours.", 1),
    ("a.md", "Behind the last step", 1),
    ("a.md", "It would wait for ever.", 1),
    ("a.cc", 'int x;\nSay("/x is "\n    "no file");', 2),
    ("a.cc", 'Json{{"mend", hint}};', 1),
    ("a.cc", 'const char kHelp[] = R"(\n  it goes on)";', 2),
    ("a.proto", "// What\n// goes\n// on.\nmessage A {}", 2),
    ("a.cc", "int x;\n  // It goes\n  // on.\n", 2),
    ("a.h", "// Behind the last step.\nint x;", 1),
])
def test_a_habit_is_seen(name, source, line):
    assert [found for found, _ in english.matches(name, source)] == [line]


@pytest.mark.parametrize("name,source", [
    ("a.md", "There is no file. It is no longer there, and is no more than 3 bytes. It goes on to the next. A recommendation."),
    ("a.cc", '#include "mend.h"\nint mend = \'"\';  // goes on'),
    ("a.cc", "// It goes\nint x;\n// on.\n"),
    ("a.cc", 'Say("what it is", "no name");'),
    ("a.proto", "string mend = 1;  // the remedy"),
])
def test_plain_text_passes(name, source):
    assert english.matches(name, source) == []
