#!/usr/bin/env python3
"""Makes the relocatable tarball: what `cmake --install` puts in place, and the libraries that a bare system lacks.

    package.py BUILD_DIR OUTPUT_DIR [--with-libtorch]

Writes ftd-VERSION-linux-ARCH.tar.gz and its .sha256. One build gives the same bytes each time. It runs wherever the
system's C and C++ libraries are as new as the builder's: SYSTEM below are not taken along, because a driver's or a
distribution's own libraries need theirs. LibTorch is large and often there already, so it comes only with
--with-libtorch (the CPU's part); else lib/ftd/torch or FTD_LIBTORCH says where it is. Needs patchelf.
"""
import argparse
import gzip
import hashlib
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
PREFIX = pathlib.Path("/opt/ftd")  # where the systemd unit wants the tree
SYSTEM = re.compile(r"(ld-linux.*|linux-vdso|libc|libm|libdl|librt|libpthread|libresolv|libutil|libgcc_s|libstdc\+\+)\.so.*")
LIBTORCH = re.compile(r"/(torch/lib|nvidia/[^/]+/lib)/")
RUNPATHS = {"ft-worker": "$ORIGIN/../lib/ftd:$ORIGIN/../lib/ftd/torch/lib"}
RUNPATHS["ft-train"] = RUNPATHS["ft-worker"]


def run(*words):
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True).stdout


def needed(program):
    """Name -> file of every library that the loader finds for the program."""
    found = {}
    for line in run("ldd", program).splitlines():
        if match := re.match(r"\s*(\S+) => (.+?)(?: \(0x|$)", line):
            if match[2] == "not found":
                raise SystemExit(f"{program} needs {match[1]}, which was not found")
            found[match[1]] = pathlib.Path(match[2])
    return found


def place(source, target, runpath):
    shutil.copy(source, target)
    target.chmod(0o755)
    run("strip", "--strip-unneeded", target)
    run("patchelf", "--set-rpath", runpath, target)


def owner(library):
    """What the library came with: a package's name and version, and the file of its licence."""
    if "site-packages" in str(library):
        site = next(folder for folder in library.parents if folder.name == "site-packages")
        project = library.relative_to(site).parts[0]
        info = next(folder for folder in site.glob(f"{project}-*.dist-info"))
        return info.name.removesuffix(".dist-info").replace("-", " "), next(info.rglob("LICENSE*"))
    # dpkg knows a file by the path that it was installed to, with or without /usr.
    for path in (library, library.resolve(), pathlib.Path(str(library.resolve()).removeprefix("/usr"))):
        known = subprocess.run(["dpkg-query", "-S", path], capture_output=True, text=True)
        if known.returncode == 0:
            name = known.stdout.split(":")[0]
            version = run("dpkg-query", "-W", "-f", "${Version}", name)
            return f"{name} {version}", pathlib.Path("/usr/share/doc") / name / "copyright"
    raise SystemExit(f"no package owns {library}: its licence is not known")


def write_notices(libraries, folder):
    """THIRD-PARTY, a line for each library, and the licences beside it."""
    licences = folder / "licenses"
    licences.mkdir()
    lines = ["The libraries in lib/ftd, unchanged but for the folder that they look for each other in.", ""]
    for name, source in sorted(libraries.items()):
        package, licence = owner(source)
        copied = licences / package.split()[0]
        if not copied.exists():
            shutil.copyfile(licence, copied)
        lines.append(f"{name}: {package}, licenses/{copied.name}")
    (folder / "THIRD-PARTY").write_text("\n".join(lines) + "\n")


def stage(build, tree, with_libtorch):
    """The installed tree, with its libraries, below `tree`."""
    with tempfile.TemporaryDirectory() as scratch:
        environment = {**os.environ, "DESTDIR": scratch}
        subprocess.run(["cmake", "--install", build, "--prefix", PREFIX], check=True, env=environment, stdout=subprocess.DEVNULL)
        shutil.move(f"{scratch}{PREFIX}", tree)
    bundled, libtorch = {}, {}
    for program in sorted((tree / "bin").iterdir()):
        for name, path in needed(program).items():
            if SYSTEM.fullmatch(name):
                continue
            (libtorch if LIBTORCH.search(str(path)) else bundled)[name] = path
    for program in (tree / "bin").iterdir():
        place(program, program.with_suffix(".new"), RUNPATHS.get(program.name, "$ORIGIN/../lib/ftd"))
        program.with_suffix(".new").rename(program)
    libraries = tree / "lib/ftd"
    libraries.mkdir(parents=True)
    for name, path in bundled.items():
        place(path, libraries / name, "$ORIGIN")
    notices = dict(bundled)
    if with_libtorch:
        (libraries / "torch/lib").mkdir(parents=True)
        for name, path in libtorch.items():
            place(path, libraries / "torch/lib" / name, "$ORIGIN")
        notices |= libtorch
    document = tree / "share/doc/ftd"
    write_notices(notices, document)
    shutil.copytree(ROOT / "docs", document / "docs")
    shutil.copy(ROOT / "README.md", document)


def source_time():
    """Seconds since 1970 of the sources: SOURCE_DATE_EPOCH, the commit, else VERSION's file."""
    if "SOURCE_DATE_EPOCH" in os.environ:
        return int(os.environ["SOURCE_DATE_EPOCH"])
    committed = subprocess.run(["git", "-C", ROOT, "log", "-1", "--format=%ct"], capture_output=True, text=True)
    return int(committed.stdout) if committed.returncode == 0 else int((ROOT / "VERSION").stat().st_mtime)


def pack(tree, archive, seconds):
    def plain(entry):
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mtime = seconds
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
        return entry

    with open(archive, "wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=seconds) as packed, \
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted([tree, *tree.rglob("*")]):
            tar.add(path, str(path.relative_to(tree.parent)), recursive=False, filter=plain)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--with-libtorch", action="store_true")
    args = parser.parse_args()
    name = f"ftd-{(ROOT / 'VERSION').read_text().strip()}-linux-{platform.machine()}"
    args.output.mkdir(parents=True, exist_ok=True)
    archive = args.output / f"{name}.tar.gz"
    with tempfile.TemporaryDirectory(prefix="ftd-package-") as scratch:
        tree = pathlib.Path(scratch) / name
        stage(args.build, tree, args.with_libtorch)
        unfinished = archive.with_suffix(".unfinished")
        pack(tree, unfinished, source_time())
        unfinished.rename(archive)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    archive.with_name(archive.name + ".sha256").write_text(f"{digest}  {archive.name}\n")
    print(f"{archive}  {archive.stat().st_size / 1e6:.1f} MB", file=sys.stderr)


if __name__ == "__main__":
    main()
