"""What users do to jobs: pause, resume, hold, release, update, and cancel with a result, in every state and through faults."""

import json
import os
import pathlib
import re
import shlex
import signal
import threading
import time
import urllib.request
import uuid

import grpc
import prometheus_text
import pytest

from ftd_fixture import api, jobs, processes_under, state_name, wait_until
from helpers import expect_error, fake_ftd, submit
from watch_test import Collector, check, kind

Code = grpc.StatusCode
LONG = "steps=100000 step_ms=5"
SHORT = "steps=60 step_ms=12 save=10"


def pause(ftd, job):
    return ftd.stub.PauseJob(api.PauseJobRequest(job=job))


def resume(ftd, job):
    return ftd.stub.ResumeJob(api.ResumeJobRequest(job=job))


def hold(ftd, job):
    return ftd.stub.HoldJob(api.HoldJobRequest(job=job))


def release(ftd, job):
    return ftd.stub.ReleaseJob(api.ReleaseJobRequest(job=job))


def cancel(ftd, job):
    return ftd.stub.CancelJob(api.CancelJobRequest(job=job))


def keep(ftd, job):
    return ftd.stub.CancelJob(api.CancelJobRequest(job=job, keep=True))


def update(ftd, job, **fields):
    return ftd.stub.UpdateJob(api.UpdateJobRequest(job=job, **fields))


def wait_for_step(ftd, job, step):
    return wait_until(lambda: (j := ftd.job(job)).last_step.step >= step and j, f"step {step} of {job}")


def paused(ftd, job):
    """Paused, with no process left."""
    done = ftd.wait(job, "PAUSED")
    assert processes_under(ftd.state_dir) == []
    return done


def pausing_and_frozen(ftd, job):
    """PAUSING, with a worker that cannot hear it yet; its pid."""
    pid = ftd.worker_pid(job)
    os.kill(pid, signal.SIGSTOP)
    assert pause(ftd, job).state == jobs.Job.PAUSING
    return pid


def result_step(job):
    return json.loads((pathlib.Path(job.result_dir) / "adapter_config.json").read_text())["step"]


def check_whole(ftd, job, last=60):
    """A result of `last` steps, each of them recorded once."""
    done = ftd.wait(job, "SUCCEEDED")
    assert result_step(done) == done.last_step.step == last
    assert [s.step for s in ftd.steps(job)] == list(range(1, last + 1))
    return done


# Pause and resume.


def test_pause_frees_the_device_and_resume_goes_on():
    with fake_ftd(SHORT, args=["--metrics-listen", "127.0.0.1:0"]) as ftd:
        first, second = submit(ftd), submit(ftd)
        wait_for_step(ftd, first.id, 13)
        assert pause(ftd, first.id).state == jobs.Job.PAUSING
        at = ftd.wait(first.id, "PAUSED")
        step = at.last_step.step
        assert at.checkpoints[-1].step == step and f"after step {step}" in at.message
        assert at.attempts[-1].state == jobs.Attempt.STOPPED and not at.HasField("end_time")
        assert (at.position, at.pending_reason) == (0, 0)
        assert pause(ftd, first.id).state == jobs.Job.PAUSED
        ftd.wait(second.id, "SUCCEEDED")

        address = ftd.stub.GetServerInfo(api.GetServerInfoRequest()).metrics_address
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as reply:
            samples = prometheus_text.parse(reply.read().decode())
        assert samples["ftd_jobs", (("state", "PAUSED"),)] == 1 and samples["ftd_jobs", (("state", "SUCCEEDED"),)] == 1
        assert samples["ftd_worker_up", ()] == 0
        listed = ftd.stub.ListJobs(api.ListJobsRequest(states=[jobs.Job.PAUSED])).jobs
        assert [j.id for j in listed] == [first.id]
        assert "PAUSED" in ftd.ftctl("ls").stdout

        assert resume(ftd, first.id).state in (jobs.Job.QUEUED, jobs.Job.PREPARING)
        done = check_whole(ftd, first.id)
        assert done.attempts[1].resumed_from.endswith(f"checkpoint-{step}")
        assert done.attempts[1].first_step == step + 1


