#!/usr/bin/env python3
"""Where a training job's time goes: samples of Linux `perf` over ft-train, by kind of work.

    ./dev python bench/where_time_goes.py [--cells lora,full,qlora:bfloat16] [--steps 12]

The job is that of bench/trainers.py (SmolLM2-135M, Alpaca rows, batch 4, two threads). Prints a Markdown table; --top N lists
the N functions that took most as well. Needs Debian's linux-perf and the right to sample (perf_event_paranoid <= 2).
"""
import argparse
import collections
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bench"))
from trainers import LEARNING_RATE, THREADS, alpaca_rows, smollm2  # noqa: E402

KINDS = [  # the first whose pattern fits "DSO symbol"
    ("matrix products", r"mkl_|gemm|dnnl|brgemm|jit_|\[anon|//anon|\[JIT\]|memfd|unknown\]"),
    ("attention", r"flash_attention|scaled_dot_product|attention"),
    ("loss over the vocabulary", r"ftd::.*([Ll]oss|CrossEntropy|Exp)"),
    ("4-bit weights", r"nf4|Nf4|NF4"),
    ("optimizer", r"AdamW|adam|Optimizer"),
    ("waiting for the other thread", r"libgomp|libomp|kmp_|sched_yield"),
    ("element by element", r"ftd::engine|libtorch|at::native|c10::"),
    ("memory", r"libc|memcpy|memset|malloc|\[kernel|vmlinux"),
]


def kind_of(line):
    return next((kind for kind, pattern in KINDS if re.search(pattern, line)), "other")


def record(cell, steps, model, dataset, scratch):
    mode, dtype = (cell + ":float32").split(":")[:2]
    data = scratch / "perf.data"
    command = ["perf", "record", "-q", "-F", 499, "-o", data, "--", ROOT / "build/bin/ft-train", "--mode", mode, "--dtype", dtype,
               "--model_name", model, "--dataset", dataset, "--batch_size", 4, "--seq_length", 512, "--max_steps", steps,
               "--learning_rate", LEARNING_RATE[mode], "--output_dir", scratch / f"out-{cell}".replace(":", "-")]
    if cell == "full:bfloat16":
        command += ["--precision", "hf_parity"]
    done = subprocess.run([str(word) for word in command], env={**os.environ, **THREADS}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{cell} failed:\n{done.stderr[-3000:]}")
    report = subprocess.run(["perf", "report", "-i", data, "--stdio", "--no-children", "-F", "overhead,dso,symbol", "-w", "0,60,200"],
                            capture_output=True, text=True, check=True).stdout
    shares = []
    for line in report.splitlines():
        if match := re.match(r"\s*([\d.]+)%\s+(.*\S)", line):
            shares.append((float(match[1]), re.sub(r"\s+", " ", match[2])))
    return shares


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", default="lora,full,qlora,lora:bfloat16,full:bfloat16,qlora:bfloat16")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--top", type=int, default=0)
    args = parser.parse_args()
    cells = args.cells.split(",")
    table = {}
    with tempfile.TemporaryDirectory(prefix="ftd-profile-") as scratch:
        model, dataset = smollm2(), alpaca_rows(pathlib.Path(scratch) / "alpaca.jsonl")
        for cell in cells:
            shares = record(cell, args.steps, model, dataset, pathlib.Path(scratch))
            table[cell] = collections.Counter()
            for share, line in shares:
                table[cell][kind_of(line)] += share
            for share, line in shares[:args.top]:
                print(f"{cell:16} {share:5.1f} %  {kind_of(line):28} {line[:150]}", file=sys.stderr)
    print(f"| share of the time, % | {' | '.join(cells)} |\n|{' --- |' * (len(cells) + 1)}")
    kinds = [kind for kind, _ in KINDS] + ["other"]
    for kind in sorted(kinds, key=lambda kind: -max(table[cell][kind] for cell in cells)):
        print(f"| {kind} | " + " | ".join(f"{table[cell][kind]:.0f}" for cell in cells) + " |")


if __name__ == "__main__":
    main()
