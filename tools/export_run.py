#!/usr/bin/env python3
"""Sends a job of ftd to Weights & Biases, MLflow or Trackio while it trains, by their own libraries.

  tools/export_run.py JOB --to wandb     # pip install wandb; then `wandb login`
  tools/export_run.py JOB --to mlflow    # pip install mlflow; MLFLOW_TRACKING_URI says where
  tools/export_run.py JOB --to trackio   # pip install trackio
  tools/export_run.py JOB --to jsonl     # on stdout

It is not part of the product: ftd needs no Python, and the exporter needs nothing of ftd but ftctl, whose FTCTL_* variables say
where ftd is. What it has read is kept in the spool (--spool) until the tracker has taken it: a tracker that cannot be reached is
tried again, and an exporter that was ended continues where it stopped. --collect only fills the spool, on a machine without a way
out; --replay sends it later, from a copy of the spool and without ftd. A job may be exported to several trackers.
"""

import argparse
import itertools
import json
import math
import os
import pathlib
import subprocess
import sys
import time

FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")
SPOOL = pathlib.Path(os.environ.get("XDG_STATE_HOME") or pathlib.Path.home() / ".local/state") / "ftd-export"
POLL_S, LONGEST_PAUSE_S = 2, 60


def say(*words):
    print(*words, file=sys.stderr, flush=True)


class Unreachable(Exception):
    """ftd does not answer now; it may later."""


class Ftctl:
    """ftd as ftctl shows it."""

    def __init__(self, program, job):
        self.program, self.job = program, job

    def _run(self, *args):
        try:
            done = subprocess.run([self.program, *args], capture_output=True, text=True)
        except OSError as error:
            sys.exit(f"cannot run {self.program}: {error.strerror}; --ftctl says where it is")
        if done.returncode == 69:  # docs/cli.md: ftd cannot be reached
            raise Unreachable(done.stderr.strip())
        if done.returncode != 0:
            sys.exit(done.stderr.strip())
        return done.stdout

    def show(self):
        return json.loads(self._run("show", "-o", "json", "--", self.job))

    def steps(self, first):
        for line in self._run("metrics", "-o", "jsonl", "--from-step", str(first), "--", self.job).splitlines():
            yield json.loads(line)


def number(value):
    """A value of docs/cli.md's JSON, where NaN and the infinities are strings."""
    return float(value) if isinstance(value, str) else value


def renamed(key):
    """The names that transformers' own reporters use."""
    return f"eval/{key.removeprefix('eval_')}" if key.startswith("eval_") else f"train/{key}"


