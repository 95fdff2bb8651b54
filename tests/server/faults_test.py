"""What the operating system does to a daemon: clocks that jump, disks that fail or are full, processes that stay."""
import contextlib
import errno
import os
import re
import resource
import signal
import sqlite3
import struct
import subprocess
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from faults import Fault, Faults
from ftd_fixture import api, jobs, processes_under, wait_until
from helpers import FAKE_WORKER, ROWS, expect_error, fake_ftd, health, submit
from mounted_ftd import MountedFtd
from tiny_model import make_stub_model

LONG = "steps=100000 step_ms=20"


@pytest.fixture
def faults():
    with Faults() as all_faults:
        yield all_faults


def attempts_of(ftd, job):
    return [(attempt.number, attempt.reason) for attempt in ftd.job(job).attempts]


def at_step(ftd, job, step=1):
    return wait_until(lambda: ftd.job(job).last_step.step >= step, f"step {step}")


# The wall clock

@pytest.mark.parametrize("jump_s", [7200, -7200])
def test_a_clock_that_is_set_kills_no_worker(faults, jump_s):
    with fake_ftd("steps=6 step_ms=700", env=faults.env, args=["--hang-seconds", "2"]) as ftd:
        job = submit(ftd)
        at_step(ftd, job.id)
        faults.set(clock_offset_s=jump_s)
        assert attempts_of(ftd, ftd.wait(job.id, "SUCCEEDED").id) == [(1, "completed")]


def test_a_hung_worker_is_killed_though_the_clock_is_set_back(faults):
    with fake_ftd("steps=5 1:hang=2", env=faults.env, args=["--hang-seconds", "1"]) as ftd:
        job = submit(ftd)
        at_step(ftd, job.id, 2)
        faults.set(clock_offset_s=-3600)
        done = ftd.wait(job.id, "SUCCEEDED")
        assert "stood still" in done.attempts[0].reason


def test_a_back_off_lasts_no_longer_though_the_clock_is_set_back(faults):
    with fake_ftd("steps=9 1:crash=5", env=faults.env) as ftd:
        job, later = submit(ftd), submit(ftd)
        wait_until(lambda: ftd.job(job.id).attempts and ftd.job(job.id).attempts[0].HasField("end_time"), "the crash")
        faults.set(clock_offset_s=-3600)
        begun = time.monotonic()
        ftd.wait(job.id, "SUCCEEDED")
        ftd.wait(later.id, "SUCCEEDED")
        assert time.monotonic() - begun < 20


def test_a_back_off_lasts_no_longer_though_the_clock_is_set_back_between_two_daemons(faults):
    with fake_ftd("steps=9 1:crash=5", env=faults.env) as ftd:
        job = submit(ftd)
        wait_until(lambda: ftd.job(job.id).attempts and ftd.job(job.id).attempts[0].HasField("end_time"), "the crash")
        ftd.kill()
        faults.set(clock_offset_s=-3600)
        ftd.start()
        ftd.wait(job.id, "SUCCEEDED", deadline_s=20)


def test_a_cancel_ends_though_the_clock_is_set_back(faults):
    with fake_ftd(LONG + " deaf=1", env=faults.env) as ftd:
        job = submit(ftd)
        at_step(ftd, job.id)
        ftd.stub.CancelJob(api.CancelJobRequest(job=job.id))
        faults.set(clock_offset_s=-3600)
        ftd.wait(job.id, "CANCELLED", deadline_s=20)


