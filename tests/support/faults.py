"""Faults of the operating system for a daemon: calls that fail, take long or are its last, a wall clock that jumps.

    with Faults() as faults, fake_ftd(env=faults.env) as ftd:
        faults.set(Fault("sync", "ftd.db", error=errno.EIO, times=3), clock_offset_s=-3600)
"""
import dataclasses
import mmap
import pathlib
import struct
import tempfile

from ftd_fixture import BUILD

CALLS = {"open": 1, "read": 2, "write": 3, "sync": 4, "rename": 5, "unlink": 6, "mkdir": 7, "truncate": 8, "allocate": 9}
CRASH = {"": 0, "before": 1, "after": 2}
WHO = {"": 0, "daemon": 1, "worker": 2}
RULE = struct.Struct("<iiiiiiiii92s")
RULES = 64
SIZE = 8 + RULES * RULE.size
MET = 8  # the index of the field


@dataclasses.dataclass
class Fault:
    """What a call of `who` meets whose path contains `path`, or ends with it where a $ follows.

    `skip` calls are left alone first, `times` are met (-1: all). `crash`: the process is killed before or after the call.
    `most_bytes`: a write takes no more than these."""
    call: str
    path: str
    error: int = 0
    delay_ms: int = 0
    skip: int = 0
    times: int = -1
    crash: str = ""
    who: str = ""
    most_bytes: int = 0

    def pack(self):
        return RULE.pack(CALLS[self.call], self.error, self.delay_ms, CRASH[self.crash], WHO[self.who], self.most_bytes,
                         self.skip, self.times, 0, self.path.encode())


class Faults:
    """Of tests/server/fault_shim.cc, for the programs that are started with `env`."""

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="ftd-faults-")
        path = pathlib.Path(self.directory.name) / "faults"
        path.write_bytes(bytes(SIZE))
        self.file = path.open("r+b")
        self.map = mmap.mmap(self.file.fileno(), SIZE)
        self.env = {"LD_PRELOAD": str(BUILD / "tests" / "fault_shim.so"), "FTD_FAULTS": str(path),
                    "ASAN_OPTIONS": "verify_asan_link_order=0"}
        return self

    def worker(self, program, preload=""):
        """A worker that meets the faults too: ftd gives it no LD_PRELOAD."""
        path = pathlib.Path(self.directory.name) / "worker"
        path.write_text(f"#!/bin/sh\nLD_PRELOAD={preload or self.env['LD_PRELOAD']} exec {program} \"$@\"\n")
        path.chmod(0o755)
        return path

    def __exit__(self, *_):
        self.map.close()
        self.file.close()
        self.directory.cleanup()

    def set(self, *faults, clock_offset_s=0.0):
        """From now on these alone. The first call is written last: the shim stops at a rule without one."""
        rules = b"".join(fault.pack() for fault in faults).ljust(RULES * RULE.size, b"\0")
        self.map[8:12] = bytes(4)
        self.map[12:] = rules[4:]
        self.map[8:12] = rules[:4]
        self.map[:8] = struct.pack("<q", round(clock_offset_s * 1e9))

    def met(self, rule=0):
        """How many calls the rule has met."""
        return RULE.unpack_from(self.map, 8 + rule * RULE.size)[MET]
