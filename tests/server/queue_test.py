"""WatchQueue: a snapshot at once, one after each change, one each interval, and what is in them."""

import json
import signal
import statistics
import subprocess
import time

import grpc
import pytest

from ftd_fixture import BIN, BUILD, DEADLINE_S, api, jobs, state_name, wait_until
from helpers import expect_error, fake_ftd, submit

Code = grpc.StatusCode
ENDLESS = "steps=1000000 step_ms=20"
STUCK = "prepare_ms=600000"
LONGEST = 3600  # an interval that no test outlives: what comes then came of a change


def watch(ftd, interval=LONGEST, timeout=60):
    return ftd.stub.WatchQueue(api.WatchQueueRequest(interval_seconds=interval), timeout=timeout)


def until(stream, holds):
    """The first snapshot of which it holds."""
    return next(snapshot for snapshot in stream if holds(snapshot))


def names(listed):
    return [job.name for job in listed]


def test_an_empty_queue_on_a_machine_without_a_gpu():
    with fake_ftd() as ftd:
        before = time.time()
        snapshot = next(watch(ftd))
        assert before - 1 < snapshot.time.ToNanoseconds() / 1e9 < time.time() + 1
        snapshot.ClearField("time")
        assert snapshot == api.WatchQueueResponse(device="cpu")


def test_each_change_comes_without_waiting_for_the_interval():
    with fake_ftd(STUCK) as ftd:
        stream = watch(ftd)
        assert not next(stream).running
        submit(ftd, name="first")
        running = until(stream, lambda s: s.running).running[0]
        assert running.job.name == "first" and not running.HasField("eta_seconds")
        for name, priority in [("second", 0), ("third", 5), ("fourth", 0)]:
            submit(ftd, name=name, priority=priority)
        snapshot = until(stream, lambda s: s.queued_total == 3)
        assert names(snapshot.queued) == ["third", "second", "fourth"]
        assert [job.position for job in snapshot.queued] == [1, 2, 3]
        assert {job.pending_reason for job in snapshot.queued} == {jobs.Job.GPU_BUSY}

        ftd.stub.UpdateJob(api.UpdateJobRequest(job="fourth", priority=9))
        assert until(stream, lambda s: s.queued[0].name == "fourth").queued_total == 3
        ftd.stub.HoldJob(api.HoldJobRequest(job="second"))
        snapshot = until(stream, lambda s: s.held_total == 1)
        assert names(snapshot.queued) == ["fourth", "third"] and snapshot.queued_total == 2
        ftd.stub.CancelJob(api.CancelJobRequest(job="third"))
        assert names(until(stream, lambda s: s.ended).ended) == ["third"]


def test_a_change_is_shown_at_once():
    """Once a second everything is looked at, so a change that nobody was told of would take half of it in the median."""
    with fake_ftd(STUCK) as ftd:
        submit(ftd, name="first")
        ftd.wait("first", "PREPARING")
        submit(ftd, name="second")
        stream, took = watch(ftd), []
        for i in range(11):
            quiet = time.monotonic() + 0.2
            wait_until(lambda: time.monotonic() > quiet, "the gap between two snapshots")
            call, request = [(ftd.stub.HoldJob, api.HoldJobRequest), (ftd.stub.ReleaseJob, api.ReleaseJobRequest)][i % 2]
            start = time.monotonic()
            call(request(job="second"))
            until(stream, lambda s: s.held_total == 1 - i % 2)
            took.append(time.monotonic() - start)
        assert statistics.median(took) < 0.25, took


def test_a_running_job_with_its_last_step_and_eta():
    with fake_ftd("steps=100000 step_ms=20") as ftd:
        submit(ftd, name="first")
        running = until(watch(ftd, 1), lambda s: s.running and s.running[0].job.last_step.step >= 25).running[0]
        job = running.job
        assert state_name(job.state) == "RUNNING" and job.progress.steps_planned == 100000
        assert job.last_step.tokens_per_second > 0 and job.last_step.loss > 0
        # The fake worker says of each step that it took step_ms.
        assert running.eta_seconds == pytest.approx(0.020 * (100000 - job.last_step.step), rel=1e-6)
        assert job.spec.mode == jobs.JobSpec.LORA and job.spec.model == str(ftd.model)
        assert not job.spec.HasField("dataset") and not job.spec.HasField("learning_rate")


def test_snapshots_come_each_interval_while_nothing_changes():
    with fake_ftd(ENDLESS) as ftd:
        submit(ftd)
        ftd.wait(ftd.stub.ListJobs(api.ListJobsRequest()).jobs[0].id, "RUNNING")
        for interval, least_s in [(1, 0.4), (3, 2.4), (0, 1.4)]:  # they come about once a second, half of it too early at most
            stream = watch(ftd, interval)
            next(stream)
            start = time.monotonic()
            steps = [next(stream).running[0].job.last_step.step for _ in range(2)]
            assert 2 * least_s < time.monotonic() - start < 30
            assert steps[0] < steps[1]
            stream.cancel()


