#!/usr/bin/env python3
"""ftd against Hugging Face on one job: non-padding tokens per second, memory, and seconds to the first step.

The job: SmolLM2-135M (examples/smollm2.py), Alpaca rows in file order, two threads. The peers run in turns, round after
round, because a machine's speed drifts: only numbers of one run compare. Prints a Markdown table; --write puts it into
docs/performance.md. Cells are MODE or MODE:DTYPE: lora, full, qlora; float32 unless bfloat16 is said. Full fine-tuning in
bfloat16 is the peers' for ftd too (--precision hf_parity): no float32 weights beside them.

  ftd                 ftctl submit to a fresh ftd; memory is the worker's
  trl                 TRL SFTTrainer + PEFT with the settings of NVIDIA's scripts (gradient checkpointing: TRL's default)
  trl-best            the same without gradient checkpointing, malloc told to keep big buffers
  bare                a plain loop over transformers + PEFT without checkpointing, malloc told to keep big buffers
  bare-compile        the same under torch.compile
"""
import argparse
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "tests" / "support")]
import fetch  # noqa: E402
from random_llama import LLAMA_1B, make_model  # noqa: E402

THREADS = {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
KEEP_BUFFERS = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 34), "MALLOC_TOP_PAD_": str(1 << 28)}
PEERS = {  # script, flags, environment
    "trl": ("peer_trl.py", [], {}),
    "trl-best": ("peer_trl.py", ["--no-checkpointing"], KEEP_BUFFERS),
    "bare": ("peer_bare.py", [], KEEP_BUFFERS),
    "bare-compile": ("peer_bare.py", ["--compile"], KEEP_BUFFERS),
}
LEARNING_RATE = {"lora": 1e-4, "qlora": 1e-4, "full": 5e-5}
WARM_UP = 2  # steps that are not timed: caches and torch.compile warm up in them


def job_flags(args, cell, dataset):
    mode, dtype = (cell + ":float32").split(":")[:2]
    return ["--mode", mode, "--dtype", dtype, "--model", args.model, "--dataset", dataset, "--batch-size", args.batch_size,
            "--seq-length", args.seq_length, "--max-steps", args.steps, "--learning-rate", LEARNING_RATE[mode]]


