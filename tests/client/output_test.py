"""show, ls, metrics, checkpoints, info, logs: formats against protobuf's own JSON, PyYAML and Python's csv."""

import csv
import io
import json
import math
import os
import pty
import subprocess
import threading
import time

import pytest
import yaml
from google.protobuf import json_format

from fake_ftd import FakeFtd, fail, make_job
from ftd_fixture import BIN, api, jobs


def full_job() -> jobs.Job:
    job = make_job("FAILED", message='rows.jsonl line 17: "output" is missing', hint="mend the row",
                   failure_reason=jobs.DATASET_INVALID, priority=5, labels={"team": "a", "b": "c"}, owner="ada",
                   result_dir="", warnings=["careful"])
    job.create_time.FromJsonString("2026-11-22T17:40:00.123456789Z")
    job.end_time.FromJsonString("2026-11-22T17:41:00Z")
    job.attempts.add(number=1, state=jobs.Attempt.CRASHED, reason="vanished", signal=9, first_step=1, last_step=4)
    job.attempts.add(number=2, state=jobs.Attempt.FAILED, exit_code=0)
    job.checkpoints.add(step=4, path="/s/checkpoint-4", size_bytes=1 << 53)
    job.last_step.CopyFrom(jobs.StepMetrics(step=4, loss=1.25, tokens_total=1 << 40))
    job.spec.lora.target_modules.extend(["q_proj", "v_proj"])
    job.spec.seed = 42
    return job


def agrees(ours, theirs) -> bool:
    """`theirs` is protobuf's JSON, where 64-bit integers are strings; whatever it has, we have alike."""
    if isinstance(theirs, dict):
        return all(key in ours and agrees(ours[key], value) for key, value in theirs.items())
    if isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(agrees, ours, theirs))
    if isinstance(ours, int) and not isinstance(ours, bool) and isinstance(theirs, str):
        return ours == int(theirs)
    return ours == theirs


def protobuf_json(message) -> dict:
    return json_format.MessageToDict(message, preserving_proto_field_name=True,
                                     always_print_fields_with_no_presence=True)


@pytest.mark.parametrize("job", [full_job(), make_job("QUEUED", position=3), jobs.Job()], ids=["full", "queued", "empty"])
def test_show_json_is_protobufs_json_with_numbers(job):
    with FakeFtd(GetJob=lambda request, context: job) as fake:
        ours = json.loads(fake.ftctl("show", "x", "-o", "json").stdout)
        assert agrees(ours, protobuf_json(job))
        assert {"id", "name", "state", "failure_reason", "message", "hint", "spec", "attempts", "result_dir",
                "checkpoints"} <= set(ours)
        assert list(ours) == [field.name for field in jobs.Job.DESCRIPTOR.fields], "the schema does not vary"
        assert yaml.safe_load(fake.ftctl("show", "x", "-o", "yaml").stdout) == ours


def test_show_for_people():
    with FakeFtd(GetJob=lambda request, context: full_job()) as fake:
        text = fake.ftctl("show", "x").stdout
        for part in ("FAILED, DATASET_INVALID", "line 17", "mend the row", "signal 9", "vanished", "4 of 10",
                     "b=c, team=a", "checkpoint-4", "next: ftctl logs first"):
            assert part in text, part


@pytest.mark.parametrize("set_fields, said", [
    ({}, "gradient checkpointing auto"),
    ({"gradient_checkpointing": True, "deterministic": True}, "gradient checkpointing on"),
    ({"gradient_checkpointing": False, "deterministic": False}, "gradient checkpointing off, deterministic off"),
])
def test_show_names_what_is_recomputed(set_fields, said):
    job = make_job("RUNNING")
    for name, value in set_fields.items():
        setattr(job.spec, name, value)
    with FakeFtd(GetJob=lambda request, context: job) as fake:
        settings, = (line for line in fake.ftctl("show", "x").stdout.splitlines() if line.startswith("settings"))
        assert f", {said}, " in settings
        spec = json.loads(fake.ftctl("show", "x", "-o", "json").stdout)["spec"]
        assert spec["gradient_checkpointing"] is set_fields.get("gradient_checkpointing")
        assert spec["deterministic"] is set_fields.get("deterministic")


