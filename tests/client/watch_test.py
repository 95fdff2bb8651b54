"""watch and wait: what they print, the exit code of every outcome, and what breaks on the way."""

import fcntl
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time

import pytest
from google.protobuf import json_format

from fake_ftd import FakeFtd, Script, change, fail, make_job, step, wait_for
from ftd_fixture import BIN, DEADLINE_S, api, jobs

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
OUTCOMES = [("SUCCEEDED", 0), ("FAILED", 100), ("CANCELLED", 103)]


def play(script: Script, *args, **kwargs):
    with FakeFtd(**script.handlers()) as fake:
        result = fake.ftctl(*args, **kwargs)
        result.watches = [request.resume_token for request in fake.calls("WatchJob")]
        return result


def training(end="SUCCEEDED", **fields):
    return [change("PREPARING", attempt=1), change("RUNNING", attempt=1), *[step(i, 2 - i / 10) for i in range(1, 11)],
            change(end, **fields)]


def test_lines_into_a_pipe():
    events = training(result_dir="/results/first")
    events[6:6] = [api.WatchJobResponse(checkpoint=jobs.Checkpoint(step=4, size_bytes=1_500_000)),
                   api.WatchJobResponse(warning="3 rows were cut"),
                   api.WatchJobResponse(bookmark=api.WatchJobResponse.Bookmark())]
    result = play(Script(make_job("QUEUED", position=2, pending_reason=jobs.Job.GPU_BUSY), events), "watch", "first")
    assert result.returncode == 0
    # Every fifth step, as logging_steps says; 5 steps of 2 s are left after step 5.
    assert result.stdout.splitlines() == [
        "state QUEUED  position 2  another job has the device",
        "state PREPARING  attempt 1",
        "state RUNNING  attempt 1",
        "checkpoint step 4  1.5 MB",
        "warning 3 rows were cut",
        "step 5/10  loss 1.5000  grad_norm 0.83  lr 9.0e-05  412 tok/s  ETA 10s",
        "step 10/10  loss 1.0000  grad_norm 0.83  lr 9.0e-05  412 tok/s  ETA 0s",
        "state SUCCEEDED  result /results/first",
    ]
    assert "ftctl get first DIR" in result.stderr


def fenced(path, heading):
    """The first code block of a document after `heading`."""
    return re.search(r"```\n(.*?)```", (ROOT / path).read_text().split(heading, 1)[1], re.S)[1].splitlines()


def test_the_lines_of_the_documentation():
    """docs/cli.md shows one of each kind; they come in this order, with others between them."""
    losses = {10: 1.2345}
    events = [change("RUNNING", attempt=1), *[step(i, losses.get(i, 1.2), step_seconds=1.6) for i in range(1, 61)],
              change("SUCCEEDED", result_dir="/var/lib/ftd/results/first")]
    events[41:41] = [api.WatchJobResponse(evaluation=jobs.Evaluation(step=40, loss=1.3012, mean_token_accuracy=0.684, rows=50)),
                     api.WatchJobResponse(sample=jobs.GeneratedSample(step=40, prompt="Once upon a time", text="there was a fox"))]
    events[53:53] = [api.WatchJobResponse(checkpoint=jobs.Checkpoint(step=50, size_bytes=12_300_000)),
                     api.WatchJobResponse(warning="3 of 40 rows (7.5%) were cut to --seq-length 96; the longest has 412 tokens"),
                     api.WatchJobResponse(rolled_back_to_step=50)]
    events[-2].collapsed = 9
    job = make_job("PREPARING", spec=jobs.JobSpec(mode=jobs.JobSpec.LORA, model="/models/tiny", max_steps=60, logging_steps=10))
    printed = iter(play(Script(job, events), "watch", "first").stdout.splitlines())
    shown = fenced("docs/cli.md", "## Output of watch in a pipe")
    assert len(shown) == 9 and [line for line in shown if line not in printed] == []


@pytest.mark.parametrize("verb", ["watch", "wait"])
@pytest.mark.parametrize("end, exit_code", OUTCOMES)
def test_outcome_is_the_exit_code(verb, end, exit_code):
    script = Script(make_job(), training(end, message="loss is nan", hint="lower the learning rate",
                                         failure_reason=jobs.LOSS_DIVERGED if end == "FAILED" else 0))
    result = play(script, verb, "first")
    assert result.returncode == exit_code
    if end == "FAILED":
        assert "LOSS_DIVERGED: loss is nan" in result.stderr and "lower the learning rate" in result.stderr
    if verb == "wait":
        assert result.stdout == ""


