"""The API through a third-party client: grpcio."""

import hashlib
import json
import os
import pathlib
import random
import stat
import subprocess
import urllib.request
import uuid

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

import prometheus_text
from ftd_fixture import BIN, api, api_grpc, jobs, wait_until
from helpers import ROWS, detail, expect_error, fake_ftd, submit
from tiny_model import make_stub_model

Code = grpc.StatusCode


@pytest.fixture(scope="module")
def ftd():
    with fake_ftd("steps=3 save=2") as daemon:
        yield daemon


@pytest.fixture(scope="module")
def held_ftd():
    """A daemon whose worker never comes to its first step: what is submitted second stays QUEUED."""
    with fake_ftd("prepare_ms=600000", config="max_queued = 3\n") as daemon:
        submit(daemon, name="blocker")
        daemon.wait("blocker", "PREPARING")
        yield daemon


def test_submit_answers_with_the_resolved_job(ftd):
    job = submit(ftd, name="resolved", labels={"team": "blue"}, priority=3)
    assert job.id.startswith("ft-") and len(job.id) == 29
    assert (job.name, job.priority, dict(job.labels)) == ("resolved", 3, {"team": "blue"})
    assert job.spec.learning_rate == 1e-4 and job.spec.batch_size == 8 and job.spec.dtype == jobs.JobSpec.FLOAT32
    assert len(job.spec.lora.target_modules) == 7
    assert job.spec.dataset.sha256 == job.spec.dataset.upload_sha256
    assert job.owner
    done = ftd.wait("resolved", "SUCCEEDED")
    assert done.id == job.id and done.result_dir == str(ftd.state_dir / "results" / "resolved")
    assert [a.number for a in done.attempts] == [1] and done.attempts[0].exit_code == 0
    assert done.last_step.step == 3 and [c.step for c in done.checkpoints] == [2]
    assert done.HasField("start_time") and done.HasField("end_time")


def test_same_request_same_job(ftd):
    spec = ftd.spec(ftd.model, ROWS)
    request_id = str(uuid.uuid4())
    first = ftd.submit(spec, request_id=request_id, labels={"a": "1", "b": "2"})
    again = ftd.submit(spec, request_id=request_id, labels={"b": "2", "a": "1"})
    assert first.id == again.id
    expect_error(lambda: ftd.submit(spec, request_id=request_id, priority=1), Code.ALREADY_EXISTS, "REQUEST_ID_REUSED")


def test_validate_only_stores_nothing(ftd):
    before = len(ftd.stub.ListJobs(api.ListJobsRequest(page_size=1000)).jobs)
    job = ftd.stub.SubmitJob(api.SubmitJobRequest(spec=ftd.spec(ftd.model, ROWS), validate_only=True))
    assert not job.id and job.spec.num_epochs == 1
    assert len(ftd.stub.ListJobs(api.ListJobsRequest(page_size=1000)).jobs) == before


def spec_change(**fields):
    def change(request):
        for key, value in fields.items():
            setattr(request.spec, key, value)
    return change


def request_change(**fields):
    def change(request):
        for key, value in fields.items():
            getattr(request, key).update(value) if isinstance(value, dict) else setattr(request, key, value)
    return change


def dataset(**fields):
    def change(request):
        request.spec.dataset.Clear()
        for key, value in fields.items():
            setattr(request.spec.dataset, key, value)
    return change


def lora_rank(request):
    request.spec.lora.rank = 0


def relative_adapter(request):
    request.spec.lora.init_adapter = "adapter"


def init_adapter(request):
    request.spec.lora.init_adapter = "/no/such/adapter"


