"""Jobs run one after the other; cancelling leaves nothing behind, and the queue goes on."""
import pathlib
import shutil
import time

from conftest import ENDLESS, history, submit, wait_for_step, weights
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


def test_begins_with_the_weights_of_another_job(ftd, model, dataset, tmp_path):
    """Bit for bit as when the same weights are given as files: that path is held to PEFT and transformers (tests/parity)."""
    adapter = submit(ftd, model, dataset, max_steps=10, save_steps=5, lora_rank=4, target_modules="q_proj,down_proj")
    whole = submit(ftd, model, dataset, mode="full", max_steps=10, save_steps=5)
    results = {job: pathlib.Path(ftd.wait(job, "SUCCEEDED").result_dir) for job in (adapter, whole)}
    by_hand = {}
    for job, like in ((adapter, results[adapter]), (whole, pathlib.Path(model))):
        by_hand[job] = shutil.copytree(like, tmp_path / job, ignore=shutil.ignore_patterns("*.safetensors*"))
        for file in (ftd.attempt_dir(job, 1) / "checkpoint-5").glob("*model.safetensors"):
            shutil.copy(file, by_hand[job])
    other = {"max_steps": 4, "seed": 7, "lora_rank": 4, "target_modules": "q_proj,down_proj"}
    full = {"max_steps": 4, "seed": 7, "mode": "full"}
    pairs = [  # the flags that begin with a job, the flags that give the same weights by hand
        ({**other, "start_from": f"{adapter}@5"}, {**other, "init_adapter": by_hand[adapter]}),
        ({**other, "start_from": adapter}, {**other, "init_adapter": results[adapter]}),
        ({**full, "start_from": f"{whole}@5"}, {**full, "model": by_hand[whole]}),
        ({**full, "start_from": whole}, {**full, "model": results[whole]}),
        ({**other, "start_from": whole}, {**other, "model": results[whole]}),
    ]
    jobs = [[submit(ftd, flags.pop("model", model), dataset, **flags) for flags in pair] for pair in pairs]
    trained = [[pathlib.Path(ftd.wait(job, "SUCCEEDED", deadline_s=120).result_dir) for job in pair] for pair in jobs]
    for pair in trained:
        assert weights(pair[0]) == weights(pair[1]) != {} and history(pair[0]) == history(pair[1])
    assert len({str(weights(pair[0])) for pair in trained}) == len(pairs), "each began with other weights"
