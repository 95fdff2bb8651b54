"""`ftctl generate` and `ftctl chat` by the daemon: the texts of transformers and PEFT, and what happens to those who wait."""
import concurrent.futures
import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import termios
import time

import grpc
import pytest
import transformers
from conftest import ENDLESS, submit, wait_for_step
from ftd_fixture import BIN, Ftd, api, processes_under, wait_until
from helpers import expect_error
from mounts import namespace

Code = grpc.StatusCode
NEW_TOKENS = 24
PROMPT = "the quick brown fox"


@pytest.fixture(scope="module")
def ftd():
    with Ftd() as daemon:
        yield daemon


@pytest.fixture(scope="module")
def job(ftd, chatty, dataset):
    """A LoRA job that says other things than its base."""
    job = submit(ftd, chatty, dataset, max_steps=6, learning_rate=0.05, name="first")
    return ftd.wait(job, "SUCCEEDED")


def theirs(model, tokenizer, ids):
    import torch

    with torch.no_grad():
        rows = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), do_sample=False,
                              max_new_tokens=NEW_TOKENS, pad_token_id=0)
    return tokenizer.decode(rows[0][len(ids):], skip_special_tokens=True)


def base_and_tuned(chatty, job):
    import peft

    base = transformers.AutoModelForCausalLM.from_pretrained(chatty).eval()
    other = transformers.AutoModelForCausalLM.from_pretrained(chatty).eval()
    return base, peft.PeftModel.from_pretrained(other, job.result_dir).eval()


def generate(ftd, stub=None, **request):
    return (stub or ftd.stub).Generate(api.GenerateRequest(**request), timeout=60)


def text_of(stream):
    return "".join(response.piece.text for response in stream)


def endless(ftd, stub=None, **source):
    """A stream whose answer has begun and is long."""
    stream = generate(ftd, stub, prompt=PROMPT, max_new_tokens=1900, ignore_eos=True, temperature=1.0, seed=1, **source)
    next(response for response in stream if response.HasField("piece"))
    return stream


def hosts(ftd):
    return processes_under(ftd.state_dir / "generation")


def test_answers_are_those_of_transformers_and_peft(ftd, chatty, job, tmp_path):
    tokenizer = transformers.AutoTokenizer.from_pretrained(chatty)
    base, tuned = base_and_tuned(chatty, job)
    ids = tokenizer(PROMPT)["input_ids"]
    expected = [theirs(model, tokenizer, ids) for model in (base, tuned)]
    assert expected[0] != expected[1]
    limit = ["--max-new-tokens", NEW_TOKENS]
    both = json.loads(ftd.ftctl("generate", "first", "--base", "--prompt", PROMPT, *limit, "-o", "json").stdout)
    assert [(a["source"], a["text"], a["device"], a["prompt_tokens"]) for a in both] == [
        ("base", expected[0], "cpu", len(ids)), ("first", expected[1], "cpu", len(ids))]
    assert ftd.ftctl("generate", job.id, "--prompt", PROMPT, *limit).stdout == expected[1] + "\n"
    assert ftd.ftctl("generate", chatty, *limit, input=PROMPT + "\n").stdout == expected[0] + "\n"
    messages = [{"role": "user", "content": "rain?"}]
    (tmp_path / "messages.json").write_text(json.dumps(messages))
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    answer = ftd.ftctl("generate", "first", "--messages", tmp_path / "messages.json", *limit).stdout
    assert answer == theirs(tuned, tokenizer, ids) + "\n"


def test_a_conversation_has_a_history(ftd, chatty, job):
    tokenizer = transformers.AutoTokenizer.from_pretrained(chatty)
    _, tuned = base_and_tuned(chatty, job)
    messages, answers = [{"role": "system", "content": "Be short."}], []
    for question in ("which fox?", "a lazy dog"):
        messages.append({"role": "user", "content": question})
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
        answers.append(theirs(tuned, tokenizer, ids))
        messages.append({"role": "assistant", "content": answers[-1]})
    args = ["chat", "first", "--system", "Be short.", "--max-new-tokens", NEW_TOKENS]
    said = ftd.ftctl(*args, input="something else\n/new\nwhich fox?\n\na lazy dog\n/quit\nmore\n").stdout
    assert said.endswith("".join(answer + "\n" for answer in answers)), (said, answers)


