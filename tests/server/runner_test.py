"""Supervision: what becomes of a job when its worker, or the daemon, is stopped, cancelled, killed."""

import os
import signal
import sqlite3
import subprocess
import time

import grpc
import pytest

from ftd_fixture import api, jobs, processes_under, wait_until
from helpers import expect_error, fake_ftd, submit

Code = grpc.StatusCode
LONG = "steps=100000 step_ms=5"


def cancel(ftd, job):
    return ftd.stub.CancelJob(api.CancelJobRequest(job=job))


def wait_for_step(ftd, job, step):
    return wait_until(lambda: (j := ftd.job(job)).last_step.step >= step and j, f"step {step} of {job}")


def no_workers(ftd):
    wait_until(lambda: not processes_under(ftd.state_dir), "no worker to be left", 5)


def test_two_jobs_run_one_after_the_other():
    with fake_ftd("steps=20 step_ms=5") as ftd:
        first, second = submit(ftd), submit(ftd)
        done = [ftd.wait(job.id, "SUCCEEDED") for job in (first, second)]
        assert done[0].end_time.ToNanoseconds() <= done[1].start_time.ToNanoseconds()
        # Less than a second of our own between two jobs.
        assert done[1].start_time.ToNanoseconds() - done[0].end_time.ToNanoseconds() < 1e9


def test_priority_goes_first():
    with fake_ftd("prepare_ms=200") as ftd:
        submit(ftd)
        low, high = submit(ftd, priority=-1), submit(ftd, priority=10)
        low, high = ftd.wait(low.id, "SUCCEEDED"), ftd.wait(high.id, "SUCCEEDED")
        assert high.end_time.ToNanoseconds() <= low.start_time.ToNanoseconds()


@pytest.mark.parametrize("script", ["prepare_ms=600000", LONG, LONG + " deaf=1", LONG + " hang=3", LONG + " nosock=1",
                                    LONG + " child=1", "prepare_ms=600000 nosock=1 deaf=1"])
def test_cancel_ends_within_5_s_and_leaves_no_process(script):
    with fake_ftd(script) as ftd:
        running, queued = submit(ftd), submit(ftd)
        assert cancel(ftd, queued.id).state == jobs.Job.CANCELLED
        if "prepare" in script:
            wait_until(lambda: ftd.job(running.id).HasField("progress"), "the worker's first word")
        else:
            wait_for_step(ftd, running.id, 3)
        begun = time.monotonic()
        assert cancel(ftd, running.id).state == jobs.Job.CANCELLING
        assert cancel(ftd, running.id).state in (jobs.Job.CANCELLING, jobs.Job.CANCELLED)
        done = ftd.wait(running.id, "CANCELLED", deadline_s=10)
        assert time.monotonic() - begun < 5
        no_workers(ftd)
        assert done.attempts[0].state == jobs.Attempt.STOPPED and not done.result_dir
        assert cancel(ftd, running.id).state == jobs.Job.CANCELLED
        assert not ftd.job(queued.id).attempts


def test_a_finished_job_cannot_be_cancelled():
    with fake_ftd() as ftd:
        job = submit(ftd)
        ftd.wait(job.id, "SUCCEEDED")
        expect_error(lambda: cancel(ftd, job.id), Code.FAILED_PRECONDITION, "STATE_CONFLICT")


def test_a_cancel_survives_the_daemon():
    with fake_ftd(LONG + " deaf=1") as ftd:
        job = submit(ftd)
        wait_for_step(ftd, job.id, 2)
        cancel(ftd, job.id)
        ftd.kill()
        ftd.start()
        ftd.wait(job.id, "CANCELLED", deadline_s=10)
        no_workers(ftd)


def test_a_killed_daemon_loses_nothing_and_the_worker_goes_on():
    with fake_ftd("steps=400 step_ms=10 save=100") as ftd:
        job, later = submit(ftd), submit(ftd)
        wait_for_step(ftd, job.id, 20)
        pid = ftd.worker_pid(job.id)
        for _ in range(3):
            ftd.kill()
            # The look at the rows of the job that waits ends with the daemon, but not in the same moment.
            wait_until(lambda: processes_under(ftd.state_dir) == [pid], "the worker alone to be left", 5)
            ftd.start()
        done = ftd.wait(job.id, "SUCCEEDED")
        assert [(a.number, a.pid) for a in done.attempts] == [(1, pid)]
        assert [s.step for s in ftd.steps(job.id)] == list(range(1, 401))
        ftd.wait(later.id, "SUCCEEDED")


