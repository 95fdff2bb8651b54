"""A results directory that cannot be written, and a disk that is full.

Root can write anything, so the file system itself has to refuse: ftd runs where its state directory is a small tmpfs.
"""
import os
import subprocess

from conftest import error_of, submit, submit_args
from ftd_fixture import Ftd, alpaca_rows
from mounts import namespace
from tiny_model import make_tiny_llama


class MountedFtd(Ftd):
    """ftd whose state directory is a tmpfs of `megabytes`."""

    def __init__(self, megabytes):
        self.megabytes = megabytes
        super().__init__(start=False)
        self.state_dir.mkdir()

    def command(self):
        mount = f"mount -t tmpfs -o size={self.megabytes}m none {self.state_dir} && exec \"$@\""
        return [*namespace(), "sh", "-c", mount, "sh", *super().command()]

    def inside(self, script):
        """Runs a shell script where the daemon's mounts are."""
        if not namespace():
            return subprocess.run(["sh", "-ec", script], check=True, capture_output=True, text=True).stdout
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        enter = ["nsenter", "--target", str(self.process.pid), "--mount", *user]
        return subprocess.run([*enter, "sh", "-ec", script], check=True, capture_output=True, text=True).stdout

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        if not namespace():
            subprocess.run(["umount", "-l", str(self.state_dir)], check=False, stderr=subprocess.DEVNULL)
        super().close()


def failure(job):
    return job.DESCRIPTOR.fields_by_name["failure_reason"].enum_type.values_by_number[job.failure_reason].name


def test_read_only_results_directory(model, dataset):
    with MountedFtd(64) as ftd:
        ftd.start()
        results = ftd.state_dir / "results"
        ftd.inside(f"mount --bind {results} {results} && mount -o remount,bind,ro {results}")
        code, info, _, message = error_of(lambda: ftd.submit(model=model, rows=alpaca_rows(2), max_steps=1))
        assert (code, info.reason) == ("FAILED_PRECONDITION", "PATH_NOT_WRITABLE")
        done = ftd.ftctl(*submit_args(model, dataset, max_steps=1), check=False)
        assert done.returncode == 73
        assert str(results) in message and str(results) in done.stderr
        ftd.inside(f"umount {results}")
        ftd.wait(submit(ftd, model, dataset, max_steps=1), "SUCCEEDED")


def test_disk_full_while_training(model, dataset, tmp_path):
    """The checkpoint of a model that is too big for the disk fails the job, leaves no debris, and the next one runs."""
    big = make_tiny_llama(tmp_path / "big", hidden=256, intermediate=1024, layers=4, vocab_size=2000)
    with MountedFtd(24) as ftd:
        ftd.start()
        full = ftd.wait(submit(ftd, big, dataset, mode="full", max_steps=3, save_steps=1), "FAILED")
        assert failure(full) == "DISK_FULL" and full.hint
        assert "checkpoint" in full.message or "No space left" in full.message
        assert ".tmp" not in ftd.inside(f"find {ftd.state_dir}/jobs -name '*tmp*'")
        ftd.wait(submit(ftd, model, dataset, max_steps=2), "SUCCEEDED")
