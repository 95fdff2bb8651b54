"""What holds whatever befalls a daemon: nothing that was acknowledged is lost or doubled, and no state is made up."""
import contextlib
import json
import os
import pathlib
import re
import signal
import sqlite3
import threading
import time

import grpc

from ftd_fixture import api, api_grpc, jobs, processes_under

LEGAL = {
    "": {"QUEUED"}, "QUEUED": {"HELD", "PREPARING", "CANCELLED", "FAILED"}, "HELD": {"QUEUED", "CANCELLED"},
    "PREPARING": {"RUNNING", "QUEUED", "PAUSING", "CANCELLING", "FAILED"},
    "RUNNING": {"SUCCEEDED", "QUEUED", "PAUSING", "CANCELLING", "FAILED"},
    "PAUSING": {"PAUSED", "SUCCEEDED", "CANCELLING", "FAILED"}, "PAUSED": {"QUEUED", "CANCELLED"},
    "CANCELLING": {"CANCELLED", "SUCCEEDED", "QUEUED", "FAILED"},
}
RESULT = b"w" * (3 << 20)  # of the fake worker


def workers_of(ftd):
    """Workers of attempts, each with its job's id; the row checker may be at the rows of another job."""
    found = {}
    for pid in processes_under(ftd.state_dir / "jobs"):
        with contextlib.suppress(OSError):
            if match := re.search("/jobs/([^/]+)/attempts/", os.readlink(f"/proc/{pid}/cwd")):
                found[pid] = match[1]
    return found


class Follower(threading.Thread):
    """Watches a job through all that befalls the daemon, with its resume tokens."""

    def __init__(self, ftd, job):
        super().__init__(daemon=True)
        self.ftd, self.job, self.token, self.events, self.error, self.over = ftd, job, "", [], None, threading.Event()

    def run(self):
        try:
            while not self.over.is_set() and not self.follow():
                time.sleep(0.05)
        except BaseException as error:  # shown by the main thread
            self.error = error

    def follow(self):
        """True once the job has ended, or is gone."""
        try:
            with self.ftd.new_channel() as channel:
                for message in api_grpc.FineTuningStub(channel).WatchJob(
                        api.WatchJobRequest(job=self.job, resume_token=self.token), timeout=60):
                    self.token = message.resume_token
                    if message.HasField("state_change"):
                        self.events.append((message.state_change.sequence, jobs.Job.State.Name(message.state_change.to)))
            return True
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                return True
            assert error.code() != grpc.StatusCode.INVALID_ARGUMENT, error
            return False

    def check(self, database):
        """No event was missed, seen twice, out of order, or is another one by now. Nothing is known of a job that is gone."""
        assert self.error is None, repr(self.error)
        seen = [sequence for sequence, _ in self.events]
        stored = dict(database.execute("SELECT sequence, to_state FROM events WHERE job_id = ?", (self.job,)))
        if seen:
            assert seen == list(range(seen[0], seen[0] + len(seen))), (self.job, self.events)
            assert not stored or seen[-1] == max(stored), (self.job, self.events, stored)
            assert not stored or all(stored[sequence] == state for sequence, state in self.events), (self.job, self.events, stored)


def let_all_end(ftd, users):
    """True once every job has ended; what is held, paused or stopped continues."""
    for pid in workers_of(ftd):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    ftd.stub.UndrainQueue(api.UndrainQueueRequest())
    open_states = [s for s in jobs.Job.State.values() if s and s not in (jobs.Job.SUCCEEDED, jobs.Job.FAILED, jobs.Job.CANCELLED)]
    found = ftd.stub.ListJobs(api.ListJobsRequest(page_size=1000, states=open_states)).jobs
    for job in found:
        with contextlib.suppress(grpc.RpcError):
            if job.state == jobs.Job.PAUSED:
                ftd.stub.ResumeJob(api.ResumeJobRequest(job=job.id))
            elif job.state == jobs.Job.HELD:
                ftd.stub.ReleaseJob(api.ReleaseJobRequest(job=job.id))
    return not found


def check_links(database, job, known, final, clock_jumps, starts_stay):
    """It began after all that it waited for had succeeded, or never; it failed for one of them alone if that did not succeed. The
    weights that it begins with are there."""
    begun, reason, start_from = database.execute("SELECT start_time, failure_reason, start_from FROM jobs WHERE id = ?", (job,)).fetchone()
    needed = {id: database.execute("SELECT state, end_time FROM jobs WHERE id = ?", (id,)).fetchone() for id in known.after}
    if begun:
        assert all(row is None or (row[0] == "SUCCEEDED" and (row[1] <= begun or clock_jumps)) for row in needed.values()), (job, begun, needed)
    if reason == "DEPENDENCY_FAILED":
        assert not begun and any(row is None or row[0] in ("FAILED", "CANCELLED") for row in needed.values()), (job, needed)
    elif final == "SUCCEEDED":
        assert begun
    if "@" in start_from:
        state_dir = pathlib.Path(database.execute("SELECT state_dir FROM place").fetchone()[0])
        weights = state_dir / "jobs" / job / "start" / "adapter_model.safetensors"
        assert weights.exists() or not starts_stay, job
        assert not weights.exists() or weights.read_text() == f"weights after step {start_from.partition('@')[2]}", job