def test_a_worker_that_ended_while_no_daemon_ran_is_judged_by_its_log():
    for script, outcome in [("steps=30 step_ms=20", "SUCCEEDED"), ("steps=30 step_ms=20 fail=29", "FAILED")]:
        with fake_ftd(script) as ftd:
            job = submit(ftd)
            wait_for_step(ftd, job.id, 1)
            ftd.kill()
            wait_until(lambda: not processes_under(ftd.state_dir), "the worker to end")
            ftd.start()
            done = ftd.wait(job.id, outcome)
            assert len(done.attempts) == 1 and not done.attempts[0].HasField("exit_code")
            assert bool(done.result_dir) == (outcome == "SUCCEEDED")


def test_an_interrupted_publication_is_completed():
    with fake_ftd("steps=20 step_ms=5") as ftd:
        job = submit(ftd, name="half-published")
        wait_for_step(ftd, job.id, 1)
        ftd.kill()
        wait_until(lambda: not processes_under(ftd.state_dir), "the worker to end")
        # As if the daemon had died between the rename and the transaction.
        os.rename(ftd.attempt_dir(job.id, 1) / "result", ftd.state_dir / "results" / "half-published")
        ftd.start()
        done = ftd.wait(job.id, "SUCCEEDED")
        assert os.listdir(done.result_dir)


def test_a_result_in_whose_place_something_lies_gets_the_jobs_id():
    with fake_ftd("prepare_ms=300") as ftd:
        job = submit(ftd, name="in-the-way")
        ftd.wait(job.id, "PREPARING")
        (ftd.state_dir / "results" / "in-the-way").mkdir()
        done = ftd.wait(job.id, "SUCCEEDED")
        assert done.result_dir == str(ftd.state_dir / "results" / job.id)
        assert (ftd.state_dir / "results" / job.id / "adapter_config.json").exists()
        assert not os.listdir(ftd.state_dir / "results" / "in-the-way")


def test_a_killed_worker_is_tried_again_from_its_newest_checkpoint():
    with fake_ftd("steps=60 step_ms=12 save=10") as ftd:
        job = submit(ftd)
        wait_for_step(ftd, job.id, 25)
        unfinished = ftd.attempt_dir(job.id, 1) / ".tmp-checkpoint-33"  # one that the worker itself does not make
        unfinished.mkdir()
        (unfinished / "adapter_model.safetensors").write_text("half of them")
        os.kill(ftd.worker_pid(job.id), signal.SIGKILL)
        done = ftd.wait(job.id, "SUCCEEDED")
        first, second = done.attempts
        assert (first.state, first.signal) == (jobs.Attempt.CRASHED, signal.SIGKILL)
        step = int(second.resumed_from.rsplit("-", 1)[1])
        assert step in (20, 30, 40, 50) and second.first_step == step + 1 and second.last_step == 60
        assert [s.step for s in ftd.steps(job.id)] == list(range(1, 61))
        # Those of the first attempt went when the second had one of its own.
        assert {c.attempt for c in done.checkpoints} == {2}
        assert not unfinished.exists()


def test_a_damaged_checkpoint_is_passed_over():
    with fake_ftd("steps=30 step_ms=2 save=10 1:crash=25") as ftd:
        job = submit(ftd)
        ftd.wait(job.id, "PREPARING", "RUNNING")
        newest = ftd.attempt_dir(job.id, 1) / "checkpoint-20"
        wait_until(newest.exists, "checkpoint 20")
        (newest / "adapter_model.safetensors").write_text("damaged")
        done = ftd.wait(job.id, "SUCCEEDED")
        assert done.attempts[1].resumed_from.endswith("attempts/1/checkpoint-10")


@pytest.mark.parametrize("script,reason,words", [
    ("1:crash=2 2:crash=2 3:crash=2 4:crash=2", "WORKER_CRASHED", ["signal 6", "SIGABRT", "aborting at step 2"]),
    ("exit=2", "WORKER_CRASHED", ["exit status 0"]),
    ("noresult=1 prepare_ms=0", "WORKER_CRASHED", ["left no result"]),
    ("silent=1", "WORKER_CRASHED", ["exit status 0"]),
    ("garbage=2 crash=2", "WORKER_CRASHED", ["signal 6"]),
])
def test_crashing_without_progress_three_times_fails_the_job(script, reason, words):
    with fake_ftd(script) as ftd:
        job = submit(ftd)
        done = ftd.wait(job.id, "FAILED")
        assert jobs.FailureReason.Name(done.failure_reason) == reason
        for word in words:
            assert word in done.message
        assert done.hint
        # The first attempt made progress; three in a row did not.
        assert len(done.attempts) == 4 and all(a.state == jobs.Attempt.CRASHED for a in done.attempts)
        no_workers(ftd)


