"""bfloat16 and float16 against TRL's trainer, as near as Hugging Face's own implementations are to each other.

Their spread is measured in the run, on the processor at hand (tolerance.py, HF_WAYS and NEAR). hf_parity must be within
it, and float32 masters must not, or the check would see nothing.
"""
import json
import os

import pytest
import torch
from case import CASES, FAMILY_CASES, load_rows, render
from datasets import Dataset
from ftd_fixture import Ftd
from hf_models import trainable
from reference import BATCH, MAX_LENGTH, Reference, load_tokenizer
from tolerance import HF_WAYS, NEAR, apart, outside, spread
from trl import SFTConfig, SFTTrainer

ROWS, EPOCHS, SEED = 32, 2, 42
RATES = {"lora": 1e-4, "full": 5e-5}  # the scripts'


# A Llama that is stored in bfloat16, and families that round elsewhere than Llama does. The others, where FTD_TEST_LONG is set.
STORED = CASES[4]
OTHERS = [case for case in FAMILY_CASES if os.environ.get("FTD_TEST_LONG") or case.name in ("gemma3", "olmo2", "qwen3_5")]


# transformers' SDPA has no cap of scores, and how rows are padded changes nothing in eager attention: for Gemma 2 counts the
# least that the two attentions of another family are from each other.
EAGER_WAYS = [("eager", None)]
SPREAD_OF_OTHERS = 9e-5


@pytest.fixture(scope="module", params=[STORED, *OTHERS], ids=lambda case: case.name)
def reference(request):
    return Reference(request.param)


@pytest.fixture(scope="module")
def daemon():
    with Ftd() as ftd:
        yield ftd


def trl_losses(reference, mode, dtype, attention, out_dir, pad_to_multiple_of=None):
    tokenizer = load_tokenizer(reference.case)
    tokenizer.pad_token = tokenizer.eos_token
    config = SFTConfig(
        output_dir=str(out_dir), per_device_train_batch_size=BATCH, num_train_epochs=EPOCHS,
        learning_rate=RATES[mode], max_length=MAX_LENGTH, seed=SEED, logging_steps=1, save_strategy="no",
        report_to="none", use_cpu=True, bf16=dtype == torch.bfloat16, gradient_checkpointing=False, packing=False,
        dataset_text_field="text", disable_tqdm=True, pad_to_multiple_of=pad_to_multiple_of)
    texts = [{"text": render(row) + tokenizer.eos_token} for row in load_rows(reference.case)[:ROWS]]
    trainer = SFTTrainer(model=trainable(reference.case, mode, dtype=dtype, attention=attention), processing_class=tokenizer,
                         train_dataset=Dataset.from_list(texts), args=config)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def our_losses(ftd, reference, mode, *flags):
    args = ["--mode", mode, "--model", reference.case.model_dir, "--dataset", reference.case.rows_file,
            "--dataset-size", ROWS, "--num-epochs", EPOCHS, "--batch-size", BATCH, "--seq-length", MAX_LENGTH,
            "--learning-rate", repr(RATES[mode]), "--seed", SEED, *flags]
    if mode == "lora":
        args += ["--init-adapter", reference.init_adapter]
    job = ftd.ftctl("submit", *args, "--quiet").stdout.strip()
    ftd.ftctl("wait", job, "--timeout", 180, timeout=190)
    return [json.loads(line)["loss"] for line in ftd.ftctl("metrics", job, "-o", "jsonl").stdout.splitlines()]


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_within_hugging_faces_own_spread(daemon, reference, mode, tmp_path):
    ways = HF_WAYS if reference.case.family != "gemma2" else EAGER_WAYS
    theirs = [trl_losses(reference, mode, torch.bfloat16, attention, tmp_path, multiple) for attention, multiple in ways]
    precision = ["--precision", "hf_parity"] if mode == "full" else []
    ours = our_losses(daemon, reference, mode, "--dtype", "bfloat16", *precision)
    their_spread = spread(theirs) if len(theirs) > 1 else SPREAD_OF_OTHERS
    print(f"{outside(ours, theirs):.1e} away, TRL's from each other {their_spread:.1e}")
    assert outside(ours, theirs) <= NEAR * their_spread
    if mode == "full":
        masters = our_losses(daemon, reference, mode, "--dtype", "bfloat16")
        print(f"float32 masters {outside(masters, theirs):.1e} away")
        assert outside(masters, theirs) > 5 * their_spread

    float32 = trl_losses(reference, mode, torch.float32, "eager", tmp_path)
    float16 = our_losses(daemon, reference, mode, "--dtype", "float16")
    print(f"from float32: float16 {sum(apart(float16, float32)):.1e}, bfloat16 {sum(apart(theirs[0], float32)):.1e}")
    assert sum(apart(float16, float32)) < sum(apart(theirs[0], float32)) / 2


def test_the_run_record_names_the_precision(daemon, tmp_path):
    reference = Reference(STORED)
    for flags, name in ([], "fp32_master"), (["--precision", "hf_parity"], "hf_parity"):
        job = daemon.ftctl("submit", "--mode", "full", "--model", reference.case.model_dir, "--dataset",
                           reference.case.rows_file, "--max-steps", 1, "--dtype", "bfloat16", *flags,
                           "--quiet").stdout.strip()
        daemon.ftctl("wait", job)
        daemon.ftctl("get", job, tmp_path / name)
        record = json.loads((tmp_path / name / "ftd_run.json").read_text())
        assert record["numerics"] == name and record["spec"]["precision"] == name.upper()
