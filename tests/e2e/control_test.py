"""Pause, resume, hold, release, priority and `cancel --keep` at random moments, in every phase of a worker's life.

A moment is a phase of the worker, at which it is frozen so that the moment is known, or any time at all; then ftctl asks for
something, sometimes with a kill or a restart of the daemon. Each checkpoint must verify and hold what the unbroken run held
at its step, no process may be left, and the result must be the unbroken run's. FTD_CONTROL_MOMENTS is the number of moments
in each mode; the seed is printed, and FTD_TEST_SEED takes it back.
"""
import collections
import contextlib
import hashlib
import itertools
import json
import os
import pathlib
import random
import signal
import time

import pytest
from conftest import ENDLESS, history, submit, weights
from ftd_fixture import Ftd, alpaca_rows, jobs, processes_under, write_jsonl
from safetensors.numpy import load_file

SEED = int(os.environ.get("FTD_TEST_SEED") or random.SystemRandom().randrange(1 << 30))
MOMENTS = int(os.environ.get("FTD_CONTROL_MOMENTS") or 6)
MOMENTS_OF_A_RUN = 8  # then it is let go on to its end
MOMENTS_FOR_ALL_PHASES = 60  # so many hit each phase, whatever the seed
FROZEN = 0.7  # the share of moments at which the worker stands still

STEPS = 160
JOBS = {
    "lora": dict(mode="lora", learning_rate=1e-3, lora_dropout=0.1, seed=3, eval_split=16, eval_steps=9),
    "full": dict(mode="full", learning_rate=3e-3, gradient_accumulation_steps=2, seed=3, eval_split=16, eval_steps=9,
                 load_best_model_at_end=True),
}
PHASES = ["VALIDATE", "TOKENIZE", "LOAD", "TRAIN", "EVAL", "CHECKPOINT", "EXPORT"]
STATE_FILES = ["adapter_model.safetensors", "model.safetensors", "optimizer.safetensors"]
# The models are too small for two threads, which on a busy machine wait for each other a hundred times as long as they work.
ENVIRONMENT = {"OMP_NUM_THREADS": "1"}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def verified(checkpoint):
    """The sha256 of each file of a checkpoint, all of them those of its manifest."""
    files = json.loads((checkpoint / "MANIFEST.json").read_text())["files"]
    assert {p.name for p in checkpoint.iterdir()} == {*files, "MANIFEST.json"}
    found = {name: sha256(checkpoint / name) for name in files}
    assert found == {name: file["sha256"] for name, file in files.items()}, f"{checkpoint} is damaged"
    return found


class Unbroken:
    """What a run that nobody disturbs has after each of its steps and at its end."""

    def __init__(self, flags, model, rows):
        with Ftd(env=ENVIRONMENT) as ftd:
            job = submit(ftd, model, rows, max_steps=STEPS, save_steps=1, save_total_limit=1000, **flags)
            done = ftd.wait(job, "SUCCEEDED", deadline_s=180)
            checkpoints = {c.step: pathlib.Path(c.path) for c in done.checkpoints}
            assert sorted(checkpoints) == list(range(1, STEPS))
            self.states = {step: verified(path) for step, path in checkpoints.items()}
            self.tensors = {step: tensors(path) for step, path in checkpoints.items()}
            self.weights, self.history = weights(done.result_dir), history(pathlib.Path(done.result_dir))
            self.tensors[STEPS] = tensors(pathlib.Path(done.result_dir))
            self.steps = steps_of(ftd, job)


def tensors(directory):
    """The bits of the weights, by name."""
    files = [f for f in directory.glob("*.safetensors") if f.name != "optimizer.safetensors"]
    return {name: (value.dtype, value.tobytes()) for f in files for name, value in load_file(f).items()}


def steps_of(ftd, job):
    return [(s.step, s.epoch, s.loss, s.grad_norm, s.learning_rate, s.tokens_total) for s in ftd.steps(job)]


