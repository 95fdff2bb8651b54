"""ftctl doctor: each fault is planted and must be found, named and given its remedy; and a machine without one is well."""

import http.server
import json
import os
import pathlib
import shutil
import subprocess
import threading

import pytest

from fake_ftd import FakeFtd, fail
from ftd_fixture import BIN, REPO, api, jobs

VERSION = (REPO / "VERSION").read_text().strip()
CHECKS = ["daemon", "versions", "state disk", "cache disk", "queue", "settings", "worker", "device", "hub token"]
TOKEN = "hf_PlantedSecretToken"


def revision():
    """The commit that this build names itself by."""
    with FakeFtd(GetServerInfo=lambda r, c: api.ServerInfo()) as fake:
        found = {row["check"]: row for row in json.loads(fake.ftctl("doctor", "-o", "json").stdout)}
    return found["versions"]["found"].split("(")[1].split(")")[0]


REVISION = revision()


class Machine:
    """A server that is well, a worker that starts, a home of its own; changed by a test before it calls the doctor."""

    def __init__(self, root: pathlib.Path):
        self.root = root
        self.worker = root / "ft-worker"
        self.write_worker(f"echo 'ft-worker {VERSION} ({REVISION}), LibTorch 2.11.0+cu130'")
        self.info = api.ServerInfo(version=VERSION, revision=REVISION, state_dir="/state", cache_dir="/cache", device="cpu",
                                   state_free_bytes=10**12, cache_free_bytes=10**12, worker=str(self.worker),
                                   has_hub_token=True)
        self.jobs = {}
        self.env = {"HOME": str(root), "XDG_CONFIG_HOME": str(root), "HF_HUB_OFFLINE": "1", "HF_TOKEN": "",
                    "HF_HOME": str(root / "hf"), "XDG_RUNTIME_DIR": str(root)}
        self.handlers = {"GetServerInfo": lambda r, c: self.info, "ListJobs": self.list_jobs}

    def write_worker(self, script):
        self.worker.write_text(f"#!/bin/sh\n{script}\n")
        self.worker.chmod(0o755)

    def list_jobs(self, request, context):
        return api.ListJobsResponse(jobs=[j for state in request.states for j in self.jobs.get(state, [])])

    def doctor(self, *args, **env):
        with FakeFtd(**self.handlers) as fake:
            return fake.ftctl("doctor", *args, env={**self.env, **env})

    def findings(self, *args, **env):
        ran = self.doctor("-o", "json", *args, **env)
        rows = {row["check"]: row for row in json.loads(ran.stdout)}
        assert ran.returncode == (1 if "fail" in {row["verdict"] for row in rows.values()} else 0)
        assert all(bool(row["remedy"]) == (row["verdict"] != "ok") for row in rows.values()), rows
        assert ran.stderr == ""
        return rows

    def only_fault(self, check, *args, **env):
        """The finding of `check`, when it alone is not well. What device there is, is this machine's own affair."""
        rows = self.findings(*args, **env)
        assert [name for name, row in rows.items() if row["verdict"] != "ok" and name != "device"] == [check], rows
        return rows[check]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_all_is_well(machine):
    ran = machine.doctor()
    assert ran.returncode == 0 and ran.stderr == ""
    lines = [line for line in ran.stdout.splitlines() if not line.startswith(" ")]
    assert [line[6:18].strip() for line in lines] == CHECKS
    assert {line[:6].strip() for line in lines if line[6:12] != "device"} == {"ok"}
    assert f"ftctl and ftd are {VERSION}" in ran.stdout and "LibTorch 2.11.0" in ran.stdout
    assert list(machine.findings()) == CHECKS


def test_versions(machine):
    machine.info.revision = "0123456789ab"
    assert machine.only_fault("versions")["verdict"] == "warn"
    machine.info.version = "99.0"
    machine.write_worker("echo 'ft-worker 99.0 (0123456789ab), LibTorch 2.11.0'")
    found = machine.only_fault("versions")
    assert found["verdict"] == "fail" and "99.0 (0123456789ab)" in found["found"] and VERSION in found["found"]