def test_a_pause_before_the_first_step_starts_afresh():
    with fake_ftd("1:prepare_ms=600000 " + SHORT) as ftd:
        job = submit(ftd)
        wait_until(lambda: ftd.job(job.id).HasField("progress"), "the worker's first word")
        pause(ftd, job.id)
        assert "starts afresh" in paused(ftd, job.id).message
        resume(ftd, job.id)
        assert not check_whole(ftd, job.id).attempts[1].resumed_from


def test_a_paused_job_survives_restarts_and_can_be_cancelled():
    with fake_ftd(SHORT) as ftd:
        job = submit(ftd)
        wait_for_step(ftd, job.id, 5)
        pause(ftd, job.id)
        paused(ftd, job.id)
        ftd.restart()
        ftd.kill()
        ftd.start()
        assert ftd.job(job.id).state == jobs.Job.PAUSED
        assert cancel(ftd, job.id).state == jobs.Job.CANCELLED


def test_a_deaf_worker_is_killed_when_the_grace_is_over():
    with fake_ftd("1:deaf=1 save=10 " + LONG, args=["--stop-grace-seconds", "1"]) as ftd:
        job = submit(ftd)
        wait_for_step(ftd, job.id, 13)
        pause(ftd, job.id)
        at = paused(ftd, job.id)
        assert at.attempts[0].signal == signal.SIGKILL
        resume(ftd, job.id)
        second = wait_until(lambda: (a := ftd.job(job.id).attempts[-1]).number == 2 and a.first_step and a,
                            "the second attempt's first step")
        assert second.first_step == at.checkpoints[-1].step + 1


def test_a_result_that_was_complete_already_ends_the_job():
    with fake_ftd("deaf=1 result_ms=0 " + SHORT) as ftd:
        job = submit(ftd)
        wait_for_step(ftd, job.id, 5)
        pause(ftd, job.id)
        check_whole(ftd, job.id)


@pytest.mark.parametrize("freed_before_the_restart", [False, True])
def test_kill_9_of_the_daemon_while_pausing(freed_before_the_restart):
    with fake_ftd(SHORT) as ftd:
        job = submit(ftd)
        wait_for_step(ftd, job.id, 13)
        pid = pausing_and_frozen(ftd, job.id)
        if freed_before_the_restart:  # else the next daemon tells it
            wait_until(lambda: "the worker is told to stop" in ftd.log(), "the worker to be told")
        ftd.kill()
        if freed_before_the_restart:
            os.kill(pid, signal.SIGCONT)
            wait_until(lambda: not processes_under(ftd.state_dir), "the worker to end")
        ftd.start()
        if not freed_before_the_restart:
            assert ftd.job(job.id).state == jobs.Job.PAUSING
            os.kill(pid, signal.SIGCONT)
        at = paused(ftd, job.id)
        assert at.checkpoints[-1].step == at.last_step.step
        resume(ftd, job.id)
        assert len(check_whole(ftd, job.id).attempts) == 2


def test_sigterm_while_pausing():
    with fake_ftd(SHORT) as ftd:
        job = submit(ftd)
        wait_for_step(ftd, job.id, 13)
        pid = pausing_and_frozen(ftd, job.id)
        ftd.signal(signal.SIGTERM)
        wait_until(lambda: "asked to stop" in ftd.log(), "ftd to hear it")
        os.kill(pid, signal.SIGCONT)
        assert ftd.process.wait(20) == 0
        assert processes_under(ftd.state_dir) == []
        ftd.start()
        at = ftd.job(job.id)
        assert at.state == jobs.Job.PAUSED and at.checkpoints[-1].step == at.last_step.step
        resume(ftd, job.id)
        check_whole(ftd, job.id)


def test_cancel_while_pausing():
    with fake_ftd(SHORT) as ftd:
        job = submit(ftd)
        wait_for_step(ftd, job.id, 3)
        pausing_and_frozen(ftd, job.id)
        begun = time.monotonic()
        assert cancel(ftd, job.id).state == jobs.Job.CANCELLING
        ftd.wait(job.id, "CANCELLED")
        assert time.monotonic() - begun < 5 and processes_under(ftd.state_dir) == []


