"""ftd against TRL's SFTTrainer itself, in its own row order: the loop of reference.py is not on trial here.

A shuffled run over two epochs whose last batch is short, and whose last accumulated step has one micro-batch only.
"""
import json

import pytest
from case import CASES, load_rows, render
from datasets import Dataset
from ftd_fixture import Ftd
from reference import BATCH, MAX_LENGTH, Reference, Run, load_tokenizer, trainable
from tolerance import GRAD_NORM, LOSS, relative, same_accuracy
from trl import SFTConfig, SFTTrainer

ROWS, EPOCHS, SEED = 18, 2, 42
RUNS = [(Run("lora", "lora", 5e-3), {}), (Run("full", "full", 1e-3), {}),
        (Run("lora", "lora", 5e-3, accumulation=2), {"lr_scheduler_type": "cosine", "warmup_steps": 0.25}),
        (Run("full", "full", 1e-3, accumulation=2), {"label_smoothing_factor": 0.1})]


def trl_curve(reference, run, schedule, out_dir):
    tokenizer = load_tokenizer(reference.case)
    tokenizer.pad_token = tokenizer.eos_token
    rows = load_rows(reference.case)[:ROWS]
    config = SFTConfig(
        output_dir=str(out_dir), per_device_train_batch_size=BATCH, gradient_accumulation_steps=run.accumulation,
        num_train_epochs=EPOCHS, learning_rate=run.learning_rate, max_length=MAX_LENGTH, seed=SEED, logging_steps=1,
        optim="adamw_torch", save_strategy="no", report_to="none", use_cpu=True, bf16=False,
        gradient_checkpointing=False, packing=False, dataset_text_field="text", disable_tqdm=True, **schedule)
    texts = [{"text": render(row) + tokenizer.eos_token} for row in rows]
    trainer = SFTTrainer(model=trainable(reference.case, run), processing_class=tokenizer,
                         train_dataset=Dataset.from_list(texts), args=config)
    trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("run, schedule", RUNS, ids=lambda r: getattr(r, "name", None))
def test_curve_equals_trl(run, schedule, tmp_path):
    reference = Reference(CASES[0])
    expected = trl_curve(reference, run, schedule, tmp_path / "trl")
    with Ftd() as ftd:
        args = ["--mode", run.mode, "--model", reference.case.model_dir, "--dataset", reference.case.rows_file,
                "--dataset-size", ROWS, "--num-epochs", EPOCHS, "--batch-size", BATCH, "--seq-length", MAX_LENGTH,
                "--gradient-accumulation-steps", run.accumulation, "--learning-rate", repr(run.learning_rate),
                "--seed", SEED, "--shuffle", "--dtype", "float32"]
        args += [part for name, value in schedule.items() for part in (f"--{name}", value)]
        if run.mode == "lora":
            args += ["--init-adapter", reference.init_adapter]
        job = ftd.ftctl("submit", *args, "--quiet").stdout.strip()
        ftd.ftctl("wait", job, "--timeout", 180, timeout=190)
        rows = [json.loads(line) for line in ftd.ftctl("metrics", job, "-o", "jsonl").stdout.splitlines()]
    assert len(rows) == len(expected)
    assert relative([row["loss"] for row in rows], [e["loss"] for e in expected]) <= LOSS
    assert relative([row["grad_norm"] for row in rows], [e["grad_norm"] for e in expected]) <= GRAD_NORM
    assert [row["entropy"] for row in rows] == pytest.approx([e["entropy"] for e in expected], rel=LOSS)
    assert same_accuracy(*([entry["mean_token_accuracy"] for entry in log] for log in (rows, expected)), [row["tokens"] for row in rows])
    assert [r["learning_rate"] for r in rows] == pytest.approx([e["learning_rate"] for e in expected], rel=1e-12)
    assert [r["epoch"] for r in rows] == pytest.approx([e["epoch"] for e in expected], rel=1e-9)
