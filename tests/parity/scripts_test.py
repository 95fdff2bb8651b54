"""ft-train against what NVIDIA's scripts do: their rows in their order, their settings, TRL's SFTTrainer, step for step.

The scripts load tatsu-lab/alpaca, take the first rows, shuffle them with seed 42 and train for one epoch with TRL's
defaults. Here the hub is the test hub, and its rows are the 999 of the Alpaca demo set.
"""
import io
import json
import os
import re
import subprocess

import pyarrow
import pyarrow.parquet
import pytest
import torch
from case import CASES, fetch, load_tokenizer, render
from datasets import Dataset
from ftd_fixture import BIN
from hf_models import NF4_CASES, made_for_nf4, trainable
from reference import Reference, Run
from tolerance import HF_WAYS, LOSS, NEAR, QLORA_TRL_LOSS, outside, relative, spread
from trl import SFTConfig, SFTTrainer

from hub_fixture import Hub  # noqa: E402

ROWS = 84  # 11 steps, the last one short
FEW_ROWS = 36  # 5 steps
# 8B LoRA's, 3B full's and 70B QLoRA's: batch 8, no accumulation; the reference's cases end at 256 tokens, theirs at 2048.
RUNS = [Run("llama3-8b-lora", "lora", 1e-4), Run("llama3-3b-full", "full", 5e-5), Run("llama3-70b-qlora", "qlora", 1e-4)]


def case_of(run, case):
    return made_for_nf4(NF4_CASES[0]) if run.mode == "qlora" else Reference(case).case


def alpaca():
    rows = json.loads(fetch.llamafactory_data("alpaca_en_demo.json"))
    return [{name: row[name] for name in ("instruction", "input", "output")} for row in rows]


def scripts_curve(case, run, count, out_dir, dtype="float32", attention="eager", float32_adapters=False, warm_up=False,
                  pad_to_multiple_of=None):
    """(losses, learning rates, train_loss). `warm_up`: with the training that the scripts do to compile the model."""
    tokenizer = load_tokenizer(case)
    tokenizer.pad_token = tokenizer.eos_token
    rows = Dataset.from_list(alpaca()).select(range(count)).shuffle(seed=42)
    rows = rows.map(lambda row: {"text": render(row) + tokenizer.eos_token}, remove_columns=rows.column_names)
    config = dict(output_dir=str(out_dir), per_device_train_batch_size=8, num_train_epochs=1, max_length=2048,
                  learning_rate=run.learning_rate, logging_steps=1, dataset_text_field="text", packing=False,
                  save_strategy="no", report_to="none", use_cpu=True, bf16=dtype == "bfloat16",
                  gradient_checkpointing=False, disable_tqdm=True, pad_to_multiple_of=pad_to_multiple_of)
    model = trainable(case, run.mode, dtype=getattr(torch, dtype), attention=attention)
    adapters = {name: p.data.clone() for name, p in model.named_parameters() if p.requires_grad}
    if warm_up:
        SFTTrainer(model=model, processing_class=tokenizer, train_dataset=rows, args=SFTConfig(**config | {"num_train_epochs": 0.05})).train()
    trainer = SFTTrainer(model=model, processing_class=tokenizer, train_dataset=rows, args=SFTConfig(**config))
    if float32_adapters:  # TRL has made those of a quantised model bfloat16
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.data = adapters[name]
    train_loss = trainer.train().training_loss
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    return [entry["loss"] for entry in log], [entry["learning_rate"] for entry in log], train_loss


def our_curve(case, run, count, tmp_path, *flags):
    """(losses, learning rates, what ft-train printed)"""
    parquet = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(alpaca()), parquet)
    flags = ["--model_name", case.model_dir, "--dataset_size", count, "--output_dir", tmp_path / "out", *flags]
    if run.mode != "full":
        flags += ["--init_adapter", case.dir / "lora-init"]
    with Hub() as hub:
        hub.add_repo("tatsu-lab/alpaca", {"data/train-00000-of-00001.parquet": parquet.getvalue()}, type="dataset")
        done = subprocess.run([BIN / "ft-train", run.name, *map(str, flags)], env={**os.environ, **hub.env(tmp_path / "hf")},
                              capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    log = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    log = [entry for entry in log if "loss" in entry]
    return [entry["loss"] for entry in log], [entry["learning_rate"] for entry in log], done.stdout


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_the_scripts_curve(run, tmp_path):
    case = case_of(run, CASES[0])
    losses, rates, said = our_curve(case, run, ROWS, tmp_path, "--dtype", "float32")
    expected, expected_rates, train_loss = scripts_curve(case, run, ROWS, tmp_path / "trl", float32_adapters=run.mode == "qlora")
    assert len(losses) == len(expected) == 11
    assert relative(losses, expected) <= LOSS
    assert rates == pytest.approx(expected_rates, rel=1e-12)
    # As printed. Both rounded, right answers that lie on two sides of a half would differ.
    assert float(re.search(r"Train loss: (\d+\.\d{4})\n", said)[1]) == pytest.approx(train_loss, abs=5e-5 + LOSS * train_loss)
    if run.mode == "qlora":
        as_it_is, _, train_loss = scripts_curve(case, run, ROWS, tmp_path / "trl")
        print(f"TRL's bfloat16 adapters: {relative(losses, as_it_is):.1e} away")
        assert relative(losses[:1], as_it_is[:1]) <= LOSS
        assert relative(losses, as_it_is) <= QLORA_TRL_LOSS["float32"]
        assert sum(losses) / len(losses) == pytest.approx(train_loss, rel=QLORA_TRL_LOSS["float32"])


def test_the_scripts_warm_up(tmp_path):
    """The first versions of the scripts trained for 0.05 epochs before they began."""
    run, case = RUNS[0], case_of(RUNS[0], CASES[0])
    count = 170  # 22 steps, of which the warm-up takes two
    losses, rates, _ = our_curve(case, run, count, tmp_path, "--dtype", "float32", "--playbook-warmup")
    expected, expected_rates, _ = scripts_curve(case, run, count, tmp_path / "trl", warm_up=True)
    assert len(losses) == len(expected) == 22
    assert relative(losses, expected) <= LOSS
    assert rates == pytest.approx(expected_rates, rel=1e-12)
    cold, _, _ = our_curve(case, run, count, tmp_path / "cold", "--dtype", "float32", "--max_steps", 1)
    assert relative(losses[:1], cold) > 10 * LOSS, "the case shows nothing when the warm-up moves nothing"


@pytest.mark.parametrize("run", RUNS[:2], ids=lambda run: run.name)
def test_the_scripts_curve_in_bfloat16(run, tmp_path):
    """The scripts' default dtype, as near as Hugging Face's own implementations are to each other, measured here."""
    case = case_of(run, CASES[4])  # stored in bfloat16
    theirs = [scripts_curve(case, run, FEW_ROWS, tmp_path / "trl", "bfloat16", attention, pad_to_multiple_of=multiple)[0]
              for attention, multiple in HF_WAYS]
    precision = ["--precision", "hf_parity"] if run.mode == "full" else []
    losses, _, _ = our_curve(case, run, FEW_ROWS, tmp_path, "--dtype", "bfloat16", *precision)
    print(f"{outside(losses, theirs):.1e} away, TRL's from each other {spread(theirs):.1e}")
    assert outside(losses, theirs) <= NEAR * spread(theirs)
