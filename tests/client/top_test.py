"""top: the screen, one snapshot, JSON, its exit codes, and what breaks on the way."""

import json
import os
import re
import signal
import threading

import pytest

from fake_ftd import FakeFtd, fail, make_job
from ftd_fixture import DEADLINE_S, api, jobs
from output_test import agrees, protobuf_json
from watch_test import BREAKS, Screen


def snapshot(*queued, running=None, **fields):
    message = api.WatchQueueResponse(device="cpu", queued_total=len(queued), **fields)
    message.time.FromJsonString("2026-11-22T17:40:00Z")
    for i, name in enumerate(queued):
        message.queued.add(id=f"ft-{i}", name=name, state=jobs.Job.QUEUED, position=i + 1,
                           spec=jobs.JobSpec(mode=jobs.JobSpec.LORA, model="/models/tiny")).create_time.FromJsonString(
                               "2026-11-22T17:39:00Z")
    if running:
        job = make_job(last_step=jobs.StepMetrics(step=5, loss=1.5, tokens_per_second=412))
        job.name = running
        message.running.add(job=job, eta_seconds=10)
    return message


class Queue:
    """WatchQueue: each call plays `streams` of snapshots, the last of them always; then it hangs until the client goes,
    or does what `ends` says."""

    def __init__(self, *streams, ends=None):
        self.streams, self.ends, self.calls = list(streams), ends or {}, 0
        self.hangs = threading.Event()

    def watch(self, request, context):
        call, self.calls = self.calls, self.calls + 1
        yield from self.streams[min(call, len(self.streams) - 1)]
        if call in self.ends:
            self.ends[call](context)
            return
        gone = threading.Event()
        if not context.add_callback(gone.set):
            gone.set()
        self.hangs.set()
        gone.wait(DEADLINE_S)

    def ftd(self):
        return FakeFtd(WatchQueue=self.watch)


def last_picture(text):
    return text[text.rfind("\x1b[?1049l"):]


@pytest.mark.parametrize("args", [[], ["--once"]])
def test_one_snapshot_into_a_pipe(args):
    with Queue([snapshot("second", "third", running="first")]).ftd() as fake:
        result = fake.ftctl("top", *args, env={"TZ": "UTC"})
        assert result.returncode == 0 and result.stderr == ""
        assert result.stdout.splitlines() == [
            "1 running, 2 queued   2026-11-22 17:40:00",
            "CPU",
            "",
            "first   RUNNING   lora on tiny",
            "▕██████████████████████████████                              ▏ step 5/10  50%  ETA 10s",
            "loss 1.5000   412 tok/s",
            "",
            "queued",
            "1  second  1m00s  lora on tiny",
            "2  third   1m00s  lora on tiny",
        ]


def test_once_on_a_terminal_is_as_wide_as_it_and_leaves_it_alone():
    names = [f"job-{i}" for i in range(40)]
    with Queue([snapshot(*names, running="first")]).ftd() as fake:
        screen = Screen(fake, "top", "--once", columns=40, rows=10)
        assert screen.finish() == 0
        assert "\x1b[?1049h" not in screen.output and "job-39" in screen.output
        lines = re.sub(r"\x1b\[[0-9;]*m", "", screen.output).splitlines()
        assert max(map(len, lines)) == 40


@pytest.mark.parametrize("flags", [["--json"], ["-o", "json"]])
def test_one_snapshot_as_json(flags):
    message = snapshot("second", running="first", held_total=3)
    message.gpus.add(index=1, name="NVIDIA GB10", utilization_ratio=0.25)
    with Queue([message]).ftd() as fake:
        result = fake.ftctl("top", "--once", *flags)
        line, = result.stdout.splitlines()
        ours = json.loads(line)
        assert agrees(ours, protobuf_json(message))
        assert list(ours) == [field.name for field in api.WatchQueueResponse.DESCRIPTOR.fields]
        assert ours["gpus"][0]["memory_used_bytes"] is None and ours["running"][0]["eta_seconds"] == 10


def test_json_is_an_object_a_line_until_ctrl_c():
    with Queue([snapshot(), snapshot("a"), snapshot("a", "b")]).ftd() as fake:
        process = fake.popen("top", "--json")
        seen = [json.loads(process.stdout.readline())["queued_total"] for _ in range(3)]
        assert seen == [0, 1, 2]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 130 and out == "" and err == ""


def test_the_interval_is_sent():
    with Queue([snapshot()]).ftd() as fake:
        fake.ftctl("top", "--once", "--interval", "7")
        fake.ftctl("top", "--once")
        assert [request.interval_seconds for request in fake.calls("WatchQueue")] == [7, 0]


@pytest.mark.parametrize("code, reason, exit_code", [
    ("INVALID_ARGUMENT", "FIELD_INVALID", 65), ("RESOURCE_EXHAUSTED", "TOO_MANY_WATCHERS", 75),
    ("UNAUTHENTICATED", "TOKEN_INVALID", 77), ("UNIMPLEMENTED", None, 69), ("INTERNAL", "INTERNAL", 70)])