def test_ls_reads_every_page():
    everything = [jobs.Job(id=f"ft-{i}", state=jobs.Job.SUCCEEDED) for i in range(25)]

    def page(request, context):
        start = int(request.page_token or 0)
        end = start + min(10, request.page_size)
        return api.ListJobsResponse(jobs=everything[start:end], next_page_token=str(end) if end < 25 else "")

    with FakeFtd(ListJobs=page) as fake:
        listed = json.loads(fake.ftctl("ls", "-o", "json").stdout)
        assert [job["id"] for job in listed] == [job.id for job in everything]
        assert fake.ftctl("ls", "--quiet").stdout.split() == [job.id for job in everything]
        assert fake.ftctl("ls", "--quiet", "-n", "12").stdout.split() == [job.id for job in everything[:12]]
        assert [row["id"] for row in yaml.safe_load(fake.ftctl("ls", "-o", "yaml").stdout)] == [j["id"] for j in listed]


def test_ls_shows_people_fifty_and_says_how_many_more():
    everything = [jobs.Job(id=f"ft-{i}", state=jobs.Job.QUEUED) for i in range(1200)]

    def page(request, context):
        start = int(request.page_token or 0)
        end = start + min(500, request.page_size)  # what fits into a message
        return api.ListJobsResponse(jobs=everything[start:end], next_page_token=str(end) if end < 1200 else "",
                                    total_size=0 if start else 1200)

    def lines(*args):
        done = fake.ftctl("ls", *args)
        assert done.returncode == 0
        return len(done.stdout.splitlines()) - 1, done.stderr

    with FakeFtd(ListJobs=page) as fake:
        assert lines() == (50, "1150 more; `ftctl ls --all` lists them.\n")
        assert [call.page_size for call in fake.calls("ListJobs")] == [50]
        assert lines("-o", "wide", "-n", "600") == (600, "600 more; `ftctl ls --all` lists them.\n")
        assert lines("--all") == lines("-n", "0") == lines("-n", "1200") == (1200, "")
        assert len(fake.ftctl("ls", "-q").stdout.split()) == len(json.loads(fake.ftctl("ls", "-o", "json").stdout)) == 1200
        # An older ftd does not say how many there are.
        fake.handlers["ListJobs"] = lambda request, context: api.ListJobsResponse(jobs=everything[:50], next_page_token="x")
        assert lines() == (50, "There are more; `ftctl ls --all` lists them.\n")


def test_ls_prints_a_page_before_it_asks_for_the_next():
    goes_on = threading.Event()

    def page(request, context):
        if request.page_token and not goes_on.wait(30):
            fail(context, "DEADLINE_EXCEEDED")
        return api.ListJobsResponse(jobs=[jobs.Job(id="ft-1", name="n" * (9 if request.page_token else 3))],
                                    next_page_token="" if request.page_token else "1")

    with FakeFtd(ListJobs=page) as fake, fake.popen("ls", "--all") as ls:
        first = [ls.stdout.readline() for _ in range(2)]
        assert first[1].startswith("ft-1  nnn  ")
        goes_on.set()
        assert ls.stdout.read().startswith("ft-1  nnnnnnnnn  ") and ls.wait(30) == 0


def test_lists_are_read_to_their_last_page():
    def checkpoints(request, context):
        step = int(request.page_token or 1)
        return api.ListCheckpointsResponse(checkpoints=[jobs.Checkpoint(step=step)], next_page_token="" if step == 3 else str(step + 1))

    def models(request, context):
        name = request.page_token or "a/b"
        return api.ListModelsResponse(models=[api.Model(name=name)], next_page_token="" if name == "c/d" else "c/d")

    with FakeFtd(ListCheckpoints=checkpoints, ListModels=models) as fake:
        assert [c["step"] for c in json.loads(fake.ftctl("checkpoints", "x", "-o", "json").stdout)] == [1, 2, 3]
        assert [m["name"] for m in json.loads(fake.ftctl("models", "-o", "json").stdout)] == ["a/b", "c/d"]


# CSI as one character, and a mark that turns the writing direction.
CONTROLS = "a\x9b2J\u202eb\x7f\x1b"


