#!/usr/bin/env python3
"""Packs the GPU kit: programs, the libraries that a bare system lacks, and the scripts of this folder.

    pack.py BUILD_DIR ARCHIVE

BUILD_DIR is a build with -DFTD_ARROW=OFF -DFTD_CUDA=ON; `./dev gpu-kit` makes it. LibTorch and CUDA stay out: the target's
Python has them. Needs patchelf. Exits with 1 when the archive is larger than 40 MB.
"""
import argparse
import pathlib
import shutil
import sys
import tarfile
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "deploy")]
from package import LIBTORCH, SYSTEM, needed, place, write_notices  # noqa: E402

PROGRAMS = ["bin/ft-worker", "tests/gpu_test", "tests/gpu_trainer_test", "bench/ops_bench"]
SCRIPTS = [HERE / name for name in ("run.sh", "check.py", "correctness.py", "speed.py", "machine.py", "report.py",
                                    "make_models.py", "hf_peer.py")] + [HERE.parent / "random_llama.py"]
MOST_BYTES = 40_000_000


def stage(build, tree):
    """The kit as it will be unpacked."""
    (tree / "bin").mkdir(parents=True)
    (tree / "lib").mkdir()
    libraries = {}
    for program in PROGRAMS:
        libraries |= {name: path for name, path in needed(build / program).items()
                      if not SYSTEM.fullmatch(name) and not LIBTORCH.search(str(path))}
        place(build / program, tree / program.replace("tests/", "bin/").replace("bench/", "bin/"), "$ORIGIN/../lib")
    for name, path in libraries.items():
        place(path, tree / "lib" / name, "$ORIGIN")
    for script in SCRIPTS:
        shutil.copy(script, tree)
    write_notices(libraries, tree)
    return libraries


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("archive", type=pathlib.Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ftd-gpu-kit-") as scratch:
        tree = pathlib.Path(scratch) / "gpu-kit"
        libraries = stage(args.build, tree)
        unfinished = args.archive.with_suffix(".unfinished")
        with tarfile.open(unfinished, "w") as tar:
            tar.add(tree, tree.name)
    size = unfinished.stat().st_size
    if size > MOST_BYTES:
        raise SystemExit(f"{unfinished}: {size / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f}")
    unfinished.rename(args.archive)
    print(f"{args.archive}: {size / 1e6:.1f} MB, {len(PROGRAMS)} programs, {len(libraries)} libraries")


if __name__ == "__main__":
    main()
