"""ftd under a service manager: what it tells by sd_notify, sockets that are passed to it, logs for the journal.

The service manager is this test: a datagram socket, and descriptors handed over as sd_listen_fds(3) describes it.
"""
import contextlib
import getpass
import os
import pathlib
import pwd
import re
import signal
import socket
import sqlite3
import struct
import sys
import tempfile
import time
import uuid

import pytest

from ftd_fixture import DEADLINE_S, api, wait_until
from helpers import fake_ftd, submit

LONG = "steps=100000 step_ms=5"


class Manager:
    """Receives notifications; each is the datagram's lines as a dict, with the sender's pid."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="ftd-notify-")
        self.path = pathlib.Path(self.directory.name) / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(str(self.path))
        self.env = {"NOTIFY_SOCKET": str(self.path)}

    def receive(self, deadline_s=DEADLINE_S):
        """The next notification; None after the deadline."""
        self.socket.settimeout(max(deadline_s, 0.001))
        try:
            data, ancillary, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(struct.calcsize("3i")))
        except TimeoutError:
            return None
        message = dict(line.split("=", 1) for line in data.decode().splitlines())
        message["pid"] = struct.unpack("3i", ancillary[0][2])[0]
        return message

    def await_one(self, what, deadline_s=DEADLINE_S):
        """The first notification from now on that has `what`, as KEY=REGEX."""
        key, pattern = what.split("=", 1)
        end, seen = time.monotonic() + deadline_s, []
        while (left := end - time.monotonic()) > 0:
            message = self.receive(left)
            seen.append(message)
            if message and re.fullmatch(pattern, message.get(key, "")):
                return message
        raise AssertionError(f"{what} did not come; these did: {seen}")

    def drain(self):
        while self.receive(0) is not None:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.socket.close()
        self.directory.cleanup()


@pytest.fixture
def manager():
    with Manager() as it:
        yield it


def test_ready_then_a_status_that_follows_the_job(manager):
    with fake_ftd(LONG, env=manager.env) as ftd:
        assert manager.await_one("READY=1")["pid"] == ftd.process.pid
        manager.await_one("STATUS=idle; 0 queued")
        first = submit(ftd, name="first")
        first_seen = manager.await_one(r"STATUS=running first, step \d+ of 100000; 0 queued")
        submit(ftd)
        later = manager.await_one(r"STATUS=running first, step \d+ of 100000; 1 queued")
        step = [int(re.search(r"step (\d+)", m["STATUS"])[1]) for m in (first_seen, later)]
        assert step[0] < step[1]
        ftd.stub.CancelJob(api.CancelJobRequest(job=first.id))
        manager.await_one(r"STATUS=running ft-\w+, step \d+ of 100000; 0 queued")


def test_the_status_is_told_at_most_once_a_second(manager):
    with fake_ftd(LONG, env=manager.env) as ftd:
        submit(ftd, name="quick")
        manager.await_one(r"STATUS=running quick, step.*")
        begun = time.monotonic()
        for _ in range(3):
            manager.await_one(r"STATUS=running quick, step.*")
        assert time.monotonic() - begun > 2.5


def test_the_watchdog_hears_the_daemon_as_long_as_it_runs(manager):
    with fake_ftd("", env={**manager.env, "WATCHDOG_USEC": "400000"}) as ftd:
        for _ in range(4):
            manager.await_one("WATCHDOG=1", 2)
        ftd.signal(signal.SIGSTOP)
        wait_until(lambda: "T (stopped)" in pathlib.Path(f"/proc/{ftd.process.pid}/status").read_text(), "the stop")
        manager.drain()
        assert manager.receive(1.0) is None
        ftd.signal(signal.SIGCONT)
        manager.await_one("WATCHDOG=1", 2)


def test_the_watchdog_hears_nothing_while_the_database_does_not_answer(manager):
    with fake_ftd("", env={**manager.env, "WATCHDOG_USEC": "400000"}) as ftd:
        manager.await_one("WATCHDOG=1", 2)
        with contextlib.closing(sqlite3.connect(ftd.state_dir / "ftd.db", isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            while manager.receive(0.5):  # some may have been under way
                pass
            assert manager.receive(1.5) is None
            database.execute("ROLLBACK")
        manager.await_one("WATCHDOG=1", 2)


def test_without_a_watchdog_an_idle_daemon_is_silent(manager):
    with fake_ftd("", env=manager.env):
        manager.await_one("STATUS=idle; 0 queued")
        assert manager.receive(2) is None


def test_a_reload_is_told_and_keeps_the_job(manager):
    with fake_ftd(LONG, env=manager.env, config="max_queued = 5\n") as ftd:
        manager.await_one("READY=1")
        job = submit(ftd, name="kept")
        manager.await_one(r"STATUS=running kept, step.*")
        worker = ftd.worker_pid(job.id)
        ftd.config_path.write_text("max_queued = 0\n")
        ftd.signal(signal.SIGHUP)
        begun = int(manager.await_one("RELOADING=1")["MONOTONIC_USEC"]) / 1e6
        assert abs(begun - time.clock_gettime(time.CLOCK_MONOTONIC)) < 10
        manager.await_one("READY=1")
        assert "SIGHUP is ignored" in ftd.log()
        ftd.config_path.write_text("max_queued = 6\n")
        ftd.signal(signal.SIGHUP)
        manager.await_one("RELOADING=1")
        assert manager.await_one("READY=1")["pid"] == ftd.process.pid
        manager.await_one(r"STATUS=running kept, step.*")
        ftd._drop_channel()
        assert [a.pid for a in ftd.job(job.id).attempts] == [worker]


def test_stopping_asks_for_the_time_that_the_checkpoint_takes(manager):
    with fake_ftd(LONG + " deaf=1", env=manager.env, args=["--stop-grace-seconds", "6"]) as ftd:
        submit(ftd, name="deaf")
        manager.await_one(r"STATUS=running deaf, step.*")
        ftd.signal(signal.SIGTERM)
        told = {}  # in either order: they come from two threads
        while not {"STOPPING", "EXTEND_TIMEOUT_USEC"} <= set(told):
            message = manager.receive(DEADLINE_S)
            assert message, told
            told = message | told
        assert int(told["EXTEND_TIMEOUT_USEC"]) >= 10e6
        manager.await_one(r"STATUS=stopping after a checkpoint of deaf, step.*")
        # Again before the time asked for has passed.
        manager.await_one(r"EXTEND_TIMEOUT_USEC=\d+", int(told["EXTEND_TIMEOUT_USEC"]) / 1e6)
        assert ftd.process.wait(20) == 0


def test_nobody_listens_to_the_notifications(tmp_path):
    with fake_ftd("", env={"NOTIFY_SOCKET": str(tmp_path / "nobody"), "WATCHDOG_USEC": "100000"}) as ftd:
        assert ftd.wait(submit(ftd).id, "SUCCEEDED")


# Sockets that are passed.

# Takes the place of itself, as a service manager's child does: the descriptors from 3 on, and who they are for.
PASS_ON = """
import os, sys
given = [os.dup(int(fd)) for fd in sys.argv[1].split(",")]
for i, fd in enumerate(given):
    os.dup2(fd, 100 + i)
