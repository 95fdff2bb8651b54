#!/usr/bin/env python3
"""Stands in for every program that the kit starts, as if there were a GPU: what it writes looks like the real one's.

It goes by the name that it is called by. FAULT names one thing that goes wrong.
"""
import json
import os
import pathlib
import signal
import sys
import time

NAME, FAULT = pathlib.Path(sys.argv[0]).name, os.environ.get("FAULT", "")
ON_GPU = os.environ.get("CUDA_VISIBLE_DEVICES") != ""
TILE = {"rows": 16384, "ms": 1.0}


def flag(name, default=None):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


def step(number, batch):
    loss = 12.5 - 0.1 * number
    if FAULT == "distance" and ON_GPU:
        loss *= 1.2
    return {"step": number, "loss": loss, "grad_norm": 1.0, "tokens": 2048 * batch, "step_seconds": 0.15 * batch, "mfu": 0.44}


def train():
    out, batch = pathlib.Path(flag("--output_dir")), int(flag("--batch_size", 8))
    fraction = float(os.environ.get("PYTORCH_ALLOC_CONF", "1").rpartition(":")[2])
    if fraction < 0.2 and FAULT != "memory":
        print("\nft-train: CUDA out of memory\nhint: lower --seq-length, or use --mode qlora", file=sys.stderr)
        sys.exit(1)
    if ON_GPU and "8b" in out.name or "3b" in out.name or "70b" in out.name:
        time.sleep(0.3)  # for the card's memory to be seen
    out.mkdir(parents=True, exist_ok=True)
    if out.name.endswith("killed") and "--resume" not in sys.argv:
        (out / "checkpoint-1").mkdir()
        signal.pause()
    rows = [step(number, batch) for number in range(int(flag("--max_steps", 8)))]
    (out / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (out / "ftd_run.json").write_text(json.dumps({"recomputed_layers": 8, "micro_batch_parts": 2 if fraction < 1 and FAULT != "parts" else 1}))
    bits = {"bits": out.name, "resume": "--resume" in sys.argv}.get(FAULT, "")
    for file in ("adapter_model.safetensors", "model.safetensors"):
        (out / file).write_text(f"weights {bits}")


def gtest():
    path = next(word for word in sys.argv if word.startswith("--gtest_output=json:")).partition(":")[2]
    test = {"classname": "A", "name": "B", "result": "SKIPPED" if FAULT == "skipped" else "COMPLETED"}
    if FAULT == "test":
        test["failures"] = [{}]
    if FAULT == "warning":
        print("Warning: x does not have a deterministic implementation", file=sys.stderr)
    if FAULT == "crash":
        os.abort()
    pathlib.Path(path).write_text(json.dumps({"testsuites": [{"testsuite": [test]}]}))
    sys.exit(FAULT == "test")


def hf_peer():
    rows = [{**step(number, 8), "seconds": 3.0} for number in range(int(flag("--steps")))]
    if FAULT == "peer":
        rows[-1]["loss"] *= 1.01
    pathlib.Path(flag("--report")).write_text(json.dumps({"steps": rows, "tokens_per_second": 5461.0, "peak_gb": 60.0}))


def make_models():
    root = pathlib.Path(sys.argv[1])
    for name in sys.argv[2:]:
        (root / name).mkdir()
        (root / name / ".complete").touch()


def ops_bench():
    pieces = [{**TILE, "name": "product qkv", "rate": 700.0, "unit": "TFLOP/s"},
              {**TILE, "name": "rope", "rate": 2000.0 if FAULT != "slow" else 200.0, "unit": "GB/s"}]
    print(json.dumps({"device": "cuda:0", "own_kernels": FAULT != "kernels", "pieces": pieces}))


def nvidia_smi():
    if any(word.startswith("--loop-ms") for word in sys.argv):
        print("66000", flush=True)
        signal.pause()
    print("580.1, 81559 MiB, 700.00 W, 1980 MHz")


if NAME == "ft-worker":
    print("ft-worker 0") if "--version" in sys.argv else train()
else:
    {"gpu_test": gtest, "gpu_trainer_test": gtest, "ops_bench": ops_bench, "nvidia-smi": nvidia_smi, "hf_peer.py": hf_peer,
     "make_models.py": make_models}[NAME]()
