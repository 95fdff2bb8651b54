"""What huggingface_hub does with its cache, the hub and its own other processes, against the test hub.

A client that shares the cache must agree with it: on names, links, locks, refs, and on what may be trusted. A release
of the library that changes any of it fails here first.
"""

import fcntl
import hashlib
import json
import os
import pathlib
import signal
import time

from hf_client import CONFIG, DOWNLOAD, SNAPSHOT, TINY, WEIGHTS, ask, calls, files_of, finish, in_cache, start, value
from hub_fixture import DEADLINE_S


def wait_until(predicate):
    end = time.monotonic() + DEADLINE_S
    while not predicate():
        assert time.monotonic() < end, "the deadline passed"
        time.sleep(0.005)


def test_layout_of_the_cache(hub, home):
    sha = hub.add_repo("ann/tiny", TINY)
    umask = os.umask(0o022)
    os.umask(umask)
    value(hub, home, SNAPSHOT)
    repo, sha256 = in_cache(home), hashlib.sha256(WEIGHTS).hexdigest()
    oids = {name: hashlib.sha1(b"blob %d\0" % len(TINY[name]) + TINY[name]).hexdigest() for name in TINY}
    blobs = {oids["config.json"], oids["tokenizer/vocab.txt"], sha256}
    assert {path.name for path in (repo / "blobs").iterdir()} == blobs
    assert (repo / "refs/main").read_bytes() == sha.encode()
    assert os.readlink(repo / "snapshots" / sha / "model.safetensors") == f"../../blobs/{sha256}"
    assert os.readlink(repo / "snapshots" / sha / "tokenizer/vocab.txt") == (
        f"../../../blobs/{oids['tokenizer/vocab.txt']}")
    locks = home / "hub/.locks/models--ann--tiny"
    assert {path.name for path in locks.iterdir()} == {f"{blob}.lock" for blob in blobs}
    assert {path.read_bytes() for path in locks.iterdir()} == {b""}
    assert {path.stat().st_mode & 0o777 for path in locks.iterdir()} == {0o664}
    assert {path.stat().st_mode & 0o777 for path in (repo / "blobs").iterdir()} == {0o666 & ~umask}
    assert (home / "hub/CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55\n")
    listing = json.loads((repo / f"trees/{sha}.json").read_text())
    assert listing["format_version"] == 1 and sorted(listing["files"]) == sorted(TINY)
    weights = listing["files"]["model.safetensors"]
    assert (weights["size"], weights["lfs_size"], weights["lfs_sha256"]) == (len(WEIGHTS), len(WEIGHTS), sha256)
    assert sorted(p.name for p in repo.iterdir()) == ["blobs", "refs", "snapshots", "trees"]
    assert files_of(home) == TINY


def test_calls_of_a_snapshot(hub, home):
    """Cold: info, tree, and for each file a HEAD and a GET; an LFS file is asked of the hub again, which redirects.
    Warm, with the same commit: the info alone. Offline: nothing."""
    sha = hub.add_repo("ann/tiny", {"config.json": CONFIG, "model.safetensors": WEIGHTS})
    path = value(hub, home, "hf.snapshot_download('ann/tiny', max_workers=1)")
    small = f"/api/resolve-cache/models/ann/tiny/{sha}/config.json"
    assert calls(hub) == [
        "GET /api/models/ann/tiny/revision/main 200", f"GET /api/models/ann/tiny/tree/{sha} 200",
        f"HEAD /ann/tiny/resolve/{sha}/config.json 307", f"HEAD {small} 200", f"GET {small} 200",
        f"HEAD /ann/tiny/resolve/{sha}/model.safetensors 302", f"GET /ann/tiny/resolve/{sha}/model.safetensors 302",
        "GET (cdn) 200"]
    assert value(hub, home, SNAPSHOT) == path
    assert calls(hub) == ["GET /api/models/ann/tiny/revision/main 200"]
    assert value(hub, home, f"hf.snapshot_download('ann/tiny', revision='{sha}')") == path
    assert value(hub, home, SNAPSHOT, HF_HUB_OFFLINE="1") == path
    assert value(hub, home, "hf.snapshot_download('ann/tiny', local_files_only=True)") == path
    assert calls(hub) == []


def test_a_file_again_costs_a_head(hub, home):
    hub.add_repo("ann/tiny", TINY)
    path = value(hub, home, DOWNLOAD)
    calls(hub)
    assert value(hub, home, DOWNLOAD) == path
    assert calls(hub) == ["HEAD /ann/tiny/resolve/main/model.safetensors 302"]