class Life:
    """Of one job that is disturbed until it is done."""

    def __init__(self, ftd, mode, model, rows, unbroken, chance):
        self.ftd, self.model, self.rows, self.unbroken, self.chance = ftd, model, rows, unbroken, chance
        self.job = submit(ftd, model, rows, max_steps=STEPS, save_steps=7, **JOBS[mode])
        self.seen = ""  # the worker's phase at the last moment

    def state(self):
        return jobs.Job.State.Name(self.ftd.job(self.job).state)

    def worker(self):
        """The pid of the living worker, or None."""
        attempts = self.ftd.job(self.job).attempts
        living = attempts and attempts[-1].state == jobs.Attempt.ACTIVE and attempts[-1].pid
        return living if living and pathlib.Path(f"/proc/{living}").exists() else None

    def wait_for(self, phase, step):
        """Until the worker is in `phase` after `step`; False when the job has ended before."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            now = self.ftd.job(self.job)
            if now.state not in (jobs.Job.QUEUED, jobs.Job.PREPARING, jobs.Job.RUNNING):
                return False
            here = now.HasField("progress") and jobs.Progress.Phase.Name(now.progress.phase)
            active = now.attempts and now.attempts[-1].state == jobs.Attempt.ACTIVE
            if active and (phase == "" or here == phase) and now.last_step.step >= step:
                return True
        raise TimeoutError(f"{self.job} did not reach {phase} after step {step}: {self.ftd.log()}")

    @contextlib.contextmanager
    def frozen(self):
        pid = self.worker()
        if pid and self.chance.random() < FROZEN:
            os.kill(pid, signal.SIGSTOP)
        self.seen = jobs.Progress.Phase.Name(self.ftd.job(self.job).progress.phase)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                pid and os.kill(pid, signal.SIGCONT)

    def ftctl(self, *args):
        """True when it was done, False when it came too late for that."""
        result = self.ftd.ftctl(*args, check=False)
        assert result.returncode in (0, 1), result.stderr
        assert result.returncode == 0 or "has ended" in result.stderr or "nothing to keep" in result.stderr, result.stderr
        return result.returncode == 0

    # What may happen to the daemon in between.

    def nothing(self):
        pass

    def kill_daemon(self):
        self.ftd.kill()

    def stop_daemon(self):
        self.ftd.signal(signal.SIGTERM)

    def then(self, fault):
        """The daemon runs again, if it had to end."""
        if fault == self.stop_daemon:
            assert self.ftd.process.wait(60) == 0, self.ftd.log()
            assert processes_under(self.ftd.state_dir) == []
        if fault != self.nothing:
            self.ftd._drop_channel()
            self.ftd.start()

    def check_rest(self, *states):
        """It comes to rest in one of `states`: no process, whole checkpoints, those of the unbroken run. The job."""
        done = self.ftd.wait(self.job, *states)
        assert processes_under(self.ftd.state_dir) == []
        for checkpoint in done.checkpoints:
            found = verified(pathlib.Path(checkpoint.path))
            expected = self.unbroken.states.get(checkpoint.step, found)
            assert {f: found.get(f) for f in STATE_FILES} == {f: expected.get(f) for f in STATE_FILES}, checkpoint
        if done.state == jobs.Job.PAUSED and done.last_step.step > 0:
            assert done.checkpoints[-1].step == done.last_step.step, done
        assert not list(self.ftd.state_dir.glob("jobs/*/attempts/*/.tmp*"))
        return done

    # What users ask for. True when the job has ended by it.

    def pause(self):
        fault = self.chance.choice([self.nothing, self.nothing, self.kill_daemon, self.stop_daemon])
        with self.frozen():
            self.ftctl("pause", self.job)
            self.chance.random() < 0.3 and self.ftctl("pause", self.job)
            fault()
        self.then(fault)
        return self.check_rest("PAUSED", "SUCCEEDED").state == jobs.Job.SUCCEEDED

    def pause_and_resume(self):
        if self.pause():
            return True
        if self.chance.random() < 0.3:
            self.shuffle_the_queue()
        else:
            self.ftctl("resume", self.job)
        return False

    def shuffle_the_queue(self):
        """Resumed, held, released and overtaken while another job has the device."""
        other = submit(self.ftd, self.model, self.rows, max_steps=ENDLESS)
        self.ftd.wait(other, "PREPARING", "RUNNING")
        third = submit(self.ftd, self.model, self.rows, max_steps=ENDLESS)
        self.ftctl("resume", self.job)
        assert [self.ftd.job(j).position for j in (self.job, third)] == [1, 2], "it is the older one"
        self.ftctl("update", third, "--priority", 1)
        assert self.ftd.job(self.job).position == 2
        self.ftctl("update", self.job, "--priority", 2, "--label", "moved=yes")
        assert self.ftd.job(third).position == 2 and self.ftd.job(self.job).labels["moved"] == "yes"
        self.ftctl("hold", self.job)
        assert self.state() == "HELD" and self.ftd.job(third).position == 1
        self.ftctl("release", self.job)
        assert self.ftd.job(self.job).position == 1
        for job in (third, other):
            self.ftctl("cancel", job)
            self.ftd.wait(job, "CANCELLED")
        self.ftd.ftctl("update", self.job, "--priority", 0, check=False)

    def keep(self):
        fault = self.chance.choice([self.nothing, self.nothing, self.kill_daemon, self.stop_daemon])
        with self.frozen():
            kept = self.ftctl("cancel", "--keep", self.job)
            fault()
        self.then(fault)
        if not kept and not self.ftd.job(self.job).end_time.seconds:
            return False
        self.check_result()
        return True

    def pause_and_keep(self):
        with self.frozen():
            self.ftctl("pause", self.job)
            at_once = self.chance.random() < 0.5 and self.ftctl("cancel", "--keep", self.job)
        if not at_once and not self.pause():
            if not self.ftctl("cancel", "--keep", self.job):
                self.ftctl("resume", self.job)
                return False
        self.check_result()
        return True

    def check_result(self):
        """The result is the unbroken run's, as it was at the step that it tells."""
        done = self.check_rest("SUCCEEDED")
        result = pathlib.Path(done.result_dir)
        steps = json.loads((result / "ftd_run.json").read_text())["steps"]
        assert steps == done.last_step.step
        assert steps_of(self.ftd, self.job) == self.unbroken.steps[:steps]
        log = history(result)
        assert log == [entry for entry in self.unbroken.history if entry["step"] <= steps and entry in log]
        assert [entry["step"] for entry in log if "loss" in entry] == list(range(1, steps + 1))
        best = json.loads((result / "trainer_state.json").read_text())["best_model_checkpoint"]
        taken = int(best.split("-")[1]) if best else steps
        assert tensors(result) == self.unbroken.tensors[taken] != {}
        if steps == STEPS and not self.ended_early(done):
            assert weights(result) == self.unbroken.weights and log == self.unbroken.history
        return steps

    def ended_early(self, job):
        return "ended early" in job.message


