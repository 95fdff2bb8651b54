"""Every error of the API becomes its exit code and one message; a server that is away is said plainly."""

import socket
import threading
import time

import pytest

from fake_ftd import FakeFtd, Script, change, fail, make_job
from ftd_fixture import DEADLINE_S

# docs/cli.md's table: code, reason, exit.
ERRORS = [
    ("INVALID_ARGUMENT", "FIELD_INVALID", 65),
    ("INVALID_ARGUMENT", "DATASET_INVALID", 65),
    ("INVALID_ARGUMENT", None, 65),
    ("NOT_FOUND", "JOB_NOT_FOUND", 102),
    ("NOT_FOUND", "MODEL_NOT_FOUND", 66),
    ("NOT_FOUND", "DATASET_NOT_FOUND", 66),
    ("NOT_FOUND", None, 66),
    ("ALREADY_EXISTS", "REQUEST_ID_REUSED", 1),
    ("ALREADY_EXISTS", "NAME_IN_USE", 1),
    ("FAILED_PRECONDITION", "STATE_CONFLICT", 1),
    ("FAILED_PRECONDITION", "MODEL_GATED", 1),
    ("FAILED_PRECONDITION", "DOES_NOT_FIT", 1),
    ("FAILED_PRECONDITION", "MODEL_CORRUPT", 65),
    ("FAILED_PRECONDITION", "MODEL_UNSUPPORTED", 65),
    ("FAILED_PRECONDITION", "PATH_NOT_WRITABLE", 73),
    ("RESOURCE_EXHAUSTED", "QUEUE_FULL", 75),
    ("RESOURCE_EXHAUSTED", "DISK_RESERVE", 75),
    ("UNAUTHENTICATED", "TOKEN_INVALID", 77),
    ("PERMISSION_DENIED", "NOT_OWNER", 77),
    ("DATA_LOSS", "CHECKPOINT_CORRUPT", 74),
    ("DATA_LOSS", "DB_CORRUPT", 74),
    ("UNIMPLEMENTED", "MODE_UNSUPPORTED", 69),
    ("INTERNAL", "INTERNAL", 70),
    ("UNKNOWN", None, 70),
    ("ABORTED", None, 1),
    ("DEADLINE_EXCEEDED", None, 69),
    ("CANCELLED", None, 69),
]


@pytest.mark.parametrize("code, reason, exit_code", ERRORS, ids=[f"{c}-{r}" for c, r, _ in ERRORS])
def test_error_gives_its_exit_code_and_message(code, reason, exit_code):
    with FakeFtd(CancelJob=lambda request, context: fail(context, code, reason, "model /m: mend it")) as fake:
        result = fake.ftctl("cancel", "x")
        assert result.returncode == exit_code
        assert result.stderr == "ftctl: model /m: mend it\n" and result.stdout == ""
        assert len(fake.calls("CancelJob")) == 1, "only UNAVAILABLE is tried again"


def test_fields_that_the_message_does_not_name_are_listed():
    def answer(request, context):
        fail(context, "INVALID_ARGUMENT", "FIELD_INVALID", "lora.rank must be 1 to 4096; got 0",
             fields=[("lora.rank", "must be 1 to 4096; got 0"), ("batch_size", "must be 1 to 4096; got -1")])

    with FakeFtd(GetJob=answer) as fake:
        result = fake.ftctl("show", "x")
        assert result.returncode == 65
        assert result.stderr == ("ftctl: lora.rank must be 1 to 4096; got 0\n"
                                 "  batch_size: must be 1 to 4096; got -1\n")


def test_unavailable_is_tried_again_until_it_answers():
    answers = iter(["UNAVAILABLE", "UNAVAILABLE", None])

    def answer(request, context):
        if next(answers) is not None:
            fail(context, "UNAVAILABLE", "DB_BUSY", "the database is busy", retry_ms=1)
        return make_job()

    with FakeFtd(GetJob=answer) as fake:
        assert fake.ftctl("show", "x").returncode == 0
        assert len(fake.calls("GetJob")) == 3


def test_unavailable_for_good_is_69_with_the_servers_words():
    with FakeFtd(GetJob=lambda request, context: fail(context, "UNAVAILABLE", "DRAINING", "ftd is shutting down",
                                                      retry_ms=1)) as fake:
        result = fake.ftctl("show", "x")
        assert result.returncode == 69 and result.stderr == "ftctl: ftd is shutting down\n"
        assert len(fake.calls("GetJob")) == 6


def test_no_socket_is_told_at_once(tmp_path):
    with FakeFtd() as fake:
        start = time.monotonic()
        result = fake.ftctl("--address", f"unix:{tmp_path}/ftd.sock", "ls")
        assert result.returncode == 69
        assert f"no ftd answers at unix:{tmp_path}/ftd.sock" in result.stderr and "ftd --state-dir" in result.stderr
        assert time.monotonic() - start < 1.5, "nobody can be about to answer: no retries"


def test_a_socket_without_a_listener_is_tried_and_then_69():
    with FakeFtd(GetJob=lambda request, context: make_job()) as fake:
        fake.stop()
        fake.socket.touch()
        result = fake.ftctl("show", "x")
        assert result.returncode == 69 and "no ftd answers at" in result.stderr


def test_a_server_that_restarts_meanwhile_is_reached():
    asked = threading.Event()

    def answer(request, context):
        if not asked.is_set():
            asked.set()
            fail(context, "UNAVAILABLE", message="going down")
        return make_job()

    with FakeFtd(GetJob=answer) as fake:
        process = fake.popen("show", "x", "-o", "json")
        assert asked.wait(30)
        fake.stop()
        fake.socket.unlink(missing_ok=True)
        fake.start()
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0 and '"id"' in out, err


@pytest.mark.parametrize("verb", ["show", "watch"])
def test_a_server_that_binds_and_listens_later_is_reached(verb):
    """As a daemon that starts on a busy machine: the first attempt is refused, though the socket is there."""
    script = Script(make_job(), [change("SUCCEEDED")])
    with FakeFtd(**script.handlers()) as fake:
        fake.stop()
        fake.socket.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as early:
            early.bind(str(fake.socket))
            process = fake.popen(verb, "x")
            time.sleep(0.3)
        fake.socket.unlink()
        fake.start()
        start = time.monotonic()
        out, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, err
        assert time.monotonic() - start < 2.5, "not only when gRPC looks by itself"