class Spool:
    """A folder per job: job.json, the job as last seen; points.jsonl, {"step", "metrics"} a line; sent-TRACKER, how many bytes
    of it the tracker has."""

    def __init__(self, root, job_id):
        self.dir = root / job_id
        self.dir.mkdir(parents=True, exist_ok=True)
        self.seen = {}  # step -> (loss, whether its evaluation is there)
        self.last = 1  # step
        self.attempts = 0
        self.file = open(self.dir / "points.jsonl", "a+b")
        self._load()

    def _load(self):
        self.file.seek(0)
        end = 0
        for line in self.file:
            if not line.endswith(b"\n"):
                break  # a write that a power cut tore
            end += len(line)
            point = json.loads(line)
            loss, evaluated = self.seen.get(point["step"], (None, False))
            self._note(point["step"], point["metrics"].get("train/loss", loss),
                       evaluated or any(key.startswith("eval/") for key in point["metrics"]))
        self.file.truncate(end)

    def _note(self, step, loss, evaluated):
        self.seen[step] = (loss, evaluated)
        self.last = max(self.last, step)

    def _write(self, name, text):
        new = self.dir / f"{name}.new"
        with open(new, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.dir / name)

    @property
    def job(self):
        path = self.dir / "job.json"
        return json.loads(path.read_text()) if path.exists() else None

    def collect(self, ftctl):
        """Takes what is new. A new attempt may have repeated any step."""
        job = ftctl.show()
        attempts = len(job["attempts"])
        first = self.last if attempts == self.attempts else 1
        for row in ftctl.steps(first):
            step = row.pop("step")
            metrics = {renamed(key): value for key, value in row.items() if value is not None}
            evaluation = {key: value for key, value in metrics.items() if key.startswith("eval/")}
            loss, evaluated = self.seen.get(step, (None, False))
            if loss == row["loss"]:
                metrics = {} if evaluated else evaluation  # an evaluation comes after its step
            if not metrics:
                continue
            self.file.write(json.dumps({"step": step, "metrics": metrics}).encode() + b"\n")
            self._note(step, row["loss"], bool(evaluation))
        self.file.flush()
        os.fsync(self.file.fileno())
        self.attempts = attempts
        self._write("job.json", json.dumps(job))

    def sent(self, tracker):
        path = self.dir / f"sent-{tracker}"
        return int(path.read_text()) if path.exists() else 0

    def set_sent(self, tracker, offset):
        self._write(f"sent-{tracker}", str(offset))

    def points(self, offset, most):
        """Up to `most` points from byte `offset` on, as (step, metrics), and the offset after them."""
        self.file.seek(offset)
        points = []
        for line in itertools.islice(self.file, most):
            point = json.loads(line)
            points.append((point["step"], {key: number(value) for key, value in point["metrics"].items()}))
            offset += len(line)
        return points, offset


def flat(spec, prefix=""):
    """A spec as one level of names and values; what was left out is not a setting."""
    for key, value in spec.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        elif value not in (None, "", []):
            yield prefix + key, value


def title(job):
    return job["name"] or job["id"]


class Wandb:
    def __init__(self, job, project):
        import wandb
        self.run = wandb.init(project=project, id=job["id"], name=title(job), resume="allow", config=dict(flat(job["spec"])),
                              tags=[f"{key}:{value}" for key, value in job["labels"].items()])
        # An axis of our own: W&B's step only ever grows, but an attempt may repeat steps.
        self.run.define_metric("train/global_step")
        self.run.define_metric("*", step_metric="train/global_step")

    def send(self, points):
        for step, metrics in points:
            self.run.log({**metrics, "train/global_step": step})

    def finish(self, job):
        self.run.summary["ftd/state"] = job["state"]
        self.run.finish(exit_code=0 if job["state"] == "SUCCEEDED" else 1)


class Mlflow:
    def __init__(self, job, project):
        import mlflow
        self.mlflow, self.client = mlflow, mlflow.MlflowClient()
        experiment = self.client.get_experiment_by_name(project)
        experiment_id = experiment.experiment_id if experiment else self.client.create_experiment(project)
        known = self.client.search_runs([experiment_id], f"tags.`ftd.job` = '{job['id']}'")
        if known:
            self.run_id = known[0].info.run_id
            return
        tags = {"ftd.job": job["id"], "mlflow.runName": title(job), **job["labels"]}
        self.run_id = self.client.create_run(experiment_id, tags=tags).info.run_id
        params = [mlflow.entities.Param(key, str(value)) for key, value in flat(job["spec"])]
        for i in range(0, len(params), 100):
            self.client.log_batch(self.run_id, params=params[i:i + 100])

    def send(self, points):
        now = int(time.time() * 1000)
        metrics = [self.mlflow.entities.Metric(key, value, now, step) for step, some in points for key, value in some.items()]
        for i in range(0, len(metrics), 1000):
            self.client.log_batch(self.run_id, metrics=metrics[i:i + 1000])

    def finish(self, job):
        status = {"SUCCEEDED": "FINISHED", "CANCELLED": "KILLED"}.get(job["state"], "FAILED")
        self.client.set_terminated(self.run_id, status)