BAD_SUBMITS = [
    ("no mode", spec_change(mode=0), Code.INVALID_ARGUMENT, "FIELD_INVALID", "mode"),
    ("unknown mode", spec_change(mode=77), Code.INVALID_ARGUMENT, "FIELD_INVALID", "mode"),
    ("unknown dtype", spec_change(dtype=9), Code.INVALID_ARGUMENT, "FIELD_INVALID", "dtype"),
    ("infinite epochs", spec_change(num_epochs=float("inf")), Code.INVALID_ARGUMENT, "FIELD_INVALID", "num_epochs"),
    ("no model", spec_change(model=""), Code.INVALID_ARGUMENT, "FIELD_INVALID", "model"),
    ("missing model", spec_change(model="/no/such/model"), Code.NOT_FOUND, "MODEL_NOT_FOUND", None),
    ("unknown alias", spec_change(model="llama9"), Code.NOT_FOUND, "MODEL_NOT_FOUND", None),
    ("relative model", spec_change(model="../model"), Code.NOT_FOUND, "MODEL_NOT_FOUND", None),
    ("batch size", spec_change(batch_size=0), Code.INVALID_ARGUMENT, "FIELD_INVALID", "batch_size"),
    ("learning rate", spec_change(learning_rate=-1), Code.INVALID_ARGUMENT, "FIELD_INVALID", "learning_rate"),
    ("learning rate NaN", spec_change(learning_rate=float("nan")), Code.INVALID_ARGUMENT, "FIELD_INVALID",
     "learning_rate"),
    ("rank", lora_rank, Code.INVALID_ARGUMENT, "FIELD_INVALID", "lora.rank"),
    ("missing adapter", init_adapter, Code.NOT_FOUND, "MODEL_NOT_FOUND", None),
    ("relative adapter", relative_adapter, Code.INVALID_ARGUMENT, "FIELD_INVALID", "lora.init_adapter"),
    ("unknown upload", dataset(upload_sha256="0" * 64), Code.NOT_FOUND, "DATASET_NOT_FOUND", None),
    ("upload that is no hash", dataset(upload_sha256="../../etc/passwd"), Code.INVALID_ARGUMENT, "FIELD_INVALID",
     "dataset.upload_sha256"),
    ("path outside roots", dataset(server_path="/etc/passwd"), Code.INVALID_ARGUMENT, "FIELD_INVALID",
     "dataset.server_path"),
    ("upload of an unknown format", dataset(upload_sha256="0" * 64, file_name="rows.xml"), Code.INVALID_ARGUMENT,
     "FIELD_INVALID", "dataset.file_name"),
    ("shape beside template", dataset(upload_sha256="0" * 64, shape=jobs.Dataset.TEXT, template="{a}"),
     Code.INVALID_ARGUMENT, "FIELD_INVALID", "dataset.shape"),
    ("unknown shape", dataset(upload_sha256="0" * 64, shape=9), Code.INVALID_ARGUMENT, "FIELD_INVALID", "dataset.shape"),
    ("template that is none", dataset(upload_sha256="0" * 64, template="{a"), Code.INVALID_ARGUMENT, "FIELD_INVALID",
     "dataset.template"),
    ("completions of texts", dataset(upload_sha256="0" * 64, shape=jobs.Dataset.TEXT, train_on=jobs.Dataset.COMPLETIONS),
     Code.INVALID_ARGUMENT, "FIELD_INVALID", "dataset.train_on"),
    ("negative skips", dataset(upload_sha256="0" * 64, skip_bad_rows=-1), Code.INVALID_ARGUMENT, "FIELD_INVALID",
     "dataset.skip_bad_rows"),
    ("relative path", dataset(server_path="rows.jsonl"), Code.INVALID_ARGUMENT, "FIELD_INVALID",
     "dataset.server_path"),
    ("name", request_change(name="Has Spaces"), Code.INVALID_ARGUMENT, "FIELD_INVALID", "name"),
    ("name with slash", request_change(name="../x"), Code.INVALID_ARGUMENT, "FIELD_INVALID", "name"),
    ("long name", request_change(name="a" * 64), Code.INVALID_ARGUMENT, "FIELD_INVALID", "name"),
    ("name like an id", request_change(name="ft-x"), Code.INVALID_ARGUMENT, "FIELD_INVALID", "name"),
    ("priority", request_change(priority=1001), Code.INVALID_ARGUMENT, "FIELD_INVALID", "priority"),
    ("least priority", request_change(priority=-2**31), Code.INVALID_ARGUMENT, "FIELD_INVALID", "priority"),
    ("request id", request_change(request_id="again"), Code.INVALID_ARGUMENT, "FIELD_INVALID", "request_id"),
    ("labels", request_change(labels={str(i): "x" for i in range(17)}), Code.INVALID_ARGUMENT, "FIELD_INVALID",
     "labels"),
    ("label key", request_change(labels={"k" * 65: "x"}), Code.INVALID_ARGUMENT, "FIELD_INVALID", "labels"),
    ("label value", request_change(labels={"k": "x" * 513}), Code.INVALID_ARGUMENT, "FIELD_INVALID", "labels"),
]


