"""Jobs that come after others, begin with the weights of others, and may take only so long."""
import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import time

import grpc
import pytest

from ftd_fixture import api, jobs, state_name, wait_until
from helpers import ROWS, expect_error, fake_ftd, submit
from tiny_model import make_stub_model

Code = grpc.StatusCode
ENDLESS = "steps=1000000 step_ms=20 save=10"


@pytest.fixture(scope="module")
def busy():
    """A daemon whose first job, a LoRA run that saves every 10 steps, does not end."""
    with fake_ftd(ENDLESS) as ftd:
        submit(ftd, name="busy")
        wait_until(lambda: ftd.job("busy").checkpoints, "a checkpoint")
        yield ftd


def cancel(ftd, job, keep=False):
    return ftd.stub.CancelJob(api.CancelJobRequest(job=job, keep=keep))


def update(ftd, job, **fields):
    return ftd.stub.UpdateJob(api.UpdateJobRequest(job=job, **fields))


def states(ftd, *names):
    return [state_name(ftd.job(name).state) for name in names]


def request_of(ftd, job, attempt=1):
    return json.loads((ftd.attempt_dir(job.id, attempt) / "request.json").read_text())


def test_a_job_waits_for_those_before_it():
    with fake_ftd("steps=200 step_ms=5") as ftd:
        ftd.ftctl("drain")
        first = submit(ftd, name="first")
        second = submit(ftd, name="second", after=["first", first.id], priority=9)
        third = submit(ftd, name="third", after=["second", "first"], priority=10)
        assert list(second.after) == [first.id] and list(third.after) == [second.id, first.id]
        ftd.ftctl("undrain")
        ftd.wait("first", "RUNNING")
        assert ftd.job("second").pending_reason == jobs.Job.DEPENDENCY
        assert "a job that it comes after has not succeeded yet" in ftd.ftctl("show", "second").stdout
        submit(ftd, name="overtaker")
        ftd.kill()
        ftd.start()
        ended = [ftd.wait(name, deadline_s=120) for name in ("first", "second", "third", "overtaker")]
        assert {state_name(job.state) for job in ended} == {"SUCCEEDED"}
        starts = {job.name: job.start_time.ToMicroseconds() for job in ended}
        ends = {job.name: job.end_time.ToMicroseconds() for job in ended}
        assert starts["second"] >= ends["first"] and starts["third"] >= ends["second"]
        assert starts["third"] < starts["overtaker"], "priority decides among those that may start"


def test_what_waits_in_vain_fails():
    with fake_ftd("1:steps=1000000 1:step_ms=20") as ftd:
        submit(ftd, name="running")
        chain = ["a", "b", "c", "d"]
        for name, before in zip(chain, ["running", *chain]):
            submit(ftd, name=name, after=[before])
        held = submit(ftd, name="held", after=["a"])
        ftd.stub.HoldJob(api.HoldJobRequest(job="held"))
        apart = submit(ftd, name="apart", after=["running"])
        cancel(ftd, "b")
        failed = ftd.wait("d", "FAILED")
        assert failed.failure_reason == jobs.DEPENDENCY_FAILED and "job c, which it was to come after, is FAILED" in failed.message
        assert states(ftd, "a", "b", "c", "apart") == ["QUEUED", "CANCELLED", "FAILED", "QUEUED"], "of a branch nobody else"
        assert failed.hint and failed.HasField("end_time") and not failed.attempts
        expect_error(lambda: submit(ftd, after=["b"]), Code.FAILED_PRECONDITION, "STATE_CONFLICT")
        expect_error(lambda: submit(ftd, after=["nobody"]), Code.NOT_FOUND, "JOB_NOT_FOUND")
        expect_error(lambda: submit(ftd, after=["a"] * 65), Code.INVALID_ARGUMENT, "FIELD_INVALID")
        expect_error(lambda: ftd.stub.RetryJob(api.RetryJobRequest(job="c")), Code.FAILED_PRECONDITION, "STATE_CONFLICT")

        # Killed between the end of a job and what follows from it: the next daemon sees to that.
        cancel(ftd, "running")
        ftd.kill()
        ftd.start()
        assert ftd.wait("a", "FAILED").failure_reason == ftd.wait("apart", "FAILED").failure_reason == jobs.DEPENDENCY_FAILED
        assert state_name(ftd.job("held").state) == "HELD"
        ftd.stub.DeleteJob(api.DeleteJobRequest(job="b"))
        ftd.stub.ReleaseJob(api.ReleaseJobRequest(job=held.id))
        assert ftd.wait("held", "FAILED").failure_reason == jobs.DEPENDENCY_FAILED
        assert list(ftd.job(apart.id).after) == [ftd.job("running").id]