def test_a_crash_while_pausing_is_a_pause():
    with fake_ftd(SHORT) as ftd:
        job = submit(ftd)
        wait_for_step(ftd, job.id, 13)
        os.kill(pausing_and_frozen(ftd, job.id), signal.SIGKILL)
        assert paused(ftd, job.id).attempts[-1].signal == signal.SIGKILL
        resume(ftd, job.id)
        check_whole(ftd, job.id)


def test_a_watcher_sees_through_pauses_and_restarts():
    with fake_ftd("steps=300 step_ms=8 save=50") as ftd:
        job = submit(ftd)
        collector = Collector(ftd, job.id)
        thread = threading.Thread(target=collector.run, daemon=True)
        thread.start()
        for step, restart in [(20, ftd.kill), (90, ftd.terminate), (160, None)]:
            wait_for_step(ftd, job.id, step)
            pause(ftd, job.id)
            if restart:
                restart()
                ftd.start()
            paused(ftd, job.id)
            resume(ftd, job.id)
        thread.join(60)
        check(collector.events, 300, "SUCCEEDED")
        states = [state_name(e.state_change.to) for e in collector.events if kind(e) == "state_change"]
        assert states.count("PAUSED") == states.count("PAUSING") == 3
        assert not any(kind(e) == "rolled_back_to_step" for e in collector.events)


# What a state does not allow, and what it says instead.

VERBS = {"pause": pause, "resume": resume, "hold": hold, "release": release, "keep": keep, "update": lambda ftd, job: update(
    ftd, job, priority=1), "cancel": cancel}
REFUSED = {
    "QUEUED": {"pause": "ftctl hold", "keep": "nothing to keep"},
    "HELD": {"pause": "ftctl release", "resume": "ftctl release", "keep": "nothing to keep"},
    "PREPARING": {"resume": "has a worker", "hold": "ftctl pause", "release": "has a worker", "keep": "nothing to keep"},
    "RUNNING": {"resume": "has a worker", "hold": "ftctl pause", "release": "has a worker"},
    "PAUSING": {"resume": "wait until it is PAUSED", "hold": "wait", "release": "wait"},
    "PAUSED": {"hold": "ftctl resume", "release": "ftctl resume"},
    "CANCELLING": {verb: "about to end" for verb in ("pause", "resume", "hold", "release", "keep")},
    "SUCCEEDED": {verb: "has ended" for verb in VERBS},
    "FAILED": {verb: "has ended" for verb in VERBS},
    "CANCELLED": {verb: "has ended" for verb in VERBS if verb != "cancel"},
}


def job_in(ftd, state):
    """A job in that state, which it does not leave by itself."""
    job = submit(ftd).id
    if state in ("RUNNING", "PAUSING", "PAUSED"):
        wait_for_step(ftd, job, 3)
    if state in ("PAUSING", "CANCELLING"):
        os.kill(wait_until(lambda: (a := ftd.job(job).attempts) and a[0].pid, "the worker"), signal.SIGSTOP)
    if state in ("PAUSING", "PAUSED"):
        pause(ftd, job)
    if state == "HELD":
        hold(ftd, job)
    if state in ("CANCELLING", "CANCELLED"):
        cancel(ftd, job)
    ftd.wait(job, state)
    return job


@pytest.mark.parametrize("state", REFUSED)
def test_refusals_name_the_way_out(state):
    script = {"SUCCEEDED": "", "FAILED": "fail=2", "PREPARING": "prepare_ms=600000"}.get(state, LONG)
    with fake_ftd(script) as ftd:
        if state in ("QUEUED", "HELD"):
            wait_for_step(ftd, submit(ftd).id, 1)
        job = job_in(ftd, state)
        for verb, words in REFUSED[state].items():
            error = expect_error(lambda: VERBS[verb](ftd, job), Code.FAILED_PRECONDITION, "STATE_CONFLICT")
            assert state in error.details() and words in error.details(), (verb, error.details())
        assert state_name(ftd.job(job).state) == state


