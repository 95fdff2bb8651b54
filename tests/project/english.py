#!/usr/bin/env python3
"""Counts turns of phrase that no native technical writer uses: in documents, strings and comments.

    english.py [FILE…]      a line for each match, and a count for each file; all files unless some are named

A document counts whole, a C++ source by its string literals and its comments of whole lines, a .proto file by its comments. Ends
with 1 if there is a match.
"""
import re
import sys

import tree

# pattern → what to write
HABITS = {
    r"\bmend(s|ed|ing)?\b": "fix; as a key of JSON: remedy",
    r"\b(tell|tells|told|telling)\s+of\b": "report, describe, name",
    r"(?<!there\s)\bis\s+no\s(?!(longer|more|less|fewer|better|worse|later|earlier|different)\b)": "is not a",
    r"\b(go|goes|went|gone|going)\s+on\b(?!\s+to\b)": "continue, resume, proceed",
    r"\bbehind\s+the\b": "after the",
    r"\bfor\s+ever\b": "forever",
    r"\banew\b": "again",
}
HABIT = re.compile("|".join(f"(?:{pattern})" for pattern in HABITS), re.IGNORECASE)
TOKEN = re.compile(r"""
    (?P<comment> //[^\n]* | /\*.*?\*/ )
  | (?P<raw> R"(?P<mark>\w*)\( .*? \)(?P=mark)" )
  | (?P<include> \#[ ]*include[^\n]* )
  | (?P<string> "(?:\\.|[^"\\\n])*" )
  | (?<![0-9A-Za-z_])'(?:\\.|[^'\\\n])+'
""", re.VERBOSE | re.DOTALL)


def kept(source, kind):
    """`source` with all but its tokens of a kind blotted out, each character in its place.

    Space stays space, so that a phrase is found across lines and across adjacent literals; all else becomes NUL, so that none is
    found across two arguments.
    """
    out = list(re.sub(r"\S", "\0", source))
    for token in TOKEN.finditer(source):
        if token.lastgroup != kind and not (kind == "string" and token.lastgroup in ("raw", "mark")):
            continue
        text = token[0].lstrip("/") if kind == "comment" else token[0].strip('"')
        start = token.start() + token[0].index(text)
        out[token.start():token.end()] = " " * (token.end() - token.start())
        out[start:start + len(text)] = text
    return "".join(out).replace("\\n", "  ")


def whole_lines(comments):
    """`comments`, as `kept` leaves them, without those that share their line with code."""
    return re.sub(r"^.*\0.*$", "\0", comments, flags=re.MULTILINE)


def matches(name, source):
    """(line, phrase) for each match in what users read of a file."""
    texts = [source]
    if name.endswith((".cc", ".h", ".cu")):
        texts = [kept(source, "string"), whole_lines(kept(source, "comment"))]
    elif name.endswith(".proto"):
        texts = [kept(source, "comment")]
    return [(text.count("\n", 0, match.start()) + 1, " ".join(match[0].split())) for text in texts for match in HABIT.finditer(text)]


def read_by_users():
    """README and its like, docs/, the programs' sources, the API, the `dev` script."""
    return [name for name in tree.files() if name == "dev" or name.endswith(".md") or name.startswith("proto/ftd/")
            or (name.startswith(("lib/", "server/", "client/", "worker/")) and name.endswith((".cc", ".h", ".cu")))]


def main(names):
    total = 0
    for name in names or read_by_users():
        found = matches(name, tree.text(name))
        for line, phrase in found:
            print(f"{name}:{line}: {phrase}")
        if found:
            print(f"{len(found):4} {name}")
        total += len(found)
    print(f"{total:4} in all")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
