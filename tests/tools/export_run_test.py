"""tools/export_run.py: what a tracker gets of a job that evaluates, crashes and repeats steps, whatever breaks on the way.

The trackers here are ours; `./dev soak exporters` runs W&B's, MLflow's and Trackio's own libraries.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from ftd_fixture import BIN, DEADLINE_S, wait_until
from helpers import fake_ftd, submit

ROOT = pathlib.Path(__file__).parents[2]

# A tracker in a file, in the place of W&B's library; while `away` exists it refuses everything.
WANDB = '''
import json, pathlib
HERE = pathlib.Path(__file__).parent
class Run:
    summary = {}
    def define_metric(self, *args, **kwargs): pass
    def log(self, values): note("log", values)
    def finish(self, exit_code): note("finish", {"exit_code": exit_code, **self.summary})
def note(what, values):
    if (HERE / "away").exists(): raise OSError("nobody there")
    with open(HERE / "noted", "a") as file: file.write(json.dumps([what, values]) + "\\n")
def init(**settings):
    note("init", settings)
    return Run()
'''


@pytest.fixture
def tracker(tmp_path):
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "wandb.py").write_text(WANDB)
    return folder


def noted(tracker, what):
    path = tracker / "noted"
    return [values for name, values in map(json.loads, path.read_text().splitlines()) if name == what] if path.exists() else []


class Exporter:
    def __init__(self, ftd, tmp_path, modules=None):
        self.command = [sys.executable, ROOT / "tools" / "export_run.py", "--ftctl", BIN / "ftctl", "--spool", tmp_path / "spool",
                        "--poll", "0.1"]
        self.env = {**os.environ, "FTCTL_ADDRESS": ftd.address if ftd else "unix:/nowhere", "PYTHONPATH": str(modules or "")}

    def run(self, *args):
        return subprocess.run([*self.command, *args], env=self.env, capture_output=True, text=True, timeout=DEADLINE_S)

    def start(self, *args):
        return subprocess.Popen([*self.command, *args], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def metrics(ftd, job):
    """What ftctl has of the job's steps, by the exporter's names."""
    lines = subprocess.run([BIN / "ftctl", "--address", ftd.address, "metrics", job, "-o", "jsonl"], capture_output=True, text=True,
                           check=True).stdout.splitlines()
    for row in map(json.loads, lines):
        yield {("step" if key == "step" else f"train/{key}"): value for key, value in row.items() if value is not None}


def test_a_job_that_trains(tmp_path):
    with fake_ftd("steps=30 step_ms=20") as ftd:
        job = submit(ftd, name="first").id
        done = Exporter(ftd, tmp_path).run("first", "--to", "jsonl")
        assert done.returncode == 0, done.stderr
        assert [json.loads(line) for line in done.stdout.splitlines()] == list(metrics(ftd, job))
        again = Exporter(ftd, tmp_path).run("first", "--to", "jsonl")
        assert again.returncode == 0 and again.stdout == "", "what has arrived is not sent twice"


def test_steps_that_are_repeated(tmp_path):
    """The worker dies at step 25, after the checkpoint at 20: five steps come twice, with the same values."""
    with fake_ftd("steps=40 step_ms=20 save=10 1:crash=25") as ftd:
        job = submit(ftd).id
        done = Exporter(ftd, tmp_path).run(job, "--to", "jsonl")
        assert done.returncode == 0, done.stderr
        steps = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(ftd.job(job).attempts) == 2
        last = {point["step"]: point["train/loss"] for point in steps}
        assert last == {row["step"]: row["train/loss"] for row in metrics(ftd, job)}


def test_a_tracker_that_is_away(tmp_path, tracker):
    (tracker / "away").touch()
    with fake_ftd("steps=10") as ftd:
        job = submit(ftd, name="first", labels={"team": "nlp"}).id
        ftd.wait(job, "SUCCEEDED")
        exporter = Exporter(ftd, tmp_path, tracker).start(job, "--to", "wandb", "--project", "ours")
        assert "wandb has not taken it: nobody there" in exporter.stderr.readline()
        (tracker / "away").unlink()
        assert exporter.wait(DEADLINE_S) == 0
        [settings] = noted(tracker, "init")
        assert (settings["project"], settings["id"], settings["name"], settings["tags"]) == ("ours", job, "first", ["team:nlp"])
        assert settings["config"]["mode"] == "LORA" and settings["config"]["lora.rank"] == 8
        assert [point["train/global_step"] for point in noted(tracker, "log")] == list(range(1, 11))
        assert noted(tracker, "finish") == [{"exit_code": 0, "ftd/state": "SUCCEEDED"}]


def test_one_that_is_killed_continues(tmp_path, tracker):
    with fake_ftd("steps=100 step_ms=20") as ftd:
        job = submit(ftd).id
        for least in (10, 30):
            exporter = Exporter(ftd, tmp_path, tracker).start(job, "--to", "wandb")
            wait_until(lambda: len(noted(tracker, "log")) > least, "some steps")
            exporter.send_signal(signal.SIGKILL)
            exporter.wait()
        assert Exporter(ftd, tmp_path, tracker).run(job, "--to", "wandb").returncode == 0
        steps = [point["train/global_step"] for point in noted(tracker, "log")]
        assert sorted(set(steps)) == list(range(1, 101))
        assert len(steps) <= 100 + 2 * 20, "at most what was on its way comes twice"


def test_ftd_that_restarts_and_a_spool_that_is_sent_later(tmp_path):
    with fake_ftd("steps=60 step_ms=20 save=10") as ftd:
        job = submit(ftd).id
        exporter = Exporter(ftd, tmp_path).start(job, "--collect")
        points = tmp_path / "spool" / job / "points.jsonl"
        wait_until(lambda: points.exists() and points.stat().st_size > 0, "some steps in the spool")
        ftd.terminate()
        assert "trying again" in exporter.stderr.readline() + exporter.stderr.readline() + exporter.stderr.readline()
        ftd.start()
        assert exporter.wait(DEADLINE_S) == 0
        expected = [row["step"] for row in metrics(ftd, job)]
    later = Exporter(None, tmp_path).run(job, "--to", "jsonl", "--replay")
    assert later.returncode == 0, later.stderr
    assert sorted({json.loads(line)["step"] for line in later.stdout.splitlines()}) == expected


def test_a_torn_write_in_the_spool(tmp_path):
    with fake_ftd("steps=5") as ftd:
        job = submit(ftd).id
        ftd.wait(job, "SUCCEEDED")
        assert Exporter(ftd, tmp_path).run(job, "--collect").returncode == 0
        points = tmp_path / "spool" / job / "points.jsonl"
        points.write_bytes(points.read_bytes()[:-20])
        done = Exporter(ftd, tmp_path).run(job, "--to", "jsonl")
        assert [json.loads(line)["step"] for line in done.stdout.splitlines()] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("args, code, text", [
    (["no-such-job", "--to", "jsonl"], 1, "no-such-job"),
    (["job"], 2, "--collect"),
    (["job", "--to", "elsewhere"], 2, "invalid choice"),
    (["job", "--to", "jsonl", "--replay"], 1, "has nothing of job"),
    (["job", "--to", "jsonl", "--ftctl", "/no/such/program"], 1, "--ftctl says where it is"),
])
def test_bad_calls(tmp_path, args, code, text):
    with fake_ftd() as ftd:
        done = Exporter(ftd, tmp_path).run(*args)
        assert done.returncode == code and text in done.stderr and "Traceback" not in done.stderr


def test_a_library_that_is_not_installed(tmp_path):
    (tmp_path / "wandb.py").write_text("raise ImportError(\"No module named 'wandb'\")")
    with fake_ftd("steps=2") as ftd:
        job = submit(ftd).id
        ftd.wait(job, "SUCCEEDED")
        done = Exporter(ftd, tmp_path, tmp_path).run(job, "--to", "wandb")
        assert done.returncode == 1 and "pip install wandb" in done.stderr
