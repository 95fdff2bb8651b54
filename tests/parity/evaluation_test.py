"""Evaluation against TRL's: the same rows kept back, the same losses, the same best step; and the result is that step's.

Three epochs at a constant rate are too many for so few rows, so that the best evaluation is not the last one.
"""
import json
import pathlib
import shutil
import subprocess

import pytest
from case import CASES, load_rows, render
from datasets import Dataset
from ftd_fixture import BIN, Ftd
from peft import PeftModel
from reference import BATCH, MAX_LENGTH, Reference, Run, load_model, load_tokenizer, trainable
from tolerance import LOSS, same_accuracy
from transformers import AutoModelForCausalLM
from trl import SFTConfig, SFTTrainer

SPLIT, EVERY, EPOCHS, SEED = 0.25, 5, 3, 7
NAMES = ["eval_loss", "eval_entropy", "eval_mean_token_accuracy"]


def trl_trainer(case, model, learning_rate, out_dir, **options):
    tokenizer = load_tokenizer(case)
    tokenizer.pad_token = tokenizer.eos_token
    rows = Dataset.from_list([{"text": render(row) + tokenizer.eos_token} for row in load_rows(case)])
    rows = rows.train_test_split(test_size=SPLIT, seed=SEED)
    config = SFTConfig(
        output_dir=str(out_dir), per_device_train_batch_size=BATCH, per_device_eval_batch_size=BATCH, num_train_epochs=EPOCHS,
        learning_rate=learning_rate, max_length=MAX_LENGTH, seed=SEED, logging_steps=1, eval_strategy="steps", eval_steps=EVERY,
        save_strategy="steps", save_steps=EVERY, lr_scheduler_type="constant", load_best_model_at_end=True, optim="adamw_torch", report_to="none", use_cpu=True,
        bf16=False, gradient_checkpointing=False, packing=False, dataset_text_field="text", disable_tqdm=True, **options)
    return SFTTrainer(model=model, processing_class=tokenizer, train_dataset=rows["train"], eval_dataset=rows["test"], args=config)


def evaluations(state):
    return {entry["step"]: [entry[name] for name in NAMES] for entry in state["log_history"] if "eval_loss" in entry}


def flags_of(reference, run):
    flags = ["--mode", run.mode, "--model_name", reference.case.model_dir, "--dataset", reference.case.rows_file, "--num_epochs", EPOCHS,
             "--batch_size", BATCH, "--seq_length", MAX_LENGTH, "--learning_rate", repr(run.learning_rate), "--seed", SEED,
             "--dtype", "float32", "--lr_scheduler_type", "constant", "--eval_split", SPLIT, "--eval_steps", EVERY, "--load_best_model_at_end"]
    return [*flags, "--init_adapter", reference.init_adapter] if run.mode == "lora" else flags


@pytest.mark.parametrize("run, smoothing", [(Run("lora", "lora", 5e-3), 0), (Run("full", "full", 1e-3), 0), (Run("lora", "lora", 5e-3), 0.2)],
                         ids=["lora", "full", "smoothed"])
def test_evaluations_and_best_step_equal_trl(run, smoothing, tmp_path):
    reference = Reference(CASES[0])
    trainer = trl_trainer(reference.case, trainable(reference.case, run), run.learning_rate, tmp_path / "trl", label_smoothing_factor=smoothing)
    trainer.train()
    expected = evaluations({"log_history": trainer.state.log_history})
    with Ftd() as ftd:
        job = ftd.ftctl("submit", *flags_of(reference, run), "--label-smoothing", smoothing, "--quiet").stdout.strip()
        result = pathlib.Path(ftd.wait(job, "SUCCEEDED").result_dir)
        rows = [json.loads(line) for line in ftd.ftctl("metrics", job, "-o", "jsonl").stdout.splitlines()]
        shown = json.loads(ftd.ftctl("show", job, "-o", "json").stdout)
        result = shutil.copytree(result, tmp_path / "result")
    state = json.loads((result / "trainer_state.json").read_text())
    got = evaluations(state)
    last = max(got)
    assert len(expected) >= 4 and set(got) == {*expected, state["max_steps"]}
    for step, values in expected.items():
        assert got[step][:2] == pytest.approx(values[:2], rel=LOSS), step
    tokens = sum(len(ids) for ids in trainer.eval_dataset["input_ids"])
    assert same_accuracy([got[step][2] for step in expected], [values[2] for values in expected.values()], [tokens] * len(expected))
    assert {row["step"]: [row[name] for name in NAMES] for row in rows if "eval_loss" in row} == got
    assert [json.loads(line) for line in (result / "metrics.jsonl").read_text().splitlines()] == rows
    assert shown["last_evaluation"]["loss"] == got[last][0] and shown["last_evaluation"]["step"] == last

    best = state["best_global_step"]
    losses = sorted(values[0] for values in expected.values())
    print(f"the second best evaluation is {losses[1] / losses[0] - 1:.1e} worse")
    assert best == trainer.state.best_global_step != last, "the case shows nothing when the last step is the best"
    assert state["best_metric"] == pytest.approx(trainer.state.best_metric, rel=LOSS)
    assert shown["best_evaluation"] == {**shown["last_evaluation"], **shown["best_evaluation"]} and shown["best_evaluation"]["step"] == best
    if run.mode == "lora":
        model = PeftModel.from_pretrained(load_model(reference.case.model_dir), result)
    else:
        model = AutoModelForCausalLM.from_pretrained(result)
    again = trl_trainer(reference.case, model, run.learning_rate, tmp_path / "again", label_smoothing_factor=smoothing).evaluate()
    assert again["eval_loss"] == pytest.approx(got[best][0], rel=LOSS)


def test_in_the_foreground(tmp_path):
    """ft-train says, logs and saves the same as the job."""
    reference, run = Reference(CASES[0]), Run("lora", "lora", 5e-3)
    flags = flags_of(reference, run)
    done = subprocess.run([BIN / "ft-train", *map(str, flags), "--output_dir", tmp_path / "out"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    got = evaluations(json.loads((tmp_path / "out" / "trainer_state.json").read_text()))
    with Ftd() as ftd:
        job = ftd.ftctl("submit", *flags, "--dataset-shuffle-seed", 42, "--quiet").stdout.strip()
        assert evaluations(json.loads((pathlib.Path(ftd.wait(job, "SUCCEEDED").result_dir) / "trainer_state.json").read_text())) == got
    for step, (loss, *_) in got.items():
        assert f"evaluated after step {step}: loss {loss:.4f}" in done.stderr

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(str(tmp_path / "out" / "logs")).Reload()
    assert [(e.step, pytest.approx(e.value, rel=1e-6)) for e in events.Scalars("eval/loss")] == [(s, v[0]) for s, v in got.items()]
