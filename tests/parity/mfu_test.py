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
from transformers.models.qwen3_5 import modeling_qwen3_5
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


def recurrence(query, key, value, g, beta, **_):
    """The gated delta rule token by token, by the three products with the state of each head that the maths has.

    First and last state are part of the graph too, as in a row that continues.
    """
    sharers = value.shape[2] // key.shape[2]
    outs = []
    for head in range(value.shape[2]):
        state = torch.zeros(key.shape[-1], value.shape[-1], requires_grad=True)
        k, q, rows = key[0, :, head // sharers], query[0, :, head // sharers], []
        for t in range(value.shape[1]):
            state = state * g[0, t, head].exp()
            written = beta[0, t, head] * (value[0, t, head] - k[t : t + 1] @ state)
            state = state + k[t : t + 1].T @ written
            rows.append(q[t : t + 1] @ state)
        outs.append(torch.cat(rows) + 0 * state.sum())
    return torch.stack(outs, 1)[None], None


def convolution(hidden_states, weight, bias=None, activation=None, **_):
    """A product with each channel's taps, without the tokens of padding that torch's operator computes too."""
    taps = weight.shape[-1]
    windows = torch.nn.functional.pad(hidden_states[0], (taps - 1, 0)).unfold(1, taps, 1)
    return torch.nn.functional.silu(torch.cat([window @ row[:, None] for window, row in zip(windows, weight)], 1).T[None])


def first_maps(config):
    """Features that the first layer's mixing of tokens reads, and adapters that make them."""
    if "linear_attention" in (getattr(config, "layer_types", None) or [""])[0]:
        keys = config.linear_num_key_heads * config.linear_key_head_dim
        values = config.linear_num_value_heads * config.linear_value_head_dim
        return 2 * keys + 2 * values + 2 * config.linear_num_value_heads, 4
    return ((config.num_attention_heads + 2 * config.num_key_value_heads) * config.head_dim,
            1 if config.model_type == "phi3" else 3)


def seen_by_torch(model_dir, mode, ids, monkeypatch):
    """Floating-point operations of a forward and a backward pass over one row, as ftd defines them."""
    monkeypatch.setattr(modeling_qwen3_5, "torch_chunk_gated_delta_rule", recurrence)
    monkeypatch.setattr(modeling_qwen3_5, "causal_conv1d_fn", convolution)
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
    windows = windows_of(model)
    attention *= sum(seen(len(ids), window) for window in windows) / (len(windows) * len(ids) ** 2)
    head = config.vocab_size * config.hidden_size
    unlabelled = (6 if mode == "full" else 4) * head
    no_gradient = 0
    if mode != "full":
        outputs, adapters = first_maps(config)
        no_gradient = 2 * len(ids) * config.hidden_size * (outputs + adapters * RANK)
    return products - unlabelled + no_gradient + attention / 2


@pytest.mark.parametrize("mode", ["lora", "full", "qlora"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_counts_what_torch_counts(case, mode, tmp_path, monkeypatch):
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
    assert counted == pytest.approx(sum(
        seen_by_torch(case.model_dir, mode, row, monkeypatch) for row in ids), rel=1e-7)


def test_a_cpu_has_no_mfu_of_its_own(tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", [{"text": TEXTS[1]}])
    model_dir = Reference(CASES[0]).case.model_dir
    run_worker("train", "--model_name", model_dir, "--dataset", rows, "--output_dir", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "metrics.jsonl").read_text())["mfu"] is None
