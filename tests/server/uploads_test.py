"""Uploads that stand still: they are bounded, they end, and they take nothing from others."""

import contextlib
import hashlib
import resource
import threading
import uuid

import grpc

from ftd_fixture import api, wait_until
from helpers import ROWS, fake_ftd, reason_of, submit

Code = grpc.StatusCode
MOST_OF_OWNER = 16


class Standing:
    """An upload of which the first byte is sent."""

    def __init__(self, ftd, name):
        self.more = threading.Event()
        data = name.encode()

        def parts():
            header = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
            yield api.UploadFileRequest(header=header)
            yield api.UploadFileRequest(data=data[:1])
            self.more.wait()
            yield api.UploadFileRequest(data=data[1:])

        self.call = ftd.stub.UploadFile.future(parts(), timeout=120)

    def end(self):
        """Sends the rest; how it ended."""
        self.more.set()
        return self.call.code()


@contextlib.contextmanager
def standing(ftd, count):
    uploads = [Standing(ftd, str(uuid.uuid4())) for _ in range(count)]
    try:
        yield uploads
    finally:
        for upload in uploads:
            upload.call.cancel()
            upload.more.set()


def temporary(ftd):
    return list((ftd.state_dir / "uploads").glob(".tmp-*"))


def test_an_owner_has_so_many_uploads_under_way():
    """Those beyond are refused at once, not when they are idle; others' calls are answered, and an end makes room."""
    with fake_ftd("steps=2") as ftd:
        spec = ftd.spec(model=ftd.model, rows=ROWS)
        with standing(ftd, MOST_OF_OWNER) as uploads:
            wait_until(lambda: len(temporary(ftd)) == MOST_OF_OWNER, "the uploads to begin")
            with standing(ftd, 50) as beyond:
                for upload in beyond:
                    assert upload.call.code() == Code.RESOURCE_EXHAUSTED and reason_of(upload.call) == "TOO_MANY_UPLOADS"
            assert len(temporary(ftd)) == MOST_OF_OWNER
            ftd.wait(ftd.submit(spec).id, "SUCCEEDED")
            assert uploads[0].end() == Code.OK
            assert ftd.upload(b"another")
        wait_until(lambda: not temporary(ftd), "the rest to be removed")
        with standing(ftd, MOST_OF_OWNER):
            wait_until(lambda: len(temporary(ftd)) == MOST_OF_OWNER, "their places to be free")


def test_an_upload_that_stands_still_ends():
    """After upload_idle_seconds, with what there is of its file."""
    with fake_ftd(args=["--upload-idle-seconds", "1"]) as ftd, standing(ftd, 2) as (one, other):
        for upload in (one, other):
            assert upload.call.code() == Code.DEADLINE_EXCEEDED
        assert "nothing of the file came for 1 s" in one.call.details()
        wait_until(lambda: not temporary(ftd), "the rest to be removed")
        assert submit(ftd).id


def test_an_upload_hears_of_the_end():
    with fake_ftd() as ftd, standing(ftd, 1) as (upload,):
        wait_until(lambda: temporary(ftd), "the upload to begin")
        ftd.process.terminate()
        assert upload.call.code() == Code.UNAVAILABLE and reason_of(upload.call) == "STOPPING"
        assert ftd.process.wait(30) == 0
        assert not temporary(ftd)


def test_no_descriptor_left():
    """UNAVAILABLE, which a client repeats, and neither INTERNAL nor "there is no such file"; later all is well again."""
    with fake_ftd("steps=2") as ftd:
        job = submit(ftd).id
        ftd.wait(job, "SUCCEEDED")
        spec = ftd.spec(model=ftd.model, rows=ROWS)
        calls = {
            "submit": lambda: ftd.submit(spec),
            "upload": lambda: ftd.upload(b"new"),
            "log": lambda: list(ftd.stub.TailLog(api.TailLogRequest(job=job))),
            "metrics": lambda: ftd.steps(job),
            "result": lambda: list(ftd.stub.DownloadResult(api.DownloadResultRequest(job=job))),
            "check": lambda: list(ftd.stub.CheckData(api.CheckDataRequest(spec=spec))),
            "token": lambda: ftd.stub.CreateToken(api.CreateTokenRequest(name="t")),
        }
        before = resource.prlimit(ftd.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(ftd.process.pid, resource.RLIMIT_NOFILE, (16, before[1]))
        found = {}
        for name, call in calls.items():
            try:
                found[name] = f"OK {str(call())[:60]}"
            except grpc.RpcError as error:
                found[name] = (error.code(), error.details())
        resource.prlimit(ftd.process.pid, resource.RLIMIT_NOFILE, before)
        assert {name: end for name, end in found.items() if end[0] != Code.UNAVAILABLE} == {}
        for call in calls.values():
            call()
