"""run: a private ftd for one job. With a scripted ftd for everything that can go wrong, and with the real one."""

import os
import pathlib
import shutil
import signal
import stat
import subprocess
import sys

import pytest

from fake_ftd import wait_for
from ftd_fixture import BIN, DEADLINE_S

HERE = pathlib.Path(__file__).resolve().parent

# Takes ftd's place beside a copy of ftctl. $FAKE_PLOT says what happens; ends at SIGTERM, and tells in $FAKE_DIARY.
FAKE_DAEMON = f"""#!{sys.executable}
import os, signal, sys, threading
sys.path[:0] = [{str(HERE)!r}, {str(HERE.parent / "support")!r}]
diary = open(os.environ["FAKE_DIARY"], "a", buffering=1)
args = dict(zip(sys.argv[1::2], sys.argv[2::2]))
print("args", args, file=diary)
plot = os.environ["FAKE_PLOT"]
if plot == "dies":
    sys.exit("the state directory is haunted")
from fake_ftd import FakeFtd, Script, change, fail, jobs, step, api
cancelled = threading.Event()
# Blocked here, in every thread to come, and waited for below: a Python handler can miss a signal that comes while the
# main thread is on its way into a wait.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
job = jobs.Job(id="ft-1", state=jobs.Job.RUNNING, spec=jobs.JobSpec(model="/m/tiny"))
if plot == "resumes":
    job.state = jobs.Job.PAUSED
reason = dict(crashes=jobs.WORKER_CRASHED, fails=jobs.DATASET_INVALID).get(plot, 0)
script = Script(job, [step(1), change("FAILED" if reason else "SUCCEEDED", failure_reason=reason, message="it broke", hint="mend it")])

def watch(request, context):
    if plot not in ("hangs", "deaf", "early", "waits"):
        yield from script.watch(request, context)
        return
    yield script.events[0]
    cancelled.wait(60)

def get(request, context):
    return job if plot in ("hangs", "deaf", "early", "waits") else script.get(request, context)

def pause(request, context):
    print("PauseJob", file=diary)
    if plot == "waits":
        fail(context, "FAILED_PRECONDITION", "STATE_CONFLICT", "it waits for its turn")
    if plot != "early":
        job.checkpoints.add(step=7)
    if plot != "deaf":
        job.state = jobs.Job.PAUSED
    return job

def list_jobs(request, context):
    return api.ListJobsResponse(jobs=[] if plot == "empty" else [jobs.Job(id="ft-2", state=jobs.Job.FAILED), job])

def resume(request, context):
    print("ResumeJob", file=diary)
    job.state = jobs.Job.RUNNING
    return job

def download(request, context):
    import hashlib
    if plot == "lost":
        fail(context, "DATA_LOSS", "RESULT_CHANGED", "the result changed")
    yield api.DownloadResultResponse(file=dict(path="adapter_model.safetensors", size_bytes=1))
    yield api.DownloadResultResponse(data=b"x")
    yield api.DownloadResultResponse(sha256=hashlib.sha256(b"x").hexdigest())

def tail(request, context):
    yield api.TailLogResponse(data=b"last words\\n")

def submit(request, context):
    print("SubmitJob", file=diary)
    if plot == "refuses":
        fail(context, "NOT_FOUND", "MODEL_NOT_FOUND", "no model")
    return job

with FakeFtd(args["--listen"], SubmitJob=submit, GetJob=get, WatchJob=watch, PauseJob=pause, ResumeJob=resume,
             ListJobs=list_jobs, DownloadResult=download, TailLog=tail):
    if signal.sigtimedwait([signal.SIGTERM], 120):
        print("SIGTERM", file=diary)
    cancelled.set()
"""


