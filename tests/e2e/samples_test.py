"""Samples: what a model answers while it is trained, held to transformers' generate, and to the run that would have been without them."""
import json
import os
import pathlib
import shutil
import signal
import subprocess

import pytest
from conftest import error_of, submit, wait_for_step, weights
from ftd_fixture import BIN, Ftd, alpaca_rows, wait_until
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ftd.v1 import job_pb2 as jobs

PROMPTS = ["Below is an instruction", "the quick brown fox jumps over", "Repeat word number 7 in the list."]
TEMPLATE = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Which fox is quick?"}]
NEW_TOKENS = 12


@pytest.fixture(scope="module")
def chat_model(model, tmp_path_factory):
    directory = shutil.copytree(model, tmp_path_factory.mktemp("chat") / "tiny")
    (directory / "chat_template.jinja").write_text(TEMPLATE)
    return directory


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    """A file of texts and messages."""
    path = tmp_path_factory.mktemp("prompts") / "prompts.json"
    path.write_text(json.dumps([*PROMPTS, MESSAGES]))
    return path


def train(out, model, dataset, mode, *flags):
    """Runs ft-train; its records of the steps, without times, and its samples."""
    command = [BIN / "ft-train", "--mode", mode, "--model", model, "--dataset", dataset, "--seq_length", "96", "--batch_size", "4",
               "--output_dir", out, *flags]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    keep = ("step", "loss", "entropy", "grad_norm", "mean_token_accuracy", "tokens_total")
    return [{key: step[key] for key in keep} for step in steps], samples_of(out), done.stderr


def samples_of(result):
    path = result / "samples.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [{key: value for key, value in line.items() if key != "time"} for line in lines]


