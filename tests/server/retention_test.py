"""Retention: what goes when nobody needs it, what never does, and that a kill in the middle leaves nothing half-believed."""
import concurrent.futures
import json
import os
import random
import shutil
import time
import urllib.request

import grpc
import prometheus_text
import pytest

from faults import Fault, Faults
from ftd_fixture import api, jobs, wait_until
from helpers import ROWS, expect_error, fake_ftd, submit
from tiny_model import make_stub_model
from tls_daemon import tcp_address

Code = grpc.StatusCode
SAVES = "steps=6 save=2"
DAY = 86400
KINDS = jobs.Removal


def days_pass(ftd, faults, days, *rules):
    """Returns once the daemon has seen it: Abseil's clock follows that of the system a moment later."""
    faults.set(clock_offset_s=days * DAY)
    wait_until(lambda: abs(next(ftd.stub.WatchQueue(api.WatchQueueRequest(), timeout=30)).time.seconds
                           - time.time() - days * DAY) < DAY / 2, "the clock")
    faults.set(*rules, clock_offset_s=days * DAY)


def succeed(ftd, **fields):
    return ftd.wait(submit(ftd, **fields).id, "SUCCEEDED")


def prune(ftd, dry_run=False, stub=None):
    return (stub or ftd.stub).Prune(api.PruneRequest(dry_run=dry_run), timeout=60)


def kinds(pruned):
    return sorted(KINDS.Kind.Name(item.kind) for item in pruned.items)


def steps_kept(ftd, job):
    return [checkpoint.step for checkpoint in ftd.job(job).checkpoints]


def removed(ftd, job):
    return {removal.kind: removal for removal in ftd.job(job).removals}


def download(ftd, job):
    """The files of a result; None: it was pruned."""
    try:
        parts = list(ftd.stub.DownloadResult(api.DownloadResultRequest(job=job), timeout=30))
    except grpc.RpcError as error:
        assert error.code() == Code.NOT_FOUND and "was pruned at 2" in error.details(), error.details()
        return None
    return [part.file.path for part in parts if part.HasField("file")]


def trash(ftd):
    return list(ftd.state_dir.rglob(".tmp-removed-*"))


def test_checkpoints_and_uploads_go_and_what_is_left_is_said():
    with Faults() as faults, fake_ftd(SAVES, env=faults.env) as ftd:
        done = succeed(ftd, name="first")
        upload = ftd.state_dir / "uploads" / done.spec.dataset.files[0].sha256 if done.spec.dataset.files else \
            ftd.state_dir / "uploads" / done.spec.dataset.upload_sha256
        assert upload.exists() and steps_kept(ftd, "first") == [2, 4, 6]
        would = ftd.ftctl("prune", "--dry-run").stdout
        lines = would.splitlines()
        assert lines[0].split() == ["JOB", "KIND", "SIZE", "AGE", "PATH"] and len(lines) == 4
        assert all(line.split()[:2] == ["first", "checkpoints"] for line in lines[1:3]) and "checkpoint-2" in would
        assert lines[3].startswith("would free ") and lines[3].endswith(" of 2 items")
        assert steps_kept(ftd, "first") == [2, 4, 6], "a dry run removes nothing"
        size = prune(ftd, dry_run=True).total_bytes
        assert size > 0
        assert ftd.ftctl("prune").stdout.splitlines()[-1].startswith("freed ")
        assert steps_kept(ftd, "first") == [6] and not trash(ftd)
        gone = removed(ftd, "first")
        assert gone[KINDS.CHECKPOINTS].size_bytes == size and gone[KINDS.CHECKPOINTS].owner
        assert "checkpoints, " in ftd.ftctl("show", "first").stdout
        assert prune(ftd).total_count == 0 and "Nothing to prune" in ftd.ftctl("prune").stderr

        waiting = submit(ftd, name="waiting")  # reads the same upload
        ftd.wait(waiting.id, "SUCCEEDED")
        ftd.stub.DrainQueue(api.DrainQueueRequest())
        held = submit(ftd, name="held")
        ftd.stub.HoldJob(api.HoldJobRequest(job=held.id))
        days_pass(ftd, faults, 8)
        assert kinds(prune(ftd)) == ["CHECKPOINTS"] * 4, "the last ones are a week old; a held job reads the upload"
        assert steps_kept(ftd, "first") == [] and upload.exists()
        ftd.stub.CancelJob(api.CancelJobRequest(job="held"))
        assert prune(ftd).total_count == 0, "it ended just now"
        days_pass(ftd, faults, 16)
        assert kinds(prune(ftd)) == ["UPLOAD"] and not upload.exists()
        expect_error(lambda: ftd.stub.RetryJob(api.RetryJobRequest(job="first")), Code.NOT_FOUND, "DATASET_NOT_FOUND")
        assert download(ftd, "first"), "results stay, unless the settings say otherwise"
        assert list(ftd.steps("first")), "and so do steps"


