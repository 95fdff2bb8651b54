"""ft-train: the scripts' flags in the foreground. Its results are those of a job."""
import json
import pathlib
import re
import shutil
import signal
import subprocess

import pytest
from conftest import submit, weights
from ftd_fixture import BIN, DEADLINE_S, Ftd, wait_until

FLAGS = ["--batch_size", 4, "--seq_length", 96]


def command(*args):
    return [BIN / "ft-train", *map(str, args)]


def train(*args, check=True, cwd=None):
    done = subprocess.run(command(*args), capture_output=True, text=True, timeout=DEADLINE_S, cwd=cwd)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("mode", ["lora", "full", "qlora"])
def test_the_same_as_a_job(mode, model, dataset, tmp_path):
    done = train("--model_name", model, "--dataset", dataset, "--mode", mode, "--max_steps", 6, "--learning_rate", 1e-3,
                 *FLAGS, "--output_dir", tmp_path / "out", "--log_dir", tmp_path / "logs")
    with Ftd() as ftd:
        job = submit(ftd, model, dataset, mode=mode, max_steps=6, learning_rate=1e-3, dataset_shuffle_seed=42)
        result = pathlib.Path(ftd.wait(job, "SUCCEEDED").result_dir)
        assert weights(tmp_path / "out") == weights(result) != {}
        steps = ftd.steps(job)
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    assert float(said["Train loss"]) == pytest.approx(sum(s.loss for s in steps) / 6, abs=6e-5)
    seconds = float(said["Training runtime"].split()[0])  # like the rates, of two decimals: little of a fast processor's
    for rate, count in (("Steps per second", 6), ("Samples per second", 24)):
        assert count / (seconds + 0.0051) - 0.0051 <= float(said[rate]) <= count / max(seconds - 0.0051, 1e-9) + 0.0051
    assert said["Output"] == said["Result"] == str(tmp_path / "out")

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(str(tmp_path / "logs")).Reload()
    assert [e.value for e in events.Scalars("train/loss")] == pytest.approx([s.loss for s in steps], rel=1e-7)  # float32


# Of ftctl's calls, of the queue, and what ft-train does as the scripts do; the rest of `ftctl submit` it takes too.
NOT_TRAINS = {"--address", "--tls-ca", "--tls-cert", "--tls-key", "--token-file", "--quiet", "--output", "--watch", "--validate-only",
              "--file", "--name", "--priority", "--label", "--request-id", "--model", "--sweep", "--after", "--start-from", "--time-limit",
              "--dataset-shuffle-seed", "--shuffle", "--no-shuffle", "--no-load-best-model-at-end"}


def test_takes_the_flags_of_a_job():
    ours, theirs = (set(re.findall(r"--[a-z][a-z-]+", subprocess.run([BIN / program, *verb, "--help"], capture_output=True, text=True).stdout))
                    for program, verb in (("ft-train", []), ("ftctl", ["submit"])))
    assert len(theirs) > 40 and theirs - ours - NOT_TRAINS == set()


def test_version_and_usage():
    assert re.fullmatch(r"ft-train \d+\.\d+\.\d+ \(.*\), LibTorch \S+\n", train("--version").stdout)
    assert "Usage: ft-train [OPTIONS] [preset]" in train("--help").stdout


@pytest.mark.parametrize("flags", [
    {"lr_scheduler_type": "cosine_with_min_lr", "min_lr_rate": 0.1, "warmup_steps": 2, "weight_decay": 0.1, "max_grad_norm": 0.01,
     "use_rslora": True, "target_modules": "q_proj,down_proj", "lora_rank": 4, "lora_alpha": 3, "save_total_limit": 1},
    {"lr_scheduler_type": "cosine_with_min_lr", "min_lr": 1e-5, "template": "Q: {instruction}\\nA: {output}", "mode": "full"},
    {"dataset_shape": "prompt-completion", "columns": "prompt=instruction,completion=output", "train_on": "all", "skip_bad_rows": 1},
], ids=["lora", "full", "columns"])
def test_further_flags_do_as_a_job_s(flags, model, dataset, tmp_path):
    flags = {"max_steps": 6, "learning_rate": 1e-3, **flags}
    words = [word for name, value in flags.items() for word in ([f"--{name}"] if value is True else [f"--{name}", value])]
    train("--model_name", model, "--dataset", dataset, *words, *FLAGS, "--output_dir", tmp_path / "out")
    train("--model_name", model, "--dataset", dataset, "--mode", flags.get("mode", "lora"), "--max_steps", 6, "--learning_rate", 1e-3, *FLAGS,
          "--output_dir", tmp_path / "plain")
    with Ftd() as ftd:
        job = submit(ftd, model, dataset, dataset_shuffle_seed=42, **flags)
        assert weights(tmp_path / "out") == weights(ftd.wait(job, "SUCCEEDED").result_dir) != weights(tmp_path / "plain")


