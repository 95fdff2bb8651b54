"""submit --sweep and sweep: the jobs that are made, and how they are compared."""
import json
import math
import uuid

import pytest

from fake_ftd import FakeFtd, fail
from ftd_fixture import api, jobs

FLAGS = ("submit", "--mode", "lora", "--model", "alias", "--dataset", "org/rows")


def accept(request, context):
    return jobs.Job(id=f"ft-{request.name}", name=request.name, state=jobs.Job.QUEUED, spec=request.spec)


@pytest.fixture
def fake():
    with FakeFtd(SubmitJob=accept) as fake:
        yield fake


def test_a_job_for_each_combination(fake):
    done = fake.ftctl(*FLAGS, "--name", "lr", "--sweep", "learning_rate=1e-4,2e-4", "--sweep", "lora-rank=8,16,32",
                      "--label", "team=blue")
    assert done.returncode == 0, done.stderr
    calls = fake.calls("SubmitJob")
    assert [(c.name, c.spec.learning_rate, c.spec.lora.rank) for c in calls] == [
        (f"lr-{i + 1}", rate, rank) for i, (rate, rank) in enumerate((a, b) for a in (1e-4, 2e-4) for b in (8, 16, 32))]
    assert {(c.labels["sweep"], c.labels["team"], c.spec.model, c.spec.dataset.hub.name) for c in calls} == {
        ("lr", "blue", "alias", "org/rows")}
    assert done.stdout.split() == [f"ft-lr-{i}" for i in range(1, 7)]
    assert "Submitted 6 jobs as sweep lr: lr-1 to lr-6.\n  ftctl sweep lr " in done.stderr
    ids = [uuid.UUID(c.request_id) for c in calls]
    assert len(set(ids)) == 6


def test_values_are_those_of_flags_and_job_files(fake):
    done = fake.ftctl(*FLAGS, "--packing", "--eval-split", "0.5", "--sweep", "mode=lora,full", "--sweep", "eval_split=0.1,0",
                      "--sweep", "gradient_checkpointing=on,auto", "--sweep", "packing=true,false", "-o", "json")
    assert done.returncode == 0, done.stderr
    specs = [c.spec for c in fake.calls("SubmitJob")]
    assert [s.mode for s in specs] == [jobs.JobSpec.LORA] * 8 + [jobs.JobSpec.FULL] * 8
    assert [s.eval_split for s in specs] == ([0.1] * 4 + [0] * 4) * 2
    assert [s.HasField("gradient_checkpointing") for s in specs] == [True, True, False, False] * 4
    assert [s.packing for s in specs] == [True, False] * 8
    shown = json.loads(done.stdout)
    assert len(shown) == 16 and shown[0]["name"].startswith("sweep-")


def test_a_batch_that_fits_beside_numbers(fake):
    assert fake.ftctl(*FLAGS, "--sweep", "batch_size=auto,4").returncode == 0
    assert [(c.spec.auto_batch_size, c.spec.batch_size) for c in fake.calls("SubmitJob")] == [(True, 0), (False, 4)]


@pytest.mark.parametrize("sweep, words", [
    (["learning_rate"], "needs FIELD=VALUE,VALUE"),
    (["=1"], "needs FIELD=VALUE,VALUE"),
    (["learning_rate="], "needs FIELD=VALUE,VALUE"),
    (["learning_rate=1e-4,,2e-4"], "has an empty value"),
    (["learning_rate=1e-4,0.0001"], "has 0.0001 twice"),
    (["learning_rat=1"], "a job has no field learning_rat; did you mean learning_rate?"),
    (["learning_rate=fast"], "learning_rate needs a number; got 'fast'"),
    (["lora.rank=8,x: y"], "lora.rank needs a whole number; got 'x: y'"),
    (["mode=lora,lorra"], "mode must be one of"),
    (["model=a,b"], "model cannot be swept; numbers, words and switches can"),
    (["seed=1,2", "seed=3"], "the field is swept twice"),
    (["seed=" + ",".join(map(str, range(257)))], "makes more than 256 jobs"),
])
def test_sweeps_that_do_not_read_queue_nothing(fake, sweep, words):
    done = fake.ftctl(*FLAGS, *(word for one in sweep for word in ("--sweep", one)))
    assert done.returncode == 64 or done.returncode == 2, done
    assert words in done.stderr and not fake.calls("SubmitJob")


def test_what_does_not_go_with_a_sweep(fake):
    assert "--watch follows one job" in fake.ftctl(*FLAGS, "--sweep", "seed=1,2", "--watch").stderr
    assert 'the label "sweep"' in fake.ftctl(*FLAGS, "--sweep", "seed=1,2", "--label", "sweep=x").stderr
    assert not fake.calls("SubmitJob")