def test_a_worker_that_cannot_be_started():
    with fake_ftd() as ftd:
        ftd.terminate()
        ftd.worker = "/no/such/worker"
        ftd.start()
        done = ftd.wait(submit(ftd).id, "FAILED")
        assert len(done.attempts) == 3 and "/no/such/worker" in done.message


@pytest.mark.parametrize("word", ["garbage=3", "torn=3"])
def test_junk_in_the_log_costs_one_attempt(word):
    with fake_ftd(f"1:{word} steps=6") as ftd:
        done = ftd.wait(submit(ftd).id, "SUCCEEDED")
        assert [a.state for a in done.attempts] == [jobs.Attempt.CRASHED, jobs.Attempt.SUCCEEDED]


def test_a_hung_worker_is_killed():
    with fake_ftd("1:hang=3 steps=6", args=["--hang-seconds", "1"]) as ftd:
        done = ftd.wait(submit(ftd).id, "SUCCEEDED")
        assert done.attempts[0].reason == "the worker stood still and was killed"


def test_a_failure_is_final_and_says_why():
    with fake_ftd("fail=3") as ftd:
        done = ftd.wait(submit(ftd).id, "FAILED")
        assert done.failure_reason == jobs.LOSS_DIVERGED and done.hint == "lower learning_rate"
        assert "NaN" in done.message and len(done.attempts) == 1


def test_the_queue_goes_on_after_a_failure():
    with fake_ftd("fail=3") as ftd:
        first, second = submit(ftd), submit(ftd)
        ftd.wait(first.id, "FAILED")
        assert ftd.wait(second.id, "FAILED").attempts


def test_sigterm_puts_the_job_back_at_the_head_and_it_resumes():
    with fake_ftd("steps=200 step_ms=10") as ftd:
        job = submit(ftd)
        wait_for_step(ftd, job.id, 10)
        urgent = submit(ftd, priority=100)
        assert ftd.terminate(20) == 0
        assert not processes_under(ftd.state_dir)
        assert not (ftd.state_dir / "addresses.json").exists()
        ftd.start()
        done = ftd.wait(job.id, "SUCCEEDED")
        first, second = done.attempts
        assert first.state == jobs.Attempt.STOPPED and second.state == jobs.Attempt.SUCCEEDED
        assert second.first_step == first.last_step + 1
        assert [s.step for s in ftd.steps(job.id)] == list(range(1, 201))
        assert ftd.wait(urgent.id, "SUCCEEDED").start_time.ToNanoseconds() >= done.end_time.ToNanoseconds()


def test_a_second_sigterm_hastens():
    with fake_ftd(LONG + " deaf=1") as ftd:
        job = submit(ftd)
        wait_for_step(ftd, job.id, 2)
        begun = time.monotonic()
        ftd.signal(signal.SIGTERM)
        wait_until(lambda: "asked to stop" in ftd.log(), "ftd to hear it")
        assert ftd.terminate(20) == 0
        assert time.monotonic() - begun < 10
        assert not processes_under(ftd.state_dir)
        ftd.env["FTD_FAKE_WORKER"] = "steps=5"
        ftd.start()
        assert ftd.wait(job.id, "SUCCEEDED").attempts[0].state == jobs.Attempt.STOPPED


def test_the_grace_time_is_kept():
    with fake_ftd(LONG + " deaf=1", args=["--stop-grace-seconds", "1"]) as ftd:
        wait_for_step(ftd, submit(ftd).id, 2)
        begun = time.monotonic()
        assert ftd.terminate(20) == 0
        assert 0.9 < time.monotonic() - begun < 8
        assert not processes_under(ftd.state_dir)


def test_sighup_starts_anew_and_adopts():
    with fake_ftd("steps=300 step_ms=5", config="max_queued = 5\n") as ftd:
        job = submit(ftd)
        wait_for_step(ftd, job.id, 2)
        # A worker may take a step before the daemon has noted its pid.
        pid = wait_until(lambda: ftd.job(job.id).attempts[0].pid, "its pid")
        ftd.config_path.write_text("max_queued = 0\n")
        ftd.signal(signal.SIGHUP)
        wait_until(lambda: "SIGHUP is ignored" in ftd.log(), "the refusal")
        ftd.config_path.write_text("max_queued = 6\n")
        ftd.signal(signal.SIGHUP)
        wait_until(lambda: "adopted the worker" in ftd.log(), "the adoption")
        ftd._drop_channel()
        wait_until(ftd.socket.exists, "the socket")
        done = ftd.wait(job.id, "SUCCEEDED")
        assert [a.pid for a in done.attempts] == [pid] and done.attempts[0].exit_code == 0


