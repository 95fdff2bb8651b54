"""Token ids equal to those of Hugging Face's `tokenizers`, string for string.

Every tokenizer of make_tokenizers.py on every string of tokenizer_texts.py: ids with and without special tokens, the
decoded text, and which token holds a character; then a sweep over all code points, and all the components that no such
tokenizer has.
"""
import functools
import itertools
import json
import os
import pathlib
import subprocess
import sys
import time

import numpy
import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import make_tokenizers  # noqa: E402
import tokenizer_texts  # noqa: E402

BUILD = pathlib.Path(os.environ.get("FTD_BUILD_DIR", "build"))
DRIVER = BUILD / "tests" / "encode_lines"


@pytest.fixture(scope="session")
def texts():
    texts = tokenizer_texts.all_texts()
    assert len(texts) >= 10_000
    return texts


def followed(text):
    """The characters, and the end of the text, whose tokens are asked for: all of a short text, a few of a long one."""
    return range(0, len(text) + 1, 1 + len(text) // 50)


@functools.cache
def request(text):
    """The text and the followed characters, which ftd counts in bytes."""
    return {"text": text, "positions": [len(text[:i].encode()) for i in followed(text)]}


def ours(tokenizer_json, requests):
    """What ftd makes of each request: [{"ids", "plain", "decoded", …}]."""
    run = subprocess.run([DRIVER, tokenizer_json], input="".join(json.dumps(request) + "\n" for request in requests),
                         capture_output=True, text=True, encoding="utf-8", timeout=300)
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.split("\n")[:-1]]


def holders(encoding, text):
    """For each character, and the end of the text, the first token that ends after it."""
    ends = numpy.fromiter((end for _, end in encoding.offsets), int)
    return numpy.searchsorted(numpy.maximum.accumulate(ends), numpy.arange(len(text) + 1), side="right").tolist()


def theirs(tokenizer, texts):
    with_special = tokenizer.encode_batch(texts, add_special_tokens=True)
    # Other post-processors may leave spaces out of a token's offsets.
    post_processor, tokenizer.post_processor = tokenizer.post_processor, processors.ByteLevel(trim_offsets=False)
    plain = tokenizer.encode_batch(texts, add_special_tokens=False)
    if post_processor is not None:
        tokenizer.post_processor = post_processor
    return [{"ids": a.ids, "plain": b.ids, "plain_at": b.ids, "holders": holders(b, text),
             "decoded": tokenizer.decode(b.ids, skip_special_tokens=False)}
            for a, b, text in zip(with_special, plain, texts)]


class Offsets:
    """Compares the tokens of characters, except where offsets of `tokenizers` do not say where a character went.

    Where the model drops a character, the offsets of what follows in the word are too small. Where a Unicode form
    composes or reorders characters, offsets go by their number alone: of "e" and a combining accent that become "é", the
    accent counts with what comes next. ftd then has the token of the "é".
    """

    def __init__(self, tokenizer):
        document = json.loads(tokenizer.to_str())
        vocab, model = document["model"]["vocab"], document["model"]
        # GPT-2's alphabet: printable bytes stand for themselves, the others for U+0100 and on.
        odd = itertools.count(0x100)
        letters = [chr(b if 0x21 <= b <= 0x7E or (0xA1 <= b and b != 0xAD) else next(odd)) for b in range(256)]
        self.dropped = set()  # bytes
        if model["unk_token"] is None:
            byte_level = "ByteLevel" in json.dumps(document["pre_tokenizer"])
            self.dropped = {b for b, letter in enumerate(letters) if not byte_level or letter not in vocab}
        form = (document["normalizer"] or {}).get("type") in ("NFC", "NFD", "NFKC", "NFKD")
        self.normalize = tokenizer.normalizer.normalize_str if form else None
        self.followed = self.unclear = 0

    def apart(self, text, i):
        """Whether what is before the character and what begins with it are normalised independently."""
        return self.normalize is None or self.normalize(text[:i]) + self.normalize(text[i:]) == self.normalize(text)

    def allowed(self, text, i, holders):
        """The first and the last token that may hold the character."""
        if text[i:i + 1].isascii() or self.apart(text, i):
            return holders[i], holders[i]
        self.unclear += 1
        before = next(j for j in range(i - 1, -1, -1) if self.apart(text, j))
        composed = len(self.normalize(text[before:i + 1])) == 1
        return holders[before], holders[before] if composed else holders[i]

    def difference(self, text, got, holders):
        if not self.dropped.isdisjoint(text.encode()):
            return None
        self.followed += len(got)
        for i, token in zip(followed(text), got, strict=True):
            first, last = self.allowed(text, i, holders)
            if not first <= token <= last:
                return f"token of {text[i:i + 1]!r} after {text[max(0, i - 40):i]!r}: ftd {token}, tokenizers {first} to {last}"
        return None


