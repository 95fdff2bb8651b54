"""Faults of the operating system for a daemon: calls that fail or take long, a wall clock that jumps.

    with Faults() as faults, fake_ftd(env=faults.env) as ftd:
        faults.set(Fault("sync", "ftd.db", error=errno.EIO, times=3), clock_offset_s=-3600)
"""
import dataclasses
import mmap
import pathlib
import struct
import tempfile

from ftd_fixture import BUILD

CALLS = {"open": 1, "read": 2, "write": 3, "sync": 4, "rename": 5, "unlink": 6}
RULE = struct.Struct("<iiiiii104s")
RULES, SIZE = 8, 8 + 8 * RULE.size


@dataclasses.dataclass
class Fault:
    """What a call whose path contains `path` meets; `skip` calls are left alone first, `times` are met (-1: all)."""
    call: str
    path: str
    error: int = 0
    delay_ms: int = 0
    skip: int = 0
    times: int = -1

    def pack(self):
        return RULE.pack(CALLS[self.call], self.error, self.delay_ms, self.skip, self.times, 0, self.path.encode())


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
        return RULE.unpack_from(self.map, 8 + rule * RULE.size)[5]
