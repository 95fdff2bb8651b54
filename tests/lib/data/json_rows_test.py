"""Rows of JSON files as Python's json reads them: random values, spelled in all the ways that JSON allows."""
import json
import random

import pytest
from row_cells import cells_of

TEXTS = ["", "a", "é", "漢字", "🙂", "\0", "\x1f", "\x7f", "\u2028", "\ufeff", '"', "\\", "\\u0041", "/", "\b\f\n\r\t", "{[,:]}", "NaN"]
NUMBERS = ["0", "-1", "9223372036854775807", "18446744073709551615", "18446744073709551616", "-9223372036854775809", "9" * 40,
           "0.0", "-0.0", "1.50", "1e3", "1E+2", "-2.5e-3", "0.1", "0.5", "5e-324", "1.7976931348623157e308"]
NOT_NUMBERS = ["NaN", "Infinity", "-Infinity"]


class Spelling(str):
    """A number as the file has it."""


class NotANumber:
    pass


class Members(list):
    """An object's members, doubles among them."""


def compact(value):
    """`value` as JSON without blanks; a number keeps its spelling."""
    if isinstance(value, Members):
        return "{" + ",".join(f"{compact(key)}:{compact(member)}" for key, member in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(compact, value)) + "]"
    return value if isinstance(value, Spelling) else json.dumps(value, ensure_ascii=False)


def holds_one(value):
    return isinstance(value, NotANumber) or isinstance(value, (list, tuple)) and any(map(holds_one, value))


def cell(value, keep):
    if isinstance(value, list):
        return ("other", "") if holds_one(value) else ("nested", compact(value) if keep else "")
    if isinstance(value, Spelling):
        fits = not any(c in value for c in ".eE") and -2**63 <= int(value) < 2**64
        return ("integer", value) if fits else ("other", "")
    if isinstance(value, str):
        return ("text", value)
    return ("null", "") if value is None else ("other", "")


class Speller:
    def __init__(self, rng, not_numbers):
        self.rng = rng
        self.numbers = NUMBERS + NOT_NUMBERS * not_numbers

    def blank(self):
        return self.rng.choice(["", "", " ", "\t", " \r "])

    def text(self):
        spelled = json.dumps("".join(self.rng.choices(TEXTS, k=self.rng.randrange(4))), ensure_ascii=self.rng.random() < 0.5)
        return spelled.replace("/", self.rng.choice(["/", r"\/", r"\u002F"]))

    def value(self, depth):
        kind = self.rng.randrange(8 if depth else 6)
        if kind < 2:
            return self.text()
        if kind < 5:
            return self.rng.choice(self.numbers)
        if kind == 5:
            return self.rng.choice(["null", "true", "false"])
        items = [self.blank() + (self.value(depth - 1) if kind == 6 else self.member(self.text(), depth - 1)) + self.blank()
                 for _ in range(self.rng.randrange(5))]
        opening, closing = "[]" if kind == 6 else "{}"
        return opening + (",".join(items) or self.blank()) + closing

    def member(self, name, depth):
        return f"{name}{self.blank()}:{self.blank()}{self.value(depth)}"

    def row(self):
        names = [json.dumps(name) for name in self.rng.choices(["messages", "tools", "other", "é"], k=self.rng.randrange(1, 6))]
        return "{" + ",".join(self.member(name, 5) for name in names) + "}"


@pytest.mark.parametrize("seed", range(6))
def test_random_rows(tmp_path, seed):
    speller = Speller(random.Random(seed), not_numbers=seed % 2)
    lines = [speller.row() for _ in range(1000)]
    keep = ["messages", "tools"]
    rows = [json.loads(line, object_pairs_hook=Members, parse_float=Spelling, parse_int=Spelling,
                       parse_constant=lambda _: NotANumber()) for line in lines]
    expected = [[cell(value, name in keep) for name, value in row] for row in rows]
    for name, text in {"a.jsonl": "\n".join(lines), "a.json": "[" + ",\n".join(lines) + "]"}.items():
        path = tmp_path / name
        path.write_text(text, encoding="utf-8", newline="")
        for line, found, wanted in zip(lines, cells_of(path, *keep), expected, strict=True):
            assert found == wanted, (seed, name, line)
    kinds = [kind for row in expected for kind, _ in row]
    assert min(map(kinds.count, ["null", "text", "integer", "nested", "other"])) > 20