def test_a_job_that_others_come_after_stays():
    with fake_ftd("steps=2") as ftd:
        submit(ftd, name="done")
        ftd.wait("done")
        ftd.ftctl("drain")
        submit(ftd, name="next", after=["done"])
        gone = expect_error(lambda: ftd.stub.DeleteJob(api.DeleteJobRequest(job="done")), Code.FAILED_PRECONDITION, "STATE_CONFLICT")
        assert "job next comes after it" in gone.details()
        ftd.ftctl("undrain")
        ftd.wait("next")
        ftd.stub.DeleteJob(api.DeleteJobRequest(job="done"))
        again = ftd.stub.RetryJob(api.RetryJobRequest(job="next"))
        assert ftd.wait(again.id, "SUCCEEDED")


def test_starts_from_an_adapter():
    with fake_ftd("steps=20 step_ms=5") as ftd:
        first = submit(ftd, name="first", lora_rank=4, lora_alpha=6.5, lora_target_modules=["q_proj", "v_proj"], lora_use_rslora=True)
        waiting = ftd.submit(ftd.spec("", ROWS, mode="MODE_UNSPECIFIED", seed=7), start_from="first", name="waiting")
        assert waiting.start_from == first.id and list(waiting.after) == [first.id]
        assert waiting.pending_reason == jobs.Job.DEPENDENCY
        lora = waiting.spec.lora
        assert (lora.rank, lora.alpha, lora.use_rslora, list(lora.target_modules)) == (4, 6.5, True, ["q_proj", "v_proj"])
        assert waiting.spec.mode == jobs.JobSpec.LORA and waiting.spec.model == first.spec.model and waiting.spec.seed == 7
        assert lora.init_adapter == str(ftd.state_dir / "results" / "first")
        ftd.wait("waiting")
        assert request_of(ftd, waiting)["spec"]["lora"]["init_adapter"] == lora.init_adapter

        # The same of one that has succeeded, with a chain behind it that is all to come.
        ftd.ftctl("drain")
        second = ftd.submit(ftd.spec("", ROWS), start_from="waiting", name="second")
        third = ftd.submit(ftd.spec("", ROWS, mode="QLORA"), start_from="second", name="third")
        assert third.spec.mode == jobs.JobSpec.QLORA and list(third.after) == [second.id]
        other = make_stub_model(ftd.root / "other")
        for fields, reason in (({"model": other}, "ADAPTER_MISMATCH"), ({"lora_rank": 5}, "ADAPTER_MISMATCH"),
                               ({"lora_use_rslora": False}, "ADAPTER_MISMATCH"), ({"lora_alpha": 7.0}, "ADAPTER_MISMATCH"),
                               ({"lora_target_modules": ["q_proj"]}, "ADAPTER_MISMATCH")):
            spec = ftd.spec(fields.pop("model", ""), ROWS, **fields)
            expect_error(lambda: ftd.submit(spec, start_from="first"), Code.FAILED_PRECONDITION, reason)
        for spec, text in ((ftd.spec("", ROWS, mode="FULL"), "trains an adapter"),
                           (ftd.spec("", ROWS, lora_init_adapter="/x"), "leave lora.init_adapter out")):
            assert text in expect_error(lambda: ftd.submit(spec, start_from="first"), Code.INVALID_ARGUMENT, "FIELD_INVALID").details()
        for start_from in ("first@", "first@0", "first@-1", "first@x", "first@1@2"):
            expect_error(lambda: submit(ftd, start_from=start_from), Code.INVALID_ARGUMENT, "FIELD_INVALID")
        expect_error(lambda: submit(ftd, start_from="nobody"), Code.NOT_FOUND, "JOB_NOT_FOUND")
        expect_error(lambda: submit(ftd, start_from="first@77"), Code.NOT_FOUND, "CHECKPOINT_NOT_FOUND")
        cancel(ftd, "second")
        assert ftd.wait("third", "FAILED").failure_reason == jobs.DEPENDENCY_FAILED
        expect_error(lambda: submit(ftd, start_from="second"), Code.FAILED_PRECONDITION, "STATE_CONFLICT")


