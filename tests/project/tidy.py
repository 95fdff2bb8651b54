#!/usr/bin/env python3
"""clang-tidy over C++ sources, several at a time: `./dev lint` runs it.

    tidy.py BUILD_DIR JOBS FILE…

A file that was found clean is remembered in BUILD_DIR/tidy by a hash of everything that its verdict depends on: its own
text and that of the project's headers it includes, its compile command, .clang-tidy and the version of clang-tidy. So a
second run looks only at what changed. Ends with 1 if a file is not clean.
"""
import concurrent.futures
import hashlib
import json
import pathlib
import shlex
import subprocess
import sys

TIDY = "clang-tidy-14"
ROOT = pathlib.Path(__file__).resolve().parents[2]


def command_of(entry):
    """The compile command without its output."""
    words = shlex.split(entry["command"])
    return [word for i, word in enumerate(words) if word not in ("-o", "-c") and words[i - 1] != "-o"]


def key_of(entry, versions):
    """A hash of what the verdict on a file depends on; the system's headers are taken to be constant."""
    command = command_of(entry)
    made = subprocess.run(command + ["-MM"], cwd=entry["directory"], capture_output=True, text=True)
    if made.returncode:
        return None  # clang-tidy will say why
    paths = [pathlib.Path(entry["directory"], word) for word in shlex.split(made.stdout.replace("\\\n", " "))[1:]]
    digest = hashlib.sha256(repr((versions, command)).encode())
    for path in sorted(set(paths)):
        if path.is_relative_to(ROOT):
            digest.update(str(path).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def check(path, entry, build, versions):
    """(path, was it known, output or None when clean)"""
    key = key_of(entry, versions) if entry else None
    if key and (build / "tidy" / key).exists():
        return path, True, None
    # The warnings that clang-tidy counts on stderr are those of system headers, which it does not show.
    run = subprocess.run([TIDY, "-p", build, "--quiet", "--extra-arg=-Wthread-safety", path], cwd=ROOT,
                         capture_output=True, text=True)
    if run.returncode:
        return path, False, run.stdout + ("" if run.stdout else run.stderr)
    if key:
        (build / "tidy" / key).touch()
    return path, False, None


def main():
    build, jobs, files = pathlib.Path(sys.argv[1]).resolve(), int(sys.argv[2]), sys.argv[3:]
    (build / "tidy").mkdir(exist_ok=True)
    entries = {entry["file"]: entry for entry in json.loads((build / "compile_commands.json").read_text())}
    version = subprocess.run([TIDY, "--version"], capture_output=True, text=True, check=True).stdout
    versions = version + (ROOT / ".clang-tidy").read_text()
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        results = [pool.submit(check, path, entries.get(str(ROOT / path)), build, versions) for path in files]
        for number, result in enumerate(concurrent.futures.as_completed(results), 1):
            path, known, output = result.result()
            verdict = "known to be clean" if known else "clean" if output is None else "NOT CLEAN"
            print(f"[{number}/{len(files)}] {path}: {verdict}", flush=True)
            if output is not None:
                failed += 1
                print(output, flush=True)
    print(f"{len(files)} files, {failed} not clean", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
