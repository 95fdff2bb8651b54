"""The work that MFU counts, against what torch's FlopCounterMode sees transformers and PEFT do.

What it counts beside: the head at the last position, which has no label, and the masked half of attention. What it leaves
out: the gradient of the first layer's input, where nothing below learns. Beyond a layer's window attention is masked too.
"""
import json

import pytest
import torch
from case import CASES
from ftd_fixture import write_jsonl
from hf_models import load_plain
from peft import LoraConfig, TaskType, get_peft_model
from reference import Reference
from torch.utils.flop_counter import FlopCounterMode
from worker_cli import run_worker

RANK = 8
PEAK_TFLOPS = 0.25
TEXTS = ["The first row is the longer one of the two, by far: " + "many words, and yet more of them. " * 4,
         "The second one is short."]


def windows_of(model):
    """Each layer's, or None."""
    config = model.config
    if config.model_type in ("mistral", "ministral3", "phi3"):
        return [config.sliding_window] * config.num_hidden_layers
    return [getattr(module, "sliding_window", None) for name, module in model.named_modules() if name.endswith(".self_attn")]


def seen(t, window):
    """Twice the pairs of tokens that see each other, but for a token's own half."""
    return t * t if window is None or t <= window else 2 * window * t - window * window


def seen_by_torch(model_dir, mode, ids):
    """Floating-point operations of a forward and a backward pass over one row, as ftd defines them."""
    model = load_plain(model_dir).train()
    config = model.config
    if mode != "full":
        torch.manual_seed(0)
        model = get_peft_model(model, LoraConfig(r=RANK, target_modules="all-linear", task_type=TaskType.CAUSAL_LM))
    row = torch.tensor([ids])
    with FlopCounterMode(display=False) as counter:
        model(input_ids=row, labels=row, use_cache=False).loss.backward()
    counts = {str(op): flops for op, flops in counter.get_flop_counts()["Global"].items()}
    attention = sum(flops for op, flops in counts.items() if "bmm" in op)
    products = sum(flops for op, flops in counts.items() if "bmm" not in op)
    attention *= sum(seen(len(ids), window) for window in windows_of(model)) / (config.num_hidden_layers * len(ids) ** 2)
    head = config.vocab_size * config.hidden_size
    unlabelled = (6 if mode == "full" else 4) * head
    no_gradient = 0
    if mode != "full":
        outputs = (config.num_attention_heads + 2 * config.num_key_value_heads) * config.head_dim
        adapters = 1 if config.model_type == "phi3" else 3
        no_gradient = 2 * len(ids) * config.hidden_size * (outputs + adapters * RANK)
    return products - unlabelled + no_gradient + attention / 2


@pytest.mark.parametrize("mode", ["lora", "full", "qlora"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_counts_what_torch_counts(case, mode, tmp_path):
    case = Reference(case).case
    rows = write_jsonl(tmp_path / "rows.jsonl", [{"text": text} for text in TEXTS])
    run_worker("train", "--model_name", case.model_dir, "--dataset", rows, "--mode", mode, "--batch_size", 2, "--dtype",
               "float32", "--lora_rank" if mode != "full" else "--seed", RANK, "--peak_tflops", PEAK_TFLOPS,
               "--gradient_checkpointing", "--output_dir", tmp_path / "out")
    [step] = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    counted = step["mfu"] * PEAK_TFLOPS * 1e12 * step["step_seconds"]

    ids = [row["input_ids"] for row in json.loads(run_worker(
        "preview", "--model", case.model_dir, "--dataset", rows, "-n", 2, "-o", "json"))]
    assert len(ids[0]) > 4 * len(ids[1])
    assert counted == pytest.approx(sum(seen_by_torch(case.model_dir, mode, row) for row in ids), rel=1e-7)


def test_a_cpu_has_no_mfu_of_its_own(tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", [{"text": TEXTS[1]}])
    model_dir = Reference(CASES[0]).case.model_dir
    run_worker("train", "--model_name", model_dir, "--dataset", rows, "--output_dir", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "metrics.jsonl").read_text())["mfu"] is None