@pytest.mark.parametrize("change,code,reason,field", [row[1:] for row in BAD_SUBMITS], ids=[row[0] for row in BAD_SUBMITS])
def test_bad_submits_are_refused(ftd, change, code, reason, field):
    request = api.SubmitJobRequest(spec=ftd.spec(ftd.model, ROWS))
    change(request)
    error = expect_error(lambda: ftd.stub.SubmitJob(request), code, reason)
    if field is not None:
        violations = detail(error, error_details_pb2.BadRequest).field_violations
        path = field if field in ("name", "priority", "request_id", "labels") else f"spec.{field}"
        assert any(v.field.startswith(path) and v.description for v in violations), error.details()
        assert field in error.details() and path not in error.details().split(field)[0]


def truncated(model: pathlib.Path):
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def no_tokenizer(model: pathlib.Path):
    (model / "tokenizer.json").unlink()


def other_architecture(model: pathlib.Path):
    config = json.loads((model / "config.json").read_text())
    config.update(architectures=["BertModel"], model_type="bert")
    (model / "config.json").write_text(json.dumps(config))


def no_json(model: pathlib.Path):
    (model / "config.json").write_text("{")


@pytest.mark.parametrize("damage,code,reasons", [
    (truncated, Code.FAILED_PRECONDITION, ["MODEL_CORRUPT"]),
    (no_tokenizer, Code.NOT_FOUND, ["MODEL_NOT_FOUND"]),
    (other_architecture, Code.FAILED_PRECONDITION, ["MODEL_UNSUPPORTED"]),
    (no_json, Code.FAILED_PRECONDITION, ["MODEL_CORRUPT"]),
])
def test_bad_models_are_refused(ftd, tmp_path, damage, code, reasons):
    model = make_stub_model(tmp_path / "model")
    # A good verdict is not outlived by the files.
    ftd.stub.SubmitJob(api.SubmitJobRequest(spec=ftd.spec(model, ROWS), validate_only=True))
    damage(model)
    with pytest.raises(grpc.RpcError) as caught:
        submit(ftd, model=model)
    assert caught.value.code() == code, caught.value.details()
    assert detail(caught.value, error_details_pb2.ErrorInfo).reason in reasons
    assert str(model) in caught.value.details()


def test_names_are_unique_also_against_results(ftd):
    submit(ftd, name="taken")
    expect_error(lambda: submit(ftd, name="taken"), Code.ALREADY_EXISTS, "NAME_IN_USE")
    (ftd.state_dir / "results" / "left-over").mkdir()
    expect_error(lambda: submit(ftd, name="left-over"), Code.ALREADY_EXISTS, "NAME_IN_USE")


def test_unknown_jobs_everywhere(ftd):
    stub = ftd.stub
    for method in ["GetJob", "CancelJob", "PauseJob", "ResumeJob", "HoldJob", "ReleaseJob", "UpdateJob", "RetryJob", "DeleteJob",
                   "ListCheckpoints", "WatchJob", "TailLog", "QueryMetrics", "DownloadResult", "ExportJob"]:
        for name in ["nobody", ""]:
            request = getattr(api, f"{method}Request")(job=name)
            expect_error(lambda: getattr(stub, method)(request), Code.NOT_FOUND, "JOB_NOT_FOUND")
    expect_error(lambda: stub.CancelJob(api.CancelJobRequest(job="nobody", keep=True)), Code.NOT_FOUND, "JOB_NOT_FOUND")


def test_a_call_of_another_release_is_unimplemented(ftd):
    with grpc.insecure_channel(ftd.address) as channel, pytest.raises(grpc.RpcError) as error:
        channel.unary_unary("/ftd.v1.FineTuning/Telepathy")(b"", timeout=30)
    assert error.value.code() == Code.UNIMPLEMENTED