def test_a_hundred_jobs_wait():
    with fake_ftd(STUCK) as ftd:
        for i in range(101):
            submit(ftd, name=f"job-{i}")
        snapshot = until(watch(ftd, 1), lambda s: s.running)
        assert snapshot.queued_total == 100
        assert names(snapshot.queued) == [f"job-{i}" for i in range(1, 51)]
        assert snapshot.ByteSize() < 50_000


def test_of_the_ended_jobs_the_last_five():
    with fake_ftd("steps=2 step_ms=1") as ftd:
        for i in range(7):
            submit(ftd, name=f"job-{i}")
        snapshot = until(watch(ftd, 1), lambda s: names(s.ended)[:1] == ["job-6"])
        assert names(snapshot.ended) == ["job-6", "job-5", "job-4", "job-3", "job-2"]
        assert {state_name(job.state) for job in snapshot.ended} == {"SUCCEEDED"}
        assert snapshot.ended[0].last_step.step == 2


def test_the_interval_has_a_range():
    with fake_ftd() as ftd:
        for bad in [-1, 3601, 2**31 - 1]:
            expect_error(lambda: watch(ftd, bad), Code.INVALID_ARGUMENT, "FIELD_INVALID")


def test_a_daemon_that_stops_ends_the_stream_as_unavailable():
    with fake_ftd() as ftd:
        stream = watch(ftd)
        next(stream)
        ftd.terminate()
        with pytest.raises(grpc.RpcError) as caught:
            list(stream)
        assert caught.value.code() == Code.UNAVAILABLE


def test_a_storm_of_changes_makes_few_snapshots_and_the_last_is_right():
    with fake_ftd(STUCK) as ftd:
        submit(ftd, name="first")
        ftd.wait("first", "PREPARING")
        stream = watch(ftd)
        next(stream)
        start = time.monotonic()
        for i in range(200):
            submit(ftd)
        seen = 0
        for snapshot in stream:
            seen += 1
            if snapshot.queued_total == 200:
                break
        assert seen < 10 * (time.monotonic() - start) + 2


def test_ftctl_top_survives_a_restart_of_the_daemon():
    with fake_ftd(ENDLESS) as ftd:
        submit(ftd, name="first")
        ftd.wait("first", "RUNNING")
        top = subprocess.Popen([BIN / "ftctl", "--address", ftd.address, "top", "--json", "--interval", "1"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for waiting, end in enumerate([ftd.kill, ftd.terminate], 1):
            before = json.loads(top.stdout.readline())["running"][0]["job"]["id"]
            end()
            ftd.start()
            submit(ftd)  # waits: the first job is run again, though it may be queued for a moment
            after = next(s for s in map(json.loads, top.stdout) if s["running"] and s["queued_total"] == waiting)
            assert after["running"][0]["job"]["id"] == before
        top.send_signal(signal.SIGINT)
        _, err = top.communicate(timeout=DEADLINE_S)
        assert top.returncode == 130
        assert err.count("lost contact to ftd") == 2 and err.count("in contact again") == 2


GPU = {"memory_used_bytes": 3 << 30, "memory_total_bytes": 80 << 30, "utilization_ratio": 0.87, "power_watts": 412.5,
       "temperature_celsius": 61}


@pytest.mark.parametrize("kind, absent", [("", set()), ("unified", {"memory_used_bytes", "memory_total_bytes"})])
def test_gpus_are_as_nvidias_library_describes_them(kind, absent):
    with fake_ftd(env={"LD_LIBRARY_PATH": str(BUILD / "tests/nvml"), "FTD_FAKE_NVML": kind}) as ftd:
        gpus = next(watch(ftd)).gpus
        assert [(gpu.index, gpu.name) for gpu in gpus] == [(0, "Fake GPU 80"), (1, "Fake GPU 81")]
        shown = {field.name: value for field, value in gpus[0].ListFields() if field.name != "name"}
        assert shown == {name: value for name, value in GPU.items() if name not in absent}
        assert gpus[1].HasField("utilization_ratio") and gpus[1].utilization_ratio == 0


def test_a_driver_that_hangs_holds_nobody_up():
    with fake_ftd(env={"LD_LIBRARY_PATH": str(BUILD / "tests/nvml"), "FTD_FAKE_NVML": "hangs"}) as ftd:
        for _ in range(3):
            assert not next(watch(ftd, timeout=10)).gpus
        job = submit(ftd)
        wait_until(lambda: state_name(ftd.job(job.id).state) == "SUCCEEDED", "the job's end")