class Trackio:
    def __init__(self, job, project):
        import trackio
        self.trackio = trackio
        trackio.init(project=project, name=title(job), config=dict(flat(job["spec"])), resume="allow")

    def send(self, points):
        for step, metrics in points:
            self.trackio.log(metrics, step=step)

    def finish(self, job):
        self.trackio.finish()


class Jsonl:
    def __init__(self, job, project):
        pass

    def send(self, points):
        for step, metrics in points:
            finite = {key: value if math.isfinite(value) else str(value) for key, value in metrics.items()}
            print(json.dumps({"step": step, **finite}), flush=True)

    def finish(self, job):
        pass


TRACKERS = {"wandb": Wandb, "mlflow": Mlflow, "trackio": Trackio, "jsonl": Jsonl}


class Sender:
    """Takes the spool to a tracker, which may be away."""

    def __init__(self, spool, to, project):
        self.spool, self.to, self.project = spool, to, project
        self.tracker = None
        self.pause_s = self.next_try = 0

    def work(self):
        """Sends what waits; True once all of it has arrived."""
        if time.monotonic() < self.next_try:
            return False
        try:
            while True:
                points, offset = self.spool.points(self.spool.sent(self.to), 500)
                if not points:
                    break
                self._tracker().send(points)
                self.spool.set_sent(self.to, offset)
        except ImportError as error:
            sys.exit(f"{error}; pip install {self.to}")
        except Exception as error:  # each library has its own
            self._later(error)
            return False
        self.pause_s = 0
        return True

    def finish(self):
        try:
            self._tracker().finish(self.spool.job)
        except Exception as error:
            self._later(error)
            return False
        return True

    def _tracker(self):
        if self.tracker is None:
            self.tracker = TRACKERS[self.to](self.spool.job, self.project)
        return self.tracker

    def _later(self, error):
        self.pause_s = min(LONGEST_PAUSE_S, max(1, 2 * self.pause_s))
        self.next_try = time.monotonic() + self.pause_s
        say(f"{self.to} has not taken it: {error}; it is kept in {self.spool.dir}, next try in {self.pause_s} s")


def follow(spool, ftctl, sender, poll_s):
    """Until the job has ended and the tracker has all of it."""
    away = False
    while True:
        try:
            if ftctl is not None:
                spool.collect(ftctl)
                if away:
                    say("ftd is there again")
                away = False
        except Unreachable as error:
            if not away:
                say(f"{error}\ntrying again")
            away = True
        over = ftctl is None or (not away and spool.job["state"] in FINAL)
        if sender is None:
            if over:
                return
        elif sender.work() and over and sender.finish():
            return
        time.sleep(poll_s)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", help="id or name; with --replay the id")
    parser.add_argument("--to", choices=TRACKERS, help="where to")
    parser.add_argument("--project", default="ftd", help="project or experiment there [ftd]")
    parser.add_argument("--collect", action="store_true", help="only fill the spool")
    parser.add_argument("--replay", action="store_true", help="only send what is in the spool")
    parser.add_argument("--spool", type=pathlib.Path, default=SPOOL, help=f"folder for what is on its way [{SPOOL}]")
    parser.add_argument("--ftctl", default="ftctl", help="the program [ftctl]")
    parser.add_argument("--poll", type=float, default=POLL_S, help=f"seconds between two looks at the job [{POLL_S}]")
    args = parser.parse_args()
    if args.collect and args.replay or (args.to is None) != args.collect:
        parser.error("give either --to, with or without --replay, or --collect")
    if args.replay:
        if not (args.spool / args.job / "job.json").exists():
            sys.exit(f"{args.spool} has nothing of {args.job}; name the job by its id")
        spool, ftctl = Spool(args.spool, args.job), None
    else:
        ftctl = Ftctl(args.ftctl, args.job)
        try:
            spool = Spool(args.spool, ftctl.show()["id"])
        except Unreachable as error:
            sys.exit(str(error))
    follow(spool, ftctl, None if args.collect else Sender(spool, args.to, args.project), args.poll)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
