"""How good `ftctl estimate` is: five jobs on the CPU, told and then run, after one shorter job of each shape.

    PYTHONPATH=tests/support python bench/estimate.py MODEL_DIR [--steps 24]

A shape is a mode, a dtype and the way rows fill a micro-batch. The job that teaches ftd the pace takes half of the steps on other
rows. Prints the range told, the time taken (from the worker's start to its end), and the middle of the range over that time; then the
memory planned and measured. Needs the targets ftd, ftctl and ft-worker, and an idle machine.
"""
import argparse
import json
import math
import pathlib
import random
import tempfile

from ftd_fixture import Ftd, write_jsonl

SHAPES = {
    "lora float32": ["--mode", "lora", "--seq-length", 256, "--batch-size", 4],
    "full float32": ["--mode", "full", "--seq-length", 128, "--batch-size", 4],
    "qlora float32": ["--mode", "qlora", "--seq-length", 256, "--batch-size", 2, "--gradient-accumulation-steps", 2],
    "lora bfloat16": ["--mode", "lora", "--dtype", "bfloat16", "--seq-length", 256, "--batch-size", 4],
    "lora by tokens, evaluated": ["--mode", "lora", "--seq-length", 512, "--batch-tokens", 1024, "--eval-split", 20, "--eval-steps", 12],
}


def rows(path, seed):
    rng = random.Random(seed)
    words = "the rain falls on seven green hills and nobody counts what it carries to the river below".split()
    return write_jsonl(path, [{"text": " ".join(rng.choices(words, k=rng.randrange(20, 300)))} for _ in range(400)])


def seconds(timestamp):
    return timestamp.seconds + timestamp.nanos / 1e9


def run(ftd, model, dataset, flags, steps):
    job = ftd.ftctl("submit", "--quiet", "--model", model, "--dataset", dataset, *flags, "--max-steps", steps).stdout.strip()
    ended = ftd.wait(job, "SUCCEEDED", deadline_s=3600)
    return ended, seconds(ended.attempts[0].end_time) - seconds(ended.attempts[0].start_time)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=24)
    args = parser.parse_args()
    model = args.model.resolve()
    print(f"{'job':28}{'told, s':>16}{'took, s':>10}{'told/took':>11}{'planned, MB':>13}{'measured, MB':>14}{'ratio':>7}")
    with tempfile.TemporaryDirectory() as scratch, Ftd() as ftd:
        first, second = (rows(pathlib.Path(scratch) / f"{seed}.jsonl", seed) for seed in (1, 2))
        for name, flags in SHAPES.items():
            run(ftd, model, first, flags, args.steps // 2)
            told = json.loads(ftd.ftctl("estimate", "--model", model, "--dataset", second, *flags, "--max-steps", args.steps, "-o",
                                        "json").stdout)["plan"]
            ended, took = run(ftd, model, second, flags, args.steps)
            low, high = told["time"]["low_seconds"], told["time"]["high_seconds"]
            planned = sum(told["memory"][f"{part}_bytes"]
                          for part in ("weights", "adapters", "masters", "gradients", "optimizer", "step")) / 1e6
            measured = ended.progress.peak_memory_bytes / 1e6
            print(f"{name:28}{f'{low:.1f} to {high:.1f}':>16}{took:10.1f}{math.sqrt(low * high) / took:11.2f}"
                  f"{planned:13.0f}{measured:14.0f}{planned / measured:7.2f}", flush=True)


if __name__ == "__main__":
    main()
