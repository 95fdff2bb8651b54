#!/usr/bin/env python3
"""Time per rendered conversation: lib/jinja against Python's jinja2 as transformers compiles it, interleaved in one run.

    python bench/jinja.py [--rows N] [--rounds N] [NAME …]       names: those of trl's chat_templates, without .jinja

Each template renders the same random conversations (tests/lib/jinja/jinja_conversations.py), of which those that it refuses are
left out. Both sides have parsed the template and hold the conversations as their own values. One thread each; microseconds per
conversation, best and median over the rounds; the machine's speed drifts, so only the ratio of a round's two runs is steady.
Needs build/tests/render_lines (./dev build).
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
os.environ.setdefault("FTD_BUILD_DIR", str(ROOT / "build"))
sys.path.insert(0, str(ROOT / "tests" / "lib" / "jinja"))

import jinja_conversations  # noqa: E402
import jinja_reference  # noqa: E402
import trl  # noqa: E402
from transformers.utils import chat_template_utils  # noqa: E402

FOLDER = pathlib.Path(trl.__file__).parent / "chat_templates"


class Ours:
    """render_lines, kept running: each line that it gets makes it render all conversations once."""

    def __init__(self, cases):
        self.process = subprocess.Popen([jinja_reference.DRIVER, "--time"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for template, variables in cases:
            self.process.stdin.write(json.dumps({"template": template, "variables": variables, "now": jinja_reference.NOW}) + "\n")
        self.process.stdin.write("\n")

    def run(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        seconds, size = self.process.stdout.readline().split()
        return float(seconds), int(size)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def run_theirs(compiled, cases):
    begin = time.perf_counter()
    texts = [compiled.render(**variables) for _, variables in cases]
    return time.perf_counter() - begin, sum(len(text.encode()) for text in texts)


def compare(name, rows, rounds):
    template = (FOLDER / f"{name}.jinja").read_text()
    conversations = jinja_conversations.Conversations(1)
    cases = []
    while len(cases) < rows:
        case = (template, conversations.variables())
        if "text" in jinja_reference.theirs(*case):
            cases.append(case)
    compiled, ours, pairs = chat_template_utils._compile_jinja_template(template), Ours(cases), []
    for _ in range(rounds + 1):  # the first round warms up and does not count
        (mine, my_size), (other, other_size) = ours.run(), run_theirs(compiled, cases)
        assert my_size == other_size, f"{name}: {my_size} bytes, jinja2 has {other_size}"
        pairs.append((mine, other))
    ours.close()
    mine, other = ([seconds / rows * 1e6 for seconds in side] for side in zip(*pairs[1:]))
    ratio = statistics.median(b / a for a, b in pairs[1:])
    print(f"| {name} | {my_size // rows} | {min(mine):.1f} / {statistics.median(mine):.1f} "
          f"| {min(other):.1f} / {statistics.median(other):.1f} | {ratio:.1f} × |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("names", nargs="*", default=["qwen2_5", "qwen3", "llama3_1", "gptoss", "phi3", "gemma3"])
    args = parser.parse_args()
    print("| template | bytes | lib/jinja, µs best / median | jinja2, µs best / median | ratio |")
    print("| --- | --- | --- | --- | --- |")
    for name in args.names:
        compare(name, args.rows, args.rounds)


if __name__ == "__main__":
    main()
