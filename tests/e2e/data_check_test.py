"""What a job's rows are: `ftctl data check`, `submit --validate-only`, `show --data` and GetJob, against transformers."""
import json
import math
import os
import pathlib
import pty
import random
import re
import subprocess

import numpy
import pytest
import trl
from conftest import ENDLESS, submit, wait_for_step
from ftd_fixture import BIN, Ftd, alpaca_rows, api, processes_under, wait_until, write_jsonl
from transformers import AutoTokenizer

SEQ_LENGTH = 40
TEMPLATE = (pathlib.Path(trl.__file__).parent / "chat_templates" / "qwen3_training.jinja").read_text()


def texts(count=300, seed=3):
    """Rows of text of many lengths, some of them twice or empty."""
    rng = random.Random(seed)
    words = ["rain", "falls", "on", "é漢🙂", "seven", "green", "hills", "\n", "<|end|>"]
    rows = [{"text": " ".join(rng.choices(words, k=rng.choice([1, 3, 8, 9, 10, 12, 60])))} for _ in range(count)]
    return rows + rows[:17] + [{"text": ""}] * 5


def conversations(count=60, seed=4):
    rng = random.Random(seed)
    say = lambda: " ".join(rng.choices(["rain", "hills", "é漢🙂", "two\nlines"], k=rng.randrange(1, 9)))  # noqa: E731
    rows = [{"messages": [{"role": role, "content": say()} for _ in range(rng.randrange(1, 3)) for role in ("user", "assistant")]}
            for _ in range(count)]
    return rows + rows[:4] + [{"messages": [{"role": "user", "content": "nobody answers"}]}] * 3