def differences(tokenizer_json, tokenizer, texts):
    """Descriptions of the strings on which the two disagree, at most ten."""
    found = []
    offsets = Offsets(tokenizer)
    for text, got, want in zip(texts, ours(tokenizer_json, map(request, texts)), theirs(tokenizer, texts), strict=True):
        difference = offsets.difference(text, got.pop("tokens"), want.pop("holders"))
        found += [difference] if difference else []
        for key in want:
            if got[key] != want[key]:
                found.append(f"{key} of {text[:80]!r}: ftd {got[key][:40]!r}, tokenizers {want[key][:40]!r}")
    assert offsets.unclear <= offsets.followed / 100
    return found[:10]


@pytest.mark.parametrize("name", make_tokenizers.MAKERS)
def test_equal_on_all_strings(name, texts):
    path = make_tokenizers.ensure(make_tokenizers.fetch.cache_dir() / "tokenizers", name)
    assert differences(path, Tokenizer.from_file(str(path)), texts) == []


def telling_points():
    """All code points of the blocks where neighbours differ, and one in 61 of the large uniform ones."""
    uniform = [(0x3400, 0xA000), (0xAC00, 0xF900), (0x17000, 0x18D00), (0x20000, 0x31300), (0x32400, 0xE0000), (0xE0200, 0x110000)]
    for point in range(0x110000):
        inside = any(low + 64 <= point < high - 64 for low, high in uniform)
        if not 0xD800 <= point < 0xE000 and (not inside or point % 61 == 0):
            yield chr(point)


@pytest.mark.parametrize("name", ["digits", "llama3", "qwen2", "llama2"])
def test_equal_on_code_points(name):
    """Each code point between letters, digits, spaces and marks, so that its class shows in the splits."""
    points = list(telling_points())
    texts = ["|".join(f"a{p}1{p}{p} {p}b\u0323{p}\u0301" for p in points[i:i + 64]) for i in range(0, len(points), 64)]
    path = make_tokenizers.ensure(make_tokenizers.fetch.cache_dir() / "tokenizers", name)
    tokenizer = Tokenizer.from_file(str(path))
    want = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    got = [row["plain"] for row in ours(path, texts)]
    assert [f"U+{ord(points[64 * i]):04X} and on" for i in range(len(texts)) if got[i] != want[i]] == []


def small_bpe(unk_token="<unk>", **options):
    """A BPE over letters and a few merges: with it, ids show the splits."""
    alphabet = sorted(set(pre_tokenizers.ByteLevel.alphabet()) | set("▁ abcdefghijklmnopqrstuvwxyz0123456789,.-é日"))
    vocab = {token: i for i, token in enumerate(["<unk>", *alphabet, *(f"<0x{b:02X}>" for b in range(256))])}
    merges = [("a", "b"), ("b", "a"), ("ab", "c"), ("1", "2"), ("-", "-"), (",", ","), ("Ġ", "a"), ("▁", "a"), (" ", "a"),
              ("a", "-"), ("-", "a"), ("a", " "), ("a", "▁"), ("a", "Ġ"), ("é", "a"), (" ", " ")]
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    return Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token=unk_token, **options))


