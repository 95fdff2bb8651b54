"""submit: the dataset's upload, the reply, and repeated submits."""

import hashlib
import json
import threading

import pytest

from fake_ftd import FakeFtd, Script, change, fail, step
from ftd_fixture import api, jobs

FLAGS = ("submit", "--mode", "lora", "--model", "alias", "--dataset")


def accept(request, context):
    return jobs.Job(id="ft-1", name=request.name, state=jobs.Job.QUEUED, position=1, spec=request.spec)


@pytest.fixture
def fake():
    with FakeFtd(SubmitJob=accept) as fake:
        yield fake


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 5_000_001])
def test_dataset_arrives_byte_for_byte(fake, tmp_path, size):
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    path = tmp_path / "my rows.jsonl"
    path.write_bytes(data)
    result = fake.ftctl(*FLAGS, path)
    assert result.returncode == 0, result.stderr
    digest = hashlib.sha256(data).hexdigest()
    header = fake.upload_headers[0]
    assert (header.sha256, header.size_bytes, header.file_name) == (digest, size, "my rows.jsonl")
    assert fake.uploads[digest] == data
    dataset = fake.calls("SubmitJob")[0].spec.dataset
    assert dataset.upload_sha256 == digest and dataset.file_name == "my rows.jsonl"


def test_a_server_that_has_the_file_may_answer_at_once(fake, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"x" * 8_000_000)
    seen = []

    def present(parts, context):
        seen.append(next(parts).header)
        return api.UploadFileResponse(sha256=seen[0].sha256, size_bytes=8_000_000, already_present=True)

    fake.handlers["UploadFile"] = present
    assert fake.ftctl(*FLAGS, path).returncode == 0
    assert len(seen) == 1 and len(fake.calls("SubmitJob")) == 1


@pytest.mark.parametrize("code, reason, exit_code", [
    ("DATA_LOSS", "HASH_MISMATCH", 74), ("RESOURCE_EXHAUSTED", "DISK_RESERVE", 75),
    ("INVALID_ARGUMENT", "FIELD_INVALID", 65),
])
def test_refused_upload_submits_nothing(fake, tmp_path, code, reason, exit_code):
    def refuse(parts, context):
        for _ in parts:
            pass
        fail(context, code, reason, "no")

    fake.handlers["UploadFile"] = refuse
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"x")
    result = fake.ftctl(*FLAGS, path)
    assert result.returncode == exit_code and result.stderr == "ftctl: no\n" and fake.calls("SubmitJob") == []


def test_missing_dataset_is_66(fake):
    result = fake.ftctl(*FLAGS, "/nowhere/rows.jsonl")
    assert result.returncode == 66
    assert "dataset /nowhere/rows.jsonl does not exist" in result.stderr and result.stdout == ""


@pytest.mark.parametrize("files, argument, exit_code, words", [
    ([], "", 66, "holds no data files"), (["a.txt"], "", 66, "holds no data files"),
    (["a.txt"], "a.txt", 65, ".jsonl"), (["a.csv", "b.jsonl"], "", 65, "several formats"),
    (["test.csv"], "", 65, "test split"), (["a.csv"], "*.jsonl", 66, "holds no data files"),
])
def test_datasets_without_data_are_refused_before_anything_is_sent(fake, tmp_path, files, argument, exit_code, words):
    for name in files:
        (tmp_path / name).write_text("x")
    result = fake.ftctl(*FLAGS, tmp_path / argument)
    assert result.returncode == exit_code and words in result.stderr, result
    assert fake.upload_headers == [] and fake.calls("SubmitJob") == []


@pytest.mark.parametrize("argument, names", [
    ("", ["a.jsonl", "b.jsonl", "more/c.jsonl"]), ("/", ["a.jsonl", "b.jsonl", "more/c.jsonl"]),
    ("/?.jsonl", ["a.jsonl", "b.jsonl"]), ("/more/*", ["c.jsonl"]),
])
def test_every_file_of_a_directory_or_glob_is_sent(fake, tmp_path, argument, names):
    rows = tmp_path / "rows"
    (rows / "more").mkdir(parents=True)
    for name in ["b.jsonl", "a.jsonl", "more/c.jsonl", "notes.txt", ".hidden.jsonl"]:
        (rows / name).write_text(json.dumps({"text": name}) + "\n")
    result = fake.ftctl(*FLAGS, f"{rows}{argument}")
    assert result.returncode == 0, result.stderr
    dataset = fake.calls("SubmitJob")[0].spec.dataset
    assert [file.name for file in dataset.files] == names and dataset.upload_sha256 == ""
    assert dataset.file_name == (argument.split("/")[-1] or "rows")
    for file in dataset.files:
        assert json.loads(fake.uploads[file.sha256])["text"].endswith(file.name)
        assert hashlib.sha256(fake.uploads[file.sha256]).hexdigest() == file.sha256