def test_list_pages_and_filters(ftd):
    for _ in range(5):
        submit(ftd)
    everything = ftd.stub.ListJobs(api.ListJobsRequest(page_size=1000)).jobs
    assert [j.id for j in everything] == sorted((j.id for j in everything), reverse=True)
    seen, token = [], ""
    while True:
        page = ftd.stub.ListJobs(api.ListJobsRequest(page_size=2, page_token=token))
        assert len(page.jobs) <= 2
        seen += [j.id for j in page.jobs]
        token = page.next_page_token
        if not token:
            break
    assert seen == [j.id for j in everything]
    assert not ftd.stub.ListJobs(api.ListJobsRequest(states=[jobs.Job.HELD])).jobs
    token = ftd.stub.ListJobs(api.ListJobsRequest(page_size=2)).next_page_token
    for request in [api.ListJobsRequest(page_size=-1), api.ListJobsRequest(page_token="junk"),
                    api.ListJobsRequest(page_token=token, states=[jobs.Job.FAILED]), api.ListJobsRequest(states=[0])]:
        expect_error(lambda: ftd.stub.ListJobs(request), Code.INVALID_ARGUMENT, "FIELD_INVALID")


def test_queue_full_hold_and_release(held_ftd):
    first, second = submit(held_ftd), submit(held_ftd)
    assert (first.position, second.position) == (1, 2)
    assert held_ftd.job(first.id).pending_reason == jobs.Job.GPU_BUSY
    stub = held_ftd.stub
    assert stub.HoldJob(api.HoldJobRequest(job=first.id)).state == jobs.Job.HELD
    assert stub.HoldJob(api.HoldJobRequest(job=first.id)).state == jobs.Job.HELD
    assert held_ftd.job(second.id).position == 1
    expect_error(lambda: stub.HoldJob(api.HoldJobRequest(job="blocker")), Code.FAILED_PRECONDITION, "STATE_CONFLICT")
    released = stub.ReleaseJob(api.ReleaseJobRequest(job=first.id))
    assert (released.state, released.position) == (jobs.Job.QUEUED, 1)
    submit(held_ftd)
    expect_error(lambda: submit(held_ftd), Code.RESOURCE_EXHAUSTED, "QUEUE_FULL")


def test_upload_twice_and_wrongly(ftd):
    data = os.urandom(3 << 20)
    digest = hashlib.sha256(data).hexdigest()

    def send(*parts):
        return ftd.stub.UploadFile(iter(parts))

    def head(**fields):
        return api.UploadFileRequest(header=api.UploadFileRequest.Header(**fields))

    def body(chunk):
        return api.UploadFileRequest(data=chunk)

    chunks = [body(data[i:i + (1 << 20)]) for i in range(0, len(data), 1 << 20)]
    good = head(sha256=digest, size_bytes=len(data))
    expect_error(lambda: send(good, *chunks[:-1]), Code.INVALID_ARGUMENT, "FIELD_INVALID")
    expect_error(lambda: send(good, *chunks, body(b"x")), Code.INVALID_ARGUMENT, "FIELD_INVALID")
    expect_error(lambda: send(good, *reversed(chunks)), Code.DATA_LOSS, "HASH_MISMATCH")
    expect_error(lambda: send(*chunks), Code.INVALID_ARGUMENT, "FIELD_INVALID")
    expect_error(lambda: send(), Code.INVALID_ARGUMENT, "FIELD_INVALID")
    expect_error(lambda: send(good, good), Code.INVALID_ARGUMENT, "FIELD_INVALID")
    expect_error(lambda: send(head(sha256="../x", size_bytes=1)), Code.INVALID_ARGUMENT, "FIELD_INVALID")
    expect_error(lambda: send(head(sha256=digest, size_bytes=-1)), Code.INVALID_ARGUMENT, "FIELD_INVALID")
    expect_error(lambda: send(head(sha256="1" * 64, size_bytes=1 << 60)), Code.RESOURCE_EXHAUSTED, "DISK_RESERVE")
    uploads = ftd.state_dir / "uploads"
    assert not (uploads / digest).exists() and not list(uploads.glob(".tmp*"))
    assert not send(good, *chunks).already_present
    assert (uploads / digest).read_bytes() == data
    assert send(good, *chunks).already_present


