"""Two users of a daemon that is killed again and again, and what each of them may count on.

A user knows what was acknowledged to it, and nothing else: a request that was not answered is repeated with its id until
it is. What was acknowledged is checked in the database once the storm is over.
"""
import collections
import os
import random
import string
import threading
import time
import uuid

import grpc

from ftd_fixture import api, api_grpc, jobs
from helpers import reason_of

Code = grpc.StatusCode
ODD = ["plain", "späße", "日本語", "a\u0301", "\U0001f680", "\u202e", "q\"u'o\\te", ""]
# What the disk does to a request: it did nothing, or nobody knows; the request is made again.
LINKS_REFUSED = {"STATE_CONFLICT", "JOB_NOT_FOUND", "CHECKPOINT_NOT_FOUND", "RESULT_PRUNED", "RESULT_MISSING"}
PASSING = {"DB_IO", "DB_BUSY", "DISK_FULL", "DISK_RESERVE", "STOPPING", "QUEUE_FULL", "TOO_MANY_WATCHERS", "", "PATH_NOT_WRITABLE"}

PAUSE_S = float(os.environ.get("FTD_CHAOS_PAUSE_S", "0.1"))  # at most, between two verbs of a user
MOST_JOBS = 80  # of a user: what is older is cancelled and deleted, so that the queue ends soon once the storm is over


class Known:
    """What its owner knows of a job. A change whose first answer was lost, and whose repetition was refused, may have been made."""

    def __init__(self, request_id, retry_of="", settings=((0, ""),)):
        self.request_id, self.retry_of = request_id, retry_of
        self.cancelled = self.kept = self.deleted = False  # cancelled: None when that is not known
        self.settings = list(settings)  # what priority and the label may be
        self.after = []  # ids of the jobs that have to succeed first

    def agrees(self, priority, text):
        return (priority, text) in self.settings