def test_hold_and_release_change_the_queue():
    with fake_ftd(LONG) as ftd:
        wait_for_step(ftd, submit(ftd, name="blocker").id, 1)
        first, second = submit(ftd).id, submit(ftd).id
        assert hold(ftd, first).state == hold(ftd, first).state == jobs.Job.HELD
        assert ftd.job(second).position == 1
        assert release(ftd, first).position == release(ftd, first).position == 1
        assert ftd.job(second).position == 2
        hold(ftd, first)
        cancel(ftd, "blocker")
        wait_for_step(ftd, second, 1)
        assert not ftd.job(first).attempts


# Priority and labels.


def test_priority_moves_a_queued_job_at_once():
    with fake_ftd(LONG) as ftd:
        wait_for_step(ftd, submit(ftd, name="blocker").id, 1)
        a, b, c = (submit(ftd).id for _ in range(3))
        assert update(ftd, c, priority=5).position == 1
        assert [ftd.job(j).position for j in (a, b, c)] == [2, 3, 1]
        assert update(ftd, a, priority=-1).position == 3
        update(ftd, "blocker", priority=-1000)  # of no effect while it runs
        ftd.restart()
        # What was interrupted goes first, whatever its priority.
        ftd.wait("blocker", "RUNNING")
        assert [ftd.job(j).position for j in (a, b, c)] == [3, 2, 1]
        cancel(ftd, "blocker")
        wait_for_step(ftd, c, 1)


def test_labels_are_set_and_removed():
    with fake_ftd(LONG) as ftd:
        job = submit(ftd, labels={"team": "blue", "draft": ""}, priority=3).id
        changed = update(ftd, job, labels={"team": "red", "run": "7"}, remove_labels=["draft", "never"])
        assert (dict(changed.labels), changed.priority) == ({"team": "red", "run": "7"}, 3)
        assert dict(update(ftd, job).labels) == dict(changed.labels)
        for fields, field in [(dict(priority=1001), "priority"), (dict(labels={"": "x"}), "labels"),
                              (dict(labels={f"k{i}": "" for i in range(15)}), "labels"),
                              (dict(labels={"k": "x" * 513}), "labels")]:
            error = expect_error(lambda: update(ftd, job, **fields), Code.INVALID_ARGUMENT, "FIELD_INVALID")
            assert field in error.details()
        assert dict(ftd.job(job).labels) == {"team": "red", "run": "7"}


# Cancel and keep.


def test_keep_makes_the_result_of_the_steps_taken():
    with fake_ftd(LONG) as ftd:
        job = submit(ftd)
        wait_for_step(ftd, job.id, 13)
        assert keep(ftd, job.id).state in (jobs.Job.CANCELLING, jobs.Job.SUCCEEDED)
        done = ftd.wait(job.id, "SUCCEEDED")
        check_whole(ftd, job.id, done.last_step.step)
        assert 13 <= done.last_step.step < 1000 and f"after step {done.last_step.step}" in done.message
        assert len(done.attempts) == 1 and processes_under(ftd.state_dir) == []
        assert keep(ftd, job.id).state == jobs.Job.SUCCEEDED


@pytest.mark.parametrize("state", ["PAUSED", "QUEUED", "HELD"])
def test_keep_of_a_waiting_job_goes_before_all_others(state):
    with fake_ftd(LONG) as ftd:
        job = submit(ftd).id
        wait_for_step(ftd, job, 13)
        pause(ftd, job)
        step = paused(ftd, job).last_step.step
        wait_for_step(ftd, submit(ftd, name="blocker").id, 1)
        urgent = submit(ftd, priority=1000).id
        if state != "PAUSED":
            resume(ftd, job)
        if state == "HELD":
            hold(ftd, job)
        for _ in range(2):
            kept = keep(ftd, job)
            assert (kept.state, kept.position) == (jobs.Job.QUEUED, 1) and "newest checkpoint" in kept.message
        ftd.kill()
        ftd.start()
        cancel(ftd, "blocker")
        done = check_whole(ftd, job, step)
        assert len(done.attempts) == 2
        ftd.wait(urgent, "RUNNING", "PREPARING")


