"""Folders of models and adapters whose files say a thing twice, in another way, or more than is needed: logits equal to those
of transformers and PEFT, or a refusal by name.

Redundant fields and files have the precedence that they have in transformers 5.
"""
import json
import shutil
import struct
import subprocess
import tempfile

import pytest
import torch
from ftd_fixture import BIN
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from worker_cli import worker_logits

IDS = [[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3] * 4]
LLAMA3 = {"rope_type": "llama3", "rope_theta": 50000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def edit_config(folder, **fields):
    path = folder / "config.json"
    config = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))


def tensors(folder):
    return load_file(folder / WEIGHTS)


def save(folder, named, name=WEIGHTS):
    save_file(named, folder / name, metadata={"format": "pt"})


def in_two(folder, named, both=()):
    """Shards and their index; tensors in `both` lie in each, in the second with other values."""
    names = sorted(named)
    first, second = {n: named[n] for n in names[::2]}, {n: named[n] for n in names[1::2]}
    for name in both:
        first[name], second[name] = named[name], named[name] * 1.5
    save(folder, first, "model-00001-of-00002.safetensors")
    save(folder, second, "model-00002-of-00002.safetensors")
    places = {n: "model-00001-of-00002.safetensors" for n in first} | {
        n: "model-00002-of-00002.safetensors" for n in second if n not in first}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))


def other(named):
    return {name: tensor * 1.25 for name, tensor in named.items()}


def tied_with_own_head(folder):
    edit_config(folder, tie_word_embeddings=True)


def tied_with_equal_head(folder):
    named = tensors(folder)
    named["lm_head.weight"] = named["model.embed_tokens.weight"].clone()
    save(folder, named)
    edit_config(folder, tie_word_embeddings=True)


def tied_with_head_alone(folder):
    named = tensors(folder)
    del named["model.embed_tokens.weight"]
    save(folder, named)
    edit_config(folder, tie_word_embeddings=True)


def tied_by_default(folder):
    edit_config(folder, tie_word_embeddings=...)


def single_beside_shards(folder):
    in_two(folder, other(tensors(folder)))


def single_beside_stale_index(folder):
    in_two(folder, tensors(folder))
    (folder / "model-00001-of-00002.safetensors").unlink()


def shards_alone(folder):
    in_two(folder, tensors(folder))
    (folder / WEIGHTS).unlink()


def tensor_in_two_shards(folder):
    in_two(folder, tensors(folder), both=["model.norm.weight", "model.layers.0.mlp.up_proj.weight"])
    (folder / WEIGHTS).unlink()


def rope(**fields):
    return lambda folder: edit_config(folder, **({"rope_parameters": ...} | fields))


def more_tensors(dtype):
    def edit(folder):
        named = tensors(folder)
        save(folder, named | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4).to(dtype), "unused": torch.ones(3, 2).to(dtype)})
    return edit


def metadata(value):
    def edit(folder):
        raw = (folder / WEIGHTS).read_bytes()
        (size,) = struct.unpack("<Q", raw[:8])
        header = json.loads(raw[8:8 + size])
        header.pop("__metadata__", None)
        text = json.dumps(({} if value is ... else {"__metadata__": value}) | header).encode()
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + size:])
    return edit