def test_nobody_answers(machine):
    nowhere = f"unix:{machine.root}/nowhere.sock"
    rows = machine.findings("--address", nowhere)
    assert rows["daemon"]["verdict"] == "fail"
    assert nowhere in rows["daemon"]["found"] and "--address" in rows["daemon"]["found"]
    assert "ftd --state-dir" in rows["daemon"]["remedy"]
    assert {"settings", "worker", "device", "hub token"} < set(rows), "the rest is looked at nevertheless"
    assert "$FTCTL_ADDRESS" in machine.findings(FTCTL_ADDRESS=nowhere)["daemon"]["found"]


def test_a_socket_of_another_group(machine):
    """As a user who may not write to the socket: nobody, where this one may write to everything."""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    with FakeFtd(**machine.handlers) as fake:
        fake.root.chmod(0o755)
        fake.socket.chmod(0)
        shutil.copy(BIN / "ftctl", fake.root)  # nobody may not look into this clone
        ran = subprocess.run([*nobody, fake.root / "ftctl", "doctor", "-o", "json"], cwd="/", text=True, timeout=60,
                             capture_output=True, env=fake.environment(machine.env))
        found = json.loads(ran.stdout)[0]
    assert found["check"] == "daemon" and found["verdict"] == "fail"
    assert "this user may not use" in found["found"] and "usermod -aG" in found["remedy"]


def test_a_server_that_does_not_know_us(machine):
    machine.handlers["GetServerInfo"] = lambda r, c: fail(c, "UNAUTHENTICATED", "TOKEN_INVALID", "no such token")
    found = machine.findings()["daemon"]
    assert found["verdict"] == "fail" and "no such token" in found["found"] and "--token-file" in found["remedy"]


def test_a_bad_token_file(machine):
    authority = REPO / "LICENSE"  # any file: the token is looked at first
    token = machine.root / "token"
    token.write_text("two words")
    flags = ["--address", "localhost:1", "--tls-ca", authority, "--token-file", token]
    found = machine.findings(*flags)["daemon"]
    assert found["verdict"] == "fail" and "does not hold one token" in found["found"]
    assert "two words" not in json.dumps(machine.findings(*flags))
    token.unlink()
    assert str(token) in machine.findings(*flags)["daemon"]["found"]


@pytest.mark.parametrize("field, check", [("state_free_bytes", "state disk"), ("cache_free_bytes", "cache disk")])
def test_disks(machine, field, check):
    setattr(machine.info, field, 5 * 10**9)
    found = machine.only_fault(check)
    assert found["verdict"] == "warn" and "5.0 GB are free" in found["found"] and "20.0 GB" in found["found"]
    assert machine.findings("--least-free", 4)[check]["verdict"] == "ok"
    setattr(machine.info, field, 10**6)
    assert machine.only_fault(check)["verdict"] == "fail"
    setattr(machine.info, field, -1)
    assert machine.only_fault(check)["verdict"] == "warn"


def test_the_queue(machine):
    machine.jobs = {jobs.Job.HELD: [jobs.Job(id="ft-1")], jobs.Job.PAUSED: [jobs.Job(id="ft-2"), jobs.Job(id="ft-3")]}
    found = machine.only_fault("queue")
    assert found["verdict"] == "warn" and "1 held, 2 paused" in found["found"] and "ftctl release" in found["remedy"]
    machine.info.queued = 1
    machine.jobs = {jobs.Job.QUEUED: [jobs.Job(id="ft-4", name="late", pending_reason=jobs.Job.BACKOFF)]}
    found = machine.only_fault("queue")
    assert "nothing runs" in found["found"] and "ftctl show late" in found["remedy"]
    machine.info.running = 1
    assert machine.findings()["queue"]["verdict"] == "ok"


def test_bad_settings(machine):
    (machine.root / "ftd").mkdir()
    (machine.root / "ftd" / "ftd.toml").write_text("max_queud = 3\n")
    found = machine.only_fault("settings")
    assert found["verdict"] == "fail" and "ftd.toml line 1" in found["found"] and "max_queued" in found["found"]


