"""What the Hugging Face peers of bench/trainers.py share: the job, its rows, and the report that a peer prints.

A peer is a process that trains the job given by its flags and prints one JSON object, its last line:
start (when the first step began), ends (when each step ended), tokens (non-padding, of each step), losses and
peak_rss_bytes. Times are Unix seconds.
"""
import argparse
import json
import pathlib
import resource

PROMPT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n"
    "### Instruction: {}\n\n### Input: {}\n\n### Response: {}"
)
LORA = dict(
    r=8, lora_alpha=16, lora_dropout=0.0, task_type="CAUSAL_LM",
    target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"])


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=["lora", "full", "qlora"], required=True)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--model", required=True)
    parser.add_argument("--dataset", type=pathlib.Path, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--seq-length", type=int, required=True)
    parser.add_argument("--max-steps", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--no-checkpointing", action="store_true")
    parser.add_argument("--compile", action="store_true")
    return parser.parse_args()


def load_model(args):
    """The model as NVIDIA's scripts load it for the mode."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    dtype = getattr(torch, args.dtype)
    four_bits = {}
    if args.mode == "qlora":
        four_bits = {"quantization_config": BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype)}
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=dtype, **four_bits)
    return model if args.mode == "full" else get_peft_model(model, LoraConfig(**LORA))


def texts(dataset, eos):
    rows = (json.loads(line) for line in dataset.read_text(encoding="utf-8").splitlines())
    return [PROMPT.format(row["instruction"], row["input"], row["output"]) + eos for row in rows]


def report(start, ends, tokens, losses):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(dict(start=start, ends=ends, tokens=tokens, losses=losses, peak_rss_bytes=peak)))