def test_what_is_recomputed_is_recorded_and_changes_nothing(model, dataset, tmp_path):
    """Bare as NVIDIA's scripts have it, also before a preset, and with each of its words; a job's stored spec too."""
    common = ["--model_name", model, "--dataset", dataset, "--max_steps", 2, *FLAGS]
    cases = {
        ("--gradient_checkpointing", "llama3-8b-lora"): ("on", True, True), ("--gradient-checkpointing", "off"): ("off", False, True),
        ("--no_gradient_checkpointing",): ("off", False, True), ("--gradient_checkpointing=auto", "--no_deterministic"): ("auto", None, False),
    }
    seen = []
    for i, (flags, (name, stored, deterministic)) in enumerate(cases.items()):
        out = tmp_path / str(i)
        train(*flags, *common, "--output_dir", out)
        record = json.loads((out / "ftd_run.json").read_text())
        assert (record["gradient_checkpointing"], record["deterministic"]) == (name, deterministic)
        assert (record["spec"]["gradient_checkpointing"], record["spec"]["deterministic"]) == (stored, deterministic)
        seen.append(weights(out))
    assert seen[0] != {} and all(one == seen[0] for one in seen)
    with Ftd() as ftd:
        for given, name in ({}, "auto"), ({"gradient_checkpointing": True, "no_deterministic": True}, "on"):
            job = ftd.wait(submit(ftd, model, dataset, max_steps=2, dataset_shuffle_seed=42, **given), "SUCCEEDED")
            assert job.spec.HasField("gradient_checkpointing") == bool(given)
            assert job.spec.deterministic != bool(given)
            record = json.loads((pathlib.Path(job.result_dir) / "ftd_run.json").read_text())
            assert (record["gradient_checkpointing"], record["deterministic"]) == (name, not given)
            assert weights(job.result_dir) == seen[0]