def test_json_has_controls_as_escapes():
    with FakeFtd(GetJob=lambda request, context: jobs.Job(id="ft-1", message=CONTROLS)) as fake:
        for output, read in (("json", json.loads), ("yaml", yaml.safe_load)):
            text = fake.ftctl("show", "x", "-o", output).stdout
            assert not set(CONTROLS[1:2] + CONTROLS[4:5] + "\x7f\x1b") & set(text)
            assert read(text)["message"] == CONTROLS


def test_logs_are_raw_for_a_program_and_harmless_on_a_terminal():
    log = ("あ" * 5 + CONTROLS + "\n").encode() + b"\xff end\n"

    def parts(request, context):
        for i in range(0, len(log), 2):  # cuts each character
            yield api.TailLogResponse(data=log[i:i + 2])

    with FakeFtd(TailLog=parts) as fake:
        raw = subprocess.run([BIN / "ftctl", "logs", "x"], capture_output=True, env=fake.environment())
        assert raw.stdout == log
        ours, theirs = pty.openpty()
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            done = subprocess.run([BIN / "ftctl", "logs", "x"], stdout=theirs, stderr=subprocess.PIPE, env=fake.environment())
            os.close(theirs)
            assert done.returncode == 0, done.stderr
            assert terminal.read(4096).decode() == "あ" * 5 + "a?2J?b??\r\n? end\r\n"


def test_ls_table_and_filters():
    with FakeFtd(ListJobs=lambda request, context: api.ListJobsResponse(jobs=[full_job()])) as fake:
        head, row = fake.ftctl("ls", "--state", "failed", "--state", "RUNNING").stdout.splitlines()
        assert head.split() == "ID NAME STATE MODE MODEL STEP LOSS ETA TIME AGE FAILURE".split()
        assert row.split()[:7] == ["ft-01testtesttesttesttesttest", "first", "FAILED", "lora", "tiny", "4/10", "1.2500"]
        assert list(fake.calls("ListJobs")[0].states) == [jobs.Job.FAILED, jobs.Job.RUNNING]
        wide = fake.ftctl("ls", "-o", "wide").stdout
        assert "ada" in wide and "b=c,team=a" in wide and "OWNER" in wide


def test_empty_ls_keeps_stdout_for_data():
    with FakeFtd(ListJobs=lambda request, context: api.ListJobsResponse()) as fake:
        assert json.loads(fake.ftctl("ls", "-o", "json").stdout) == []
        assert "No jobs" in fake.ftctl("ls").stderr
        filtered = fake.ftctl("ls", "--state", "queued", "--state", "HELD")
        assert filtered.returncode == 0 and filtered.stderr == "No job is QUEUED OR HELD.\n"


def test_ls_shows_time_and_what_is_left():
    now = int(time.time())
    running = jobs.Job(id="ft-1", state=jobs.Job.RUNNING, create_time={"seconds": now - 7200}, start_time={"seconds": now - 3600},
                       progress=jobs.Progress(steps_planned=100), last_step=jobs.StepMetrics(step=40, step_seconds=2))
    failed = jobs.Job(id="ft-2", state=jobs.Job.FAILED, failure_reason=jobs.GPU_OUT_OF_MEMORY, create_time={"seconds": now - 60},
                      start_time={"seconds": now - 50}, end_time={"seconds": now - 45})
    waits = jobs.Job(id="ft-3", state=jobs.Job.QUEUED, create_time={"seconds": now - 5})
    with FakeFtd(ListJobs=lambda request, context: api.ListJobsResponse(jobs=[running, failed, waits])) as fake:
        rows = [row.split()[-4:] for row in fake.ftctl("ls").stdout.splitlines()[1:]]
    assert rows[0][0] == "2m00s" and rows[0][1].startswith("1h00m") and rows[0][3] == "-"
    assert rows[1][:2] == ["-", "5s"] and rows[1][3] == "GPU_OUT_OF_MEMORY"
    assert rows[2][:2] == ["-", "-"]


METRIC_KEYS = ["step", "epoch", "loss", "entropy", "mean_token_accuracy", "grad_norm", "grad_clip_ratio",
               "learning_rate", "tokens", "tokens_total", "padding_ratio", "tokens_per_second", "step_seconds", "mfu"]