def marked(pre_tokenizer):
    """The same, with each piece marked where it begins, so that ids show every boundary."""
    return pre_tokenizers.Sequence([pre_tokenizer, pre_tokenizers.Metaspace(prepend_scheme="always", split=False)])


SPLIT = [(pattern, behavior, invert)
         for pattern in (Regex(r"\s+"), Regex(r"-|,"), Regex(r"\d{2}+|[a-b]*"), Regex(r"(?i)A(?=B)|(?<=1)2|x*"), "-", "ab", ".")
         for behavior in ("isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous")
         for invert in (False, True)]
COMPONENTS = {
    **{f"split-{i}": ({}, None, marked(pre_tokenizers.Split(*split)), None) for i, split in enumerate(SPLIT)},
    "no-unk": ({"unk_token": None}, None, None, None),
    "no-unk-split": ({"unk_token": None}, None, marked(pre_tokenizers.Split(Regex(r"\s+"), "removed")), None),
    "unk": ({}, None, None, None),
    "unk-fused": ({"fuse_unk": True}, None, None, None),
    "byte-fallback-unk": ({"fuse_unk": True, "byte_fallback": True}, None, None, None),
    "ignore-merges": ({"ignore_merges": True}, None, pre_tokenizers.Split(" ", "isolated"), None),
    "byte-level-prefix": ({}, None, pre_tokenizers.ByteLevel(add_prefix_space=True), decoders.ByteLevel()),
    "byte-level-no-regex": ({}, None, pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False), None),
    "byte-level-first": ({}, None, pre_tokenizers.Sequence(
        [pre_tokenizers.ByteLevel(add_prefix_space=False), pre_tokenizers.Split("a", "removed")]), None),
    "digits-then-prefix": ({}, None, pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(add_prefix_space=True)]), None),
    "digits-together": ({}, None, pre_tokenizers.Digits(individual_digits=False), None),
    "metaspace-always": ({}, None, pre_tokenizers.Metaspace(), decoders.Metaspace()),
    "metaspace-first": ({}, None, pre_tokenizers.Metaspace(prepend_scheme="first"), decoders.Metaspace(prepend_scheme="first")),
    "metaspace-never": ({}, None, pre_tokenizers.Metaspace(prepend_scheme="never", split=False),
                        decoders.Metaspace(prepend_scheme="never")),
    "removed-then-metaspace-first": ({}, None, pre_tokenizers.Sequence(
        [pre_tokenizers.Split(",", "removed"), pre_tokenizers.Metaspace(prepend_scheme="first")]), None),
    "nfd": ({}, normalizers.NFD(), None, None),
    "nfkc": ({}, normalizers.NFKC(), None, None),
    "nfkd": ({}, normalizers.NFKD(), None, None),
    "lowercase": ({}, normalizers.Lowercase(), None, None),
    "strip": ({}, normalizers.Strip(), None, None),
    "strip-left": ({}, normalizers.Strip(right=False), None, None),
    "strip-right": ({}, normalizers.Strip(left=False), None, None),
    "replace-regex": ({}, normalizers.Sequence(
        [normalizers.Replace(Regex(r"[\s]{2,}|\p{Mn}"), "-"), normalizers.Prepend("a")]), None, None),
    "decode-sequence": ({"byte_fallback": True}, normalizers.Replace(" ", "▁"), None, decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])),
}


@pytest.fixture(scope="session")
def some_texts(texts):
    letters = ["ab-ab,12 cab", "a--b ,, ab", "12ab12  ", " -a-", "--", "ab", "aab12x3", "a b\na", "é日aé", "x,ab", ", ab", "ABab12"]
    return letters + texts[:300] + texts[300::25]


