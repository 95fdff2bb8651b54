"""ftd's client pushes to the test hub, which is held to huggingface_hub (hub_writes_test.py), and that library reads it back."""

from __future__ import annotations

import os
import random
import subprocess

import pytest
from ftd_fixture import BUILD
from hf_client import CONFIG, WEIGHTS, value
from hub_fixture import DEADLINE_S, Hub

PUSH = BUILD / "tests" / "hub_push"
TOKEN = "hf_goodTokenThatMustShowNowhere"
CARD = b"---\nlicense: mit\nbase_model: ann/base\n---\n\nMine.\n"
FILES = {"adapter_model.safetensors": WEIGHTS, "adapter_config.json": CONFIG, "README.md": CARD, "runs/events": b"\0\1\2" * 100,
         "sub/empty": b"", "sub/also.bin": WEIGHTS[::-1]}


@pytest.fixture
def hub(hub):
    hub.add_token(TOKEN, "ann", role="write")
    return hub


@pytest.fixture
def folder(tmp_path):
    return fill(tmp_path / "folder", FILES)


def fill(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def popen(hub: Hub, home, folder, *args, token=TOKEN, **env):
    return subprocess.Popen([str(PUSH), str(folder), *map(str, args or ["ann/new"])], env={**hub.env(home, token), **env},
                            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def push(hub, home, folder, *args, **settings) -> tuple[str, str, bool]:
    process = popen(hub, home, folder, *args, **settings)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0 and err == "", err
    url, commit, unchanged = out.strip().split("\t")
    return url, commit, unchanged == "1"


def refused(hub, home, folder, *args, **settings) -> tuple[str, str]:
    process = popen(hub, home, folder, *args, **settings)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1 and out == "", (out, err)
    assert TOKEN not in err
    reason, _, message = err.strip().partition("\t")
    return reason, message


def read_back(hub, home, repo="ann/new", revision="main") -> dict[str, bytes]:
    """What a user has of it, by huggingface_hub."""
    path = value(hub, home / "reader", f"hf.snapshot_download({repo!r}, revision={revision!r})", token=TOKEN)
    found = {}
    for folder, _, names in os.walk(path):
        for name in names:
            full = os.path.join(folder, name)
            with open(full, "rb") as f:
                found[os.path.relpath(full, path)] = f.read()
    found.pop(".gitattributes", None)
    return found


def commits(hub, home, repo="ann/new", revision="main") -> list[str]:
    return value(hub, home, f"[c.title for c in hf.list_repo_commits({repo!r}, revision={revision!r})]", token=TOKEN)


def asked(hub, *methods):
    return [r for r in hub.requests() if r["method"] in methods]


def puts(hub):
    return asked(hub, "PUT")


@pytest.mark.parametrize("part_size", [None, 300_000, 1_024_000])
def test_it_is_there(hub, home, folder, part_size):
    hub.part_size(part_size)
    url, commit, unchanged = push(hub, home, folder)
    assert (url, unchanged) == (f"{hub.endpoint}/ann/new", False)
    assert read_back(hub, home) == FILES and commits(hub, home) == ["Mine", "initial commit"]
    assert value(hub, home, "(lambda i: [i.sha, i.private])(hf.model_info('ann/new'))", token=TOKEN) == [commit, False]
    assert sum(r["bytes_received"] for r in puts(hub)) == 2 * len(WEIGHTS)
    assert len(puts(hub)) == (8 if part_size == 300_000 else 2)


def test_what_is_the_same_makes_no_commit(hub, home, folder):
    first = push(hub, home, folder)
    hub.requests(clear=True)
    assert push(hub, home, folder) == (first[0], first[1], True)
    assert [(r["method"], r["status"]) for r in hub.requests()] == [("GET", 200)]
    (folder / "README.md").write_bytes(CARD + b"More.\n")
    (folder / "copy.bin").write_bytes(WEIGHTS)
    hub.requests(clear=True)
    assert push(hub, home, folder)[2] is False
    assert puts(hub) == [], "the hub has these bytes"
    assert read_back(hub, home) == {**FILES, "README.md": CARD + b"More.\n", "copy.bin": WEIGHTS}
    assert commits(hub, home) == ["Mine", "Mine", "initial commit"]


def test_what_others_put_there_stays(hub, home, folder):
    hub.add_repo("ann/new", {"notes.txt": b"keep", "adapter_config.json": b"old"})
    push(hub, home, folder)
    assert read_back(hub, home) == {**FILES, "notes.txt": b"keep"}


def test_a_large_file_that_was_text_before(hub, home, folder):
    """A file is the same by the digest of the form that the hub has it in."""
    hub.add_repo("ann/new", FILES, lfs=["*.md"])
    assert push(hub, home, folder)[2] is True


def test_branches(hub, home, folder):
    url, commit, _ = push(hub, home, folder, "ann/new", "v/2")
    assert url == f"{hub.endpoint}/ann/new/tree/v%2f2"
    assert read_back(hub, home, revision="v/2") == FILES and read_back(hub, home) == {}
    assert commits(hub, home) == ["initial commit"] and commits(hub, home, revision="v/2") == ["Mine", "initial commit"]
    assert push(hub, home, folder, "ann/new", "v/2") == (url, commit, True)


def test_private(hub, home, folder):
    push(hub, home, folder, "ann/new", "main", 60, "private")
    push(hub, home, folder, "ann/open")
    push(hub, home, folder, "ann/open", "other", 60, "private")  # one that is there stays as it is
    assert value(hub, home, "[hf.model_info(f'ann/{n}').private for n in ('new', 'open')]", token=TOKEN) == [True, False]


def test_one_that_is_not_private_after_all_gets_no_byte(hub, home, folder):
    """As from a hub that does not know the word."""
    hub.fault("/api/models/ann/new/revision", "status", code=404, error_code="RepoNotFound", method="GET")
    hub.fault("/api/models/ann/new/revision", "garbage", content_type="application/json",
              body='{"sha": "%s", "private": false, "siblings": []}' % ("1" * 40), method="GET")
    reason, message = refused(hub, home, folder, "ann/new", "main", 60, "private")
    assert reason == "HUB_REFUSED" and "not as a private one" in message
    assert not [r for r in hub.requests() if "preupload" in r["path"]] and puts(hub) == []


def test_gitignore(hub, home, folder):
    hub.ignore("sub/also.bin", "runs/events")
    push(hub, home, folder)
    assert set(read_back(hub, home)) == set(FILES) - {"sub/also.bin", "runs/events"}
    assert push(hub, home, folder)[2] is True


def test_the_token_goes_to_the_hub_alone(hub, home, folder):
    hub.part_size(300_000)
    push(hub, home, folder)
    signed = {r["path"] for r in hub.requests() if not r["has_auth"]}
    assert signed == {"/lfs", "/api/complete_multipart"}
    assert {r["has_auth"] for r in hub.requests() if r["listener"] == "cdn"} == {False}


# What can go wrong on the way

STEPS = ["/api/repos/create", "/preupload/", "/objects/batch", "^/lfs", "/objects/verify", "/complete_multipart", "/commit/",
         "/revision/"]
FAULTS = [("status", {"code": 500}), ("status", {"code": 429, "retry_after": 0}), ("reset", {}), ("lost_answer", {})]


@pytest.mark.parametrize("kind, args", FAULTS, ids=[f"{kind}-{args.get('code', '')}" for kind, args in FAULTS])
@pytest.mark.parametrize("step", STEPS)
def test_passing_faults_are_overcome(hub, home, folder, step, kind, args):
    hub.part_size(700_000)
    hub.fault(step, kind, times=2, **args)
    push(hub, home, folder)
    assert read_back(hub, home) == FILES
    assert commits(hub, home) == ["Mine", "initial commit"], "one, whatever became of the answers"


@pytest.mark.parametrize("after", [0, 1, 500_000, 1_023_999])
def test_an_upload_that_breaks_off(hub, home, folder, after):
    hub.fault("^/lfs", "cut_in", times=3, after=max(after, 1))
    push(hub, home, folder)
    assert read_back(hub, home) == FILES


def test_an_address_that_has_expired_is_asked_for_again(hub, home, folder):
    hub.fault("^/lfs", "status", code=403, times=1)
    push(hub, home, folder)
    assert read_back(hub, home) == FILES
    assert len([r for r in hub.requests() if r["path"].endswith("batch")]) == 3


def test_a_branch_that_moves_meanwhile(hub, home, folder):
    """A commit stands on the branch that was looked at, or is not made: the other's file is there as well."""
    hub.add_repo("ann/new", {"notes.txt": b"1"})
    hub.fault("/preupload/", "stall")
    process = popen(hub, home, folder)
    hub.wait_for("POST .*/preupload/")
    hub.commit("ann/new", {"notes.txt": b"2"}, title="Theirs")
    hub.clear_faults()
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err
    assert read_back(hub, home) == {**FILES, "notes.txt": b"2"}
    assert commits(hub, home) == ["Mine", "Theirs", "Upload"]
    assert [r["status"] for r in hub.requests() if "/commit/" in r["path"]] == [412, 200]


def test_two_at_once_make_one_commit(hub, home, folder):
    hub.fault("/commit/", "late", seconds=0.5, times=None)
    processes = [popen(hub, home, folder) for _ in range(4)]
    for process in processes:
        _, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, err
    assert read_back(hub, home) == FILES and commits(hub, home) == ["Mine", "initial commit"]


def test_a_commit_that_lands_after_its_sender_has_died(hub, home, folder):
    hub.fault("/commit/", "stall")
    process = popen(hub, home, folder)
    hub.wait_for("POST .*/commit/")
    process.kill()
    process.communicate()
    hub.fault("/preupload/", "stall")
    again = popen(hub, home, folder)
    hub.wait_for("POST .*/preupload/", count=2)  # it has looked, and has seen no commit
    hub.clear_faults()
    out, err = again.communicate(timeout=DEADLINE_S)
    assert again.returncode == 0, err
    assert read_back(hub, home) == FILES and commits(hub, home) == ["Mine", "initial commit"]


@pytest.mark.parametrize("kind", ["garbage", "huge"])
@pytest.mark.parametrize("step", ["/preupload/", "/objects/batch", "/commit/", "/revision/"])
def test_an_answer_that_makes_no_sense(hub, home, folder, step, kind):
    hub.fault(step, kind, times=None)
    reason, message = refused(hub, home, folder)
    assert reason == "HUB_PROTOCOL", message


@pytest.mark.parametrize("step", ["/api/repos/create", "/preupload/", "/objects/batch", "^/lfs", "/commit/"])
def test_patience_ends(hub, home, folder, step):
    hub.fault(step, "status", code=503, times=None)
    reason, message = refused(hub, home, folder, "ann/new", "main", 1)
    assert reason == "HUB_UNREACHABLE" and "503" in message
    hub.clear_faults()
    push(hub, home, folder)
    assert read_back(hub, home) == FILES and commits(hub, home) == ["Mine", "initial commit"]


def test_a_hub_that_is_gone(hub, home, folder):
    hub.close()
    assert refused(hub, home, folder)[0] == "HUB_UNREACHABLE"


# Who may

def test_who_may_write_what(hub, home, folder):
    hub.add_repo("bob/his", {"a": b"1"})
    hub.add_repo("bob/shared", {"a": b"1"})
    hub.add_repo("bob/gated", {"a": b"1"}, gated="manual")
    hub.add_repo("bob/secret", {"a": b"1"}, private=True)
    hub.add_token("hf_read", "ann")
    hub.add_token("hf_old", "ann", expired=True, role="write")
    hub.add_token(TOKEN, "ann", role="write", may_write=["bob/shared"])
    table = [("ann/new", None, "TOKEN_INVALID", "ftctl login"), ("ann/new", "hf_old", "TOKEN_INVALID", "expired"),
             ("ann/new", "hf_none", "TOKEN_INVALID", "mistyped"), ("ann/new", "hf_read", "HUB_REFUSED", "you must use a write token"),
             ("bob/his", TOKEN, "HUB_REFUSED", "you don't have the rights"), ("bob/new", TOKEN, "HUB_REFUSED", "rights to create"),
             ("bob/gated", TOKEN, "HUB_REFUSED", "rights"), ("bob/secret", TOKEN, "HUB_REFUSED", "rights")]
    for repo, token, reason, words in table:
        got, message = refused(hub, home, folder, repo, token=token)
        assert got == reason and words in message, (repo, token, got, message)
    assert puts(hub) == []
    push(hub, home, folder, "bob/shared")
    assert refused(hub, home, folder, HF_HUB_OFFLINE="1")[0] == "HUB_OFFLINE"


def test_the_hubs_own_words(hub, home, folder):
    """Made harmless: they come from outside, and may have what was sent."""
    for code in (400, 402, 409, 413, 422):
        hub.fault("/commit/", "status", code=code, times=None, error_message=f"No: {TOKEN} \x1b[31m")
        reason, message = refused(hub, home, folder)
        assert reason == "HUB_REFUSED" and "No: … " in message and "\x1b" not in message, (code, message)
        hub.clear_faults()
    (folder / "README.md").write_text("---\nlicense: nonesuch\n---\n")
    reason, message = refused(hub, home, folder)
    assert reason == "HUB_REFUSED" and '"license" must be one of' in message
    assert commits(hub, home) == ["initial commit"]


def test_tls(home, folder):
    with Hub(tls=True) as hub:
        hub.add_token(TOKEN, "ann", role="write")
        push(hub, home, folder)
        assert read_back(hub, home) == FILES
        reason, message = refused(hub, home, folder, SSL_CERT_FILE="/dev/null")
        assert reason == "HUB_UNREACHABLE" and "certificate" in message.lower()


# Kills

def test_kills(hub, home, folder):
    """Killed at random moments, between which it sends nothing that the hub has, and repeated: one commit."""
    seed, rng = (s := int(os.environ.get("FTD_TEST_SEED", "1"))), random.Random(s)
    hub.part_size(400_000)
    hub.fault("^/lfs", "slow_in", rate=8_000_000, times=None)
    hub.fault("^/api|/objects/", "late", seconds=0.02, times=None)
    for i in range(int(os.environ.get("FTD_HUB_PUSH_KILLS", "6")) // 2):
        repo = f"ann/r{i}"
        fill(folder, {"adapter_model.safetensors": rng.randbytes(1_000_000)})
        for _ in range(2):
            process = popen(hub, home, folder, repo)
            try:
                process.wait(rng.uniform(0.01, 0.6))
            except subprocess.TimeoutExpired:
                process.kill()
            process.communicate()
        push(hub, home, folder, repo)
        want = {**FILES, "adapter_model.safetensors": (folder / "adapter_model.safetensors").read_bytes()}
        assert read_back(hub, home, repo) == want, f"seed {seed}"
        assert commits(hub, home, repo) == ["Mine", "initial commit"], f"seed {seed}"