def test_draws_follow_the_seed_and_stops_end(ftd, job):
    def drawn(**options):
        return text_of(generate(ftd, job=job.id, prompt=PROMPT, max_new_tokens=NEW_TOKENS, **options))

    greedy = drawn()
    assert drawn(temperature=1.0, seed=5) == drawn(temperature=1.0, seed=5) != drawn(temperature=1.0, seed=6)
    assert drawn(temperature=1.0, top_k=1) == greedy
    stop = greedy[3:6]
    *_, last = generate(ftd, job=job.id, prompt=PROMPT, max_new_tokens=NEW_TOKENS, stop=[stop])
    assert drawn(stop=[stop]) == greedy[: greedy.index(stop)] and last.outcome.finish_reason == "stop"


def test_many_are_answered_together_as_alone(ftd, job):
    requests = [{"prompt": PROMPT, "temperature": 1.0, "seed": seed, "max_new_tokens": 60} for seed in range(6)]

    def answer(request):
        return text_of(generate(ftd, job=job.id, **request))

    alone = [answer(request) for request in requests]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert list(pool.map(answer, requests)) == alone
    assert len(hosts(ftd)) <= 2  # the job's, and the base's of a test before


def test_what_cannot_be_answered_says_why(ftd, model, chatty, job, dataset):
    def refused(code, reason, **request):
        expect_error(lambda: generate(ftd, **request), code, reason)

    refused(Code.NOT_FOUND, "JOB_NOT_FOUND", job="nobody", prompt="a")
    refused(Code.NOT_FOUND, "MODEL_NOT_FOUND", model="/nowhere", prompt="a")
    refused(Code.INVALID_ARGUMENT, "FIELD_INVALID", prompt="a")
    refused(Code.INVALID_ARGUMENT, "FIELD_INVALID", job=job.id)
    refused(Code.INVALID_ARGUMENT, "FIELD_INVALID", job=job.id, prompt="a", top_p=2.0)
    refused(Code.INVALID_ARGUMENT, "FIELD_INVALID", job=job.id, prompt="a", stop=[""])
    refused(Code.INVALID_ARGUMENT, "FIELD_INVALID", job=job.id, prompt="a " * 3000)
    refused(Code.INVALID_ARGUMENT, "FIELD_INVALID", job=job.id, messages_json='{"role": "user"}')
    refused(Code.FAILED_PRECONDITION, "MODEL_UNSUPPORTED", model=str(model), messages_json='[{"role": "user", "content": "a"}]')
    done = ftd.ftctl("generate", "nobody", "--prompt", "a", check=False)
    assert done.returncode == 66 and "no job nobody" in done.stderr, done.stderr
    waiting = submit(ftd, chatty, dataset, max_steps=ENDLESS)
    refused(Code.FAILED_PRECONDITION, "STATE_CONFLICT", job=waiting, prompt="a")
    wait_for_step(ftd, waiting, 1)
    assert text_of(generate(ftd, job=job.id, prompt=PROMPT, max_new_tokens=4))  # beside a job that trains
    assert text_of(generate(ftd, job=waiting, base=True, prompt=PROMPT, max_new_tokens=4))
    ftd.ftctl("cancel", waiting)
    ftd.wait(waiting, "CANCELLED")