@pytest.mark.parametrize("name", COMPONENTS)
def test_components(name, some_texts, tmp_path):
    options, normalizer, pre_tokenizer, decoder = COMPONENTS[name]
    tokenizer = small_bpe(**options)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    if decoder is not None:
        tokenizer.decoder = decoder
    tokenizer.add_tokens([AddedToken("<t>", lstrip=True), AddedToken("ab12", normalized=False, rstrip=True),
                          AddedToken("CAB", normalized=True, single_word=True), AddedToken("<s>", special=True)])
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    texts = some_texts + ["<t> x  <t>ab12  <t>", "x cab CAB xcab <s>cab", "ab12   CAB"]
    assert differences(path, tokenizer, texts) == []


# Oniguruma's syntax where it is, or might be, another than PCRE2's.
REGEXES = [
    r"[^\S\n]+", r"\p{Lu}|\P{L}", r"a{,2}b", r"a{2}+", r"(?:ab){1,2}+", r"[a-c]{1,2}?", r"a{x}|b{,}", r"\x61|\x{e9}|\u65e5",
    r"^a|b$", r"^", r"$", r"\Aa|b\z", r".+", r"(?:ab)+?", r"(?>a+)b", r"a++b|b?+a", r"(a|b)c?", r"(?=b)", r"(?<=a)b|(?<!a)-",
    r"(?i)A|É", r"(?i:S|K|ß)+", r"(?-i:A)|b", r"(?:(?i)A|B)", r"[\]\-a]+", r"[^a]", r"\s|\S{2}", r"\d+|\D", r"[\d,.]+", r"\v|\f|\t", r"\.|\-|\{",
    r"[\r\n]+|\s*[\r\n]|\s+(?!\S)", r"[\u4e00-\u9fff]+|[à-ÿ]", r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"\p{Han}+|\p{Greek}", r"'s|'t| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", "a||b", r"a*|b", r"\p{^L}", r"[\p{Mn}\p{Mc}]",
]


@pytest.mark.parametrize("pattern", REGEXES)
def test_regular_expressions(pattern, some_texts, tmp_path):
    tokenizer = small_bpe()
    tokenizer.pre_tokenizer = marked(pre_tokenizers.Split(Regex(pattern), "isolated"))
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    texts = some_texts + ["a\nb\n", "ab\n\nba\n", "\na", "aaab aab b", "ÉéſsSKKßẞss", "]-a^", "a{x}b{,}", "日本 中文 à ÿ Ω", "\v\f\t", "-ab-b"]
    assert differences(path, tokenizer, texts) == []


def test_both_spellings_of_merges(tmp_path):
    tokenizer = small_bpe()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    document = json.loads(tokenizer.to_str())
    document["model"]["merges"] = ["#version: 0.2", *(" ".join(pair) for pair in document["model"]["merges"]
                                                      if " " not in pair[0] + pair[1])]
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(document))
    assert differences(path, Tokenizer.from_file(str(path)), ["abcab 12 aab", "--, ab"]) == []


@pytest.mark.parametrize("name", ["digits", "llama3", "qwen2", "llama2"])
def test_long_runs_take_no_quadratic_time(name):
    """300 KB of one thing each: tokenizers needs some tenths of a second, quadratic code minutes."""
    units = ["a", " ", "\n", "0", "日", "ab ", "\u0301", " \n", "<|im_start", "'"]
    path = make_tokenizers.ensure(make_tokenizers.fetch.cache_dir() / "tokenizers", name)
    counts = [300_000 // len(unit.encode()) for unit in units]
    texts = [unit * count for unit, count in zip(units, counts)]
    began = time.monotonic()
    rows = ours(path, [{"text": unit * count, "positions": [0, len(unit.encode()) * (count // 2)]} for unit, count in zip(units, counts)])
    assert time.monotonic() - began < 30
    got = [row["plain"] for row in rows]
    assert got == [row["plain_at"] for row in rows]
    tokenizer = Tokenizer.from_file(str(path))
    want = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    assert [unit for unit, g, w in zip(units, got, want) if g != w] == []
