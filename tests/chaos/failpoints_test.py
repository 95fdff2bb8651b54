"""Each of the named places of places.py meets a crash, an error or a delay while a small life of jobs passes it.

A seeded share: FTD_CHAOS_PLACES sets how many, FTD_TEST_SEED which; FTD_CHAOS_PLACE="NAME: ACTION" takes that alone.
FTD_CHAOS_ROUNDS takes all of them, so many times.
"""
import contextlib
import os
import random
import time

from faults import Fault, Faults
from ftd_fixture import wait_until
from helpers import FAKE_WORKER, fake_ftd
from history import check_all, let_all_end
from life import SAVE, STEPS, Keeper, Life
from places import PLACES

SHARE = int(os.environ.get("FTD_CHAOS_PLACES", "16"))
ACTIONS = ("crash", "error", "delay")
LIVES = 4  # at most: where this process is slow, a job has ended before it is asked for what leads to a place
CONFIG = "max_queued = 100000\nretention_checkpoint_days = 0\n"


def seed_of_this_run():
    seed = int(os.environ.get("FTD_TEST_SEED", random.SystemRandom().randrange(2**32)))
    print("FTD_TEST_SEED", seed)
    return seed


def share(rng, count):
    """Places and actions: all of them in an order of the seed's, again and again."""
    chosen = []
    while len(chosen) < count:
        cases = [(name, action) for name in PLACES for action in ACTIONS]
        rng.shuffle(cases)
        chosen += cases
    return chosen[:count]


@contextlib.contextmanager
def world(seed):
    with Faults() as faults, fake_ftd(f"steps={STEPS} step_ms=4 save={SAVE}", config=CONFIG, env=faults.env,
                                      worker=faults.worker(FAKE_WORKER)) as ftd:
        keeper = Keeper(ftd)
        keeper.start()
        try:
            yield ftd, faults, keeper, Life(ftd, keeper, seed)
        finally:
            keeper.over.set()
            keeper.join(60)


def test_failpoints():
    seed = seed_of_this_run()
    rng = random.Random(seed)
    rounds = int(os.environ.get("FTD_CHAOS_ROUNDS", "0"))
    chosen = share(rng, rounds * len(PLACES) * len(ACTIONS) or SHARE)
    if "FTD_CHAOS_PLACE" in os.environ:
        chosen = [tuple(os.environ["FTD_CHAOS_PLACE"].split(": "))] * SHARE
    with world(seed) as (ftd, faults, keeper, life):
        for name, action in chosen:
            begun, fault = time.monotonic(), PLACES[name].fault(action, rng)
            faults.set(fault)
            for _ in range(LIVES):
                life.live(old_database="migration" in name, log_noticed=faults.met if name == "log bounded" else None)
                if faults.met():
                    break
            print(f"{name}: {action}, at the {fault.skip + 1}. time, {time.monotonic() - begun:.1f} s, {keeper.deaths} deaths", flush=True)
            assert faults.met() == 1, (name, action, fault)
        faults.set()
        keeper.over.set()
        keeper.join(60)
        wait_until(lambda: let_all_end(ftd, [life]), "the queue to drain", 120, 0.2)
        check_all(ftd, [life], life.followers, STEPS, starts_stay=False)


def test_a_life_passes_every_place():
    """As often as a fault may have to wait for it."""
    with world(1) as (ftd, faults, keeper, life):
        faults.set(*[Fault(p.call, p.path, who=p.who) for p in PLACES.values()])
        for _ in range(LIVES):
            life.live(old_database=True, log_noticed=lambda: faults.met(list(PLACES).index("log bounded")))
            met = {name: faults.met(i) for i, name in enumerate(PLACES)}
            if all(count >= PLACES[name].often for name, count in met.items()):
                break
    print(*(f"{count:5d} {PLACES[name].often:3d} {name}" for name, count in met.items()), sep="\n")
    assert {name: count for name, count in met.items() if count < PLACES[name].often} == {}