def by_transformers(model, rows, cut):
    """(ids, whether each is learned, tokens before the cut) of each row."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    for row in rows:
        if "messages" in row:
            out = tokenizer.apply_chat_template(row["messages"], chat_template=TEMPLATE, tokenize=True, return_dict=True,
                                                return_assistant_tokens_mask=True)
            ids, learned = out["input_ids"], out["assistant_masks"]
        else:
            text = row["text"] if row["text"].endswith(tokenizer.eos_token) else row["text"] + tokenizer.eos_token
            ids = tokenizer(text)["input_ids"]
            learned = [1] * len(ids)
        yield ids[:cut], [0, *learned[1:cut]], len(ids)


def expected_report(model, rows, cut):
    made = list(by_transformers(model, rows, cut))
    kept = [row for row in made if any(row[1])]
    lengths = sorted(row[2] for row in kept)
    return {
        "rows_read": len(rows), "rows_kept": len(kept), "rows_eval": 0, "rows_dropped": len(rows) - len(kept),
        "rows_dropped_by_cut": sum(not any(row[1]) and row[2] > cut for row in made), "rows_skipped": 0, "skipped_reasons": [],
        "rows_cut": sum(row[2] > cut for row in made), "tokens_cut": sum(row[2] - len(row[0]) for row in kept),
        "rows_duplicate": len(kept) - len({(tuple(ids), tuple(learned)) for ids, learned, _ in kept}),
        "rows_conversation": sum("messages" in row for row in rows),
        "tokens": sum(len(row[0]) for row in kept), "tokens_learned": sum(sum(row[1]) for row in kept),
        "tokens_per_epoch": sum(len(row[0]) for row in kept),
        **{f"length_{name}": int(numpy.percentile(lengths, p, method="inverted_cdf")) for name, p in [("median", 50), ("p90", 90), ("p99", 99)]},
        "length_longest": max(row[2] for row in made),
    }


def check_histogram(report, lengths, cut):
    bins = report["length_histogram"]
    assert [b["rows"] for b in bins] == [sum(b["from_tokens"] <= n <= b["to_tokens"] for n in lengths) for b in bins]
    assert sum(b["rows"] for b in bins) == len(lengths)
    assert all(after["from_tokens"] == before["to_tokens"] + 1 for before, after in zip(bins, bins[1:]))
    assert all(b["cut"] == (b["from_tokens"] > cut) and (b["cut"] or b["to_tokens"] <= cut) for b in bins)


def check_samples(report, model, rows, cut):
    tokenizer = AutoTokenizer.from_pretrained(model)
    kept = [(i, *row) for i, row in enumerate(by_transformers(model, rows, cut), 1) if any(row[1])]
    assert len(report["samples"]) == 3
    for sample, (number, ids, learned, _) in zip(report["samples"], kept):
        assert sample["row"] == number and sample["tokens"] == len(ids) and sample["tokens_learned"] == sum(learned)
        assert "".join(part["text"] for part in sample["parts"]) == tokenizer.decode(ids)
        # A text's first token is learned although no token predicts it.
        marked = [1, *learned[1:]] if all(learned[1:]) else learned
        assert "".join(part["text"] for part in sample["parts"] if part["learned"]) == \
            tokenizer.decode([token for token, is_learned in zip(ids, marked) if is_learned])


def data_check(ftd, model, dataset, *flags):
    return json.loads(ftd.ftctl("data", "check", dataset, "--model", model, *flags, "-o", "json").stdout)["report"]


@pytest.mark.parametrize("rows,flags,cut", [(texts(), [], SEQ_LENGTH), (texts(), [], 2048), (conversations(), ["--chat-template"], 110),
                                            (conversations(), ["--chat-template"], 2048)], ids=["texts, cut", "texts", "chat, cut", "chat"])
def test_the_report_is_what_transformers_counts(ftd, model, tmp_path, rows, flags, cut):
    template = tmp_path / "template.jinja"
    template.write_text(TEMPLATE)
    dataset = write_jsonl(tmp_path / "rows.jsonl", rows)
    report = data_check(ftd, model, dataset, "--seq-length", cut, *flags, *([template] if flags else []))
    expected = expected_report(model, rows, cut)
    assert {name: report[name] for name in expected} == expected
    check_histogram(report, [row[2] for row in by_transformers(model, rows, cut) if any(row[1])], cut)
    check_samples(report, model, rows, cut)
    assert report["rows_duplicate"] > 0 and (report["rows_cut"] > 0) == (cut < 2048)


def test_everybody_tells_the_same(ftd, model, tmp_path):
    """The check before the job, the judgement of a submit, the job while it waits, and when it has ended."""
    dataset = write_jsonl(tmp_path / "rows.jsonl", texts())
    flags = {"seq_length": SEQ_LENGTH, "eval_split": 0.25, "batch_size": 4, "max_steps": 3}
    args = [str(word) for name, value in flags.items() for word in ("--" + name.replace("_", "-"), value)]
    report = data_check(ftd, model, dataset, *args)
    validated = ftd.ftctl("submit", "--mode", "lora", "--model", model, "--dataset", dataset, *args, "--validate-only", "-o", "json")
    assert json.loads(validated.stdout)["data_report"] == report
    assert report["rows_eval"] == math.ceil(0.25 * report["rows_kept"]) and 0 < report["tokens_per_epoch"] < report["tokens"]

    def shown(job):
        return json.loads(ftd.ftctl("show", job, "-o", "json").stdout)["data_report"]

    running = submit(ftd, model, write_jsonl(tmp_path / "other.jsonl", alpaca_rows(8)), max_steps=ENDLESS)
    wait_for_step(ftd, running, 1)
    waiting = ftd.ftctl("submit", "--quiet", "--mode", "lora", "--model", model, "--dataset", dataset, *args).stdout.strip()
    assert wait_until(lambda: shown(waiting), "the look at the rows that wait") == report
    assert not ftd.job(waiting).attempts
    ftd.ftctl("cancel", running)
    ftd.wait(waiting, "SUCCEEDED")
    assert shown(waiting) == report and ftd.job(waiting).attempts
    plan = report["plan"]
    assert (plan["steps"], plan["rows"]) == (3, 12)
    assert plan["tokens"] == ftd.job(waiting).last_step.tokens_total
    assert 0 < plan["memory"]["step_least_bytes"] <= plan["memory"]["step_recomputed_bytes"] <= plan["memory"]["step_bytes"]
    listed = next(job for job in ftd.stub.ListJobs(api.ListJobsRequest()).jobs if job.id == waiting)
    assert not listed.HasField("data_report")
    # A job of its own tokens, that nobody looked at before.
    alone = submit(ftd, model, write_jsonl(tmp_path / "alone.jsonl", texts(seed=9)), max_steps=1)
    ftd.wait(alone, "SUCCEEDED")
    assert shown(alone)["rows_read"] == 322


def on_a_terminal(ftd, *args, **env):
    """(exit code, what a terminal of 100 columns was sent)"""
    main, side = pty.openpty()
    subprocess.run(["stty", "cols", "100", "rows", "40"], stdin=side, check=True)
    full = {**{k: v for k, v in os.environ.items() if not k.startswith(("FTD_", "FTCTL_", "NO_COLOR", "LC_", "LANG"))}, "TERM": "xterm", **env}
    process = subprocess.Popen([str(BIN / "ftctl"), "--address", ftd.address, *map(str, args)], stdout=side, stderr=side,
                               stdin=subprocess.DEVNULL, env=full)
    os.close(side)
    out = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:
            break
        if not part:
            break
        out += part
    os.close(main)
    return process.wait(timeout=60), out.decode().replace("\r\n", "\n")


def test_people_read_numbers_bars_and_rows(ftd, model, tmp_path):
    rows = [{"prompt": "Say: ", "completion": f"rain {i % 7}\x1b[31m\nfalls"} for i in range(30)] + [{"prompt": "long " * 30, "completion": "x"}]
    dataset = write_jsonl(tmp_path / "rows.jsonl", rows)
    args = ["--model", model, "--seq-length", SEQ_LENGTH]
    plain = ftd.ftctl("data", "check", dataset, *args)
    assert re.search(r"^rows +30 of 31$", plain.stdout, re.M)
    assert re.search(r"^left out +1 lost all that is learned to the cut$", plain.stdout, re.M)
    assert re.search(r"^duplicates +23 of 30 rows \(76\.7%\)$", plain.stdout, re.M)
    assert re.search(r"^tokens +\d+ in an epoch; \d+\.\d% of \d+ are learned$", plain.stdout, re.M)
    assert re.search(r"^ +\d+(-\d+)? █+ 30$", plain.stdout, re.M)
    assert "row 1: " in plain.stdout and "Say:⟦ rain 0?[31m\nfalls<|end|>⟧\n" in plain.stdout
    assert "warning: 1 of 31 rows (3.23%) lost the whole completion" in plain.stderr
    ascii_only = ftd.ftctl("data", "check", dataset, *args, env={"LC_ALL": "C"}).stdout
    assert ascii_only.isascii() and "[[ rain 0?[31m" in ascii_only and re.search(r"#+ 30$", ascii_only, re.M)
    code, coloured = on_a_terminal(ftd, "data", "check", dataset, *args)
    assert code == 0 and "Say:\x1b[32m rain 0?[31m\x1b[0m\n\x1b[32mfalls<|end|>\x1b[0m" in coloured and "⟦" not in coloured
    code, sober = on_a_terminal(ftd, "data", "check", dataset, *args, NO_COLOR="1")
    assert code == 0 and "\x1b[32m" not in sober and "⟦ rain 0" in sober
    assert re.search(r"^memory +\d.* weights \d", plain.stdout, re.M)
    validated = ftd.ftctl("submit", "--mode", "lora", "--dataset", dataset, *args, "--validate-only")
    assert validated.stdout == plain.stdout and "would accept" in validated.stderr
    job = ftd.ftctl("submit", "--quiet", "--mode", "lora", "--dataset", dataset, *args).stdout.strip()
    ftd.wait(job, "SUCCEEDED")
    assert ftd.ftctl("show", job, "--data").stdout == plain.stdout
    assert re.search(r"^data +rows: 30 of 31$", ftd.ftctl("show", job).stdout, re.M)


def test_refusals(ftd, model, tmp_path):
    bad = write_jsonl(tmp_path / "bad.jsonl", texts(5000))
    with open(bad, "a") as file:
        file.write("oops\n")
    done = ftd.ftctl("data", "check", bad, "--model", model, check=False)
    assert done.returncode == 65 and "bad.jsonl line 5023: not JSON" in done.stderr and not done.stdout
    skipped = data_check(ftd, model, bad, "--skip-bad-rows", 1)
    assert skipped["rows_skipped"] == 1 and skipped["rows_read"] == 5022 and "line 5023" in skipped["skipped_reasons"][0]
    validated = ftd.ftctl("submit", "--mode", "lora", "--dataset", bad, "--model", model, "--validate-only", check=False)
    assert validated.returncode == 65 and "line 5023" in validated.stderr
    for args, words in [(["--dataset", bad], "given twice"), (["--learning-rate", 99], "learning_rate"), (["--seq-length", 1], "seq_length")]:
        done = ftd.ftctl("data", "check", bad, "--model", model, *args, check=False)
        assert done.returncode in (2, 65) and words in done.stderr, done.stderr
    assert ftd.ftctl("data", "check", bad, "--model", tmp_path / "nowhere", check=False).returncode == 66
    assert ftd.ftctl("data", "check", bad, check=False).returncode == 2


def test_a_client_that_goes_takes_the_work_with_it(model, tmp_path):
    """And a daemon that is killed leaves nothing that the next one does not remove."""
    dataset = write_jsonl(tmp_path / "rows.jsonl", texts(300_000))
    with Ftd() as ftd:
        def work():
            return processes_under(ftd.state_dir / "row_checks")

        command = [str(BIN / "ftctl"), "--address", ftd.address, "data", "check", str(dataset), "--model", str(model)]
        client = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(work, "the rows to be read")
        client.kill()
        client.wait()
        wait_until(lambda: not work(), "the work to end", 10)
        client = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(work, "the rows to be read")
        ftd.kill()
        wait_until(lambda: not work(), "the work to end", 10)
        assert (ftd.state_dir / "row_checks").exists()
        ftd.start()
        assert not (ftd.state_dir / "row_checks").exists()
        assert client.wait(timeout=60) != 0