def check_history(database, users, log, clock_jumps, starts_stay):
    """Each acknowledged job is there once, as it was acknowledged; events form legal chains; attempts do not overlap."""
    known = {job: known for user in users for job, known in user.jobs.items()}
    stored = {row[0]: row for row in database.execute("SELECT id, state, priority, labels, retry_of FROM jobs")}
    assert {job for job, k in known.items() if not k.deleted} == set(stored)
    requests = dict(database.execute("SELECT request_id, job_id FROM requests"))
    assert requests == {k.request_id: job for job, k in known.items() if not k.deleted}
    for job, (_, final, priority, labels, retry_of) in stored.items():
        assert known[job].agrees(priority, json.loads(labels)["text"]) and retry_of == known[job].retry_of, job
        assert not known[job].cancelled or final == "CANCELLED", (job, final)
        check_links(database, job, known[job], final, clock_jumps, starts_stay)
        state = ""
        events = list(database.execute("SELECT sequence, from_state, to_state FROM events WHERE job_id = ? ORDER BY sequence", (job,)))
        assert [e[0] for e in events] == list(range(1, len(events) + 1))
        for _, before, after in events:
            assert before == state and after in LEGAL[before], (job, events)
            state = after
        assert final == state
    for table in ("events", "attempts", "requests", "notifications", "removals"):
        left = database.execute(f"SELECT count(*) FROM {table} WHERE job_id NOT IN (SELECT id FROM jobs)").fetchone()
        assert left == (0,), table
    spans = sorted(database.execute("SELECT start_time, end_time, job_id, number, state, reason FROM attempts"))
    assert all(span[1] for span in spans)
    if clock_jumps:
        return  # times tell no order
    # The end of an attempt whose result could not be published, or whose end could not be stored, is stored later.
    late = set(re.findall(r"job=(\S+) attempt=\d+ its (?:result cannot be published|end cannot be)", log))
    assert [(a, b) for a, b in zip(spans, spans[1:]) if a[1] > b[0] and a[2] not in late] == [], "two attempts at once"


def check_results(ftd, users, steps, worn_out):
    """What was not cancelled has succeeded, with each step once; what succeeded has its whole result, if nobody removed it."""
    alive = [(job, known) for user in users for job, known in user.jobs.items() if not known.deleted]
    worn = 0
    for job, known in alive:
        done = ftd.job(job)
        if done.state == jobs.Job.SUCCEEDED:
            with open(f"{done.result_dir}/adapter_model.safetensors", "rb") as file:
                assert file.read() == RESULT, job
            with open(f"{done.result_dir}/adapter_config.json") as file:
                assert json.load(file)["job"] == job
        if known.cancelled is not False:
            continue
        if done.failure_reason == jobs.DEPENDENCY_FAILED:
            continue  # check_links says whether it may
        if known.kept and (done.state == jobs.Job.CANCELLED or done.failure_reason == jobs.CHECKPOINT_CORRUPT):
            continue  # it was to end with a result before it had taken a step, or its worker was killed before a checkpoint
        if worn_out(job) and "3 attempts in a row made no progress" in done.message:
            worn += 1
            continue
        assert done.state == jobs.Job.SUCCEEDED, (job, jobs.Job.State.Name(done.state), done.message)
        last = done.last_step.step if known.kept else steps
        assert [s.step for s in ftd.steps(job)] == list(range(1, last + 1)) != [], job
    if worn:
        print(f"{worn} of {len(alive)} jobs met three deaths in a row without progress")
        assert worn <= max(2, len(alive) // 5), worn


def check_all(ftd, users, followers, steps, worn_out=lambda job: False, clock_jumps=False, starts_stay=True):
    """Of a daemon whose queue has ended, which is stopped. `worn_out`: whether a job may have met three deaths in a row.
    `starts_stay`: retention leaves the weights that jobs began with."""
    check_results(ftd, users, steps, worn_out)
    for follower in followers:
        follower.join(60)
    assert ftd.terminate() == 0
    assert not workers_of(ftd)
    contended = ftd.state_dir / "device.lock.contended"
    assert not contended.exists(), f"two workers at once: {contended.read_text()}"
    with contextlib.closing(sqlite3.connect(ftd.state_dir / "ftd.db")) as database:
        check_history(database, users, ftd.log(), clock_jumps, starts_stay)
        for follower in followers:
            follower.check(database)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
