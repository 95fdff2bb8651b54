"""vLLM on the results of real jobs, against transformers and PEFT. `./dev soak vllm` runs it: its environment is six gigabytes.

FTD_VLLM_PYTHON names an interpreter that has vLLM for CPUs; else an environment is made once in the cache, of requirements-vllm.txt.
"""
import contextlib
import json
import os
import shlex
import signal
import subprocess
import urllib.error
import urllib.request

import numpy as np
import pytest
import torch
import transformers
from cached_environment import interpreter
from conftest import submit
from ftd_fixture import REPO, Ftd, alpaca_rows, free_port, wait_until, write_jsonl
from peft import PeftModel
from results_test import commands
from tiny_model import make_tiny_llama

PACKAGES = [line for line in (REPO / "requirements-vllm.txt").read_text().splitlines() if not line.startswith("#")]
COUNT = 16
# A small cache, no compiler, the documents' float32, nothing sent anywhere.
SETTINGS = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
FLAGS = ["--dtype", "float32", "--max-model-len", "256", "--enforce-eager", "--host", "127.0.0.1"]
# The program `vllm`, which asks for the version of `vllm`: its package for CPUs has another name, and "cpu" is in neither's version.
VLLM = ("import importlib.metadata as metadata; version = metadata.version\n"
        "metadata.version = lambda name: version('vllm-cpu') + '+cpu' if name == 'vllm' else version(name)\n"
        "from vllm.entrypoints.cli.main import main; main()")


@pytest.fixture(scope="session")
def python():
    return interpreter("FTD_VLLM_PYTHON", "vllm", PACKAGES, "--no-deps", "--no-cache-dir")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`base`, and what the documents' commands make of a LoRA job and of a full one: `adapter`, `merged`, `model`."""
    folder = tmp_path_factory.mktemp("results")
    base = make_tiny_llama(folder / "base", hidden=256, intermediate=512, seed=5)  # on CPUs vLLM refuses heads of 16 features
    rows = write_jsonl(folder / "rows.jsonl", alpaca_rows(32))
    with Ftd() as ftd:
        for mode in ("lora", "full"):
            job = submit(ftd, base, rows, mode=mode, max_steps=30, learning_rate=0.003, name=mode)
            ftd.wait(job, "SUCCEEDED")
        ftd.ftctl("get", "lora", folder / "adapter")
        ftd.ftctl("export", "lora", folder / "merged")
        ftd.ftctl("get", "full", folder / "model")
    return folder


@pytest.fixture(scope="module")
def prompts():
    return np.random.RandomState(int(os.environ.get("FTD_TEST_SEED", "0"))).randint(2, 200, (8, 12)).tolist()


@pytest.fixture
def environment(tmp_path):
    return {**os.environ, **SETTINGS, "VLLM_CACHE_ROOT": str(tmp_path / "cache"), "PYTHONPATH": ""}


def expected(model, prompts):
    ids = torch.tensor(prompts)
    with torch.no_grad():
        rows = model.eval().generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=COUNT, do_sample=False,
                                     eos_token_id=None, pad_token_id=0)
    return rows[:, ids.shape[1]:].tolist()


def load(directory):
    return transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)


@pytest.mark.parametrize("model,adapter", [("base", "adapter"), ("merged", None), ("model", None)], ids=["lora", "merged", "full"])
def test_tokens(model, adapter, python, folder, prompts, environment, tmp_path):
    """Of transformers, and of PEFT for the adapter over its base; the base says others."""
    asked, answered = tmp_path / "prompts.json", tmp_path / "answers.json"
    asked.write_text(json.dumps(prompts))
    command = [python, REPO / "tests/e2e/vllm_answers.py", asked, answered, str(COUNT), folder / model]
    subprocess.run(command + ([folder / adapter] if adapter else []), env=environment, check=True, timeout=600)
    theirs = PeftModel.from_pretrained(load(folder / model), folder / adapter) if adapter else load(folder / model)
    want = expected(theirs, prompts)
    assert json.loads(answered.read_text()) == want
    assert expected(load(folder / "base"), prompts) != want and len({tuple(row) for row in want}) > 4


def answers(process, port):
    assert process.poll() is None, "vLLM ended"
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.mark.parametrize("number,name", [(0, "merged"), (1, "first"), (1, "base")])
def test_served(number, name, python, folder, environment):
    """docs/results.md's commands, with flags for this machine: the text of the documents' prompt by each name that is served."""
    port = free_port()
    _, *serve = shlex.split(commands("vllm")[number])
    [curl] = commands("curl")
    process = subprocess.Popen([python, "-c", VLLM, *serve, *FLAGS, "--port", str(port)], cwd=folder, env=environment,
                               start_new_session=True)
    try:
        wait_until(lambda: answers(process, port), "vLLM to answer", 300, 0.5)
        line = curl.replace("localhost:8000", f"127.0.0.1:{port}").replace('"first"', f'"{name}"')
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
    model = load(folder / ("base" if name == "base" else "merged"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "base")
    ids = tokenizer("The quick brown", return_tensors="pt")
    rows = model.generate(**ids, max_new_tokens=8, do_sample=False)
    text = tokenizer.decode(rows[0][ids["input_ids"].shape[1]:], skip_special_tokens=True)
    assert json.loads(done.stdout)["choices"][0]["text"] == text
