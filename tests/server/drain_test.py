"""A drained queue: nothing starts, what runs continues, jobs are accepted, and a restart changes nothing about that."""
import subprocess
import urllib.request

import grpc
import prometheus_text

from ftd_fixture import BIN, api, jobs, state_name
from helpers import expect_error, fake_ftd, submit
from tls_daemon import tcp_address

Code = grpc.StatusCode
ENDLESS = "steps=1000000 step_ms=20"


def drained_metric(ftd):
    address = ftd.stub.GetServerInfo(api.GetServerInfoRequest()).metrics_address
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as reply:
        return prometheus_text.parse(reply.read().decode())["ftd_queue_drained", ()]


def snapshot(ftd):
    return next(ftd.stub.WatchQueue(api.WatchQueueRequest(), timeout=30))


def test_a_drained_queue_starts_nothing():
    with fake_ftd(ENDLESS, args=["--metrics-listen", "127.0.0.1:0"]) as ftd:
        running = submit(ftd, name="running")
        ftd.wait(running.id, "RUNNING")
        queue = ftd.stub.WatchQueue(api.WatchQueueRequest(interval_seconds=3600), timeout=60)
        assert not next(queue).HasField("drain")
        done = ftd.ftctl("drain", "--message", "new disk at noon")
        assert "the job that runs continues" in done.stderr
        assert next(s for s in queue if s.HasField("drain")).drain.message == "new disk at noon", "watchers hear of it"
        waiting = submit(ftd, name="waiting")
        assert waiting.pending_reason == jobs.Job.DRAINED
        assert state_name(ftd.job("running").state) == "RUNNING" and drained_metric(ftd) == 1
        info = ftd.stub.GetServerInfo(api.GetServerInfoRequest())
        assert info.drain.message == "new disk at noon" and info.drain.owner
        assert f"drained by {info.drain.owner} since" in ftd.ftctl("info").stdout
        assert "The queue is drained" in ftd.ftctl("ls").stderr
        assert "new disk at noon" in ftd.ftctl("top", "--once").stdout
        assert "the queue is drained" in ftd.ftctl("show", "waiting").stdout

        wait = subprocess.Popen([BIN / "ftctl", "--address", ftd.address, "drain", "--wait"], stderr=subprocess.PIPE, text=True)
        assert "waiting for the job that runs" in wait.stderr.readline()
        ftd.stub.CancelJob(api.CancelJobRequest(job="running"))
        assert wait.wait(30) == 0 and "Nothing runs." in wait.stderr.read()
        wait.stderr.close()
        assert snapshot(ftd).drain.message == "", "draining once more replaces the message"
        ftd.wait("running", "CANCELLED")

        ftd.kill()
        ftd.start()
        assert snapshot(ftd).HasField("drain") and not snapshot(ftd).running
        assert ftd.job("waiting").pending_reason == jobs.Job.DRAINED
        assert "runs again" in ftd.ftctl("undrain").stderr
        ftd.wait("waiting", "RUNNING")
        assert not snapshot(ftd).HasField("drain") and drained_metric(ftd) == 0
        assert "was not drained" in ftd.ftctl("undrain").stderr


def test_what_crashes_or_is_stopped_while_the_queue_is_drained_waits():
    with fake_ftd(f"{ENDLESS} save=5 1:crash=30") as ftd:
        job = submit(ftd)
        ftd.wait(job.id, "RUNNING")
        ftd.stub.DrainQueue(api.DrainQueueRequest())
        back = ftd.wait(job.id, "QUEUED")
        assert back.pending_reason == jobs.Job.DRAINED and len(back.attempts) == 1
        ftd.stub.UndrainQueue(api.UndrainQueueRequest())
        ftd.wait(job.id, "RUNNING")
        ftd.stub.DrainQueue(api.DrainQueueRequest())
        ftd.restart()  # its worker saves and ends
        assert ftd.job(job.id).pending_reason == jobs.Job.DRAINED
        ftd.kill()
        ftd.start()
        assert len(ftd.job(job.id).attempts) == 2


def test_the_operators_calls_are_for_admins():
    with fake_ftd(args=["--listen", "127.0.0.1:0"]) as ftd, grpc.insecure_channel(tcp_address(ftd)) as channel:
        stub = type(ftd.stub)(channel)
        expect_error(lambda: stub.DrainQueue(api.DrainQueueRequest()), Code.PERMISSION_DENIED, "NOT_OWNER")
        expect_error(lambda: stub.UndrainQueue(api.UndrainQueueRequest()), Code.PERMISSION_DENIED, "NOT_OWNER")
        expect_error(lambda: stub.BackUpDatabase(api.BackUpDatabaseRequest()), Code.PERMISSION_DENIED, "NOT_OWNER")
        assert not snapshot(ftd).HasField("drain")
        # Of those who are not admins: their own jobs' files.
        submit(ftd, name="not-theirs")
        ftd.wait("not-theirs", "SUCCEEDED")
        assert stub.Prune(api.PruneRequest()).total_count == 0
        long = "x" * 4097
        expect_error(lambda: ftd.stub.DrainQueue(api.DrainQueueRequest(message=long)), Code.INVALID_ARGUMENT, "FIELD_INVALID")
