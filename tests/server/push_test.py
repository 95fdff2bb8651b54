"""PushResult: a job's result in a repository of the test hub, read back by huggingface_hub; refusals, ends, and kills of ftd and
ftctl at random moments. The client beneath has tests of its own (tests/lib/hub/ftd_push_test.py)."""
import hashlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import threading
import time

import grpc
import pytest

from ftd_fixture import BIN, DEADLINE_S, api, wait_until
from hf_client import ask, value
from hub_fixture import Hub
from helpers import detail, error_details_pb2, expect_error, fake_ftd, submit

Code = grpc.StatusCode
TOKEN = "hf_goodTokenThatMustShowNowhere"
CARD = "---\nlicense: mit\nlibrary_name: peft\ntags:\n- ftd\n---\n\nA card.\n"


@pytest.fixture(scope="module")
def hub():
    with Hub() as hub:
        hub.add_token(TOKEN, "ann", role="write")
        yield hub


def environment(hub, root, token=TOKEN, **env):
    names = ("HF_ENDPOINT", "HF_HOME", "HF_TOKEN")
    return {"HF_HUB_OFFLINE": "0", **{k: v for k, v in hub.env(root, token).items() if k in names}, **env}


@pytest.fixture(scope="module")
def ftd(hub, tmp_path_factory):
    with fake_ftd("steps=2 step_ms=1", env=environment(hub, tmp_path_factory.mktemp("hf"))) as ftd:
        yield ftd
        assert TOKEN not in ftd.log()


@pytest.fixture(scope="module")
def job(ftd):
    """With what a real result has beside the fake worker's files."""
    job = ftd.wait(submit(ftd, name="first").id, "SUCCEEDED")
    result = pathlib.Path(job.result_dir)
    (result / "README.md").write_text(CARD)
    (result / "adapter_config.json").write_text(json.dumps({"r": 8, "base_model_name_or_path": str(ftd.model), "bias": "none"}))
    (result / ".tmp-half").mkdir()
    (result / ".tmp-half" / "x").write_text("not whole")
    (result / "link").symlink_to("/etc/passwd")
    return job


@pytest.fixture(autouse=True)
def no_faults(hub):
    hub.requests(clear=True)
    yield
    hub.clear_faults()
    hub.part_size(None)


def call(ftd, repository, job="first", **fields):
    return ftd.stub.PushResult(api.PushResultRequest(job=job, repository=repository, **fields), timeout=DEADLINE_S)


def push(ftd, repository, **fields):
    return list(call(ftd, repository, **fields))[-1].outcome


def read_back(hub, home, repo, revision="main"):
    path = value(hub, home, f"hf.snapshot_download({repo!r}, revision={revision!r})", token=TOKEN)
    files = {str(p.relative_to(path)): p.read_bytes() for p in pathlib.Path(path).rglob("*") if p.is_file()}
    files.pop(".gitattributes")
    return files


def titles(hub, home, repo):
    return value(hub, home, f"[c.title for c in hf.list_repo_commits({repo!r})]", token=TOKEN)


def test_a_result_goes_up(ftd, hub, job, tmp_path):
    hub.part_size(1_000_000)
    messages = list(call(ftd, "ann/first", private=True))
    done = messages[-1].outcome
    assert done.url == f"{hub.endpoint}/ann/first" and not done.unchanged
    assert value(hub, tmp_path, "(lambda i: [i.sha, i.private])(hf.model_info('ann/first'))", token=TOKEN) == [done.commit, True]
    for message in messages[:-1]:
        assert 0 <= message.progress.done <= message.progress.total and message.progress.unit == "bytes"
    files = read_back(hub, tmp_path, "ann/first")
    assert json.loads(files.pop("adapter_config.json")) == {"r": 8, "base_model_name_or_path": "model", "bias": "none"}
    assert files == {"README.md": CARD.encode(), "adapter_model.safetensors": b"w" * (3 << 20), "sub/empty": b""}
    assert titles(hub, tmp_path, "ann/first") == ["Result of job first, by ftd", "initial commit"]
    again = push(ftd, "ann/first")
    assert (again.commit, again.unchanged) == (done.commit, True)
    assert str(ftd.root) not in json.dumps(hub.requests())


def test_a_branch(ftd, hub, job, tmp_path):
    done = push(ftd, "ann/branch", revision="v2")
    assert done.url.endswith("/ann/branch/tree/v2")
    assert "README.md" in read_back(hub, tmp_path, "ann/branch", "v2")
    assert read_back(hub, tmp_path / "main", "ann/branch") == {}