def test_a_machine_that_was_suspended_has_no_hung_worker():
    with fake_ftd("steps=200 step_ms=20", args=["--hang-seconds", "2"]) as ftd:
        job = submit(ftd)
        at_step(ftd, job.id)
        pids = [ftd.process.pid, ftd.worker_pid(job.id)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(4)  # longer than the limit: nobody can wait for what does not happen
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        assert attempts_of(ftd, ftd.wait(job.id, "SUCCEEDED").id) == [(1, "completed")]


# What cannot be read or stored for a moment

@pytest.mark.parametrize("error", [errno.EMFILE, errno.EIO])
@pytest.mark.parametrize("call, path", [("open", "events.log"), ("read", "events.log"), ("open", "steps.log"),
                                        ("open", "worker.log"), ("read", "steps.log")])
def test_evidence_that_cannot_be_read_is_waited_for(faults, call, path, error):
    with fake_ftd("steps=8 step_ms=50", env=faults.env) as ftd:
        job = submit(ftd)
        at_step(ftd, job.id)
        faults.set(Fault(call, path, error=error))
        wait_until(lambda: not processes_under(ftd.state_dir), "the worker to end")
        wait_until(lambda: "cannot be judged or stored yet" in ftd.log(), "the daemon to try")
        assert ftd.job(job.id).state == jobs.Job.RUNNING
        faults.set()
        assert attempts_of(ftd, ftd.wait(job.id, "SUCCEEDED").id) == [(1, "completed")]


def test_a_daemon_without_descriptors_judges_nobody():
    with fake_ftd("steps=40 step_ms=30") as ftd:
        job = submit(ftd)
        at_step(ftd, job.id)
        resource.prlimit(ftd.process.pid, resource.RLIMIT_NOFILE, (3, 1024))
        wait_until(lambda: not processes_under(ftd.state_dir), "the worker to end")
        wait_until(lambda: "cannot be judged or stored yet" in ftd.log(), "the daemon to try")
        resource.prlimit(ftd.process.pid, resource.RLIMIT_NOFILE, (1024, 1024))
        assert attempts_of(ftd, ftd.wait(job.id, "SUCCEEDED").id) == [(1, "completed")]


def test_a_checkpoint_that_cannot_be_read_for_a_moment_is_resumed_from(faults):
    with fake_ftd("steps=20 step_ms=5 save=5 1:crash=12", env=faults.env) as ftd:
        faults.set(Fault("read", "checkpoint-10", error=errno.EIO, times=1))
        done = ftd.wait(submit(ftd).id, "SUCCEEDED")
        assert faults.met() == 1 and done.attempts[1].resumed_from.endswith("checkpoint-10")


# Publication

def test_a_result_that_cannot_be_published_waits_and_holds_up_nobody(faults):
    with fake_ftd("steps=3", env=faults.env) as ftd:
        faults.set(Fault("rename", "/results/first", error=errno.ENOSPC))
        first, second = submit(ftd, name="first"), submit(ftd, name="second")
        ftd.wait("second", "SUCCEEDED")
        waiting = ftd.job("first")
        assert waiting.state == jobs.Job.RUNNING and "No space left" in waiting.message
        ftd.kill()
        ftd.start()
        wait_until(lambda: faults.met() > 2, "another try")
        assert ftd.job("first").state == jobs.Job.RUNNING
        faults.set()
        done = ftd.wait("first", "SUCCEEDED")
        assert os.listdir(done.result_dir) and attempts_of(ftd, first.id) == [(1, "completed")] and second


def test_a_job_whose_result_cannot_be_published_can_be_cancelled(faults):
    with fake_ftd("steps=3", env=faults.env) as ftd:
        faults.set(Fault("rename", "/results/", error=errno.ENOSPC))
        job = submit(ftd)
        wait_until(lambda: "No space left" in ftd.job(job.id).message, "the first try")
        wait_until(lambda: ftd.stub.CancelJob(api.CancelJobRequest(job=job.id)).state == jobs.Job.CANCELLING,
                   "a moment between two tries")
        ftd.wait(job.id, "CANCELLED")
        faults.set()
        assert not os.listdir(ftd.state_dir / "results")


@pytest.mark.parametrize("asked", ["CancelJob", "PauseJob"])
def test_what_is_published_has_succeeded_whatever_is_asked_then(faults, asked):
    def ask(job):
        return getattr(ftd.stub, asked)(getattr(api, f"{asked}Request")(job=job))

    with fake_ftd("steps=20 step_ms=20", env=faults.env) as ftd:
        job = submit(ftd, name="first")
        at_step(ftd, job.id)
        faults.set(Fault("sync", "ftd.db", error=errno.EIO))  # the end cannot be stored
        wait_until(lambda: (ftd.state_dir / "results" / "first").exists(), "the publication")
        assert ask("first").state == jobs.Job.RUNNING
        faults.set()
        done = ftd.wait("first", "SUCCEEDED")
        assert done.result_dir and attempts_of(ftd, job.id) == [(1, "completed")]


def test_what_was_published_before_a_crash_has_succeeded_whatever_is_asked_then(faults):
    with fake_ftd("steps=20 step_ms=20", env=faults.env) as ftd:
        submit(ftd, name="first")
        at_step(ftd, "first")
        faults.set(Fault("write", "ftd.db", error=errno.EIO))
        wait_until(lambda: (ftd.state_dir / "results" / "first").exists(), "the publication")
        ftd.kill()
        faults.set(Fault("open", "events.log", error=errno.EMFILE))  # it cannot be judged at once
        ftd.start()
        assert ftd.stub.CancelJob(api.CancelJobRequest(job="first")).state == jobs.Job.RUNNING
        faults.set()
        assert ftd.wait("first", "SUCCEEDED").result_dir


def test_a_cancel_that_was_answered_ends_cancelled(faults):
    with fake_ftd("steps=20 step_ms=20 result_ms=50", env=faults.env) as ftd:
        job = submit(ftd)
        at_step(ftd, job.id)
        faults.set(Fault("open", "events.log", error=errno.EMFILE))
        wait_until(lambda: not processes_under(ftd.state_dir), "the worker to end")
        assert ftd.stub.CancelJob(api.CancelJobRequest(job=job.id)).state == jobs.Job.CANCELLING
        faults.set()
        ftd.wait(job.id, "CANCELLED")
        assert not os.listdir(ftd.state_dir / "results")


# Processes that a worker leaves behind

@pytest.mark.parametrize("pid_is_recorded", [True, False])
@pytest.mark.parametrize("kind", ["daemon", "child", "loose"])
def test_a_child_is_ended_and_the_queue_goes_on(faults, kind, pid_is_recorded):
    """One that holds the lock; one that was only forked, so that its command line is the worker's; one that let the lock go."""
    with fake_ftd(f"1:steps=100000 step_ms=20 1:{kind}=1 2:steps=3", env=faults.env) as ftd:
        job, later = submit(ftd), submit(ftd)
        at_step(ftd, job.id)
        worker = ftd.worker_pid(job.id)
        ftd.kill()
        if not pid_is_recorded:
            with contextlib.closing(sqlite3.connect(ftd.state_dir / "ftd.db")) as database, database:
                database.execute("UPDATE attempts SET pid = 0")
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: worker not in processes_under(ftd.state_dir), "the worker to end")
        assert processes_under(ftd.state_dir), "its child stays"
        ftd.start()
        ftd.wait(job.id, "SUCCEEDED")
        at_step(ftd, later.id)
        assert "left behind" in ftd.log()