def test_result_comes_home(ftd):
    job = submit(ftd, name="comes-home")
    ftd.wait(job.id, "SUCCEEDED")
    files, current, data = {}, None, b""
    for message in ftd.stub.DownloadResult(api.DownloadResultRequest(job="comes-home")):
        part = message.WhichOneof("part")
        if part == "file":
            current, data = message.file, b""
        elif part == "data":
            assert len(message.data) <= 1 << 20
            data += message.data
        else:
            assert message.sha256 == hashlib.sha256(data).hexdigest() and len(data) == current.size_bytes
            files[current.path] = data
    assert list(files) == ["adapter_config.json", "adapter_model.safetensors", "sub/empty"]
    assert files["adapter_model.safetensors"] == b"w" * (3 << 20)


def test_no_result_before_success(held_ftd):
    expect_error(lambda: held_ftd.stub.DownloadResult(api.DownloadResultRequest(job="blocker")),
                 Code.FAILED_PRECONDITION, "STATE_CONFLICT")


def test_query_metrics(ftd):
    with fake_ftd("steps=2500 step_ms=0") as many:
        job = submit(many)
        many.wait(job.id, "SUCCEEDED")
        assert [s.step for s in many.steps(job.id)] == list(range(1, 2501))
        assert [s.step for s in many.steps(job.id, from_step=10, to_step=12)] == [10, 11, 12]
        few = [s.step for s in many.steps(job.id, max_points=100)]
        assert len(few) == 100 and few[0] == 1 and few[-1] == 2500
        first = many.steps(job.id, to_step=1)[0]
        assert (first.tokens, first.tokens_total, first.samples, first.loss) == (100, 100, 8, 4.0)
        for bad in [dict(from_step=-1), dict(from_step=5, to_step=4), dict(max_points=-1)]:
            expect_error(lambda: many.stub.QueryMetrics(api.QueryMetricsRequest(job=job.id, **bad)),
                         Code.INVALID_ARGUMENT, "FIELD_INVALID")


def test_tail_log(ftd):
    job = submit(ftd)
    followed = b"".join(m.data for m in ftd.stub.TailLog(api.TailLogRequest(job=job.id, follow=True), timeout=30))
    assert followed == b"attempt 1 from step 0\n"
    log = ftd.attempt_dir(job.id, 1) / "worker.log"
    log.write_bytes(b"".join(b"line %d\n" % i for i in range(20000)))

    def tail(**fields):
        return b"".join(m.data for m in ftd.stub.TailLog(api.TailLogRequest(job=job.id, **fields)))

    assert tail() == log.read_bytes()
    assert tail(lines=2) == b"line 19998\nline 19999\n"
    assert tail(lines=15000) == b"".join(log.read_bytes().splitlines(keepends=True)[-15000:])
    assert tail(lines=10**9) == log.read_bytes()
    for bad in [dict(attempt=2), dict(attempt=-1), dict(lines=-1)]:
        expect_error(lambda: tail(**bad), Code.INVALID_ARGUMENT, "FIELD_INVALID")


