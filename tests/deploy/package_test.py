"""The tarball of ./dev package: unpacked under any name, in an empty environment, with a LibTorch from elsewhere, it trains.

That it does on a newer distribution is the story of trixie_test.py, which needs a network.
"""
import contextlib
import hashlib
import importlib.util
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time

import pytest
from ftd_fixture import BUILD, REPO, alpaca_rows, wait_until, write_jsonl
from tiny_model import make_tiny_llama

SCRIPT = REPO / "deploy/package.py"
LIBTORCH = pathlib.Path(sysconfig.get_paths()["purelib"]) / "torch"
BARE = {"PATH": "/usr/bin:/bin"}


def load_script():
    spec = importlib.util.spec_from_file_location("package", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make(folder):
    subprocess.run([sys.executable, SCRIPT, BUILD, folder], check=True, capture_output=True)
    return next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make(tmp_path_factory.mktemp("package"))


def unpack(archive, folder):
    folder.mkdir()
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return next(folder.iterdir()).rename(folder / "renamed")


@pytest.fixture
def tree(archive, tmp_path):
    return unpack(archive, tmp_path / "a folder")


def programs(tree):
    return sorted((tree / "bin").iterdir())


def test_one_build_gives_the_same_bytes(archive, tmp_path):
    assert make(tmp_path / "again").read_bytes() == archive.read_bytes()
    digest = archive.with_name(archive.name + ".sha256").read_text().split()
    assert digest == [hashlib.sha256(archive.read_bytes()).hexdigest(), archive.name]


def test_what_is_in_it(archive):
    with tarfile.open(archive) as tar:
        entries = tar.getmembers()
    names = {entry.name.partition("/")[2] for entry in entries}
    assert {"bin/ftd", "bin/ftctl", "bin/ftctl-hub", "bin/ft-worker", "bin/ft-train", "lib/systemd/system/ftd.service",
            "share/ftd/grafana/ftd.json", "share/doc/ftd/THIRD-PARTY", "share/doc/ftd/LICENSE"} <= names
    assert len({entry.name.split("/")[0] for entry in entries}) == 1
    assert {(entry.uid, entry.gid, entry.uname) for entry in entries} == {(0, 0, "root")}
    assert {entry.mode for entry in entries} == {0o755, 0o644} and len({entry.mtime for entry in entries}) == 1


def test_every_library_has_its_licence(tree):
    document = tree / "share/doc/ftd"
    listed = dict(line.split(": ", 1) for line in (document / "THIRD-PARTY").read_text().splitlines() if ": " in line)
    assert listed.keys() == {path.name for path in (tree / "lib/ftd").iterdir()}
    for entry in listed.values():
        assert (document / entry.rpartition(", ")[2]).stat().st_size > 100


def foreign(tree, environment):
    """Libraries that the programs would take from elsewhere, or not find, but for the system's own."""
    package = load_script()
    found = set()
    for file in [*programs(tree), *(tree / "lib/ftd").glob("*.so*")]:
        listed = subprocess.run(["ldd", file], env=environment, capture_output=True, text=True, check=True).stdout
        for name, path in re.findall(r"^\s*(\S+) => (.+?)(?: \(0x.*)?$", listed, re.MULTILINE):
            if not path.startswith(str(tree)) and not package.SYSTEM.fullmatch(name):
                found.add(name)
    return found


def test_it_brings_what_it_needs(tree):
    torch = {"libc10.so", "libtorch_cpu.so"}
    assert foreign(tree, BARE) == torch
    shutil.move(tree / "lib/ftd/libgrpc.so.29", tree)
    assert "libgrpc.so.29" in foreign(tree, BARE)


def test_no_path_of_the_builder_s_machine(tree):
    for file in [*programs(tree), *(tree / "lib/ftd").glob("*.so*")]:
        dynamic = subprocess.run(["readelf", "-d", file], capture_output=True, text=True, check=True).stdout
        for entry in re.findall(r"\(R(?:UN)?PATH\).*\[(.*)\]", dynamic):
            assert all(part.startswith("$ORIGIN") for part in entry.split(":")), (file, entry)
    unit = (tree / "lib/systemd/system/ftd.service").read_text()
    assert "ExecStart=/opt/ftd/bin/ftd" in unit


@contextlib.contextmanager
def daemon(tree, folder, **environment):
    """ftd of the unpacked tree; gives a function that runs its ftctl."""
    address = f"unix:{folder}/s"
    given = {**BARE, "HOME": str(folder), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment}

    def ftctl(*words):
        return subprocess.run([tree / "bin/ftctl", "--address", address, *map(str, words)], env=given, capture_output=True,
                              text=True, timeout=120, stdin=subprocess.DEVNULL)

    log = folder / "ftd.log"
    with log.open("w") as output:
        process = subprocess.Popen([tree / "bin/ftd", "--state-dir", folder / "state", "--listen", address, "--metrics-listen",
                                    "off"], env=given, stdout=output, stderr=output)
    try:
        wait_until(lambda: ftctl("info").returncode == 0, "ftd to answer", 20)
        yield ftctl
    finally:
        process.terminate()
        assert process.wait(60) == 0, log.read_text()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_tiny_llama(folder / "model")
    write_jsonl(folder / "rows.jsonl", alpaca_rows(16))
    return ["--mode", "lora", "--model", folder / "model", "--dataset", folder / "rows.jsonl", "--max-steps", 3, "--batch-size", 4]


@pytest.mark.parametrize("place", ["named by FTD_LIBTORCH", "its lib named", "beside it"])
def test_it_trains(tree, data, tmp_path, place):
    environment = {}
    if place == "beside it":
        (tree / "lib/ftd/torch").symlink_to(LIBTORCH)
    else:
        environment["FTD_LIBTORCH"] = str(LIBTORCH if place.startswith("named") else LIBTORCH / "lib")
    with daemon(tree, tmp_path, **environment) as ftctl:
        done = ftctl("submit", *data, "--name", "first", "--watch")
        assert done.returncode == 0, done.stdout + done.stderr
        assert ftctl("get", "first", tmp_path / "result").returncode == 0
    assert (tmp_path / "result/adapter_model.safetensors").stat().st_size > 1000
    trained = subprocess.run([tree / "bin/ft-train", "--help"], env={**BARE, **environment}, capture_output=True, text=True)
    assert trained.returncode == 0, trained.stderr


def test_without_libtorch_it_says_what_to_do(tree, data, tmp_path):
    alone = subprocess.run([tree / "bin/ft-train", "--help"], env=BARE, capture_output=True, text=True)
    assert alone.returncode == 66 and "FTD_LIBTORCH" in alone.stderr and str(tree / "lib/ftd/torch") in alone.stderr
    wrong = subprocess.run([tree / "bin/ft-train", "--help"], env={**BARE, "FTD_LIBTORCH": str(tmp_path)}, capture_output=True, text=True)
    assert wrong.returncode == 66 and f"FTD_LIBTORCH is {tmp_path}" in wrong.stderr
    with daemon(tree, tmp_path) as ftctl:
        begin = time.monotonic()
        failed = ftctl("submit", *data, "--name", "first", "--watch")
        assert time.monotonic() - begin < 60  # at once: no attempt is repeated
        assert failed.returncode == 100 and "libtorch_cpu.so" in failed.stderr and "FTD_LIBTORCH" in failed.stderr
        (tree / "lib/ftd/torch").symlink_to(LIBTORCH)
        again = ftctl("retry", "first", "--quiet")
        assert ftctl("wait", again.stdout.strip()).returncode == 0


def test_a_wrong_ftd_libtorch_is_the_job_s_error(tree, data, tmp_path):
    with daemon(tree, tmp_path, FTD_LIBTORCH=str(tmp_path)) as ftctl:
        failed = ftctl("submit", *data, "--watch")
        assert failed.returncode == 100 and f"FTD_LIBTORCH is {tmp_path}" in failed.stderr
