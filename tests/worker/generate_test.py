"""`ft-worker generate` against transformers' `generate`: the same greedy tokens, with every family, an adapter and a chat
template; and what it answers a daemon over a socket against it. Models are those of tests/lib/gguf/gguf_models.py, tiny with random weights."""
import concurrent.futures
import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import time

import pytest
import torch
import transformers
from ftd_fixture import BIN
from tiny_model import add_chat_template, quieten_transformers

sys.path[:0] = [str(pathlib.Path(__file__).parents[1] / "lib" / "gguf")]
import gguf_models  # noqa: E402

NEW_TOKENS = 20
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}  # a second one would mostly wait: the models are tiny
# Ten lengths of five prompts: the longest go past windows and original contexts, some only while they are continued.
LENGTHS = [1, 2, 5, 9, 12, 25, 38, 45, 64, 70]
NAMES = [name for name in gguf_models.CASES if name != "phi3-short-partial"]
quieten_transformers()


def prompts(seed):
    generator = random.Random(seed)
    return [[generator.randrange(2, 380) for _ in range(length)] for length in LENGTHS for _ in range(5)]


def worker(model_dir, *args, ids=None):
    """The answers, in the order of the prompts."""
    if ids is not None:
        path = pathlib.Path(model_dir).parent / f"{pathlib.Path(model_dir).name}.json"
        path.write_text(json.dumps(ids))
        args = (*args, "--input", path)
    run = subprocess.run([BIN / "ft-worker", "generate", "--model", model_dir, "--cpu", "-o", "json", "--max-new-tokens",
                          str(NEW_TOKENS), *map(str, args)], capture_output=True, text=True, timeout=300, env=ONE_THREAD)
    assert run.returncode == 0, run.stderr[-2000:]
    return [json.loads(line) for line in run.stdout.splitlines()]


def load(model_dir):
    return transformers.AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32, attn_implementation="eager").eval()


def generated(model, ids):
    """What transformers continues each prompt with. Those of one length are a batch, which needs no padding."""
    answers = [None] * len(ids)
    for length in sorted({len(one) for one in ids}):
        places = [i for i, one in enumerate(ids) if len(one) == length]
        batch = torch.tensor([ids[i] for i in places])
        rows = model.generate(batch, attention_mask=torch.ones_like(batch), do_sample=False, max_new_tokens=NEW_TOKENS,
                              pad_token_id=0)
        for i, row in zip(places, rows[:, length:].tolist()):
            answers[i] = row[: row.index(0) + 1] if 0 in row else row
    return answers


def is_tie(model, ids, ours, theirs):
    """Whether the first tokens that differ are as likely as each other, to float32's precision."""
    at = next(i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b)
    logits = model(torch.tensor([ids + theirs[:at]])).logits[0, -1]
    return abs(logits[ours[at]] - logits[theirs[at]]) < 2e-5


def assert_same(model, ids, answers):
    expected = generated(model, ids)
    assert [len(a["token_ids"]) for a in answers] and len(answers) == len(expected)
    odd = [i for i, answer in enumerate(answers) if answer["token_ids"] != expected[i]]
    ties = [i for i in odd if is_tie(model, ids[i], answers[i]["token_ids"], expected[i])]
    assert odd == ties and len(ties) <= 1, [(i, ids[i], answers[i]["token_ids"], expected[i]) for i in odd][:2]


@pytest.fixture(autouse=True, scope="module")
def no_gradients():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def llama(root):
    return gguf_models.make(root / "plain", *gguf_models.CASES["llama"], seed=1)


def test_every_family_gives_the_tokens_of_transformers(root):
    dirs = {name: gguf_models.make(root / name, *gguf_models.CASES[name], seed=len(name)) for name in NAMES}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:  # the programs run while transformers computes
        answers = {name: pool.submit(worker, dirs[name], ids=prompts(name)) for name in NAMES}
        for name in NAMES:
            print(name)
            assert_same(load(dirs[name]), prompts(name), answers[name].result())


def test_an_adapter_is_used_beside_the_base(root):
    import peft

    for name in ("llama-biases", "qwen3_5"):
        base = gguf_models.make(root / f"base-{name}", *gguf_models.CASES[name], seed=4)
        config = peft.LoraConfig(r=4, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
        model = peft.get_peft_model(load(base), config)
        generator = torch.Generator().manual_seed(3)
        for parameter_name, parameter in model.named_parameters():
            if "lora_" in parameter_name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
        adapter = root / f"adapter-{name}"
        model.save_pretrained(adapter)
        ids = prompts(name)[::5]
        answers = worker(base, "--adapter", adapter, ids=ids)
        assert_same(model.eval(), ids, answers)
        assert [a["token_ids"] for a in answers] != [a["token_ids"] for a in worker(base, ids=ids)]


def test_a_conversation_is_asked_for_by_the_models_template(root, llama):
    tokenizer = add_chat_template(llama)
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "the quick brown fox?"}]
    file = root / "messages.json"
    file.write_text(json.dumps(messages))
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    answer, = worker(llama, "--messages", file)
    assert answer["prompt_tokens"] == len(ids)
    assert_same(load(llama), [ids], [answer])


