"""push: what people and scripts see, and what is asked of ftd."""
import json

import pytest

from fake_ftd import FakeFtd, fail
from ftd_fixture import api, jobs

COMMIT = "c" * 40


def answers(*, unchanged=False, url="https://hub/ann/x"):
    def handler(request, context):
        yield api.PushResultResponse(progress=jobs.Progress(done=5, total=10, unit="bytes"))
        yield api.PushResultResponse(outcome=api.Push(url=url, commit=COMMIT, unchanged=unchanged))
    return handler


def test_the_last_line_is_the_address():
    with FakeFtd(PushResult=answers()) as ftd:
        done = ftd.ftctl("push", "first", "ann/x", "--private", "--revision", "v2")
        assert (done.returncode, done.stdout) == (0, "https://hub/ann/x\n")
        assert done.stderr == f"The result is on the hub, at commit {COMMIT}\n"
        assert ftd.calls("PushResult") == [api.PushResultRequest(job="first", repository="ann/x", private=True, revision="v2")]
        quiet = ftd.ftctl("push", "first", "ann/x", "-q")
        assert (quiet.stdout, quiet.stderr) == ("https://hub/ann/x\n", "")
        assert not ftd.calls("PushResult")[1].private and ftd.calls("PushResult")[1].revision == ""


def test_nothing_new():
    with FakeFtd(PushResult=answers(unchanged=True)) as ftd:
        assert f"had all of it already, at commit {COMMIT}" in ftd.ftctl("push", "first", "ann/x").stderr


@pytest.mark.parametrize("unchanged", [False, True])
def test_json_and_yaml(unchanged):
    with FakeFtd(PushResult=answers(unchanged=unchanged)) as ftd:
        assert json.loads(ftd.ftctl("push", "first", "ann/x", "-o", "json").stdout) == {
            "url": "https://hub/ann/x", "commit": COMMIT, "unchanged": unchanged}
        assert f'"commit": "{COMMIT}"' in ftd.ftctl("push", "first", "ann/x", "-o", "yaml").stdout


def test_nothing_acts_on_the_terminal():
    with FakeFtd(PushResult=answers(url="https://hub/\x1b[31m")) as ftd:
        assert ftd.ftctl("push", "first", "ann/x").stdout == "https://hub/?[31m\n"


@pytest.mark.parametrize("code, reason, exit_code", [
    ("FAILED_PRECONDITION", "HUB_REFUSED", 1), ("UNAUTHENTICATED", "TOKEN_INVALID", 77), ("UNAVAILABLE", "HUB_UNREACHABLE", 69),
    ("DATA_LOSS", "HUB_PROTOCOL", 74), ("FAILED_PRECONDITION", "HUB_OFFLINE", 69), ("NOT_FOUND", "JOB_NOT_FOUND", 102)])
def test_errors_have_their_exit_codes(code, reason, exit_code):
    with FakeFtd(PushResult=lambda request, context: fail(context, code, reason, "the hub said no")) as ftd:
        done = ftd.ftctl("push", "first", "ann/x")
        assert done.returncode == exit_code and "the hub said no" in done.stderr and done.stdout == ""


@pytest.mark.parametrize("arguments", [["first"], [], ["first", "ann/x", "more"], ["first", "ann/x", "-o", "xml"]])
def test_usage(arguments):
    with FakeFtd(PushResult=answers()) as ftd:
        assert ftd.ftctl("push", *arguments).returncode == 2 and ftd.calls("PushResult") == []
