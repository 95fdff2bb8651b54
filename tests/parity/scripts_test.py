"""ft-train against what NVIDIA's scripts do: their rows in their order, their settings, TRL's SFTTrainer, step for step.

The scripts load tatsu-lab/alpaca, take the first rows, shuffle them with seed 42 and train for one epoch with TRL's
defaults. Here the hub is the test hub, and its rows are the 999 of the Alpaca demo set.
"""
import io
import json
import os
import pathlib
import subprocess
import sys

import pyarrow
import pyarrow.parquet
import pytest
from case import CASES, fetch, render
from datasets import Dataset
from ftd_fixture import BIN
from reference import Reference, Run, load_tokenizer, trainable
from tolerance import LOSS, relative
from trl import SFTConfig, SFTTrainer

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "hub"))
from hub_fixture import Hub  # noqa: E402

ROWS = 84  # 11 steps, the last one short
# 8B LoRA's and 3B full's: batch 8, no accumulation; the reference's cases end at 256 tokens, theirs at 2048.
RUNS = [Run("llama3-8b-lora", "lora", 1e-4), Run("llama3-3b-full", "full", 5e-5)]


def alpaca():
    rows = json.loads(fetch.llamafactory_data("alpaca_en_demo.json"))
    return [{name: row[name] for name in ("instruction", "input", "output")} for row in rows]


def scripts_curve(reference, run, out_dir):
    """(losses, learning rates, train_loss)"""
    tokenizer = load_tokenizer(reference.case)
    tokenizer.pad_token = tokenizer.eos_token
    rows = Dataset.from_list(alpaca()).select(range(ROWS)).shuffle(seed=42)
    rows = rows.map(lambda row: {"text": render(row) + tokenizer.eos_token}, remove_columns=rows.column_names)
    config = SFTConfig(output_dir=str(out_dir), per_device_train_batch_size=8, num_train_epochs=1, max_length=2048,
                       learning_rate=run.learning_rate, logging_steps=1, dataset_text_field="text", packing=False,
                       save_strategy="no", report_to="none", use_cpu=True, bf16=False, disable_tqdm=True)
    trainer = SFTTrainer(model=trainable(reference.case, run), processing_class=tokenizer, train_dataset=rows, args=config)
    train_loss = trainer.train().training_loss
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    return [entry["loss"] for entry in log], [entry["learning_rate"] for entry in log], train_loss


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_the_scripts_curve(run, tmp_path):
    reference = Reference(CASES[0])
    parquet = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(alpaca()), parquet)
    flags = ["--model_name", reference.case.model_dir, "--dataset_size", ROWS, "--output_dir", tmp_path / "out"]
    if run.mode == "lora":
        flags += ["--init_adapter", reference.init_adapter]
    with Hub() as hub:
        hub.add_repo("tatsu-lab/alpaca", {"data/train-00000-of-00001.parquet": parquet.getvalue()}, type="dataset")
        done = subprocess.run([BIN / "ft-train", run.name, *map(str, flags)], env={**os.environ, **hub.env(tmp_path / "hf")},
                              capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    losses, rates, train_loss = scripts_curve(reference, run, tmp_path / "trl")
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    log = [entry for entry in state["log_history"] if "loss" in entry]
    assert len(log) == len(losses) == 11
    assert relative([entry["loss"] for entry in log], losses) <= LOSS
    assert [entry["learning_rate"] for entry in log] == pytest.approx(rates, rel=1e-12)
    assert f"Train loss: {train_loss:.4f}" in done.stdout
