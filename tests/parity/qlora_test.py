"""QLoRA as transformers, PEFT, TRL and bitsandbytes do it on the CPU."""
import dataclasses
import json
import os
import shutil

import pytest
import torch
from case import CASES, FAMILY_CASES, load_rows, load_tokenizer, render
from datasets import Dataset
from ftd_fixture import Ftd
from hf_models import NF4_CASES, load_nf4, made_for_nf4, trainable
from peft import PeftModel
from peft.utils import load_peft_weights
from reference import BATCH, MAX_LENGTH, STEPS, Batches, Reference, Run, train
from tolerance import (
    GRAD_NORM, LOGITS, LOSS, NOISY_SHARE, QLORA_TRL_LOSS, WEIGHTS, adapter_bound, logit_distance, relative,
    weight_distance)
from trl import SFTConfig, SFTTrainer
from worker_cli import worker_logits

RUNS = [Run("qlora", "qlora", 1e-4, weights=True), Run("qlora_fast", "qlora", 5e-3, accumulation=2)]
# parity_test.py's models of the other families.
FAMILIES = [case for case in CASES if case.family == "qwen2"] + FAMILY_CASES


def logits_of(model, ids):
    with torch.no_grad():
        return model.train()(input_ids=torch.tensor([ids])).logits[0].float()


def save_quantised(case, directory, **changes):
    load_nf4(case.model_dir, **changes).save_pretrained(directory)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(case.model_dir / name, directory / name)
    return directory


@pytest.fixture(scope="module")
def daemon():
    with Ftd() as ftd:
        yield ftd


@pytest.fixture(scope="module", params=NF4_CASES, ids=lambda c: c.name)
def case(request):
    return made_for_nf4(request.param)


@pytest.fixture(scope="module")
def prompt(case):
    return prompt_of(case)


def prompt_of(case):
    return Batches(case).ids[0][:48]


def flags_of(case, run, dtype="float32"):
    return ["--batch-size", BATCH, "--gradient-accumulation-steps", run.accumulation, "--seq-length", MAX_LENGTH,
            "--learning-rate", repr(run.learning_rate), "--dataset", case.rows_file, "--dtype", dtype,
            "--init-adapter", case.dir / "lora-init"]


def submit(daemon, tmp_path, model_dir, *flags):
    """(metrics rows, result directory) of a job."""
    job = daemon.ftctl("submit", "--mode", "qlora", "--model", model_dir, *flags, "--quiet").stdout.strip()
    daemon.ftctl("wait", job, "--timeout", 180, timeout=190)
    daemon.ftctl("get", job, tmp_path / "out")
    lines = daemon.ftctl("metrics", job, "-o", "jsonl").stdout.splitlines()
    return [json.loads(line) for line in lines], tmp_path / "out"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda c: c.name)
def test_a_family(daemon, family, tmp_path):
    case = Reference(family).case
    logits_of_a_model_that_is_quantised_while_read(case, prompt_of(case))
    every_step_and_the_adapter(daemon, case, prompt_of(case), RUNS[0], tmp_path)


def test_a_family_that_transformers_saved_quantised(tmp_path):
    """Projections of a few rows, and a convolution that stays as it is."""
    [family] = [case for case in FAMILIES if case.name == "qwen3_5"]
    case = Reference(family).case
    directory = save_quantised(case, tmp_path / "model")
    got = worker_logits(directory, prompt_of(case))
    assert logit_distance(got, logits_of(load_nf4(directory, already=True), prompt_of(case))) <= LOGITS
    assert torch.equal(got, worker_logits(case.model_dir, prompt_of(case), nf4=True))


def test_logits_of_a_model_that_is_quantised_while_read(case, prompt):
    logits_of_a_model_that_is_quantised_while_read(case, prompt)


def logits_of_a_model_that_is_quantised_while_read(case, prompt):
    expected = logits_of(load_nf4(case.model_dir), prompt)
    assert logit_distance(worker_logits(case.model_dir, prompt, nf4=True), expected) <= LOGITS
    plain = worker_logits(case.model_dir, prompt)
    assert logit_distance(plain, expected) > 100 * LOGITS, "and quantisation shows"


@pytest.mark.parametrize("changes", [
    {}, {"bnb_4bit_use_double_quant": False}, {"llm_int8_skip_modules": ["lm_head", "k_proj", "down_proj"]},
    {"bnb_4bit_quant_storage": torch.bfloat16}], ids=lambda c: next(iter(c), "as-the-scripts"))
def test_logits_of_a_model_that_transformers_saved_quantised(case, prompt, changes, tmp_path):
    directory = save_quantised(case, tmp_path / "model", **changes)
    got = worker_logits(directory, prompt)
    expected = logits_of(load_nf4(directory, already=True), prompt)
    assert logit_distance(got, expected) <= LOGITS
    if not changes:
        assert torch.equal(got, worker_logits(case.model_dir, prompt, nf4=True))


