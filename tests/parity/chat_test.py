"""Conversations from the hub's model to the last step, against TRL's SFTTrainer with assistant_only_loss, packed and not.

The model is qwen3-0.6b by its name; the hub that answers is the test's own and has a tiny Qwen3 under it.
"""
import contextlib
import json
import pathlib
import random
import re

import pytest
import trl
from case import CASES, ROOT, load_rows
from datasets import Dataset
from ftd_fixture import Ftd, write_jsonl
from hub_fixture import Hub
from reference import Reference, Run, load_tokenizer, trainable
from tolerance import GRAD_NORM, LOSS, relative
from trl import SFTConfig, SFTTrainer
from trl.data_utils import pack_dataset

CASE = next(case for case in CASES if case.name == "qwen3")
RUN = Run("lora", "lora", 5e-3)
STEPS, BATCH, MAX_LENGTH, SEED = 20, 2, 160, 42
TEMPLATES = pathlib.Path(trl.__file__).parent / "chat_templates"


def conversations(case, count):
    rng, rows = random.Random(3), load_rows(case)
    for i in range(count):
        messages = [{"role": "system", "content": "Be brief."}] if rng.random() < 0.5 else []
        for turn in range(rng.choice([1, 1, 2, 3])):
            row = rows[(3 * i + turn) % len(rows)]
            messages += [{"role": "user", "content": row["instruction"]}, {"role": "assistant", "content": row["output"] or "-"}]
        yield {"messages": messages}


@pytest.fixture(scope="module")
def reference():
    return Reference(CASE)


@pytest.fixture(scope="module")
def rows(reference):
    return list(conversations(reference.case, 40))


def trl_curve(case, rows, template, packing, out_dir):
    tokenizer = load_tokenizer(case)
    tokenizer.pad_token, tokenizer.chat_template = tokenizer.eos_token, template
    config = SFTConfig(
        output_dir=str(out_dir), per_device_train_batch_size=BATCH, max_steps=STEPS, learning_rate=RUN.learning_rate,
        max_length=MAX_LENGTH, seed=SEED, logging_steps=1, optim="adamw_torch", save_strategy="no", report_to="none", use_cpu=True,
        bf16=False, gradient_checkpointing=False, packing=packing, assistant_only_loss=True, disable_tqdm=True)
    trainer = SFTTrainer(model=trainable(case, RUN), processing_class=tokenizer, train_dataset=Dataset.from_list(rows), args=config)
    trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry], len(trainer.train_dataset)


def curve(ftd, *args):
    job = ftd.ftctl("submit", *map(str, args), "--dtype", "float32", "--quiet").stdout.strip()
    ftd.ftctl("wait", job, "--timeout", 180, timeout=190)
    return [json.loads(line) for line in ftd.ftctl("metrics", job, "-o", "jsonl").stdout.splitlines()]


@contextlib.contextmanager
def daemon_with_hub(case, template, tmp_path):
    """A daemon whose hub has the case's model under qwen3-0.6b's name."""
    with Hub() as hub:
        files = {path.name: path.read_bytes() for path in case.model_dir.iterdir()}
        hub.add_repo("Qwen/Qwen3-0.6B", {**files, "chat_template.jinja": template.encode()})
        with Ftd(env={"HF_HUB_OFFLINE": "", "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf")}) as ftd:
            yield ftd


