#!/usr/bin/env python3
"""Writes unicode_tables.cc: where Hugging Face's `tokenizers` and our libraries know different Unicode versions.

Asks `tokenizers` itself about every code point and compares with Unicode 14 (PCRE2 10.42's version, and that of
Python 3.11's unicodedata) and with utf8proc. Run it with a Python 3.11 that has `tokenizers`, and commit the result:

    python lib/tokenizer/regex/make_unicode_tables.py > lib/tokenizer/regex/unicode_tables.cc
"""
import ctypes
import ctypes.util
import unicodedata

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

CATEGORIES = ("Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co Cn").split()
POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
TEXT = "".join(map(chr, POINTS))


def members(prop):
    """The code points that Oniguruma gives a property."""
    kept = bytearray(len(TEXT))
    for _, (begin, end) in pre_tokenizers.Split(Regex(r"\p{%s}" % prop), "removed").pre_tokenize_str(TEXT):
        kept[begin:end] = b"\1" * (end - begin)
    return {POINTS[i] for i in range(len(TEXT)) if not kept[i]}


def oniguruma_categories():
    return {point: name for name in CATEGORIES for point in members(name)}


def width(point):
    return len(chr(point).encode())


def proxies(category):
    """(point, proxy): the proxy has the category that Oniguruma gives to point, the same length in UTF-8, and it is
    Han where the point is: \\p{Han} is the one script that patterns of tokenizers name."""
    han = members("Han")

    def kind(point):
        return category[point], width(point), point in han

    known = [point for point in POINTS if category[point] == unicodedata.category(chr(point))]
    same = {}
    for point in sorted(known, key=lambda p: chr(p).lower() != chr(p).upper()):  # rather one without case
        same.setdefault(kind(point), point)
    for point in set(POINTS) - set(known):
        yield point, same[kind(point)]
    yield 0x180E, 0x200B  # PCRE2's \s still has the Mongolian vowel separator


def numeric():
    """What the Digits pre-tokenizer isolates."""
    pieces = pre_tokenizers.Digits(individual_digits=True).pre_tokenize_str("a" + "aa".join(TEXT) + "a")
    return sorted({ord(text) for text, _ in pieces if len(text) == 1 and text != "a"})


def words():
    """What is part of a word to added tokens that are to stand alone: \\w of Rust's regex crate."""
    tokenizer = Tokenizer(models.BPE(vocab={"?": 0}, merges=[]))
    tokenizer.add_tokens([AddedToken("x", single_word=True, normalized=False)])
    found = tokenizer.encode(" ".join(chr(point) + "x" for point in POINTS))
    alone = {(begin // 3) for token, (begin, _) in zip(found.tokens, found.offsets) if token == "x"}
    return [point for i, point in enumerate(POINTS) if i not in alone]


def inert_marks():
    """Code points that utf8proc reorders, decomposes or composes, and `tokenizers` does not know."""
    library = ctypes.CDLL(ctypes.util.find_library("utf8proc"))
    libc = ctypes.CDLL(None)
    libc.free.argtypes = [ctypes.c_void_p]
    bad = {0x11930}  # composes with U+11935 into U+11938
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        ours = getattr(library, "utf8proc_" + form)
        ours.restype, ours.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
        theirs = getattr(normalizers, form)()
        for point in POINTS[1:]:
            text = "a\u0301" + chr(point) + "\u0323\u05b0|" + chr(point)
            result = ours(text.encode())
            if theirs.normalize_str(text).encode() != ctypes.string_at(result):
                bad.add(point)
            libc.free(result)
    return sorted(bad)


def lower_exceptions():
    library = ctypes.CDLL(ctypes.util.find_library("utf8proc"))
    theirs = normalizers.Lowercase()
    for point in POINTS[1:]:
        lower = theirs.normalize_str(chr(point))
        if len(lower) == 1 and ord(lower) != library.utf8proc_tolower(point):
            yield point, ord(lower)


def ranges(points):
    out = []
    for point in points:
        if out and out[-1][1] == point - 1:
            out[-1][1] = point
        else:
            out.append([point, point])
    return out


def mapped_ranges(pairs, step):
    """Runs of points whose target grows by `step` with each."""
    out = []
    for point, target in pairs:
        if out and out[-1][1] == point - 1 and target == out[-1][2] + step * (point - out[-1][0]):
            out[-1][1] = point
        else:
            out.append([point, point, target])
    return out


def table(kind, name, rows):
    print(f"\nconst {kind} {name}[] = {{")
    line = "   "
    for row in rows:
        cell = " {" + ", ".join(f"0x{value:X}" for value in row) + "},"
        if len(line) + len(cell) > 100:
            print(line)
            line = "   "
        line += cell
    print(line + "\n};")
    print(f"const size_t {name}Size = sizeof({name}) / sizeof({name}[0]);")


def main():
    assert unicodedata.unidata_version == "14.0.0", "needs the Unicode version of PCRE2 10.42: run Python 3.11"
    print(f"// Made by make_unicode_tables.py from tokenizers {tokenizers.__version__}; do not edit.")
    print("// clang-format off")
    print('#include "lib/tokenizer/regex/unicode_tables.h"\n\nnamespace ftd {')
    table("MappedRange", "kRegexProxies", mapped_ranges(sorted(proxies(oniguruma_categories())), 0))
    table("CodePointRange", "kNumeric", ranges(numeric()))
    table("CodePointRange", "kWord", ranges(words()))
    table("CodePointRange", "kInertMarks", ranges(inert_marks()))
    table("MappedRange", "kLowerExceptions", mapped_ranges(lower_exceptions(), 1))
    print("\n}  // namespace ftd")


if __name__ == "__main__":
    main()
