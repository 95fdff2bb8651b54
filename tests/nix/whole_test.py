"""The whole package in Nix's sandbox, with LibTorch and Arrow: `./dev soak nix`; no part of `./dev test`, it takes an hour.

Nothing comes from the compiler cache, which would make a second build the first one's copy. FTD_NIX_CCACHE=1 brings it
back for whoever mends the derivation; what is then shown of equal bytes is linking and installation alone.
"""
import json
import os
import pathlib
import re
import subprocess

import pytest
from nix_box import REPO, SYSTEM, NixBox
from safetensors.numpy import load_file
from tiny_model import make_tiny_llama

from hub_fixture import Hub  # noqa: E402

BUILD = pathlib.Path(os.environ.get("FTD_BUILD_DIR", REPO / "build"))
PACKAGE = f"packages.{SYSTEM}.ftd"
TESTS = f"checks.{SYSTEM}.tests"
HOURS = 4 * 3600
DEMO_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    box = NixBox(tmp_path_factory.mktemp("whole"), engine=True, ccache=bool(os.environ.get("FTD_NIX_CCACHE")))
    yield box
    box.close()


@pytest.fixture(scope="module")
def package(box):
    return box.build(PACKAGE, timeout=HOURS)


def test_the_package_with_its_engine(box, package):
    programs = {path.name for path in (package / "bin").iterdir()}
    assert programs == {"ftd", "ftctl", "ftctl-hub", "ft-worker", "ft-train"}
    needed = subprocess.run(["readelf", "-d", package / "bin/ft-worker"], check=True, capture_output=True, text=True).stdout
    assert "libtorch_cpu.so" in needed and "libparquet.so" in needed
    assert re.search(r"/nix/store/\w+-torch/", needed) and re.search(r"/nix/store/\w+-arrow-cpp/", needed)
    assert "/build/" not in needed


def test_ft_train_runs_from_the_store(box, package):
    helped = box.checked(*box.flake("run", "ft-train", "--", "llama3-70b-qlora", "--help"))
    assert "--dataset_size" in helped


def rebuild(box, *what):
    """None, or what a second build made otherwise than the first."""
    again = box.run("nix", "build", "--no-link", "--rebuild", "--keep-failed", *what, timeout=HOURS)
    if again.returncode == 0:
        return None
    differs = re.search(r"output '(\S+)' differs from '(\S+)'", again.stderr)
    assert differs, again.stderr[-4000:]
    return subprocess.run(["diff", "-rq", *map(box.outside, differs.groups())], capture_output=True, text=True).stdout


def test_two_builds_that_differ_are_found(box):
    expression = (f'derivation {{ name = "moment"; system = "{SYSTEM}"; builder = "/bin/sh"; '
                  'args = [ "-c" "/bin/date +%N > $out" ]; }')
    box.checked("nix", "build", "--impure", "--no-link", "--expr", expression)
    assert "differ" in rebuild(box, "--impure", "--expr", expression)


def test_the_same_sources_give_the_same_bytes(box, package):
    assert rebuild(box, *box.flake("build", PACKAGE)[2:]) is None


def test_the_demo(box, package, tmp_path):
    """`nix run . -- demo` as a user types it. In the place of SmolLM2 the test hub has a tiny random model of its name."""
    model = make_tiny_llama(tmp_path / "tiny")
    with Hub(enter=box.enter) as hub:
        commit = hub.add_repo(DEMO_MODEL, {path.name: path for path in model.iterdir()})
        settings = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf")}
        demo = box.run(*box.flake("run", "default", "--", "demo"), environment=settings, cwd=tmp_path)
        assert demo.returncode == 0, demo.stderr[-4000:]
    adapter = json.loads((tmp_path / "fen/adapter_config.json").read_text())
    assert (adapter["base_model_name_or_path"], adapter["revision"], adapter["r"]) == (DEMO_MODEL, commit, 8)
    learned = [array for name, array in load_file(tmp_path / "fen/adapter_model.safetensors").items() if "lora_B" in name]
    assert len(learned) == 14 and all(abs(array).max() > 0 for array in learned)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "fen/metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 60 and max(losses[-5:]) < min(losses[:5])


def test_the_checks_of_the_flake(box, package):
    """The package, the units, and the C++ tests: all that this build knows of, run in the sandbox."""
    box.checked(*box.flake("flake check"), timeout=HOURS)
    log = re.sub(r"\x1b\[[\d;]*m", "", box.checked(*box.flake("log", TESTS)))
    known = subprocess.run(["ctest", "--test-dir", BUILD, "-N", "-L", "cpp", "-LE", "gpu"], check=True, capture_output=True,
                           text=True)
    count = int(re.search(r"Total Tests: (\d+)", known.stdout)[1])
    assert count > 10 and f"100% tests passed, 0 tests failed out of {count}" in log, log[-2000:]
