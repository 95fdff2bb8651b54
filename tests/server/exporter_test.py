"""ExportJob: one worker for all who wait, nothing half-made for anybody, and what is complete is found again."""
import os
import signal
import threading

import grpc
import pytest

from ftd_fixture import api, processes_under, wait_until
from helpers import fake_ftd, reason_of, submit


@pytest.fixture(scope="module")
def ftd():
    with fake_ftd("steps=2 step_ms=1") as ftd:
        yield ftd


@pytest.fixture(scope="module")
def job(ftd):
    return ftd.wait(submit(ftd).id, "SUCCEEDED")


@pytest.fixture
def exports(ftd, job):
    yield (folder := ftd.state_dir / "jobs" / job.id / "exports")
    (folder / "go").unlink(missing_ok=True)


def call(ftd, job, gguf_type="", **options):
    return ftd.stub.ExportJob(api.ExportJobRequest(job=job.id, gguf_type=gguf_type, **options), timeout=60)


def export(ftd, job, gguf_type="", **options):
    return list(call(ftd, job, gguf_type, **options))[-1].outcome


def download(ftd, job, name):
    files, path = {}, None
    for message in ftd.stub.DownloadResult(api.DownloadResultRequest(job=job.id, export_name=name), timeout=30):
        if message.HasField("file"):
            files[path := message.file.path] = b""
        files[path] += message.data
    return files


def refused(ftd, job, *args, **options):
    with pytest.raises(grpc.RpcError) as error:
        export(ftd, job, *args, **options)
    return error.value


def workers(exports):
    return processes_under(exports)


def unfinished(exports):
    return list(exports.glob(".tmp-*"))


def test_a_form_is_made_once_and_found_again(ftd, job, exports):
    made = export(ftd, job)
    assert made.name == "merged" and made.size_bytes > 0
    files = download(ftd, job, "merged")
    assert files["model.safetensors"].decode() == f"form of {ftd.model} {job.result_dir}"
    assert export(ftd, job) == made and download(ftd, job, "merged") == files, "the same run's"
    assert export(ftd, job, "f16", adapter_only=True).name == "adapter-f16"
    assert set(download(ftd, job, "adapter-f16")) == {"adapter.gguf", "run"}
    assert not unfinished(exports)


def test_callers_at_once_have_one_worker_and_one_may_go(ftd, job, exports):
    first = call(ftd, job, "q8_0")
    assert next(first).progress.total == 10
    others = [call(ftd, job, "q8_0") for _ in range(3)]
    assert all(next(other).progress.done == 5 for other in others)
    assert len(workers(exports)) == 1
    [pid] = workers(exports)
    assert os.getpriority(os.PRIO_PROCESS, os.getpid()) <= os.getpriority(os.PRIO_PROCESS, pid)
    first.cancel()  # the one that it was begun for
    exports.joinpath("go").touch()
    assert {list(other)[-1].outcome.name for other in others} == {"gguf-q8_0"}
    assert download(ftd, job, "gguf-q8_0")["run"].decode() == str(pid)


def test_it_ends_when_all_have_gone_and_begins_again(ftd, job, exports):
    ftd.ftctl("prune")
    assert "gguf-q8_0" not in os.listdir(exports), "what is complete goes with a prune"
    calls = [call(ftd, job, "q8_0") for _ in range(2)]
    assert all(next(one).progress for one in calls)
    wait_until(lambda: workers(exports), "the worker")
    for one in calls:
        one.cancel()
    wait_until(lambda: not workers(exports) and not unfinished(exports), "the worker and its files to go")
    exports.joinpath("go").touch()
    assert export(ftd, job, "q8_0").name == "gguf-q8_0"


@pytest.mark.parametrize("gguf_type,code,words", [
    ("q4_0", "DISK_FULL", "the export needs 9 GB"), ("q5_0", "INTERNAL", "ended without a report"),
    ("q3", "FIELD_INVALID", "must be one of f32")])