def test_adoption_before_the_pid_was_recorded():
    """The daemon dies between starting the worker and noting its pid."""
    with fake_ftd("steps=300 step_ms=5") as ftd:
        job = submit(ftd)
        pid = wait_for_step(ftd, job.id, 2).attempts[0].pid
        ftd.kill()
        with sqlite3.connect(ftd.state_dir / "ftd.db") as database:
            database.execute("UPDATE attempts SET pid = 0, pid_start = 0, boot_id = ''")
        database.close()
        ftd.start()
        wait_until(lambda: f"pid {pid}" in ftd.log().split("adopted", 1)[-1], "the adoption")
        assert len(ftd.wait(job.id, "SUCCEEDED").attempts) == 1


def test_the_daemon_died_before_it_had_started_the_worker():
    """Between the transaction that claims a job and the start of its worker: no fault of the job's."""
    with fake_ftd("steps=5") as ftd:
        blocker = submit(ftd)
        ftd.wait(blocker.id, "SUCCEEDED")
        ftd.terminate()
        ftd.env["FTD_FAKE_WORKER"] = "prepare_ms=600000"
        ftd.start()
        running, job = submit(ftd), submit(ftd)
        ftd.wait(running.id, "PREPARING")
        ftd.terminate()
        with sqlite3.connect(ftd.state_dir / "ftd.db") as database:
            database.execute("UPDATE jobs SET state = 'PREPARING' WHERE id = ?", (job.id,))
            database.execute("INSERT INTO attempts (job_id, number, state, start_time) VALUES (?, 1, 'ACTIVE', 1)",
                             (job.id,))
            database.execute("INSERT INTO events SELECT job_id, 2, to_state, 'PREPARING', time, '', '', '', 1, '' "
                             "FROM events WHERE job_id = ?", (job.id,))
        database.close()
        ftd.env["FTD_FAKE_WORKER"] = "steps=5"
        ftd.start()
        done = ftd.wait(job.id, "SUCCEEDED")
        assert [a.state for a in done.attempts] == [jobs.Attempt.STOPPED, jobs.Attempt.SUCCEEDED]
        assert ftd.wait(running.id, "SUCCEEDED")


def test_a_recycled_pid_is_not_signalled():
    """After a reboot another process has the worker's pid: it must not be touched, and the job resumes."""
    with fake_ftd("steps=400 step_ms=10 save=10") as ftd:
        job = submit(ftd)
        wait_for_step(ftd, job.id, 15)
        pid = ftd.worker_pid(job.id)
        ftd.kill()
        os.kill(pid, signal.SIGKILL)
        no_workers(ftd)
        with subprocess.Popen(["sleep", "600"]) as stranger:
            try:
                with sqlite3.connect(ftd.state_dir / "ftd.db") as database:
                    database.execute("UPDATE attempts SET pid = ?", (stranger.pid,))
                database.close()
                ftd.start()
                wait_until(lambda: len(ftd.job(job.id).attempts) == 2, "the second attempt")
                cancel(ftd, job.id)
                ftd.wait(job.id, "CANCELLED")
                assert stranger.poll() is None
                assert ftd.job(job.id).attempts[1].resumed_from
            finally:
                stranger.kill()


def test_the_worker_gets_a_clean_place():
    with fake_ftd("prepare_ms=600000", env={"HF_TOKEN": "hf_secret", "SECRET": "x", "OMP_NUM_THREADS": "1"}) as ftd:
        job = submit(ftd)
        wait_until(lambda: ftd.job(job.id).HasField("progress"), "the worker's first word")
        pid = ftd.worker_pid(job.id)
        environment = open(f"/proc/{pid}/environ").read().split("\0")
        names = {entry.split("=", 1)[0] for entry in environment if entry}
        assert "OMP_NUM_THREADS" in names and "PATH" in names
        assert not names & {"HF_TOKEN", "SECRET"}
        directory = str(ftd.attempt_dir(job.id, 1))
        links = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        assert links[0] == "/dev/null" and links[1] == links[2] == f"{directory}/worker.log"
        assert links[3] == f"{directory}/worker.lock"
        assert not any("ftd.db" in target or "ftd.lock" in target for target in links.values())
        assert os.readlink(f"/proc/{pid}/cwd") == directory
        assert os.getsid(pid) == pid