@pytest.mark.parametrize("args", [["--once"], ["--json"]])
def test_an_answer_that_stands_is_the_exit_code(args, code, reason, exit_code):
    with FakeFtd(WatchQueue=lambda request, context: fail(context, code, reason, "so it is")) as fake:
        result = fake.ftctl("top", *args)
        assert result.returncode == exit_code and "so it is" in result.stderr and result.stdout == ""


def test_without_ftd_it_says_so_at_once():
    with Queue([snapshot()]).ftd() as fake:
        fake.stop()
        fake.socket.unlink(missing_ok=True)
        for args in ["--once"], ["--json"]:
            result = fake.ftctl("top", *args)
            assert result.returncode == 69 and "no ftd answers" in result.stderr
        assert Screen(fake, "top").finish() == 69


@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_stream_is_opened_again(how):
    # The first call is the one that looks whether ftd serves.
    queue = Queue([snapshot()], [snapshot("a")], [snapshot("a", "b")], ends={1: BREAKS[how]})
    with queue.ftd() as fake:
        process = fake.popen("top", "--json")
        assert [json.loads(process.stdout.readline())["queued_total"] for _ in range(2)] == [1, 2]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 130
        assert err.startswith("lost contact to ftd") and err.endswith("in contact again\n") and err.count("contact") == 2


def test_an_answer_that_stands_ends_a_live_view_too():
    queue = Queue([snapshot()], [snapshot("a")],
                  ends={1: lambda context: fail(context, "UNAUTHENTICATED", "TOKEN_INVALID", "revoked")})
    with queue.ftd() as fake:
        result = fake.ftctl("top", "--json")
        assert result.returncode == 77 and "revoked" in result.stderr


@pytest.mark.parametrize("leave, exit_code", [
    (lambda screen: os.write(screen.master, b"xq"), 0), (lambda screen: os.write(screen.master, b"\x03"), 130),
    (lambda screen: screen.process.send_signal(signal.SIGTERM), 143),
    (lambda screen: screen.process.send_signal(signal.SIGHUP), 129)], ids=["q", "ctrl-c", "SIGTERM", "SIGHUP"])
def test_the_screen_and_every_way_to_leave_it(leave, exit_code):
    with Queue([snapshot("second", running="first")]).ftd() as fake:
        screen = Screen(fake, "top")
        frame = screen.read_until("q leaves.*\x1b\\[J")
        assert "step 5/10  50%  ETA 10s" in frame and "second" in frame and "1970" not in frame
        leave(screen)
        assert screen.finish() == exit_code
        assert screen.restored()
        assert "second" in last_picture(screen.output), "the last picture stays"


def test_the_screen_follows_the_windows_size():
    with Queue([snapshot(*(f"job-{i}" for i in range(30)))]).ftd() as fake:
        screen = Screen(fake, "top")
        screen.read_until("job-14.*\x1b\\[J")
        screen.resize(30, 10)
        screen.process.send_signal(signal.SIGWINCH)
        screen.read_until("and 27 more.*\x1b\\[J")
        os.write(screen.master, b"q")
        assert screen.finish() == 0 and screen.restored()


@pytest.mark.parametrize("env, colour, ascii", [({}, True, False), ({"NO_COLOR": "1"}, False, False), ({"LC_ALL": "C"}, True, True)])
def test_the_screen_honours_no_color_and_the_locale(env, colour, ascii):
    with Queue([snapshot("second", running="first")]).ftd() as fake:
        screen = Screen(fake, "top", env=env)
        frame = screen.read_until("q leaves.*\x1b\\[J")
        os.write(screen.master, b"q")
        screen.finish()
        assert ("\x1b[36m" in frame) == colour and frame.isascii() == ascii


def test_the_screen_shows_a_restart_and_goes_on():
    with Queue([snapshot("second")]).ftd() as fake:
        screen = Screen(fake, "top")
        screen.read_until("second.*\x1b\\[J")
        fake.stop()
        screen.read_until("no contact to ftd.*\x1b\\[J")
        fake.socket.unlink(missing_ok=True)
        fake.handlers["WatchQueue"] = Queue([snapshot("third")]).watch
        fake.start()
        frame = screen.read_until("third.*\x1b\\[J")
        assert "no contact" not in frame[frame.rfind("\x1b[H"):]
        os.write(screen.master, b"q")
        assert screen.finish() == 0 and screen.restored()


def test_names_that_would_steer_the_terminal():
    with Queue([snapshot("\x1b[2Jsecond\x07", "日本語", running="\x1b]0;x\x07")]).ftd() as fake:
        out = fake.ftctl("top").stdout
        assert "\x1b" not in out and "\x07" not in out
        assert "1  ?[2Jsecond?  1m00s" in out and "2  日本語       1m00s" in out


def test_a_dumb_terminal_gets_one_snapshot():
    with Queue([snapshot("second")]).ftd() as fake:
        screen = Screen(fake, "top", env={"TERM": "dumb"})
        assert screen.finish() == 0
        assert "second" in screen.output and "\x1b" not in screen.output
