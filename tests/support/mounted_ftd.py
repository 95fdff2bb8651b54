"""ftd on a small disk."""
import os
import subprocess

from ftd_fixture import Ftd
from mounts import namespace


class MountedFtd(Ftd):
    """ftd in whose sight a directory, by default that of its state, is a tmpfs of `megabytes`. Not started yet."""

    def __init__(self, megabytes, directory=None, **settings):
        super().__init__(start=False, **settings)
        self.megabytes, self.mounted = megabytes, directory or self.state_dir
        self.mounted.mkdir(parents=True)

    def command(self):
        mount = f"mount -t tmpfs -o size={self.megabytes}m none {self.mounted} && exec \"$@\""
        return [*namespace(), "sh", "-c", mount, "sh", *super().command()]

    def inside(self, script):
        """Runs a shell script where the daemon's mounts are."""
        if not namespace():
            return subprocess.run(["sh", "-ec", script], check=True, capture_output=True, text=True).stdout
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        enter = ["nsenter", "--target", str(self.process.pid), "--mount", *user]
        return subprocess.run([*enter, "sh", "-ec", script], check=True, capture_output=True, text=True).stdout

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        if not namespace():
            subprocess.run(["umount", "-l", str(self.mounted)], check=False, stderr=subprocess.DEVNULL)
        super().close()