def test_refusals(ftd, hub, job):
    ftd.stub.DrainQueue(api.DrainQueueRequest())
    queued = submit(ftd, name="queued")
    expect_error(lambda: call(ftd, "ann/x", job="none"), Code.NOT_FOUND, "JOB_NOT_FOUND")
    expect_error(lambda: call(ftd, "ann/x", job=queued.id), Code.FAILED_PRECONDITION, "STATE_CONFLICT")
    ftd.stub.UndrainQueue(api.UndrainQueueRequest())
    error = expect_error(lambda: call(ftd, "ann", revision="a..b"), Code.INVALID_ARGUMENT, "FIELD_INVALID")
    violations = detail(error, error_details_pb2.BadRequest).field_violations
    assert [v.field for v in violations] == ["repository", "revision"]
    assert hub.requests() == [], "none of these asked the hub"
    error = expect_error(lambda: call(ftd, "bob/x"), Code.FAILED_PRECONDITION, "HUB_REFUSED")
    assert "you don't have the rights to create a model" in error.details() and "settings/tokens" in error.details()
    hub.fault("/commit/", "status", code=422, error_message="so not", times=1)
    assert "so not" in expect_error(lambda: call(ftd, "ann/x"), Code.FAILED_PRECONDITION, "HUB_REFUSED").details()
    hub.fault("/commit/", "garbage", times=1)
    expect_error(lambda: call(ftd, "ann/x"), Code.DATA_LOSS, "HUB_PROTOCOL")


@pytest.mark.parametrize("env, code, reason", [
    ({"HF_TOKEN": "hf_unknown"}, Code.UNAUTHENTICATED, "TOKEN_INVALID"), ({"HF_TOKEN": ""}, Code.UNAUTHENTICATED, "TOKEN_INVALID"),
    ({"HF_HUB_OFFLINE": "1"}, Code.FAILED_PRECONDITION, "HUB_OFFLINE"),
    ({"HF_ENDPOINT": "http://127.0.0.1:9"}, Code.UNAVAILABLE, "HUB_UNREACHABLE")])
def test_what_the_servers_settings_forbid(hub, tmp_path, env, code, reason):
    with fake_ftd("steps=1 step_ms=1", env=environment(hub, tmp_path, **env)) as ftd:
        ftd.wait(submit(ftd, name="first").id, "SUCCEEDED")
        error = expect_error(lambda: call(ftd, "ann/y"), code, reason)
        assert "hf_" not in error.details()
        exit_code = {"TOKEN_INVALID": 77, "HUB_OFFLINE": 69, "HUB_UNREACHABLE": 69}[reason]
        assert ftd.ftctl("push", "first", "ann/y", check=False).returncode == exit_code


def test_a_login_counts_at_once(hub, tmp_path):
    with fake_ftd("steps=1 step_ms=1", env=environment(hub, tmp_path, token="")) as ftd:
        ftd.wait(submit(ftd, name="first").id, "SUCCEEDED")
        expect_error(lambda: call(ftd, "ann/login"), Code.UNAUTHENTICATED, "TOKEN_INVALID")
        (tmp_path / "token").write_text(TOKEN)
        assert push(ftd, "ann/login").commit
        assert TOKEN not in ftd.log()


def with_new_weights(ftd):
    """A job whose large file the hub has not seen yet."""
    job = ftd.wait(submit(ftd).id, "SUCCEEDED")
    (pathlib.Path(job.result_dir) / "adapter_model.safetensors").write_bytes(os.urandom(3 << 20))
    return job.id


def test_it_ends_with_its_caller(ftd, hub, tmp_path):
    job = with_new_weights(ftd)
    hub.fault("^/lfs", "slow_in", rate=1_000_000, times=None)
    stream = call(ftd, "ann/gone", job=job)
    hub.wait_for("PUT /lfs")
    stream.cancel()
    wait_until(lambda: settled(hub), "the upload to end")
    assert not [r for r in hub.requests() if "/commit/" in r["path"]]
    hub.clear_faults()
    assert not push(ftd, "ann/gone", job=job).unchanged
    assert len(titles(hub, tmp_path, "ann/gone")) == 2


def settled(hub):
    """Whether no more bytes of uploads come."""
    before = sum(r["bytes_received"] for r in hub.requests() if r["method"] == "PUT")
    time.sleep(0.3)
    after = sum(r["bytes_received"] for r in hub.requests() if r["method"] == "PUT")
    return before == after


def test_what_is_removed_meanwhile_goes_up_nevertheless(ftd, hub, tmp_path):
    job = ftd.wait(submit(ftd).id, "SUCCEEDED")
    hub.fault("/preupload/", "stall")
    stream = call(ftd, "ann/removed", job=job.id)
    hub.wait_for("POST .*/preupload/")
    shutil.rmtree(job.result_dir)
    hub.clear_faults()
    assert list(stream)[-1].outcome.commit
    assert len(read_back(hub, tmp_path, "ann/removed")) == 3
    expect_error(lambda: call(ftd, "ann/removed", job=job.id), Code.DATA_LOSS, "RESULT_MISSING")


