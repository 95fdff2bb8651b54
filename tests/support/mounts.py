"""File systems of a test's own: root can write anything, so that only a mount can refuse it or be full."""
import functools
import os
import subprocess


@functools.cache
def namespace() -> list[str]:
    """The beginning of a command that runs in a mount namespace of its own, where it may mount.

    Empty for root in a bare chroot, whose / is no mount point and takes no namespace: mounts are then in everybody's
    sight, and the test takes them away itself.
    """
    command = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    probe = subprocess.run([*command, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True)
    if probe.returncode == 0:
        return command
    assert os.geteuid() == 0 and "propagation" in probe.stderr, (
        f"this test needs a mount namespace, and {' '.join(command)} says: {probe.stderr}"
        "run it as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1)")
    return []


def on_small_disk(directory, size: str, command) -> list[str]:
    """`command`, run while `directory` is a tmpfs of `size`."""
    script = ('mkdir -p "$0" && mount -t tmpfs -o size="$1" none "$0" || exit 99; shift; '
              '"$@"; status=$?; umount -l "$0"; exit $status')
    return [*namespace(), "sh", "-c", script, str(directory), size, *map(str, command)]
