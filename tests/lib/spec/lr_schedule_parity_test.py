"""Every step's learning rate is transformers' own, to the last bit."""
import json
import os
import pathlib
import subprocess
import types

import pytest
import torch
from transformers import TrainingArguments, get_scheduler

RATES = pathlib.Path(os.environ["FTD_BUILD_DIR"]) / "tests" / "lr_rates"
STEPS = [1, 2, 3, 7, 12, 100, 331]
WARMUPS = [0, 0.001, 0.03, 0.1, 1 / 3, 0.5, 0.999, 1, 2, 3, 12, 50, 400]
PEAKS = [1e-4, 3.3e-5]
SCHEDULES = [("linear", {}), ("cosine", {}), ("constant", {}), ("constant_with_warmup", {}),
             ("cosine_with_min_lr", {"min_lr_rate": 0.1}), ("cosine_with_min_lr", {"min_lr": 7e-6}),
             ("cosine_with_min_lr", {"min_lr": 0.0}), ("cosine_with_min_lr", {"min_lr_rate": 1.0})]


def ours(cases):
    lines = []
    for name, kwargs, peak, steps, warmup in cases:
        spec = {"mode": "LORA", "model": "/m", "learning_rate": peak, "lr_scheduler_type": name.upper(),
                "warmup_steps": warmup, **kwargs}
        lines.append(json.dumps({"spec": spec, "steps": steps}))
    done = subprocess.run([RATES], input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def theirs(name, kwargs, peak, steps, warmup):
    """The rate that the optimizer holds in each step of a loop as the Trainer's."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=peak)
    warmup_steps = TrainingArguments.get_warmup_steps(types.SimpleNamespace(warmup_steps=warmup), steps)
    scheduler = get_scheduler(name, optimizer, warmup_steps, steps, kwargs)
    rates = []
    for _ in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("name, kwargs", SCHEDULES, ids=lambda value: str(value))
def test_every_rate_is_transformers(name, kwargs):
    warmups = [0] if name == "constant" else WARMUPS
    cases = [(name, kwargs, peak, steps, warmup) for peak in PEAKS for steps in STEPS for warmup in warmups]
    for case, rates in zip(cases, ours(cases), strict=True):
        assert rates == theirs(*case), case