@pytest.mark.parametrize("verb", ["watch", "wait"])
@pytest.mark.parametrize("end, exit_code", OUTCOMES)
def test_job_that_has_ended_already(verb, end, exit_code):
    assert play(Script(make_job(end), []), verb, "first").returncode == exit_code


@pytest.mark.parametrize("verb", ["watch", "wait"])
def test_unknown_job_is_102(verb):
    with FakeFtd(GetJob=lambda request, context: fail(context, "NOT_FOUND", "JOB_NOT_FOUND", "no job first")) as fake:
        result = fake.ftctl(verb, "first")
        assert result.returncode == 102 and result.stderr == "ftctl: no job first\n"


BREAKS = {
    "unavailable": lambda context: fail(context, "UNAVAILABLE", message="socket closed"),
    "shutting down": lambda context: fail(context, "UNAVAILABLE", "DRAINING", "shutting down", retry_ms=1),
    "ok too early": lambda context: None,
    "cancelled": lambda context: fail(context, "CANCELLED"),
    "unknown": lambda context: fail(context, "UNKNOWN"),
    "reset": lambda context: fail(context, "INTERNAL", message="Received RST_STREAM with error code 2"),
}


@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("at", [1, 5, 13])
def test_broken_stream_goes_on_where_it_was(how, at):
    unbroken = play(Script(make_job(), training()), "watch", "first")
    broken = play(Script(make_job(), training(), {at: BREAKS[how]}), "watch", "first")
    assert broken.returncode == 0
    assert broken.stdout == unbroken.stdout, "no line lost, none twice"
    assert broken.watches == ["", str(at)]


def test_break_after_the_last_event_still_gives_the_outcome():
    events = training("FAILED")
    script = Script(make_job(), events)

    def watch(request, context):
        yield from script.watch(request, context)
        if not request.resume_token:
            fail(context, "UNAVAILABLE", message="too early")

    with FakeFtd(GetJob=script.get, WatchJob=watch) as fake:
        assert fake.ftctl("watch", "first").returncode == 100


@pytest.mark.parametrize("code, reason, exit_code", [
    ("NOT_FOUND", "JOB_NOT_FOUND", 102), ("INVALID_ARGUMENT", "FIELD_INVALID", 65), ("INTERNAL", "INTERNAL", 70),
    ("PERMISSION_DENIED", "NOT_OWNER", 77), ("RESOURCE_EXHAUSTED", "TOO_MANY_WATCHERS", 75),
    ("UNIMPLEMENTED", "MODE_UNSUPPORTED", 69),
])
@pytest.mark.parametrize("verb", ["watch", "wait"])
def test_an_answer_that_stands_ends_it_and_never_with_0(verb, code, reason, exit_code):
    script = Script(make_job(), training(), {5: lambda context: fail(context, code, reason, "so it is")})
    result = play(script, verb, "first")
    assert result.returncode == exit_code and "ftctl: so it is" in result.stderr


@pytest.mark.parametrize("verb", ["watch", "wait"])
def test_server_that_restarts(verb):
    reached, go_on = threading.Event(), threading.Event()

    def pause(context):
        reached.set()
        go_on.wait(DEADLINE_S)
        fail(context, "UNAVAILABLE", message="gone")

    script = Script(make_job(), training(), {6: pause})
    with FakeFtd(**script.handlers()) as fake:
        process = fake.popen(verb, "first")
        assert reached.wait(DEADLINE_S)
        go_on.set()
        fake.stop()
        fake.socket.unlink(missing_ok=True)
        fake.start()
        out, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, err
        assert [request.resume_token for request in fake.calls("WatchJob")][-1] == "6"
        if verb == "watch":
            assert "lost contact" in err and "in contact again" in err
            assert out == play(Script(make_job(), training()), "watch", "first").stdout


def test_a_rollback_is_reported():
    events = [change("RUNNING", attempt=1), step(5), step(10), api.WatchJobResponse(rolled_back_to_step=4),
              change("RUNNING", attempt=2), step(5), change("SUCCEEDED")]
    lines = play(Script(make_job(), events), "watch", "first").stdout.splitlines()
    assert "rolled back to step 4; later steps are repeated" in lines
    assert "state RUNNING  attempt 2" in lines


