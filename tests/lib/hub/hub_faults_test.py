"""The hub's HTTP itself, and each fault that can be ordered, by bare requests: what a C++ client will meet."""

import hashlib
import http.client
import json
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
from hub_fixture import DEADLINE_S, Hub

WEIGHTS = bytes(range(256)) * 1000
CONFIG = b'{"model_type": "llama"}\n'
RESOLVE = "/ann/tiny/resolve/main/"
INFO = "/api/models/ann/tiny"


@pytest.fixture
def hub():
    with Hub() as hub:
        hub.sha = hub.add_repo("ann/tiny", {"config.json": CONFIG, "model.safetensors": WEIGHTS})
        yield hub


class Reply:
    def __init__(self, response: http.client.HTTPResponse):
        self.status, self.headers = response.status, response.headers
        try:
            self.body, self.error = response.read(), None
        except (http.client.IncompleteRead, OSError) as e:
            self.body, self.error = getattr(e, "partial", b""), type(e)


def ask(address, method="GET", body=None, **headers) -> Reply:
    """One request on a connection of its own; redirects are not followed."""
    url = urlsplit(address)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=DEADLINE_S)
    try:
        connection.request(method, f"{url.path}?{url.query}" if url.query else url.path, body,
                           {name.replace("_", "-"): value for name, value in headers.items()})
        return Reply(connection.getresponse())
    finally:
        connection.close()


def weights_at(hub) -> str:
    return ask(hub.endpoint + RESOLVE + "model.safetensors").headers["Location"]


def config_at(hub) -> str:
    return hub.endpoint + ask(hub.endpoint + RESOLVE + "config.json").headers["Location"]


# Answers

def test_lfs_files_are_redirected_to_the_cdn(hub):
    reply = ask(hub.endpoint + RESOLVE + "model.safetensors", "HEAD")
    sha256 = hashlib.sha256(WEIGHTS).hexdigest()
    assert (reply.status, reply.headers["X-Repo-Commit"]) == (302, hub.sha)
    assert (reply.headers["X-Linked-ETag"], reply.headers["X-Linked-Size"]) == (f'"{sha256}"', str(len(WEIGHTS)))
    assert int(reply.headers["Content-Length"]) != len(WEIGHTS)  # the redirect's own
    address = reply.headers["Location"]
    assert address.startswith(hub.cdn)
    got = ask(address)
    assert got.body == WEIGHTS and sha256 not in got.headers["ETag"]
    refused = ask(address, Authorization="Bearer hf_x")
    assert refused.status == 400 and refused.body.startswith(b"<Error>") and "X-Error-Message" not in refused.headers
    assert ask(address.replace("Expires=", "Expires=1")).status == 403
    assert [(r["has_auth"], r["status"]) for r in hub.requests() if r["listener"] == "cdn"] == [
        (False, 200), (True, 400), (False, 403)]


def test_other_files_are_redirected_within_the_hub(hub):
    reply = ask(hub.endpoint + RESOLVE + "config.json", "HEAD")
    etag = f'"{hashlib.sha1(b"blob %d" % len(CONFIG) + bytes(1) + CONFIG).hexdigest()}"'
    assert (reply.status, reply.headers["X-Repo-Commit"], reply.headers["X-Linked-ETag"]) == (307, hub.sha, etag)
    assert reply.headers["Location"].startswith(f"/api/resolve-cache/models/ann/tiny/{hub.sha}/config.json?")
    got = ask(hub.endpoint + reply.headers["Location"])
    assert (got.status, got.body, got.headers["ETag"]) == (200, CONFIG, etag)
    assert got.headers["Content-Length"] == str(len(CONFIG)) and got.headers["Accept-Ranges"] == "bytes"
    assert ask(hub.endpoint + reply.headers["Location"], If_None_Match=etag).status == 304
    assert ask(hub.endpoint + reply.headers["Location"].replace(hub.sha, "main")).status == 400


def test_ranges(hub):
    """Range (and If-Range) → status, Content-Range, body."""
    address, size = weights_at(hub), len(WEIGHTS)
    etag = ask(address, "HEAD").headers["ETag"]
    for asked, condition, status, told, body in [
        ("bytes=0-99", None, 206, f"bytes 0-99/{size}", WEIGHTS[:100]),
        ("bytes=255000-", None, 206, f"bytes 255000-255999/{size}", WEIGHTS[255000:]),
        ("bytes=255000-999999", etag, 206, f"bytes 255000-255999/{size}", WEIGHTS[255000:]),
        ("bytes=-10", None, 206, f"bytes 255990-255999/{size}", WEIGHTS[-10:]),
        ("bytes=10-20", '"another"', 200, None, WEIGHTS),
        ("bytes=0-1,5-6", None, 200, None, WEIGHTS),
        ("lines=0-1", None, 200, None, WEIGHTS),
        (f"bytes={size}-", None, 416, f"bytes */{size}", None),
        ("bytes=9-3", None, 416, f"bytes */{size}", None),
    ]:
        reply = ask(address, Range=asked, **({"If_Range": condition} if condition else {}))
        assert (reply.status, reply.headers["Content-Range"]) == (status, told), asked
        assert body is None or reply.body == body, asked


