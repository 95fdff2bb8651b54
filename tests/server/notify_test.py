"""What the outside hears of a job's end: notify_command, notify_url, and /healthz."""

import contextlib
import http.server
import json
import os
import pathlib
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import pytest

from ftd_fixture import BIN, DEADLINE_S, api, free_port, processes_under, wait_until
from helpers import fake_ftd, health, submit

ROOT = pathlib.Path(__file__).parents[2]
SHORT, LONG = "steps=3", "steps=100000 step_ms=5"


def shown(ftd, job):
    """The job as another program of ours shows it; tests/client/output_test.py holds that against protobuf's own JSON."""
    return json.loads(subprocess.run([BIN / "ftctl", "--address", ftd.address, "show", job, "-o", "json"], capture_output=True,
                                     text=True, check=True, timeout=DEADLINE_S).stdout)


def commands(tmp_path, script):
    """Settings whose command runs `script`, and the folder that it runs in."""
    folder = tmp_path / "notified"
    folder.mkdir()
    return folder, ["--notify-command", f"cd {shlex.quote(str(folder))} && {script}"]


class Webhook:
    """A web server that answers with `statuses`, one a request, the last of them always."""

    def __init__(self, *statuses):
        self.requests, self.statuses = [], list(statuses)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = outer.statuses[min(len(outer.requests), len(outer.statuses) - 1)]
                outer.requests.append((self.path, dict(self.headers), body))
                if status == "hang":
                    return time.sleep(DEADLINE_S)
                self.send_response(status)
                if status // 100 == 3:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()
                self.wfile.write(b"an answer\n")

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/hooks/s3cret?key=t0ken"

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.parametrize("script, state", [(SHORT, "SUCCEEDED"), ("fail=2 steps=3", "FAILED")])
def test_the_command_gets_the_job(tmp_path, script, state):
    folder, args = commands(tmp_path, 'cat > body; echo "$FTD_JOB_ID $FTD_JOB_NAME $FTD_JOB_STATE" > env; mv env done')
    with fake_ftd(script, args=args) as ftd:
        job = submit(ftd, name="first").id
        ftd.wait(job, state)
        wait_until(lambda: (folder / "done").exists(), "the command's end")
        assert (folder / "done").read_text() == f"{job} first {state}\n"
        body = (folder / "body").read_text()
        assert json.loads(body) == shown(ftd, job) and body.count("\n") == 1
        assert json.loads(body)["state"] == state
        wait_until(lambda: f"{job} notify_command has the job's end" in ftd.log().replace("job=", ""), "the log's line")


def test_a_job_that_never_ran(tmp_path):
    folder, args = commands(tmp_path, "cat > $FTD_JOB_STATE")
    with fake_ftd(LONG, args=args) as ftd:
        submit(ftd)
        waiting = submit(ftd).id
        ftd.stub.CancelJob(api.CancelJobRequest(job=waiting))
        wait_until(lambda: (folder / "CANCELLED").exists(), "the command")


def test_the_address_gets_the_job_and_is_named_nowhere():
    with Webhook(204) as hook, fake_ftd(SHORT, args=["--notify-url", hook.url]) as ftd:
        job = submit(ftd).id
        ftd.wait(job, "SUCCEEDED")
        wait_until(lambda: "notify_url has the job's end" in ftd.log(), "the log's line")
        [(path, headers, body)] = hook.requests
        assert path == "/hooks/s3cret?key=t0ken" and headers["Content-Type"] == "application/json"
        assert json.loads(body) == shown(ftd, job)
        assert "s3cret" not in ftd.log() and "t0ken" not in ftd.log()


@pytest.mark.parametrize("statuses", [[503, 404, 200], [302, 200]])
def test_what_fails_is_tried_again(statuses):
    with Webhook(*statuses) as hook, fake_ftd(SHORT, args=["--notify-url", hook.url]) as ftd:
        ftd.wait(submit(ftd).id, "SUCCEEDED")
        wait_until(lambda: len(hook.requests) == len(statuses), "the last try")
        wait_until(lambda: "notify_url has the job's end" in ftd.log(), "the log's line")
        assert f"HTTP status {statuses[0]}: an answer; next try in 1s" in ftd.log()
        assert {path for path, _, _ in hook.requests} == {"/hooks/s3cret?key=t0ken"}, "redirects are not followed"
        assert "s3cret" not in ftd.log()


def test_nobody_listens():
    with fake_ftd(SHORT, args=["--notify-url", f"http://127.0.0.1:{free_port()}/s3cret"]) as ftd:
        ftd.wait(submit(ftd).id, "SUCCEEDED")
        wait_until(lambda: "notify_url failed: 127.0.0.1: " in ftd.log(), "the log's line")
        assert "s3cret" not in ftd.log()