class User(threading.Thread):
    """`connect` gives a channel to the daemon of the moment; `others` gives jobs that are not this user's."""

    def __init__(self, name, seed, connect, spec, others=lambda: []):
        super().__init__(daemon=True, name=name)
        self.rng, self.connect, self.spec, self.others = random.Random(seed), connect, spec, others
        self.jobs: dict[str, Known] = {}
        self.over, self.error, self.refused, self.done = threading.Event(), None, 0, collections.Counter()
        self.acts = 0  # verbs tried, also those that the job's state does not allow

    def call(self, method, give_up_s=90, **fields):
        """The answer, after as many tries as it takes; an error that says something about the job is raised."""
        request = getattr(api, f"{method}Request")(**fields)
        tries, self.answered = 0, True  # whether the first try was
        while True:
            try:
                with self.connect() as channel:
                    return getattr(api_grpc.FineTuningStub(channel), method)(request, timeout=20)
            except grpc.RpcError as error:
                passing = error.code() in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED) or (
                    error.code() == Code.RESOURCE_EXHAUSTED or reason_of_or_none(error) in PASSING - {""})
                tries += 1
                if not passing or tries > give_up_s * 20:
                    raise
                self.answered = False
                time.sleep(0.05)

    def run(self):
        try:
            while not self.over.is_set():
                self.act()
                self.acts += 1
                self.over.wait(self.rng.random() * PAUSE_S)
        except BaseException as error:  # shown by the main thread
            self.error = error

    def act(self):
        alive = [job for job, known in self.jobs.items() if not known.deleted]
        verb = self.rng.choice(["submit", "submit", "cancel", "pause", "resume", "hold", "release", "update", "retry", "delete", "look", "keep",
                                "trespass"])
        if len(alive) < 3 or verb == "submit" and len(alive) <= MOST_JOBS:
            return self.submit()
        if verb == "trespass":
            return self.trespass()
        job = self.rng.choice(alive[-6:])
        if len(alive) > MOST_JOBS and verb in ("submit", "retry", "look"):
            job = self.rng.choice(alive[:20])
            verb = "delete" if self.jobs[job].cancelled else "cancel"
        if getattr(self, verb)(job, self.jobs[job]):
            self.done[verb] += 1

    def new_id(self):
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def submit(self):
        known = Known(self.new_id(), settings=[(0, self.rng.choice(ODD))])
        fields = dict(spec=self.spec, request_id=known.request_id, labels={"text": known.settings[0][1]}, **self.links())
        try:
            job = self.call("SubmitJob", **fields)
        except grpc.RpcError as error:
            # The jobs that it names may have ended, gone, or lost their checkpoint meanwhile.
            assert len(fields) > 3 and reason_of_or_none(error) in LINKS_REFUSED, error
            return
        known.after = list(job.after)
        for _ in range(self.rng.choice([0, 0, 1, 3])):  # the answer was lost
            assert self.call("SubmitJob", **fields).id == job.id
        self.jobs[job.id] = known
        self.done["submit"] += 1

    def links(self):
        """What a submit says of this user's other jobs."""
        alive = [job for job, known in self.jobs.items() if not known.deleted]
        chance = self.rng.random()
        if not alive or chance < 0.6:
            return {}
        if chance < 0.7:
            return {"time_limit_seconds": 3600}
        if chance < 0.85:
            return {"after": self.rng.sample(alive[-4:], k=min(2, len(alive[-4:])))}
        job = self.rng.choice(alive[-4:])
        return {"start_from": job if chance < 0.95 else f"{job}@{self.rng.choice([10, 20, 30])}"}

    def change(self, method, job, **fields):
        """The job after it; None when its state does not allow it."""
        try:
            return self.call(method, job=job, **fields)
        except grpc.RpcError as error:
            assert error.code() == Code.FAILED_PRECONDITION, (method, job, error)
            return None

    def cancel(self, job, known):
        answer = self.change("CancelJob", job, reason="".join(self.rng.choices(string.printable, k=20)))
        if answer is not None and answer.state in (jobs.Job.RUNNING, jobs.Job.SUCCEEDED):
            return None  # too late: its result is being published, and what is published has succeeded
        if answer is not None:
            assert answer.state in (jobs.Job.CANCELLED, jobs.Job.CANCELLING), answer
            known.cancelled = True
        elif not self.answered and not known.cancelled:
            known.cancelled = None
        return answer

    def keep(self, job, known):
        """Ends it with what it has, if that is something."""
        answer = self.change("CancelJob", job, keep=True)
        known.kept |= answer is not None or not self.answered
        return answer

    def pause(self, job, known):
        return self.change("PauseJob", job)

    def resume(self, job, known):
        return self.change("ResumeJob", job)

    def hold(self, job, known):
        return self.change("HoldJob", job)

    def release(self, job, known):
        return self.change("ReleaseJob", job)

    def update(self, job, known):
        priority, text = self.rng.randrange(-5, 6), self.rng.choice(ODD)
        answer = self.change("UpdateJob", job, priority=priority, labels={"text": text})
        if answer is not None:
            known.settings = [(priority, text)]
        elif not self.answered:
            known.settings.append((priority, text))
        return answer

    def retry(self, job, known):
        again = Known(self.new_id(), retry_of=job, settings=known.settings)
        try:
            answer = self.change("RetryJob", job, request_id=again.request_id)
        except grpc.RpcError as error:
            assert reason_of_or_none(error) in LINKS_REFUSED - {"JOB_NOT_FOUND"}, error
            return None
        if answer is not None:
            again.after = list(answer.after)
            self.jobs[answer.id] = again
        return answer

    def delete(self, job, known):
        try:
            self.call("DeleteJob", job=job, results=self.rng.random() < 0.5)
        except grpc.RpcError as error:
            if error.code() == Code.FAILED_PRECONDITION:
                return False
            assert error.code() == Code.NOT_FOUND and not self.answered, error
        known.deleted = True
        return True

    def look(self, job, known):
        seen = self.call("GetJob", job=job)
        assert known.agrees(seen.priority, seen.labels["text"]), (seen.priority, seen.labels["text"], job, vars(known))
        assert not known.cancelled or seen.state in (jobs.Job.CANCELLING, jobs.Job.CANCELLED), (seen.state, job, vars(known))
        return True

    def trespass(self):
        """Nobody changes another's job."""
        theirs = self.others()
        if not theirs:
            return
        method = self.rng.choice(["CancelJob", "PauseJob", "HoldJob", "DeleteJob", "UpdateJob"])
        try:
            self.call(method, job=self.rng.choice(theirs))
            raise RuntimeError(f"{self.name} may call {method} for another's job")
        except grpc.RpcError as error:
            assert reason_of_or_none(error) in ("NOT_OWNER", "JOB_NOT_FOUND"), error
            self.refused += 1


def reason_of_or_none(error):
    try:
        return reason_of(error)
    except Exception:  # no details: it is gRPC's own
        return None