def test_results_and_logs_go_by_age_but_never_what_a_job_reads():
    args = ["--retention-result-days", "2", "--retention-log-days", "3"]
    with Faults() as faults, fake_ftd(SAVES, env=faults.env, args=args) as ftd:
        base, other = succeed(ftd, name="base"), succeed(ftd, name="other")
        shutil.rmtree(base.result_dir)
        make_stub_model(ftd.state_dir / "results" / "base")
        ftd.stub.DrainQueue(api.DrainQueueRequest())
        submit(ftd, name="reader", model=base.result_dir)
        days_pass(ftd, faults, 2)
        assert [item.job_name for item in prune(ftd).items if item.kind == KINDS.RESULT] == ["other"]
        assert os.path.isdir(base.result_dir) and not os.path.exists(other.result_dir)
        got = ftd.ftctl("get", "other", ftd.root / "out", check=False)
        assert got.returncode == 66 and "was pruned at 2" in got.stderr and "ftctl retry other" in got.stderr
        expect_error(lambda: ftd.stub.DownloadResult(api.DownloadResultRequest(job="other")), Code.NOT_FOUND, "RESULT_PRUNED")
        assert ftd.job("other").result_dir == "" and removed(ftd, "other")[KINDS.RESULT].size_bytes > 0
        assert "result, " in ftd.ftctl("show", "other").stdout
        assert "Its result was pruned; train it again: ftctl retry other" in ftd.ftctl("wait", "other").stderr
        assert json.loads(ftd.ftctl("ls", "-o", "json").stdout)[1].get("result_dir", "") == ""
        ftd.stub.CancelJob(api.CancelJobRequest(job="reader"))
        days_pass(ftd, faults, 3)
        assert kinds(prune(ftd)) == ["LOGS", "LOGS", "RESULT"]
        assert download(ftd, "base") is None and not ftd.steps("base")
        assert KINDS.LOGS in removed(ftd, "base") and steps_kept(ftd, "base") == [6]
        ftd.restart()
        assert download(ftd, "base") is None
        ftd.stub.DeleteJob(api.DeleteJobRequest(job="base"))
        expect_error(lambda: ftd.job("base"), Code.NOT_FOUND, "JOB_NOT_FOUND")


def test_the_oldest_results_go_until_the_others_fit():
    with fake_ftd(SAVES, args=["--retention-result-mib", "8"]) as ftd:
        for name in ("first", "second", "third"):  # each of 3.4 MiB
            succeed(ftd, name=name)
        gone = [item for item in prune(ftd).items if item.kind == KINDS.RESULT]
        assert [item.job_name for item in gone] == ["first"] and gone[0].size_bytes > 3 << 20
        assert [download(ftd, name) is None for name in ("first", "second", "third")] == [True, False, False]


def test_others_prune_what_their_own_jobs_left():
    with fake_ftd(SAVES, args=["--listen", "127.0.0.1:0"]) as ftd, grpc.insecure_channel(tcp_address(ftd)) as channel:
        stub = type(ftd.stub)(channel)
        succeed(ftd, name="admins")
        own = stub.SubmitJob(api.SubmitJobRequest(spec=ftd.spec(model=ftd.model, rows=ROWS), name="own"))
        ftd.wait(own.id, "SUCCEEDED")
        assert {item.job_name for item in prune(ftd, dry_run=True, stub=stub).items} == {"own"}
        assert prune(ftd, stub=stub).total_count == 2 and steps_kept(ftd, "own") == [6]
        assert removed(ftd, "own")[KINDS.CHECKPOINTS].owner == "tcp:anonymous"
        assert steps_kept(ftd, "admins") == [2, 4, 6]
        assert {item.job_name for item in prune(ftd).items} == {"admins"}


