"""How good the memory plan is: jobs of all modes, dtypes and several families on the CPU, planned and then run.

    PYTHONPATH=tests/support python bench/memory.py [--only WORD]

Planned is what `ftctl estimate` says of the CPU's memory, measured the worker's peak resident memory above what it had when it
began (Progress.peak_memory_bytes). The models are random, of some 30 million weights, so that a job takes a few hundred MB. Prints a
line a job and the greatest difference. Needs the targets ftd, ftctl and ft-worker.
"""
import argparse
import json
import pathlib
import random
import tempfile

import torch
from ftd_fixture import Ftd, write_jsonl
from tiny_model import make_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

OPTIONS = {
    "llama": {}, "qwen3": {"head_dim": 64}, "granite": {}, "olmo2": {}, "phi3": {"pad_token_id": 0},
    "gemma3_text": {"head_dim": 64, "sliding_window": 128, "query_pre_attn_scalar": 64},
    "qwen3_5_text": {"head_dim": 64, "linear_num_key_heads": 4, "linear_num_value_heads": 8, "linear_key_head_dim": 64,
                     "linear_value_head_dim": 64},
}
MODES = [["--mode", mode, "--dtype", dtype] for mode in ("lora", "full", "qlora") for dtype in ("float32", "bfloat16")]
SHAPES = [["--batch-size", 1], ["--batch-size", 4, "--gradient-checkpointing", "on"], ["--batch-tokens", 1536]]


def make_model(directory, family):
    directory.mkdir()
    config = AutoConfig.for_model(
        family, vocab_size=make_tokenizer(directory), hidden_size=512, intermediate_size=1536, num_hidden_layers=8, num_attention_heads=8,
        num_key_value_heads=4, max_position_embeddings=4096, bos_token_id=1, eos_token_id=0, **OPTIONS[family])
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, torch_dtype=torch.bfloat16).save_pretrained(directory)
    return directory


def grid():
    jobs = [("llama", mode + shape) for mode in MODES for shape in SHAPES]
    jobs += [(family, mode + SHAPES[2]) for family in OPTIONS if family != "llama" for mode in (MODES[0], MODES[1], MODES[2], MODES[5])]
    return jobs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    rng = random.Random(7)
    ratios = []
    with tempfile.TemporaryDirectory() as scratch, Ftd() as ftd:
        scratch = pathlib.Path(scratch)
        dataset = write_jsonl(scratch / "rows.jsonl", [{"text": "rain on seven green hills " * rng.randrange(20, 90)} for _ in range(48)])
        models = {}
        for family, flags in grid():
            name = " ".join([family, *(str(flag).removeprefix("--") for flag in flags)])
            if args.only not in name:
                continue
            if family not in models:
                models[family] = make_model(scratch / family, family)
            flags = ["--model", models[family], "--dataset", dataset, "--seq-length", 768, "--max-steps", 8, *flags]
            memory = json.loads(ftd.ftctl("estimate", *flags, "-o", "json").stdout)["plan"]["memory"]
            part = {name: memory[f"{name}_bytes"] / 1e6 for name in ("weights", "adapters", "masters", "gradients", "optimizer", "step", "libraries")}
            planned = sum(part.values())
            job = ftd.wait(ftd.ftctl("submit", "--quiet", *flags).stdout.strip(), "SUCCEEDED", deadline_s=600)
            measured = job.progress.peak_memory_bytes / 1e6
            ratios.append(planned / measured)
            print(f"{name:88} kept {planned - part['step'] - part['libraries']:5.0f} step {part['step']:5.0f} planned {planned:6.0f} "
                  f"measured {measured:6.0f} MB  {ratios[-1]:.3f}", flush=True)
    print(f"{len(ratios)} jobs, planned over measured from {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
