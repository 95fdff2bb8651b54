"""kill -9 of ft-train in every phase of its life, in each mode: resumed until done, it makes what an unbroken run makes.

A moment is a mark of the unbroken run's life (a phase after a step) and a random part of that phase's time, or any time
at all. Where a kill really fell is judged by what the process had printed and what it left on disk. Phases hit least
come first. FTD_TRAIN_KILLS is the number of kills in each mode; the seed is printed, and FTD_TEST_SEED takes it back.
"""
import collections
import dataclasses
import itertools
import os
import random
import re
import shutil
import subprocess
import time

import pytest
from conftest import history, weights
from ftd_fixture import BIN, DEADLINE_S, alpaca_rows, write_jsonl

SEED = int(os.environ.get("FTD_TEST_SEED") or random.SystemRandom().randrange(1 << 30))
KILLS = int(os.environ.get("FTD_TRAIN_KILLS") or 7)
KILLS_OF_A_RUN = 7  # then it is let go on to its end
KILLS_FOR_ALL_PHASES = 20  # so many hit each phase, whatever the seed
ANY_TIME = 0.25  # the share of kills that aim at no phase

STEPS = 24
FLAGS = ["--batch_size", 4, "--seq_length", 96, "--max_steps", STEPS, "--save_steps", 5, "--eval_split", 6, "--eval_steps", 7]
RUNS = {
    "lora": ["--learning_rate", 1e-3, "--lora_dropout", 0.1],
    "full": ["--learning_rate", 3e-3, "--gradient_accumulation_steps", 2, "--load_best_model_at_end"],
    "qlora": ["--learning_rate", 1e-3, "--lora_dropout", 0.1],
}
FAMILIES = {"lora": "granite", "full": "qwen3_5_text", "qlora": "gemma2"}
PHASES = {  # by the line that was printed last
    "start": r"^$",
    "load": r"tokenising|loading the model",
    "train": r"step \d+/|saved |evaluated ",
    "evaluation": r"evaluating",
    "checkpoint": r"saving a checkpoint",
    "result": r"writing the result",
    "publication": None,  # prints nothing: files go from .ftd/result to where they stay, ftd_run.json last
}
# The models are too small for two threads, which on a busy machine wait for each other a hundred times as long as they work.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@dataclasses.dataclass(frozen=True)
class Mark:
    phase: str  # "": any
    step: int  # the last one before it; 0: in every life
    seconds: float  # that the phase lasted in the unbroken run


class Life:
    """One process of a run."""

    def __init__(self, directory, log, flags):
        self.directory, self.log = directory, log
        resume = (directory / ".ftd" / "request.json").exists()
        flags = ["--resume", "latest"] if resume else flags
        with log.open("w") as stderr:
            self.process = subprocess.Popen([BIN / "ft-train", *map(str, flags), "--output_dir", directory],
                                            stdout=subprocess.DEVNULL, stderr=stderr, env=ENVIRONMENT)
        self.end = time.monotonic() + DEADLINE_S

    def place(self):
        """(phase, steps taken)"""
        if (self.directory / ".ftd" / "result").exists() or (self.directory / "ftd_run.json").exists():
            return "publication", STEPS
        lines = [line for line in self.log.read_text().splitlines() if not re.match(r"warning: |\d+ rows, ", line)] or [""]
        phase = next((name for name, last in PHASES.items() if last and re.match(last, lines[-1])), None)
        assert phase, lines[-1]
        steps = [int(line.split()[1].split("/")[0]) for line in lines if line.startswith("step ")]
        return phase, max(steps, default=0)

    def places(self):
        """place() until the end of the process."""
        while self.process.poll() is None:
            assert time.monotonic() < self.end, f"hangs: {self.log.read_text()}"
            yield self.place()
            time.sleep(0.0003)  # a phase may last two milliseconds
        assert self.process.returncode in (0, -9), self.log.read_text()

    def go_on_to_the_end(self):
        """Its marks."""
        begun = []
        for place in self.places():
            if not begun or begun[-1][0] != place:
                begun.append((place, time.monotonic()))
        ends = [at for _, at in begun[1:]] + [time.monotonic()]
        return [Mark(*place, end - at) for (place, at), end in zip(begun, ends)]

    def kill(self, mark, share):
        """The phase that it was killed in; None: it had ended."""
        for phase, step in self.places():
            if mark.phase in ("", phase) and step >= mark.step:
                time.sleep(share * mark.seconds)
                self.process.kill()
        return self.place()[0] if self.process.returncode else None


def aim(marks, hits, resumed_at, chance):
    if chance.random() < ANY_TIME:
        return Mark("", 0, sum(mark.seconds for mark in marks))
    ahead = [mark for mark in marks if mark.step == 0 or mark.step > resumed_at]
    least = min(hits[mark.phase] for mark in ahead)
    phase = chance.choice(sorted({mark.phase for mark in ahead if hits[mark.phase] == least}))
    return chance.choice([mark for mark in ahead if mark.phase == phase])


def newest_checkpoint(directory):
    return max((int(path.name.split("-")[1]) for path in directory.glob("checkpoint-*")), default=0)


@pytest.mark.parametrize("mode", RUNS)
def test_killed_and_resumed(mode, model_of, tmp_path):
    print(f"FTD_TEST_SEED={SEED}")
    chance = random.Random(f"{SEED} {mode}")
    rows = write_jsonl(tmp_path / "rows.jsonl", alpaca_rows(64))
    flags = ["--model_name", model_of(FAMILIES[mode]), "--dataset", rows, "--mode", mode, *FLAGS, *RUNS[mode]]
    whole = tmp_path / "whole"
    marks = Life(whole, tmp_path / "whole.log", flags).go_on_to_the_end()
    hits, missed = collections.Counter(), collections.Counter()
    for number in itertools.count():
        broken, log = tmp_path / f"broken-{number}", tmp_path / f"broken-{number}.log"
        for _ in range(min(KILLS_OF_A_RUN, KILLS - hits.total())):
            mark = aim(marks, hits, newest_checkpoint(broken), chance)
            phase = Life(broken, log, flags).kill(mark, chance.random() / 2 ** missed[mark.phase])
            # The unbroken run may have been held up in that phase: the next try comes earlier in it.
            missed[mark.phase] = 0 if mark.phase in ("", phase) else missed[mark.phase] + 1
            if phase is None:
                break
            hits[phase] += 1
        Life(broken, log, flags).go_on_to_the_end()
        assert weights(broken) == weights(whole) != {}
        assert history(broken) == history(whole) != []
        assert sorted(path.name for path in broken.iterdir()) == sorted(path.name for path in whole.iterdir())
        shutil.rmtree(broken)
        if hits.total() >= KILLS:
            break
    print(f"{mode}: {hits.total()} kills in {number + 1} runs: {dict(hits)}")
    assert KILLS < KILLS_FOR_ALL_PHASES or hits.keys() == PHASES.keys()
