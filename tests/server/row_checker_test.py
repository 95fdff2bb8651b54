"""The look at the rows of jobs that wait: when it is taken, when it gives way, and what it leaves."""

import signal
import time

import pytest

from ftd_fixture import api, jobs, processes_under, wait_until
from helpers import fake_ftd, submit

BUSY = "steps=1000000 step_ms=20 "


def checks(ftd):
    """The ids of the jobs whose rows are being looked at."""
    return [path.parent.name for path in ftd.state_dir.glob("jobs/*/row_check")]


def said(ftd, job, words):
    return any(job in line and words in line for line in ftd.log().splitlines())


def busy(ftd):
    first = submit(ftd)
    ftd.wait(first.id, "RUNNING")
    return first


def test_a_job_with_bad_rows_fails_before_its_turn():
    with fake_ftd(BUSY + "rows_bad=1") as ftd:
        running, late = busy(ftd), submit(ftd)
        failed = ftd.wait(late.id, "FAILED")
        assert failed.failure_reason == jobs.DATASET_INVALID and failed.message == "rows.jsonl line 7: not JSON"
        assert not failed.attempts and ftd.job(running.id).state == jobs.Job.RUNNING
        assert not checks(ftd)
        # Nobody behind it waits for it, and it is gone like any other.
        ftd.stub.DeleteJob(api.DeleteJobRequest(job=late.id))


def test_each_waiting_job_is_looked_at_once():
    with fake_ftd(BUSY) as ftd:
        busy(ftd)
        waiting = [submit(ftd) for _ in range(3)]
        for job in waiting:
            wait_until(lambda: said(ftd, job.id, "its rows are tokenised"), f"a look at {job.id}")
        submit(ftd, priority=-5)
        wait_until(lambda: ftd.log().count("its rows are tokenised") == 4, "the fourth")
        assert {ftd.job(job.id).state for job in waiting} == {jobs.Job.QUEUED}


def test_a_look_that_crashes_leaves_the_job_to_its_own_worker():
    with fake_ftd("steps=100 step_ms=20 rows_crash=1") as ftd:
        busy(ftd)
        job = submit(ftd)
        wait_until(lambda: said(ftd, job.id, "could not be looked at"), "the look to crash")
        assert ftd.wait(job.id, "SUCCEEDED").attempts


def test_it_gives_way_to_a_job_that_prepares():
    with fake_ftd("steps=50 step_ms=20 prepare_ms=300 rows_ms=600000") as ftd:
        busy(ftd)
        second, third = submit(ftd), submit(ftd)
        wait_until(lambda: checks(ftd) == [second.id], "a look at the second")
        ftd.wait(second.id, "PREPARING")
        wait_until(lambda: not checks(ftd), "the look to end", 2)
        ftd.wait(second.id, "RUNNING")
        wait_until(lambda: checks(ftd) == [third.id], "a look at the third")
        assert [ftd.wait(job.id).state for job in (second, third)] == [jobs.Job.SUCCEEDED] * 2
        assert not checks(ftd)


@pytest.mark.parametrize("leave", ["cancel", "hold"])
def test_it_ends_with_the_job(leave):
    with fake_ftd(BUSY + "rows_ms=600000") as ftd:
        busy(ftd)
        job = submit(ftd)
        wait_until(lambda: checks(ftd) == [job.id], "the look")
        ftd.ftctl(leave, job.id)
        wait_until(lambda: not checks(ftd), "the look to end", 2)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_the_daemon_and_comes_again(how):
    with fake_ftd(BUSY + "rows_ms=600000") as ftd:
        running = busy(ftd)
        job = submit(ftd)
        wait_until(lambda: checks(ftd) == [job.id], "the look")
        before = time.monotonic()
        ftd.terminate() if how == signal.SIGTERM else ftd.kill()
        assert time.monotonic() - before < 10
        row_check = ftd.state_dir / "jobs" / job.id / "row_check"
        wait_until(lambda: not processes_under(row_check), "its process to end", 5)
        ftd.start()
        ftd.wait(running.id, "RUNNING")
        wait_until(lambda: processes_under(row_check), "the look to come again")


def test_stops_are_not_delayed_by_a_full_queue():
    with fake_ftd(BUSY) as ftd:
        busy(ftd)
        for _ in range(30):
            submit(ftd)
        begun = time.monotonic()
        assert ftd.terminate() == 0
        assert time.monotonic() - begun < 5