def test_keep_of_a_job_that_is_pausing():
    with fake_ftd(LONG) as ftd:
        job = submit(ftd).id
        wait_for_step(ftd, job, 13)
        pid = pausing_and_frozen(ftd, job)
        assert keep(ftd, job).state == jobs.Job.CANCELLING
        os.kill(pid, signal.SIGCONT)
        done = ftd.wait(job, "SUCCEEDED")
        check_whole(ftd, job, done.last_step.step)


def test_keep_survives_a_crash_by_the_newest_checkpoint():
    with fake_ftd("1:crash_result=1 save=10 " + LONG) as ftd:
        job = submit(ftd).id
        collector = Collector(ftd, job)
        thread = threading.Thread(target=collector.run, daemon=True)
        thread.start()
        wait_for_step(ftd, job, 13)
        keep(ftd, job)
        done = ftd.wait(job, "SUCCEEDED")
        assert done.last_step.step % 10 == 0
        check_whole(ftd, job, done.last_step.step)
        assert [a.state for a in done.attempts] == [jobs.Attempt.STOPPED, jobs.Attempt.SUCCEEDED]
        thread.join(30)
        check(collector.events, done.last_step.step, "SUCCEEDED")


def test_keep_without_a_checkpoint_to_fall_back_on_fails():
    with fake_ftd("1:crash_result=1 " + LONG) as ftd:
        job = submit(ftd).id
        wait_for_step(ftd, job, 3)
        keep(ftd, job)
        assert ftd.wait(job, "FAILED").failure_reason == jobs.CHECKPOINT_CORRUPT


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_keep_through_a_restart_of_the_daemon(how):
    with fake_ftd("1:result_ms=3000 save=10 " + LONG) as ftd:
        job = submit(ftd).id
        wait_for_step(ftd, job, 13)
        assert keep(ftd, job).state == jobs.Job.CANCELLING
        getattr(ftd, how)()
        ftd.start()
        done = ftd.wait(job, "SUCCEEDED")
        check_whole(ftd, job, done.last_step.step)
        assert len(done.attempts) == {"kill": 1, "terminate": 2}[how]


def test_a_cancel_after_all_gives_the_result_up():
    with fake_ftd("result_ms=600000 " + LONG) as ftd:
        job = submit(ftd).id
        wait_for_step(ftd, job, 3)
        assert keep(ftd, job).state == jobs.Job.CANCELLING
        expect_error(lambda: pause(ftd, job), Code.FAILED_PRECONDITION, "STATE_CONFLICT")
        assert cancel(ftd, job).state == jobs.Job.CANCELLING
        done = ftd.wait(job, "CANCELLED")
        assert not done.result_dir and os.listdir(ftd.state_dir / "results") == []
        assert processes_under(ftd.state_dir) == []


def test_the_attempt_that_makes_the_result_can_be_paused_and_cancelled():
    with fake_ftd("2:prepare_ms=600000 " + LONG) as ftd:
        for then in (pause, cancel):
            job = submit(ftd).id
            wait_for_step(ftd, job, 3)
            pause(ftd, job)
            step = paused(ftd, job).last_step.step
            keep(ftd, job)
            wait_until(lambda: len(ftd.job(job).attempts) == 2 and ftd.job(job).HasField("progress"), "attempt 2")
            then(ftd, job)
            if then == pause:
                paused(ftd, job)
                resume(ftd, job)
                check_whole(ftd, job, step)
            else:
                assert not ftd.wait(job, "CANCELLED").result_dir


# Again, and forgotten.