class Playground:
    def __init__(self, root: pathlib.Path):
        self.root = root
        self.bin = root / "bin"
        self.cwd = root / "cwd"
        self.cache = root / "cache"
        self.diary = root / "diary"
        for directory in (self.bin, self.cwd, self.cache):
            directory.mkdir()
        shutil.copy(BIN / "ftctl", self.bin / "ftctl")
        self.rows = root / "rows.jsonl"
        self.rows.write_text('{"text": "one"}\n')

    def use_fake(self) -> "Playground":
        (self.bin / "ftd").write_text(FAKE_DAEMON)
        (self.bin / "ftd").chmod(stat.S_IRWXU)
        return self

    def popen(self, plot, *flags, env=None, first=None) -> subprocess.Popen:
        """`ftctl run`, with the flags of a first run unless `first` replaces them."""
        first = ["--mode", "lora", "--model", "tiny", "--dataset", self.rows] if first is None else first
        full = {**os.environ, "FAKE_PLOT": plot, "FAKE_DIARY": str(self.diary), "XDG_CACHE_HOME": str(self.cache),
                "TMPDIR": str(self.root), **(env or {})}
        return subprocess.Popen([self.bin / "ftctl", "run", *map(str, [*first, *flags])], cwd=self.cwd, env=full, text=True, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, plot, *flags, env=None, first=None):
        process = self.popen(plot, *flags, env=env, first=first)
        out, err = process.communicate(timeout=DEADLINE_S)
        return process.returncode, out, err

    def told(self) -> str:
        return self.diary.read_text() if self.diary.exists() else ""

    def daemons(self) -> list:
        """Living processes that were started as this playground's ftd."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if str(self.bin / "ftd").encode() in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
                except OSError:
                    pass
        return found

    def nothing_left(self) -> bool:
        return not self.daemons() and list(self.cache.rglob("run-*")) == []


@pytest.fixture
def ground(tmp_path):
    return Playground(tmp_path).use_fake()


def test_success_brings_the_result_and_leaves_nothing(ground):
    code, out, err = ground.run("succeeds")
    assert code == 0, err
    assert (ground.cwd / "tiny-result" / "adapter_model.safetensors").read_bytes() == b"x"
    assert "state SUCCEEDED" in out and "The result is in ./tiny-result" in err
    assert "SIGTERM" in ground.told() and ground.nothing_left()


@pytest.mark.parametrize("flags, directory", [(["--name", "first"], "first-result"), (["--output-dir", "deep/out"], "deep/out"),
                                              (["--output_dir=out"], "out")])
def test_where_the_result_goes(ground, flags, directory):
    code, _, err = ground.run("succeeds", *flags)
    assert code == 0, err
    assert (ground.cwd / directory / "adapter_model.safetensors").exists()


def test_output_directory_is_judged_before_anything_starts(ground):
    (ground.cwd / "out").mkdir()
    (ground.cwd / "out" / "mine").write_text("")
    code, _, err = ground.run("succeeds", "--output-dir", "out")
    assert code == 73 and "exists already" in err and ground.told() == ""


@pytest.mark.parametrize("plot, reason", [("fails", "DATASET_INVALID"), ("crashes", "WORKER_CRASHED")])
def test_failure_is_told_once_and_a_crash_with_the_workers_last_lines(ground, plot, reason):
    code, out, err = ground.run(plot)
    assert code == 100 and (out + err).count("it broke") == 1 and f"failed: {reason}: it broke\nWhat to do: mend it" in err
    assert ("last words" in err) == (plot == "crashes") and out.endswith(f"state FAILED  {reason}\n")
    assert ground.nothing_left() and list(ground.cwd.iterdir()) == []


def test_refused_submit(ground):
    code, _, err = ground.run("refuses")
    assert code == 66 and "no model" in err and ground.nothing_left()


def test_daemon_that_does_not_start_shows_its_log(ground):
    code, _, err = ground.run("dies")
    assert code == 69 and "the state directory is haunted" in err and ground.nothing_left()


def test_missing_daemon(ground):
    (ground.bin / "ftd").unlink()
    code, _, err = ground.run("succeeds")
    assert code == 69 and "no ftd beside ftctl" in err and ground.nothing_left()


def test_missing_dataset(ground):
    ground.rows.unlink()
    code, _, err = ground.run("succeeds")
    assert code == 66 and "does not exist" in err and ground.nothing_left()


def interrupted(ground, plot, *numbers):
    """A run after signals: exit code and stderr."""
    process = ground.popen(plot, "--output-dir", "out")
    assert process.stdout.readline() == "state RUNNING\n"
    process.send_signal(numbers[0])
    for number in numbers[1:]:
        wait_for(lambda: "PauseJob" in ground.told())
        process.send_signal(number)
    _, err = process.communicate(timeout=DEADLINE_S)
    return process.returncode, err


@pytest.mark.parametrize("number, exit_code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupt_saves_and_says_how_to_continue(ground, number, exit_code):
    code, err = interrupted(ground, "hangs", number)
    assert code == exit_code and "checkpoint after step 7 is kept" in err
    told = ground.told()
    assert told.index("PauseJob") < told.index("SIGTERM"), "the checkpoint is written while its ftd lives"
    [kept] = ground.cache.rglob("run-*")
    assert f"  ftctl run --resume {kept}\n" in err and not ground.daemons()

    (kept / "ftd.db").touch()  # the real one is the daemon's
    code, _, err = ground.run("resumes", "--resume", kept, first=[])
    assert code == 0, err
    assert "ResumeJob" in ground.told()
    assert (ground.cwd / "out" / "adapter_model.safetensors").exists() and ground.nothing_left()


def test_a_second_interrupt_does_not_wait(ground):
    code, err = interrupted(ground, "deaf", signal.SIGINT, signal.SIGINT)
    assert code == 130 and "checkpoint after step 7 is kept" in err and not ground.daemons()


@pytest.mark.parametrize("plot", ["early", "waits"])
def test_interrupt_before_the_first_checkpoint_leaves_nothing(ground, plot):
    code, err = interrupted(ground, plot, signal.SIGINT)
    assert code == 130 and "nothing was kept" in err and ground.nothing_left()


def test_a_result_that_cannot_be_brought_home_is_not_lost(ground):
    code, _, err = ground.run("lost")
    [kept] = ground.cache.rglob("run-*")
    assert code != 0 and "the result changed" in err and f"ftctl run --resume {kept}" in err


@pytest.mark.parametrize("flags, exit_code, words", [
    (["--resume", "nowhere"], 102, "there is no run in nowhere"), (["--resume", "nowhere", "--lr", "1"], 2, "--lr"),
    (["--resume"], 2, "--resume")])
def test_what_cannot_be_resumed(ground, flags, exit_code, words):
    code, _, err = ground.run("resumes", *flags, first=[])
    assert code == exit_code and words in err, err


def test_an_empty_state_directory_is_left_alone(ground):
    (ground.cwd / "state").mkdir()
    (ground.cwd / "state" / "ftd.db").write_text("")
    code, _, err = ground.run("empty", "--resume", "state", first=[])
    assert code == 102 and "no run was left" in err and (ground.cwd / "state" / "ftd.db").exists()


def test_kill_of_ftctl_takes_the_private_ftd_along(ground):
    process = ground.popen("hangs")
    assert process.stdout.readline() == "state RUNNING\n"
    process.kill()
    process.communicate(timeout=DEADLINE_S)
    wait_for(lambda: not ground.daemons())
    assert "SIGTERM" in ground.told()


def test_a_reader_that_goes_away_leaves_nothing_either(ground):
    process = ground.popen("succeeds")
    process.stdout.close()
    process.stderr.read()
    process.wait(DEADLINE_S)
    assert ground.nothing_left()


def test_state_dir_is_kept_and_named(ground):
    code, _, err = ground.run("succeeds", "--state-dir", "state")
    assert code == 0, err
    assert (ground.cwd / "state" / "ftd.log").exists() and str(ground.cwd / "state") in ground.told()
    assert ground.run("succeeds", "--state-dir", "state", "--output-dir", "again")[0] == 0, "and used again"


def test_a_long_cache_path_does_not_break_the_socket(ground):
    cache = ground.root / ("deep" * 30)
    cache.mkdir()
    code, _, err = ground.run("succeeds", env={"XDG_CACHE_HOME": str(cache)})
    assert code == 0, err
    assert list(cache.rglob("run-*")) == [] and ground.nothing_left()
