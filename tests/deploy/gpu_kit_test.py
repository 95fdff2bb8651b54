"""The GPU kit's scripts: on this machine with the build's programs; and with stubs that act as if there were a GPU, so that
each step is seen to pass and to fail. ./dev soak gpu-kit runs the packed kit on a bare machine.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from ftd_fixture import BUILD, REPO

GPU = REPO / "bench" / "gpu"
STUBS = REPO / "tests" / "deploy" / "gpu_kit_stubs"
PROGRAMS = ["bin/ft-worker", "tests/gpu_test", "tests/gpu_trainer_test", "bench/ops_bench"]
sys.path[:0] = [str(GPU)]
import check  # noqa: E402
import pack  # noqa: E402
import report  # noqa: E402


def lay_out(home):
    (home / "bin").mkdir(parents=True)
    for script in pack.SCRIPTS:
        shutil.copy(script, home)
    return home


def run_kit(home, out, *flags, limit=120, **environment):
    """(exit status, kit.json's steps by name, the table)"""
    environment = {"PATH": f"{home / 'path'}:/usr/bin:/bin", "HOME": "/nonexistent", "PYTHON": sys.executable, **environment}
    done = subprocess.run([home / "run.sh", *flags, out], capture_output=True, text=True, timeout=limit, env=environment, cwd=home)
    print(done.stdout + done.stderr)
    steps = json.loads((out / "kit.json").read_text())["steps"] if (out / "kit.json").exists() else []
    return done.returncode, {step["name"]: step for step in steps}, done.stdout


def left_behind():
    return [path for root in ("/dev/shm", "/tmp") for path in pathlib.Path(root).glob("ftd-gpu-kit-[0-9]*")]


@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="a GPU's run is the kit's own business")
def test_without_a_gpu_the_cpus_halves_run(tmp_path):
    home = lay_out(tmp_path / "kit")
    for program in PROGRAMS:
        (home / "bin" / pathlib.Path(program).name).symlink_to(BUILD / program)
    rc, steps, table = run_kit(home, tmp_path / "out", "--quick", SECONDS_MAX="300", limit=320)
    assert rc == 0 and {step["status"] for step in steps.values()} == {"passed"}
    assert list(steps) == [name for name, _, _ in check.STEPS[:check.QUICK]]
    for name in ("environment", "gpu_test", "gpu_trainer_test", "training"):
        assert "no GPU" in "; ".join(steps[name]["notes"])
    assert "5 passed, 0 failed, 0 skipped" in table and (tmp_path / "out/table.txt").read_text() in table


@pytest.fixture
def pretended(tmp_path):
    """A kit whose every program is a stub that says there is a GPU."""
    home = lay_out(tmp_path / "kit")
    (home / "path").mkdir()
    (home / "torch").mkdir()
    shutil.copy(STUBS / "torch_stub.py", home / "torch" / "__init__.py")
    stub = (STUBS / "program.py").read_text().replace("/usr/bin/env python3", sys.executable, 1)
    for place in [*(f"bin/{pathlib.Path(program).name}" for program in PROGRAMS), "path/nvidia-smi", "hf_peer.py", "make_models.py"]:
        (home / place).write_text(stub)
        (home / place).chmod(0o755)
    return home


def test_with_a_gpu_every_step_runs(pretended, tmp_path):
    before = left_behind()
    rc, steps, table = run_kit(pretended, tmp_path / "out")
    roomy = shutil.disk_usage("/dev/shm").free > 46e9 or shutil.disk_usage("/tmp").free > 46e9
    assert rc == 0
    assert {name for name, step in steps.items() if step["status"] != "passed"} <= (set() if roomy else {"70B QLoRA"})
    assert len(steps) == len(check.STEPS) and left_behind() == before
    measured = {figure["name"]: figure for step in steps.values() for figure in step["figures"]}
    speed = measured["8B LoRA, 8 × 2048, speed"]
    assert (speed["predicted"], speed["verdict"]) == ([11800, 15300], "as predicted")
    assert speed["measured"] == pytest.approx(2048 / 0.15)
    assert measured["8B LoRA, 8 × 2048, memory"]["measured"] == pytest.approx(69.2, abs=0.1)
    assert measured["8B LoRA, 8 × 2048, over transformers + PEFT"]["measured"] == pytest.approx(2.5, abs=0.01)
    if roomy:  # the large models' figures are all there, so their predictions are compared
        assert set(report.PREDICTED) - set(measured) == {
            "attention forward, 16384 rows", "attention backward, deterministic, 16384 rows"}
    assert re.search(r"8B LoRA, 8 × 2048, speed +13,653 tok/s +predicted 11,800 to 15,300 +as predicted", table)


