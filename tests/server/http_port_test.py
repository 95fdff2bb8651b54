"""What strangers may do at the port of the metrics, and to the metrics themselves."""

import contextlib
import http.client
import pathlib
import re
import socket

import grpc
import pytest

from ftd_fixture import api
from helpers import fake_ftd

from ftd.v1 import fine_tuning_pb2_grpc as rpc


@pytest.fixture(scope="module", params=["127.0.0.1", "0.0.0.0"])
def served(request):
    with fake_ftd(args=["--metrics-listen", f"{request.param}:0"]) as ftd:
        ftd.metrics = ftd.stub.GetServerInfo(api.GetServerInfoRequest()).metrics_address
        ftd.bound = request.param
        yield ftd


def get(ftd, host, path="/metrics"):
    connection = http.client.HTTPConnection("127.0.0.1", int(ftd.metrics.rsplit(":", 1)[1]), timeout=20)
    with contextlib.closing(connection):
        connection.putrequest("GET", path, skip_host=True)
        if host is not None:
            connection.putheader("Host", host)
        connection.endheaders()
        reply = connection.getresponse()
        return reply.status, reply.read().decode()


OURS = ["localhost", "LOCALHOST:7444", "localhost.:7444", "127.0.0.1", "127.0.0.1:7444", "127.8.9.1:80", "[::1]", "[::1]:7444"]
STRANGERS = ["evil.example", "evil.example:7444", "127.0.0.1.evil.example", "localhost.evil.example", "evil.localhost.example:1", "[::1",
             "[::1].evil.example", "0x7f.1", "", ":7444", "a b"]


@pytest.mark.parametrize("host", OURS)
def test_a_host_of_this_machine(served, host):
    assert get(served, host)[0] == 200


@pytest.mark.parametrize("path", ["/metrics", "/healthz"])
@pytest.mark.parametrize("host", STRANGERS)
def test_another_host_is_refused(served, host, path):
    """A page of the web may let its own name point here (DNS rebinding); its browser then sends that name."""
    status, body = get(served, host, path)
    assert status in (400, 421) and "ftd_" not in body and "ok" not in body


def test_addresses_and_the_machines_name_where_all_are_served(served):
    expected = 200 if served.bound == "0.0.0.0" else 421
    assert get(served, "192.0.2.1:7444")[0] == expected
    assert get(served, socket.gethostname())[0] == expected


def test_methods_that_do_not_exist_make_no_series(served):
    """They are counted together, whatever their names."""
    for method in ("/evil.Service/Evil", "/ftd.v1.FineTuning/Evil", "/evil", "evil", "/grpc.health.v1.Health/Evil"):
        with pytest.raises(grpc.RpcError):
            served.channel.unary_unary(method)(b"", timeout=20)
    rpc.FineTuningStub(served.channel).GetServerInfo(api.GetServerInfoRequest())
    served.channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=20)
    page = get(served, "localhost")[1]
    assert "evil" not in page.lower()
    for method in ("GetServerInfo", "Check"):
        assert f'grpc_method="{method}"' in page


def test_memory_stays_private(served):
    """No core dumps, of workers neither: they inherit the limit."""
    limits = pathlib.Path(f"/proc/{served.process.pid}/limits").read_text()
    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE), limits
