"""A Debian trixie with next to nothing in it, for what must run on a bare machine. Needs root, mmdebstrap and a Debian mirror
(FTD_DEBIAN_MIRROR, else that of this machine's sources)."""
import os
import pathlib
import re
import subprocess

# In namespaces of its own: mounts, processes and the network (loopback, down) go with the test. So no mount is left below the
# root when somebody removes it.
ENTER = r"""
root=$1 story=$2; shift 2
mount --bind "$root" "$root"
while [ $# -gt 0 ]; do
  mkdir -p "$root$2"
  mount --bind -o "$3" "$1" "$root$2"
  shift 3
done
mount -t proc proc "$root/proc"
mount -t tmpfs tmp "$root/tmp"
mount -t tmpfs shm "$root/dev/shm"
exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root sh -euc "$story"
"""


def make_trixie(root, *packages):
    """Debian's base and the packages below `root`."""
    mirror = os.environ.get("FTD_DEBIAN_MIRROR")
    if not mirror:
        files = [*pathlib.Path("/etc/apt/sources.list.d").glob("*"), pathlib.Path("/etc/apt/sources.list")]
        words = " ".join(file.read_text() for file in files if file.is_file())
        mirror = re.search(r"https?://\S+/debian/?(?=\s)", words)[0]
    include = [f"--include={','.join(packages)}"] if packages else []
    subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", *include, "trixie", root, mirror], check=True)
    return root


def run_in(root, story, mounts, timeout):
    """Runs a shell script in the root with an empty environment. `mounts`: (folder here, folder there, "rw" or "ro")."""
    words = [str(word) for mount in mounts for word in mount]
    enter = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--propagation", "private", "sh", "-euc", ENTER]
    return subprocess.run([*enter, "enter", root, story, *words], capture_output=True, text=True, timeout=timeout)
