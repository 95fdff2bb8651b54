#!/usr/bin/env python3
"""Memory with a dataset that is larger than it: the same job on 1000 rows and on gigabytes of rows, to its fifth step.

    python bench/big_dataset.py [--gb N]

A private ftd trains SmolLM2-135M with LoRA, submitted by ftctl as users do. Prints, for both: the worker's and the daemon's
peak resident memory (VmHWM), and the time until the first step was recorded. Needs room for three times the file in the
temporary directory: the file, its upload, its tokens.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "tests" / "support")]
import fetch  # noqa: E402
from ftd_fixture import Ftd  # noqa: E402

STEPS = 5


def write_rows(path, size=None, rows=None):
    """Alpaca rows, each with a number of its own, until the file has `size` bytes or `rows` rows."""
    source = json.loads(fetch.llamafactory_data("alpaca_en_demo.json"))
    number = 0
    with open(path, "w", encoding="utf-8") as file:
        while (size and file.tell() < size) or (rows and number < rows):
            for row in source[:rows]:
                number += 1
                file.write(json.dumps({**row, "instruction": f"{number}. {row['instruction']}"}) + "\n")
    return number


def peak_mb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def measure(model, path):
    """(worker's peak MB, daemon's peak MB, seconds to the first step) of one job's first steps."""
    with Ftd() as ftd:
        begin = time.monotonic()
        job = ftd.ftctl("submit", "--quiet", "--mode", "lora", "--model", model, "--dataset", path, "--batch-size", 4,
                        "--seq-length", 512, "--max-steps", 10_000, "--save-steps", 0, timeout=3600).stdout.strip()
        first = None
        while (last := ftd.job(job).last_step.step) < STEPS:
            assert ftd.job(job).attempts == [] or ftd.job(job).failure_reason == 0, ftd.job(job).message
            if last and first is None:
                first = time.monotonic() - begin
            time.sleep(0.1)
        result = peak_mb(ftd.worker_pid(job)), peak_mb(ftd.process.pid), first or time.monotonic() - begin
        ftd.ftctl("cancel", job)
        return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=5, help="size of the large file [5]")
    args = parser.parse_args()
    model = subprocess.run([sys.executable, ROOT / "examples" / "smollm2.py"], check=True, capture_output=True,
                           text=True).stdout.strip().splitlines()[-1]
    print("| rows | file, GB | worker's peak RSS, MB | daemon's peak RSS, MB | seconds from submit to step 1 |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "rows.jsonl"
        for limits in ({"rows": 999}, {"size": args.gb * 1e9}):
            rows = write_rows(path, **limits)
            worker, daemon, seconds = measure(model, path)
            print(f"| {rows:,} | {path.stat().st_size / 1e9:.2f} | {worker:.0f} | {daemon:.0f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
