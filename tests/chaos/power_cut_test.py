"""A storm in which the machine loses its power again and again: what was answered, shown or published is still true afterwards.

A seeded share: FTD_POWER_CUTS sets how many cuts, FTD_TEST_SEED what each of them loses.
"""
import contextlib
import os
import random
import signal

from chaos_test import Storm
from disk import Disk
from faults import Faults
from ftd_fixture import processes_under, wait_until
from helpers import FAKE_WORKER, ROWS, fake_ftd
from history import check_all, let_all_end
from users import User

CUTS = int(os.environ.get("FTD_POWER_CUTS", "12"))
STEPS = 40


class PowerCuts(Storm):
    def __init__(self, disk, *args):
        super().__init__(*args)
        self.disk = disk

    def kill(self):
        """The daemon and its workers end at one moment; what they had not flushed may be lost."""
        self.ftd.kill()
        for pid in processes_under(self.ftd.state_dir):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not processes_under(self.ftd.state_dir), "the workers' end")
        self.disk.cut(self.rng)
        self.faults.set()
        self.ftd.start()


def test_power_cuts():
    seed = int(os.environ.get("FTD_TEST_SEED", random.SystemRandom().randrange(2**32)))
    print("FTD_TEST_SEED", seed)
    with Faults() as faults, fake_ftd(f"steps={STEPS} step_ms=4 save=10", config="max_queued = 100000\n", start=False) as ftd:
        disk = Disk(ftd.state_dir, ftd.root / "disk.log")
        preload = f"{faults.env['LD_PRELOAD']}:{disk.library}"
        ftd.worker = faults.worker(FAKE_WORKER, preload)
        ftd.env |= faults.env | disk.env | {"LD_PRELOAD": preload}
        ftd.start()
        spec = ftd.spec(ftd.model, ROWS)
        users = [User(name, seed + i, ftd.new_channel, spec) for i, name in enumerate(["one", "other"])]
        storm = PowerCuts(disk, ftd, faults, users, random.Random(seed))
        storm.rage(CUTS)
        print({user.name: dict(user.done) for user in users}, disk.lost, "changes not flushed")
        assert disk.lost > CUTS
        wait_until(lambda: let_all_end(ftd, users), "the queue to drain", 120, 0.2)
        check_all(ftd, users, storm.followers, STEPS, worn_out=lambda job: True, clock_jumps=storm.clock_jumps)
