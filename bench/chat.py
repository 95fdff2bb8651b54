#!/usr/bin/env python3
"""Conversations to token ids and labels: ftd against `datasets.map` with apply_chat_template, interleaved in one run.

    python bench/chat.py [--rounds N] [--rows N] [NAME …]         names: those of trl's chat_templates, without .jinja

Both begin with a JSON Lines file of conversations on disk and end with ids and labels on disk, on two cores: ftd on two
threads, `datasets` in two processes, each of which renders, tokenises and asks transformers for the assistant's mask. Loading the
file into Arrow (load_dataset) is not counted. Token counts must agree. Needs build/tests/encode_dataset (./dev build).
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

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "lib" / "tokenizer"), str(ROOT / "examples"), str(ROOT / "bench")]
PROCESSES, LENGTH = 2, 2048

import trl  # noqa: E402

FOLDER = pathlib.Path(trl.__file__).parent / "chat_templates"


def write_rows(path, count):
    """Alpaca's questions and answers as conversations of one to four turns, each with its number."""
    import fetch
    rows = json.loads(fetch.llamafactory_data("alpaca_en_demo.json"))
    with open(path, "w", encoding="utf-8") as file:
        for i in range(count):
            messages = [{"role": "system", "content": f"Conversation {i}."}] if i % 2 else []
            for turn in range(i % 4 + 1):
                row = rows[(i + turn) % len(rows)]
                messages += [{"role": "user", "content": f"{row['instruction']}\n{row['input']}"}, {"role": "assistant", "content": row["output"]}]
            file.write(json.dumps({"messages": messages}) + "\n")
    return path


def run_theirs(tokenizer, dataset, out):
    """(seconds, tokens)"""
    def encode(row):
        encoded = tokenizer.apply_chat_template(row["messages"], return_dict=True, return_assistant_tokens_mask=True, truncation=True, max_length=LENGTH)
        return {"input_ids": encoded["input_ids"], "labels": [token if learned else -100 for token, learned in zip(encoded["input_ids"], encoded["assistant_masks"])]}

    begin = time.perf_counter()
    mapped = dataset.map(encode, remove_columns=dataset.column_names, num_proc=PROCESSES, load_from_cache_file=False, cache_file_name=str(out))
    seconds = time.perf_counter() - begin
    return seconds, sum(map(len, mapped["input_ids"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("names", nargs="*", default=["qwen3_training", "llama3_training", "gemma3_training"])
    options = parser.parse_args()
    import fetch
    import make_tokenizers
    from dataset import make_model_dir
    from datasets import load_dataset
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory(prefix="bench-chat-") as scratch:
        scratch = pathlib.Path(scratch)
        rows = write_rows(scratch / "chat.jsonl", options.rows)
        dataset = load_dataset("json", data_files=str(rows), split="train", cache_dir=str(scratch / "cache"))
        vocabulary = make_tokenizers.ensure(fetch.cache_dir() / "tokenizers", "qwen2")
        for name in options.names:
            model = make_model_dir(scratch / name, vocabulary)
            (model / "chat_template.jinja").write_text((FOLDER / f"{name}.jinja").read_text())
            tokenizer = AutoTokenizer.from_pretrained(model)
            ours = subprocess.Popen([ROOT / "build" / "tests" / "encode_dataset", model, str(PROCESSES), scratch / "store", rows],
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            ratios = []
            for _ in range(options.rounds):
                ours.stdin.write("\n")
                ours.stdin.flush()
                seconds, tokens = ours.stdout.readline().split()
                theirs, count = run_theirs(tokenizer, dataset, scratch / "mapped.arrow")
                assert int(tokens) == count, (tokens, count)
                ratios.append(theirs / float(seconds))
                print(f"{name:24} ftd {1e6 * float(seconds) / options.rows:7.1f} us a row, datasets.map {1e6 * theirs / options.rows:7.1f} us: {ratios[-1]:.1f} x", flush=True)
            ours.stdin.close()
            ours.wait()
            print(f"{name:24} median {statistics.median(ratios):.1f} x", flush=True)


if __name__ == "__main__":
    main()
