"""Trains the kit's model with transformers + PEFT on the same adapter, rows and order, to compare ft-worker with.

A plain loop: bfloat16 weights, adapters and AdamW in float32 under autocast, attention by SDPA. Writes JSON: of each step
loss, grad_norm, seconds and tokens without padding; tokens_per_second after two steps; the most memory that tensors took.
Exits with 3 where transformers or PEFT is missing.
"""
import argparse
import json
import pathlib
import sys
import time

import torch

try:
    import numpy
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer
except ImportError as missing:
    print(missing, file=sys.stderr)
    sys.exit(3)

SEED = 42
LEARNING_RATE, MAX_NORM, WARM_UP = 1e-4, 1.0, 2
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "adapter", "rows", "report"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    for name in ("batch-size", "seq-length", "steps", "planned-steps"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--checkpointing", action="store_true")
    return parser.parse_args()


def load_model(args):
    base = AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, args.dtype), attn_implementation="sdpa")
    base.config.use_cache = False
    model = PeftModel.from_pretrained(base.to(DEVICE), args.adapter, is_trainable=True)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if args.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    return model.train()


def rows_in_order(args):
    """Token ids in the order of ft-train's first epoch: datasets.shuffle(seed=42), then the Trainer's RandomSampler."""
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    texts = [json.loads(line)["text"] + tokenizer.eos_token for line in args.rows.read_text().splitlines()]
    ids = [tokenizer(text)["input_ids"][:args.seq_length] for text in texts]
    shuffled = numpy.random.default_rng(SEED).permutation(len(ids))
    sampled = torch.randperm(len(ids), generator=torch.Generator().manual_seed(SEED)).tolist()
    return [ids[shuffled[i]] for i in sampled], tokenizer.eos_token_id


def batch_of(rows, filler):
    """Right-padded to the longest. Without padding no mask, so that SDPA takes its causal kernel."""
    width = max(map(len, rows))
    x_BT = torch.tensor([row + [filler] * (width - len(row)) for row in rows], device=DEVICE)
    mask_BT = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=DEVICE)
    labels_BT = x_BT.masked_fill(mask_BT == 0, -100)
    return {"input_ids": x_BT, "attention_mask": None if mask_BT.all() else mask_BT, "labels": labels_BT}


def synchronize():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def train(args, model, rows, filler):
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.0, fused=True)
    steps = []
    for step in range(args.steps):
        picked = rows[step * args.batch_size:][:args.batch_size]
        synchronize()
        begin = time.perf_counter()
        with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=args.dtype == "bfloat16"):
            loss = model(**batch_of(picked, filler)).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, MAX_NORM)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (args.planned_steps - step) / args.planned_steps
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        measured = {"loss": loss.item(), "grad_norm": norm.item()}
        synchronize()
        steps.append({**measured, "seconds": time.perf_counter() - begin, "tokens": sum(map(len, picked))})
    return steps


def main():
    args = arguments()
    model = load_model(args)
    rows, filler = rows_in_order(args)
    steps = train(args, model, rows, filler)
    steady = steps[WARM_UP:] or steps
    speed = sum(step["tokens"] for step in steady) / sum(step["seconds"] for step in steady)
    peak = torch.cuda.max_memory_allocated() / 1e9 if DEVICE == "cuda" else None
    args.report.write_text(json.dumps({"steps": steps, "tokens_per_second": speed, "peak_gb": peak}, indent=1))


if __name__ == "__main__":
    main()
