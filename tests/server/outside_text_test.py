"""Texts from outside: bytes that are not UTF-8, and texts without end. None may keep anybody from reading the jobs."""

import contextlib
import os
import sqlite3
import subprocess

import grpc
import pytest

from ftd_fixture import BIN, api, jobs
from helpers import FAKE_WORKER, ROWS, detail, expect_error, fake_ftd, submit
from google.rpc import error_details_pb2

Code = grpc.StatusCode
DEFAULT_LIMIT = 4 << 20  # of a gRPC client that sets none


@pytest.fixture(scope="module")
def ftd():
    with fake_ftd("bytes=2", start=False) as daemon:
        worker = daemon.root / "worker.sh"
        # The job called "mumbles" leaves last words that begin and end within a character.
        worker.write_text(f"""#!/bin/bash
            case $(cat request.json) in *mumbles*) printf 'あ%.0s' {{1..1001}}; printf '\\xe3'; exit 1;; esac
            exec {FAKE_WORKER} "$@"\n""")
        worker.chmod(0o755)
        daemon.worker = worker
        yield daemon.start()


def read_by_all(ftd, job: str) -> tuple[jobs.Job, list]:
    """The job, and the events of its whole life, after every call that shows it."""
    assert ftd.ftctl("ls", "-o", "wide").returncode == 0 and ftd.ftctl("show", job).returncode == 0
    assert job in [j.id for j in ftd.stub.ListJobs(api.ListJobsRequest(page_size=1000)).jobs]
    queue = ftd.stub.WatchQueue(api.WatchQueueRequest())
    assert job in [j.id for j in next(queue).ended]
    queue.cancel()
    events = list(ftd.stub.WatchJob(api.WatchJobRequest(job=job)))
    return ftd.job(job), events


def test_last_words_are_cut_at_characters_and_stored_ones_heal(ftd):
    job = submit(ftd, name="mumbles")
    events = ftd.watch(job.id)
    token = next(events).resume_token
    messages = [e.state_change.message for e in events if e.HasField("state_change")]
    failed = read_by_all(ftd, job.id)[0]
    assert failed.message.partition("Its last words:\n")[2] == "あ" * 666 + "\ufffd" and messages[-1] == failed.message
    # As an earlier release stored them.
    with contextlib.closing(sqlite3.connect(ftd.state_dir / "ftd.db", isolation_level=None)) as database:
        bad = "cast(x'61ff62' AS TEXT)"
        database.execute(f"UPDATE jobs SET message = {bad}, hint = {bad}, owner = {bad} WHERE id = ?", [job.id])
        database.execute(f"UPDATE attempts SET reason = {bad} WHERE job_id = ?", [job.id])
        database.execute(f"UPDATE events SET message = {bad}, hint = {bad} WHERE job_id = ?", [job.id])
    healed = read_by_all(ftd, job.id)[0]
    assert {healed.message, healed.hint, healed.owner, healed.attempts[0].reason} == {"a\ufffdb"}
    again = [e.state_change for e in ftd.watch(job.id, token) if e.HasField("state_change")]
    assert len(again) == len(messages) and {e.message for e in again} == {e.hint for e in again} == {"a\ufffdb"}


def test_records_of_a_worker_are_repaired_at_any_depth(ftd):
    job = submit(ftd)
    ftd.wait(job.id, "FAILED")
    failed, events = read_by_all(ftd, job.id)
    assert (failed.message, failed.hint) == ("line \ufffd is bad\x1b[2J", "mend it\0\ufffd")
    assert list(failed.warnings) == ["caf\ufffd \x1b[31m"] and failed.attempts[0].reason == failed.message
    assert failed.data_report.samples[0].parts[0].text == "\ufffd row"
    assert failed.failure_reason == jobs.DATASET_INVALID
    assert [e.warning for e in events if e.HasField("warning")] == ["caf\ufffd \x1b[31m"]
    # No escape gets as far as the terminal of who looks at the job, or at the daemon's log.
    for words in (["show", job.id], ["ls", "-o", "wide"], ["watch", job.id], ["wait", job.id]):
        seen = ftd.ftctl(*words, check=False)
        assert not set("\x1b\0") & set(seen.stdout + seen.stderr), words
    assert "\x1b" not in ftd.log()


def test_long_texts_of_an_older_release_are_listed(ftd):
    long = [submit(ftd).id for _ in range(5)]
    for job in long:
        ftd.wait(job, "FAILED")
    with contextlib.closing(sqlite3.connect(ftd.state_dir / "ftd.db", isolation_level=None)) as database:
        for job in long:
            database.execute("UPDATE jobs SET message = ?, spec = json_set(spec, '$.dataset.template', ?) WHERE id = ?",
                             ["m" * 3_000_000, "{instruction}" + "x" * 3_500_000, job])
        # Within the limit of a spec, but not ten of them within that of a message.
        database.execute("UPDATE jobs SET spec = json_set(spec, '$.dataset.file_name', ?) WHERE id NOT IN (?, ?, ?, ?, ?)",
                         ["n" * 1_500_000, *long])
    # The channel of the tests takes what gRPC takes by default.
    seen, token, pages = [], "", 0
    while pages == 0 or token:
        page = ftd.stub.ListJobs(api.ListJobsRequest(page_size=1000, page_token=token))
        assert 0 < page.ByteSize() < DEFAULT_LIMIT and (page.total_size > 0) == (pages == 0)
        seen, token, pages = seen + [j.id for j in page.jobs], page.next_page_token, pages + 1
    assert pages > 1 and len(seen) == len(set(seen)) and set(long) < set(seen)
    assert ftd.ftctl("ls", "--quiet").stdout.split() == seen
    assert len(read_by_all(ftd, long[-1])[0].message) < 10_000


