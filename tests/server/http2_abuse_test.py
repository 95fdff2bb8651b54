"""What HTTP/2 lets a client do to a server: endless headers (CVE-2023-33953), streams that are reset at once (CVE-2023-44487).

The frames are written by hand; the connections are plaintext ones to loopback, which differ from TLS in nothing that counts here.
The floods take what a machine has, and how far they get depends on it, so they run only with FTD_FLOOD set.
"""
import contextlib
import os
import pathlib
import socket
import struct
import threading
import time

import grpc
import pytest

from ftd_fixture import api, wait_until
from helpers import fake_ftd, submit
from tcp_test import endpoint, plain_ftd
from tls_daemon import tcp_address

from ftd.v1 import fine_tuning_pb2_grpc as rpc

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 8, 9
END_STREAM, END_HEADERS = 1, 4
MIB = 1 << 20


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A header field without indexing; both shorter than 127 bytes."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def a_call(method=b"ListJobs"):
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/ftd.v1.FineTuning/" + method), (b":authority", b"x"),
              (b"te", b"trailers"), (b"content-type", b"application/grpc")]
    return b"".join(literal(*field) for field in fields)


@contextlib.contextmanager
def connection(ftd, kind="tcp", ended=None):
    """What it sends is thrown away. `ended` is set once ftd has closed it."""
    with socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET) as sock:
        sock.settimeout(20)
        sock.connect(str(ftd.socket) if kind == "unix" else endpoint(ftd))
        sock.sendall(PREFACE + frame(SETTINGS, 0, 0))

        def drain():
            with contextlib.suppress(OSError):
                while sock.recv(1 << 16):
                    pass
            if ended is not None:
                ended.set()

        reader = threading.Thread(target=drain, daemon=True)
        reader.start()
        yield sock
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        reader.join()