@pytest.mark.parametrize("run", RUNS, ids=lambda r: r.name)
def test_every_step_and_the_adapter(daemon, case, prompt, run, tmp_path):
    every_step_and_the_adapter(daemon, case, prompt, run, tmp_path)


def every_step_and_the_adapter(daemon, case, prompt, run, tmp_path):
    model = trainable(case, "qlora")
    curve = train(model, Batches(case), run)
    rows, result = submit(daemon, tmp_path, case.model_dir, *flags_of(case, run), "--max-steps", STEPS, "--no-shuffle")
    by_loss, by_norm = (relative([row[key] for row in rows], curve[key]) for key in ("loss", "grad_norm"))
    print(f"{case.name} {run.name}: loss {by_loss:.1e}, grad_norm {by_norm:.1e}")
    assert by_loss <= LOSS and by_norm <= GRAD_NORM
    model.save_pretrained(tmp_path / "theirs")
    got, expected = load_peft_weights(result), load_peft_weights(tmp_path / "theirs")
    assert got.keys() == expected.keys()
    assert all(weight.dtype == torch.float32 for weight in got.values())
    if run.weights:
        for name, weight in expected.items():
            assert weight_distance(got[name], weight, leave_out=NOISY_SHARE) <= WEIGHTS, name
            assert (got[name] - weight).abs().max() <= adapter_bound(run.learning_rate, STEPS), name
    theirs = logits_of(PeftModel.from_pretrained(load_nf4(case.model_dir), result), prompt)
    assert logit_distance(worker_logits(case.model_dir, prompt, adapter=result, nf4=True), theirs) <= LOGITS
    record = json.loads((result / "ftd_run.json").read_text())
    assert record["numerics"] == "fp32_adapter_nf4_base"
    counts = {key: record[key] for key in ("trainable_parameters", "total_parameters")}
    assert tuple(counts.values()) == model.get_nb_trainable_parameters()


def test_training_goes_on_from_a_quantised_model(daemon, case, tmp_path):
    """The same bytes are multiplied with, so the curve is the same to the last bit."""
    run = dataclasses.replace(RUNS[1], accumulation=1)
    curves = []
    for name, directory in (("plain", case.model_dir), ("quantised", save_quantised(case, tmp_path / "model"))):
        (tmp_path / name).mkdir()
        rows, _ = submit(daemon, tmp_path / name, directory, *flags_of(case, run), "--max-steps", 4)
        curves.append([(row["loss"], row["grad_norm"]) for row in rows])
    assert curves[0] == curves[1]


def trl_losses(case, run, out_dir, dtype, attention="eager"):
    """TRL as the script calls it. It makes the adapters of a quantised model bfloat16, whatever the dtype."""
    tokenizer = load_tokenizer(case)
    tokenizer.pad_token = tokenizer.eos_token
    config = SFTConfig(
        output_dir=str(out_dir), per_device_train_batch_size=BATCH, max_steps=STEPS, learning_rate=run.learning_rate,
        max_length=MAX_LENGTH, seed=42, logging_steps=1, optim="adamw_torch", save_strategy="no", report_to="none",
        use_cpu=True, bf16=dtype == torch.bfloat16, gradient_checkpointing=False, packing=False,
        dataset_text_field="text", disable_tqdm=True)
    texts = [{"text": render(row) + tokenizer.eos_token} for row in load_rows(case)]
    trainer = SFTTrainer(model=trainable(case, "qlora", dtype=dtype, attention=attention), processing_class=tokenizer,
                         train_dataset=Dataset.from_list(texts), args=config)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_curve_near_trl(daemon, dtype, tmp_path):
    case = made_for_nf4(NF4_CASES[0])
    run = Run("qlora", "qlora", 1e-4)
    expected = trl_losses(case, run, tmp_path / "trl", getattr(torch, dtype))
    rows, _ = submit(daemon, tmp_path, case.model_dir, *flags_of(case, run, dtype), "--max-steps", STEPS, "--seed", 42)
    losses = [row["loss"] for row in rows]
    print(f"{dtype}: {relative(losses, expected):.1e} from TRL")
    if os.environ.get("FTD_TEST_LONG"):
        sdpa = trl_losses(case, run, tmp_path / "sdpa", getattr(torch, dtype), "sdpa")
        print(f"TRL's SDPA from its eager attention: {relative(sdpa, expected):.1e}")
    if dtype == "float32":
        assert relative(losses[:1], expected[:1]) <= LOSS
    assert relative(losses, expected) <= QLORA_TRL_LOSS[dtype]
