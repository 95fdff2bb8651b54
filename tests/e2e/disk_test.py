"""A results directory that cannot be written, and a disk that is full.

Root can write anything, so the file system itself has to refuse: ftd runs where its state directory is a small tmpfs.
"""
import contextlib

from conftest import error_of, submit, submit_args
from ftd_fixture import alpaca_rows, wait_until
from mounted_ftd import MountedFtd
from tiny_model import make_tiny_llama


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


def test_what_can_never_fit_is_refused_at_submit(model, dataset, tmp_path):
    big = make_tiny_llama(tmp_path / "big", hidden=256, intermediate=1024, layers=4, vocab_size=2000)
    with MountedFtd(24) as ftd:
        ftd.start()
        done = ftd.ftctl(*submit_args(big, dataset, mode="full", max_steps=3), check=False)
        assert done.returncode == 75 and "take 0.08 GB" in done.stderr and "the whole disk of" in done.stderr
        ftd.wait(submit(ftd, model, dataset, max_steps=2), "SUCCEEDED")


def fill(ftd, left):
    """Leaves so much of the disk."""
    ftd.inside(f"head -c {left} /dev/zero > {ftd.state_dir}/little; head -c 64M /dev/zero > {ftd.state_dir}/ballast || true; "
               f"rm {ftd.state_dir}/little")


@contextlib.contextmanager
def training_while_the_disk_fills(model, dataset, left):
    """ftd and a job with a checkpoint, on a disk of which so much is left. The job resumes, and succeeds, once there is space."""
    with MountedFtd(64) as ftd:
        ftd.start()
        job = submit(ftd, model, dataset, mode="full", max_steps=60, save_steps=1)
        wait_until(lambda: ftd.job(job).checkpoints, "a checkpoint")
        fill(ftd, left)
        yield ftd, job
        ftd.inside(f"rm {ftd.state_dir}/ballast")
        done = ftd.wait(job, "SUCCEEDED")
        assert len(done.attempts) == 2 and done.attempts[1].resumed_from


def test_disk_full_while_training(model, dataset):
    """The job waits, with nothing half written, and continues as soon as there is space."""
    with training_while_the_disk_fills(model, dataset, "400k") as (ftd, job):
        waiting = wait_until(lambda: (j := ftd.job(job)).pending_reason == j.DISK_RESERVE and j, "the wait for space")
        assert waiting.attempts[-1].state == waiting.attempts[-1].FAILED and "continues when there is more space" in waiting.message
        assert ".tmp" not in ftd.inside(f"find {ftd.state_dir}/jobs -name '*tmp*'")


def test_disk_so_full_that_nothing_can_be_stored(model, dataset):
    with training_while_the_disk_fills(model, dataset, "0") as (ftd, _):
        # A checkpoint that was not finished is removed, and may make room for the daemon's own words.
        wait_until(lambda: "cannot be judged or stored yet" in ftd.log() or "attempt=1 FAILED" in ftd.log(), "the worker's end")