def test_ftd_prunes_by_itself():
    args = ["--retention-interval-seconds", "1", "--metrics-listen", "127.0.0.1:0"]
    with Faults() as faults, fake_ftd(SAVES, args=args, env=faults.env) as ftd:
        succeed(ftd, name="first")
        wait_until(lambda: steps_kept(ftd, "first") == [6], "ftd to prune")
        assert removed(ftd, "first")[KINDS.CHECKPOINTS].owner == ""
        wait_until(lambda: "pruned CHECKPOINTS: 2, " in ftd.log(), "the log")
        address = ftd.stub.GetServerInfo(api.GetServerInfoRequest()).metrics_address

        def counted():
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as reply:
                samples = prometheus_text.parse(reply.read().decode())
            return samples.get(("ftd_pruned_bytes_total", (("kind", "CHECKPOINTS"),)), 0) > 0

        wait_until(counted, "the metric")
        # A clock that is set forward makes nothing old, unless somebody asks.
        days_pass(ftd, faults, 30)
        succeed(ftd, name="second")
        wait_until(lambda: steps_kept(ftd, "second") == [6], "ftd to prune once more")
        assert steps_kept(ftd, "first") == [6]
        assert {item.job_name for item in prune(ftd).items if item.kind == KINDS.CHECKPOINTS} == {"first"}


SEED = int(os.environ.get("FTD_TEST_SEED", time.time_ns() % 10**6))
PLACES = [("rename", "/results/.tmp-removed-", 2), ("sync", "/results", 2), ("rename", "/.tmp-removed-checkpoint", 4),
          ("sync", "/attempts/1", 4), ("unlink", "", 12)]


def check_whole(ftd, names, files):
    """A result is there as a whole, or was pruned; a checkpoint that is listed is one."""
    for name in names:
        job, got = ftd.job(name), download(ftd, name)
        pruned = KINDS.RESULT in {removal.kind for removal in job.removals}
        assert got is None if pruned else got == files, name
        assert (job.result_dir == "") == pruned
        for checkpoint in job.checkpoints:
            assert os.path.exists(os.path.join(checkpoint.path, "MANIFEST.json"))


@pytest.mark.parametrize("place", range(len(PLACES)), ids=lambda n: f"{PLACES[n][0]}-{PLACES[n][1].strip('/') or 'any'}")
def test_a_kill_in_the_middle_leaves_nothing_half_believed(place, kill_ftd):
    ftd, faults = kill_ftd
    print(f"FTD_TEST_SEED={SEED}")
    call, path, most = PLACES[place]
    skip = random.Random(SEED + place).randrange(most)
    days_pass(ftd, faults, 0)
    names = [f"job-{place}-{n}" for n in range(3)]
    for name in names:
        files = download(ftd, succeed(ftd, name=name).id)
    days_pass(ftd, faults, 30, Fault(call, path, delay_ms=60000, skip=skip))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pruning = pool.submit(lambda: pytest.raises(grpc.RpcError, prune, ftd))
        wait_until(lambda: faults.met() > 0, "the removal to get there")
        check_whole(ftd, names, files)
        ftd.kill()
        pruning.result(30)
    faults.set(clock_offset_s=30 * DAY)
    ftd.start()
    assert not list((ftd.state_dir / "results").glob(".*")), "the start removes the rest"
    check_whole(ftd, names, files)
    prune(ftd)
    assert all(download(ftd, name) is None and steps_kept(ftd, name) == [] for name in names)
    assert not trash(ftd) and prune(ftd).total_count == 0


@pytest.fixture(scope="module")
def kill_ftd():
    with Faults() as faults, fake_ftd(SAVES, env=faults.env, args=["--retention-result-days", "1"]) as ftd:
        yield ftd, faults