def resident(ftd):
    status = pathlib.Path(f"/proc/{ftd.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def is_closed(ftd, payload, most, kind="tcp", before=b""):
    """Sends `payload` again and again after the beginning of a header. Whether ftd closed the connection before `most` bytes."""
    with connection(ftd, kind) as sock:
        try:
            sock.sendall(before + frame(HEADERS, 0, 3, a_call()))
            for _ in range(most // len(payload)):
                sock.sendall(payload)
        except OSError:
            return True
    return False


flood_only = pytest.mark.skipif("FTD_FLOOD" not in os.environ, reason="floods run with FTD_FLOOD set")
HEADER_FLOODS = {
    "many fields": literal(b"k" * 60, b"v" * 60) * 130,
    "one endless value": b"\0\1x\x7f\x80\xff\xff\xff\3" + b"a" * 16000,
    "an endless length": b"\0\1x\x7f" + b"\x80" * 16000,
}


@flood_only
@pytest.mark.parametrize("flood", HEADER_FLOODS)
def test_headers_without_an_end(flood):
    """The connection goes once 16 MiB have come on it outside calls."""
    with plain_ftd() as ftd:
        before = resident(ftd)
        assert is_closed(ftd, frame(CONTINUATION, 0, 3, HEADER_FLOODS[flood]), 1 << 30)
        assert resident(ftd) - before < 1024 * MIB  # some 50 ms of the flood, or more on a busy machine
        assert ftd.stub.ListJobs(api.ListJobsRequest()).jobs == []
        # gRPC itself ends a length that no number holds.
        assert ("closed the connection of ipv4:127.0.0.1:" in ftd.log()) == (flood != "an endless length")


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_headers_without_an_end_beside_a_call(kind):
    """The call, a watch of the queue, keeps the connection no longer, also where the kernel counts no bytes."""
    with plain_ftd() as ftd:
        watch = frame(HEADERS, END_HEADERS, 1, a_call(b"WatchQueue")) + frame(DATA, END_STREAM, 1, b"\0" * 5)
        before = resident(ftd)
        assert is_closed(ftd, frame(CONTINUATION, 0, 3, HEADER_FLOODS["many fields"]), 1 << 32, kind, watch)
        assert resident(ftd) - before < 1536 * MIB
        assert ftd.stub.ListJobs(api.ListJobsRequest()).jobs == []  # others keep their connections


def is_cut(ftd, kind, resets):
    """Makes and resets so many calls on one connection, never many at once. Whether ftd closes it before the last."""
    ended = threading.Event()
    with connection(ftd, kind, ended) as sock:
        for first in range(1, 2 * resets, 200):
            with contextlib.suppress(OSError):
                sock.sendall(b"".join(frame(HEADERS, END_HEADERS | END_STREAM, stream, a_call()) +
                                      frame(RST_STREAM, 0, stream, struct.pack(">I", 8)) for stream in range(first, first + 200, 2)))
            ftd.stub.ListJobs(api.ListJobsRequest(), timeout=20)  # while ftd handles those
            if ended.is_set():
                return True
    return False


def test_a_connection_that_resets_call_after_call():
    """A rate counts, not how many are open at once: more than 2,048 and two hundred a second. Those that were answered before do not count."""
    with plain_ftd() as ftd:
        for kind in ("tcp", "unix"):
            assert is_cut(ftd, kind, 60_000)
        assert "it resets calls" in ftd.log()  # all the time, or on a slow machine faster than they can be handled
        assert not is_cut(ftd, "unix", 1_500)


@flood_only
def test_streams_that_are_reset_at_once():
    """From several connections, as fast as they can be sent: memory stays bounded, and others are answered."""
    with plain_ftd() as ftd:
        before, most, end, sent = resident(ftd), 0, time.monotonic() + 6, [0] * 4

        def attack(index):
            while time.monotonic() < end:
                with contextlib.suppress(OSError), connection(ftd) as sock:
                    for first in range(1, 1 << 28, 200):
                        if time.monotonic() > end:
                            break
                        sock.sendall(b"".join(frame(HEADERS, END_HEADERS | END_STREAM, stream, a_call()) +
                                              frame(RST_STREAM, 0, stream, struct.pack(">I", 8)) for stream in range(first, first + 200, 2)))
                        sent[index] += 100

        attackers = [threading.Thread(target=attack, args=[index]) for index in range(len(sent))]
        for attacker in attackers:
            attacker.start()
        answered = 0
        while time.monotonic() < end:
            ftd.stub.ListJobs(api.ListJobsRequest(), timeout=20)
            answered += 1
            most = max(most, resident(ftd) - before)
        for attacker in attackers:
            attacker.join()
        print(f"{sum(sent)} streams reset, {answered} calls answered, at most {most >> 20} MiB more\n{ftd.log()}")
        assert sum(sent) > 5000 and answered > 0 and most < 1536 * MIB

        def accepts():
            with contextlib.suppress(grpc.RpcError), grpc.insecure_channel(tcp_address(ftd)) as channel:
                return rpc.FineTuningStub(channel).ListJobs(api.ListJobsRequest(), timeout=5) is not None

        wait_until(accepts, "TCP to be served again", 60)


def test_what_honest_clients_do_is_no_abuse(tmp_path):
    """A large upload, and many streams on one connection, for longer than connections are looked at."""
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(b'{"text": "' + b"x" * 4000 + b'"}\n')
    rows.write_bytes(rows.read_bytes() * 50_000)  # 200 MB
    ftd = fake_ftd("steps=1000000 step_ms=20", start=False)
    ftd.args += ["--listen", "127.0.0.1:0"]
    with ftd.start():
        job = submit(ftd)
        done = ftd.ftctl("--address", tcp_address(ftd), "submit", "--quiet", "--mode", "lora", "--model", ftd.model, "--dataset", rows)
        assert done.returncode == 0, done.stderr
        with grpc.insecure_channel(tcp_address(ftd)) as channel:
            stub = rpc.FineTuningStub(channel)
            watches = [stub.WatchJob(api.WatchJobRequest(job=job.id)) for _ in range(200)]
            for watch in watches:
                next(watch)
            wait_until(lambda: ftd.job(job.id).last_step.step > 100, "some steps")
            for watch in watches:
                next(watch)
                watch.cancel()
        assert "closed the connection" not in ftd.log()