def test_errors_are_told_in_headers_and_body(hub):
    for path, status, code, message in [
        (RESOLVE + "none", 404, "EntryNotFound", "Entry not found"),
        ("/ann/tiny/resolve/none/config.json", 404, "RevisionNotFound", "Invalid rev id: none"),
        (INFO + "/revision/none", 404, "RevisionNotFound", "Invalid rev id: none"),
        (INFO + "/tree/main/none", 404, "EntryNotFound", 'none does not exist on "main"'),
        ("/api/models/no/such", 401, None, "Invalid username or password."),
        ("/api/no-such-thing", 404, None, "Sorry, we can't find the page you are looking for."),
    ]:
        reply = ask(hub.endpoint + path)
        assert (reply.status, reply.headers["X-Error-Code"], reply.headers["X-Error-Message"]) == (
            status, code, message), path
        assert message.encode() in reply.body or json.loads(reply.body)["error"] == message, path
    assert ask(hub.endpoint + RESOLVE + "none").headers["X-Repo-Commit"] == hub.sha
    assert "Bearer" in ask(hub.endpoint + "/api/models/no/such").headers["WWW-Authenticate"]


def test_every_answer_tells_the_rate_limit(hub):
    assert ask(hub.endpoint + INFO).headers["RateLimit"] == '"api";r=499;t=300'
    assert ask(hub.endpoint + RESOLVE + "config.json").headers["RateLimit"] == '"resolvers";r=2999;t=300'


def test_two_requests_share_a_connection(hub):
    url = urlsplit(hub.endpoint)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=DEADLINE_S)
    for path in (INFO, RESOLVE + "none", INFO):
        connection.request("GET", path)
        assert Reply(connection.getresponse()).body
        assert connection.sock is not None
    connection.close()


def test_paths_info_takes_json(hub):
    reply = ask(hub.endpoint + INFO + "/paths-info/main", "POST", json.dumps({"paths": ["config.json", "none"]}),
                Content_Type="application/json")
    assert [entry["path"] for entry in json.loads(reply.body)] == ["config.json"]


def test_commits_come_in_pages(hub):
    second = hub.commit("ann/tiny", {"config.json": b"{}"})
    reply = ask(hub.endpoint + INFO + "/commits/main?limit=1")
    assert [commit["id"] for commit in json.loads(reply.body)] == [second] and reply.headers["X-Total-Count"] == "2"
    reply = ask(reply.headers["Link"].partition(">")[0].removeprefix("<"))
    assert [commit["id"] for commit in json.loads(reply.body)] == [hub.sha] and "Link" not in reply.headers


def test_a_commit_does_not_change_what_was(hub):
    second = hub.commit("ann/tiny", {"config.json": b"{}"})
    hub.tag("ann/tiny", "v2")
    for rev, body in ((hub.sha, CONFIG), (second, b"{}"), ("main", b"{}"), ("v2", b"{}")):
        location = ask(f"{hub.endpoint}/ann/tiny/resolve/{rev}/config.json").headers["Location"]
        assert ask(hub.endpoint + location).body == body


