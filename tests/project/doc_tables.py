"""Tables of docs/ that are made from tables of the code. `./dev docs` writes them; docs_test.py compares.

A document holds such a table between `<!-- table NAME -->` and `<!-- end of table -->`.
"""
import json
import pathlib
import re
import subprocess
import sys

from tree import ROOT

MARKED = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end of table -->)", re.S)
DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))


def tables(build_dir):
    """Markdown by name, as the program doc_tables prints it."""
    done = subprocess.run([pathlib.Path(build_dir) / "tests" / "doc_tables"], check=True, capture_output=True, text=True,
                          timeout=60)
    return json.loads(done.stdout)


def with_tables(text, made):
    """A document's text with each marked table replaced."""
    return MARKED.sub(lambda match: match[1] + made[match[2]] + match[3], text)


if __name__ == "__main__":
    made = tables(sys.argv[1])
    for path in DOCUMENTS:
        path.write_text(with_tables(path.read_text(), made))
