"""What the tests of the daemon share: a stub model, the fake worker, errors as a third-party client reads them."""

import urllib.error
import urllib.request

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from ftd_fixture import BUILD, DEADLINE_S, Ftd
from tiny_model import make_stub_model

SANITIZED = any(f"{option}:BOOL=ON" in (BUILD / "CMakeCache.txt").read_text() for option in ("FTD_ASAN", "FTD_TSAN"))
FAKE_WORKER = BUILD / "tests" / "ftd_fake_worker"


def fake_ftd(script: str = "", **kwargs) -> Ftd:
    """A daemon whose worker does what `script` says (tests/server/fake_worker.cc)."""
    env = {"FTD_FAKE_WORKER": script, **kwargs.pop("env", {})}
    ftd = Ftd(**{"worker": FAKE_WORKER, "env": env, **kwargs})
    ftd.model = make_stub_model(ftd.root / "model")
    return ftd


ROWS = [{"instruction": "Say hello.", "output": "Hello."}]


def submit(ftd: Ftd, **fields):
    return ftd.submit(**{"model": ftd.model, "rows": ROWS, **fields})


def health(address: str, method: str = "GET") -> tuple[int, str]:
    """What /healthz answers: status and text."""
    request = urllib.request.Request(f"http://{address}/healthz", method=method)
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode()


def rich_status(error: grpc.RpcError) -> status_pb2.Status:
    trailers = dict(error.trailing_metadata() or ())
    return status_pb2.Status.FromString(trailers["grpc-status-details-bin"])


def detail(error: grpc.RpcError, kind):
    for packed in rich_status(error).details:
        message = kind()
        if packed.Unpack(message):
            return message
    return None


def reason_of(error: grpc.RpcError) -> str:
    info = detail(error, error_details_pb2.ErrorInfo)
    assert info.domain == "ftd"
    return info.reason


def expect_error(call, code: grpc.StatusCode, reason: str) -> grpc.RpcError:
    """`call` must fail with `code` and `reason`; returns the error."""
    with pytest.raises(grpc.RpcError) as caught:
        result = call()
        if hasattr(result, "__next__"):
            list(result)
    assert caught.value.code() == code, caught.value.details()
    assert reason_of(caught.value) == reason, caught.value.details()
    assert caught.value.details()
    return caught.value