def test_starts_from_a_model():
    with fake_ftd("steps=20 step_ms=5") as ftd:
        first = submit(ftd, name="first", mode="FULL")
        results = ftd.state_dir / "results"
        second = ftd.submit(ftd.spec("", ROWS, mode="MODE_UNSPECIFIED"), start_from="first", name="second")
        third = ftd.submit(ftd.spec("", ROWS, mode="LORA"), start_from="second", name="third")
        fourth = ftd.submit(ftd.spec("", ROWS, mode="LORA"), start_from="third", name="fourth")
        assert (second.spec.mode, second.spec.model) == (jobs.JobSpec.FULL, str(results / "first"))
        assert third.spec.model == fourth.spec.model == str(results / "second") and not third.spec.lora.init_adapter
        assert fourth.spec.lora.init_adapter == str(results / "third")
        for job, model in ((first, ftd.model), (second, results / "first"), (third, results / "second"), (fourth, results / "second")):
            ftd.wait(job.id, "SUCCEEDED", deadline_s=60)
            assert request_of(ftd, job)["model_dir"] == str(model)


def submit_from_newest(ftd, job, **fields):
    """The job and the step that it begins with; the newest checkpoint may be removed in between, in favour of the next."""
    while True:
        step = ftd.job(job).checkpoints[-1].step
        with contextlib.suppress(grpc.RpcError):
            return ftd.submit(start_from=f"{job}@{step}", **fields), step
        assert step != ftd.job(job).checkpoints[-1].step, "it was refused for another reason"


def test_starts_from_a_checkpoint(busy):
    job, step = submit_from_newest(busy, "busy", spec=busy.spec("", ROWS), name="of-checkpoint")
    source = busy.job("busy").id
    assert job.start_from == f"{source}@{step}" and not job.after and not job.spec.lora.init_adapter
    # It outlasts the checkpoint, which the running job may remove at any time.
    start = busy.state_dir / "jobs" / job.id / "start"
    shutil.rmtree(busy.attempt_dir(source, 1) / f"checkpoint-{step}")
    expect_error(lambda: submit(busy, start_from=f"busy@{step}"), Code.NOT_FOUND, "CHECKPOINT_NOT_FOUND")
    assert (start / "adapter_model.safetensors").read_text() == f"weights after step {step}"
    busy.stub.PauseJob(api.PauseJobRequest(job="busy"))
    busy.wait("of-checkpoint", "RUNNING")
    request = request_of(busy, job)
    assert request["start_weights"] == str(start / "adapter_model.safetensors")
    assert request["start_weights_sha256"] == hashlib.sha256((start / "adapter_model.safetensors").read_bytes()).hexdigest()
    wait_until(lambda: busy.job(job.id).checkpoints, "a checkpoint of its own")
    busy.stub.PauseJob(api.PauseJobRequest(job=job.id))
    busy.wait(job.id, "PAUSED")
    busy.stub.ResumeJob(api.ResumeJobRequest(job=job.id))
    wait_until(lambda: len(busy.job(job.id).attempts) == 2, "its second attempt")
    assert "start_weights" not in request_of(busy, job, 2) and request_of(busy, job, 2)["resume_from"]
    cancel(busy, job.id)
    busy.wait(job.id, "CANCELLED")
    again = busy.stub.RetryJob(api.RetryJobRequest(job=job.id))
    busy.wait(again.id, "RUNNING")
    assert request_of(busy, again)["start_weights"] == str(busy.state_dir / "jobs" / again.id / "start" / "adapter_model.safetensors")
    cancel(busy, again.id)
    busy.stub.ResumeJob(api.ResumeJobRequest(job="busy"))
    busy.wait("busy", "RUNNING")