@pytest.mark.parametrize("fault,step,said", [
    ("test", "gpu_test", "failed: A.B"),
    ("skipped", "gpu_test", "tests were skipped"),
    ("warning", "gpu_test", "does not have a deterministic implementation"),
    ("crash", "gpu_trainer_test", "exit status -6"),
    ("distance", "training", "from the CPU's"),
    ("resume", "resume", "other bits than the unbroken run's"),
    ("kernels", "ops_bench", "none of the engine's own kernels"),
    ("bits", "8B LoRA", "two runs have different bits"),
    ("peer", "peer", "loss 0.0099 from PEFT's"),
    ("memory", "out of memory", "not GPU_OUT_OF_MEMORY"),
    ("parts", "out of memory", "sufficed for a whole batch"),
])
def test_a_wrong_result_fails_its_step_alone(fault, step, said, pretended, tmp_path):
    rc, steps, _ = run_kit(pretended, tmp_path / "out", "--only", step, "--only", "3B full", FAULT=fault)
    assert rc == 1
    assert {name: found["status"] for name, found in steps.items()} == {"environment": "passed", step: "failed", "3B full": "passed"}
    assert said in "; ".join(steps[step]["notes"])


def test_a_slow_machine_has_not_failed(pretended, tmp_path):
    rc, steps, _ = run_kit(pretended, tmp_path / "out", "--only", "ops_bench", FAULT="slow")
    slow = next(figure for figure in steps["ops_bench"]["figures"] if figure["name"] == "own kernel, 16384 rows")
    assert rc == 0 and slow["verdict"] == "below"


def test_the_time_is_bounded(pretended, tmp_path):
    (pretended / "bin/gpu_test").write_text("#!/bin/sh\nsleep 100\n")
    rc, steps, _ = run_kit(pretended, tmp_path / "out", SECONDS_MAX="6", limit=20)
    assert rc == 1 and steps["gpu_test"]["rc"] == 124 and sum(step["seconds"] for step in steps.values()) < 8
    assert len(steps) == len(check.STEPS) and steps["3B full"]["status"] == "skipped"


def test_nothing_is_overwritten(pretended, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("")
    rc, steps, _ = run_kit(pretended, tmp_path / "out")
    assert rc == 2 and not steps and [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_the_predictions_are_the_documents(tmp_path):
    text = (REPO / "docs/performance.md").read_text()
    table = re.search(r"\| figure \| predicted \|\n\| --- \| --- \|\n((?:\|.*\n)+)", text)[1]
    documented = {tuple(cell.strip() for cell in line.split("|")[1:3]) for line in table.splitlines()}
    assert documented == {(name, f"{report.span(low, high)} {unit}") for name, (low, high, unit) in report.PREDICTED.items()
                          if (low, high) != (None, None)}


def test_the_reason_that_the_kit_looks_for_is_the_products():
    import speed
    source = (REPO / "worker/run/failure.cc").read_text()
    helper = {name: re.findall(r'return (?:absl::StrCat\()?"([^"]*)"', body)
              for name, body in re.findall(r"std::string (Smaller|Lighter)\((.*?)\n}", source, re.DOTALL)}
    hints = re.findall(r'case v1::(\w+):\n\s+return (?:absl::StrCat\()?(?:(\w+)\(|"([^"]*))', source)
    begins = {reason: helper[called] if called else [text] for reason, called, text in hints}
    assert len(begins) > 5 and len(begins["GPU_OUT_OF_MEMORY"]) == 3
    found = {reason: [bool(speed.OUT_OF_MEMORY.search(f"hint: {hint}")) for hint in texts] for reason, texts in begins.items()}
    assert all(found.pop("GPU_OUT_OF_MEMORY")) and not any(map(any, found.values()))