def test_a_file_may_stay_where_it_lies(hub, tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(WEIGHTS)
    hub.add_repo("ann/path", {"weights": path}, lfs=["wei*"])
    assert ask(ask(f"{hub.endpoint}/ann/path/resolve/main/weights").headers["Location"]).body == WEIGHTS


def test_a_closed_hub_refuses_connections():
    with Hub() as hub:
        url = urlsplit(hub.endpoint)
        socket.create_connection((url.hostname, url.port)).close()
        hub.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((url.hostname, url.port))


def test_orders_that_make_no_sense_are_the_tests_error(hub):
    for what, wrong in (("no such fault", lambda: hub.fault("x", "nonsense")),
                        ("unterminated", lambda: hub.fault("(", "reset")),
                        ("no/no", lambda: hub.commit("no/no", {}))):
        with pytest.raises(ValueError, match=what):
            wrong()


# Faults in place of the answer

def test_status(hub):
    hub.fault("models", "status", times=2, code=429, retry_after=7, ratelimit=55, error_code="Busy",
              error_message="Later")
    for _ in range(2):
        reply = ask(hub.endpoint + INFO)
        assert (reply.status, json.loads(reply.body)) == (429, {"error": "Later"})
        assert [reply.headers[name] for name in ("Retry-After", "RateLimit", "X-Error-Code", "X-Error-Message")] == [
            "7", '"api";r=0;t=55', "Busy", "Later"]
    assert ask(hub.endpoint + INFO).status == 200


def test_status_by_method_and_listener(hub):
    hub.fault("model", "status", code=503, method="GET", listener="cdn")
    address = weights_at(hub)
    assert [ask(address, method).status for method in ("HEAD", "GET", "GET")] == [200, 503, 200]


def test_reset(hub):
    hub.fault("config", "reset")
    with pytest.raises(ConnectionResetError):
        ask(hub.endpoint + RESOLVE + "config.json")


def test_redirect_loop(hub):
    hub.fault("config", "redirect_loop", times=None)
    for _ in range(3):
        assert ask(hub.endpoint + RESOLVE + "config.json").headers["Location"] == RESOLVE + "config.json"


def test_garbage(hub):
    hub.fault("models", "garbage")
    hub.fault("models", "garbage", body="{", content_type="application/json")
    assert ask(hub.endpoint + INFO).headers["Content-Type"] == "text/html"
    assert ask(hub.endpoint + INFO).body == b"{"


def test_huge(hub):
    hub.fault("models", "huge")
    url = urlsplit(hub.endpoint)
    with socket.create_connection((url.hostname, url.port), timeout=DEADLINE_S) as client:
        client.sendall(f"GET {INFO} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
        got = 0
        while got < 5_000_000:
            got += len(client.recv(1 << 16))
    assert hub.bytes_sent("models") > 4_900_000


def test_stall_before_the_answer(hub):
    hub.fault("config", "stall")
    replies = []
    client = threading.Thread(target=lambda: replies.append(ask(hub.endpoint + RESOLVE + "config.json")))
    client.start()
    hub.wait_for("^GET .*config")
    assert hub.requests()[0]["status"] is None and not replies
    hub.clear_faults()
    client.join()
    assert replies[0].status == 307


# Faults in a body

def test_stall_in_the_body(hub):
    hub.fault("model", "stall", listener="cdn", after=1000)
    url = urlsplit(weights_at(hub))
    with socket.create_connection((url.hostname, url.port), timeout=DEADLINE_S) as client:
        client.sendall(f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
        reader = client.makefile("rb")
        while reader.readline() != b"\r\n":
            pass
        assert reader.read(1000) == WEIGHTS[:1000] and hub.bytes_sent("^GET /xet") == 1000
        hub.clear_faults()
        assert reader.read(len(WEIGHTS) - 1000) == WEIGHTS[1000:]


def test_cut(hub):
    address = weights_at(hub)
    for how in ({}, {"reset": True}):
        hub.fault("model", "cut", listener="cdn", after=1000, **how)
        reply = ask(address)
        assert reply.status == 200 and reply.headers["Content-Length"] == str(len(WEIGHTS))
        assert reply.error is (ConnectionResetError if how else http.client.IncompleteRead)
        assert how or reply.body == WEIGHTS[:1000]
    hub.fault("model", "cut", listener="cdn", after=10)
    assert ask(address, Range="bytes=500-").body == WEIGHTS[500:510]
    assert ask(address).body == WEIGHTS


def test_a_fault_of_bodies_waits_for_a_body(hub):
    hub.fault("model", "cut", after=10)
    address = weights_at(hub)
    assert ask(address, "HEAD").status == 200 and ask(address, Range="bytes=999999-").status == 416
    assert ask(address).body == WEIGHTS[:10]


def test_wrong_bytes(hub):
    address = weights_at(hub)
    hub.fault("model", "wrong_bytes", offset=1000, times=3)
    damaged = WEIGHTS[:1000] + bytes([WEIGHTS[1000] ^ 0xFF]) + WEIGHTS[1001:]
    assert ask(address).body == damaged
    assert ask(address, Range="bytes=1000-1009").body == damaged[1000:1010]
    assert ask(address, Range="bytes=1001-1009").body == WEIGHTS[1001:1010]


def test_ignore_range_and_no_content_length_together(hub):
    address = weights_at(hub)
    hub.fault("model", "ignore_range")
    hub.fault("model", "no_content_length")
    reply = ask(address, Range="bytes=10-20")
    assert (reply.status, reply.headers["Content-Length"], reply.headers["Content-Range"]) == (200, None, None)
    assert reply.headers["Transfer-Encoding"] == "chunked" and reply.body == WEIGHTS


def test_a_cut_chunked_body_has_no_end(hub):
    hub.fault("config", "no_content_length", listener="hub")
    hub.fault("config", "cut", after=5)
    reply = ask(config_at(hub))
    assert (reply.error, reply.body) == (http.client.IncompleteRead, CONFIG[:5])


def test_slow(hub):
    hub.fault("model", "slow", rate=1_000_000)
    address, start = weights_at(hub), time.monotonic()
    assert ask(address).body == WEIGHTS
    assert time.monotonic() - start > 0.2  # 256 kB