def run_hugging_face(peer, args, cell, dataset):
    script, flags, environment = PEERS[peer]
    command = [sys.executable, ROOT / "bench" / script, *job_flags(args, cell, dataset), *flags]
    begin = time.time()
    done = subprocess.run([str(word) for word in command], env={**os.environ, **THREADS, **environment},
                          capture_output=True, text=True, cwd=args.scratch)
    if done.returncode:
        raise SystemExit(f"{peer} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1]) | {"begin": begin}


def peak_rss(pid):
    """Peak resident bytes of a living process, else 0."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(match[1]) * 1024 if match else 0


def run_ftd(args, cell, dataset):
    from ftd_fixture import FINAL, Ftd, state_name

    with Ftd(env=THREADS) as ftd:
        flags = [*job_flags(args, cell, dataset), "--no-shuffle", "--save-steps", 0]
        if cell == "full:bfloat16":
            flags += ["--precision", "hf_parity"]
        begin = time.time()
        job = ftd.ftctl("submit", *flags, "--quiet").stdout.strip()
        peak = 0
        while state_name((now := ftd.job(job)).state) not in FINAL:
            peak = max(peak, peak_rss(now.attempts[-1].pid) if now.attempts else 0)
            time.sleep(0.1)
        if state_name(now.state) != "SUCCEEDED":
            raise SystemExit(f"ftd failed: {now.message}")
        steps = ftd.steps(job)
    ends = [step.time.ToNanoseconds() / 1e9 for step in steps]
    return dict(begin=begin, start=ends[0] - steps[0].step_seconds, ends=ends, tokens=[s.tokens for s in steps],
                losses=[s.loss for s in steps], peak_rss_bytes=peak)


def measure(peer, args, cell, dataset):
    raw = run_ftd(args, cell, dataset) if peer == "ftd" else run_hugging_face(peer, args, cell, dataset)
    return {
        "tokens_per_second": sum(raw["tokens"][WARM_UP:]) / (raw["ends"][-1] - raw["ends"][WARM_UP - 1]),
        "seconds_to_first_step": raw["start"] - raw["begin"],
        "peak_rss_bytes": raw["peak_rss_bytes"], "first_loss": raw["losses"][0], "last_loss": raw["losses"][-1],
    }


def table(results, args):
    """Markdown: one row a cell and peer; the ratio is to TRL as the scripts run it."""
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    lines = [
        f"`./dev bench --rounds {args.rounds} --steps {args.steps}` on {cpu}, {platform.machine()}, 2 threads: "
        f"{args.model_name}, batch {args.batch_size}, length ≤ {args.seq_length}, Alpaca rows.",
        "",
        "| mode | trainer | tok/s best / median | to TRL (median of rounds) | peak RSS, GB | seconds to the first step "
        "| loss, first and last step |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for cell in args.cells:
        for peer in args.peers:
            runs = results[cell, peer]
            speed = [run["tokens_per_second"] for run in runs]
            ratio = "–"
            if "trl" in args.peers:
                base = [run["tokens_per_second"] for run in results[cell, "trl"]]
                ratio = f"{statistics.median(a / b for a, b in zip(speed, base)):.2f} ×"
            rss = max(run["peak_rss_bytes"] for run in runs) / 1e9
            first = statistics.median(run["seconds_to_first_step"] for run in runs)
            lines.append(f"| {cell} | {peer} | {max(speed):.0f} / {statistics.median(speed):.0f} | {ratio} | {rss:.2f} "
                         f"| {first:.2f} | {runs[-1]['first_loss']:.4f} {runs[-1]['last_loss']:.4f} |")
    return "\n".join(lines)


def write_into_docs(text):
    path = ROOT / "docs" / "performance.md"
    begin, end = "<!-- trainers: begin -->", "<!-- trainers: end -->"
    page = path.read_text()
    path.write_text(re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n{text}\n{end}", page, flags=re.DOTALL))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)

    def words(text):
        return text.split(",")

    parser.add_argument("--rounds", type=int, default=3, help="turns of every peer [3]")
    parser.add_argument("--steps", type=int, default=12, help="optimizer steps of a run [12]")
    parser.add_argument("--batch-size", type=int, default=4, help="[4]")
    parser.add_argument("--seq-length", type=int, default=512, help="[512]")
    parser.add_argument("--cells", type=words, default=["lora", "full"], help="comma-separated [lora,full]")
    parser.add_argument("--peers", type=words, default=["ftd", *PEERS], help="comma-separated [all]")
    parser.add_argument("--model", help="a directory, or random-1b: Llama-3.2-1B's shape [SmolLM2-135M]")
    parser.add_argument("--json", type=pathlib.Path, help="also write every run's numbers there")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    args = parser.parse_args()
    if unknown := {*args.peers} - {"ftd", *PEERS}:
        parser.error(f"unknown peers: {', '.join(unknown)}")
    if args.steps <= WARM_UP:
        parser.error(f"--steps {args.steps}: the first {WARM_UP} are not timed; more are needed")
    return args


def smollm2():
    script = [sys.executable, ROOT / "examples" / "smollm2.py"]
    return pathlib.Path(subprocess.run(script, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


def alpaca_rows(path):
    rows = json.loads(fetch.llamafactory_data("alpaca_en_demo.json"))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def main():
    args = arguments()
    smollm = smollm2()
    results = {(cell, peer): [] for cell in args.cells for peer in args.peers}
    args.model_name = pathlib.Path(args.model).name if args.model else "SmolLM2-135M"
    with tempfile.TemporaryDirectory(prefix="ftd-bench-") as args.scratch:
        args.model = args.model or smollm
        if args.model == "random-1b":
            args.model = make_model(pathlib.Path(args.scratch) / args.model, smollm, LLAMA_1B)
        dataset = alpaca_rows(pathlib.Path(args.scratch) / "alpaca.jsonl")
        for number in range(1, args.rounds + 1):
            for cell, peer in results:
                run = measure(peer, args, cell, dataset)
                results[cell, peer].append(run)
                print(f"round {number} {cell} {peer}: {run['tokens_per_second']:.0f} tok/s", file=sys.stderr)
    if args.json:
        args.json.write_text(json.dumps([dict(cell=c, peer=p, runs=r) for (c, p), r in results.items()], indent=1))
    text = table(results, args)
    print(text)
    if args.write:
        write_into_docs(text)


if __name__ == "__main__":
    main()