def test_server_paths_only_under_their_roots(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside.jsonl"
    root.mkdir()
    (root / "rows.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    outside.write_text("secret\n")
    (root / "link.jsonl").symlink_to(outside)
    (tmp_path / "root-too").mkdir()
    (tmp_path / "root-too" / "rows.jsonl").write_text("x")
    with fake_ftd(config=f'dataset_roots = ["{root}/"]\n[models]\ntiny = "{make_stub_model(tmp_path / "m")}"\n') as ftd:
        job = submit(ftd, rows=root / "rows.jsonl", model="tiny")
        assert job.spec.model == "tiny" and job.spec.dataset.file_name == "rows.jsonl"
        assert job.spec.dataset.sha256 == hashlib.sha256((root / "rows.jsonl").read_bytes()).hexdigest()
        ftd.wait(job.id, "SUCCEEDED")
        request = json.loads((ftd.attempt_dir(job.id, 1) / "request.json").read_text())
        assert request["model_dir"] == str(tmp_path / "m") and [f["path"] for f in request["dataset_files"]] == [
            str(root / "rows.jsonl")]
        for path in [root / "link.jsonl", outside, root / ".." / "outside.jsonl", tmp_path / "root-too" / "rows.jsonl",
                     "/proc/self/environ"]:
            expect_error(lambda: submit(ftd, rows=path), Code.INVALID_ARGUMENT, "FIELD_INVALID")
        # A directory or glob with one such link in it is refused whole; what lies outside is not even searched.
        for path in [root, root / "*.jsonl", tmp_path / "*" / "rows.jsonl", root / ".." / "root-too" / "*"]:
            expect_error(lambda: submit(ftd, rows=path), Code.INVALID_ARGUMENT, "FIELD_INVALID")
        for path in [root / "absent.jsonl", root / "*.csv", root / "*" / ".." / ".." / "*.jsonl"]:
            expect_error(lambda: submit(ftd, rows=path), Code.NOT_FOUND, "DATASET_NOT_FOUND")


def test_uploads_lie_where_the_server_put_them(ftd):
    """A path that a client gives with an upload is not followed."""
    digest = ftd.upload(b'{"text": "a"}\n')
    spec = ftd.spec(ftd.model, ROWS)
    spec.dataset.Clear()
    spec.dataset.files.add(sha256=digest, name="a.jsonl", server_path="/etc/passwd")
    job = ftd.submit(spec)
    assert [f.server_path for f in job.spec.dataset.files] == [""]
    ftd.wait(job.id, "SUCCEEDED")
    request = json.loads((ftd.attempt_dir(job.id, 1) / "request.json").read_text())
    assert [(f["path"], f.get("verify", False)) for f in request["dataset_files"]] == [
        (str(ftd.state_dir / "uploads" / digest), False)]


def test_server_directories_and_globs_are_bound_to_their_files(tmp_path):
    root = tmp_path / "root"
    (root / "data").mkdir(parents=True)
    for name in ["b.jsonl", "a.jsonl", "README.md", "data/c.jsonl"]:
        (root / name).write_text(json.dumps({"text": name}) + "\n")
    with fake_ftd(config=f'dataset_roots = ["{root}"]\n[models]\ntiny = "{make_stub_model(tmp_path / "m")}"\n') as ftd:
        for pattern, names in [(root, ["a.jsonl", "b.jsonl", "data/c.jsonl"]), (root / "*.jsonl", ["a.jsonl", "b.jsonl"]),
                               (root / "**" / "c.jsonl", ["data/c.jsonl"])]:
            job = submit(ftd, rows=pattern, model="tiny")
            bound = job.spec.dataset
            assert [file.name for file in bound.files] == names and bound.file_name == pattern.name
            digests = [hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names]
            assert [file.sha256 for file in bound.files] == digests
            whole = digests[0] if len(digests) == 1 else hashlib.sha256(
                "".join(d + "\n" for d in digests).encode()).hexdigest()
            assert bound.sha256 == whole
            ftd.wait(job.id, "SUCCEEDED")
            request = json.loads((ftd.attempt_dir(job.id, 1) / "request.json").read_text())
            assert [(f["path"], f["verify"]) for f in request["dataset_files"]] == [(str(root / n), True) for n in names]


def test_results_directory_must_be_writable(ftd):
    with fake_ftd() as broken:
        results = broken.state_dir / "results"
        results.rmdir()
        results.write_text("a file in its place")
        expect_error(lambda: submit(broken), Code.FAILED_PRECONDITION, "PATH_NOT_WRITABLE")
        results.unlink()
        results.mkdir()
        broken.wait(submit(broken).id, "SUCCEEDED")


def mutate(rng, data: bytes) -> bytes:
    data = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        choice = rng.randrange(4)
        if choice == 0 and at < len(data):
            data[at] = rng.randrange(256)
        elif choice == 1:
            data[at:at] = rng.randbytes(rng.randint(1, 8))
        elif choice == 2:
            del data[at:at + rng.randint(1, 8)]
        else:
            data[at:at] = data[rng.randrange(len(data) + 1):][: rng.randint(1, 40)]
    return bytes(data)


def test_mutated_requests_never_end_the_server(ftd):
    seed = int(os.environ.get("FTD_TEST_SEED", random.SystemRandom().randrange(2**32)))
    print("FTD_TEST_SEED", seed)
    rng = random.Random(seed)
    spec = ftd.spec(ftd.model, ROWS, num_epochs=2, batch_size=4, seed=7, shuffle=True, lora_rank=4, lora_dropout=0.1,
                    lora_target_modules=["q_proj", "v_proj"], revision="main")
    requests = [
        ("SubmitJob", api.SubmitJobRequest(spec=spec, name="n", labels={"k": "v"}, validate_only=True)),
        ("ListJobs", api.ListJobsRequest(page_size=5, page_token="x", states=[1])),
        ("CancelJob", api.CancelJobRequest(job="nobody", reason="r")),
    ]
    answered = 0
    for _ in range(600):
        method, request = rng.choice(requests)
        call = ftd.channel.unary_unary(f"/ftd.v1.FineTuning/{method}")
        try:
            call(mutate(rng, request.SerializeToString()), timeout=20)
        except grpc.RpcError as error:
            assert error.code() not in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED), error.details()
        answered += 1
    assert answered == 600 and ftd.process.poll() is None


def test_oversized_message_is_refused_and_the_server_lives(ftd):
    with pytest.raises(grpc.RpcError) as caught:
        submit(ftd, labels={"k": "x" * (5 << 20)})
    assert caught.value.code() == Code.RESOURCE_EXHAUSTED
    assert ftd.stub.GetServerInfo(api.GetServerInfoRequest()).version


def test_health_and_reflection(ftd):
    checker = health_pb2_grpc.HealthStub(ftd.channel)
    for service in ["", "ftd.v1.FineTuning"]:
        reply = checker.Check(health_pb2.HealthCheckRequest(service=service))
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    database = ProtoReflectionDescriptorDatabase(ftd.channel)
    assert "ftd.v1.FineTuning" in database.get_services()
    described = database.FindFileContainingSymbol("ftd.v1.FineTuning")
    assert {m.name for s in described.service for m in s.method} >= {"SubmitJob", "WatchJob", "DownloadResult"}
    database = None  # its stream ends
    assert ftd.stub.GetServerInfo(api.GetServerInfoRequest()).version and ftd.process.poll() is None


def test_server_info_and_addresses(ftd):
    info = ftd.stub.GetServerInfo(api.GetServerInfoRequest())
    assert info.state_dir == str(ftd.state_dir) and info.listen_address == ftd.address
    assert info.device in ("cpu", "cuda") and list(info.modes) == [
        jobs.JobSpec.LORA, jobs.JobSpec.FULL, jobs.JobSpec.QLORA]
    addresses = json.loads((ftd.state_dir / "addresses.json").read_text())
    assert addresses["listen"] == [ftd.address] and addresses["pid"] == ftd.process.pid
    assert stat.S_IMODE(ftd.socket.stat().st_mode) == 0o660


def test_metrics_scrape():
    with fake_ftd("steps=4 save=2", args=["--metrics-listen", "127.0.0.1:0"]) as ftd:
        job = submit(ftd)
        ftd.wait(job.id, "SUCCEEDED")
        expect_error(lambda: ftd.job("nobody"), Code.NOT_FOUND, "JOB_NOT_FOUND")
        address = ftd.stub.GetServerInfo(api.GetServerInfoRequest()).metrics_address
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as reply:
            text = reply.read().decode()
    samples = prometheus_text.parse(text)

    def value(name, **labels):
        return samples[name, tuple(sorted(labels.items()))]

    mine = dict(ft_job=job.id, model="model", mode="lora")
    assert value("ftd_jobs", state="SUCCEEDED") == 1 and value("ftd_jobs", state="QUEUED") == 0
    assert value("ftd_jobs_submitted_total", mode="lora") == 1
    assert value("ftd_jobs_finished_total", mode="lora", state="SUCCEEDED", reason="") == 1
    assert value("ftd_job_attempts_total", reason="SUCCEEDED") == 1
    assert value("ftd_worker_exits_total", reason="exit_0") == 1
    assert value("ftd_job_queue_wait_seconds_count") == 1 and value("ftd_job_duration_seconds_count") == 1
    assert value("ftd_worker_up") == 0 and value("ftd_watchers") == 0
    assert value("ftd_train_step", **mine) == 4 and value("ftd_train_steps_planned", **mine) == 4
    assert value("ftd_train_tokens_total", **mine) == 400 and value("ftd_train_samples_total", **mine) == 32
    assert value("ftd_train_loss", **mine) == 2.0
    assert value("ftd_train_step_duration_seconds_count", **mine) == 4
    assert value("ftd_train_step_duration_seconds_bucket", le="+Inf", **mine) == 4
    assert value("ftd_checkpoints_total", result="ok", **mine) == 2
    assert value("ftd_sqlite_db_bytes") > 0 and value("ftd_filesystem_free_bytes", path_role="state") > 0
    assert value("grpc_server_handled_total", grpc_type="unary", grpc_service="ftd.v1.FineTuning",
                 grpc_method="SubmitJob", grpc_code="OK") == 1
    assert value("grpc_server_handled_total", grpc_type="unary", grpc_service="ftd.v1.FineTuning",
                 grpc_method="GetJob", grpc_code="NotFound") == 1
    assert any(name == "ftd_build_info" for name, _ in samples)


def run_ftd(*args, env=None):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("FTD_")}
    return subprocess.run([BIN / "ftd", *map(str, args)], capture_output=True, text=True, timeout=30,
                          env={**clean, **(env or {})})


