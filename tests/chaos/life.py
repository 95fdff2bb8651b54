"""A small life of some jobs that passes each place of places.py: all verbs, each repeated until it is answered."""
import contextlib
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
import uuid

import grpc

from ftd_fixture import BIN, api, api_grpc, jobs, wait_until
from history import Follower, workers_of
from users import PASSING, Known, User, reason_of_or_none

STEPS, SAVE = 12, 4
FINAL = (jobs.Job.SUCCEEDED, jobs.Job.FAILED, jobs.Job.CANCELLED)
BIG_LOG = 66 << 20


class Keeper(threading.Thread):
    """Starts the daemon again when it dies, as a service manager does."""

    def __init__(self, ftd):
        super().__init__(daemon=True)
        self.ftd, self.lock, self.over, self.deaths = ftd, threading.Lock(), threading.Event(), 0

    def run(self):
        while not self.over.wait(0.01):
            with self.lock:
                if self.ftd.process.poll() is not None:
                    self.deaths += 1
                    self.start_again()

    def start_again(self):
        for left in reversed(range(20)):
            try:
                return self.ftd.start()
            except RuntimeError:
                self.deaths += 1
                if not left:
                    raise

    def restart(self, meanwhile=lambda: None):
        with self.lock:
            with contextlib.suppress(RuntimeError):
                self.ftd.terminate()
            meanwhile()
            self.start_again()


class Life(User):
    def __init__(self, ftd, keeper, seed):
        super().__init__("life", seed, ftd.new_channel, None)
        self.ftd, self.keeper, self.followers = ftd, keeper, []

    def upload(self):
        """A spec whose rows nobody has uploaded before."""
        data = json.dumps({"instruction": str(uuid.UUID(int=self.rng.getrandbits(128))), "output": "Hello."}).encode() + b"\n"
        digest = hashlib.sha256(data).hexdigest()
        header = api.UploadFileRequest.Header(sha256=digest, size_bytes=len(data), file_name="rows.jsonl")
        for _ in range(500):
            try:
                with self.connect() as channel:
                    api_grpc.FineTuningStub(channel).UploadFile(
                        iter([api.UploadFileRequest(header=header), api.UploadFileRequest(data=data)]), timeout=20)
                break
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.UNAVAILABLE or reason_of_or_none(error) in PASSING, error
                time.sleep(0.05)
        spec = self.ftd.spec(self.ftd.model)
        spec.dataset.upload_sha256, spec.dataset.file_name = digest, "rows.jsonl"
        return spec

    def new_job(self, spec, **links):
        known = Known(self.new_id())
        fields = dict(spec=spec, request_id=known.request_id, labels={"text": ""}, **links)
        made = self.call("SubmitJob", **fields)
        job, known.after = made.id, list(made.after)
        assert self.call("SubmitJob", **fields).id == job
        self.jobs[job] = known
        self.followers.append(Follower(self.ftd, job))
        self.followers[-1].start()
        return job

    def until(self, job, reached, what):
        end = time.monotonic() + 60
        while not reached(found := self.call("GetJob", job=job)):
            assert time.monotonic() < end, f"waited for {job} to {what}: {found}\n{self.ftd.log()}"
            time.sleep(0.01)
        return found

    def until_step(self, job, step):
        return self.until(job, lambda j: j.last_step.step >= step or j.state in FINAL, f"take step {step}")

    def until_end(self, job):
        return self.until(job, lambda j: j.state in FINAL, "end")

    def paused(self, job):
        """Pauses it with a checkpoint, and resumes it; the resumed attempt reads that and removes it once it has its own."""
        self.until_step(job, SAVE)
        if self.pause(job, self.jobs[job]) is not None:
            self.until(job, lambda j: j.state == jobs.Job.PAUSED or j.state in FINAL, "pause")
            self.resume(job, self.jobs[job])

    def operate(self):
        for verb in (["prune"], ["backup", self.ftd.root / "copy.db"]):
            for _ in range(3):
                done = subprocess.run([BIN / "ftctl", "--address", self.ftd.address, *verb], capture_output=True, text=True, timeout=60,
                                      env={"PATH": os.environ["PATH"], "HOME": "/"})
                if done.returncode == 0:
                    break
        with contextlib.closing(sqlite3.connect(self.ftd.root / "copy.db")) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        name = f"t{self.rng.getrandbits(60)}"
        try:
            self.call("CreateToken", name=name)
        except grpc.RpcError as error:  # it was made, and its secret's answer was lost
            assert error.code() == grpc.StatusCode.ALREADY_EXISTS and not self.answered, error
        assert name in self.call("ListTokens").names

    def stopped_with_a_big_log(self):
        """The workers that live; one may end while it is looked at."""
        stopped = []
        for pid in workers_of(self.ftd):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGSTOP)
                with open(f"/proc/{pid}/cwd/worker.log", "ab") as file:
                    file.write(bytes(BIG_LOG))
                stopped.append(pid)
        return stopped

    def say_too_much(self, noticed, spec, job):
        """More than is kept of a worker's log, at which the daemon looks every ten seconds. `job` is the one that ends last."""
        def stopped():
            nonlocal job
            if self.call("GetJob", job=job).state in FINAL:  # they were too fast for this process
                job = self.new_job(spec)
            return self.stopped_with_a_big_log()

        workers = wait_until(stopped, "a worker", interval_s=0)
        wait_until(noticed, "the daemon to shorten the log")
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def age_database(self):
        """What version 8 of the schema has added is taken away."""
        with contextlib.closing(sqlite3.connect(self.ftd.state_dir / "ftd.db")) as database, database:
            database.execute("DROP TABLE dependencies")
            for table, column in (("jobs", "start_from"), ("jobs", "time_limit"), ("attempts", "run_us")):
                database.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
            database.execute("PRAGMA user_version = 7")

    def live(self, old_database=False, log_noticed=None):
        spec = self.upload()
        self.call("DrainQueue")
        first, second = self.new_job(spec), self.new_job(spec)
        self.hold(second, self.jobs[second])
        self.update(second, self.jobs[second])
        self.call("UndrainQueue")
        self.paused(first)
        self.release(second, self.jobs[second])
        self.until_step(first, SAVE + 2)
        if log_noticed is not None:
            self.say_too_much(log_noticed, spec, second)
        self.keeper.restart(self.age_database if old_database else lambda: None)
        self.until_end(first)
        self.until_step(second, SAVE + 1)
        links = [self.new_job(spec, after=[second])]
        with contextlib.suppress(grpc.RpcError):  # CHECKPOINT_NOT_FOUND: its worker was killed before it had one
            links.append(self.new_job(spec, start_from=f"{second}@{SAVE}"))
        self.keep(second, self.jobs[second])
        third = self.retry(first, self.jobs[first])
        fourth = self.new_job(spec)
        self.cancel(fourth, self.jobs[fourth])
        self.until_end(second)
        for job in (third.id, *links):
            self.until_end(job)
        self.delete_with_result(first)
        self.operate()

    def delete_with_result(self, job):
        with contextlib.suppress(grpc.RpcError):  # NOT_FOUND: it was deleted, and the answer was lost
            self.call("DeleteJob", job=job, results=True)
        self.jobs[job].deleted = True
