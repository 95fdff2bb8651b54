"""A real systemd as process 1 of namespaces of its own, over a throw-away overlay of this machine's root.

Nothing of it outlasts the box: its processes end with its process 1, its mounts with their namespace. It has no network
but loopback, empty /tmp, /run, /home, /root and /etc/systemd/system, and what was given to it below /opt.
"""
import os
import pathlib
import shlex
import subprocess
import time

BOOT_S = 60
# Units of the host's distribution that have no business, or no rights, in a box.
MASKED = """apt-daily.timer apt-daily-upgrade.timer dev-hugepages.mount dev-mqueue.mount dpkg-db-backup.timer e2scrub_all.timer
e2scrub_reap.service fstrim.timer getty.target kmod-static-nodes.service modprobe@.service sys-fs-fuse-connections.mount
sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount systemd-logind.service
systemd-modules-load.service systemd-networkd.service systemd-remount-fs.service systemd-resolved.service
systemd-sysctl.service systemd-timesyncd.service systemd-udev-trigger.service systemd-udevd-control.socket
systemd-udevd-kernel.socket systemd-udevd.service systemd-update-utmp.service""".split()

START = r"""
box=$1 root=$1/root; shift
mount -t tmpfs -o mode=755 box "$box"
mkdir "$box/upper" "$box/work" "$root"
mount -t overlay box -o "lowerdir=/,upperdir=$box/upper,workdir=$box/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 dev "$root/dev"
for node in "null 3" "zero 5" "full 7" "random 8" "urandom 9"; do
  mknod -m 666 "$root/dev/${node% *}" c 1 "${node#* }"
done
mknod -m 666 "$root/dev/tty" c 5 0
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for i in 0=stdin 1=stdout 2=stderr; do ln -s /proc/self/fd/${i%=*} "$root/dev/${i#*=}"; done
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mount -t tmpfs -o mode=755 run "$root/run"
mount -t tmpfs -o mode=755 opt "$root/opt"
for given in "$@"; do
  mkdir -p "$root/opt/${given%%=*}"
  mount --bind "${given#*=}" "$root/opt/${given%%=*}"
done
for hidden in home root var/log; do mount -t tmpfs -o mode=755 hidden "$root/$hidden"; done
mount -t tmpfs -o mode=755 units "$root/etc/systemd/system"
for unit in $MASKED; do ln -s /dev/null "$root/etc/systemd/system/$unit"; done
: > "$root/etc/machine-id"
rm -f "$root/etc/fstab"
ip link set lo up 2>/dev/null || true
cd "$root"
mkdir -p oldroot
pivot_root . oldroot
umount -l /oldroot
mount --make-rshared /
exec env -i container=box PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --unit=basic.target --log-target=console --show-status=no
"""


class SystemdBox:
    def __init__(self, folder, given):
        """`given`: name below /opt -> folder of this machine."""
        assert os.geteuid() == 0, "a systemd of one's own needs root"
        folder = pathlib.Path(folder)
        (folder / "mount").mkdir()
        self._log = folder / "systemd.log"
        binds = [f"{name}={source}" for name, source in given.items()]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig=KILL",  # a test that is killed takes its box along
                 "unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--net", "--propagation", "private", "--fork",
                 "--kill-child", "bash", "-euc", START, "box", folder / "mount", *binds],
                env={"PATH": os.environ["PATH"], "MASKED": " ".join(MASKED)},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._pid = self._await_systemd()
            self.wait_until("systemctl is-system-running | grep -qE 'running|degraded'", BOOT_S)
        except BaseException:
            self.close()
            raise

    def _await_systemd(self):
        """The pid, here, of the box's process 1."""
        children = pathlib.Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        end = time.monotonic() + BOOT_S
        while time.monotonic() < end and self._process.poll() is None:
            for pid in children.read_text().split():
                if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                    return int(pid)
            time.sleep(0.05)
        raise AssertionError(f"systemd did not start in the box:\n{self.log()[-3000:]}")

    def log(self):
        return self._log.read_text(errors="replace")

    def close(self):
        self._process.kill()  # unshare --kill-child takes process 1 along, and that the rest
        self._process.wait(timeout=30)

    def run(self, command, user="root", timeout=120):
        """A shell command in the box, as one of its users."""
        enter = ["nsenter", "-t", self._pid, "-m", "-p", "-u", "-i", "-n", "-C", "--", "env", "-i", "TERM=dumb",
                 "LANG=C.UTF-8", "PATH=/opt/ftd/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
        as_user = [] if user == "root" else ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        words = [*enter, *as_user, "bash", "-c", command]
        return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=timeout)

    def succeed(self, command, **options):
        done = self.run(command, **options)
        assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def wait_until(self, command, seconds=60, **options):
        """Until the command succeeds; returns what it printed."""
        end = time.monotonic() + seconds
        while True:
            done = self.run(command, **options)
            if done.returncode == 0:
                return done.stdout
            assert time.monotonic() < end, f"waited {seconds} s for: {command}\n{done.stdout[-1500:]}{done.stderr[-1500:]}"
            time.sleep(0.05)

    def show(self, unit, name):
        """A property of a unit."""
        return self.succeed(f"systemctl show -P {name} {shlex.quote(unit)}").strip()