def test_command_line(tmp_path):
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text("max_queued = 7\n")
    bad.write_text("max_queud = 7\n")
    checked = run_ftd("--config", good, "--check-config")
    assert (checked.returncode, checked.stdout) == (0, "")
    refused = run_ftd("--config", bad, "--check-config")
    assert refused.returncode == 78 and 'did you mean "max_queued"' in refused.stderr and not refused.stdout
    assert run_ftd("--config", good, "--check-config", env={"FTD_MAX_QUEUED": "x"}).returncode == 78
    printed = run_ftd("--config", good, "--state-dir", "/s", "--print-config", env={"FTD_STOP_GRACE_SECONDS": "5"})
    assert "max_queued = 7" in printed.stdout and "stop_grace_seconds = 5" in printed.stdout
    assert "state_dir = '/s'" in printed.stdout.replace('"', "'")
    typo = run_ftd("--statedir", "/s")
    assert typo.returncode == 2 and "--state-dir" in typo.stderr and not typo.stdout
    assert run_ftd("--version").stdout.startswith("ftd ")
    assert "--metrics-listen" in run_ftd("--help").stdout
    assert run_ftd("--listen", "0.0.0.0:1").returncode == 78


def test_second_daemon_is_kept_out(ftd, tmp_path):
    same_state = run_ftd("--state-dir", ftd.state_dir, "--listen", f"unix:{tmp_path}/s", "--metrics-listen", "off")
    assert same_state.returncode == 1 and "another ftd uses the state directory" in same_state.stderr
    same_socket = run_ftd("--state-dir", tmp_path / "state", "--listen", ftd.address, "--metrics-listen", "off")
    assert same_socket.returncode == 1 and "another process serves" in same_socket.stderr
    assert ftd.stub.GetServerInfo(api.GetServerInfoRequest()).version


def test_tcp_on_loopback_and_the_metrics_port():
    with fake_ftd(args=["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]) as ftd:
        addresses = json.loads((ftd.state_dir / "addresses.json").read_text())
        tcp = [a for a in addresses["listen"] if not a.startswith("unix:")]
        with grpc.insecure_channel(tcp[0]) as channel:
            assert api_grpc.FineTuningStub(channel).GetServerInfo(api.GetServerInfoRequest(), timeout=10).version
        taken = run_ftd("--state-dir", ftd.root / "s2", "--listen", f"unix:{ftd.root}/s2.sock", "--metrics-listen",
                        addresses["metrics"])
        assert taken.returncode == 1 and "cannot serve metrics" in taken.stderr


def test_stale_socket_is_replaced():
    with fake_ftd() as ftd:
        ftd.kill()
        assert ftd.socket.exists()
        ftd.start()
        assert ftd.terminate() == 0
        wait_until(lambda: not ftd.socket.exists(), "the socket to go", 5)