def test_a_new_commit_brings_only_what_changed(hub, home):
    first = hub.add_repo("ann/tiny", TINY)
    value(hub, home, SNAPSHOT)
    second = hub.commit("ann/tiny", {"config.json": b"{}", "tokenizer/vocab.txt": None})
    hub.requests(clear=True)
    value(hub, home, SNAPSHOT)
    assert hub.bytes_sent("^GET .*(model.safetensors|vocab.txt)") == 0
    assert files_of(home) == {"config.json": b"{}", "model.safetensors": WEIGHTS}
    assert sorted(os.listdir(in_cache(home) / "snapshots")) == sorted([first, second])
    assert (in_cache(home) / "snapshots" / first / "config.json").read_bytes() == CONFIG


def test_that_a_file_is_missing_is_remembered(hub, home):
    sha = hub.add_repo("ann/tiny", TINY)
    out = ask(hub, home, "hf.hf_hub_download('ann/tiny', 'a/nope.json')",
              "hf.try_to_load_from_cache('ann/tiny', 'a/nope.json') is hf._CACHED_NO_EXIST")
    assert (out[0]["error"], out[1]["value"]) == ("RemoteEntryNotFoundError", True)
    assert (in_cache(home) / ".no_exist" / sha / "a/nope.json").read_bytes() == b""
    assert (in_cache(home) / "refs/main").read_text() == sha


def test_scan_of_the_cache(hub, home):
    sha = hub.add_repo("ann/tiny", TINY)
    value(hub, home, SNAPSHOT)
    scan = value(hub, home, "[(r.repo_id, r.repo_type, r.size_on_disk, r.nb_files, [(v.commit_hash, list(v.refs))"
                 " for v in r.revisions]) for r in hf.scan_cache_dir().repos]")
    assert scan == [["ann/tiny", "model", sum(map(len, TINY.values())), 3, [[sha, ["main"]]]]]


def test_offline(hub, home):
    hub.add_repo("ann/tiny", TINY)
    for settings in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:1"}):
        out = ask(hub, home / "none", DOWNLOAD, SNAPSHOT, **settings)
        assert [o["error"] for o in out] == ["LocalEntryNotFoundError"] * 2
    assert calls(hub) == []
    path = value(hub, home, SNAPSHOT)
    calls(hub)
    for settings in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:1"}):
        assert [o["value"] for o in ask(hub, home, DOWNLOAD, SNAPSHOT, **settings)] == [
            f"{path}/model.safetensors", path]
    pathlib.Path(path, "config.json").unlink()
    assert ask(hub, home, SNAPSHOT, HF_HUB_OFFLINE="1")[0]["error"] == "IncompleteSnapshotError"
    assert calls(hub) == []


def test_a_cut_download_goes_on_in_its_process(hub, home):
    """The library asks for the rest, from its last whole chunk of 10 MiB, and leaves nothing unfinished behind."""
    big = os.urandom(1 << 20) * 11
    hub.add_repo("ann/tiny", {"model.safetensors": big})
    hub.fault(r"model\.safetensors", "cut", listener="cdn", after=len(big) - 1)
    out = ask(hub, home, DOWNLOAD)[0]
    assert out["waits"] == [1] and pathlib.Path(out["value"]).read_bytes() == big
    assert [(r["range"], r["status"]) for r in hub.requests() if r["listener"] == "cdn"] == [
        (None, 200), ("bytes=10485760-", 206)]
    assert len(list((in_cache(home) / "blobs").iterdir())) == 1


def test_no_download_goes_on_in_another_process(hub, home):
    """A killed process leaves a partial file under a random name: the next one starts anew, and leaves it there."""
    hub.add_repo("ann/tiny", TINY)
    hub.fault(r"model\.safetensors", "stall", listener="cdn", after=1000)
    process = start(hub, home, DOWNLOAD)
    sha256, blobs = hashlib.sha256(WEIGHTS).hexdigest(), in_cache(home) / "blobs"
    hub.wait_for(r"^GET /xet-bridge-us/.*model\.safetensors")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    partial = [path.name for path in blobs.iterdir()]
    assert len(partial) == 1 and partial[0].split(".")[0::2] == [sha256, "incomplete"]
    assert len(partial[0].split(".")[1]) == 8
    out = ask(hub, home, DOWNLOAD, "[f.file_path.name for f in hf.scan_cache_dir().incomplete_files]")
    assert pathlib.Path(out[0]["value"]).read_bytes() == WEIGHTS and out[1]["value"] == partial
    assert [r["range"] for r in hub.requests() if r["listener"] == "cdn"] == [None, None]


