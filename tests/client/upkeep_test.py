"""prune, backup, drain: what people see, and what happens when ftd or the way to it fails."""
import hashlib
import json
import stat
import time

import grpc
import pytest

from fake_ftd import FakeFtd, fail
from ftd_fixture import api, jobs

COPY = bytes(range(256)) * 8


def item(kind, size, **fields):
    made = api.PruneResponse.Item(kind=jobs.Removal.Kind.Value(kind), size_bytes=size, **fields)
    made.unneeded_time.FromSeconds(int(time.time()) - 3 * 86400)
    return made


PRUNED = api.PruneResponse(total_count=3, total_bytes=3_500_000_000, freed_bytes=500_000_000, items=[
    item("CHECKPOINTS", 500_000_000, job="ft-1", job_name="first", path="/s/checkpoint-2"),
    item("RESULT", 3_000_000_000, job="ft-2", path="/s/results/ft-2", error="no, \x1b[31mnever"),
    item("UPLOAD", 12, path="/s/uploads/abc")])


def test_prune_prints_a_table_and_the_sum():
    with FakeFtd(Prune=lambda request, context: PRUNED) as ftd:
        done = ftd.ftctl("prune")
        assert done.returncode == 0
        rows = [line.split() for line in done.stdout.splitlines()]
        assert rows == [["JOB", "KIND", "SIZE", "AGE", "PATH"],
                        ["first", "checkpoints", "500.0", "MB", "3d00h", "/s/checkpoint-2"],
                        ["ft-2", "result", "3.0", "GB", "3d00h", "/s/results/ft-2"],
                        ["-", "upload", "12", "B", "3d00h", "/s/uploads/abc"],
                        ["freed", "500.0", "MB", "of", "3", "items"]]
        assert done.stderr == "warning: /s/results/ft-2 is still there: no, ?[31mnever\n"
        assert not ftd.calls("Prune")[0].dry_run


def test_prune_dry_run_and_json():
    with FakeFtd(Prune=lambda request, context: PRUNED) as ftd:
        assert ftd.ftctl("prune", "--dry-run").stdout.splitlines()[-1] == "would free 3.5 GB of 3 items"
        assert ftd.calls("Prune")[0].dry_run
        assert [i["kind"] for i in json.loads(ftd.ftctl("prune", "-o", "json").stdout)["items"]] == ["CHECKPOINTS", "RESULT", "UPLOAD"]
    with FakeFtd(Prune=lambda request, context: api.PruneResponse()) as ftd:
        done = ftd.ftctl("prune")
        assert (done.stdout, done.stderr) == ("", "Nothing to prune.\n")
    with FakeFtd(Prune=lambda request, context: api.PruneResponse(total_count=9, items=PRUNED.items)) as ftd:
        assert "and 6 more\n" in ftd.ftctl("prune").stdout


def parts(*messages):
    return lambda request, context: iter(messages)


Part = api.BackUpDatabaseResponse
GOOD = [Part(size_bytes=len(COPY)), Part(data=COPY[:1000]), Part(data=COPY[1000:]),
        Part(sha256=hashlib.sha256(COPY).hexdigest())]


def test_backup_replaces_the_file_as_a_whole(tmp_path):
    target = tmp_path / "backup.db"
    target.write_text("yesterday's")
    target.chmod(0o644)
    with FakeFtd(BackUpDatabase=parts(*GOOD)) as ftd:
        done = ftd.ftctl("backup", target)
        assert done.returncode == 0 and "2.0 kB" in done.stderr.replace("KB", "kB")
    assert target.read_bytes() == COPY and stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [target]


def broken_off(request, context):
    yield from GOOD[:2]
    fail(context, "RESOURCE_EXHAUSTED", "DISK_FULL", "the disk is full")


@pytest.mark.parametrize("handler, code", [
    (parts(*GOOD[:3]), 74), (parts(GOOD[0], GOOD[1], GOOD[3]), 74), (parts(*GOOD[:3], Part(sha256="0" * 64)), 74),
    (parts(), 74), (broken_off, 75), (lambda request, context: fail(context, "PERMISSION_DENIED", "NOT_OWNER", "no"), 77)])
def test_a_backup_that_is_not_whole_changes_nothing(tmp_path, handler, code):
    target = tmp_path / "backup.db"
    target.write_text("yesterday's")
    with FakeFtd(BackUpDatabase=handler) as ftd:
        assert ftd.ftctl("backup", target).returncode == code
    assert target.read_text() == "yesterday's" and list(tmp_path.iterdir()) == [target]


def test_drain_says_what_runs_and_waits_for_it():
    running = iter([1, 1, 0])
    with FakeFtd(DrainQueue=lambda request, context: api.DrainQueueResponse(running=1),
                 UndrainQueue=lambda request, context: api.UndrainQueueResponse(was_drained=True),
                 GetServerInfo=lambda request, context: api.ServerInfo(running=next(running))) as ftd:
        assert ftd.ftctl("drain", "-m", "later").stderr == "The queue is drained; the job that runs continues to its end.\n"
        assert ftd.calls("DrainQueue")[0].message == "later"
        assert ftd.ftctl("drain", "--wait").stderr.splitlines()[-1] == "Nothing runs."
        assert len(ftd.calls("GetServerInfo")) == 3
        assert ftd.ftctl("undrain").stderr == "The queue runs again.\n"


def older(request, context):
    """As a server of gRPC answers that does not know the call."""
    context.abort(grpc.StatusCode.UNIMPLEMENTED, "")


@pytest.mark.parametrize("arguments", [["prune"], ["drain"], ["undrain"], ["backup", "x.db"]])
def test_an_older_ftd_is_named_as_the_reason(arguments, tmp_path):
    with FakeFtd(Prune=older, DrainQueue=older, UndrainQueue=older, BackUpDatabase=older) as ftd:
        done = ftd.ftctl(*arguments, cwd=tmp_path)
        assert done.returncode == 69 and "older than this ftctl" in done.stderr
    assert not list(tmp_path.iterdir())
