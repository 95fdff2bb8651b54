"""Orders of rows are numpy's, and so those of `datasets.shuffle`."""
import math
import os
import pathlib
import subprocess

import datasets
import numpy

DRIVER = pathlib.Path(os.environ["FTD_BUILD_DIR"]) / "tests" / "numpy_orders"
SEEDS = [0, 1, 42, 12345, 2**31, 2**32 - 1, 2**32, 2**40 + 7, 2**63, 2**64 - 1]
COUNTS = [0, 1, 2, 3, 4, 5, 7, 8, 9, 100, 512, 1000, 65_537]


def run_driver(lines, *args):
    text = "".join(" ".join(map(str, line)) + "\n" for line in lines)
    output = subprocess.run([DRIVER, *args], input=text, capture_output=True, text=True, check=True, timeout=60).stdout
    return [list(map(int, line.split())) for line in output.split("\n")[:-1]]


def orders(pairs):
    return run_driver(pairs)


def test_permutations():
    pairs = [(seed, n) for seed in SEEDS for n in COUNTS]
    for (seed, n), order in zip(pairs, orders(pairs), strict=True):
        assert order == numpy.random.default_rng(seed).permutation(n).tolist(), (seed, n)


def test_the_scripts_order():
    rows = datasets.Dataset.from_dict({"row": list(range(600))}).select(range(512)).shuffle(seed=42)
    assert orders([(42, 512)]) == [rows["row"][:]]


def test_the_rows_kept_back_are_those_of_train_test_split():
    cases = [(seed, n, size) for seed in (0, 42, 2**32) for n in (2, 7, 100, 999) for size in (0.01, 0.1, 1 / 3, 0.5, 1, 2, 50) if size < n]
    cases = [case for case in cases if math.ceil(case[2] * case[1] if case[2] < 1 else case[2]) < case[1]]
    answers = run_driver([(seed, n, repr(size)) for seed, n, size in cases], "split")
    assert len(cases) > 60
    for (seed, n, size), test, train in zip(cases, answers[::2], answers[1::2], strict=True):
        split = datasets.Dataset.from_dict({"row": list(range(n))}).train_test_split(test_size=size, seed=seed)
        assert (test, train) == (split["test"]["row"][:], split["train"]["row"][:]), (seed, n, size)
