#!/usr/bin/env python3
"""Fetching a repository: ftd's hub client against Python's huggingface_hub (without hf_xet), from the test hub on loopback.

The two take turns, each into an empty cache. ftd checks every byte's digest, huggingface_hub the number of bytes. The
hub is a Python process on the same machine, so its speed bounds both; only the ratio counts. Prints a Markdown table.
"""
import argparse
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
from hub_fixture import Hub  # noqa: E402

PYTHON = "import huggingface_hub as hf; hf.snapshot_download('ann/big')"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each [5]")
    parser.add_argument("--megabytes", type=int, default=512, help="of each shard [512]")
    parser.add_argument("--shards", type=int, default=2, help="[2]")
    args = parser.parse_args()
    fetch = ROOT / "build" / "tests" / "hub_fetch"
    commands = {"ftd": [str(fetch), "model", "ann/big"], "huggingface_hub": [sys.executable, "-c", PYTHON]}
    rates = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as directory, Hub() as hub:
        files = {"config.json": b"{}"}
        for i in range(args.shards):
            path = pathlib.Path(directory) / f"shard{i}"
            with open(path, "wb") as f:
                for _ in range(args.megabytes):
                    f.write(random.randbytes(1 << 20))
            files[f"model-{i:05}.safetensors"] = path
        hub.add_repo("ann/big", files)
        size = args.shards * args.megabytes * (1 << 20) / 1e6
        for turn in range(args.rounds):
            for name, command in commands.items():
                home = pathlib.Path(directory) / "home"
                start = time.monotonic()
                subprocess.run(command, env={**hub.env(home), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}, check=True,
                               stdout=subprocess.DEVNULL)
                rates[name].append(size / (time.monotonic() - start))
                shutil.rmtree(home)
                print(f"round {turn + 1} {name}: {rates[name][-1]:.0f} MB/s", file=sys.stderr)
    ratios = [a / b for a, b in zip(rates["ftd"], rates["huggingface_hub"])]
    print("| client | MB/s best / median | to huggingface_hub (median of rounds) |\n| --- | --- | --- |")
    for name, values in rates.items():
        ratio = statistics.median(ratios) if name == "ftd" else 1
        print(f"| {name} | {max(values):.0f} / {statistics.median(values):.0f} | {ratio:.2f} × |")


if __name__ == "__main__":
    main()