def on_a_terminal(ftd, *args):
    main, side = pty.openpty()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("FTD_", "FTCTL_"))} | {"TERM": "xterm"}
    process = subprocess.Popen([str(BIN / "ftctl"), "--address", ftd.address, *map(str, args)], stdin=side, stdout=side,
                               stderr=side, env=env, start_new_session=True,
                               preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(side)
    return process, main


class Screen:
    """What a terminal was sent."""

    def __init__(self, descriptor):
        self.descriptor, self.text = descriptor, ""

    def until(self, condition, seconds=60):
        end = time.monotonic() + seconds
        while not condition(self.text):
            assert time.monotonic() < end, self.text
            if select.select([self.descriptor], [], [], 0.2)[0]:
                self.text += os.read(self.descriptor, 65536).decode(errors="replace")


def test_ctrl_c_stops_an_answer_and_then_the_chat(ftd, job):
    process, main = on_a_terminal(ftd, "chat", "first", "--max-new-tokens", 1900, "--temperature", 1, "--seed", 3)
    screen = Screen(main)
    screen.until(lambda text: "> " in text)
    os.write(main, b"rain\n")
    screen.until(lambda text: len(text) > 60)
    os.write(main, b"\x03")
    screen.until(lambda text: text.rstrip(" ").endswith("\n>"))
    assert process.poll() is None
    os.write(main, b"\x03")
    assert process.wait(timeout=20) == 0
    os.close(main)


def test_a_client_that_goes_and_a_worker_that_dies(ftd, job):
    gone = endless(ftd, job=job.id)
    gone.cancel()
    broken = endless(ftd, job=job.id)
    pids = hosts(ftd)
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    expect_error(lambda: broken, Code.UNAVAILABLE, "GENERATION_ENDED")
    assert text_of(generate(ftd, job=job.id, prompt=PROMPT, max_new_tokens=4))


def test_models_give_way_when_idle_and_end_with_the_daemon(model, chatty):
    with Ftd(args=["--generate-models", 1, "--generate-idle-seconds", 2]) as ftd:
        busy = endless(ftd, model=str(chatty))
        expect_error(lambda: generate(ftd, model=str(model), prompt=PROMPT), Code.RESOURCE_EXHAUSTED, "TOO_MANY_MODELS")
        busy.cancel()
        wait_until(lambda: text_of_or_none(ftd, model), "the other model to give way")
        assert len(hosts(ftd)) == 1
        wait_until(lambda: not hosts(ftd), "the idle model to end")
        with ftd.new_channel() as channel:  # the fixture closes its own
            broken = endless(ftd, stub=type(ftd.stub)(channel), model=str(chatty))
            assert ftd.terminate() == 0
            expect_error(lambda: broken, Code.UNAVAILABLE, "STOPPING")
        assert not hosts(ftd)
        ftd.start()
        assert text_of(generate(ftd, model=str(chatty), prompt=PROMPT, max_new_tokens=4))
        ftd.kill()
        wait_until(lambda: not hosts(ftd), "the worker to end with its daemon")


def text_of_or_none(ftd, model):
    try:
        return text_of(generate(ftd, model=str(model), prompt=PROMPT, max_new_tokens=4))
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
        return None


class GpuFtd(Ftd):
    """ftd that sees the device nodes of a GPU, which its workers then use the CPU for."""

    SCRIPT = ('mkdir -p "$0" && mount --rbind /dev "$0" && mount -t tmpfs none /dev && mkdir /dev/shm && ln -s /proc/self/fd /dev/fd && '
              'for f in null zero random urandom; do touch /dev/$f && mount --bind "$0/$f" /dev/$f; done && '
              'touch /dev/nvidiactl /dev/nvidia0 && exec "$@"')

    def command(self):
        return [*namespace(), "sh", "-c", self.SCRIPT, str(self.root / "dev"), *super().command()]


@pytest.mark.skipif(not namespace(), reason="needs a mount namespace of its own")
def test_a_job_takes_the_gpu_from_who_generates(chatty, dataset):
    with GpuFtd() as ftd:
        ftd.stub.DrainQueue(api.DrainQueueRequest())  # so that the job starts at once when it is to
        job = submit(ftd, chatty, dataset, max_steps=ENDLESS, dtype="float32")
        stream = endless(ftd, model=str(chatty))
        ftd.stub.UndrainQueue(api.UndrainQueueRequest())
        expect_error(lambda: stream, Code.UNAVAILABLE, "GENERATION_ENDED")
        wait_for_step(ftd, job, 1)
        first, *_, last = generate(ftd, model=str(chatty), prompt=PROMPT, max_new_tokens=4)
        assert first.loading.device == "cpu" and last.outcome.device == "cpu"
        ftd.ftctl("cancel", job)
        ftd.wait(job, "CANCELLED")
        first, *_ = generate(ftd, model=str(chatty), prompt=PROMPT, max_new_tokens=4)
        assert first.loading.device == "cuda"
