"""HTTP as both listeners speak it: requests logged, faults applied, files sent whole, in part or damaged."""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import ssl
import struct
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import hub_repos
from hub_faults import pieces
from hub_state import Hub


class Answer(Exception):
    """An answer that ends the handling of a request: an error, or a redirect within the hub."""

    def __init__(self, status: int, message: str, code: str | None = None, **headers: str):
        super().__init__(message)
        self.status, self.message = status, message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if status >= 400:
            self.headers["X-Error-Message"] = message.replace("\n", " ")
        if code:
            self.headers["X-Error-Code"] = code
        if status == 401:
            self.headers["WWW-Authenticate"] = 'Bearer realm="Authentication required", charset="UTF-8"'


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    hub: Hub
    listener = ""

    def log_message(self, *args):
        pass

    def version_string(self):
        return "test-hub"

    def serve(self):
        url = urlsplit(self.path)
        self.query = parse_qs(url.query, keep_blank_values=True)
        self.raw = url.path.split("/")[1:]
        self.target = f"{unquote(url.path)}?{url.query}"
        # The entry is in the log before a byte of the answer is out, so a client that has its answer finds it there.
        self.entry = {"listener": self.listener, "method": self.command, "path": unquote(url.path), "query": url.query,
                      "range": self.headers.get("Range"), "has_auth": "Authorization" in self.headers, "status": None,
                      "bytes_sent": 0, "bytes_received": 0, "user_agent": self.headers.get("User-Agent"),
                      "headers": {name.lower(): value for name, value in self.headers.items()
                                  if name.lower() != "authorization"}}
        with self.hub.lock:
            self.hub.log.append(self.entry)
            self.hub.lock.notify_all()
        if (sent_in := self.receive()) is None:
            return self.drop(reset=True)
        self.sent_in = sent_in
        try:
            fault = self.hub.faults.in_place(self.listener, self.command, self.target)
            self.misbehave(fault) if fault else self.answer()
        except Answer as answer:
            self.send_answer(answer)

    do_GET = do_HEAD = do_POST = do_PUT = serve

    def receive(self) -> bytes | None:
        """The request's body; None: the connection is to end before all of it is there."""
        left, body = int(self.headers.get("Content-Length") or 0), b""
        if left == 0:
            return body
        faults = self.hub.faults.in_request(self.listener, self.command, self.target)
        rate = faults["slow_in"].args["rate"] if "slow_in" in faults else None
        stop = faults["cut_in"].args["after"] if "cut_in" in faults else left
        while left:
            piece = self.rfile.read(min(left, max(1, rate // 50) if rate else left, max(1, stop - len(body))))
            if not piece:  # the client has gone
                self.close_connection = True
                return None
            body += piece
            left -= len(piece)
            self.entry["bytes_received"] = len(body)
            if rate:
                faults["slow_in"].lifted.wait(len(piece) / rate)
            if len(body) >= stop and "cut_in" in faults:
                return None
        return body

    @property
    def bucket(self) -> str:
        """Which of the public hub's rate limits the request counts against."""
        return "resolvers" if "resolve" in self.raw else "api"

    def answer(self):
        raise NotImplementedError

    def misbehave(self, fault):
        args = fault.args
        if fault.kind == "stall":
            fault.lifted.wait()
            self.answer()
        elif fault.kind == "late":
            fault.lifted.wait(args["seconds"])
            self.answer()
        elif fault.kind == "lost_answer":
            connection, self.wfile = self.wfile, io.BytesIO()
            with contextlib.suppress(Answer):
                self.answer()
            self.wfile = connection
            self.drop(reset=True)
        elif fault.kind == "reset":
            self.drop(reset=True)
        elif fault.kind == "redirect_loop":
            self.send(302, b"Found", Location=self.path)
        elif fault.kind == "garbage":
            self.send(200, args.get("body", "<html>Please sign in to this network</html>").encode(),
                      Content_Type=args.get("content_type", "text/html"))
        elif fault.kind == "huge":
            self.send_head(200, Content_Type="application/json; charset=utf-8", Connection="close")
            self.write(b'{"_id": "0", "id": "a/b", "siblings": [')
            while True:  # until the client has enough of it
                self.write(b'{"rfilename": "' + b"x" * 4000 + b'"}, ')
        else:
            answer = Answer(args["code"], args.get("error_message", "Ordered by the test"), args.get("error_code"))
            if "retry_after" in args:
                answer.headers["Retry-After"] = str(args["retry_after"])
            if "ratelimit" in args:
                answer.headers["RateLimit"] = f'"{self.bucket}";r=0;t={args["ratelimit"]}'
            raise answer

    def send_head(self, status: int, headers=(), **more: str):
        self.entry["status"] = status
        self.send_response(status)
        for name, value in [*dict(headers).items(), *((n.replace("_", "-"), v) for n, v in more.items())]:
            self.send_header(name, value)
        self.end_headers()

    def send(self, status: int, body: bytes, headers=(), **more: str):
        self.send_head(status, {**dict(headers), "Content-Length": str(len(body))}, **more)
        if self.command != "HEAD" and status != 304:
            self.write(body)

    def send_json(self, value, **more: str):
        self.send(200, json.dumps(value, ensure_ascii=False).encode(), Content_Type="application/json; charset=utf-8",
                  **more)

    def send_answer(self, answer: Answer):
        if self.raw[:1] == ["api"] and answer.status >= 400:
            body, content_type = json.dumps({"error": answer.message}).encode(), "application/json; charset=utf-8"
        else:
            body, content_type = answer.message.encode(), "text/plain; charset=utf-8"
        self.send(answer.status, body, answer.headers, Content_Type=content_type)

    def write(self, data: bytes):
        self.entry["bytes_sent"] += len(data)  # before: a client that has the bytes finds them counted
        self.wfile.write(data)

    def drop(self, reset: bool):
        """Ends the connection; by RST if so ordered, which takes closing the descriptor with nothing lingering."""
        self.close_connection = True
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.connection.close()

    def wanted(self, size: int, etag: str) -> tuple[int, int] | None:
        """The one range that is asked for, or None for everything. RFC 9110, 14: several are answered with all."""
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        if not asked or asked[0] == "bytes=-" or self.headers.get("If-Range", etag) != etag:
            return None
        if not asked[1]:
            first, last = max(0, size - int(asked[2])), size - 1
        else:
            first, last = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
        if first > last or first >= size:
            raise Answer(416, "Range Not Satisfiable", Content_Range=f"bytes */{size}")
        return first, last + 1

    def send_file(self, blob: hub_repos.Blob, etag: str, headers: dict[str, str]):
        part = self.wanted(blob.size, etag)
        faults = self.hub.faults.in_body(self.listener, self.command, self.target) if self.command == "GET" else {}
        if "ignore_range" in faults:
            part = None
        start, end = part or (0, blob.size)
        headers = {**headers, "ETag": etag, "Accept-Ranges": "bytes"}
        if part:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{blob.size}"
        chunked = "no_content_length" in faults
        headers |= {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(end - start)}
        self.send_head(206 if part else 200, headers)
        if self.command == "HEAD":
            return
        for piece in pieces(blob.source, start, end, faults):
            if chunked:
                self.wfile.write(b"%x\r\n" % len(piece))
            self.write(piece)
            if chunked:
                self.wfile.write(b"\r\n")
        if "cut" in faults:
            self.drop(faults["cut"].args.get("reset", False))
        elif chunked:
            self.wfile.write(b"0\r\n\r\n")


class Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, hub: Hub, handler: type[Handler], tls: list[str] | None):
        self.hub = hub
        super().__init__(("127.0.0.1", 0), type(handler.__name__, (handler,), {"hub": hub}))
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            # The handshake is the connection's own thread's business, or a silent client would block the others.
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """Clients that go away are daily life; anything else is this program's error, and the fixture's to tell."""
        if not isinstance(sys.exc_info()[1], OSError):
            self.hub.errors.append(traceback.format_exc())
