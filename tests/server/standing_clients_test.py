"""Clients that stand still: they read nothing, send nothing, and delay neither the end of the daemon nor its next start."""

import array
import contextlib
import fcntl
import signal
import socket
import struct
import termios
import time

from ftd_fixture import api, wait_until
from helpers import ROWS, fake_ftd, submit
from http2_abuse_test import END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, a_call, frame
from tcp_test import endpoint

DATA, WINDOW_UPDATE = 0, 8
HUGE_WINDOWS = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31 - 1)) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**31 - 1 - 65535))


def call(stream, method, message, last=True):
    body = message.SerializeToString()
    return frame(HEADERS, END_HEADERS, stream, a_call(method)) + frame(
        DATA, END_STREAM if last else 0, stream, struct.pack(">BI", 0, len(body)) + body)


def unread(sock):
    count = array.array("i", [0])
    fcntl.ioctl(sock, termios.FIONREAD, count)
    return count[0]


def wait_full(sock):
    """Until nothing more comes although there is more: the daemon waits in the middle of a write."""
    seen = [0, time.monotonic()]

    def full():
        if unread(sock) != seen[0]:
            seen[:] = [unread(sock), time.monotonic()]
        return seen[0] > 60_000 and time.monotonic() - seen[1] > 0.3

    wait_until(full, "a full socket buffer")


def connect(ftd, kind):
    if kind == "unix":
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(ftd.address.removeprefix("unix:"))
    else:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        sock.connect(endpoint(ftd))
    return sock


def standing(ftd, running, done):
    """What a client may leave behind: downloads and a watch unread, an upload unfinished, half a greeting, nothing."""
    sockets = []
    for kind in ("unix", "tcp"):
        download = connect(ftd, kind)
        download.sendall(PREFACE + HUGE_WINDOWS + b"".join(
            call(1 + 2 * i, b"DownloadResult", api.DownloadResultRequest(job=done)) for i in range(8)))
        watch = connect(ftd, kind)
        watch.sendall(PREFACE + frame(SETTINGS, 0, 0) + call(1, b"WatchJob", api.WatchJobRequest(job=running)))
        upload = connect(ftd, kind)
        header = {"sha256": "a" * 64, "size_bytes": 1 << 20}
        upload.sendall(PREFACE + frame(SETTINGS, 0, 0) + call(1, b"UploadFile", api.UploadFileRequest(header=header), last=False))
        half = connect(ftd, kind)
        half.sendall(PREFACE[:10])
        wait_full(download)
        sockets += [download, watch, upload, half, connect(ftd, kind)]
    host, port = ftd.stub.GetServerInfo(api.GetServerInfoRequest()).metrics_address.rsplit(":", 1)
    scrape = socket.create_connection((host, int(port)))
    scrape.sendall(b"GET /metrics HTTP/1.1\r\n")
    return [*sockets, scrape]


def test_clients_that_stand_still_delay_neither_a_restart_nor_the_end():
    """Without an end of theirs both took as long as the clients liked. The job that runs is adopted."""
    ftd = fake_ftd("steps=5", start=False)
    ftd.args += ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]
    with ftd.start():
        done = submit(ftd).id
        ftd.wait(done, "SUCCEEDED")
        ftd.env["FTD_FAKE_WORKER"] = "steps=100000000"
        ftd.restart()
        running = submit(ftd).id
        ftd.wait(running, "RUNNING")
        pid = ftd.worker_pid(running)
        with contextlib.ExitStack() as open_sockets:
            for sock in standing(ftd, running, done):
                open_sockets.enter_context(sock)
            before, begun = ftd.log().count(" serves "), time.monotonic()
            ftd.signal(signal.SIGHUP)
            wait_until(lambda: ftd.log().count(" serves ") > before, "the restart", 30)
            assert time.monotonic() - begun < 10
            assert ftd.stub.GetJob(api.GetJobRequest(job=running), wait_for_ready=True, timeout=30).attempts[-1].pid == pid
            for sock in standing(ftd, running, done):
                open_sockets.enter_context(sock)
            begun = time.monotonic()
            ftd.signal(signal.SIGTERM)
            assert ftd.process.wait(30) == 0
            assert time.monotonic() - begun < 15  # with the worker's own end


def test_a_hub_that_stands_still_delays_neither():
    """A submit and a pull that wait for it are given up; ftd keeps its process."""
    with socket.create_server(("127.0.0.1", 0)) as hub:
        hub.settimeout(30)
        ftd = fake_ftd("steps=100000000", start=False, env={
            "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": f"http://127.0.0.1:{hub.getsockname()[1]}"})
        with ftd.start():
            running = submit(ftd).id
            ftd.wait(running, "RUNNING")
            pid = ftd.worker_pid(running)
            for number, ended in ((signal.SIGHUP, lambda: ftd.log().count(" serves ") > 1), (signal.SIGTERM, lambda: ftd.process.poll() == 0)):
                spec = ftd.spec(model="own/er", rows=ROWS)
                calls = [ftd.stub.SubmitJob.future(api.SubmitJobRequest(spec=spec)), ftd.stub.PullModel(api.PullModelRequest(model="own/er"))]
                waiting = [hub.accept()[0] for _ in calls]
                begun = time.monotonic()
                ftd.signal(number)
                wait_until(ended, "the restart, or the end", 30)
                assert time.monotonic() - begun < 15
                for one in [*calls, *waiting]:
                    one.cancel() if one in calls else one.close()
                if number == signal.SIGHUP:
                    assert ftd.stub.GetJob(api.GetJobRequest(job=running), wait_for_ready=True, timeout=30).attempts[-1].pid == pid