def test_retry_repeats_a_job_that_has_ended():
    with fake_ftd("fail=3") as ftd:
        job = submit(ftd, name="first", labels={"team": "blue"}, priority=4)
        expect_error(lambda: ftd.stub.RetryJob(api.RetryJobRequest(job="nobody")), Code.NOT_FOUND, "JOB_NOT_FOUND")
        failed = ftd.wait(job.id, "FAILED")
        ftd.env["FTD_FAKE_WORKER"] = SHORT
        ftd.restart()
        request = api.RetryJobRequest(job="first", request_id=str(uuid.uuid4()))
        again = ftd.stub.RetryJob(request)
        assert (again.retry_of, again.name, again.priority, dict(again.labels)) == (job.id, "", 4, {"team": "blue"})
        assert again.spec == failed.spec and again.id != job.id
        assert ftd.stub.RetryJob(request).id == again.id
        expect_error(lambda: ftd.stub.RetryJob(api.RetryJobRequest(job=again.id, request_id=request.request_id)),
                     Code.ALREADY_EXISTS, "REQUEST_ID_REUSED")
        expect_error(lambda: ftd.stub.RetryJob(api.RetryJobRequest(job="first", request_id="x")),
                     Code.INVALID_ARGUMENT, "FIELD_INVALID")
        check_whole(ftd, again.id)
        assert ftd.job(job.id) == failed
        third = ftd.ftctl("retry", again.id, "--quiet").stdout.strip()
        assert ftd.job(third).retry_of == again.id
        check_whole(ftd, third)


@pytest.mark.parametrize("results", [False, True])
def test_rm_forgets_a_job_that_has_ended(results):
    with fake_ftd("save=2") as ftd:
        job = submit(ftd, name="first")
        done = ftd.wait(job.id, "SUCCEEDED")
        latest = ftd.state_dir / "results" / "latest"
        assert os.readlink(latest) == "first"
        expect_error(lambda: submit(ftd, name="latest"), Code.INVALID_ARGUMENT, "FIELD_INVALID")
        flags = ["--results"] if results else []
        ftd.ftctl("rm", *flags, "first")
        assert os.path.lexists(latest) != results
        for name in ("first", job.id):
            expect_error(lambda: ftd.job(name), Code.NOT_FOUND, "JOB_NOT_FOUND")
        assert not (ftd.state_dir / "jobs" / job.id).exists()
        assert os.path.exists(done.result_dir) != results
        if results:
            assert check_whole(ftd, submit(ftd, name="first").id, 5).name == "first"
        else:
            expect_error(lambda: submit(ftd, name="first"), Code.ALREADY_EXISTS, "NAME_IN_USE")
        assert ftd.ftctl("rm", "nobody", check=False).returncode == 102


def test_a_job_that_has_not_ended_is_neither_removed_nor_repeated():
    with fake_ftd(LONG) as ftd:
        job = submit(ftd).id
        for call in [lambda: ftd.stub.DeleteJob(api.DeleteJobRequest(job=job)),
                     lambda: ftd.stub.RetryJob(api.RetryJobRequest(job=job))]:
            expect_error(call, Code.FAILED_PRECONDITION, "STATE_CONFLICT")
        wait_for_step(ftd, job, 1)
        assert ftd.attempt_dir(job, 1).exists()


# --- the log ---

@pytest.mark.parametrize("log_format", ["logfmt", "json"])
def test_the_log_as_programs_read_it(log_format):
    with fake_ftd("steps=3", args=["--log-format", log_format]) as ftd:
        job = submit(ftd)
        ftd.wait(job.id, "SUCCEEDED")
        lines = ftd.log().splitlines()
    if log_format == "json":
        records = [json.loads(line) for line in lines]
    else:
        records = [dict(word.split("=", 1) for word in shlex.split(line)) for line in lines]
    assert {record["level"] for record in records} == {"info"}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"]) for record in records)
    [started] = [record for record in records if record.get("job") == job.id and record["msg"].startswith("started, pid ")]
    assert str(started["attempt"]) == "1" and any(record["msg"].startswith("ftd 0.") for record in records)


def test_the_least_level():
    with fake_ftd("fail=2 steps=3", args=["--log-level", "warning"]) as ftd:
        ftd.wait(submit(ftd).id, "FAILED")
        assert " info " not in ftd.log()