@pytest.mark.parametrize("kind", ["daemon", "loose"])
def test_a_child_that_outlives_its_worker_is_ended(kind):
    with fake_ftd(f"steps=3 {kind}=1") as ftd:
        ftd.wait(submit(ftd).id, "SUCCEEDED")
        wait_until(lambda: not processes_under(ftd.state_dir), "the child to end")


def test_a_reader_of_the_lock_is_left_alone():
    with fake_ftd("1:steps=100000 step_ms=20 1:daemon=1 2:steps=3") as ftd:
        job = submit(ftd)
        at_step(ftd, job.id)
        worker = ftd.worker_pid(job.id)
        with (ftd.attempt_dir(job.id, 1) / "worker.lock").open() as lock, subprocess.Popen(["sleep", "600"], stdin=lock) as reader:
            try:
                ftd.kill()
                os.kill(worker, signal.SIGKILL)
                ftd.start()
                ftd.wait(job.id, "SUCCEEDED")
                assert reader.poll() is None
            finally:
                reader.kill()


# A full disk

def test_a_worker_that_finds_the_disk_full_is_tried_again_when_there_is_space():
    with fake_ftd("steps=9 step_ms=5 save=3 1:disk=5 2:disk=5 3:disk=5 4:disk=5") as ftd:
        job = submit(ftd)
        waiting = wait_until(lambda: (j := ftd.job(job.id)).pending_reason == jobs.Job.DISK_RESERVE and j, "the wait")
        assert "No space left" in waiting.message and waiting.state == jobs.Job.QUEUED
        assert "space on the disk" in ftd.ftctl("show", job.id).stdout


def test_a_full_disk_ends_no_job():
    with MountedFtd(64, worker=FAKE_WORKER, env={"FTD_FAKE_WORKER": "steps=40 step_ms=25"}) as ftd:
        ftd.model = make_stub_model(ftd.root / "model")
        ftd.start()
        first, *others = [submit(ftd) for _ in range(3)]
        at_step(ftd, first.id)
        ftd.inside(f"head -c 52M /dev/zero > {ftd.state_dir}/ballast")
        ftd.wait(first.id, "SUCCEEDED")
        waiting = wait_until(lambda: (j := ftd.job(others[0].id)).pending_reason == jobs.Job.DISK_RESERVE and j, "the wait")
        assert "GB are free" in waiting.message and not waiting.attempts
        ftd.inside(f"rm {ftd.state_dir}/ballast")
        for job in others:
            assert attempts_of(ftd, ftd.wait(job.id, "SUCCEEDED").id) == [(1, "completed")]


# A log without end

