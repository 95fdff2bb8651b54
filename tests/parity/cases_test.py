"""Makes every case, two at a time, before the tests that share them: a case keeps one core busy (CMakeLists.txt, FIXTURES)."""
import concurrent.futures
import multiprocessing

from case import CASES
from hf_models import NF4_CASES, made_for_nf4
from reference import Reference


def make(case):
    made_for_nf4(case) if case in NF4_CASES else Reference(case)
    return case.name


def test_every_case_can_be_made():
    cases = CASES + NF4_CASES
    with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(make, cases)) == [case.name for case in cases]