def hanging(events):
    """A script whose stream stays open behind `events` until the client goes."""
    hangs, gone = threading.Event(), threading.Event()

    def hang(context):
        if not context.add_callback(gone.set):  # the client has gone already
            gone.set()
        hangs.set()
        gone.wait(DEADLINE_S)

    script = Script(make_job(), [*events, change("SUCCEEDED")], {len(events) + 1: hang})
    script.hangs = hangs
    script.gone = gone
    return script


@pytest.mark.parametrize("timeout", ["0", "0.3", "-1"])
def test_wait_gives_up_in_time(timeout):
    script = hanging([step(1)])
    start = time.monotonic()
    result = play(script, "wait", "first", "--timeout", timeout)
    assert result.returncode == 101 and "has not finished; it is RUNNING" in result.stderr
    assert time.monotonic() - start < 5 and "()" not in result.stderr
    assert timeout != "0.3" or script.gone.wait(DEADLINE_S)


def test_wait_with_a_long_timeout_sees_the_end():
    assert play(Script(make_job(), training()), "wait", "first", "--timeout", "1e300").returncode == 0


@pytest.mark.parametrize("verb", ["watch", "wait"])
def test_ctrl_c_is_130_and_cancels_nothing(verb):
    script = hanging([step(5)])
    with FakeFtd(**script.handlers()) as fake:
        process = fake.popen(verb, "first")
        if verb == "watch":
            assert process.stdout.readline() and process.stdout.readline()
        # gRPC asks no more of a stream whose client has gone: the hang must have begun, or nobody would see it.
        assert script.hangs.wait(DEADLINE_S)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 130
        assert "ftctl cancel first" in err and fake.calls("CancelJob") == []
        assert script.gone.wait(DEADLINE_S), "the stream was closed"


class Screen:
    """ftctl on a pseudo-terminal."""

    def __init__(self, fake, *args, columns=80, rows=24, env=None):
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(slave)
        # The shell leads a session without a terminal, so the first one that it opens becomes its own.
        self.process = subprocess.Popen(["sh", "-c", 'exec "$@" <"$TTY" >"$TTY" 2>&1', "sh", str(BIN / "ftctl"), *args],
                                        env=fake.environment({"TERM": "xterm", "LANG": "C.UTF-8", "LC_ALL": "",
                                                              "TTY": os.ttyname(slave), **(env or {})}),
                                        start_new_session=True)
        self.slave = slave
        self.output = ""

    def resize(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read_until(self, pattern: str) -> str:
        """What came since the last call, up to where it holds `pattern`."""
        end = time.monotonic() + DEADLINE_S
        got = ""
        while not re.search(pattern, got, re.S):
            assert time.monotonic() < end, f"no {pattern!r} in {got!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                got += os.read(self.master, 65536).decode(errors="replace")
        self.output += got
        return got

    def finish(self) -> int:
        code = self.process.wait(DEADLINE_S)
        while select.select([self.master], [], [], 0.1)[0]:
            self.output += os.read(self.master, 65536).decode(errors="replace")
        return code

    def restored(self) -> bool:
        """Cursor shown, main screen back, keys as they were."""
        return (self.output.rfind("\x1b[?25h") > self.output.rfind("\x1b[?25l")
                and self.output.rfind("\x1b[?1049l") > self.output.rfind("\x1b[?1049h")
                and termios.tcgetattr(self.slave) == self.before)


@pytest.mark.parametrize("verb", ["watch", "wait"])
def test_ctrl_c_before_the_first_event_names_the_job(verb):
    called = threading.Event()

    def silent(request, context):
        called.set()
        while context.is_active():
            time.sleep(0.01)
        yield from ()

    with FakeFtd(GetJob=lambda request, context: make_job(), WatchJob=silent) as fake:
        process = fake.popen(verb, "first")
        assert called.wait(DEADLINE_S)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 130 and "ftctl cancel first" in err


def test_screen_shows_the_job_and_gives_the_terminal_back():
    with FakeFtd(**Script(make_job(), training(result_dir="/results/first")).handlers()) as fake:
        screen = Screen(fake, "watch", "first")
        assert screen.finish() == 0
        assert screen.restored()
        last = screen.output[screen.output.rfind("\x1b[?1049l"):]
        assert "step 10/10  100%" in last and "SUCCEEDED" in last and "/results/first" in last, "the last picture stays"


def test_the_screen_of_the_readme():
    """What ftctl makes of a recorded `./dev demo`: the events of its job, as WatchJob sent them."""
    events = [json_format.Parse(line, api.WatchJobResponse()) for line in (HERE / "demo_run.jsonl").read_text().splitlines()]
    script = Script(events[0].snapshot, events[1:])
    with FakeFtd(**script.handlers()) as fake:
        screen = Screen(fake, "watch", "fen", columns=100, rows=22, env={"NO_COLOR": "1"})
        assert screen.finish() == 0
    last = screen.output[screen.output.rfind("\x1b[?1049l") + len("\x1b[?1049l"):].splitlines()
    shown = fenced("README.md", "`ftctl watch` shows a live screen")
    assert [line.rstrip() for line in last][:len(shown)] == [line.rstrip() for line in shown]


@pytest.mark.parametrize("number, exit_code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129),
                                               (signal.SIGQUIT, 131)])