def test_a_log_that_grows_without_end_keeps_its_newest_lines():
    with fake_ftd(LONG) as ftd:
        job = submit(ftd).id
        ftd.wait(job, "RUNNING")
        log = ftd.state_dir / "jobs" / job / "attempts" / "1" / "worker.log"
        line = b"x" * 99 + b"\n"
        with open(log, "ab") as file:
            for _ in range(700):
                file.write(line * 1024)
            file.write(b"last words\n")
        wait_until(lambda: log.stat().st_blocks * 512 < 30 << 20, "the log to be shortened", 60)
        assert log.stat().st_size > 70_000_000  # a hole: whoever reads or appends keeps its place

        def tail(**fields):
            return b"".join(m.data for m in ftd.stub.TailLog(api.TailLogRequest(job=job, **fields))).splitlines(keepends=True)

        lines = tail()
        assert re.fullmatch(rb"\[ftd: \d+ bytes of older lines were left out\]\n", lines[0])
        assert set(lines[1:]) == {line, b"last words\n"} and 15 << 20 < len(lines) * 100 < 18 << 20
        assert tail(lines=2) == [line, b"last words\n"]
        assert "oldest" in ftd.log()


# The database

def children_of(file, page):
    """The pages below an interior page of an index's b-tree, but the last: sqlite.org/fileformat2.html, section 1.6."""
    file.seek(4096 * (page - 1))
    data = file.read(4096)
    assert data[0] == 2  # interior, of an index, as the table is WITHOUT ROWID
    cells = struct.unpack_from(">H", data, 3)[0]
    return [struct.unpack_from(">I", data, offset)[0] for offset in struct.unpack_from(f">{cells}H", data, 12)]


def test_a_database_that_somebody_holds():
    """For more than the five seconds that a change waits: nothing was done, and the same request succeeds later."""
    with fake_ftd("steps=2") as ftd:
        fields = {"spec": ftd.spec(ftd.model, ROWS), "request_id": "0b9a6c1e-9d0b-4a55-8f24-6b1fdd3b6a10"}
        with contextlib.closing(sqlite3.connect(ftd.state_dir / "ftd.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            expect_error(lambda: ftd.submit(**fields), grpc.StatusCode.UNAVAILABLE, "DB_BUSY")
            assert not ftd.stub.ListJobs(api.ListJobsRequest()).jobs, "who reads waits for nobody"
            other.execute("ROLLBACK")
        assert ftd.wait(ftd.submit(**fields).id).last_step.step == 2


def test_a_damaged_database_ends_the_health():
    with fake_ftd("prepare_ms=600000", config="max_queued = 100000\n", args=["--metrics-listen", "127.0.0.1:0"]) as ftd:
        spec = ftd.spec(ftd.model, ROWS)
        for _ in range(200):
            ftd.submit(spec)
        ftd.kill()
        database = sqlite3.connect(ftd.state_dir / "ftd.db")
        assert database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        root = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events'").fetchone()[0]
        database.close()
        with open(ftd.state_dir / "ftd.db", "r+b") as file:
            for page in children_of(file, root)[1:]:
                file.seek(4096 * (page - 1))
                file.write(os.urandom(4096))
        ftd.start()
        wait_until(lambda: "the database is damaged" in ftd.log(), "the check to end")
        status = health_pb2_grpc.HealthStub(ftd.channel).Check(health_pb2.HealthCheckRequest()).status
        assert status == health_pb2.HealthCheckResponse.NOT_SERVING
        address = ftd.stub.GetServerInfo(api.GetServerInfoRequest()).metrics_address
        assert health(address) == (503, "the database is damaged; ftd's log says more\n")


def test_a_daemon_refuses_a_damaged_database_and_leaves_it_alone():
    with fake_ftd("steps=3") as ftd:
        ftd.wait(submit(ftd).id, "SUCCEEDED")
        assert ftd.terminate() == 0
        path = ftd.state_dir / "ftd.db"
        with contextlib.closing(sqlite3.connect(path)) as database:
            root = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'jobs'").fetchone()[0]
        whole = path.read_bytes()
        damaged = whole[:4096 * (root - 1)] + b"\xee" * 4096 + whole[4096 * root:]
        path.write_bytes(damaged)
        with pytest.raises(RuntimeError, match="restore ftd.db from a backup"):
            ftd.start()
        assert path.read_bytes() == damaged and os.listdir(ftd.state_dir / "results")
        path.write_bytes(whole)
        ftd.start()
        assert len(ftd.stub.ListJobs(api.ListJobsRequest()).jobs) == 1
