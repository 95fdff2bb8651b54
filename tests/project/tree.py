"""The files of this repository: those that git tracks, or all but build directories where there is no git."""
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def files(*suffixes):
    """Paths relative to the root, sorted; all, or those with one of the suffixes."""
    try:
        listing = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], check=True, capture_output=True, text=True)
        names = [name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]
    except (OSError, subprocess.CalledProcessError):  # no git, or an exported tree
        paths = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
        names = [str(p) for p in paths if not p.parts[0].startswith(("build", ".git/", ".git")) or p.name == ".gitignore"]
    return sorted(name for name in names if "__pycache__" not in name and (not suffixes or name.endswith(suffixes)))


def text(name):
    return (ROOT / name).read_text(encoding="utf-8", errors="replace")
