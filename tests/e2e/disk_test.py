"""A results directory that cannot be written, and a disk that is full.

Root can write anything, so the file system itself has to refuse: ftd runs where its state directory is a small tmpfs.
"""
from conftest import error_of, submit, submit_args
from ftd_fixture import alpaca_rows
from mounted_ftd import MountedFtd
from tiny_model import make_tiny_llama


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
