"""The text part of a Gemma 3 that sees images too trains as the text model alone does, and what comes of it loads as the whole."""
import json
import shutil

import pytest
import torch
from case import FAMILY_CASES
from peft import PeftModel
from reference import Reference, logits_of
from safetensors.torch import load_file
from tolerance import LOGITS, logit_distance
from transformers import AutoModelForCausalLM, Gemma3Config, Gemma3ForConditionalGeneration
from worker_cli import run_worker, worker_logits

VISION = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
          "patch_size": 14}


def load_whole(directory):
    return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()


@pytest.fixture(scope="module")
def text():
    [case] = [case for case in FAMILY_CASES if case.name == "gemma3"]
    return Reference(case)


@pytest.fixture(scope="module")
def whole(text, tmp_path_factory):
    """The text model's weights within a model with a vision tower; config.json has what the hub's files have of it."""
    directory = tmp_path_factory.mktemp("whole") / "model"
    torch.manual_seed(5)
    part = AutoModelForCausalLM.from_pretrained(text.case.model_dir, dtype=torch.float32)
    model = Gemma3ForConditionalGeneration(
        Gemma3Config(text_config=part.config.to_dict(), vision_config=VISION, mm_tokens_per_image=4))
    model.model.language_model.load_state_dict(part.model.state_dict())
    model.tie_weights()
    model.save_pretrained(directory)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(text.case.model_dir / name, directory / name)
    return directory


def train(text, model_dir, mode, out):
    run_worker("train", "--model_name", model_dir, "--dataset", text.case.rows_file, "--mode", mode, "--max_steps", 4, "--dtype",
               "float32", "--learning_rate", "1e-3", "--output_dir", out)
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("mode", ["lora", "qlora", "full"])
def test_the_part_trains_as_the_text_model(text, whole, mode, tmp_path):
    assert train(text, whole, mode, tmp_path / "whole") == train(text, text.case.model_dir, mode, tmp_path / "text")


def test_peft_loads_the_adapter_onto_the_text_part_alone(text, whole, tmp_path):
    train(text, whole, "lora", tmp_path / "out")
    model = PeftModel.from_pretrained(load_whole(whole), tmp_path / "out").eval()
    adapted = [name for name, _ in model.named_parameters() if "lora_" in name]
    assert len(adapted) == 3 * 7 * 2 and all("language_model" in name for name in adapted)
    saved = load_file(tmp_path / "out" / "adapter_model.safetensors")
    for name, weight in model.named_parameters():
        if "lora_" in name:
            assert torch.equal(weight, saved[name.replace(".default", "")])
    ids = text.expected["prompt_ids"]
    ours = worker_logits(whole, ids, adapter=tmp_path / "out")
    assert logit_distance(ours, logits_of(model, ids)) <= LOGITS
    assert logit_distance(worker_logits(whole, ids), text.logits["base"]) <= LOGITS


def test_a_full_result_is_the_whole_model(text, whole, tmp_path):
    train(text, whole, "full", tmp_path / "out")
    before, after = (load_file(directory / "model.safetensors") for directory in (whole, tmp_path / "out"))
    assert before.keys() == after.keys()
    for name, weight in before.items():
        assert torch.equal(weight, after[name]) != name.startswith("language_model."), name
    ids = text.expected["prompt_ids"]
    assert logit_distance(worker_logits(tmp_path / "out", ids), logits_of(load_whole(tmp_path / "out"), ids)) <= LOGITS
