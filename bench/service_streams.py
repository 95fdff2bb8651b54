#!/usr/bin/env python3
"""What ftd's streams cost: a thousand watchers of one job, and queries of a million steps.

The load comes from plain HTTP/2 over the unix socket, written here, so that neither ftctl nor gRPC's client is measured
with the daemon; the steps come from the tests' fake worker. CPU is the daemon's own, from /proc. Needs build/bin/ftd and
build/tests/ftd_fake_worker, and an idle machine. Prints a Markdown table; the exit status is 1 if a figure misses its goal.
"""
import argparse
import multiprocessing
import os
import pathlib
import select
import socket
import statistics
import struct
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
from ftd_fixture import api, wait_until  # noqa: E402
from helpers import fake_ftd, submit  # noqa: E402

DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
MOST = 2**31 - 1
LEFT = 65535  # of the window that a connection has from the start


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def field(index: bytes, value: bytes) -> bytes:
    return index + bytes([len(value)]) + value


class Connection:
    """One HTTP/2 connection that calls a method again and again, one call at a time."""

    def __init__(self, path: pathlib.Path, method: str, request: bytes):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        settings = struct.pack(">HIHI", 4, MOST, 5, (1 << 24) - 1)
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, settings)
                            + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", MOST - LEFT)))
        # :method POST, :scheme http, :path, :authority, te, content-type; by the static table, nothing is indexed.
        self.headers = (b"\x83\x86" + field(b"\x04", b"/ftd.v1.FineTuning/" + method.encode()) + field(b"\x01", b"localhost")
                        + field(b"\x00" + field(b"", b"te"), b"trailers") + field(b"\x0f\x10", b"application/grpc"))
        self.body = struct.pack(">BI", 0, len(request)) + request
        self.stream, self.buffer, self.unacknowledged = -1, b"", 0
        self.messages = self.bytes = 0

    def call(self) -> None:
        self.stream += 2
        self.socket.sendall(frame(HEADERS, END_HEADERS, self.stream, self.headers)
                            + frame(DATA, END_STREAM, self.stream, self.body))

    def receive(self) -> bool:
        """Takes what has come; true at the end of the call."""
        data = self.socket.recv(1 << 20)
        if not data:
            raise RuntimeError("ftd closed a connection")
        self.buffer += data
        ended, at = False, 0
        while len(self.buffer) - at >= 9:
            size = int.from_bytes(self.buffer[at:at + 3], "big")
            if len(self.buffer) - at < 9 + size:
                break
            kind, flags = self.buffer[at + 3], self.buffer[at + 4]
            payload = self.buffer[at + 9:at + 9 + size]
            at += 9 + size
            if kind == DATA:
                self.messages += 1
                self.bytes += size
                self.unacknowledged += size
            if kind == SETTINGS and not flags & ACK:
                self.socket.sendall(frame(SETTINGS, ACK, 0))
            if kind == PING and not flags & ACK:
                self.socket.sendall(frame(PING, ACK, 0, payload))
            ended |= kind in (DATA, HEADERS) and bool(flags & END_STREAM)
        self.buffer = self.buffer[at:]
        if ended and self.unacknowledged > 0:
            self.socket.sendall(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self.unacknowledged)))
            self.unacknowledged = 0
        return ended

    def whole_call(self) -> float:
        """Seconds of one call."""
        start = time.perf_counter()
        self.call()
        while not self.receive():
            pass
        return time.perf_counter() - start


def serve(path: pathlib.Path, method: str, request: bytes, count: int, calls, messages, least) -> None:
    """Makes `count` calls at once, and each again when it has ended; counts ended calls, messages, and the fewest of one."""
    connections = {c.socket.fileno(): c for c in (Connection(path, method, request) for _ in range(count))}
    poll = select.epoll()
    for fd, connection in connections.items():
        poll.register(fd, select.EPOLLIN)
        connection.call()
    counted = time.monotonic()
    while True:
        for fd, _ in poll.poll(0.02):
            if connections[fd].receive():
                calls.value += 1
                connections[fd].call()
        if time.monotonic() - counted > 0.1:
            counts = [c.messages for c in connections.values()]
            messages.value, least.value, counted = sum(counts), min(counts), time.monotonic()


class Crowd:
    """Clients in a process of their own, until the crowd is left."""

    def __init__(self, *what):
        spawn = multiprocessing.get_context("spawn")
        self.calls, self.messages, self.least = (spawn.Value("q", 0) for _ in range(3))
        self.process = spawn.Process(target=serve, args=(*what, self.calls, self.messages, self.least), daemon=True)

    def __enter__(self):
        self.process.start()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.join()