def aim(life, hits):
    """(phase, step): a phase that was hit least, somewhere ahead."""
    tokens = life.ftd.state_dir / "tokens"
    ahead = [p for p in PHASES if p != "TOKENIZE" or not (tokens.exists() and any(tokens.iterdir()))]
    least = min(hits[phase] for phase in ahead)
    phase = life.chance.choice([phase for phase in ahead if hits[phase] == least])
    if phase in ("VALIDATE", "TOKENIZE", "LOAD", "EXPORT"):
        return phase, 0
    return phase, min(life.ftd.job(life.job).last_step.step + life.chance.randint(0, 25), STEPS - 10)


@pytest.mark.parametrize("mode", JOBS)
def test_at_random_moments(mode, model, tmp_path):
    print(f"FTD_TEST_SEED={SEED}")
    chance = random.Random(f"{SEED} {mode}")
    rows = write_jsonl(tmp_path / "rows.jsonl", alpaca_rows(200))
    unbroken = Unbroken(JOBS[mode], model, rows)
    hits, asked, results = collections.Counter(), collections.Counter(), collections.Counter()
    for number in itertools.count():
        with Ftd(env=ENVIRONMENT) as ftd:
            life = Life(ftd, mode, model, rows, unbroken, chance)
            for _ in range(min(MOMENTS_OF_A_RUN, MOMENTS - asked.total())):
                if not life.wait_for(*aim(life, hits)):
                    break
                act = chance.choice([life.pause_and_resume] * 5 + [life.keep, life.pause_and_keep])
                ended = act()
                hits[life.seen] += 1
                asked[act.__name__] += 1
                if ended:
                    break
            ftd.wait(life.job, "SUCCEEDED", deadline_s=120)
            results[life.check_result()] += 1
        if asked.total() >= MOMENTS:
            break
    print(f"{mode}: {asked.total()} moments in {number + 1} runs: {dict(hits)}, {dict(asked)}; results after {dict(results)}")
    assert MOMENTS < MOMENTS_FOR_ALL_PHASES or all(hits[phase] for phase in PHASES)