def test_the_next_daemon_tries_again(tmp_path):
    folder, args = commands(tmp_path, "echo >> tries; test -e may_succeed || { echo no room >&2; exit 3; }; touch done")
    with fake_ftd(SHORT, args=args) as ftd:
        job = submit(ftd).id
        ftd.wait(job, "SUCCEEDED")
        wait_until(lambda: "notify_command failed: exit status 3: no room; next try in 1s" in ftd.log(), "a failed try")
        ftd.kill()
        (folder / "may_succeed").touch()
        ftd.start()
        wait_until(lambda: (folder / "done").exists(), "the next try")
        wait_until(lambda: "notify_command has the job's end" in ftd.log(), "the log's line")
        tries = len((folder / "tries").read_text().splitlines())
        ftd.terminate()
        ftd.start()  # and nothing is left to report
        time.sleep(0.5)
        assert len((folder / "tries").read_text().splitlines()) == tries


@pytest.mark.parametrize("hang", ["sleep 1000", "exec >&- 2>&-; sleep 1000", "sleep 1000 & sleep 1000"])
def test_one_that_hangs_holds_up_neither_queue_nor_stop(tmp_path, hang):
    folder, args = commands(tmp_path, f"touch begun; {hang}")
    with fake_ftd(SHORT, args=args) as ftd:
        ftd.wait(submit(ftd).id, "SUCCEEDED")
        wait_until(lambda: (folder / "begun").exists(), "the command")
        ftd.wait(submit(ftd).id, "SUCCEEDED")
        assert processes_under(folder)
        begun = time.monotonic()
        ftd.terminate()
        assert time.monotonic() - begun < 10
        assert processes_under(folder) == []


def test_an_address_that_hangs_does_not_hold_up_a_stop():
    with Webhook("hang") as hook, fake_ftd(SHORT, args=["--notify-url", hook.url]) as ftd:
        ftd.wait(submit(ftd).id, "SUCCEEDED")
        wait_until(lambda: hook.requests, "the request")
        begun = time.monotonic()
        ftd.terminate()
        assert time.monotonic() - begun < 10


def test_a_command_that_reads_nothing_and_writes_much(tmp_path):
    folder, args = commands(tmp_path, "head -c 10000000 /dev/zero; touch done")
    with fake_ftd(SHORT, args=args) as ftd:
        ftd.wait(submit(ftd, labels={f"label-{i}": "x" * 60 for i in range(16)}).id, "SUCCEEDED")
        wait_until(lambda: (folder / "done").exists(), "the command's end")


def test_what_nobody_is_to_hear_is_forgotten(tmp_path):
    """A setting that is gone takes its reports along; so does a job that is deleted."""
    def left(ftd):
        with contextlib.closing(sqlite3.connect(ftd.state_dir / "ftd.db")) as database:
            return database.execute("SELECT channel FROM notifications").fetchall()

    _, args = commands(tmp_path, "false")
    with fake_ftd(SHORT, args=args) as ftd:
        job = submit(ftd).id
        ftd.wait(job, "SUCCEEDED")
        assert left(ftd) == [("notify_command",)]
        ftd.stub.DeleteJob(api.DeleteJobRequest(job=job))
        assert left(ftd) == []
        ftd.wait(submit(ftd).id, "SUCCEEDED")
        assert left(ftd) == [("notify_command",)]
        ftd.terminate()
        ftd.args = []
        ftd.start()
        assert left(ftd) == []


def test_the_command_of_the_documentation(tmp_path):
    text = (ROOT / "docs" / "configuration.md").read_text()
    [example] = re.findall(r"```toml\n(notify_command = .*?)notify_url", text, re.S)
    curl = tmp_path / "curl"
    curl.write_text(f'#!/bin/sh\ncat > {tmp_path}/sent; echo "$@" > {tmp_path}/arguments\n')
    curl.chmod(0o755)
    with fake_ftd(SHORT, config=example, env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLACK_WEBHOOK": "https://hook"}) as ftd:
        ftd.wait(submit(ftd, name="first").id, "SUCCEEDED")
        wait_until(lambda: "notify_command has the job's end" in ftd.log(), "the log's line")
    assert json.loads((tmp_path / "sent").read_text()) == {"text": "first has SUCCEEDED"}
    assert (tmp_path / "arguments").read_text().endswith("https://hook\n")


# --- /healthz ---

METRICS = ["--metrics-listen", "127.0.0.1:0"]


def metrics_address(ftd):
    return ftd.stub.GetServerInfo(api.GetServerInfoRequest()).metrics_address


def test_healthz_until_ftd_stops():
    with fake_ftd(f"{LONG} deaf=1", args=METRICS) as ftd:
        address = metrics_address(ftd)
        assert health(address) == (200, "ok\n") and health(address, "HEAD") == (200, "")
        job = submit(ftd).id
        wait_until(lambda: ftd.job(job).last_step.step > 0, "a step")
        assert health(address) == (200, "ok\n")
        ftd.signal(signal.SIGTERM)
        wait_until(lambda: health(address) == (503, "ftd is stopping\n"), "the answer")


def test_a_client_that_says_nothing_keeps_nobody_out():
    with fake_ftd(LONG, args=METRICS) as ftd:
        address = metrics_address(ftd)
        host, port = address.rsplit(":", 1)
        with socket.create_connection((host, int(port))):
            begun = time.monotonic()
            assert health(address)[0] == 200 and time.monotonic() - begun < 3
