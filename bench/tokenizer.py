#!/usr/bin/env python3
"""Encoding speed of ftd's tokenizer against Hugging Face's `tokenizers`, one thread each, interleaved in one run.

    python bench/tokenizer.py [--rounds N] [NAME …]        names: those of tests/lib/tokenizer/make_tokenizers.py

The texts are Alpaca rows and the standard library's sources, in pieces as a dataset has them. `tokenizers` is called
by encode_batch_fast, its quickest way (no offsets), with its word cache warm like ours. MB/s of UTF-8, best and
median over the rounds; the machine's speed drifts, so only the ratio of a round's two runs is steady.
Needs build/tests/encode_lines (./dev build).
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "lib" / "tokenizer"), str(ROOT / "examples")]

import fetch  # noqa: E402
import make_tokenizers  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402


def bench_texts():
    rows = json.loads(fetch.llamafactory_data("alpaca_en_demo.json"))
    texts = ["\n\n".join((row["instruction"], row["input"], row["output"])) for row in rows]
    return texts + [text[i:i + 1500] for text in make_tokenizers.real_texts(3_000_000) for i in range(0, len(text), 1500)]


class Ours:
    """encode_lines, kept running: each line that it gets makes it encode all texts once."""

    def __init__(self, driver, tokenizer_json, texts_file):
        self.process = subprocess.Popen([driver, tokenizer_json, "--time", texts_file], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.load_seconds = float(self.process.stderr.readline().split()[2])

    def run(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        seconds, tokens = self.process.stdout.readline().split()
        return float(seconds), int(tokens)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def run_theirs(tokenizer, texts):
    begin = time.perf_counter()
    tokens = sum(len(encoding) for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False))
    return time.perf_counter() - begin, tokens


def compare(name, driver, texts, texts_file, rounds):
    path = make_tokenizers.ensure(fetch.cache_dir() / "tokenizers", name)
    begin = time.perf_counter()
    theirs = Tokenizer.from_file(str(path))
    their_load = time.perf_counter() - begin
    ours = Ours(driver, path, texts_file)
    size = sum(len(text.encode()) for text in texts) / 1e6
    pairs = []
    for _ in range(rounds + 1):  # the first round warms both caches up and does not count
        (mine, my_tokens), (other, other_tokens) = ours.run(), run_theirs(theirs, texts)
        assert my_tokens == other_tokens, f"{name}: {my_tokens} tokens, tokenizers has {other_tokens}"
        pairs.append((mine, other))
    ours.close()
    mine, other = zip(*pairs[1:])
    ratio = statistics.median(b / a for a, b in pairs[1:])
    print(f"| {name} | {size / min(mine):.1f} / {size / statistics.median(mine):.1f} "
          f"| {size / min(other):.2f} / {size / statistics.median(other):.2f} | {ratio:.1f} × "
          f"| {ours.load_seconds:.3f} / {their_load:.3f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("names", nargs="*", default=["smollm2", "llama3", "qwen2", "llama2"])
    args = parser.parse_args()
    driver = pathlib.Path(os.environ.get("FTD_BUILD_DIR", ROOT / "build")) / "tests" / "encode_lines"
    texts = bench_texts()
    print("| tokenizer | ftd, MB/s best / median | tokenizers, MB/s best / median | ratio | load, s: ftd / tokenizers |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.writelines(json.dumps(text) + "\n" for text in texts)
        file.flush()
        for name in args.names:
            compare(name, driver, texts, file.name, args.rounds)


if __name__ == "__main__":
    main()