def test_a_sweep_that_is_broken_off_can_be_completed():
    left = [2]

    def some(request, context):
        if left[0] == 0:
            fail(context, "RESOURCE_EXHAUSTED", "QUEUE_FULL", "the queue is full")
        left[0] -= 1
        return accept(request, context)

    with FakeFtd(SubmitJob=some) as fake:
        done = fake.ftctl(*FLAGS, "--sweep", "seed=1,2,3", "--request-id", "2f5c6a0e-7f0a-4d43-9f7f-fffffffffffe")
        assert done.returncode == 75 and len(done.stdout.split()) == 2
        assert "2 of 3 jobs of sweep sweep-2f5c6a0e are queued" in done.stderr
        assert "--request-id 2f5c6a0e-7f0a-4d43-9f7f-fffffffffffe" in done.stderr
        first = [c.request_id for c in fake.calls("SubmitJob")]
        left[0] = 3
        again = fake.ftctl(*FLAGS, "--sweep", "seed=1,2,3", "--name", "sweep-2f5c6a0e", "--request-id",
                           "2f5c6a0e-7f0a-4d43-9f7f-fffffffffffe")
        assert again.returncode == 0, again.stderr
        calls = fake.calls("SubmitJob")
        assert [c.request_id for c in calls[3:]] == first
        assert first == ["2f5c6a0e-7f0a-4d43-9f7f-" + end for end in ("fffffffffffe", "ffffffffffff", "000000000000")]


def job(name, rate, loss, state="SUCCEEDED", sweep="lr"):
    made = jobs.Job(id=f"ft-{name}", name=name, state=jobs.Job.State.Value(state), labels={"sweep": sweep},
                    spec=jobs.JobSpec(mode=jobs.JobSpec.LORA, learning_rate=rate, lora=jobs.Lora(rank=8)))
    made.last_step.step, made.last_step.loss = 100, 2.0
    if state == "SUCCEEDED":
        made.end_time.FromSeconds(1_800_000_000)
    if loss is not None:
        made.best_evaluation.step, made.best_evaluation.loss = 50, loss
    return made


def server(all_jobs):
    by_id = {j.id: j for j in all_jobs}

    def pages(request, context):
        newest = [job for job in reversed(all_jobs) if request.labels.items() <= job.labels.items()]
        start = int(request.page_token or 0)
        return api.ListJobsResponse(jobs=newest[start:start + 2], next_page_token=str(start + 2) if start + 2 < len(newest) else "")

    return FakeFtd(ListJobs=pages, GetJob=lambda request, context: by_id[request.job])


def test_the_jobs_side_by_side():
    with server([job("lr-1", 1e-4, 1.5), job("other", 9e-4, 0.1, sweep="x"), job("lr-2", 2e-4, 1.25), job("lr-3", 5e-4, math.nan),
                 job("lr-4", 1e-3, None, "RUNNING")]) as fake:
        done = fake.ftctl("sweep", "lr")
        assert done.returncode == 0, done.stderr
        rows = [line.split() for line in done.stdout.splitlines()]
        assert rows[0] == ["JOB", "STATE", "LEARNING_RATE", "STEP", "LOSS", "EVAL", "LOSS", "AT", "STEP"]
        assert rows[1] == ["lr-2", "SUCCEEDED", "0.0002", "100", "2.0000", "1.2500", "50"]
        assert [r[0] for r in rows[1:5]] == ["lr-2", "lr-1", "lr-3", "lr-4"] and rows[3][-2:] == ["-", "-"]
        assert done.stdout.splitlines()[-1] == "Best so far: lr-2 (learning_rate 0.0002), eval loss 1.2500 at step 50."
        shown = json.loads(fake.ftctl("sweep", "lr", "-o", "json").stdout)
        assert shown["best"] == "ft-lr-2" and [j["name"] for j in shown["jobs"]] == ["lr-2", "lr-1", "lr-3", "lr-4"]


def test_a_sweep_that_has_ended_or_was_not_evaluated():
    with server([job("lr-1", 1e-4, 1.5), job("lr-2", 2e-4, 1.5)]) as fake:
        assert "Best: lr-1 " in fake.ftctl("sweep", "lr").stdout  # the first of equals
    with server([job("lr-1", 1e-4, None)]) as fake:
        done = fake.ftctl("sweep", "lr")
        assert done.returncode == 0 and "Best" not in done.stdout and "No job has been evaluated yet" in done.stderr
        assert json.loads(fake.ftctl("sweep", "lr", "-o", "json").stdout)["best"] is None
        unknown = fake.ftctl("sweep", "rl")
        assert unknown.returncode == 102 and 'no sweep "rl"' in unknown.stderr