def test_a_submit_that_fails_leaves_no_weights(busy):
    kept = set((busy.state_dir / "jobs").iterdir())
    wait_until(lambda: {c.attempt for c in busy.job("busy").checkpoints} == {len(busy.job("busy").attempts)}, "its own checkpoints alone")
    step = busy.job("busy").checkpoints[-1].step
    expect_error(lambda: busy.submit(busy.spec("", ROWS), start_from=f"busy@{step}", name="busy"), Code.ALREADY_EXISTS, "NAME_IN_USE")
    again = {"spec": busy.spec("", ROWS), "request_id": "0b9a6c1e-9d0b-4a55-8f24-6b1fdd3b6a0f", "start_from": f"busy@{step}"}
    jobs_made = {busy.submit(**again).id for _ in range(3)}
    assert len(jobs_made) == 1
    wait_until(lambda: {d.name for d in set((busy.state_dir / "jobs").iterdir()) - kept} == jobs_made, "what failed to be gone")
    cancel(busy, jobs_made.pop())


def test_what_a_crash_left_of_a_submit_goes():
    with fake_ftd("steps=2", config="retention_interval_seconds = 1\n") as ftd:
        def left(job, age_s):
            start = ftd.state_dir / "jobs" / job / "start"
            start.mkdir(parents=True)
            (start / "adapter_model.safetensors").write_bytes(bytes(100))
            os.utime(start, (time.time() - age_s,) * 2)
            return start
        old, new = left("ft-01m8nh1ggh3a66kwqnv8f7837g", 7200), left("ft-01m8nh1ggh3a66kwqnv8f7837h", 60)
        submit(ftd, name="job")
        ftd.wait("job")
        wait_until(lambda: not old.parent.exists(), "what nobody will use to go")
        assert new.exists(), "a submit may be under way"


def test_a_checkpoint_of_a_whole_model_is_for_whole_models():
    with fake_ftd(ENDLESS) as ftd:
        submit(ftd, name="whole", mode="FULL")
        step = wait_until(lambda: ftd.job("whole").checkpoints, "a checkpoint")[0].step
        refused = expect_error(lambda: ftd.submit(ftd.spec("", ROWS), start_from=f"whole@{step}"), Code.INVALID_ARGUMENT, "FIELD_INVALID")
        assert "is for mode full alone" in refused.details()
        step = ftd.job("whole").checkpoints[-1].step
        assert ftd.submit(ftd.spec("", ROWS, mode="FULL"), start_from=f"whole@{step}").spec.model == str(ftd.model)