def test_screen_is_restored_on_every_signal(number, exit_code):
    with FakeFtd(**hanging([step(1), step(2)]).handlers()) as fake:
        screen = Screen(fake, "watch", "first")
        screen.read_until("step 2/10")
        assert termios.tcgetattr(screen.slave) != screen.before, "keys are not echoed meanwhile"
        screen.process.send_signal(number)
        assert screen.finish() == exit_code
        assert screen.restored() and "ftctl cancel first" in screen.output


def test_screen_follows_the_windows_size_and_ctrl_c_typed():
    with FakeFtd(**hanging([step(i, 3 - i / 10) for i in range(1, 6)]).handlers()) as fake:
        screen = Screen(fake, "watch", "first")
        screen.read_until("┤.*step .*\x1b\\[J")
        screen.resize(40, 8)
        screen.process.send_signal(signal.SIGWINCH)
        small = screen.read_until("\x1b\\[H.*\x1b\\[J.*\x1b\\[H.*\x1b\\[J")
        assert "┤" not in small[small.rfind("\x1b[H"):]
        os.write(screen.master, b"\x03")
        assert screen.finish() == 130 and screen.restored()


@pytest.mark.parametrize("env, colour, blocks", [({}, True, True), ({"NO_COLOR": "1"}, False, True),
                                                 ({"LC_ALL": "C"}, True, False)])
def test_screen_honours_no_color_and_the_locale(env, colour, blocks):
    with FakeFtd(**hanging([step(i, 3 - i / 10) for i in range(1, 6)]).handlers()) as fake:
        screen = Screen(fake, "watch", "first", env=env)
        frame = screen.read_until("step 5/10.*\x1b\\[J")
        screen.process.send_signal(signal.SIGINT)
        screen.finish()
        assert ("\x1b[36m" in frame) == colour
        assert ("█" in frame) == blocks and frame.isascii() != blocks


@pytest.mark.parametrize("device, shown", [("cuda", True), ("cpu", False)])
def test_screen_has_the_gpus_that_jobs_train_on(device, shown):
    def queue(request, context):
        yield api.WatchQueueResponse(device=device, gpus=[{"index": 0, "name": "NVIDIA H200", "utilization_ratio": 0.97}])
        while context.is_active():
            time.sleep(0.01)

    with FakeFtd(**hanging([step(1), step(2)]).handlers(), WatchQueue=queue) as fake:
        screen = Screen(fake, "watch", "first")
        if shown:
            screen.read_until("GPU 0.*NVIDIA H200.*97% busy")
        else:
            screen.read_until("step 2/10.*\x1b\\[J")
            wait_for(lambda: fake.calls("WatchQueue"))
            assert "GPU" not in screen.read_until("\x1b\\[J.*\x1b\\[J")
        screen.process.send_signal(signal.SIGINT)
        assert screen.finish() == 130


def test_dumb_terminal_gets_lines():
    with FakeFtd(**Script(make_job(), training()).handlers()) as fake:
        screen = Screen(fake, "watch", "first", env={"TERM": "dumb"})
        assert screen.finish() == 0
        assert "\x1b" not in screen.output and "state SUCCEEDED" in screen.output