def greedy(model, result, prompts, new_tokens, mode):
    """[(text, tokens, finish reason)] by transformers, with PEFT for an adapter."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(result))
    network = AutoModelForCausalLM.from_pretrained(str(result if mode == "full" else model), dtype=torch.float32)
    if mode != "full":
        network = PeftModel.from_pretrained(network, str(result))
    network.eval()
    answers = []
    for prompt in prompts:
        if isinstance(prompt, list):
            text = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
            ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
        else:
            ids = tokenizer(prompt, return_tensors="pt").input_ids
        with torch.no_grad():
            out = network.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new_tokens, do_sample=False)[0, ids.shape[1]:]
        stopped = out[-1].item() == tokenizer.eos_token_id
        answers.append((tokenizer.decode(out, skip_special_tokens=True), len(out), "stop" if stopped else "length"))
    return answers


CASES = {
    "lora": ("lora", "--lora_dropout", 0.2),
    "qlora": ("qlora", "--lora_dropout", 0.2, "--eval_split", 0.25, "--eval_steps", 2),
    "full": ("full",),
    # The weights that are multiplied with are copies of float32 masters.
    "bfloat16": ("full", "--dtype", "bfloat16", "--gradient_accumulation_steps", 2),
}


@pytest.mark.parametrize("case", CASES)
def test_training_is_the_same_bit_for_bit(case, chat_model, dataset, prompts, tmp_path):
    flags = [*CASES[case], "--learning_rate", 2e-3, "--max_steps", 7]
    plain, none, _ = train(tmp_path / "plain", chat_model, dataset, *flags)
    steps, samples, said = train(tmp_path / "sampled", chat_model, dataset, *flags, "--sample_prompts", prompts, "--sample_steps", 3,
                                 "--sample_max_new_tokens", NEW_TOKENS)
    assert not none and [(s["step"], s["index"]) for s in samples] == [(step, index) for step in (3, 6, 7) for index in range(4)]
    assert steps == plain
    assert weights(tmp_path / "sampled") == weights(tmp_path / "plain")
    assert [s["prompt"] for s in samples[:3]] == PROMPTS and json.loads(samples[3]["prompt"]) == MESSAGES
    # The model has changed in between, and what it answers as well.
    assert [s["text"] for s in samples[:4]] != [s["text"] for s in samples[-4:]]
    assert 'step 7: sample 1: "the quick brown fox jumps over" -> "' in said
    if case in ("lora", "full"):
        expected = greedy(chat_model, tmp_path / "sampled", [*PROMPTS, MESSAGES], NEW_TOKENS, case)
        assert [(s["text"], s["tokens"], s["finish_reason"]) for s in samples[-4:]] == expected


def once_a_step(samples):
    return [(s.step, s.index) for s in samples]


def test_told_of_everywhere_and_once_over_a_kill(model, dataset, tmp_path):
    flags = dict(max_steps=60, save_steps=20, sample_steps=15, sample_max_new_tokens=NEW_TOKENS, learning_rate=1e-3, lora_dropout=0.1)
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(PROMPTS[:2]) + "\n\n")
    expected = [(step, index) for step in (15, 30, 45, 60) for index in range(2)]
    with Ftd() as ftd:
        unbroken = ftd.wait(submit(ftd, model, dataset, sample_prompts=file, **flags), "SUCCEEDED")
        messages = list(ftd.watch(unbroken.id))
        samples = [m.sample for m in messages if m.HasField("sample")]
        assert once_a_step(samples) == expected and all(s.time.seconds > 0 for s in samples)
        order = [m.sample.step if m.HasField("sample") else m.step.step for m in messages if m.WhichOneof("event") in ("sample", "step")]
        assert order == sorted(order), "a sample follows the step that it belongs to"
        assert list(unbroken.last_samples) == samples[-2:]
        assert list(unbroken.spec.sample_prompts) == PROMPTS[:2] and unbroken.spec.sample_steps == 15
        # People see all of it, whatever bytes a random model makes up.
        lines = [line for line in ftd.ftctl("watch", unbroken.id).stdout.splitlines() if line.startswith("sample ")]
        assert len(lines) == len(expected)
        assert all(line.startswith(f'sample step {s.step}  "{s.prompt}" -> "') for line, s in zip(lines, samples))
        shown = ftd.ftctl("show", unbroken.id).stdout
        assert "samples" in shown and "at step 60" in shown and f'"{PROMPTS[1]}" -> "' in shown and "sample steps 15" in shown
        as_json = json.loads(ftd.ftctl("show", unbroken.id, "-o", "json").stdout)["last_samples"]
        assert [(s["step"], s["text"]) for s in as_json] == [(s.step, s.text) for s in samples[-2:]]
        assert f'sample 0: "{PROMPTS[0]}" -> "' in ftd.ftctl("logs", unbroken.id).stdout
        events = EventAccumulator(f"{unbroken.result_dir}/runs").Reload()
        assert events.PluginTagToContent("text").keys() == {"samples/0", "samples/1"}
        told = [(e.step, e.tensor_proto.string_val[0].decode()) for e in events.Tensors("samples/1")]
        assert [step for step, _ in told] == [15, 30, 45, 60] and PROMPTS[1] in told[0][1]
        # A run whose worker is killed repeats what came after its checkpoint, and says the same.
        job = submit(ftd, model, dataset, sample_prompts=file, **flags)
        wait_for_step(ftd, job, 33)
        os.kill(ftd.worker_pid(job), signal.SIGKILL)
        done = ftd.wait(job, "SUCCEEDED")
        assert len(done.attempts) == 2
        assert samples_of(pathlib.Path(done.result_dir)) == samples_of(pathlib.Path(unbroken.result_dir))
        assert [(s.text, s.tokens) for s in done.last_samples] == [(s.text, s.tokens) for s in unbroken.last_samples]


def test_stopped_within_an_answer(ftd, model, dataset, tmp_path):
    """The answers that were cut off are given when the job continues, at the step that they belong to."""
    file = tmp_path / "prompts.txt"
    file.write_text("the quick brown fox\n" * 3)
    job = submit(ftd, model, dataset, max_steps=3, sample_prompts=file, sample_steps=2, sample_max_new_tokens=2000)
    wait_until(lambda: (p := ftd.job(job).progress).phase == jobs.Progress.EVAL and p.unit == "tokens", "an answer")
    at = ftd.job(job).last_step.step
    assert ftd.terminate() == 0
    ftd.start()
    shown = ftd.job(job)
    assert not [s for s in shown.last_samples if s.step == at] and shown.checkpoints[-1].step == at
    done = ftd.wait(job, "SUCCEEDED")
    assert len(done.attempts) == 2
    assert once_a_step([m.sample for m in ftd.watch(job) if m.HasField("sample")]) == [(step, index) for step in (2, 3) for index in range(3)]


def test_after_an_early_end(chat_model, dataset, prompts, tmp_path):
    # At that rate an evaluation is never better than the first, on any processor.
    steps, samples, _ = train(tmp_path / "out", chat_model, dataset, "lora", "--learning_rate", 1e-30, "--max_steps", 40, "--eval_split", 0.25,
                              "--eval_steps", 1, "--early_stopping_patience", 3, "--sample_prompts", prompts, "--sample_steps", 1000)
    assert len(steps) < 40 and {s["step"] for s in samples} == {len(steps)}


def submit_spec(ftd, model, **fields):
    spec = ftd.spec(model, alpaca_rows(8), max_steps=1)
    spec.MergeFrom(jobs.JobSpec(**fields))
    return ftd.submit(spec)


def test_refused_at_submit(ftd, model, chat_model):
    long = "the quick brown fox " * 1000
    messages = json.dumps(MESSAGES)
    cases = [(dict(sample_steps=5), "sample_steps", "sample_prompts"), (dict(sample_max_new_tokens=5), "sample_max_new_tokens", "sample_prompts"),
             (dict(sample_prompts=["a"] * 17), "sample_prompts", "16"), (dict(sample_prompts=["a"], sample_steps=0), "sample_steps", "1"),
             (dict(sample_prompts=["a"], sample_max_new_tokens=5000), "sample_max_new_tokens", "4096"),
             (dict(sample_prompts=["a", ""]), "sample_prompts", "prompt 2"), (dict(sample_prompts=["a", long]), "sample_prompts", "prompt 2"),
             (dict(sample_prompts=['[{"content": "Hi"}]']), "sample_prompts", "prompt 1")]
    for fields, name, said in cases:
        code, info, violated, message = error_of(lambda: submit_spec(ftd, chat_model, **fields))
        assert (code, info.reason, violated) == ("INVALID_ARGUMENT", "FIELD_INVALID", [f"spec.{name}"]), message
        assert said in message
    code, info, _, message = error_of(lambda: submit_spec(ftd, model, sample_prompts=[messages]))
    assert (code, info.reason) == ("FAILED_PRECONDITION", "MODEL_UNSUPPORTED") and "sample_prompts" in message
    # A list that is not of messages is a text.
    submit_spec(ftd, model, sample_prompts=["[1, 2, 3,"])


def test_files(ftd, chat_model, dataset, tmp_path):
    hello = [{"role": "user", "content": "Hi"}]
    files = {"a.txt": ("one\r\n\n  two \n", ["one", "  two "]),
             "a.json": ('["one", {"messages": [{"role": "user", "content": "Hi"}]}]', ["one", hello]),
             "b.json": ('[{"role": "user", "content": "Hi"}]', [hello]),
             "a.jsonl": ('"one"\n{"prompt": "two"}\n[{"role": "user", "content": "Hi"}]\n', ["one", "two", hello])}
    bad = {"bad.json": ('["one", 2]', "bad.json: prompt 2 is neither"), "bad.jsonl": ('"one"\n{"text": ', "bad.jsonl: line 2 is neither"),
           "empty.txt": ("\n", "has no prompt"), "latin1.txt": (b"caf\xe9\n", "not UTF-8")}
    ftd.ftctl("drain")  # the jobs stay where they are
    for name, (text, prompts) in files.items():
        (tmp_path / name).write_text(text)
        given = ftd.job(submit(ftd, chat_model, dataset, max_steps=1, sample_prompts=tmp_path / name)).spec
        assert [json.loads(p) if p.startswith("[") else p for p in given.sample_prompts] == prompts
        assert (given.sample_steps, given.sample_max_new_tokens) == (100, 64)
    for name, (text, said) in bad.items():
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        done = ftd.ftctl("submit", "--mode", "lora", "--model", chat_model, "--dataset", dataset, "--sample-prompts", tmp_path / name, check=False)
        assert done.returncode == 2 and said in done.stderr, done.stderr
    (tmp_path / "job.yaml").write_text(f"mode: lora\nmodel: {chat_model}\ndataset: {dataset}\nsample_prompts:\n- one\n- '{json.dumps(hello)}'\n"
                                       "- - role: user\n    content: Hi\nsample_steps: 3\n")
    given = ftd.job(ftd.ftctl("submit", "--quiet", "-f", tmp_path / "job.yaml").stdout.strip()).spec
    assert given.sample_prompts[0] == "one" and given.sample_steps == 3
    assert [json.loads(prompt) for prompt in given.sample_prompts[1:]] == [hello, hello]
