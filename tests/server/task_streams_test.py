"""The streams of tasks (PullModel, VerifyModel, CheckData) end when their work does, whatever else goes on."""

import hashlib
import time

from ftd_fixture import api
from helpers import ROWS, fake_ftd, submit


def cache(ftd, repo="own/er"):
    """Puts the stub model into the hub's cache, as Python's tools lay it out."""
    revision, root = "0" * 40, ftd.root / "hf" / "hub" / f"models--{repo.replace('/', '--')}"
    for directory in ("blobs", "refs", f"snapshots/{revision}"):
        (root / directory).mkdir(parents=True)
    (root / "refs" / "main").write_text(revision)
    for path in ftd.model.iterdir():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        (root / "blobs" / digest).write_bytes(path.read_bytes())
        (root / "snapshots" / revision / path.name).symlink_to(f"../../blobs/{digest}")
    return repo


def test_a_task_that_has_ended_wakes_its_stream():
    """At once, not at the next tick of a second: of several calls, of which each begins just after a tick, one is quick."""
    with fake_ftd("steps=100000000 step_ms=20") as ftd:
        model = cache(ftd)
        ftd.wait(submit(ftd).id, "RUNNING")  # its news must not keep theirs back

        def verify():
            return list(ftd.stub.VerifyModel(api.VerifyModelRequest(model=model), timeout=30))[-1].done

        def check():
            spec = ftd.spec(model=ftd.model, rows=ROWS)
            return list(ftd.stub.CheckData(api.CheckDataRequest(spec=spec), timeout=30))

        for call in (verify, check):
            assert call()
            took = []
            for _ in range(5):
                begun = time.monotonic()
                assert call()
                took.append(time.monotonic() - begun)
            assert min(took) < 0.6, took
