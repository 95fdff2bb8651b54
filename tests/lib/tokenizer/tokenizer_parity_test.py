"""Token ids equal to those of Hugging Face's `tokenizers`, string for string.

Every tokenizer of make_tokenizers.py on every string of tokenizer_texts.py: ids with and without special tokens, and
the decoded text; then a sweep over all code points, and all the components that no such tokenizer has.
"""
import json
import os
import pathlib
import subprocess
import sys
import time

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

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


def ours(tokenizer_json, texts):
    """What ftd makes of each text: [{"ids", "plain", "decoded"}]."""
    run = subprocess.run([DRIVER, tokenizer_json], input="".join(json.dumps(text) + "\n" for text in texts),
                         capture_output=True, text=True, encoding="utf-8", timeout=300)
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.split("\n")[:-1]]


def theirs(tokenizer, texts):
    with_special = tokenizer.encode_batch(texts, add_special_tokens=True)
    plain = tokenizer.encode_batch(texts, add_special_tokens=False)
    return [{"ids": a.ids, "plain": b.ids, "decoded": tokenizer.decode(b.ids, skip_special_tokens=False)}
            for a, b in zip(with_special, plain)]


def differences(tokenizer_json, tokenizer, texts):
    """Descriptions of the strings on which the two disagree, at most ten."""
    found = []
    for text, got, want in zip(texts, ours(tokenizer_json, texts), theirs(tokenizer, texts), strict=True):
        for key in want:
            if got[key] != want[key]:
                found.append(f"{key} of {text[:80]!r}: ftd {got[key][:40]!r}, tokenizers {want[key][:40]!r}")
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


def small_bpe(**options):
    """A BPE over letters and a few merges: with it, ids show the splits."""
    alphabet = sorted(set(pre_tokenizers.ByteLevel.alphabet()) | set("▁ abcdefghijklmnopqrstuvwxyz0123456789,.-é日"))
    vocab = {token: i for i, token in enumerate(["<unk>", *alphabet, *(f"<0x{b:02X}>" for b in range(256))])}
    merges = [("a", "b"), ("b", "a"), ("ab", "c"), ("1", "2"), ("-", "-"), (",", ","), ("Ġ", "a"), ("▁", "a"), (" ", "a"),
              ("a", "-"), ("-", "a"), ("a", " "), ("a", "▁"), ("a", "Ġ"), ("é", "a"), (" ", " ")]
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    return Tokenizer(models.BPE(vocab=vocab, merges=merges, **options))


def marked(pre_tokenizer):
    """The same, with each piece marked where it begins, so that ids show every boundary."""
    return pre_tokenizers.Sequence([pre_tokenizer, pre_tokenizers.Metaspace(prepend_scheme="always", split=False)])


SPLIT = [(pattern, behavior, invert)
         for pattern in (Regex(r"\s+"), Regex(r"-|,"), Regex(r"\d{2}+|[a-b]*"), Regex(r"(?i)A(?=B)|(?<=1)2|x*"), "-", "ab", ".")
         for behavior in ("isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous")
         for invert in (False, True)]
COMPONENTS = {
    **{f"split-{i}": ({}, None, marked(pre_tokenizers.Split(*split)), None) for i, split in enumerate(SPLIT)},
    "unk": ({"unk_token": "<unk>"}, None, None, None),
    "unk-fused": ({"unk_token": "<unk>", "fuse_unk": True}, None, None, None),
    "byte-fallback-unk": ({"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}, None, None, None),
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
    texts = [unit * (300_000 // len(unit.encode())) for unit in units]
    began = time.monotonic()
    got = [row["plain"] for row in ours(path, texts)]
    assert time.monotonic() - began < 30
    tokenizer = Tokenizer.from_file(str(path))
    want = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    assert [unit for unit, g, w in zip(units, got, want) if g != w] == []
