"""Tokens a second of generation on the CPU: ft-worker, transformers and llama.cpp in float32, in turn, on one model.

    PYTHONPATH=tests/support python bench/generate.py MODEL_DIR [--threads 2] [--rounds 5] [--prompt 512] [--new 128]

Prefill is the prompt's tokens over the time to the first token; decode, one sequence's further tokens over their time. Each
round runs the three one after another, in an order that turns; the best round of each counts, since other work on the
machine only slows. Needs the targets ft-worker and gguf_tool, and the wheel xllamacpp.
"""
import argparse
import json
import os
import pathlib
import random
import subprocess
import tempfile
import time

import llama_cpp
import torch
import transformers

BUILD = pathlib.Path(os.environ.get("FTD_BUILD_DIR", "build"))


def ours(args, model_dir, ids, path):
    path.write_text(json.dumps(ids))
    out = subprocess.run([BUILD / "bin" / "ft-worker", "generate", "--model", model_dir, "--cpu", "--input", path, "-o", "json",
                          "--max-new-tokens", str(args.new), "--ignore-eos"], check=True, capture_output=True, text=True,
                         env=os.environ | {"OMP_NUM_THREADS": str(args.threads)}).stdout
    answer = json.loads(out.splitlines()[0])
    return answer["first_token_seconds"], answer["seconds"] - answer["first_token_seconds"], answer["token_ids"]


def of_transformers(model, ids, new):
    with torch.no_grad():
        begin = time.perf_counter()
        out = model(torch.tensor([ids]), use_cache=True, logits_to_keep=1)
        tokens = [int(out.logits[0, -1].argmax())]
        first = time.perf_counter()
        while len(tokens) < new:
            out = model(torch.tensor([[tokens[-1]]]), past_key_values=out.past_key_values, use_cache=True)
            tokens.append(int(out.logits[0, -1].argmax()))
    return first - begin, time.perf_counter() - first, tokens


def of_llama_cpp(model, ids, new):
    model.clear()
    begin = time.perf_counter()
    tokens = [model.next_token(ids, 0)]
    first = time.perf_counter()
    while len(tokens) < new:
        tokens.append(model.next_token(tokens[-1:], len(ids) + len(tokens) - 1))
    return first - begin, time.perf_counter() - first, tokens


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    for name, default in (("threads", 2), ("rounds", 5), ("prompt", 512), ("new", 128)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model_dir = args.model.resolve()
    vocabulary = json.loads((model_dir / "config.json").read_text())["vocab_size"]
    ids = [random.Random(1).randrange(3, min(vocabulary, 40000)) for _ in range(args.prompt)]
    with tempfile.TemporaryDirectory() as tmp:
        gguf = pathlib.Path(tmp) / "model.gguf"
        subprocess.run([BUILD / "tests" / "gguf_tool", "model", "f32", model_dir, gguf], check=True, capture_output=True)
        hf = transformers.AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32, attn_implementation="sdpa").eval()
        cpp = llama_cpp.Model(gguf, n_ctx=args.prompt + args.new, threads=args.threads)
        engines = [("ft-worker", lambda: ours(args, model_dir, ids, pathlib.Path(tmp) / "ids.json")),
                   ("transformers", lambda: of_transformers(hf, ids, args.new)),
                   ("llama.cpp", lambda: of_llama_cpp(cpp, ids, args.new))]
        best, tokens = {}, {}
        for round_number in range(args.rounds):
            for i in range(3):
                name, run = engines[(i + round_number) % 3]
                prefill, decode, tokens[name] = run()
                rates = args.prompt / prefill, (args.new - 1) / decode
                best[name] = tuple(map(max, zip(rates, best.get(name, (0, 0)))))
                print(f"round {round_number + 1}: {name:12} prefill {rates[0]:7.1f}  decode {rates[1]:6.1f} tokens/s", flush=True)
        cpp.close()
    for name, (prefill, decode) in best.items():
        alike = sum(a == b for a, b in zip(tokens[name], tokens["ft-worker"]))
        print(f"best: {name:12} prefill {prefill:7.1f}  decode {decode:6.1f} tokens/s; {alike} of {args.new} tokens as ft-worker's")


if __name__ == "__main__":
    main()