def test_the_worker(machine):
    machine.write_worker("echo 'error while loading shared libraries: libtorch_cpu.so' >&2; exit 127")
    found = machine.only_fault("worker")
    assert found["verdict"] == "fail" and "libtorch_cpu.so" in found["found"] and "lib/ftd" in found["remedy"]
    machine.write_worker("kill -SEGV $$")
    assert machine.only_fault("worker")["verdict"] == "fail"
    machine.write_worker(f"echo 'ft-worker 0.0.1 ({REVISION}), LibTorch 2.11.0'")
    assert "0.0.1" in machine.only_fault("worker")["found"]
    machine.worker.chmod(0o644)
    assert str(machine.worker) in machine.only_fault("worker")["found"]
    machine.worker.unlink()
    found = machine.only_fault("worker")
    assert "No such file" in found["found"] and "install ft-worker" in found["remedy"]


@pytest.mark.parametrize("spoil", ["worker", "folder", "owner", "link"])
def test_a_worker_that_others_can_change_is_not_started(machine, spoil):
    """ftd names it: whoever took ftd over would have root start theirs."""
    proof = machine.worker.parent / "started"
    machine.write_worker(f"touch {proof}; echo 'ft-worker {VERSION} ({REVISION}), LibTorch 2.11.0'")
    folder = machine.worker.parent
    if spoil == "worker":
        machine.worker.chmod(0o777)
    elif spoil == "folder":
        folder.chmod(0o777)
    elif spoil == "owner":
        if os.geteuid() != 0:
            pytest.skip("only root can give files away")
        os.chown(machine.worker, 12345, -1)
    else:
        (folder / "open").mkdir()
        machine.worker.rename(folder / "open" / "real")
        machine.worker.symlink_to(folder / "open" / "real")
        (folder / "open").chmod(0o777)
    found = machine.only_fault("worker")
    assert found["verdict"] == "warn" and "can be changed by others" in found["found"]
    assert not proof.exists()


def test_a_gpu_and_a_worker_without_cuda(machine):
    machine.info.device = "cuda"
    assert machine.findings()["device"]["verdict"] == "ok"
    machine.write_worker(f"echo 'ft-worker {VERSION} ({REVISION}), LibTorch 2.11.0+cpu'")
    assert "without CUDA" in machine.only_fault("worker")["found"]


# The token, as a hub of the test judges it.

@pytest.fixture
def hub():
    """Answers whoami: with a name to TOKEN, with 401 to any other."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            known = self.headers["Authorization"] == f"Bearer {TOKEN}"
            body = b'{"name": "alice"}' if known else b"{}"
            self.send_response(200 if known else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_token_of_the_hub(machine, hub):
    online = {"HF_HUB_OFFLINE": "", "HF_ENDPOINT": hub}
    ran = machine.doctor("-o", "json", **online, HF_TOKEN=TOKEN)
    assert "alice" in ran.stdout and TOKEN not in ran.stdout + ran.stderr
    bad = machine.only_fault("hub token", **online, HF_TOKEN="hf_wrong")
    assert bad["verdict"] == "fail" and "hf_wrong" not in json.dumps(bad) and "ftctl login" in bad["remedy"]
    none = machine.only_fault("hub token", **online)
    assert none["verdict"] == "warn" and "no token is stored" in none["found"]
    machine.info.has_hub_token = False
    assert "ftd itself has no token" in machine.only_fault("hub token", **online, HF_TOKEN=TOKEN)["found"]


def test_no_hub(machine):
    away = machine.only_fault("hub token", HF_HUB_OFFLINE="", HF_ENDPOINT="http://127.0.0.1:9", HF_TOKEN=TOKEN)
    assert away["verdict"] == "warn" and TOKEN not in json.dumps(away)
    assert "not asked" in machine.findings()["hub token"]["found"]


def test_a_client_alone(machine, tmp_path):
    """Copied from a whole installation: what is not there is said, not stumbled over."""
    alone = tmp_path / "bin"
    alone.mkdir()
    shutil.copy(BIN / "ftctl", alone)
    with FakeFtd(**machine.handlers) as fake:
        ran = subprocess.run([alone / "ftctl", "doctor", "-o", "json"], env=fake.environment(machine.env), text=True,
                             capture_output=True, timeout=60)
    rows = {row["check"]: row for row in json.loads(ran.stdout)}
    assert rows["settings"]["verdict"] == "ok" and rows["hub token"]["verdict"] == "fail" and ran.returncode == 1