FOLDERS = {
    "tied, with a head of its own": tied_with_own_head,
    "tied, with an equal head": tied_with_equal_head,
    "tied, with the head alone": tied_with_head_alone,
    "nothing about the tie": tied_by_default,
    "a single file beside shards": single_beside_shards,
    "a single file beside a stale index": single_beside_stale_index,
    "shards alone": shards_alone,
    "tensors in two shards": tensor_in_two_shards,
    "rope_theta alone": rope(rope_theta=50000.0),
    "rope_theta beside rope_parameters": rope(rope_theta=50000.0, rope_parameters={"rope_type": "default", "rope_theta": 123.0}),
    "rope_theta beside rope_parameters without one": rope(rope_theta=50000.0, rope_parameters={"rope_type": "default"}),
    "rope_scaling beside rope_parameters": rope(rope_scaling=LLAMA3, rope_parameters={"rope_type": "default", "rope_theta": 123.0}),
    "rope_scaling without a theta": rope(rope_theta=50000.0, rope_parameters={"rope_type": "default", "rope_theta": 123.0},
                                         rope_scaling={k: v for k, v in LLAMA3.items() if k != "rope_theta"}),
    "an empty rope_scaling": rope(rope_scaling={}, rope_parameters=LLAMA3),
    "rope_scaling is null": rope(rope_scaling=None, rope_parameters=LLAMA3),
    "rope_parameters is null": rope(rope_parameters=None, rope_theta=50000.0),
    "the old spelling of the type": rope(rope_scaling={("type" if k == "rope_type" else k): v for k, v in LLAMA3.items()}, rope_theta=50000.0),
    "both spellings of the type": rope(rope_scaling=LLAMA3 | {"type": "default"}, rope_theta=50000.0),
    "linear": rope(rope_scaling={"type": "linear", "factor": 4.0}, rope_parameters=None),
    "dynamic, no longer than before": rope(rope_scaling={"rope_type": "dynamic", "factor": 4.0}, rope_parameters=None),
    "yarn": rope(rope_parameters={"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}),
    "no original length": rope(rope_parameters={k: v for k, v in LLAMA3.items() if k != "original_max_position_embeddings"}),
    "fields that transformers does not read": lambda folder: edit_config(folder, residual_multiplier=2.0, sliding_window=2, logit_scale=3.0),
    "a padding token": lambda folder: edit_config(folder, pad_token_id=5),
    "attention_dropout is 0": lambda folder: edit_config(folder, attention_dropout=0),
    **{f"unused tensors of {dtype}": more_tensors(dtype) for dtype in
       (torch.bool, torch.int8, torch.int16, torch.uint16, torch.float8_e4m3fn, torch.complex64)},
    **{f"metadata {value}": metadata(value) for value in (None, {}, {"format": "pt", "by": "é"}, ...)},
}
REFUSED = {
    "attention_dropout": lambda folder: edit_config(folder, attention_dropout=0.1),
    "partial_rotary_factor": lambda folder: edit_config(folder, partial_rotary_factor=0.5),
    "is_causal": lambda folder: edit_config(folder, is_causal=False),
    "transformers_weights": lambda folder: edit_config(folder, transformers_weights="other.safetensors"),
    "proportional": rope(rope_parameters={"rope_type": "proportional", "rope_theta": 1e4, "factor": 4.0}),
    "mlp.gate_proj.bias is missing": lambda folder: edit_config(folder, mlp_bias=True),
    "quant_method": lambda folder: edit_config(folder, quantization_config={"load_in_4bit": True}),
    "gptq": lambda folder: edit_config(folder, quantization_config={"quant_method": "gptq", "bits": 4}),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    torch.manual_seed(3)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=24, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=128, rope_parameters={"rope_type": "default", "rope_theta": 10000.0}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    folder = tmp_path_factory.mktemp("plain")
    model.save_pretrained(folder)
    Tokenizer(models.BPE(vocab={chr(ord("a") + i): i for i in range(24)}, merges=[])).save(str(folder / "tokenizer.json"))
    return folder


def edited(plain, edit):
    folder = tempfile.mkdtemp(dir=plain.parent)
    folder = shutil.copytree(plain, f"{folder}/model")
    folder = plain.__class__(folder)
    edit(folder)
    return folder


@pytest.mark.parametrize("name", FOLDERS)
def test_logits(plain, name):
    folder = edited(plain, FOLDERS[name])
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        want = model(torch.tensor(IDS)).logits[0]
    got = worker_logits(folder, IDS[0])
    assert (got - want).abs().max() <= 2e-5 * want.abs().max()


def refusal(tmp_path, *args):
    """What ft-worker says when it refuses to compute logits."""
    (tmp_path / "ids.json").write_text(json.dumps(IDS[0]))
    done = subprocess.run([BIN / "ft-worker", "logits", *args, "--input", tmp_path / "ids.json", "--output",
                           tmp_path / "out.safetensors"], capture_output=True, text=True, timeout=60)
    assert done.returncode not in (0, 70) and not (tmp_path / "out.safetensors").exists(), done.stderr
    return done.stderr


@pytest.mark.parametrize("words", REFUSED)
def test_refused(plain, words, tmp_path):
    assert words in refusal(tmp_path, "--model", edited(plain, REFUSED[words]))


LORA = dict(r=4, lora_alpha=12, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
PATHS = [f"model.layers.{i}.{module}" for i in (0, 1) for module in ("self_attn.q_proj", "mlp.down_proj")]
ADAPTERS = {
    "plain": {},
    "all-linear": {"target_modules": "all-linear"},
    "full paths": {"target_modules": PATHS},
    "a pattern": {"target_modules": r".*\.(v_proj|up_proj)"},
    "with exceptions": {"target_modules": ["q_proj", "k_proj"], "exclude_modules": ["k_proj"]},
    "rsLoRA": {"use_rslora": True},
    "gaussian": {"init_lora_weights": "gaussian"},
    "orthogonal": {"init_lora_weights": "orthogonal"},
}
# What the message must name.
REFUSED_ADAPTERS = {
    "alpha_pattern": {"alpha_pattern": {"q_proj": 64}},
    "rank_pattern": {"rank_pattern": {"q_proj": 2}},
    "use_dora": {"use_dora": True},
    "pissa": {"init_lora_weights": "pissa"},
    "olora": {"init_lora_weights": "olora"},
    "layers_to_transform": {"layers_to_transform": [0]},
    "modules_to_save": {"modules_to_save": ["lm_head"]},
    "trainable_token_indices": {"trainable_token_indices": [1, 2]},
    "bias": {"bias": "all"},
    "lora_bias": {"lora_bias": True},
    "alora_invocation_tokens": {"alora_invocation_tokens": [3, 4]},
    "layer_replication": {"layer_replication": [[0, 2], [1, 2]]},
    "lm_head": {"target_modules": ["q_proj", "lm_head"]},
}


def adapter(plain, folder, **settings):
    """A PEFT adapter with weights that show."""
    torch.manual_seed(4)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(plain, dtype=torch.float32), LoraConfig(**(LORA | settings)))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.2)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapter_logits(plain, name, tmp_path):
    folder = adapter(plain, tmp_path / "adapter", **ADAPTERS[name])
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(plain, dtype=torch.float32, attn_implementation="eager"), folder).eval()
    with torch.no_grad():
        want = model(torch.tensor(IDS)).logits[0]
    assert (worker_logits(plain, IDS[0], adapter=folder) - want).abs().max() <= 2e-5 * want.abs().max()


@pytest.mark.parametrize("words", REFUSED_ADAPTERS)
def test_adapter_refused(plain, words, tmp_path):
    folder = adapter(plain, tmp_path / "adapter", **REFUSED_ADAPTERS[words])
    assert words in refusal(tmp_path, "--model", plain, "--adapter", folder)


@pytest.mark.parametrize("field, value, refused", [
    ("use_something_new", True, True), ("something_config", {"a": 1}, True), ("scale", 2.0, True), ("fan_in_fan_out", True, True),
    ("use_something_new", False, False), ("something_config", None, False), ("something_config", {}, False)])
def test_unknown_adapter_field(plain, field, value, refused, tmp_path):
    folder = adapter(plain, tmp_path / "adapter")
    edit = json.loads((folder / "adapter_config.json").read_text()) | {field: value}
    (folder / "adapter_config.json").write_text(json.dumps(edit))
    if refused:
        assert field in refusal(tmp_path, "--model", plain, "--adapter", folder)
    else:
        worker_logits(plain, IDS[0], adapter=folder)
