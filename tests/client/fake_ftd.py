"""A second implementation of ftd's API, in Python, that does what a test tells it to: the answers, the broken streams
and the wrong bytes that the real server never gives.

    with FakeFtd(GetJob=lambda request, context: jobs.Job(id="ft-1")) as fake:
        fake.ftctl("show", "ft-1")
        assert fake.calls("GetJob")[0].job == "ft-1"
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time
from concurrent import futures

import grpc
from google.rpc import error_details_pb2, status_pb2

from ftd_fixture import BIN, DEADLINE_S, api, api_grpc, jobs

METHODS = [m.name for m in api.DESCRIPTOR.services_by_name["FineTuning"].methods]
CLIENT_STREAMS = ("UploadFile",)


def fail(context, code: str, reason: str | None = None, message: str = "because", *, fields=(), retry_ms=None):
    """Ends a call with a status and, given a reason, AIP-193 details. Does not return."""
    rich = status_pb2.Status(code=getattr(grpc.StatusCode, code).value[0], message=message)
    if reason is not None:
        rich.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="ftd"))
    if fields:
        bad = error_details_pb2.BadRequest()
        for field, description in fields:
            bad.field_violations.add(field=field, description=description)
        rich.details.add().Pack(bad)
    if retry_ms is not None:
        info = error_details_pb2.RetryInfo()
        info.retry_delay.FromMilliseconds(retry_ms)
        rich.details.add().Pack(info)
    if rich.details:
        context.set_trailing_metadata((("grpc-status-details-bin", rich.SerializeToString()),))
    context.abort(getattr(grpc.StatusCode, code), message)


class _Servicer(api_grpc.FineTuningServicer):
    def __init__(self, fake: "FakeFtd"):
        for name in METHODS:
            setattr(self, name, self._method(fake, name))

    @staticmethod
    def _method(fake: "FakeFtd", name: str):
        def call(request, context):
            if name in CLIENT_STREAMS:
                return fake.handler(name)(request, context)
            fake.record(name, request)
            return fake.handler(name)(request, context)

        return call


class FakeFtd:
    """Keyword arguments are handlers by method name: (request, context) -> reply, or a generator for streams."""

    def __init__(self, address: str | None = None, **handlers):
        self.handlers = {"UploadFile": self.take_upload, **handlers}
        self.uploads: dict[str, bytes] = {}
        self.upload_headers: list = []
        self._calls: list[tuple[str, object]] = []
        self._lock = threading.Lock()
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="fake-ftd-"))
        self.socket = self.root / "ftd.sock"
        self.address = address or f"unix:{self.socket}"
        self.server = None
        self.start()

    def start(self) -> None:
        self.server = grpc.server(futures.ThreadPoolExecutor(16))
        api_grpc.add_FineTuningServicer_to_server(_Servicer(self), self.server)
        self.server.add_insecure_port(self.address)
        self.server.start()

    def stop(self) -> None:
        """Ends every stream and stops listening."""
        self.server.stop(None).wait()

    def __enter__(self) -> "FakeFtd":
        return self

    def __exit__(self, *exc) -> None:
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    # What the handlers use.

    def handler(self, name: str):
        return self.handlers.get(name) or (lambda request, context: fail(context, "UNIMPLEMENTED", "MODE_UNSUPPORTED"))

    def record(self, name: str, request) -> None:
        with self._lock:
            self._calls.append((name, request))

    def calls(self, name: str) -> list:
        with self._lock:
            return [request for called, request in self._calls if called == name]

    def take_upload(self, parts, context):
        header = next(parts).header
        self.upload_headers.append(header)
        data = b"".join(part.data for part in parts)
        self.uploads[header.sha256] = data
        return api.UploadFileResponse(sha256=header.sha256, size_bytes=len(data))

    # The client.

    def environment(self, env=None) -> dict:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("FTD_", "FTCTL_"))}
        return {**clean, "FTCTL_ADDRESS": self.address, **(env or {})}

    def ftctl(self, *args, env=None, cwd=None, timeout=DEADLINE_S, stdin: str | bytes = b"") -> subprocess.CompletedProcess:
        done = subprocess.run([str(BIN / "ftctl"), *map(str, args)], capture_output=True, timeout=timeout, env=self.environment(env),
                              cwd=cwd, input=stdin.encode() if isinstance(stdin, str) else stdin)
        done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
        return done

    def popen(self, *args, env=None, **kwargs) -> subprocess.Popen:
        return subprocess.Popen([str(BIN / "ftctl"), *map(str, args)], stdin=subprocess.DEVNULL, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment(env), **kwargs)


class Script:
    """A job as a list of watch events. WatchJob plays them from the resume token (the index of the next event);
    `breaks` maps an index to a function called with the context instead of sending that event, once."""

    def __init__(self, job: jobs.Job, events: list, breaks: dict | None = None):
        self.job = job
        self.events = [api.WatchJobResponse(snapshot=job), *events]
        for i, event in enumerate(self.events):
            event.resume_token = str(i + 1)
        self.breaks = dict(breaks or {})
        self.lock = threading.Lock()

    def get(self, request, context):
        return self.job

    def watch(self, request, context):
        for i in range(int(request.resume_token or 0), len(self.events)):
            with self.lock:
                broken = self.breaks.pop(i, None)
            if broken is not None:
                broken(context)
                return
            yield self.events[i]

    def handlers(self) -> dict:
        return {"GetJob": self.get, "WatchJob": self.watch}


def step(number: int, loss: float = 1.5, **fields) -> api.WatchJobResponse:
    values = {"epoch": number / 10, "grad_norm": 0.83, "learning_rate": 9e-5, "tokens": 100,
              "tokens_total": 100 * number, "padding_ratio": 0.25, "tokens_per_second": 412.0, "step_seconds": 2.0}
    return api.WatchJobResponse(step=jobs.StepMetrics(step=number, loss=loss, **{**values, **fields}))


def change(state: str, **fields) -> api.WatchJobResponse:
    return api.WatchJobResponse(state_change=api.WatchJobResponse.StateChange(
        to=jobs.Job.State.Value(state), **fields))


def make_job(state: str = "RUNNING", **fields) -> jobs.Job:
    spec = fields.pop("spec", jobs.JobSpec(mode=jobs.JobSpec.LORA, model="/models/tiny", max_steps=10, logging_steps=5))
    return jobs.Job(id="ft-01testtesttesttesttesttest", name="first", state=jobs.Job.State.Value(state), spec=spec,
                    **fields)


def wait_for(predicate):
    end = time.monotonic() + DEADLINE_S
    while not predicate():
        assert time.monotonic() < end
        time.sleep(0.01)
