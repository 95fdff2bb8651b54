"""Jobs run one after the other; cancelling leaves nothing behind, and the queue goes on."""
import time

from conftest import ENDLESS, submit, wait_for_step
from ftd_fixture import processes_under


def test_two_jobs_one_after_the_other(ftd, model, dataset):
    first = submit(ftd, model, dataset, max_steps=30)
    second = submit(ftd, model, dataset, mode="full", max_steps=5)
    assert ftd.job(second).position > ftd.job(first).position
    done = [ftd.wait(job, "SUCCEEDED") for job in (first, second)]
    assert done[1].start_time.ToNanoseconds() >= done[0].end_time.ToNanoseconds()
    assert [job.last_step.step for job in done] == [30, 5]
    assert ftd.ftctl("wait", first).returncode == 0


def test_cancel_queued_and_training(ftd, model, dataset):
    training = submit(ftd, model, dataset, max_steps=ENDLESS)
    queued = submit(ftd, model, dataset, max_steps=5)
    wait_for_step(ftd, training, 3)
    assert processes_under(ftd.state_dir)

    ftd.ftctl("cancel", queued)
    assert ftd.job(queued).attempts == [] and ftd.ftctl("wait", queued, check=False).returncode == 103

    begin = time.monotonic()
    ftd.ftctl("cancel", training)
    ftd.wait(training, "CANCELLED", deadline_s=5)
    assert time.monotonic() - begin < 5
    assert processes_under(ftd.state_dir) == []
    assert ftd.ftctl("cancel", training).returncode == 0  # once more is no mistake

    after = submit(ftd, model, dataset, max_steps=3)
    ftd.wait(after, "SUCCEEDED")
    assert ftd.ftctl("cancel", after, check=False).returncode == 1  # nothing left to cancel


def test_higher_priority_runs_first(ftd, model, dataset):
    running = submit(ftd, model, dataset, max_steps=ENDLESS)
    wait_for_step(ftd, running, 1)
    low = submit(ftd, model, dataset, max_steps=2, priority=-5)
    high = submit(ftd, model, dataset, max_steps=2, priority=5)
    ftd.ftctl("cancel", running)
    low_done, high_done = ftd.wait(low, "SUCCEEDED"), ftd.wait(high, "SUCCEEDED")
    assert high_done.end_time.ToNanoseconds() <= low_done.start_time.ToNanoseconds()