@pytest.mark.parametrize("packing", [False, True], ids=["rows", "packed"])
@pytest.mark.parametrize("name", ["qwen3_training", "llama3"])
def test_curve_equals_trl(reference, rows, tmp_path, name, packing):
    """A template that marks its turns, and one of which TRL takes its own marked twin."""
    case, template = reference.case, (TEMPLATES / f"{name}.jinja").read_text()
    expected, _ = trl_curve(case, rows, template, packing, tmp_path / "trl")
    with daemon_with_hub(case, template, tmp_path) as ftd:
        ours = curve(ftd, "--mode", "lora", "--model", "qwen3-0.6b", "--dataset", write_jsonl(tmp_path / "chat.jsonl", rows),
                     "--max-steps", STEPS, "--batch-size", BATCH, "--seq-length", MAX_LENGTH, "--learning-rate", RUN.learning_rate,
                     "--seed", SEED, "--init-adapter", reference.init_adapter, *(["--packing"] if packing else []))
    assert len(ours) == len(expected) == STEPS
    assert relative([row["loss"] for row in ours], [entry["loss"] for entry in expected]) <= LOSS
    assert relative([row["grad_norm"] for row in ours], [entry["grad_norm"] for entry in expected]) <= GRAD_NORM
    assert [row["epoch"] for row in ours] == pytest.approx([entry["epoch"] for entry in expected], rel=1e-9)


def test_the_guides_example(reference, tmp_path):
    text = (ROOT / "docs" / "guide.md").read_text().split("## Train on conversations")[1]
    (tmp_path / "chat.jsonl").write_text(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1])
    command = re.search(r"```sh\nftctl (submit .*?)\n```", text)[1]
    template = (TEMPLATES / "qwen3.jinja").read_text()
    with daemon_with_hub(reference.case, template, tmp_path) as ftd:
        done = ftd.ftctl(*command.replace("chat.jsonl", str(tmp_path / "chat.jsonl")).split(), timeout=120)
        shown = json.loads(ftd.ftctl("show", "chat", "-o", "json").stdout)
        ftd.ftctl("get", "chat", tmp_path / "out")
    assert shown["state"] == "SUCCEEDED", done.stdout
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == template


@pytest.mark.parametrize("name", ["qwen3", "qwen3_5"])
def test_a_batch_learns_the_same_packed_and_not(rows, tmp_path, name):
    """One step of all rows: the loss of each document is its own, whatever stands before it."""
    reference = Reference(next(case for case in CASES if case.name == name))
    dataset = write_jsonl(tmp_path / "chat.jsonl", rows)
    with Ftd() as ftd:
        apart, packed = (curve(
            ftd, "--mode", "lora", "--model", reference.case.model_dir, "--dataset", dataset, "--max-steps", 1, "--batch-size", 64,
            "--chat-template", "chatml", "--seq-length", MAX_LENGTH, "--init-adapter", reference.init_adapter, *flags)
            for flags in ([], ["--packing"]))
    assert packed[0]["tokens"] == apart[0]["tokens"]
    assert relative([packed[0]["loss"]], [apart[0]["loss"]]) <= 1e-6
    assert relative([packed[0]["grad_norm"]], [apart[0]["grad_norm"]]) <= 1e-6


def test_the_blocks_are_those_of_trl(reference, tmp_path):
    """Rows of text, more than the thousand that TRL packs at a time: as many steps to an epoch, of the same rows."""
    rng = random.Random(5)
    texts = [{"text": "x" * rng.choice([1, 5, 20, 60, 100, 300]) + " y" * rng.randrange(40)} for _ in range(1300)]
    tokenizer = load_tokenizer(reference.case)
    ids = [{"input_ids": tokenizer(row["text"] + tokenizer.eos_token)["input_ids"]} for row in texts]
    blocks = pack_dataset(Dataset.from_list(ids), seq_length=MAX_LENGTH, strategy="bfd")
    batch = 64
    with Ftd() as ftd:
        ours = curve(ftd, "--mode", "lora", "--model", reference.case.model_dir, "--dataset", write_jsonl(tmp_path / "text.jsonl", texts),
                     "--packing", "--seq-length", MAX_LENGTH, "--batch-size", batch, "--no-shuffle")
    sizes = [len(block) for block in blocks["input_ids"]]
    assert [row["tokens"] for row in ours] == [sum(sizes[i:i + batch]) for i in range(0, len(sizes), batch)]
