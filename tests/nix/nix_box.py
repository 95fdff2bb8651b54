"""Nix on this machine without its network and without its store.

Everything runs in namespaces of the box's own, where an empty folder lies over /nix and the network is loopback; they end
with the box, and so does every process in them. The flake is a copy of what git has, so that a file that nobody added is missed here as by a user. In the place
of nixpkgs comes tests/nix/stand-in.
"""
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import sysconfig

from mounts import namespace

REPO = pathlib.Path(__file__).resolve().parents[2]
SITE_PACKAGES = sysconfig.get_paths()["purelib"]
CCACHE_HASHES = ("CCACHE_SLOPPINESS", "LANG", "LC_ALL", "LC_CTYPE", "LC_MESSAGES")
SYSTEM = f"{os.uname().machine}-linux"
LOOPBACK = """import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh14x", b"lo", 1))"""  # SIOCSIFFLAGS, IFF_UP


class NixBox:
    def __init__(self, folder, engine=False, ccache=True):
        """`engine`: the package has ft-worker too, built with this interpreter's LibTorch."""
        self.folder = pathlib.Path(folder)
        for name in ("nix", "src", "home", "tmp"):
            (self.folder / name).mkdir()
        self.source = self.folder / "src"
        tracked = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                                 cwd=REPO, check=True, capture_output=True, text=True).stdout
        for name in filter(None, tracked.split("\0")):
            if (REPO / name).is_file():
                (self.source / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(REPO / name, self.source / name)
        # Within the sandbox and without: what is built with LibTorch runs in both.
        (self.folder / "nix/host").mkdir()
        (self.folder / "nix/host/site-packages").symlink_to(SITE_PACKAGES)
        self.stand_in = self.source / "tests/nix/stand-in"
        if engine:
            (self.stand_in / "engine").touch()
        self.environment = {
            "HOME": str(self.folder / "home"), "TMPDIR": str(self.folder / "tmp"), "LC_ALL": "C.UTF-8",
            "PATH": os.environ["PATH"], "NIX_CONFIG": "\n".join(self._settings(ccache))}
        self.holder = self._hold()

    def _settings(self, ccache):
        paths = ["/bin=/usr/bin", "/usr=/usr", "/lib=/usr/lib", "/lib64=/usr/lib64", "/etc/alternatives=/etc/alternatives",
                 f"/nix/host/site-packages={SITE_PACKAGES}"]
        if ccache:
            cache = subprocess.run(["ccache", "--get-config", "cache_dir"], capture_output=True, text=True)
            if cache.returncode == 0 and os.path.isdir(cache.stdout.strip()):
                paths.append(f"/host/ccache={cache.stdout.strip()}")
                paths.append(f"/host/environment={self.folder}/environment")
                (self.folder / "environment").write_text("".join(
                    f"export {name}={shlex.quote(os.environ[name])}\n" for name in CCACHE_HASHES if name in os.environ))
        return ["build-users-group =", "substitute = false", "experimental-features = nix-command flakes", "sandbox = true",
                "use-registries = false", "max-jobs = 1", f"cores = {os.cpu_count()}", f"sandbox-paths = {' '.join(paths)}"]

    def _hold(self):
        """A process that keeps the namespaces, until its standard input ends."""
        assert namespace(), "Nix's sandbox needs a root that is a mount point"
        assert os.path.isdir("/nix"), "a folder /nix must exist: mkdir /nix"
        script = 'mount --bind "$1/nix" /nix && "$2" -c "$3" && echo ready && exec cat'
        alone = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        holder = subprocess.Popen([*namespace(), *alone, "sh", "-c", script, "sh", self.folder, sys.executable, LOOPBACK],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert holder.stdout.readline() == "ready\n"
        return holder

    def close(self):
        self.holder.stdin.close()
        self.holder.wait(timeout=30)
        subprocess.run(["chmod", "-R", "u+w", self.folder / "nix"], check=True)
        shutil.rmtree(self.folder)

    @property
    def enter(self):
        """The beginning of a command that runs in the box, in its root folder."""
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        pids = f"--pid=/proc/{self.holder.pid}/ns/pid_for_children"  # unshare itself stays outside of the one it made
        return ["nsenter", "--target", str(self.holder.pid), "--mount", "--net", pids, *user, "--"]

    def run(self, *command, timeout=600, environment={}, cwd="/"):
        return subprocess.run([*self.enter, "env", "-C", cwd, *map(str, command)], env={**self.environment, **environment},
                              capture_output=True, text=True, timeout=timeout)

    def checked(self, *command, **options):
        done = self.run(*command, **options)
        assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
        return done.stdout

    def flake(self, verb, output="", *arguments):
        """A `nix` command on the flake, with the stand-in for nixpkgs."""
        override = ["--override-input", "nixpkgs", f"path:{self.stand_in}", "--no-write-lock-file"]
        return ["nix", *verb.split(), f"path:{self.source}{'#' if output else ''}{output}", *override, *arguments]

    def build(self, output, **options):
        """Builds an output of the flake; returns its store path, as seen from here."""
        made = json.loads(self.checked(*self.flake("build", output, "--no-link", "--json"), **options))
        return self.outside(made[0]["outputs"]["out"])

    def outside(self, store_path):
        return self.folder / store_path.lstrip("/")

    def evaluate(self, output, apply=None):
        return json.loads(self.checked(*self.flake("eval", output, "--json", *(["--apply", apply] if apply else []))))


if __name__ == "__main__":  # nix_box.py FOLDER COMMAND…: a look inside, for whoever mends a test
    box = NixBox(sys.argv[1])
    try:
        sys.exit(subprocess.call([*box.enter, "env", "-C", box.source, *sys.argv[2:]], env=box.environment))
    finally:
        box.close()
