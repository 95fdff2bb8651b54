"""tools/export_run.py with W&B's, MLflow's and Trackio's own libraries. `./dev soak exporters` runs it: they are a gigabyte.

FTD_TRACKERS_PYTHON names an interpreter that has them; else an environment is made once in the cache.
"""

import json
import os
import pathlib
import subprocess

import pytest

from cached_environment import interpreter
from ftd_fixture import BIN, Ftd, alpaca_rows, write_jsonl
from tiny_model import make_tiny_llama

ROOT = pathlib.Path(__file__).parents[2]
LIBRARIES = ["wandb==0.31.0", "mlflow==3.17.2", "trackio==0.43.0"]


@pytest.fixture(scope="session")
def python():
    return interpreter("FTD_TRACKERS_PYTHON", "trackers", LIBRARIES)


@pytest.fixture(scope="session")
def job(tmp_path_factory):
    """A daemon and a job that trained and was evaluated three times."""
    tmp_path = tmp_path_factory.mktemp("job")
    with Ftd() as ftd:
        model = make_tiny_llama(tmp_path / "tiny")
        rows = write_jsonl(tmp_path / "rows.jsonl", alpaca_rows(32))
        job = ftd.ftctl("submit", "--quiet", "--mode", "lora", "--model", model, "--dataset", rows, "--batch-size", 4, "--seq-length", 96,
                        "--max-steps", 30, "--eval-split", 0.25, "--eval-steps", 10, "--name", "first").stdout.strip()
        yield ftd, job


@pytest.mark.parametrize("tracker", ["wandb", "mlflow", "trackio"])
def test_it_has_every_point_once(tracker, python, job, tmp_path):
    ftd, job = job
    env = {**os.environ, "FTCTL_ADDRESS": ftd.address, "WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path),
           "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db", "TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1"}
    command = [python, ROOT / "tools" / "export_run.py", job, "--to", tracker, "--ftctl", BIN / "ftctl", "--spool", tmp_path / "spool"]
    for _ in range(2):  # the second time there is nothing left to send
        subprocess.run(command, env=env, check=True, timeout=300)
    read = json.loads(subprocess.run([python, ROOT / "tests" / "tools" / "read_tracker.py", tracker], env=env, check=True, timeout=300,
                                     stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
    rows = [json.loads(line) for line in ftd.ftctl("metrics", job, "-o", "jsonl").stdout.splitlines()]
    for key, ours in (("train/loss", "loss"), ("train/grad_norm", "grad_norm"), ("eval/loss", "eval_loss")):
        expected = [[row["step"], row[ours]] for row in rows if row.get(ours) is not None]
        assert len(expected) == (3 if ours == "eval_loss" else 30)
        assert read[key] == [[step, pytest.approx(value, rel=1e-12)] for step, value in expected]