for i in range(len(given)):
    os.dup2(100 + i, 3 + i, inheritable=True)
os.environ.update(LISTEN_FDS=str(len(given)), LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


@contextlib.contextmanager
def activated_ftd(script, sockets, **kwargs):
    ftd = fake_ftd(script, start=False, **kwargs)
    listening = [make(ftd) for make in sockets]
    ftd.pass_fds = tuple(s.fileno() for s in listening)
    plain = ftd.command
    numbers = ",".join(map(str, ftd.pass_fds))
    ftd.command = lambda: [sys.executable, "-c", PASS_ON, numbers, *plain()]
    try:
        with ftd:
            yield ftd
    finally:
        for s in listening:
            s.close()


def unix_socket(ftd):
    """At the path that --listen names too."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(ftd.socket))
    listening.listen()
    return listening


def inode(path):
    return os.stat(path).st_ino


def test_a_passed_socket_is_served_before_and_after_a_reload(manager):
    with activated_ftd(LONG, [unix_socket], env=manager.env, config="max_queued = 5\n") as ftd:
        file = inode(ftd.socket)
        waiting = socket.socket(socket.AF_UNIX)
        waiting.connect(str(ftd.socket))  # before anybody accepts
        waiting.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        ftd.start()
        manager.await_one("READY=1")
        waiting.settimeout(DEADLINE_S)
        assert waiting.recv(9)[3] == 4  # a SETTINGS frame: HTTP/2 is spoken
        waiting.close()
        job = submit(ftd)
        assert job.owner == getpass.getuser() == pwd.getpwuid(os.getuid()).pw_name
        ftd.wait(job.id, "RUNNING")
        worker = ftd.worker_pid(job.id)
        for _ in range(2):
            ftd.signal(signal.SIGHUP)
            manager.await_one("RELOADING=1")
            manager.await_one("READY=1")
            ftd._drop_channel()
            assert submit(ftd).owner == job.owner
            assert inode(ftd.socket) == file
        assert ftd.job(job.id).attempts[0].pid == worker
        inherited = {os.readlink(f"/proc/{worker}/fd/{fd}") for fd in os.listdir(f"/proc/{worker}/fd")}
        sockets = {f"socket:[{os.fstat(fd).st_ino}]" for fd in ftd.pass_fds}
        assert sockets and not sockets & inherited
        assert ftd.terminate() == 0
        assert inode(ftd.socket) == file  # the service manager's, not ours


def test_a_client_sees_no_refusal_while_a_passed_socket_is_reloaded(manager):
    with activated_ftd("", [unix_socket], env=manager.env) as ftd:
        ftd.start()
        manager.await_one("READY=1")
        ftd.signal(signal.SIGHUP)
        refused = 0
        while (message := manager.receive(0.005)) is None or message.get("READY") != "1":
            with socket.socket(socket.AF_UNIX) as client:
                try:
                    client.connect(str(ftd.socket))
                except ConnectionRefusedError:
                    refused += 1
        assert refused == 0


def test_sockets_of_another_kind_are_refused():
    def tcp(_):
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        return listening

    def datagrams(ftd):
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        bound.bind(str(ftd.root / "datagrams"))
        return bound

    for number, kinds in [(3, [tcp]), (4, [unix_socket, datagrams])]:
        with activated_ftd("", kinds) as ftd:
            with pytest.raises(RuntimeError, match=f"ended with 1:(.|\n)*descriptor {number}.*ListenStream="):
                ftd.start()


def test_sockets_for_another_process_are_left_alone():
    with fake_ftd("", env={"LISTEN_FDS": "1", "LISTEN_PID": "1"}) as ftd:
        assert ftd.socket.exists()


# Logs.

def test_in_the_journal_lines_have_priorities_and_say_what_they_are_about():
    with fake_ftd("1:crash=2 steps=5", start=False, config="max_queued = 5\n") as ftd:
        ftd.log_path.touch()
        stat = ftd.log_path.stat()
        ftd.env["JOURNAL_STREAM"] = f"{stat.st_dev}:{stat.st_ino}"
        ftd.start()
        request_id = str(uuid.uuid4())
        job = submit(ftd, request_id=request_id)
        ftd.wait(job.id, "SUCCEEDED")
        ftd.config_path.write_text("max_queued = 0\n")
        ftd.signal(signal.SIGHUP)
        wait_until(lambda: "SIGHUP is ignored" in ftd.log(), "the refusal")
        ftd.terminate()
        lines = ftd.log().splitlines()
        assert all(re.match(r"<[346]>\S", line) for line in lines), lines
        assert f"<6>job={job.id} request_id={request_id} queued, for {getpass.getuser()}" in lines
        for attempt in (1, 2):
            assert any(line.startswith(f"<6>job={job.id} attempt={attempt} started, pid ") for line in lines)
        assert any(re.match("<3>SIGHUP is ignored.*max_queued", line) for line in lines)


def test_elsewhere_lines_have_times_and_levels():
    # As a shell in a service inherits it, whose stderr is no longer the journal.
    with fake_ftd("", env={"JOURNAL_STREAM": "1:2"}) as ftd:
        ftd.wait(submit(ftd).id, "SUCCEEDED")
        for line in ftd.log().splitlines():
            assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (info|warning|error) \S", line), line
