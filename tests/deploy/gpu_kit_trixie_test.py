"""The GPU kit on a bare machine without a GPU: Debian trixie, its own Python, torch's wheels, nothing else. ./dev soak gpu-kit.

Everything must load, the steps' CPU halves must run, and what needs a GPU must report "no GPU". Needs root, mmdebstrap, a Debian mirror
and a package index, from which the wheels for trixie's Python come once (1.6 GB, kept in FTD_CACHE_DIR); those of CUDA are the
build's own.
"""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig

from ftd_fixture import REPO
from trixie import make_trixie, run_in

PYTHON = "3.13"  # trixie's
SITE = pathlib.Path(sysconfig.get_paths()["purelib"])
WHEELS = """torch numpy filelock fsspec Jinja2 MarkupSafe mpmath networkx sympy typing_extensions
transformers huggingface_hub packaging PyYAML regex requests safetensors tokenizers tqdm typer certifi charset-normalizer idna
urllib3 click rich markdown-it-py mdurl Pygments shellingham httpx2 httpcore2 anyio h11 hf-xet truststore annotated-doc
peft accelerate psutil""".split()
ON_THE_CPU = ["environment", "gpu_test", "gpu_trainer_test", "training", "resume", "ops_bench", "peer", "NF4 model"]
STORY = """
grep -q trixie /etc/os-release
! command -v gcc nvcc pip > /dev/null
tar xf /opt/kit/gpu-kit.tar -C /opt
/opt/gpu-kit/run.sh /opt/out/full
"""


def site_packages():
    """The kit's Python side for trixie's Python, of the pinned versions. CUDA's folder is empty: the build's is put over it."""
    pinned = {line.split("==")[0].lower(): line for line in (REPO / "requirements.txt").read_text().splitlines() if "==" in line}
    wheels = [pinned[name.lower()] for name in WHEELS]
    key = hashlib.sha256("\n".join(wheels).encode()).hexdigest()[:12]
    folder = pathlib.Path(os.environ["FTD_CACHE_DIR"]) / f"site-{PYTHON}-{key}"
    if not (folder / ".complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-cache-dir", "--only-binary=:all:",
                        "--python-version", PYTHON, "--target", folder, *wheels], check=True)
        (folder / "nvidia").mkdir()
        (folder / ".complete").touch()
    return folder


def test_the_kit_on_trixie(tmp_path):
    subprocess.run([REPO / "dev", "gpu-kit"], check=True)
    archive = REPO / "build-kit" / "gpu-kit.tar"
    assert archive.stat().st_size <= 40e6
    (tmp_path / "out").mkdir()
    there = f"/usr/local/lib/python{PYTHON}/dist-packages"
    mounts = [(archive.parent, "/opt/kit", "ro"), (tmp_path / "out", "/opt/out", "rw"), (site_packages(), there, "ro"),
              (SITE / "nvidia", f"{there}/nvidia", "ro")]
    done = run_in(make_trixie(tmp_path / "trixie", "python3"), STORY, mounts, timeout=600)
    print(done.stdout + done.stderr)
    assert done.returncode == 0
    report = json.loads((tmp_path / "out/full/kit.json").read_text())
    steps = {step["name"]: step for step in report["steps"]}
    assert [name for name, step in steps.items() if step["status"] == "passed"] == ON_THE_CPU
    others = [step for name, step in steps.items() if name not in ON_THE_CPU]
    assert len(others) == 6 and {(step["status"], *step["notes"]) for step in others} == {("skipped", "no GPU")}
    assert sum(step["seconds"] for step in steps.values()) < 480