def test_text_ends_before_a_stop_string(llama):
    prompt = "the quick brown fox"
    whole, = worker(llama, "--prompt", prompt)
    assert whole["finish_reason"] == "length" and len(whole["text"]) > 12 and whole["device"] == "cpu"
    stop = whole["text"][5:8]
    cut, = worker(llama, "--prompt", prompt, "--stop", stop)
    assert cut["text"] == whole["text"][: whole["text"].index(stop)] and cut["finish_reason"] == "stop"
    tokenizer = transformers.AutoTokenizer.from_pretrained(llama)
    assert tokenizer.decode(whole["token_ids"], skip_special_tokens=True) == whole["text"]


def test_drawn_tokens_follow_the_seed(llama):
    def drawn(*args):
        return worker(llama, "--prompt", "the", "--temperature", 1, *args)[0]["token_ids"]

    assert drawn("--seed", 1) == drawn("--seed", 1) != drawn("--seed", 2)
    greedy = worker(llama, "--prompt", "the")[0]["token_ids"]
    assert drawn("--top-k", 1) == greedy == drawn("--min-p", 1) == drawn("--top-p", 1e-6)


def test_what_is_out_of_range_is_named(llama):
    run = subprocess.run([BIN / "ft-worker", "generate", "--model", llama, "--top-p", "0", "--max-new-tokens", "0"],
                         capture_output=True, text=True, timeout=60)
    assert run.returncode == 65, run
    for field in ("top_p", "max_new_tokens", "prompt"):
        assert field in run.stderr


class Server:
    """A worker that a daemon, which is this process, has started to generate; as a context, ended by SIGTERM."""

    def __init__(self, directory, model_dir, idle_seconds=60):
        directory.mkdir()
        self.path = directory / "generation.sock"
        (directory / "request.json").write_text(json.dumps({
            "spec": {"mode": "FULL", "model": str(model_dir), "dtype": "FLOAT32"}, "model_dir": str(model_dir),
            "generation": {"daemon_pid": os.getpid(), "idle_seconds": idle_seconds, "on_cpu": True}}))
        self.process = subprocess.Popen([BIN / "ft-worker", "attempt", "--dir", directory], stderr=subprocess.PIPE, text=True,
                                        env=ONE_THREAD)
        self._wait()

    def _wait(self):
        """Until it listens."""
        deadline = time.monotonic() + 60
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(self.path)) == 0:
                    return
            assert self.process.poll() is None and time.monotonic() < deadline, self.process.stderr.read()
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate(timeout=60)

    def ask(self, line=None, **request):
        """The open connection, as a file to read replies from."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(120)
        connection.connect(str(self.path))
        connection.sendall((line or json.dumps(request)).encode() + b"\n")
        return connection.makefile()

    def answer(self, **request):
        """The text, and the last reply."""
        *pieces, last = map(json.loads, self.ask(**request))
        return "".join(piece["text"] for piece in pieces), last


@pytest.fixture(scope="module")
def server(root, llama):
    with Server(root / "generation", llama) as running:
        yield running


def test_a_server_streams_what_the_command_prints(server, llama):
    whole, = worker(llama, "--prompt", "the quick brown fox")
    reader = server.ask(prompt="the quick brown fox", max_new_tokens=NEW_TOKENS)
    replies = [json.loads(line) for line in reader]
    assert [reply["token"] for reply in replies[:-1]] == whole["token_ids"]
    assert "".join(reply["text"] for reply in replies[:-1]) == whole["text"]
    assert replies[-1] == {"finish_reason": "length", "prompt_tokens": whole["prompt_tokens"], "new_tokens": NEW_TOKENS, "device": "cpu"}


def test_clients_are_answered_together_as_alone(server):
    requests = [{"prompt": prompt, "max_new_tokens": 200 + i, "temperature": 1, "seed": i, "ignore_eos": True}
                for i, prompt in enumerate(["the", "seven green hills", "rain falls on"])]
    alone = [server.answer(**request) for request in requests]
    readers = [server.ask(**request) for request in requests]
    gone = server.ask(prompt="a lazy dog", max_new_tokens=1500, ignore_eos=True)
    assert "token" in gone.readline()
    gone.close()  # its answer is no longer computed
    for reader, (text, last) in zip(readers, alone):
        *pieces, end = map(json.loads, reader)
        assert ("".join(piece["text"] for piece in pieces), end) == (text, last)


def test_a_request_that_is_wrong_is_told_so(server):
    for line, named in [("[]", "not a JSON object"), ('{"prompt": 3}', "prompt"), ('{"prompt": "a", "top_p": 2}', "top_p"),
                        ('{"prompt": "a", "max_tokens": 3}', "max_tokens"), ("{}", "prompt"), ('{"prompt_ids": [9999]}', "9999"),
                        ('{"prompt": "a", "stop": [""]}', "stop"), ('{"messages": [{"role": 3}]}', "role")]:
        reply, = map(json.loads, server.ask(line))
        assert named in reply["error"], (line, reply)


def test_a_server_ends_when_nobody_asks(root, llama):
    server = Server(root / "idle", llama, idle_seconds=1)
    text, _ = server.answer(prompt="the", max_new_tokens=4)
    assert text and server.process.wait(timeout=60) == 0
    assert not server.path.exists()