def big(**fields):
    def change(spec):
        for name, value in fields.items():
            setattr(spec.dataset, name, value)
    return change


def columns(spec):
    spec.dataset.columns.update({f"c{i}": "x" * 4000 for i in range(17)})


def modules(spec):
    spec.lora.target_modules.extend(["q_proj"] * 11_000)


def files(spec):
    spec.dataset.Clear()
    spec.dataset.files.add(sha256="0" * 64, name="n" * 4097)


@pytest.mark.parametrize("change,field,limit", [
    (big(template="{instruction}" + "x" * 65536), "dataset.template", 65536),
    (big(chat_template="x" * 65537), "dataset.chat_template", 65536),
    (big(file_name="x" * 4097), "dataset.file_name", 4096),
    (lambda spec: setattr(spec, "revision", "x" * 4097), "revision", 4096),
    (lambda spec: setattr(spec.lora, "init_adapter", "/" + "x" * 4096), "lora.init_adapter", 4096),
    (columns, "dataset.columns", 65536), (modules, "lora.target_modules", 65536), (files, "dataset.files.name", 4096),
])
def test_texts_of_a_spec_are_bounded(ftd, change, field, limit):
    spec = ftd.spec(ftd.model, ROWS)
    change(spec)
    error = expect_error(lambda: ftd.submit(spec), Code.INVALID_ARGUMENT, "FIELD_INVALID")
    violation, = detail(error, error_details_pb2.BadRequest).field_violations
    assert violation.field == f"spec.{field}" and f"at most {limit} bytes; got " in violation.description


def test_the_reason_of_a_cancel_is_bounded(ftd):
    job = submit(ftd)
    error = expect_error(lambda: ftd.stub.CancelJob(api.CancelJobRequest(job=job.id, reason="x" * 4097)),
                         Code.INVALID_ARGUMENT, "FIELD_INVALID")
    assert detail(error, error_details_pb2.BadRequest).field_violations[0].field == "reason"


def test_a_result_with_a_name_that_is_no_text_comes_home(tmp_path):
    with fake_ftd("steps=1") as ftd:
        done = ftd.wait(submit(ftd).id, "SUCCEEDED")
        with open(os.fsencode(done.result_dir) + b"/caf\xe9.txt", "wb") as file:
            file.write(b"noir")
        ftd.ftctl("get", done.id, tmp_path / "here")
        assert (tmp_path / "here" / "caf\\xE9.txt").read_bytes() == b"noir"


MALFORMED = [b"\xff", b"\x0a\x05ab", b"\x0a\x02\xc3\x28"]  # no tag, cut short, a string that is not UTF-8


@pytest.mark.parametrize("method", ["GetJob", "SubmitJob", "CancelJob", "WatchJob", "TailLog", "DownloadResult"])
def test_malformed_requests_are_invalid_arguments(ftd, method):
    kind = "unary_stream" if method in ("WatchJob", "TailLog", "DownloadResult") else "unary_unary"
    with grpc.insecure_channel(ftd.address) as channel:
        call = getattr(channel, kind)(f"/ftd.v1.FineTuning/{method}")
        for body in MALFORMED[:2 if method == "SubmitJob" else 3]:
            error = expect_error(lambda: call(body, timeout=30), Code.INVALID_ARGUMENT, "FIELD_INVALID")
            assert method in error.details()


def test_a_malformed_upload_is_an_invalid_argument(ftd):
    with grpc.insecure_channel(ftd.address) as channel:
        call = channel.stream_unary("/ftd.v1.FineTuning/UploadFile")
        expect_error(lambda: call(iter([MALFORMED[0]]), timeout=30), Code.INVALID_ARGUMENT, "FIELD_INVALID")


@pytest.mark.parametrize("variable, said", [("FTD_STATE_DIR", "state_dir"), ("FTD_LISTEN", "listen"), ("HF_HOME", "HF_HOME")])
def test_paths_of_the_environment_are_text(tmp_path, variable, said):
    env = {**os.environb, variable.encode(): b"/tmp/caf\xe9"}
    command = [BIN / "ftd", "--check-config"] + ([] if variable == "FTD_STATE_DIR" else ["--state-dir", tmp_path])
    checked = subprocess.run(command, env=env, capture_output=True, text=True)
    assert checked.returncode == 78 and said in checked.stderr and "caf\\xE9" in checked.stderr