def test_retries(hub, home):
    """fault → the waits that the library would have made, and what came of it."""
    hub.add_repo("ann/tiny", TINY)
    cases = [
        ("a failed HEAD is repeated once at once, then with growing waits", DOWNLOAD,
         {"path_regex": "resolve", "kind": "status", "code": 503, "times": 3}, [1, 2], None),
        ("until it has been sent seven times", DOWNLOAD,
         {"path_regex": "resolve", "kind": "status", "code": 503, "times": 7}, [1, 2, 4, 8, 8],
         "LocalEntryNotFoundError"),
        ("429: RateLimit's time and a second", DOWNLOAD,
         {"path_regex": "resolve", "kind": "status", "code": 429, "ratelimit": 55, "retry_after": 3, "times": 2},
         [56], None),
        ("429 of a file: Retry-After's", DOWNLOAD,
         {"path_regex": "model", "kind": "status", "code": 429, "listener": "cdn", "retry_after": 3}, [4], None),
        ("a date is not understood", DOWNLOAD,
         {"path_regex": "model", "kind": "status", "code": 429, "listener": "cdn",
          "retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, [1], None),
        ("5xx of a file is final", DOWNLOAD,
         {"path_regex": "model", "kind": "status", "code": 503, "listener": "cdn"}, [], "HfHubHTTPError"),
        ("a connection that ends early, without any progress, six times", DOWNLOAD,
         {"path_regex": "model", "kind": "cut", "listener": "cdn", "after": 0, "times": None}, [1] * 5,
         "RemoteProtocolError"),
        ("a reset is final", DOWNLOAD, {"path_regex": "model", "kind": "reset", "listener": "cdn"}, [], "ReadError"),
        ("redirects have an end", DOWNLOAD, {"path_regex": "resolve", "kind": "redirect_loop", "times": None}, [],
         "TooManyRedirects"),
        ("the info is asked once", SNAPSHOT, {"path_regex": "api/models", "kind": "status", "code": 503}, [],
         "LocalEntryNotFoundError"),
        ("the tree more often", SNAPSHOT, {"path_regex": "tree", "kind": "status", "code": 503}, [1], None),
        ("no JSON", SNAPSHOT, {"path_regex": "api/models", "kind": "garbage"}, [], "JSONDecodeError"),
    ]
    for i, (what, expression, fault, waits, error) in enumerate(cases):
        hub.fault(**fault)
        out = ask(hub, home / str(i), expression)[0]
        hub.clear_faults()
        assert (out["waits"], out["error"]) == (waits, error), what


def test_the_library_checks_sizes_not_contents(hub, home):
    """So a damaged blob enters its cache, under the name of the undamaged one. A client of ours must not trust that."""
    hub.add_repo("ann/tiny", TINY)
    hub.fault(r"model\.safetensors", "wrong_bytes", listener="cdn", offset=5)
    value(hub, home, DOWNLOAD)
    stored = (in_cache(home) / "blobs" / hashlib.sha256(WEIGHTS).hexdigest()).read_bytes()
    assert stored != WEIGHTS and len(stored) == len(WEIGHTS)


def test_two_processes_fetch_a_blob_once(hub, home):
    hub.add_repo("ann/tiny", TINY)
    hub.fault(r"model\.safetensors", "stall", listener="cdn", after=1000)
    first = start(hub, home, DOWNLOAD)
    hub.wait_for(r"^GET /xet-bridge-us/.*model\.safetensors")
    second = start(hub, home, DOWNLOAD)
    hub.wait_for(r"^HEAD /ann/tiny/resolve/main/model\.safetensors", count=2)
    hub.clear_faults()
    assert finish(first)[0]["value"] == finish(second)[0]["value"]
    assert hub.bytes_sent(r"^GET /xet-bridge-us/") == len(WEIGHTS)


def test_the_lock_is_a_flock(hub, home):
    """Who holds flock(2) on .locks/REPO/ETAG.lock keeps the library waiting; a blob put there meanwhile is taken."""
    sha, sha256 = hub.add_repo("ann/tiny", TINY), hashlib.sha256(WEIGHTS).hexdigest()
    lock_path = home / "hub/.locks/models--ann--tiny" / f"{sha256}.lock"
    lock_path.parent.mkdir(parents=True)
    with open(lock_path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = start(hub, home, DOWNLOAD)
        # refs/main is the last thing written before the lock is taken.
        wait_until((in_cache(home) / "refs/main").exists)
        blob = in_cache(home) / "blobs" / sha256
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(WEIGHTS)
    path = pathlib.Path(finish(process)[0]["value"])
    assert path == in_cache(home) / "snapshots" / sha / "model.safetensors" and path.resolve() == blob.resolve()
    assert [r["method"] for r in hub.requests()] == ["HEAD"]
    assert lock_path.exists(), "left in place: to remove a lock file would split its waiters"
