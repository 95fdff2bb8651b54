"""Whatever is killed mid-job: the steps recorded and the weights are bit for bit those of an unbroken run.

The moments are random; the seed is printed, and FTD_TEST_SEED takes it back.
"""
import os
import pathlib
import random
import signal

import pytest
from conftest import submit, wait_for_step, weights
from ftd_fixture import Ftd, processes_under, wait_until
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

STEPS, SAVE_STEPS, KILLS = 240, 20, 2
SEED = int(os.environ.get("FTD_TEST_SEED") or random.SystemRandom().randrange(1 << 30))
JOBS = {
    "lora": dict(mode="lora", learning_rate=1e-3, lora_dropout=0.1, seed=3),
    "qlora": dict(mode="qlora", learning_rate=1e-3, lora_dropout=0.1, seed=3),
    # Epochs differ in how many micro-batches they fill, and so in their steps.
    "tokens": dict(mode="lora", learning_rate=1e-3, lora_dropout=0.1, seed=3, batch_tokens=300, gradient_accumulation_steps=2, eval_split=0.3),
    "full": dict(mode="full", learning_rate=1e-4, gradient_accumulation_steps=2, seed=3),
    # The rows are learned by heart from step 84 or so on: the result is of a checkpoint that must outlast attempts.
    "evaluated": dict(mode="full", learning_rate=3e-3, seed=3, eval_split=0.3, eval_steps=7, load_best_model_at_end=True),
}
FAMILIES = {"lora": "gemma3_text", "qlora": "phi3", "tokens": "qwen3", "full": "olmo3", "evaluated": "llama"}


def start_ticks(pid):
    """When a process started: with the pid, its identity."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]


def kill_worker(ftd, job):
    attempts = len(ftd.job(job).attempts)
    os.kill(ftd.worker_pid(job), signal.SIGKILL)
    wait_until(lambda: len(ftd.job(job).attempts) > attempts, "the next attempt")


def kill_daemon(ftd, job):
    pid = ftd.worker_pid(job)
    identity = start_ticks(pid)
    ftd.kill()
    assert start_ticks(pid) == identity, "the worker went on"
    ftd.start()
    assert ftd.worker_pid(job) == pid and start_ticks(pid) == identity, "and was adopted"


def stop_daemon(ftd, job):
    assert ftd.terminate() == 0
    assert processes_under(ftd.state_dir) == []
    ftd.start()


def curves(result):
    """What TensorBoard shows of a result: {tag: [(step, value)]}."""
    events = EventAccumulator(f"{result}/runs").Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag.split("/")[1] in ("loss", "grad_norm", "learning_rate", "entropy")]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


def run(job_flags, model, dataset, interrupt=None):
    """(steps, evaluations, curves), sha256 of each weight file, job of a run that `interrupt` breaks KILLS times."""
    moments = random.Random(SEED)
    with Ftd() as ftd:
        job = submit(ftd, model, dataset, max_steps=STEPS, save_steps=SAVE_STEPS, **job_flags)
        for kill in range(KILLS if interrupt else 0):
            wait_for_step(ftd, job, moments.randint(5, 90) + 100 * kill)
            interrupt(ftd, job)
        done = ftd.wait(job, "SUCCEEDED", deadline_s=180)
        steps = [(s.step, s.epoch, s.loss, s.grad_norm, s.learning_rate, s.tokens_total) for s in ftd.steps(job)]
        evaluations = [(e.step, e.epoch, e.loss, e.entropy, e.mean_token_accuracy) for e in ftd.evaluations(job)]
        return (steps, evaluations, curves(done.result_dir)), weights(done.result_dir), done


# QLoRA differs from LoRA in what it reads at the start alone.
INTERRUPTS = [(kill_worker, 1 + KILLS), (kill_daemon, 1), (stop_daemon, None)]
CASES = [(job, *interrupt) for job in ("lora", "full") for interrupt in INTERRUPTS] + [("qlora", *INTERRUPTS[0]), ("tokens", *INTERRUPTS[0])]
CASES += [("evaluated", *INTERRUPTS[0]), ("evaluated", *INTERRUPTS[2])]


@pytest.fixture(scope="module")
def unbroken(request, model_of, dataset):
    flags, model = JOBS[request.param], model_of(FAMILIES[request.param])
    return flags, model, *run(flags, model, dataset)[:2]


@pytest.mark.parametrize("unbroken,interrupt,attempts", CASES, indirect=["unbroken"])
def test_interrupted_run_equals_unbroken(interrupt, attempts, unbroken, dataset):
    print(f"FTD_TEST_SEED={SEED}")
    flags, model, steps, whole = unbroken
    got_steps, got_weights, job = run(flags, model, dataset, interrupt)
    assert [s[0] for s in steps[0]] == list(range(1, STEPS + 1)) and whole
    if "eval_steps" in flags:
        assert len(steps[1]) == STEPS // flags["eval_steps"] + 1
        best = min(steps[1], key=lambda evaluation: evaluation[2])
        assert best not in (steps[1][0], steps[1][-1]), "the case shows nothing when the first or last is the best"
    assert got_steps == steps
    # One log over all attempts, with every step and evaluation once.
    assert [step for step, _ in got_steps[2]["train/loss"]] == list(range(1, STEPS + 1))
    assert [step for step, _ in got_steps[2].get("eval/loss", [])] == [evaluation[0] for evaluation in steps[1]]
    assert got_weights == whole
    if attempts:
        assert len(job.attempts) == attempts