def logged_losses(logs):
    """TensorBoard's points; of two for one step the newer."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    points = {}
    for file in sorted(logs.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        points |= {e.step: e.value for e in EventAccumulator(str(file)).Reload().Scalars("train/loss")}
    return points


def test_ctrl_c_saves_and_says_how_to_go_on(model, dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # on a busy machine two would wait for each other in each of 800 small steps
    flags = ["--model_name", model, "--dataset", dataset, *FLAGS, "--max_steps", 400, "--save_steps", 1000,
             "--logging_steps", 25]
    process = subprocess.Popen(command(*flags, "--output_dir", tmp_path / "out", "--log_dir", tmp_path / "logs"),
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not process.stderr.readline().startswith("step 25/"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(DEADLINE_S) == 130 and "stopped after step" in rest
    checkpoint, = (tmp_path / "out").glob("checkpoint-*")
    for step in (1, 2):  # a kill may leave more of them than are kept
        shutil.copytree(checkpoint, tmp_path / "out" / f"checkpoint-{step}")
    again = rest.strip().splitlines()[-1].split()
    assert again[0] == "ft-train"
    train(*again[1:])
    assert {path.name for path in (tmp_path / "out").glob("checkpoint-*")} == {checkpoint.name, "checkpoint-2"}
    train(*flags, "--output_dir", tmp_path / "whole")
    assert weights(tmp_path / "out") == weights(tmp_path / "whole") != {}
    points = logged_losses(tmp_path / "logs")
    assert points == logged_losses(tmp_path / "whole" / "logs") and len(points) == 16


def test_nobody_loses_a_model(model, dataset, tmp_path):
    flags = ["--model_name", model, "--dataset", dataset, *FLAGS, "--max_steps", 1]
    done = train(*flags, cwd=tmp_path)
    made = list((tmp_path / "outputs").iterdir())
    assert len(made) == 1 and f"Result: {made[0]}" in done.stdout
    before = weights(made[0])
    refused = train(*flags, "--output_dir", made[0], check=False)
    assert refused.returncode == 73 and str(made[0]) in refused.stderr and weights(made[0]) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("words")
    refused = train(*flags, "--output_dir", tmp_path / "mine", check=False)
    assert refused.returncode != 0 and [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_result_that_was_not_published_yet(model, dataset, tmp_path):
    """Killed while the files of the result were moved to where they stay."""
    flags = ["--model_name", model, "--dataset", dataset, *FLAGS, "--max_steps", 2, "--output_dir", tmp_path / "out"]
    train(*flags)
    whole = weights(tmp_path / "out")
    result = tmp_path / "out" / ".ftd" / "result"
    for left in (["ftd_run.json"], ["adapter_model.safetensors", "ftd_run.json"]):
        result.mkdir()
        for name in left:
            (tmp_path / "out" / name).rename(result / name)
        refused = train(*flags, check=False)
        assert refused.returncode != 0 and "--resume latest" in refused.stderr
        again = train("--resume", "latest", "--output_dir", tmp_path / "out")
        assert "step" not in again.stderr and weights(tmp_path / "out") == whole
        assert (tmp_path / "out" / "ftd_run.json").exists() and not result.exists()


def test_batches_by_tokens(model, dataset, tmp_path):
    flags = ["--seq_length", 96, "--num_epochs", 2, "--batch_tokens", 300, "--learning_rate", 1e-3]
    done = train("--model_name", model, "--dataset", dataset, *flags, "--output_dir", tmp_path / "out")
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    assert said["Batch size"] == "up to 300 tokens"
    seconds = float(said["Training runtime"].split()[0])
    assert 64 / (seconds + 0.0051) - 0.0051 <= float(said["Samples per second"]) <= 64 / max(seconds - 0.0051, 1e-9) + 0.0051
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    assert state["train_batch_size"] is None and state["epoch"] == 2 and said["Steps"] == f"1 to {state['global_step']}"
    with Ftd() as ftd:
        job = ftd.ftctl("submit", "--quiet", "--mode", "lora", "--model", model, "--dataset", dataset, "--dataset-shuffle-seed", 42, *flags)
        job = job.stdout.strip()
        assert weights(tmp_path / "out") == weights(ftd.wait(job, "SUCCEEDED").result_dir) != {}
        assert len(ftd.steps(job)) == state["global_step"]
        shown, log = ftd.ftctl("show", job).stdout, ftd.ftctl("logs", job).stdout
        assert re.search(r"\bbatch tokens 300,", shown) and not re.search(r"(?<![\w-])batch \d", shown)
        assert "batch size up to 300 tokens × 1" in log


def test_tokens_replace_a_preset_s_batch_size(model, dataset, tmp_path):
    done = train("llama3-70b-lora", "--model_name", model, "--dataset", dataset, "--max_steps", 1, "--batch_tokens", 2048, "--output_dir", tmp_path / "out")
    assert "Batch size: up to 2048 tokens\n" in done.stdout


ERRORS = [  # flags, words, exit status
    ([], "which model?", 2),
    (["--model_name", "/no/such/model", "--dataset", "DATASET"], "/no/such/model", 66),
    (["--model_name", "MODEL", "--dataset", "/no/such/rows.jsonl"], "/no/such/rows.jsonl", 66),
    (["--model_name", "MODEL", "--dataset", "DATASET", "--batch_size", "0"], "batch_size", 65),
    (["--model_name", "MODEL", "--dataset", "DATASET", "--batch_tokens", "4096", "--batch_size", "4"], "batch_size does not go with", 65),
    (["--model_name", "MODEL", "--dataset", "DATASET", "--batch_tokens", "4096", "--packing"], "packing does not go with", 65),
    (["--model_name", "MODEL", "--dataset", "DATASET", "--batch_tokens", "512"], "must be at least seq_length, 2048", 65),
    (["--model_name", "MODEL", "--dataset", "DATASET", "--dtype", "int8"], "dtype", 2),
    (["--model_name", "MODEL", "--dataset", "DATASET", "--precision", "hf_parity"], "only for mode full", 65),
    (["llama3-9b-lora"], "llama3-9b-lora", 2),
    (["--resume", "latest"], "--output_dir", 2),
    (["--resume", "latest", "--output_dir", "nothing"], "nothing", 66),
    (["--model_name", "MODEL", "--dataset", "DATASET", "--gradient_checkpointing=true"], "{auto,on,off}", 2),
    (["--resume", "latest", "--output_dir", "nothing", "--gradient_checkpointing", "auto"], "settings that it was started with", 2),
    (["--resume", "latest", "--output_dir", "nothing", "--seed", "3"], "settings that it was started with", 2),
]


@pytest.mark.parametrize("flags, words, status", ERRORS)
def test_errors(flags, words, status, model, dataset, tmp_path):
    named = [{"MODEL": model, "DATASET": dataset}.get(flag, flag) for flag in flags]
    done = train(*named, check=False, cwd=tmp_path)
    assert done.returncode == status and words in done.stderr, (done.returncode, done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_two_at_once_in_one_directory(model, dataset, tmp_path):
    flags = ["--model_name", model, "--dataset", dataset, *FLAGS, "--output_dir", tmp_path / "out", "--save_steps", 1]
    first = subprocess.Popen(command(*flags, "--max_steps", 100_000), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: list((tmp_path / "out").glob("checkpoint-*")), "the first to train")
        second = train("--resume", "latest", "--output_dir", tmp_path / "out", check=False)
        assert second.returncode != 0 and str(tmp_path / "out") in second.stderr
    finally:
        first.kill()
        first.wait()
