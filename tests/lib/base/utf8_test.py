"""UTF-8 as Python's codec has it: what is valid, what an invalid sequence becomes, and every code point both ways."""
import itertools
import os
import pathlib
import random
import subprocess
import sys

FILTER = pathlib.Path(os.environ["FTD_BUILD_DIR"]) / "tests" / "utf8_filter"
SURROGATES = range(0xD800, 0xE000)
# Where a range of leads or of continuation bytes begins or ends, and its neighbours outside.
EDGES = [0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF,
         0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF8, 0xFC, 0xFE, 0xFF]


def ask(lines):
    text = "".join(f"{what} {value}\n" for what, value in lines)
    return subprocess.run([FILTER], input=text, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()


def is_valid(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def check(samples):
    samples = list(samples)
    for data, answer in zip(samples, ask(("bytes", data.hex()) for data in samples), strict=True):
        valid, repaired, *points = answer.split(" ")
        text = data.decode(errors="replace")
        assert (valid == "1") == is_valid(data), data
        assert bytes.fromhex(repaired) == text.encode(), data
        assert list(map(int, points)) == list(map(ord, text)), data


def test_all_sequences_of_two_bytes():
    check(bytes(pair) for size in (0, 1, 2) for pair in itertools.product(range(256), repeat=size))


def test_sequences_at_the_edges_of_each_range():
    check(bytes(some) for some in itertools.product(EDGES, repeat=3))
    check(bytes([lead, *rest]) for lead in range(0xE0, 0x100) for rest in itertools.product(EDGES[2:12], repeat=3))


def test_named_cases():
    for name, data, replaced in [
        ("a surrogate", b"\xed\xa0\x80", 3), ("the last surrogate", b"\xed\xbf\xbf", 3),
        ("before the surrogates", b"\xed\x9f\xbf", 0),
        ("an overlong slash", b"\xc0\xaf", 2), ("an overlong NUL", b"\xe0\x80\x80", 3),
        ("overlong in four", b"\xf0\x8f\xbf\xbf", 4),
        ("U+10FFFF", b"\xf4\x8f\xbf\xbf", 0), ("U+110000", b"\xf4\x90\x80\x80", 4), ("five bytes", b"\xf8\x88\x80\x80\x80", 5),
        ("cut after two of three", b"a\xe2\x82", 1), ("cut after three of four", b"a\xf0\x9f\x98", 1),
        ("cut after a lead", b"a\xf0", 1),
        ("cut by ASCII", b"\xf0\x9f\x98a", 1), ("cut by a lead", b"\xe2\x82\xe2\x82\xac", 1),
        ("a byte order mark", b"\xef\xbb\xbfa", 0),
        ("a noncharacter", b"\xef\xbf\xbf", 0), ("bad after eight bytes of ASCII", b"12345678\xff", 1),
    ]:
        check([data])
        assert bytes.fromhex(ask([("bytes", data.hex())])[0].split(" ")[1]).decode().count("\ufffd") == replaced, name


def test_every_code_point_there_and_back():
    points = [point for point in range(sys.maxunicode + 1) if point not in SURROGATES]
    assert ask(("point", point) for point in points) == [chr(point).encode().hex() for point in points]
    check("".join(map(chr, points[i:i + 4096])).encode() for i in range(0, len(points), 4096))


def test_random_bytes():
    seed = int(os.environ.get("FTD_TEST_SEED", random.randrange(2**32)))
    print("FTD_TEST_SEED =", seed)
    rng = random.Random(seed)
    def sample():
        return bytes(rng.choice((rng.randrange(256), rng.choice(EDGES), 0x61)) for _ in range(rng.randrange(40)))

    check(sample() for _ in range(20_000))


def test_where_the_last_code_point_starts():
    texts = [before + last for before in ("", "a", "é", "日", "😀") for last in ("a", "é", "日", "😀", "\U0010ffff")]
    begins = [len(text[:-1].encode()) for text in texts]
    assert list(map(int, ask(("last", text.encode().hex()) for text in texts))) == begins
