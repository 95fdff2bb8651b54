"""ftctl against the real ftd and ft-worker: the whole path, a restart of ftd under a watcher, and `run`."""

import json
import os
import pathlib
import signal
import subprocess

import pytest

from fake_ftd import wait_for
from ftd_fixture import BIN, DEADLINE_S, Ftd, alpaca_rows, processes_under, write_jsonl
from tiny_model import make_tiny_llama


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny")
    make_tiny_llama(root / "model")
    write_jsonl(root / "rows.jsonl", alpaca_rows(64))
    return root


def flags(tiny, steps):
    return ["--mode", "lora", "--model", tiny / "model", "--dataset", tiny / "rows.jsonl", "--max-steps", steps,
            "--batch-size", 2, "--seq-length", 64, "--logging-steps", 5]


def test_submit_watch_show_metrics_get(tiny, tmp_path):
    with Ftd() as ftd:
        submitted = ftd.ftctl("submit", *flags(tiny, 10), "--name", "first", "--watch")
        lines = submitted.stdout.splitlines()
        assert [line.split()[1] for line in lines if line.startswith("step")] == ["5/10", "10/10"]
        assert lines[-1].startswith("state SUCCEEDED")
        job = json.loads(ftd.ftctl("show", "first", "-o", "json").stdout)
        assert (job["id"], job["state"], job["spec"]["max_steps"]) == (lines[0], "SUCCEEDED", 10)
        rows = [json.loads(line) for line in ftd.ftctl("metrics", "first", "-o", "jsonl").stdout.splitlines()]
        recorded = ftd.steps("first")
        assert [(r["step"], r["loss"], r["tokens_total"]) for r in rows] == [(s.step, s.loss, s.tokens_total)
                                                                            for s in recorded] and len(rows) == 10
        ftd.ftctl("get", "first", tmp_path / "out")
        for path in pathlib.Path(job["result_dir"]).rglob("*"):
            if path.is_file():
                assert (tmp_path / "out" / path.relative_to(job["result_dir"])).read_bytes() == path.read_bytes()
        assert (tmp_path / "out" / "adapter_model.safetensors").exists()
        assert ftd.ftctl("wait", "first").returncode == 0
        assert ftd.ftctl("cancel", "first", check=False).returncode == 1
        assert ftd.ftctl("show", "nobody", check=False).returncode == 102


def test_refusals_have_their_exit_codes(tiny):
    with Ftd() as ftd:
        def code(*changes):
            return ftd.ftctl("submit", *flags(tiny, 1), *changes, check=False).returncode

        assert code("--model", "/nowhere") == 66
        assert code("--batch-size", 0) == 65
        assert code("--validate-only") == 0


def test_watch_survives_kill_9_and_restart_of_ftd(tiny):
    with Ftd() as ftd:
        job = ftd.ftctl("submit", *flags(tiny, 1500), "--quiet").stdout.strip()
        watch = subprocess.Popen([BIN / "ftctl", "--address", ftd.address, "watch", job], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
        seen = []
        while not seen or not seen[-1].startswith("step"):
            seen.append(watch.stdout.readline())
        ftd.kill()
        ftd.start()
        seen += watch.stdout  # communicate() would pass over what readline() has in its buffer
        err = watch.stderr.read()
        assert watch.wait(timeout=DEADLINE_S) == 0, err
        steps = [int(line.split()[1].split("/")[0]) for line in seen if line.startswith("step")]
        assert steps == list(range(5, 1501, 5)), "each once, in order"


def run(tiny, tmp_path, *more):
    (tmp_path / "cache").mkdir(exist_ok=True)
    return subprocess.Popen([str(BIN / "ftctl"), "run", *map(str, [*flags(tiny, 5), *more])], cwd=tmp_path, text=True,
                            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_run_brings_the_result_and_leaves_nothing(tiny, tmp_path):
    process = run(tiny, tmp_path)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err
    assert "step 5/5" in out
    assert (tmp_path / "model-result" / "adapter_model.safetensors").exists()
    assert processes_under(tmp_path / "cache") == [] and list((tmp_path / "cache").rglob("run-*")) == []


def interrupted(process):
    """Ctrl-C once a step is taken; the command that continues, which stderr names."""
    while not process.stdout.readline().startswith("step"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130 and "Continue with:\n  ftctl run --resume " in err, err
    return err.rpartition("--resume ")[2].strip()


def test_ctrl_c_of_run_saves_and_the_run_continues(tiny, tmp_path):
    """Twice interrupted, it ends as an unbroken run does."""
    whole = run(tiny, tmp_path, "--max-steps", 400, "--output-dir", "whole")
    whole.communicate(timeout=DEADLINE_S)
    kept = interrupted(run(tiny, tmp_path, "--max-steps", 400, "--output-dir", "broken"))
    wait_for(lambda: not processes_under(tmp_path / "cache"))
    resumed = subprocess.Popen([BIN / "ftctl", "run", "--resume", kept], cwd=tmp_path, text=True, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert interrupted(resumed) == kept
    last = subprocess.run([BIN / "ftctl", "run", "--resume", kept], cwd=tmp_path, text=True, capture_output=True, timeout=DEADLINE_S)
    assert last.returncode == 0 and "step 400/400" in last.stdout, last.stderr
    results = [(tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("whole", "broken")]
    assert results[0] == results[1]
    assert not processes_under(tmp_path / "cache") and list((tmp_path / "cache").rglob("run-*")) == []


def test_the_doctor_finds_no_fault_here():
    with Ftd() as ftd:
        environment = {"HF_HUB_OFFLINE": "1", "XDG_CONFIG_HOME": str(ftd.state_dir)}
        rows = {row["check"]: row for row in json.loads(ftd.ftctl("doctor", "-o", "json", env=environment).stdout)}
        assert "fail" not in {row["verdict"] for row in rows.values()}, rows
        assert f"free in {ftd.state_dir}" in rows["state disk"]["found"]
        assert rows["worker"]["verdict"] == "ok" and "LibTorch" in rows["worker"]["found"]
