"""What `./dev soak parity-isa` holds the libraries to holds for the worker of a job too, and the reference is computed again."""
import os
import pathlib

from case import CASES
from ftd_fixture import BIN, Ftd, alpaca_rows
from tiny_model import make_tiny_llama

HELD = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "COMPATIBLE", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


def test_reaches_the_worker(monkeypatch, tmp_path):
    model = make_tiny_llama(tmp_path / "model")
    for name, value in HELD.items():
        monkeypatch.setenv(name, value)
    with Ftd() as ftd:
        job = ftd.submit(model=model, rows=alpaca_rows(8), max_steps=10_000_000).id
        ftd.wait(job, "RUNNING")
        process = pathlib.Path(f"/proc/{ftd.worker_pid(job)}")
        assert os.readlink(process / "exe") == str((BIN / "ft-worker").resolve())
        environment = dict(entry.split("=", 1) for entry in (process / "environ").read_text().split("\0") if entry)
        assert HELD.items() <= environment.items()


def test_each_has_cases_of_its_own(monkeypatch):
    without = CASES[0].dir
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    assert CASES[0].dir != without
