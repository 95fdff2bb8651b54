"""get: the whole result or nothing, and nothing outside the directory."""

import hashlib
import pathlib

import pytest

from fake_ftd import FakeFtd, fail
from ftd_fixture import api


def file_messages(path: str, data: bytes, *, size=None, digest=None):
    yield api.DownloadResultResponse(file=api.DownloadResultResponse.FileHeader(
        path=path, size_bytes=len(data) if size is None else size))
    for i in range(0, len(data), 1 << 20):
        yield api.DownloadResultResponse(data=data[i:i + (1 << 20)])
    yield api.DownloadResultResponse(sha256=hashlib.sha256(data).hexdigest() if digest is None else digest)


FILES = {"adapter_model.safetensors": bytes(range(256)) * 10_000, "adapter_config.json": b"{}", "empty": b"",
         "tensorboard/events.out": b"tb", "a/b/c/..data": b"dots in a name are fine"}


def all_files(request, context):
    for path, data in FILES.items():
        yield from file_messages(path, data)


def tree(directory: pathlib.Path) -> dict:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def get(handler, directory, cwd=None):
    with FakeFtd(DownloadResult=handler) as fake:
        return fake.ftctl("get", "first", directory, cwd=cwd)


@pytest.mark.parametrize("name", ["out", "out/", "new/parent/out", "."])
def test_files_land_directly_in_the_directory(tmp_path, name):
    home = tmp_path / "cwd"
    home.mkdir()
    result = get(all_files, name, cwd=home)
    if name == ".":  # the working directory itself cannot be replaced by a rename
        assert result.returncode == 73 and tree(tmp_path) == {}
        return
    assert result.returncode == 0, result.stderr
    assert tree(home / name) == FILES and result.stdout == ""
    assert not list(tmp_path.rglob("*.part"))


def test_an_empty_directory_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    assert get(all_files, tmp_path / "out").returncode == 0
    assert tree(tmp_path / "out") == FILES


@pytest.mark.parametrize("what", ["file", "full directory", "dangling link", "link to a directory"])
def test_what_exists_is_not_touched(tmp_path, what):
    out = tmp_path / "out"
    if what == "file":
        out.write_text("mine")
    elif what == "full directory":
        out.mkdir()
        (out / "mine").write_text("mine")
    elif what == "dangling link":
        out.symlink_to(tmp_path / "nowhere")
    else:
        (tmp_path / "other").mkdir()
        out.symlink_to(tmp_path / "other")
    before = sorted(p.name for p in tmp_path.rglob("*"))
    result = get(all_files, out)
    assert result.returncode == 73 and "exists already" in result.stderr
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


def test_leftovers_of_a_broken_download_are_replaced(tmp_path):
    (tmp_path / "out.part" / "adapter_config.json").mkdir(parents=True)
    assert get(all_files, tmp_path / "out").returncode == 0
    assert tree(tmp_path / "out") == FILES and not (tmp_path / "out.part").exists()


def good():
    yield from file_messages("good", b"good")


def named(path):
    return lambda: file_messages(path, b"x")


DAMAGED = {
    "other bytes than the sha256": (lambda: file_messages("f", b"x", digest="0" * 64), 74),
    "too few bytes": (lambda: file_messages("f", b"x", size=2), 74),
    "too many bytes": (lambda: file_messages("f", b"xx", size=1), 74),
    "ends within a file": (lambda: list(file_messages("f", b"x"))[:-1], 74),
    "next file before the sha256": (lambda: [*list(file_messages("f", b"x"))[:-1], *file_messages("g", b"y")], 74),
    "bytes without a file": (lambda: [api.DownloadResultResponse(data=b"x")], 74),
    "sha256 without a file": (lambda: [api.DownloadResultResponse(sha256="0" * 64)], 74),
    "upwards": (named("../evil"), 65),
    "upwards within": (named("a/../../evil"), 65),
    "absolute": (named("/tmp/evil"), 65),
    "empty name": (named(""), 65),
    "dot": (named("./f"), 65),
    "two slashes": (named("a//f"), 65),
    "trailing slash": (named("a/"), 65),
    "NUL": (named("a\0b"), 65),
}


@pytest.mark.parametrize("row", DAMAGED)
def test_damaged_or_hostile_stream_leaves_nothing(tmp_path, row):
    messages, exit_code = DAMAGED[row]

    def answer(request, context):
        yield from good()
        yield from messages()

    result = get(answer, tmp_path / "in" / "out")
    assert result.returncode == exit_code, result.stderr
    assert tree(tmp_path) == {} and "nothing was kept" in result.stderr


@pytest.mark.parametrize("second, exit_code", [("good", 70), ("good/below", 70)])
def test_a_name_twice_is_refused(tmp_path, second, exit_code):
    def answer(request, context):
        yield from good()
        yield from file_messages(second, b"x")

    result = get(answer, tmp_path / "out")
    assert result.returncode not in (0, None) and tree(tmp_path) == {}


def test_a_result_without_files_is_damaged(tmp_path):
    assert get(lambda request, context: iter(()), tmp_path / "out").returncode == 74
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("code, reason, exit_code", [
    ("NOT_FOUND", "JOB_NOT_FOUND", 102), ("FAILED_PRECONDITION", "STATE_CONFLICT", 1), ("UNAVAILABLE", None, 69),
    ("DATA_LOSS", "RESULT_CORRUPT", 74),
])
def test_a_stream_that_fails_midway_leaves_nothing(tmp_path, code, reason, exit_code):
    def answer(request, context):
        yield from good()
        fail(context, code, reason, "no more")

    result = get(answer, tmp_path / "out")
    assert result.returncode == exit_code and "no more" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    result = get(all_files, tmp_path / "file" / "out")
    assert result.returncode not in (0, 70) and str(tmp_path / "file") in result.stderr
