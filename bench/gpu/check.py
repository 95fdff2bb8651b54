#!/usr/bin/env python3
"""Checks ftd on this machine's GPU, then measures it. run.sh starts it; docs/performance.md describes the steps.

The steps run one after another, whatever an earlier one found, each under a time limit of its own and all within
SECONDS_MAX. Without a GPU, a step that has something to do on the CPU does that. A table goes to stdout and OUT/table.txt,
the same with all figures to OUT/kit.json, and every process's output to OUT. Exits with 0 unless a step failed; a slow
machine is not a failure.
"""
import argparse
import os
import pathlib
import signal
import sys
import time
import traceback

import correctness
import speed
from machine import LARGE, Failed, Machine, Skipped
from report import Report, Step

STEPS = [  # the most important first; seconds that a step may take
    ("environment", correctness.environment, 30),
    ("gpu_test", correctness.gpu_test, 120),
    ("gpu_trainer_test", correctness.gpu_trainer_test, 90),
    ("training", correctness.training, 90),
    ("resume", correctness.resume, 60),
    ("ops_bench", speed.ops, 60),
    ("8B LoRA", speed.lora_8b, 120),
    ("8B LoRA, Alpaca lengths", speed.alpaca_8b, 60),
    ("peer", speed.peer, 180),
    ("8B QLoRA", speed.qlora_8b, 70),
    ("3B full", speed.full_3b, 110),
    ("out of memory", speed.out_of_memory, 110),
    ("NF4 model", speed.nf4_tiny, 40),
    ("70B QLoRA", speed.qlora_70b, 220),
]
QUICK = 5  # of them
MODELS = ["tiny", "tiny-nf4"], ["8b", "3b"]  # always; with a GPU


def run_step(machine, report, name, function, limit):
    step = Step(name)
    begin = time.monotonic()
    machine.rc, machine.step_end = None, begin + limit
    try:
        machine.need_time(1)
        facts = function(machine, step)
        report.machine |= facts or {}
    except Skipped as why:
        step.status = "skipped" if step.status == "passed" else step.status
        step.note(str(why))
    except Failed as why:
        step.expect(False, str(why))
    except Exception as fault:  # a step's own fault must not keep the later ones from running
        step.expect(False, f"{type(fault).__name__}: {fault}")
        (machine.out / "faults.log").open("a").write(traceback.format_exc())
    step.rc, step.seconds = machine.rc, time.monotonic() - begin
    report.steps.append(step)
    report.write()
    print(f"[{step.status}] {name}, {step.seconds:.1f} s: {'; '.join(step.notes)}", flush=True)


def main():
    parser = argparse.ArgumentParser(prog="run.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", type=pathlib.Path, default=pathlib.Path(time.strftime("gpu-kit-%Y%m%d-%H%M%S")),
                        metavar="OUT", help="a new or empty folder [gpu-kit-DATE-TIME]")
    parser.add_argument("--quick", action="store_true", help="the tests alone, in 90 seconds")
    parser.add_argument("--only", action="append", metavar="STEP", choices=[name for name, _, _ in STEPS[1:]],
                        help="this step alone; may be given several times")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if any(args.out.iterdir()):
        parser.error(f"{args.out} is not empty")
    seconds_max = float(os.environ.get("SECONDS_MAX", 90 if args.quick else 480))
    home = pathlib.Path(__file__).absolute().parent
    report = Report(args.out / "kit.json")
    machine = Machine(home, args.out.resolve(), seconds_max)

    def stop(*_):
        machine.close()
        sys.exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    try:
        large = machine.gpu and not args.quick and machine.free_bytes() >= LARGE
        machine.make_models(*MODELS[0], *(MODELS[1] if large else []))
        for name, function, limit in STEPS[:QUICK if args.quick else None]:
            if not args.only or name in ["environment", *args.only]:
                run_step(machine, report, name, function, limit)
    finally:
        machine.close()
    table = report.table()
    (args.out / "table.txt").write_text(table + "\n", encoding="utf-8")
    print(f"\n{table}", flush=True)
    return 1 if report.count("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
