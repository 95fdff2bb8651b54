"""ftd's hub client against the test hub, and beside Python's huggingface_hub in one cache."""

from __future__ import annotations

import hashlib
import os
import pathlib
import random
import signal
import subprocess
import time

import pytest
from ftd_fixture import BUILD
from hf_client import CONFIG, DOWNLOAD, SNAPSHOT, TINY, WEIGHTS, calls, files_of, finish, in_cache, start, value
from hub_fixture import DEADLINE_S, Hub
from mounts import on_small_disk

FETCH = BUILD / "tests" / "hub_fetch"
BIG = random.Random(7).randbytes(8 << 20)
SCAN_WARNINGS = "[str(w) for w in hf.scan_cache_dir().warnings]"
ETAG = hashlib.sha256(WEIGHTS).hexdigest()


def popen(hub: Hub, home, repo="ann/tiny", *args, type="model", token=None, **env) -> subprocess.Popen:
    return subprocess.Popen([str(FETCH), type, repo, *map(str, args)], env={**hub.env(home, token), **env}, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(hub: Hub, home, *args, **settings):
    process = popen(hub, home, *args, **settings)
    out, err = process.communicate(timeout=DEADLINE_S)
    return process.returncode, out.strip(), err


def fetch(hub: Hub, home, *args, **settings) -> pathlib.Path:
    code, out, err = run(hub, home, *args, **settings)
    assert code == 0, err
    return pathlib.Path(out)


def refused(hub: Hub, home, *args, **settings) -> tuple[str, str]:
    code, out, err = run(hub, home, *args, **settings)
    assert code == 1 and out == "", (code, out, err)
    reason, _, message = err.strip().partition("\t")
    return reason, message


def gets(hub: Hub, pattern: str) -> list[dict]:
    return [r for r in hub.requests() if r["method"] == "GET" and pattern in f'{r["path"]}?{r["query"]}']


def sent(hub: Hub) -> int:
    """Bytes of files in LFS that the hub sent."""
    return sum(r["bytes_sent"] for r in hub.requests() if r["listener"] == "cdn")


# One cache for both

def test_what_ftd_fetches_python_uses(hub, home):
    sha = hub.add_repo("ann/tiny", TINY)
    snapshot = fetch(hub, home)
    assert snapshot == in_cache(home) / "snapshots" / sha and files_of(home) == TINY
    hub.requests(clear=True)
    assert value(hub, home, SNAPSHOT[:-1] + ", local_files_only=True)") == str(snapshot)
    assert value(hub, home, DOWNLOAD) == str(snapshot / "model.safetensors")
    assert value(hub, home, SNAPSHOT) == str(snapshot)
    assert gets(hub, "resolve") == [] and gets(hub, "config") == [], "nothing is fetched again"
    scan = value(hub, home, "[(r.repo_id, len(r.revisions), r.size_on_disk) for r in hf.scan_cache_dir().repos]")
    assert scan == [["ann/tiny", 1, sum(map(len, TINY.values()))]]
    assert value(hub, home, "len(hf.scan_cache_dir().warnings)") == 0


def test_what_python_fetches_ftd_uses(hub, home):
    hub.add_repo("ann/tiny", TINY)
    path = value(hub, home, SNAPSHOT)
    calls(hub)
    assert str(fetch(hub, home)) == path
    assert len(calls(hub)) == 1, "the revision check alone"


def test_datasets_too(hub, home):
    hub.add_repo("ann/rows", {"data/train.parquet": WEIGHTS}, type="dataset")
    assert (fetch(hub, home, "ann/rows", type="dataset") / "data/train.parquet").read_bytes() == WEIGHTS
    assert value(hub, home, "hf.snapshot_download('ann/rows', repo_type='dataset', local_files_only=True)")


def test_a_new_commit_brings_what_changed(hub, home):
    first = hub.add_repo("ann/tiny", TINY)
    fetch(hub, home)
    second = hub.commit("ann/tiny", {"config.json": b"{}"})
    calls(hub)
    snapshot = fetch(hub, home)
    assert snapshot.name == second and (snapshot / "config.json").read_bytes() == b"{}"
    assert (snapshot / "model.safetensors").read_bytes() == WEIGHTS
    assert [c for c in calls(hub) if " 200" in c and "config.json" not in c] == ["GET /api/models/ann/tiny/revision/main 200"]
    assert (fetch(hub, home, "ann/tiny", first) / "config.json").read_bytes() == CONFIG


def test_tags_and_branches(hub, home):
    sha = hub.add_repo("ann/tiny", TINY, tags=["v1.0"])
    assert fetch(hub, home, "ann/tiny", "v1.0").name == sha
    assert (in_cache(home) / "refs/v1.0").read_text() == sha
    assert fetch(hub, home, "ann/tiny", sha).name == sha


def test_both_at_once_fetch_each_byte_once(hub, home):
    hub.add_repo("ann/tiny", {"model.safetensors": BIG})
    hub.fault("model.safetensors", "slow", listener="cdn", rate=8 << 20, times=None)
    processes = [popen(hub, home) for _ in range(3)]
    python = start(hub, home, DOWNLOAD)
    for process in processes:
        out, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, err
    assert finish(python)[0]["error"] is None
    assert files_of(home) == {"model.safetensors": BIG}
    assert sent(hub) == len(BIG)


def test_a_killed_python_is_resumed(hub, home):
    big = BIG * 4  # huggingface_hub writes 10 MiB at a time
    hub.add_repo("ann/tiny", {"model.safetensors": big})
    hub.fault("model.safetensors", "stall", listener="cdn", after=3 * len(BIG))
    python = start(hub, home, DOWNLOAD)
    blobs = in_cache(home) / "blobs"
    end = time.monotonic() + DEADLINE_S
    while not sum(p.stat().st_size for p in blobs.glob("*.incomplete")):
        assert time.monotonic() < end
        time.sleep(0.01)
    python.kill()
    python.communicate()
    hub.clear_faults()
    there = sum(p.stat().st_size for p in blobs.glob("*.incomplete"))
    fetch(hub, home)
    assert files_of(home) == {"model.safetensors": big} and list(blobs.glob("*.incomplete")) == []
    assert gets(hub, "model.safetensors")[-1]["range"] == f"bytes={there}-"


def test_a_killed_ftd_is_completed_by_python(hub, home):
    hub.add_repo("ann/tiny", {"model.safetensors": BIG})
    hub.fault("model.safetensors", "stall", listener="cdn", after=len(BIG) // 2)
    process = popen(hub, home)
    hub.wait_for("GET .*model.safetensors", count=2)  # the hub and its CDN
    process.kill()
    process.communicate()
    hub.clear_faults()
    assert value(hub, home, DOWNLOAD)
    assert files_of(home) == {"model.safetensors": BIG}


# Kills

def kills(hub: Hub, home, seed: int, count: int) -> None:
    """Fetches that are killed at random moments: whatever is in snapshots/ is right at every moment, and each one takes
    up where the one before it ended."""
    rng = random.Random(seed)
    files = {"model.safetensors": BIG, "config.json": CONFIG, "tokenizer.json": BIG[:300_000]}
    etags = {"model.safetensors": hashlib.sha256(BIG).hexdigest(),
             "tokenizer.json": hashlib.sha1(b"blob %d\0" % 300_000 + BIG[:300_000]).hexdigest()}
    done = 0
    repo = 0
    while done < count:
        repo += 1
        name = f"ann/r{repo}"
        hub.add_repo(name, files)
        cache = in_cache(home, f"models--ann--r{repo}")
        hub.fault("resolve|safetensors", "slow", rate=40 << 20, times=None)
        for _ in range(rng.randint(2, 6)):
            before = {n: size_of(cache / "blobs" / f"{etag}.incomplete") for n, etag in etags.items()}
            whole = {n for n, etag in etags.items() if (cache / "blobs" / etag).exists()}
            hub.requests(clear=True)
            process = popen(hub, home, name)
            try:
                process.wait(rng.uniform(0.01, 0.3))
            except subprocess.TimeoutExpired:
                process.kill()
            process.communicate()
            done += 1
            for path in cache.glob("snapshots/*/*"):
                assert path.read_bytes() == files[path.name], f"seed {seed}: wrong bytes in a snapshot"
            for request in hub.requests():
                for n in etags:
                    if request["method"] == "GET" and request["status"] in (200, 206) and n in str(request["query"]) + request["path"]:
                        assert n not in whole, f"seed {seed}: {n} was there"
                        start_at = int((request["range"] or "bytes=0-")[6:-1])
                        assert start_at >= before[n], f"seed {seed}: {n} again from {start_at}, {before[n]} were there"
        hub.clear_faults()
        snapshot = fetch(hub, home, name)
        assert {p.name: p.read_bytes() for p in snapshot.iterdir()} == files


def size_of(path: pathlib.Path) -> int:
    return path.stat().st_size if path.exists() else 0


def test_kills(hub, home):
    count = int(os.environ.get("FTD_HUB_KILLS", "20"))
    kills(hub, home, int(os.environ.get("FTD_TEST_SEED", "1")), count)


def test_a_kill_before_any_rename_or_link_leaves_what_both_clients_know(hub, home):
    """Nothing in snapshots/, refs/ or the cache's root that a reader would take for a file, a ref or a repository."""
    killed = 0
    while True:
        home_of_run = home / str(killed)
        hub.add_repo("ann/tiny", TINY)
        process = popen(hub, home_of_run, LD_PRELOAD=str(BUILD / "tests" / "die_at_call.so"), DIE_AT_CALL=str(killed + 1),
                        ASAN_OPTIONS="verify_asan_link_order=0")
        process.communicate(timeout=DEADLINE_S)
        if process.returncode != -signal.SIGKILL:
            break
        killed += 1
        cache = in_cache(home_of_run)
        seen = [p for p in cache.glob("snapshots/*/**/*") if not p.is_dir()]
        assert {"/".join(p.relative_to(cache).parts[2:]) for p in seen} <= set(TINY)
        # A ref whose snapshot is still to come: without the folder of all snapshots, or with that and not yet its own.
        coming = ("doesn't exist", "missing commit hashes")
        assert [w for w in value(hub, home_of_run, SCAN_WARNINGS) if not any(text in w for text in coming)] == []
        fetch(hub, home_of_run)
        assert files_of(home_of_run) == TINY and value(hub, home_of_run, SCAN_WARNINGS) == []
    assert process.returncode == 0 and killed == 2 + 3 * len(TINY), "tag, ref; blob, link, its rename"


# What can go wrong on the way

LFS_FAULTS = [
    ("status", {"code": 500}), ("status", {"code": 503}), ("status", {"code": 429, "retry_after": 0}),
    ("reset", {}), ("cut", {"after": 0}), ("cut", {"after": 1000}), ("cut", {"after": len(WEIGHTS) - 1}),
    ("ignore_range", {}), ("no_content_length", {}), ("wrong_bytes", {"offset": 0}),
    ("wrong_bytes", {"offset": len(WEIGHTS) - 1}),
]


@pytest.mark.parametrize("kind, args", LFS_FAULTS, ids=[f"{k}-{list(a.values())}" for k, a in LFS_FAULTS])
@pytest.mark.parametrize("listener", ["hub", "cdn"])
def test_passing_faults_are_overcome(hub, home, kind, args, listener):
    hub.add_repo("ann/tiny", TINY)
    pattern = "config.json" if listener == "hub" and kind in ("wrong_bytes",) else "model.safetensors"
    if pattern == "config.json":
        args = {"offset": min(args["offset"], len(CONFIG) - 1)}
    hub.fault(pattern, kind, listener=listener, times=2 if kind in ("status", "reset") else 1, **args)
    fetch(hub, home)
    assert files_of(home) == TINY


def test_a_cut_is_resumed_where_it_was(hub, home):
    hub.add_repo("ann/tiny", TINY)
    hub.fault("model.safetensors", "cut", listener="cdn", after=123_456)
    fetch(hub, home)
    assert [r["range"] for r in hub.requests() if r["listener"] == "cdn"] == [None, "bytes=123456-"]
    assert sent(hub) == len(WEIGHTS)


def test_a_server_without_ranges(hub, home):
    hub.add_repo("ann/tiny", TINY)
    hub.fault("model.safetensors", "cut", listener="cdn", after=1000)
    hub.fault("model.safetensors", "ignore_range", listener="cdn", times=None)
    fetch(hub, home)
    assert files_of(home) == TINY


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_wrong_bytes_for_good_never_get_a_name(hub, home, name):
    hub.add_repo("ann/tiny", TINY)
    hub.fault(name, "wrong_bytes", offset=3, times=None)
    reason, message = refused(hub, home)
    assert reason == "HUB_PROTOCOL" and name in message and "digest" in message
    assert all(p.name != name for p in in_cache(home).glob("snapshots/*/*"))


def test_a_piece_of_other_bytes_is_thrown_away(hub, home):
    hub.add_repo("ann/tiny", TINY)
    blobs = in_cache(home) / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{ETAG}.incomplete").write_bytes(b"x" * 1000)
    fetch(hub, home)
    assert files_of(home) == TINY
    (blobs / f"{ETAG}").unlink()
    (blobs / f"{ETAG}.incomplete").write_bytes(b"x" * (len(WEIGHTS) + 5))
    fetch(hub, home)
    assert files_of(home) == TINY


@pytest.mark.parametrize("kind", ["garbage", "huge", "redirect_loop"])
def test_an_answer_that_makes_no_sense(hub, home, kind):
    hub.add_repo("ann/tiny", TINY)
    hub.fault("/api/models", kind, times=None)
    reason, message = refused(hub, home)
    assert reason == "HUB_PROTOCOL", message


def test_a_hub_that_is_down(hub, home):
    hub.add_repo("ann/tiny", TINY)
    hub.fault("/api/models", "status", code=503, times=None)
    reason, message = refused(hub, home)
    assert reason == "HUB_UNREACHABLE" and "503" in message
    hub.close()
    assert refused(hub, home)[0] == "HUB_UNREACHABLE"


def test_patience_ends(hub, home):
    hub.add_repo("ann/tiny", TINY)
    hub.fault("model.safetensors", "status", listener="cdn", code=500, times=None)
    reason, message = refused(hub, home, "ann/tiny", "main", 2)
    assert reason == "HUB_UNREACHABLE"
    assert not list(in_cache(home).glob("snapshots/*/model.safetensors"))


def test_retry_after_is_obeyed(hub, home):
    hub.add_repo("ann/tiny", TINY)
    hub.fault("model.safetensors", "status", listener="cdn", code=429, retry_after=2)
    before = time.monotonic()
    fetch(hub, home)
    assert time.monotonic() - before >= 2


# Who may read

def test_who_may_read_what(hub, home):
    hub.add_repo("ann/gated", TINY, gated="manual")
    hub.add_repo("ann/private", TINY, private=True)
    hub.add_repo("ann/tiny", TINY)
    hub.add_token("hf_in", user="bob", may_read=["ann/gated", "ann/private"])
    hub.add_token("hf_out", user="eve")
    hub.add_token("hf_old", user="old", expired=True)
    table = [
        ("ann/gated", None, "MODEL_GATED", "ftctl login"), ("ann/gated", "hf_out", "MODEL_GATED", "ask for it"),
        ("ann/private", None, "MODEL_NOT_FOUND", "ftctl login"), ("ann/private", "hf_out", "MODEL_NOT_FOUND", "may not"),
        ("ann/nothing", None, "MODEL_NOT_FOUND", "no such"), ("ann/nothing", "hf_in", "MODEL_NOT_FOUND", "no such"),
        ("ann/tiny", "hf_old", "TOKEN_INVALID", "tokens"), ("ann/tiny", "hf_never", "TOKEN_INVALID", "tokens"),
    ]
    for repo, token, reason, words in table:
        got, message = refused(hub, home, repo, token=token)
        assert got == reason and words in message, (repo, token, got, message)
        assert token is None or token not in message
    assert refused(hub, home, "ann/tiny", "v9")[0] == "MODEL_NOT_FOUND"
    for repo in ("ann/gated", "ann/private"):
        fetch(hub, home, repo, token="hf_in")


def test_the_token_never_leaves_the_hub(hub, home):
    hub.add_repo("ann/gated", TINY, gated="auto")
    hub.add_token("hf_in", user="bob", may_read=["ann/gated"])
    fetch(hub, home, "ann/gated", token="hf_in")
    requests = hub.requests()
    assert {r["has_auth"] for r in requests if r["listener"] == "hub"} == {True}
    assert {r["has_auth"] for r in requests if r["listener"] == "cdn"} == {False}


def test_a_renamed_repository(hub, home):
    hub.add_repo("ann/new", TINY, renamed_from="ann/old")
    assert (fetch(hub, home, "ann/old") / "config.json").read_bytes() == CONFIG


def test_tls(home):
    with Hub(tls=True) as hub:
        hub.add_repo("ann/tiny", TINY)
        fetch(hub, home)
        assert files_of(home) == TINY
        reason, message = refused(hub, home, SSL_CERT_FILE="/dev/null")
        assert reason == "HUB_UNREACHABLE" and "certificate" in message.lower()


def test_a_proxy_is_used(hub, home):
    hub.add_repo("ann/tiny", TINY)
    reason, _ = refused(hub, home, http_proxy="http://127.0.0.1:9", no_proxy="")
    assert reason == "HUB_UNREACHABLE", "nobody listens there"
    fetch(hub, home, http_proxy="http://127.0.0.1:9", no_proxy="127.0.0.1,localhost")


def test_tokens_are_where_pythons_tools_put_them(hub, home):
    hub.add_repo("ann/private", TINY, private=True)
    hub.add_token("hf_in", user="ann")
    assert value(hub, home, "hf.login('hf_in', add_to_git_credential=False)") is None
    fetch(hub, home, "ann/private")


def test_an_interrupted_fetch_leaves_no_thread_hanging(hub, home):
    hub.add_repo("ann/tiny", TINY)
    hub.fault("model.safetensors", "stall", listener="cdn", after=10, times=None)
    process = popen(hub, home)
    hub.wait_for("GET .*model.safetensors", count=2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=DEADLINE_S)


def test_a_full_disk_is_said_before_the_first_byte(hub, home):
    hub.add_repo("ann/tiny", TINY)
    process = subprocess.run(on_small_disk(home / "hub", "512k", [FETCH, "model", "ann/tiny"]), env=hub.env(home),
                             capture_output=True, text=True, timeout=DEADLINE_S)
    assert process.returncode == 1 and process.stderr.startswith("DISK_FULL\t"), process.stderr
    assert "needs" in process.stderr and "free" in process.stderr
    assert gets(hub, "resolve") == []