def test_a_worker_that_fails_leaves_nothing(ftd, job, exports, gguf_type, code, words):
    error = refused(ftd, job, gguf_type)
    assert words in error.details() and reason_of(error) == code
    assert not unfinished(exports) and f"gguf-{gguf_type}" not in os.listdir(exports)
    with pytest.raises(grpc.RpcError, match="export it first"):
        download(ftd, job, f"gguf-{gguf_type}")


def test_a_worker_that_is_killed(ftd, job, exports):
    ftd.ftctl("prune")
    stream = call(ftd, job, "q8_0")
    assert next(stream).progress
    wait_until(lambda: workers(exports), "the worker")
    os.kill(workers(exports)[0], signal.SIGKILL)
    with pytest.raises(grpc.RpcError, match="ended without a report"):
        list(stream)
    assert not unfinished(exports)


@pytest.mark.parametrize("name", ["../../..", "..", ".", "nothing", ".tmp-merged", "merged/run"])
def test_names_lead_nowhere_else(ftd, job, name):
    export(ftd, job)
    with pytest.raises(grpc.RpcError, match="export it first"):
        download(ftd, job, name)


def test_a_full_job_is_that_form_already(ftd):
    full = ftd.wait(submit(ftd, mode="FULL").id, "SUCCEEDED")
    assert export(ftd, full).name == ""
    assert "for jobs that trained an adapter" in refused(ftd, full, "f16", adapter_only=True).details()
    assert export(ftd, full, "f32").name == "gguf-f32"
    assert download(ftd, full, "gguf-f32")["model.gguf"].decode() == f"form of {full.result_dir} "
    ftd.stub.DeleteJob(api.DeleteJobRequest(job=full.id))
    assert not (ftd.state_dir / "jobs" / full.id).exists()


def test_ftctl_writes_a_directory_or_a_file(ftd, job, tmp_path):
    ftd.ftctl("export", job.id, tmp_path / "merged")
    assert set(os.listdir(tmp_path / "merged")) == {"model.safetensors", "run"}
    ftd.ftctl("export", job.id, "--gguf", tmp_path / "mine.gguf", "--type", "f32")
    assert (tmp_path / "mine.Modelfile").read_text() == "FROM ./mine.gguf\nPARAMETER stop x\n"
    ftd.ftctl("export", job.id, "--gguf", tmp_path / "lora.gguf", "--adapter-only")
    assert set(os.listdir(tmp_path)) == {"merged", "mine.gguf", "mine.Modelfile", "lora.gguf"}
    for flags, code in [([tmp_path / "merged"], 73), (["--gguf", tmp_path / "mine.gguf"], 73), ([], 2),
                        ([tmp_path / "x", "--adapter-only"], 2), (["--gguf", tmp_path / "x", "--type", "q4_0"], 75)]:
        assert ftd.ftctl("export", job.id, *flags, check=False).returncode == code, flags
    assert set(os.listdir(tmp_path)) == {"merged", "mine.gguf", "mine.Modelfile", "lora.gguf"}


def test_a_daemon_that_is_killed_or_stopped_leaves_no_half(ftd, job, exports):
    """Last, since it ends the daemon."""
    ftd.ftctl("prune")
    failed = []

    def wait_for_export():
        try:
            export(ftd, job, "q8_0")
        except grpc.RpcError as error:
            failed.append(error.code())

    for end in (ftd.kill, ftd.terminate):
        caller = threading.Thread(target=wait_for_export)
        caller.start()
        wait_until(lambda: workers(exports), "the worker")
        end()
        caller.join()
        wait_until(lambda: not workers(exports), "the worker to end", 5)
        ftd.start()
        assert not unfinished(exports)
    # The fixture closes the caller's channel with the daemon, which may be what the caller sees first.
    assert len(failed) == 2 and set(failed) <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    exports.joinpath("go").touch()
    assert export(ftd, job, "q8_0").name == "gguf-q8_0"