def metric(i: int, loss: float) -> jobs.StepMetrics:
    known = {"mfu": i / 11} if i % 2 else {"grad_clip_ratio": i / 13}
    return jobs.StepMetrics(**known, step=i, epoch=i / 7, loss=loss, entropy=1 / 7, mean_token_accuracy=2 / 3,
                            grad_norm=1 / 3, learning_rate=1e-4 / 3, tokens=100 + i, tokens_total=(1 << 53) + i,
                            padding_ratio=0.0, tokens_per_second=1e300, step_seconds=5e-324)


@pytest.fixture
def with_metrics():
    steps = [metric(1, 0.1 + 0.2), metric(2, math.pi), metric(3, math.nan), metric(4, -math.inf)]

    def answer(request, context):
        yield api.QueryMetricsResponse(steps=steps[:3])
        yield api.QueryMetricsResponse(steps=steps[3:])

    with FakeFtd(QueryMetrics=answer) as fake:
        fake.steps = steps
        yield fake


def same(ours, step) -> bool:
    def equal(a, b):
        if isinstance(b, int):
            return int(a) == b
        return float(a) == b or (math.isnan(float(a)) and math.isnan(b))  # bit for bit but for NaN's payload

    absent = [key for key in ("mfu", "grad_clip_ratio") if not step.HasField(key)]
    assert all(ours[key] in (None, "") for key in absent)
    return all(equal(ours[key], getattr(step, key)) for key in METRIC_KEYS if key not in absent)


def test_metrics_keep_every_bit(with_metrics):
    rows = [json.loads(line) for line in with_metrics.ftctl("metrics", "x", "-o", "jsonl").stdout.splitlines()]
    assert all(list(row) == METRIC_KEYS for row in rows)
    assert all(map(same, rows, with_metrics.steps)) and len(rows) == 4
    assert isinstance(rows[0]["tokens_total"], int) and isinstance(rows[0]["loss"], float)
    assert rows[2]["loss"] == "NaN" and rows[3]["loss"] == "-Infinity", "as in proto3's JSON"
    assert json.loads(with_metrics.ftctl("metrics", "x", "-o", "json").stdout) == rows
    table = list(csv.DictReader(io.StringIO(with_metrics.ftctl("metrics", "x", "-o", "csv").stdout)))
    assert all(map(same, table, with_metrics.steps)) and len(table) == 4
    head, first, second, *_ = with_metrics.ftctl("metrics", "x").stdout.splitlines()
    assert head.split()[:3] == ["STEP", "EPOCH", "LOSS"]
    assert "9.1%" in first and "9.1%" not in second


def test_metrics_bounds_are_sent(with_metrics):
    with_metrics.ftctl("metrics", "x", "--from-step", "2", "--to_step", "9", "--max-points", "5")
    request = with_metrics.calls("QueryMetrics")[0]
    assert (request.from_step, request.to_step, request.max_points) == (2, 9, 5)


def test_metrics_of_a_broken_stream_have_no_step_twice():
    calls = []

    def answer(request, context):
        calls.append(request.from_step)
        yield api.QueryMetricsResponse(steps=[metric(i, 1.0) for i in range(max(1, request.from_step), 4)])
        if len(calls) == 1:
            fail(context, "UNAVAILABLE", message="broken")
        yield api.QueryMetricsResponse(steps=[metric(4, 1.0)])

    with FakeFtd(QueryMetrics=answer) as fake:
        result = fake.ftctl("metrics", "x", "-o", "jsonl")
        assert result.returncode == 0, result.stderr
        assert [json.loads(line)["step"] for line in result.stdout.splitlines()] == [1, 2, 3, 4]
        assert calls == [0, 4]


def test_metrics_of_a_stream_that_breaks_after_the_last_step_wanted():
    calls = []

    def answer(request, context):
        calls.append(request.from_step)
        yield api.QueryMetricsResponse(steps=[metric(i, 1.0) for i in (2, 3)])
        fail(context, "UNAVAILABLE", message="broken")

    with FakeFtd(QueryMetrics=answer) as fake:
        result = fake.ftctl("metrics", "x", "-o", "jsonl", "--from-step", "2", "--to-step", "3")
        assert result.returncode == 0, result.stderr
        assert [json.loads(line)["step"] for line in result.stdout.splitlines()] == [2, 3] and calls == [2]