def cpu_seconds(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def status_kib(pid: int, key: str) -> int:
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


class Table:
    def __init__(self):
        self.missed = False
        print("| what | measured | goal |\n| --- | --- | --- |", flush=True)

    def row(self, what: str, value: float, unit: str, goal: float | None = None) -> None:
        missed = goal is not None and value > goal
        self.missed |= missed
        wanted = "" if goal is None else f"≤ {goal:g} {unit}{' **missed**' if missed else ''}"
        print(f"| {what} | {value:.3g} {unit} | {wanted} |", flush=True)


def watchers(args, table: Table) -> None:
    with fake_ftd(f"steps=100000000 step_ms={1000 // args.rate}") as ftd:
        job, pid = submit(ftd), ftd.process.pid
        ftd.wait(job.id, "RUNNING")
        before = status_kib(pid, "VmRSS")
        request = api.WatchJobRequest(job=job.id).SerializeToString()
        with Crowd(ftd.socket, "WatchJob", request, args.watchers) as crowd:
            wait_until(lambda: crowd.least.value > 30, "all watchers to have caught up", 60)
            cpu, seen, start = cpu_seconds(pid), crowd.messages.value, time.monotonic()
            time.sleep(args.seconds)
            cpu, seen, took = cpu_seconds(pid) - cpu, crowd.messages.value - seen, time.monotonic() - start
            memory = (status_kib(pid, "VmRSS") - before) / args.watchers
        rate = seen / took / args.watchers
        what = f"{args.watchers} watchers × {args.rate} events/s"
        table.row(f"{what}: CPU of ftd", cpu / took * args.rate / rate, "cores", 0.4)
        table.row(f"{what}: events each was sent", rate, "1/s")
        table.row(f"{what}: memory each", memory, "KiB", 64)


def queries(args, table: Table) -> None:
    with fake_ftd(f"steps={args.steps} step_ms=0") as ftd:
        job = submit(ftd)
        ftd.wait(job.id, "SUCCEEDED", deadline_s=600)
        ftd.restart()
        pid = ftd.process.pid
        request = api.QueryMetricsRequest(job=job.id, max_points=args.points).SerializeToString()
        getter = Connection(ftd.socket, "GetJob", api.GetJobRequest(job=job.id).SerializeToString())
        getter.whole_call()  # what any first call takes is not the query's
        what = f"QueryMetrics, {args.steps:,} steps to {args.points:,}"
        before = status_kib(pid, "VmHWM")
        client = Connection(ftd.socket, "QueryMetrics", request)
        table.row(f"{what}: the first after a start of ftd", client.whole_call() * 1e3, "ms", 20)
        times = [client.whole_call() * 1e3 for _ in range(50)]
        table.row(f"{what}: median of 50", statistics.median(times), "ms", 20)
        table.row(f"{what}: memory of ftd", (status_kib(pid, "VmHWM") - before) / 1024, "MiB", 10)
        with Crowd(ftd.socket, "QueryMetrics", request, args.clients) as crowd:
            wait_until(lambda: crowd.calls.value > args.clients, "the queries to run", 60)
            times, end, calls = [], time.monotonic() + args.seconds, crowd.calls.value
            while time.monotonic() < end:
                times.append(getter.whole_call() * 1e3)
                time.sleep(0.005)
            rate = (crowd.calls.value - calls) / args.seconds
        table.row(f"GetJob while {args.clients} clients query: p50", statistics.median(times), "ms")
        table.row(f"GetJob while {args.clients} clients query: p99", statistics.quantiles(times, n=100)[98], "ms", 20)
        table.row(f"queries a second of {args.clients} clients", rate, "1/s")
        whole = Connection(ftd.socket, "QueryMetrics", api.QueryMetricsRequest(job=job.id).SerializeToString())
        before = status_kib(pid, "VmHWM")
        table.row(f"QueryMetrics, all of {args.steps:,} steps", whole.whole_call(), "s")
        table.row(f"QueryMetrics, all of {args.steps:,} steps: memory of ftd", (status_kib(pid, "VmHWM") - before) / 1024, "MiB")
        watch = Connection(ftd.socket, "WatchJob", api.WatchJobRequest(job=job.id).SerializeToString())
        seconds = watch.whole_call()
        table.row("WatchJob of the job that has ended: events a second", watch.messages / seconds, "1/s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--watchers", type=int, default=1000, help="of one job [1000]")
    parser.add_argument("--rate", type=int, default=10, help="steps a second [10]")
    parser.add_argument("--seconds", type=float, default=10, help="that each load is measured for [10]")
    parser.add_argument("--steps", type=int, default=1_000_000, help="of the job that is queried [1000000]")
    parser.add_argument("--points", type=int, default=1000, help="that a query asks for [1000]")
    parser.add_argument("--clients", type=int, default=16, help="that query at the same time [16]")
    parser.add_argument("--only", choices=["watchers", "queries"], help="one of the two [both]")
    args = parser.parse_args()
    table = Table()
    if args.only != "queries":
        watchers(args, table)
    if args.only != "watchers":
        queries(args, table)
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
