"""Python environments of packages that only a soak needs: each is made once, in the cache."""
import hashlib
import os
import pathlib
import subprocess
import sys

CACHE = pathlib.Path(os.environ.get("FTD_CACHE_DIR") or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "ftd")


def interpreter(variable, name, packages, *pip_flags):
    """What the environment variable names; else the Python of an environment with these packages (NAME==VERSION)."""
    if given := os.environ.get(variable):
        return given
    environment = CACHE / f"{name}-{hashlib.sha256(' '.join(packages).encode()).hexdigest()[:12]}"
    python = environment / "bin" / "python"
    if not (environment / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *pip_flags, *packages], check=True)
        (environment / "complete").touch()
    return str(python)
