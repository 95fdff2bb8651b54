"""WatchJob: each event once and in order, however often the stream or the daemon breaks.

The moments are random; the seed is printed, and FTD_TEST_SEED takes it back.
"""
import os
import random
import subprocess

import grpc
from conftest import submit
from ftd_fixture import BIN, Ftd, state_name, wait_until

SEED = int(os.environ.get("FTD_TEST_SEED") or random.SystemRandom().randrange(1 << 30))
STEPS = 300


class Watcher:
    """Follows a job over many broken streams, keeping what it saw."""

    def __init__(self, ftd, job):
        self.ftd, self.job, self.token = ftd, job, ""
        self.steps, self.states, self.snapshots, self.streams = [], [], 0, 0

    def read(self, limit):
        """Takes at most `limit` messages of a new stream. True when the server ended it with OK."""
        self.streams += 1
        stream = self.ftd.watch(self.job, self.token)
        try:
            for _ in range(limit):
                message = next(stream, None)
                if message is None:
                    return True
                self.take(message)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error
        finally:
            stream.cancel()
        return False

    def take(self, message):
        self.token = message.resume_token
        kind = message.WhichOneof("event")
        if kind == "snapshot":
            self.snapshots += 1
        elif kind == "step":
            self.steps.append(message.step.step)
        elif kind == "state_change":
            self.states.append(message.state_change)
        assert kind != "rolled_back_to_step", "no attempt was repeated"


def check(watcher):
    assert watcher.snapshots == 1
    assert watcher.steps == sorted(set(watcher.steps)), "each step once, in order"
    assert len(watcher.steps) == STEPS
    sequence = [change.sequence for change in watcher.states]
    assert sequence == list(range(sequence[0], sequence[0] + len(sequence)))
    assert state_name(watcher.states[-1].to) == "SUCCEEDED"
    for before, after in zip(watcher.states, watcher.states[1:]):
        assert before.to == getattr(after, "from")


def test_random_reconnects(ftd, model, dataset):
    print(f"FTD_TEST_SEED={SEED}")
    moments = random.Random(SEED)
    watcher = Watcher(ftd, submit(ftd, model, dataset, max_steps=STEPS))
    wait_until(lambda: watcher.read(moments.randint(1, 25)), "the end of the watch")
    assert watcher.streams > 10
    check(watcher)


def test_daemon_restarts_mid_stream(ftd, model, dataset):
    print(f"FTD_TEST_SEED={SEED}")
    moments = random.Random(SEED)
    watcher = Watcher(ftd, submit(ftd, model, dataset, max_steps=STEPS))
    for kill in range(3):
        watcher.read(moments.randint(5, 60))
        ftd.kill()
        ftd.start()
    wait_until(lambda: watcher.read(1 << 30), "the end of the watch")
    check(watcher)


def test_watch_of_a_finished_job_replays_it(ftd, model, dataset):
    job = submit(ftd, model, dataset, max_steps=STEPS)
    ftd.wait(job, "SUCCEEDED")
    watcher = Watcher(ftd, job)
    assert watcher.read(1 << 30)
    assert watcher.steps == list(range(1, STEPS + 1)) and watcher.snapshots == 1


def test_ftctl_watch_outlives_the_daemon(model, dataset):
    """Piped, `ftctl watch` is one line per logged step, each once, though ftd is killed under it."""
    with Ftd() as ftd:
        job = submit(ftd, model, dataset, max_steps=STEPS)
        watch = subprocess.Popen([BIN / "ftctl", "--address", ftd.address, "watch", job], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: ftd.job(job).last_step.step > 20, "some steps")
            ftd.kill()
            ftd.start()
            out, err = watch.communicate(timeout=90)
        finally:
            watch.kill()
        assert watch.returncode == 0, err
        seen = [int(line.split()[1].split("/")[0]) for line in out.splitlines() if line.startswith("step ")]
        assert seen == list(range(1, STEPS + 1))
