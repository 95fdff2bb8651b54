"""--batch-tokens against transformers: the same rows in each micro-batch, the same steps, and the same evaluations.

Where a micro-batch ends is found here again, row by row, in the order that the Trainer's sampler gives an epoch.
"""
import json
import math

import pytest
import torch
from case import CASES, load_rows
from datasets import Dataset
from ftd_fixture import Ftd
from reference import MAX_LENGTH, STEPS, Batches, Reference, Run, train, trainable
from tolerance import GRAD_NORM, LOSS, relative

TOKENS, ROWS, SPLIT, SEED = 760, 32, 8, 42


class Filled(Batches):
    """Rows of a case, in micro-batches of at most TOKENS tokens."""

    def __init__(self, case, numbers):
        super().__init__(case)
        self.ids = [self.ids[number] for number in numbers]

    def fill(self, order):
        """`order` in micro-batches: [[row]]."""
        micro_batches, room = [], 0
        for row in order:
            if len(self.ids[row]) > room:
                micro_batches.append([])
                room = TOKENS
            micro_batches[-1].append(row)
            room -= len(self.ids[row])
        return micro_batches

    def steps(self, accumulation):
        """The micro-batches of each step, and the passes over the data after it, for as long as they are asked for."""
        epoch = 0
        while True:
            order = torch.randperm(len(self.ids), generator=torch.Generator().manual_seed(SEED + epoch)).tolist()
            micro_batches = self.fill(order)
            for i in range(0, len(micro_batches), accumulation):
                yield micro_batches[i:i + accumulation], epoch + min(1, (i + accumulation) / len(micro_batches))
            epoch += 1

    def first_steps(self, accumulation):
        steps = self.steps(accumulation)
        return [next(steps) for _ in range(STEPS)]

    def of_step(self, step, accumulation):
        return [self.padded(rows) for rows in self.first_steps(accumulation)[step][0]]


def eval_loss(model, batches):
    """As the Trainer has it: each micro-batch's mean loss counts as often as it has rows."""
    total = 0
    for rows in batches.fill(range(len(batches.ids))):
        x_BT, mask_BT, labels_BT = batches.padded(rows)
        with torch.no_grad():
            total += model(input_ids=x_BT, attention_mask=mask_BT, labels=labels_BT).loss.item() * len(rows)
    return total / len(batches.ids)


def split(case):
    """The numbers of the rows that are trained on, and of those that are kept back."""
    assert len(load_rows(case)) >= ROWS
    parts = Dataset.from_dict({"number": list(range(ROWS))}).train_test_split(test_size=SPLIT, seed=SEED)
    return parts["train"]["number"], parts["test"]["number"]


@pytest.fixture(scope="module")
def daemon():
    with Ftd() as ftd:
        yield ftd


@pytest.mark.parametrize("run", [Run("lora", "lora", 5e-3), Run("full_accumulated", "full", 1e-3, accumulation=2)], ids=lambda run: run.name)
def test_curve_equals_transformers(daemon, run):
    reference = Reference(CASES[0])
    kept, held_out = split(reference.case)
    batches = Filled(reference.case, kept)
    model = trainable(reference.case, run)
    expected = train(model, batches, run)
    steps = batches.first_steps(run.accumulation)
    epochs = [epoch for _, epoch in steps]
    ends = [step for step, epoch in enumerate(epochs, 1) if epoch == int(epoch)]
    lengths = {end - begin for begin, end in zip([0, *ends], ends)}
    assert len(ends) > 1 and len(lengths) > 1, "the case shows nothing when all epochs have as many steps"
    assert len({len(rows) for micro_batches, _ in steps for rows in micro_batches}) > 1

    flags = ["--mode", run.mode, "--model", reference.case.model_dir, "--dataset", reference.case.rows_file, "--dataset-size", ROWS,
             "--batch-tokens", TOKENS, "--seq-length", MAX_LENGTH, "--gradient-accumulation-steps", run.accumulation,
             "--learning-rate", repr(run.learning_rate), "--seed", SEED, "--eval-split", SPLIT, "--dtype", "float32"]
    if run.mode == "lora":
        flags += ["--init-adapter", reference.init_adapter]
    rows = metrics(daemon, *flags, "--max-steps", STEPS)
    got = {key: [row[key] for row in rows] for key in expected}
    by_loss, by_norm = (relative(got[key], expected[key]) for key in ("loss", "grad_norm"))
    print(f"{run.name}: loss {by_loss:.1e}, grad_norm {by_norm:.1e}")
    assert by_loss <= LOSS and by_norm <= GRAD_NORM
    assert got["learning_rate"] == pytest.approx(expected["learning_rate"], rel=1e-12)
    assert got["tokens"] == expected["tokens"]
    assert got["padding_ratio"] == pytest.approx(expected["padding_ratio"], abs=1e-9)
    assert [row["epoch"] for row in rows] == pytest.approx(epochs, rel=1e-12)
    evaluated = {row["step"]: row["eval_loss"] for row in rows if "eval_loss" in row}
    assert list(evaluated) == sorted({*ends, STEPS}), "an evaluation after each epoch, however long it is"
    assert evaluated[STEPS] == pytest.approx(eval_loss(model, Filled(reference.case, held_out)), rel=LOSS)

    # Half an epoch has half the steps of its own order.
    for num_epochs, planned in ((2, ends[1]), (1.5, ends[0] + math.ceil((ends[1] - ends[0]) / 2))):
        assert len(metrics(daemon, *flags, "--num-epochs", num_epochs)) == planned


def metrics(daemon, *flags):
    job = daemon.ftctl("submit", *flags, "--quiet").stdout.strip()
    daemon.ftctl("wait", job, "--timeout", 180, timeout=190)
    return [json.loads(line) for line in daemon.ftctl("metrics", job, "-o", "jsonl").stdout.splitlines()]