@pytest.mark.parametrize("output, empty", [("jsonl", ""), ("json", "[]\n"), ("csv", "")])
def test_metrics_of_a_job_without_steps(output, empty):
    with FakeFtd(QueryMetrics=lambda request, context: iter(())) as fake:
        result = fake.ftctl("metrics", "x", "-o", output)
        assert result.returncode == 0 and result.stdout == empty


def test_checkpoints_and_info():
    checkpoint = jobs.Checkpoint(step=4, path="/s/checkpoint-4", size_bytes=12_345_678, attempt=1)
    info = api.ServerInfo(version="0.1.0", state_dir="/s", device="cpu", modes=[jobs.JobSpec.LORA], queued=2)
    with FakeFtd(ListCheckpoints=lambda r, c: api.ListCheckpointsResponse(checkpoints=[checkpoint]),
                 GetServerInfo=lambda r, c: info) as fake:
        assert agrees(json.loads(fake.ftctl("checkpoints", "x", "-o", "json").stdout), [protobuf_json(checkpoint)])
        assert "12.3 MB" in fake.ftctl("checkpoints", "x").stdout
        assert agrees(json.loads(fake.ftctl("info", "-o", "json").stdout), protobuf_json(info))
        assert "0 running, 2 queued" in fake.ftctl("info").stdout


def test_logs_pass_bytes_through():
    def tail(request, context):
        yield api.TailLogResponse(data=b"one\ntw")
        yield api.TailLogResponse(data="ö\n".encode())

    with FakeFtd(TailLog=tail) as fake:
        assert fake.ftctl("logs", "x", "-n", "7", "-f").stdout == "one\ntwö\n"
        request = fake.calls("TailLog")[0]
        assert request.lines == 7 and request.follow


@pytest.mark.parametrize("verb, method", [("cancel", "CancelJob"), ("pause", "PauseJob"), ("resume", "ResumeJob"),
                                          ("hold", "HoldJob"), ("release", "ReleaseJob")])
def test_actions(verb, method):
    with FakeFtd(**{method: lambda request, context: make_job("CANCELLING")}) as fake:
        result = fake.ftctl(verb, "first")
        assert result.returncode == 0 and "CANCELLING" in result.stderr and result.stdout == ""
        assert fake.calls(method)[0].job == "first"
        assert json.loads(fake.ftctl(verb, "first", "-o", "json").stdout)["state"] == "CANCELLING"


def test_pause_can_wait_for_the_device():
    states = iter(["PAUSING", "PAUSING", "PAUSED"])
    with FakeFtd(PauseJob=lambda request, context: make_job(next(states)),
                 GetJob=lambda request, context: make_job(next(states))) as fake:
        assert "is PAUSED" in fake.ftctl("pause", "--wait", "first").stderr
        assert len(fake.calls("GetJob")) == 2


def test_cancel_can_keep_and_say_why():
    with FakeFtd(CancelJob=lambda request, context: make_job("CANCELLING", message="asked to end early")) as fake:
        assert "CANCELLING: asked to end early." in fake.ftctl("cancel", "first", "--keep", "--reason", "good enough").stderr
        request = fake.calls("CancelJob")[0]
        assert request.keep and request.reason == "good enough"
        fake.ftctl("cancel", "first")
        assert not fake.calls("CancelJob")[1].keep


def test_update_sends_what_is_given_and_no_more():
    with FakeFtd(UpdateJob=lambda request, context: make_job("QUEUED")) as fake:
        fake.ftctl("update", "first", "--priority", "0")
        fake.ftctl("update", "first", "--label", "a=b=c", "--label", "d=", "--remove-label", "e")
        priority, labels = fake.calls("UpdateJob")
        assert priority.job == "first" and priority.HasField("priority") and priority.priority == 0
        assert not labels.HasField("priority") and dict(labels.labels) == {"a": "b=c", "d": ""}
        assert list(labels.remove_labels) == ["e"]
        for args in [[], ["--label", "novalue"], ["--priority", "high"]]:
            assert fake.ftctl("update", "first", *args).returncode == 2
        assert len(fake.calls("UpdateJob")) == 2