def test_ftctl(ftd, hub, job, tmp_path):
    done = ftd.ftctl("push", "first", "ann/cli", "--private", "--revision", "v2")
    assert done.stdout == f"{hub.endpoint}/ann/cli/tree/v2\n" and "at commit" in done.stderr
    again = json.loads(ftd.ftctl("push", "first", "ann/cli", "--revision", "v2", "-o", "json").stdout)
    assert again == {"url": done.stdout.strip(), "commit": again["commit"], "unchanged": True} and len(again["commit"]) == 40
    refused = ftd.ftctl("push", "first", "bob/cli", check=False)
    assert refused.returncode == 1 and "you don't have the rights" in refused.stderr and refused.stdout == ""
    assert ftd.ftctl("push", "first", "no-owner", check=False).returncode == 65


def test_it_ends_with_the_daemon(hub, tmp_path):
    hub.fault("^/lfs", "stall", times=None)
    with fake_ftd("steps=1 step_ms=1", env=environment(hub, tmp_path)) as ftd:
        job = with_new_weights(ftd)
        errors = []

        def watch():
            with pytest.raises(grpc.RpcError) as caught:
                list(stub.PushResult(api.PushResultRequest(job=job, repository="ann/stop"), timeout=DEADLINE_S))
            errors.append(caught.value)

        with ftd.new_channel() as channel:
            stub = type(ftd.stub)(channel)
            thread = threading.Thread(target=watch)
            thread.start()
            hub.wait_for("PUT /lfs")
            begun = time.monotonic()
            ftd.terminate()
            thread.join()
        assert time.monotonic() - begun < 10
        assert errors[0].code() == Code.UNAVAILABLE and "stopping" in errors[0].details()


def test_kills(hub, tmp_path):
    """ftd or ftctl, killed at a random moment of a push and the push repeated: one commit, right bytes."""
    seed, kills = int(os.environ.get("FTD_TEST_SEED", "1")), int(os.environ.get("FTD_PUSH_KILLS", "8"))
    print(f"FTD_TEST_SEED={seed} FTD_PUSH_KILLS={kills}")
    rng, made = random.Random(seed), {}
    seen, cut, longest = {"none": 0, "begun": 0, "sent": 0, "committed": 0}, 0, 1.2
    with fake_ftd("steps=1 step_ms=1", env=environment(hub, tmp_path / "ftd")) as ftd:
        job = ftd.wait(submit(ftd, name="first").id, "SUCCEEDED")
        result = pathlib.Path(job.result_dir)
        for i in range(kills):
            hub.part_size(rng.choice([None, 1_000_000]))
            hub.fault("^/lfs", "slow_in", rate=rng.choice([6, 12, 24]) * 1_000_000, times=None)
            hub.fault("^/api|/objects/", "late", seconds=rng.choice([0.0, 0.02, 0.06]), times=None)
            (result / "adapter_model.safetensors").write_bytes(rng.randbytes(3 << 20))
            files = {str(p.relative_to(result)): digest(p) for p in result.rglob("*") if p.is_file()}
            repo, victim, moment = f"ann/kill{i}", rng.choice(["ftd", "ftctl"]), rng.uniform(0, longest)
            hub.requests(clear=True)
            process = subprocess.Popen([BIN / "ftctl", "--address", ftd.address, "push", "first", repo], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True)
            begun = time.monotonic()
            try:
                process.wait(moment)
                longest = max(0.3, (longest + time.monotonic() - begun) / 2)  # most moments should be before the end
            except subprocess.TimeoutExpired:
                cut += 1
            seen[progress_of(hub)] += 1
            ftd.kill() if victim == "ftd" else process.kill()
            process.communicate(timeout=DEADLINE_S)
            if victim == "ftd":
                ftd.start()
            what = f"seed {seed}, kill {i}: {victim} after {moment:.3f} s of {repo}"
            done = ftd.ftctl("push", "first", repo, check=False)
            assert done.returncode == 0, (what, done.stderr)
            hub.clear_faults()
            made[repo] = (what, files)
            if len(made) == 10 or i + 1 == kills:
                check_all(hub, tmp_path / f"read{i}", made)
                made.clear()
        print(f"{kills} kills, {cut} before the push had ended; the hub had seen: {seen}")
        assert cut >= kills // 3, "too few of the kills were in time"


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_all(hub, home, made):
    """Reads the repositories back, all in one process of huggingface_hub."""
    asked = [(f"[c.title for c in hf.list_repo_commits({repo!r})]", f"hf.snapshot_download({repo!r})") for repo in made]
    out = iter(ask(hub, home, *(expression for pair in asked for expression in pair), token=TOKEN))
    for what, files in made.values():
        titles, snapshot = next(out), next(out)
        assert titles["value"] == ["Result of job first, by ftd", "initial commit"], (what, titles)
        root = pathlib.Path(snapshot["value"])
        got = {str(p.relative_to(root)): digest(p) for p in root.rglob("*") if p.is_file()}
        assert got.pop(".gitattributes") and got == files, what
    shutil.rmtree(home)


def progress_of(hub):
    requests = hub.requests()
    if any("/commit/" in r["path"] for r in requests):
        return "committed"
    if any(r["method"] == "PUT" for r in requests):
        return "sent"
    return "begun" if requests else "none"
