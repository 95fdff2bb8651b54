"""The text part of a model that sees images too trains as the text model alone does, and what comes of it loads as the whole."""
import json
import shutil

import pytest
import torch
from case import FAMILY_CASES
from peft import PeftModel
from reference import Reference, load_model, logits_of
from safetensors.torch import load_file, save_file
from tolerance import LOGITS, logit_distance
from transformers import (
    AutoModelForCausalLM, AutoModelForImageTextToText, Gemma3Config, Gemma3ForConditionalGeneration, Qwen3_5Config,
    Qwen3_5ForConditionalGeneration)
from worker_cli import run_worker, worker_logits


def gemma3(text_config):
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
              "patch_size": 14}
    return Gemma3ForConditionalGeneration(Gemma3Config(text_config=text_config, vision_config=vision, mm_tokens_per_image=4))


def qwen3_5(text_config):
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 64, "patch_size": 4,
              "num_position_embeddings": 16}
    return Qwen3_5ForConditionalGeneration(Qwen3_5Config(text_config=text_config, vision_config=vision, tie_word_embeddings=False))


# The whole; the prefix of its text part's tensors; tensors beside it that transformers passes over, such as Qwen's for
# predicting several tokens; and the part's projections.
WHOLES = {"gemma3": (gemma3, "language_model.", [], 3 * 7), "qwen3_5": (qwen3_5, "model.language_model.", ["mtp.fc.weight"], 2 * 8 + 7)}


def load_whole(directory):
    return AutoModelForImageTextToText.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()


@pytest.fixture(scope="module", params=WHOLES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def text(name):
    [case] = [case for case in FAMILY_CASES if case.name == name]
    return Reference(case)


@pytest.fixture(scope="module")
def whole(name, text, tmp_path_factory):
    """The text model's weights within a model with a vision tower; config.json has what the hub's files have of it."""
    directory = tmp_path_factory.mktemp("whole") / "model"
    make, _, passed_over, _ = WHOLES[name]
    torch.manual_seed(5)
    part = AutoModelForCausalLM.from_pretrained(text.case.model_dir, dtype=torch.float32)
    model = make(part.config.to_dict())
    model.model.language_model.load_state_dict(part.model.state_dict())
    model.lm_head.load_state_dict(part.lm_head.state_dict())
    model.tie_weights()
    model.save_pretrained(directory)
    tensors = load_file(directory / "model.safetensors") | {other: torch.randn(3, 5) for other in passed_over}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(text.case.model_dir / file, directory / file)
    return directory


@pytest.fixture(scope="module")
def text_model(name, text, tmp_path_factory):
    """The text model. transformers takes no other tokenizer for the type of a whole Qwen 3.5 than its own, whatever the files say."""
    directory = tmp_path_factory.mktemp("text") / "model"
    shutil.copytree(text.case.model_dir, directory)
    if name == "qwen3_5":
        settings = json.loads((directory / "tokenizer_config.json").read_text()) | {"tokenizer_class": "Qwen3_5Tokenizer"}
        (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return directory


def train(text, model_dir, mode, out):
    run_worker("train", "--model_name", model_dir, "--dataset", text.case.rows_file, "--mode", mode, "--max_steps", 4, "--dtype",
               "float32", "--learning_rate", "1e-3", "--output_dir", out)
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("mode", ["lora", "qlora", "full"])
def test_the_part_trains_as_the_text_model(text, text_model, whole, mode, tmp_path):
    assert train(text, whole, mode, tmp_path / "whole") == train(text, text_model, mode, tmp_path / "text")


def test_peft_loads_the_adapter_onto_the_text_part_alone(name, text, whole, tmp_path):
    train(text, whole, "lora", tmp_path / "out")
    model = PeftModel.from_pretrained(load_whole(whole), tmp_path / "out").eval()
    adapted = [name for name, _ in model.named_parameters() if "lora_" in name]
    assert len(adapted) == WHOLES[name][3] * 2 and all("language_model" in name for name in adapted)
    saved = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert saved.keys() == {name.replace(".default", "") for name in adapted}
    for parameter, weight in model.named_parameters():
        if "lora_" in parameter:
            assert torch.equal(weight, saved[parameter.replace(".default", "")])
    ids = text.expected["prompt_ids"]
    ours = worker_logits(whole, ids, adapter=tmp_path / "out")
    assert logit_distance(ours, logits_of(model, ids)) <= LOGITS
    assert logit_distance(worker_logits(whole, ids), text.logits["base"]) <= LOGITS


def test_a_full_result_is_the_whole_model(name, text, whole, tmp_path):
    train(text, whole, "full", tmp_path / "out")
    before, after = (load_file(directory / "model.safetensors") for directory in (whole, tmp_path / "out"))
    assert before.keys() == after.keys()
    for tensor, weight in before.items():
        assert torch.equal(weight, after[tensor]) != tensor.startswith((WHOLES[name][1], "lm_head")), tensor
    ids = text.expected["prompt_ids"]
    assert logit_distance(worker_logits(tmp_path / "out", ids), logits_of(load_whole(tmp_path / "out"), ids)) <= LOGITS


def test_a_text_model_with_the_names_of_the_whole(name, text, text_model, whole, tmp_path):
    """transformers reads a Qwen 3.5 as its text part, and saves that as a text model whose tensors have the whole's names."""
    model = AutoModelForCausalLM.from_pretrained(whole, dtype=torch.float32)
    if isinstance(model, type(load_whole(whole))):
        pytest.skip("transformers reads it as the whole")
    model.save_pretrained(tmp_path / "model")
    assert any(tensor.startswith(WHOLES[name][1]) for tensor in load_file(tmp_path / "model" / "model.safetensors"))
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(text_model / file, tmp_path / "model" / file)
    losses = [train(text, model_dir, "full", tmp_path / out) for model_dir, out in ((tmp_path / "model", "a"), (whole, "b"))]
    assert losses[0] == losses[1]
    ids = text.expected["prompt_ids"]
    assert logit_distance(worker_logits(tmp_path / "a", ids), logits_of(load_model(tmp_path / "a"), ids)) <= LOGITS
