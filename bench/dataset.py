#!/usr/bin/env python3
"""Tokenising a whole dataset: ftd against `datasets.map` with a fast tokenizer, two processes, interleaved in one run.

    python bench/dataset.py [--rounds N] [--mb N] [NAME …]        names: those of tests/lib/tokenizer/make_tokenizers.py

Both begin with a JSON Lines file of texts on disk and end with token ids on disk, cut to 2048, EOS at the end. ftd reads,
parses, tokenises on two threads, writes, hashes, syncs and verifies its store. `datasets` loads the file into Arrow
(load_dataset) and maps a transformers tokenizer over it (batched=True, num_proc=2); the second ratio leaves the loading
out. Token counts must agree. Needs build/tests/encode_dataset (./dev build).
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
sys.path[:0] = [str(ROOT / "tests" / "lib" / "tokenizer"), str(ROOT / "examples")]
PROCESSES, LENGTH = 2, 2048


def write_rows(path, megabytes):
    """Alpaca rows and the standard library's sources in pieces, over and over, each with its number."""
    import fetch
    import make_tokenizers
    rows = json.loads(fetch.llamafactory_data("alpaca_en_demo.json"))
    texts = ["\n\n".join((row["instruction"], row["input"], row["output"])) for row in rows]
    texts += [text[i:i + 1500] for text in make_tokenizers.real_texts(3_000_000) for i in range(0, len(text), 1500)]
    with open(path, "w", encoding="utf-8") as file:
        number = 0
        while file.tell() < megabytes * 1_000_000:
            file.writelines(json.dumps({"text": f"{number + i}\n{text}"}) + "\n" for i, text in enumerate(texts))
            number += len(texts)
    return path


def make_model_dir(directory, tokenizer_json):
    """A directory that both sides load their tokenizer from; EOS is its last token."""
    from transformers import PreTrainedTokenizerFast
    eos = max(json.loads(tokenizer_json.read_text())["added_tokens"], key=lambda token: token["id"])["content"]
    PreTrainedTokenizerFast(tokenizer_file=str(tokenizer_json), eos_token=eos).save_pretrained(directory)
    return directory


def run_theirs(model, rows, scratch):
    """(seconds with loading, seconds of map alone, tokens)"""
    from datasets import load_dataset
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(model)

    def tokenise(batch):
        return {"input_ids": tokenizer([text + tokenizer.eos_token for text in batch["text"]], truncation=True,
                                       max_length=LENGTH)["input_ids"]}

    with tempfile.TemporaryDirectory(dir=scratch) as cache:
        begin = time.perf_counter()
        dataset = load_dataset("json", data_files=str(rows), split="train", cache_dir=cache)
        loaded = time.perf_counter()
        dataset = dataset.map(tokenise, batched=True, num_proc=PROCESSES, remove_columns=dataset.column_names)
        end = time.perf_counter()
        tokens = sum(len(column) for batch in dataset.data.column("input_ids").chunks for column in [batch.flatten()])
    return end - begin, end - loaded, tokens


def compare(name, args, rows, scratch):
    import fetch
    import make_tokenizers
    model = make_model_dir(scratch / name, make_tokenizers.ensure(fetch.cache_dir() / "tokenizers", name))
    driver = pathlib.Path(os.environ.get("FTD_BUILD_DIR", ROOT / "build")) / "tests" / "encode_dataset"
    ours = subprocess.Popen([driver, model, str(PROCESSES), scratch / "store", rows], text=True, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE)
    rounds = []
    for _ in range(args.rounds):
        ours.stdin.write("\n")
        ours.stdin.flush()
        seconds, tokens = ours.stdout.readline().split()
        whole, mapped, their_tokens = run_theirs(model, rows, scratch)
        assert int(tokens) == their_tokens, f"{name}: {tokens} tokens, datasets has {their_tokens}"
        rounds.append((float(seconds), whole, mapped))
    ours.stdin.close()
    ours.wait()
    size = rows.stat().st_size / 1e6
    mine, whole, mapped = ([size / seconds for seconds in column] for column in zip(*rounds))
    ratios = [statistics.median(row[k] / row[0] for row in rounds) for k in (1, 2)]
    print(f"| {name} | {max(mine):.1f} / {statistics.median(mine):.1f} | {max(whole):.2f} / {statistics.median(whole):.2f} "
          f"| {ratios[0]:.1f} × | {max(mapped):.2f} / {statistics.median(mapped):.2f} | {ratios[1]:.1f} × |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mb", type=int, default=50)
    parser.add_argument("names", nargs="*", default=["smollm2", "llama3"])
    args = parser.parse_args()
    print("| tokenizer | ftd, MB/s best / median | load + map, MB/s best / median | ratio | map alone | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        rows = write_rows(pathlib.Path(scratch) / "rows.jsonl", args.mb)
        for name in args.names:
            compare(name, args, rows, pathlib.Path(scratch))


if __name__ == "__main__":
    main()
