"""The demo's model, converted by examples/smollm2.py, is a language model, and ftd reads it as transformers does."""
import math
import subprocess
import sys

import pytest
import torch
from case import ROOT, fetch
from reference import load_model, logits_of
from tolerance import LOGITS, logit_distance
from transformers import AutoTokenizer
from worker_cli import worker_logits


@pytest.fixture(scope="module")
def smollm2():
    script = ROOT / "examples" / "smollm2.py"
    return subprocess.run([sys.executable, script], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def model(smollm2):
    return load_model(smollm2)


@pytest.fixture(scope="module")
def prose(smollm2):
    return AutoTokenizer.from_pretrained(smollm2)(fetch.llamafactory_data("wiki_demo.txt")[:2500])["input_ids"]


def test_perplexity_of_english(model, prose):
    """A wrong row order, scale or tokenizer gives hundreds; 4-bit SmolLM2 gives about 18 here."""
    logits = logits_of(model, prose)
    loss = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(prose[1:])).item()
    assert math.exp(loss) < 25


def test_answers_a_question(model, smollm2):
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    reply = model.generate(**inputs, max_new_tokens=20, do_sample=False)[0][inputs["input_ids"].shape[1]:]
    assert "Paris" in tokenizer.decode(reply)
    assert reply[-1] == tokenizer.eos_token_id


def test_logits(model, smollm2, prose):
    ids = prose[:96]
    assert logit_distance(worker_logits(smollm2, ids), logits_of(model, ids)) <= LOGITS