def test_a_time_limit():
    with fake_ftd(ENDLESS) as ftd:
        limited = submit(ftd, name="limited", time_limit=2)
        assert limited.time_limit_seconds == 2
        ended = ftd.wait("limited", "FAILED")
        assert ended.failure_reason == jobs.TIME_LIMIT and "time limit of 2s" in ended.message
        last = ended.checkpoints[-1].step
        assert last == ended.last_step.step and f"limited@{last}" in ended.hint, "it has saved before it ended"
        assert 1.9 < (ended.end_time.ToMilliseconds() - ended.start_time.ToMilliseconds()) / 1e3
        ftd.submit(ftd.spec("", ROWS), start_from=f"limited@{last}", name="continued")
        ftd.wait("continued", "RUNNING")
        cancel(ftd, "continued")
        assert re.search("^time limit +2s$", ftd.ftctl("show", "limited").stdout, re.MULTILINE)

        # Of all attempts together, also over a restart; what waits and pauses costs nothing.
        submit(ftd, name="resumed", time_limit=6)
        ftd.wait("resumed", "RUNNING")
        wait_until(lambda: ftd.job("resumed").last_step.step > 50, "a second of training")
        ftd.stub.PauseJob(api.PauseJobRequest(job="resumed"))
        ftd.wait("resumed", "PAUSED")
        update(ftd, "resumed", time_limit_seconds=1)
        ftd.stub.ResumeJob(api.ResumeJobRequest(job="resumed"))
        ended = ftd.wait("resumed", "FAILED")
        assert ended.failure_reason == jobs.TIME_LIMIT and len(ended.attempts) == 1, "no attempt that it has no time for"

        submit(ftd, name="adopted", time_limit=3)
        ftd.wait("adopted", "RUNNING")
        ftd.kill()
        ftd.start()
        assert ftd.wait("adopted", "FAILED").failure_reason == jobs.TIME_LIMIT
        assert len(ftd.job("adopted").attempts) == 1, "the worker was adopted, with the time that it had run"

        submit(ftd, name="given-more", time_limit=600)
        ftd.wait("given-more", "RUNNING")
        ftd.ftctl("update", "given-more", "--time-limit", "1s")
        ended = ftd.wait("given-more", "FAILED")
        assert ended.failure_reason == jobs.TIME_LIMIT and "time limit of 1s" in ended.message
        expect_error(lambda: submit(ftd, time_limit=-1), Code.INVALID_ARGUMENT, "FIELD_INVALID")


def test_a_worker_that_overstays_is_killed():
    with fake_ftd(f"{ENDLESS} deaf=1", config="stop_grace_seconds = 1\n") as ftd:
        submit(ftd, name="deaf", time_limit=1)
        ended = ftd.wait("deaf", "FAILED")
        assert ended.failure_reason == jobs.TIME_LIMIT and ended.attempts[0].signal == 9


def test_lists_by_label():
    """Against a filter that this test applies."""
    rng = random.Random(5)
    with fake_ftd("prepare_ms=600000") as ftd:
        known = {}
        for i in range(60):
            labels = {key: rng.choice(["1", "2", "", '"', "ß'%"]) for key in rng.sample(["a", "b", "a.b", '"x"', "$"], rng.randint(0, 4))}
            known[submit(ftd, labels=labels).id] = labels
        for _ in range(40):
            wanted = {key: rng.choice(["1", "2", '"', "ß'%"]) for key in rng.sample(["a", "b", "a.b", '"x"', "$"], rng.randint(1, 2))}
            found, request = [], api.ListJobsRequest(page_size=rng.randint(1, 7), labels=wanted, states=rng.choice([[], [1]]))
            running = {job.id for job in ftd.stub.ListJobs(api.ListJobsRequest(states=[3])).jobs}
            expected = [id for id, labels in reversed(known.items()) if wanted.items() <= labels.items()
                        and not (request.states and id in running)]
            while True:
                page = ftd.stub.ListJobs(request)
                if not request.page_token:
                    assert page.total_size == len(expected)
                found += [job.id for job in page.jobs]
                if not page.next_page_token:
                    break
                request.page_token = page.next_page_token
            assert found == expected
        with contextlib.suppress(StopIteration):
            labelled = next(id for id, labels in known.items() if labels.get("a") == "1")
            assert labelled in ftd.ftctl("ls", "-q", "--label", "a=1").stdout
        expect_error(lambda: ftd.stub.ListJobs(api.ListJobsRequest(page_token=ftd.stub.ListJobs(
            api.ListJobsRequest(page_size=1)).next_page_token, labels={"a": "1"})), Code.INVALID_ARGUMENT, "FIELD_INVALID")
