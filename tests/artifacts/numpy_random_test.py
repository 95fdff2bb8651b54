"""Orders of rows are numpy's, and so those of `datasets.shuffle`."""
import os
import pathlib
import subprocess

import datasets
import numpy

DRIVER = pathlib.Path(os.environ["FTD_BUILD_DIR"]) / "tests" / "numpy_orders"
SEEDS = [0, 1, 42, 12345, 2**31, 2**32 - 1, 2**32, 2**40 + 7, 2**63, 2**64 - 1]
COUNTS = [0, 1, 2, 3, 4, 5, 7, 8, 9, 100, 512, 1000, 65_537]


def orders(pairs):
    text = "".join(f"{seed} {n}\n" for seed, n in pairs)
    lines = subprocess.run([DRIVER], input=text, capture_output=True, text=True, check=True, timeout=60).stdout.split("\n")
    return [list(map(int, line.split())) for line in lines[:-1]]


def test_permutations():
    pairs = [(seed, n) for seed in SEEDS for n in COUNTS]
    for (seed, n), order in zip(pairs, orders(pairs), strict=True):
        assert order == numpy.random.default_rng(seed).permutation(n).tolist(), (seed, n)


def test_the_scripts_order():
    rows = datasets.Dataset.from_dict({"row": list(range(600))}).select(range(512)).shuffle(seed=42)
    assert orders([(42, 512)]) == [rows["row"][:]]
