"""TCP under strain: more connections than descriptors, floods that never finish a handshake, two daemons on one port."""

import contextlib
import json
import os
import re
import resource
import socket
import statistics
import subprocess
import threading
import time

import grpc
import pytest

from ftd_fixture import BIN, DEADLINE_S, api, wait_until
from helpers import fake_ftd, submit
from tls_daemon import tcp_address, tls_channel, tls_ftd

from ftd.v1 import fine_tuning_pb2_grpc as rpc


def plain_ftd(descriptors=None, listen="127.0.0.1:0"):
    """A daemon that listens on loopback without TLS, with so many descriptors."""
    ftd = fake_ftd(start=False)
    ftd.args += ["--listen", listen]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, before[1]))
    try:
        return ftd.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def endpoint(ftd):
    host, port = tcp_address(ftd).rsplit(":", 1)
    return host.strip("[]"), int(port)


def call(channel):
    return rpc.FineTuningStub(channel).GetServerInfo(api.GetServerInfoRequest(), timeout=DEADLINE_S, wait_for_ready=True)


@pytest.mark.parametrize("greeting", [b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", b"GET / HTTP/1.1\r\n\r\n"],
                         ids=["silent", "http2", "http1"])
def test_more_connections_than_descriptors(greeting):
    """gRPC's own listener never accepts again after this (CVE-2023-4785)."""
    with plain_ftd(descriptors=128) as ftd:
        idle = [socket.create_connection(endpoint(ftd)) for _ in range(300)]
        for connection in idle:
            with contextlib.suppress(OSError):
                connection.sendall(greeting)
        with grpc.insecure_channel(tcp_address(ftd)) as channel:
            assert call(channel).version
        assert submit(ftd).id  # by the unix socket
        for connection in idle:
            connection.close()
        with grpc.insecure_channel(tcp_address(ftd)) as channel:
            assert call(channel).version


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_clients_at_work_are_not_driven_out(host):
    """A flood of connections that never call drives out itself, from whatever host."""
    with plain_ftd(descriptors=256, listen=f"{host}:0") as ftd:
        with grpc.insecure_channel(tcp_address(ftd)) as channel:
            broken = []
            call(channel)
            channel.subscribe(lambda state: broken.append(state) if state == grpc.ChannelConnectivity.TRANSIENT_FAILURE
                              or state == grpc.ChannelConnectivity.IDLE else None)
            flood = []
            for i in range(600):
                if host == "[::1]":
                    connection = socket.create_connection(endpoint(ftd))
                else:
                    connection = socket.socket()
                    connection.bind((f"127.0.0.{2 + i % 7}", 0))
                    connection.connect(endpoint(ftd))
                flood.append(connection)
            wait_until(lambda: call(channel).version, "an answer")
            assert not broken
            # Those that wait in the backlog count as open, as long as ftd has no descriptor for them.
            wait_until(lambda: 0 < sum(map(is_open, flood)) <= 128, "the flood to shrink")
            for connection in flood:
                connection.close()


def is_open(connection):
    """Whether the other side has not closed it; its greeting is read away."""
    connection.setblocking(False)
    try:
        while connection.recv(4096):
            pass
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_a_handshake_that_takes_too_long_is_broken_off(pki):
    """On the unix socket too, wherever in HTTP/2's greeting a client stops; one that has greeted may be silent."""
    greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\6\4\0\0\0\0\0\0\3\0\0\0\x64"
    with tls_ftd(pki) as ftd, contextlib.ExitStack() as stack:
        begun = time.monotonic()
        late = [stack.enter_context(socket.create_connection(endpoint(ftd)))]
        for sent in (b"", greeting[:10], greeting[:30], greeting[:-1], greeting):
            late.append(stack.enter_context(socket.socket(socket.AF_UNIX)))
            late[-1].connect(str(ftd.socket))
            late[-1].sendall(sent)
        greeted = late.pop()
        slow = stack.enter_context(socket.socket(socket.AF_UNIX))  # but in time
        slow.connect(str(ftd.socket))
        for byte in greeting:
            slow.sendall(bytes([byte]))
        wait_until(lambda: not all(map(is_open, late)), "the first end", 30)
        assert 5 < time.monotonic() - begun
        wait_until(lambda: not any(map(is_open, late)), "the end of all that are late", 5)
        assert is_open(greeted) and is_open(slow)
        # What is longer than any greeting, or has ended, is not waited for.
        for sent in (greeting[:24] + b"\0\x40\0\4\0\0\0\0\0", b"GET / HTTP/1.1\r\n\r\n"):
            with socket.socket(socket.AF_UNIX) as other:
                other.connect(str(ftd.socket))
                other.sendall(sent)
                wait_until(lambda: not is_open(other), "the end of a connection", 5)


def test_slow_handshakes_keep_nobody_out(pki):
    """Many connections that begin TLS and never finish; calls over the unix socket and by an honest client are answered.

    FTD_FLOOD=10000 for all of it; the printed latencies are figures, not limits.
    """
    count = int(os.environ.get("FTD_FLOOD", 1000))
    hello = bytes.fromhex("160301020001000100")  # a ClientHello that goes on
    with tls_ftd(pki, "steps=1000000 step_ms=20") as ftd:
        submit(ftd)
        host, port = endpoint(ftd)
        done = threading.Event()
        opened = []

        def flood():
            while len(opened) < count and not done.is_set():
                with contextlib.suppress(OSError):
                    connection = socket.create_connection((host, port))
                    connection.sendall(hello)
                    opened.append(connection)

        threads = [threading.Thread(target=flood) for _ in range(2)]
        for thread in threads:
            thread.start()
        took = {"unix": [], "tls": [], "new tls": []}
        with tls_channel(ftd, pki.ours, pki.laptop) as channel:
            while any(thread.is_alive() for thread in threads) or len(took["unix"]) < 100:
                for name, work in [("unix", lambda: ftd.stub.GetServerInfo(api.GetServerInfoRequest(), timeout=DEADLINE_S)),
                                   ("tls", lambda: call(channel))]:
                    begun = time.perf_counter()
                    work()
                    took[name].append(time.perf_counter() - begun)
                if len(took["unix"]) % 20 == 0:
                    begun = time.perf_counter()
                    with tls_channel(ftd, pki.ours, pki.laptop) as fresh:
                        call(fresh)
                    took["new tls"].append(time.perf_counter() - begun)
        done.set()
        for connection in opened:
            connection.close()
        for name, seconds in took.items():
            p99 = statistics.quantiles(seconds, n=100)[98] if len(seconds) > 1 else seconds[0]
            print(f"{name}: {len(seconds)} calls, median {1e3 * statistics.median(seconds):.1f} ms, p99 {1e3 * p99:.1f} ms, "
                  f"{len(opened)} connections")
        assert len(opened) >= count


def test_a_port_that_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        result = subprocess.run([BIN / "ftd", "--state-dir", tmp_path / "state", "--metrics-listen", "off", "--listen",
                                 f"127.0.0.1:{other.getsockname()[1]}"], capture_output=True, text=True, timeout=DEADLINE_S)
        assert result.returncode != 0 and "cannot listen on 127.0.0.1" in result.stderr and "listen elsewhere" in result.stderr


@pytest.mark.parametrize("host", ["localhost", "[::1]"])
def test_names_and_ipv6(host):
    if host == "[::1]" and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with plain_ftd(listen=f"{host}:0") as ftd:
        listen = json.loads((ftd.state_dir / "addresses.json").read_text())["listen"]
        address = next(address for address in listen if address.startswith(host))
        with grpc.insecure_channel(address) as channel:
            assert call(channel).version


def test_grpcs_own_lines_are_lines_of_our_log():
    ftd = fake_ftd(start=False, env={"GRPC_VERBOSITY": "debug"})
    with ftd.start():
        assert ftd.stub.ListJobs(api.ListJobsRequest()).jobs == []
        lines = ftd.log().splitlines()
        assert any(" gRPC: " in line for line in lines), lines
        odd = [line for line in lines if not re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (info|warning|error) ", line)]
        assert odd == []