def test_the_names_that_other_trainers_give_the_flags(fake, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n')
    result = fake.ftctl(*FLAGS, path, "--lr", "3e-4", "--epochs", "2", "--per-device-train-batch-size", "3", "--lora_r", "5",
                        "--max-seq-length", "77")
    assert result.returncode == 0, result.stderr
    spec = fake.calls("SubmitJob")[0].spec
    assert (spec.learning_rate, spec.num_epochs, spec.batch_size, spec.lora.rank, spec.seq_length) == (3e-4, 2, 3, 5, 77)
    more = fake.ftctl(*FLAGS, path, "--num-train-epochs", "4", "--rank", "6", "--max_length", "78")
    assert more.returncode == 0, more.stderr
    spec = fake.calls("SubmitJob")[1].spec
    assert (spec.num_epochs, spec.lora.rank, spec.seq_length) == (4, 6, 78)


@pytest.mark.parametrize("words, field, value", [
    (["--dtype", "bf16"], "dtype", jobs.JobSpec.BFLOAT16), (["--dtype", "FP32"], "dtype", jobs.JobSpec.FLOAT32),
    (["--dtype", "BFloat16"], "dtype", jobs.JobSpec.BFLOAT16), (["--mode", "LoRA"], "mode", jobs.JobSpec.LORA),
    (["--mode", "QLoRA"], "mode", jobs.JobSpec.QLORA), (["--lr-scheduler-type", "cosine-with-min-lr"], "lr_scheduler_type", jobs.JobSpec.COSINE_WITH_MIN_LR),
    (["--bf16"], "dtype", jobs.JobSpec.BFLOAT16), (["--fp16"], "dtype", jobs.JobSpec.FLOAT16),
    (["--fp16", "--dtype", "float16"], "dtype", jobs.JobSpec.FLOAT16), (["--load-in-4bit"], "mode", jobs.JobSpec.QLORA),
    (["--load_in_4bit", "--mode", "lora"], "mode", jobs.JobSpec.QLORA)])
def test_values_as_people_write_them(fake, tmp_path, words, field, value):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n')
    mode = [] if "--mode" in words else ["--mode", "lora"]
    result = fake.ftctl("submit", "--model", "m", "--dataset", path, *mode, *words)
    assert result.returncode == 0, result.stderr
    assert getattr(fake.calls("SubmitJob")[0].spec, field) == value


@pytest.mark.parametrize("words", [["--bf16", "--dtype", "float32"], ["--bf16", "--fp16"], ["--load-in-4bit", "--mode", "full"]])
def test_shorthands_that_contradict(fake, tmp_path, words):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n')
    mode = [] if "--mode" in words else ["--mode", "lora"]
    result = fake.ftctl("submit", "--model", "m", "--dataset", path, *mode, *words)
    assert result.returncode == 2 and "contradicts" in result.stderr, result.stderr
    assert fake.calls("SubmitJob") == []


def test_id_on_stdout_talk_on_stderr(fake, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"x")
    result = fake.ftctl(*FLAGS, path, "--name", "first")
    assert result.stdout == "ft-1\n"
    assert result.stderr.startswith("Submitted job ft-1 (first)") and "ftctl watch first" in result.stderr
    quiet = fake.ftctl(*FLAGS, path, "--quiet")
    assert (quiet.stdout, quiet.stderr) == ("ft-1\n", "")
    assert json.loads(fake.ftctl(*FLAGS, path, "-o", "json").stdout)["id"] == "ft-1"


def test_lost_reply_is_asked_for_again_with_the_same_request_id(fake, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"x")
    lost = threading.Event()

    def lose_the_first(request, context):
        if not lost.is_set():
            lost.set()
            fail(context, "UNAVAILABLE", message="the connection broke")
        return accept(request, context)

    fake.handlers["SubmitJob"] = lose_the_first
    assert fake.ftctl(*FLAGS, path).stdout == "ft-1\n"
    first, second = fake.calls("SubmitJob")
    assert first == second and first.request_id


@pytest.mark.parametrize("end, exit_code", [("SUCCEEDED", 0), ("FAILED", 100), ("CANCELLED", 103)])
def test_watch_goes_on_to_the_outcome(fake, tmp_path, end, exit_code):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"x")
    script = Script(jobs.Job(id="ft-1", state=jobs.Job.QUEUED), [change("RUNNING"), step(1), change(end)])
    fake.handlers.update(script.handlers())
    result = fake.ftctl(*FLAGS, path, "--watch")
    assert result.returncode == exit_code
    lines = result.stdout.splitlines()
    assert lines[0] == "ft-1" and lines[1:3] == ["state QUEUED", "state RUNNING"]
    assert lines[-1].startswith(f"state {end}")
