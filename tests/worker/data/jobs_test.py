"""Datasets as jobs: several files, the token cache and what may befall it, files that change, rows that are skipped."""
import hashlib
import json
import os
import re
import signal

import pytest
from ftd_fixture import Ftd, alpaca_rows, jobs, wait_until, write_jsonl

ENDLESS = 10_000_000
FLAGS = ["--mode", "lora", "--batch-size", 4, "--seq-length", 96, "--dtype", "float32"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def ftd(data):
    with Ftd(config=f'dataset_roots = ["{data}"]\n') as daemon:
        yield daemon


def submit(ftd, model, dataset, *flags, steps=3):
    return ftd.ftctl("submit", "--quiet", *FLAGS, "--model", model, "--dataset", dataset, "--max-steps", steps,
                     *flags).stdout.strip()


def run(ftd, model, dataset, *flags):
    """Losses, phases and warnings of a job that succeeds."""
    job = submit(ftd, model, dataset, *flags)
    ftd.wait(job, "SUCCEEDED")
    phases, warnings = [], []
    for message in ftd.watch(job):
        if message.HasField("progress"):
            phases.append(jobs.Progress.Phase.Name(message.progress.phase))
        if message.HasField("warning"):
            warnings.append(str(message.warning))
    return [step.loss for step in ftd.steps(job)], phases, warnings


def stores(ftd):
    return sorted(path for path in (ftd.state_dir / "tokens").iterdir() if path.is_dir())


def test_files_of_a_directory_are_one_dataset(ftd, model, tmp_path):
    rows = alpaca_rows(30)
    whole = write_jsonl(tmp_path / "whole.jsonl", rows)
    parts = tmp_path / "parts"
    parts.mkdir()
    for i in range(3):
        write_jsonl(parts / f"train-0000{i}.jsonl", rows[10 * i:10 * i + 10])
    (parts / "test-00000.jsonl").write_text("this would fail\n")
    (parts / "README.md").write_text("and so would this\n")
    expected, *_ = run(ftd, model, whole)
    for dataset in [parts, parts / "train-*.jsonl"]:
        assert run(ftd, model, dataset)[0] == expected
    shown = json.loads(ftd.ftctl("show", submit(ftd, model, parts), "-o", "json").stdout)["spec"]["dataset"]
    assert shown["file_name"] == "parts" and [f["name"] for f in shown["files"]] == [f"train-0000{i}.jsonl" for i in range(3)]


def test_the_second_job_on_the_same_rows_does_not_tokenise(ftd, model, tmp_path):
    rows = alpaca_rows(32)
    first = write_jsonl(tmp_path / "first.jsonl", rows)
    losses, phases, _ = run(ftd, model, first)
    assert "TOKENIZE" in phases
    same, phases, _ = run(ftd, model, write_jsonl(tmp_path / "other-name.jsonl", rows))
    assert "TOKENIZE" not in phases and same == losses and len(stores(ftd)) == 1
    other, phases, _ = run(ftd, model, first, "--train-on", "completions")
    assert "TOKENIZE" in phases and other != losses and len(stores(ftd)) == 2


def test_a_damaged_store_is_built_anew(ftd, model, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", alpaca_rows(32))
    losses, *_ = run(ftd, model, rows)
    (store,) = stores(ftd)
    ids = store / "ids.bin"
    damaged = bytearray(ids.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    ids.write_bytes(damaged)
    again, phases, _ = run(ftd, model, rows)
    assert again == losses and "TOKENIZE" in phases and ids.read_bytes() != damaged
    assert "TOKENIZE" not in run(ftd, model, rows)[1]


def test_a_worker_killed_while_it_tokenises(ftd, model, data):
    """The next attempt begins anew; nothing half-made is left or used."""
    big = write_jsonl(data / "big.jsonl", alpaca_rows(2000) * 100)
    job = ftd.submit(ftd.spec(model, big, max_steps=2, seq_length=96)).id
    tokens = ftd.state_dir / "tokens"
    wait_until(lambda: any(path.stat().st_size > 1 << 16 for path in tokens.glob(".tmp-*/ids.bin")), "tokens on disk")
    os.kill(ftd.worker_pid(job), signal.SIGKILL)
    done = ftd.wait(job, "SUCCEEDED", deadline_s=120)
    assert len(done.attempts) == 2
    assert len(stores(ftd)) == 1 and not list(tokens.glob(".tmp-*"))


@pytest.mark.parametrize("change,words", [(lambda path: write_jsonl(path, alpaca_rows(9)), "has changed"),
                                          (lambda path: path.unlink(), "is gone")], ids=["changed", "gone"])
def test_a_file_that_changed_since_submit_fails_the_job(ftd, model, data, tmp_path, change, words):
    rows = write_jsonl(data / "rows.jsonl", alpaca_rows(8))
    first = submit(ftd, model, write_jsonl(tmp_path / "other.jsonl", alpaca_rows(8)), steps=ENDLESS)
    ftd.wait(first, "RUNNING")
    second = ftd.submit(ftd.spec(model, rows, max_steps=1)).id
    change(rows)
    ftd.ftctl("cancel", first)
    job = ftd.wait(second, "FAILED")
    assert jobs.FailureReason.Name(job.failure_reason) == "DATASET_INVALID"
    assert f"{rows} {words}" in job.message


def test_an_upload_that_is_gone_fails_the_job(ftd, model, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", alpaca_rows(10, seed=5))
    digest = hashlib.sha256(rows.read_bytes()).hexdigest()
    ftd.ftctl("drain")
    job = submit(ftd, model, rows)
    (ftd.state_dir / "uploads" / digest).unlink()
    ftd.ftctl("undrain")
    failed = ftd.wait(job, "FAILED")
    assert jobs.FailureReason.Name(failed.failure_reason) == "DATASET_INVALID"
    assert "the rows are gone" in failed.message and digest in failed.message and "submit them again" in failed.message


def test_bad_rows_are_skipped_with_a_warning(ftd, model, tmp_path):
    good = alpaca_rows(12)
    expected, *_ = run(ftd, model, write_jsonl(tmp_path / "good.jsonl", good))
    lines = [json.dumps(row) for row in good]
    lines[3:3] = ["oops", '{"instruction": "x"}']
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines) + "\n")
    for _ in range(2):  # told again when the rows come from the cache
        losses, _, warnings = run(ftd, model, path, "--skip-bad-rows", 2)
        assert losses == expected
        assert any("2 bad rows were skipped" in w and "line 4" in w and "line 5" in w for w in warnings), warnings
    refused = ftd.ftctl("submit", "--mode", "lora", "--model", model, "--dataset", path, "--skip-bad-rows", 1, check=False)
    assert refused.returncode == 65 and "rows.jsonl line 5" in refused.stderr


def test_every_format_trains_the_same(ftd, model, tmp_path):
    import pandas
    rows = alpaca_rows(16)
    frame = pandas.DataFrame(rows)
    expected, *_ = run(ftd, model, write_jsonl(tmp_path / "rows.jsonl", rows))
    frame.to_csv(tmp_path / "rows.csv.gz", index=False)
    frame.to_parquet(tmp_path / "rows.parquet")
    frame.rename(columns={"instruction": "q", "output": "a"}).to_csv(tmp_path / "named.tsv", sep="\t", index=False)
    for name, flags in [("rows.csv.gz", []), ("rows.parquet", []), ("named.tsv", ["--columns", "instruction=q,output=a"])]:
        assert run(ftd, model, tmp_path / name, *flags)[0] == expected, name


CHAT = [{"messages": [{"role": "user", "content": f"Say {i}."}, {"role": "assistant", "content": str(i)}]} for i in range(12)]


def test_conversations_need_a_template_that_fits(ftd, model, tmp_path):
    rows = write_jsonl(tmp_path / "chat.jsonl", CHAT)
    refused = ftd.ftctl("submit", *FLAGS, "--model", model, "--dataset", rows, check=False)
    assert refused.returncode == 65 and "has no chat template" in refused.stderr and "chatml" in refused.stderr
    broken = tmp_path / "broken.jinja"
    broken.write_text("{% if %}")
    refused = ftd.ftctl("submit", *FLAGS, "--model", model, "--dataset", rows, "--chat-template", broken, check=False)
    assert refused.returncode == 65 and "chat_template" in refused.stderr and "line 1" in refused.stderr
    job = submit(ftd, model, rows, "--chat-template", "chatml", "--name", "chat")
    ftd.wait(job, "SUCCEEDED")
    # The tiny model's EOS is another token than ChatML's end of a turn.
    [warning] = [message.warning for message in ftd.watch(job) if message.HasField("warning")]
    assert "12 of 12 rows (100%) have a turn that ends with" in str(warning) and "generation does not stop" in str(warning)
    ftd.ftctl("get", job, tmp_path / "out")
    assert "<|im_start|>" in (tmp_path / "out" / "chat_template.jinja").read_text()


def test_a_bad_conversation_is_named(ftd, model, tmp_path):
    rows = write_jsonl(tmp_path / "chat.jsonl", [*CHAT, {"messages": [{"role": "user", "content": [{"type": "image", "url": "x"}]}]}])
    refused = ftd.ftctl("submit", *FLAGS, "--model", model, "--dataset", rows, "--chat-template", "chatml", check=False)
    assert refused.returncode == 65
    assert 'chat.jsonl line 13: "messages" at message 1: "content" has a part of the type "image"' in refused.stderr
    job = submit(ftd, model, rows, "--chat-template", "chatml", "--skip-bad-rows", 1)
    ftd.wait(job, "SUCCEEDED")


def test_the_day_that_a_template_prints_stays(ftd, model, tmp_path):
    """Tokens of conversations depend on it; those of other rows do not, and are found again on another day."""
    template = tmp_path / "dated.jinja"
    template.write_text("{{ strftime_now('%d %b %Y') }}{% for m in messages %}<{{ m.role }}>{{ m.content }}<|end|>{% endfor %}")
    chat, plain = write_jsonl(tmp_path / "chat.jsonl", CHAT), write_jsonl(tmp_path / "plain.jsonl", alpaca_rows(12))
    flags = ["--chat-template", template]
    job = submit(ftd, model, chat, *flags)
    date = json.loads(ftd.ftctl("show", job, "-o", "json").stdout)["spec"]["dataset"]["chat_template_date"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", date)
    ftd.wait(job, "SUCCEEDED")
    expected, phases, _ = run(ftd, model, chat, *flags, "--chat-template-date", date)
    assert "TOKENIZE" not in phases and expected == [step.loss for step in ftd.steps(job)]
    other, phases, _ = run(ftd, model, chat, *flags, "--chat-template-date", "2001-02-03")
    assert "TOKENIZE" in phases and other != expected
    run(ftd, model, plain, *flags)
    _, phases, _ = run(ftd, model, plain, *flags, "--chat-template-date", "2001-02-03")
    assert "TOKENIZE" not in phases
