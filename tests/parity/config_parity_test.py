"""config.json means to ftd what it means to transformers: random files of every family, with fields present and absent, in
the spelling of transformers 4 and 5, against the modules that transformers builds of them.

Compared are names and shapes of all tensors, each layer's window and rotation, the rotary frequencies for documents of
several lengths, norms, activations, scales and caps, and which token is padding. FTD_SEED and FTD_CONFIGS (a family's)
make it another run, or a longer one.
"""
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

PROGRAM = Path(os.environ["FTD_BUILD_DIR"]) / "tests" / "describe_model"
SEED = int(os.environ.get("FTD_SEED", "20261129"))
COUNT = int(os.environ.get("FTD_CONFIGS", "12"))
LONGEST = [1, 100, 101, 300]  # tokens, ascending: transformers' dynamic frequencies remember the longest so far
FAMILIES = ["llama", "qwen2", "qwen3", "mistral", "ministral3", "gemma2", "gemma3_text", "phi3", "smollm3", "granite", "olmo2",
            "olmo3", "glm4", "qwen3_5_text"]
ROPE_TYPES = ["default", "linear", "dynamic", "llama3", "yarn", "longrope"]


@pytest.fixture(scope="module")
def describe():
    with subprocess.Popen([PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        def ask(config):
            program.stdin.write(json.dumps({"config": config, "longest": LONGEST}) + "\n")
            program.stdin.flush()
            return json.loads(program.stdout.readline())

        yield ask
        program.stdin.close()


def rope_fields(rng, rope_type, pairs):
    """What a type has besides theta."""
    fields = {"rope_type": rope_type}
    if rope_type != "default" and rope_type != "longrope":
        fields["factor"] = rng.choice([1.0, 2.0, 8.0, 32.0])
    if rope_type == "llama3":
        fields |= {"low_freq_factor": 1.0, "high_freq_factor": rng.choice([2.0, 4.0])}
    if rope_type in ("llama3", "yarn", "longrope") and rng.random() < 0.7:
        fields["original_max_position_embeddings"] = rng.choice([32, 100])
    if rope_type == "yarn":
        optional = {"beta_fast": 16.0, "beta_slow": 2.0, "truncate": False, "attention_factor": 1.25, "mscale": 0.7,
                    "mscale_all_dim": 0.9}
        fields |= {name: value for name, value in optional.items() if rng.random() < 0.4}
    if rope_type == "longrope":
        fields |= {"short_factor": [1 + rng.random() for _ in range(pairs)],
                   "long_factor": [1 + 4 * rng.random() for _ in range(pairs)]}
        optional = {"factor": 4.0, "attention_factor": 1.5}
        fields |= {name: value for name, value in optional.items() if rng.random() < 0.3}
    return fields


def add_rope(rng, config, family, head_dim):
    """One of the two spellings, or nothing."""
    theta = rng.choice([None, 10000.0, 123456.0])
    types = {"phi3": ["default", "longrope"], "ministral3": ["yarn"]}.get(family, ROPE_TYPES)
    rope_type = rng.choice(types)
    partial = 1.0
    if family in ("phi3", "glm4", "qwen3_5_text") and rng.random() < 0.6:
        partial = config["partial_rotary_factor"] = rng.choice([0.5, 0.75, 1.0])
    else:
        partial = {"glm4": 0.5, "qwen3_5_text": 0.25}.get(family, 1.0)
    fields = rope_fields(rng, rope_type, int(head_dim * partial) // 2)
    if family == "phi3":
        fields.pop("original_max_position_embeddings", None)
        if rng.random() < 0.7:
            config["original_max_position_embeddings"] = 100
    if family == "ministral3":
        fields |= {"llama_4_scaling_beta": 0.2, "original_max_position_embeddings": 32}
        config["rope_parameters"] = fields | {"rope_theta": theta or 10000.0}
    elif rng.random() < 0.5:
        if theta is not None:
            config["rope_theta"] = theta
        if rope_type != "default":
            if rng.random() < 0.5 and rope_type in ("linear", "dynamic"):
                fields["type"] = fields.pop("rope_type")
            config["rope_scaling"] = fields
        if family == "gemma3_text" and rng.random() < 0.5:
            config["rope_local_base_freq"] = 5000.0
    else:
        fields |= {"rope_theta": theta or 10000.0}
        if family in ("gemma3_text", "olmo3"):
            fields = {"full_attention": fields, "sliding_attention": {"rope_type": "default", "rope_theta": 7777.0}}
        if family in ("phi3", "glm4", "qwen3_5_text") and "partial_rotary_factor" in config:
            fields["partial_rotary_factor"] = config.pop("partial_rotary_factor")
        config["rope_parameters"] = fields


def add_windows(rng, config, family, layers):
    if rng.random() < 0.6:
        config["sliding_window"] = rng.choice([7, 64])
    types = [rng.choice(["full_attention", "sliding_attention"]) for _ in range(layers)]
    if family in ("qwen2", "qwen3", "smollm3"):
        if rng.random() < 0.6:
            config["use_sliding_window"] = True
            config["sliding_window"] = 9
            if rng.random() < 0.5:
                config["layer_types"] = types
        if family.startswith("qwen"):
            config["max_window_layers"] = rng.choice([0, 1, 2])
    if family == "smollm3":
        optional = {"no_rope_layers": [rng.choice([0, 1]) for _ in range(layers)], "no_rope_layer_interval": 2}
        config |= {name: value for name, value in optional.items() if rng.random() < 0.5}
    if family in ("gemma2", "gemma3_text", "olmo3") and rng.random() < 0.5:
        config["layer_types"] = types
    if family == "gemma3_text" and rng.random() < 0.5:
        config["sliding_window_pattern"] = rng.choice([2, 3])
    if family == "qwen3_5_text":
        optional = {"layer_types": [rng.choice(["full_attention", "linear_attention"]) for _ in range(layers)],
                    "full_attention_interval": rng.choice([2, 3]), "linear_num_value_heads": rng.choice([2, 6]),
                    "linear_key_head_dim": 12, "linear_value_head_dim": 20, "linear_conv_kernel_dim": 3}
        config |= {name: value for name, value in optional.items() if rng.random() < 0.5} | {"linear_num_key_heads": 2}


OPTIONAL = {
    "rms_norm_eps": 3e-5, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True, "query_pre_attn_scalar": 24,
    "attn_logit_softcapping": 20.0, "final_logit_softcapping": 10.0, "embedding_multiplier": 12.0, "residual_multiplier": 0.22,
    "attention_multiplier": 0.0078125, "logits_scaling": 8.0, "attention_dropout": 0.0,
}


def random_config(family, rng):
    heads, kv_heads, layers = rng.choice([(2, 1), (4, 2), (4, 4)]) + (rng.choice([1, 2, 5, 8]),)
    config = {"model_type": family, "vocab_size": 96, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": layers,
              "num_attention_heads": heads, "max_position_embeddings": rng.choice([100, 200]), "pad_token_id": None}
    head_dim = rng.choice([32 // heads, 24])
    if family == "phi3":
        head_dim = 32 // heads
    # A default of eight or more key heads does not divide so few heads.
    config["num_key_value_heads"] = kv_heads
    if head_dim != 32 // heads or family in ("qwen3", "ministral3", "gemma2", "gemma3_text", "glm4", "qwen3_5_text"):
        config["head_dim"] = head_dim
    for name, value in OPTIONAL.items():
        if rng.random() < 0.4:
            config[name] = None if name.endswith("softcapping") and rng.random() < 0.3 else value
    if rng.random() < 0.3:
        config["hidden_activation" if family.startswith("gemma") else "hidden_act"] = rng.choice(["silu", "gelu_pytorch_tanh"])
    if family in ("gemma2", "gemma3_text", "olmo2", "olmo3", "ministral3") and rng.random() < 0.5:
        config.pop("pad_token_id")  # the class's default is within a vocabulary of 96
    elif rng.random() < 0.3:
        config["pad_token_id"] = 5
    add_windows(rng, config, family, layers)
    add_rope(rng, config, family, head_dim)
    return config


def build(config):
    """transformers' config and model, of numbers that do not matter."""
    kwargs = json.loads(json.dumps({key: value for key, value in config.items() if key != "model_type"}))
    hf = CONFIG_MAPPING[config["model_type"]].from_dict(kwargs)
    with torch.no_grad():
        return hf, AutoModelForCausalLM.from_config(hf, attn_implementation="eager")


def window_of(hf, layer, i):
    if hf.model_type in ("mistral", "ministral3", "phi3"):
        return hf.sliding_window or 0
    return getattr(getattr(layer, "self_attn", None), "sliding_window", None) or 0


def layer_type_of(hf, i):
    nested = hf.model_type in ("gemma3_text", "olmo3")
    return hf.layer_types[i] if nested else None


def frequencies(model, layer_type):
    """[(frequencies, factor)] for LONGEST."""
    prefix = f"{layer_type}_" if layer_type else ""
    rotary, found = model.model.rotary_emb, []
    for tokens in LONGEST:
        rotary(torch.zeros(1), torch.arange(tokens)[None], **({"layer_type": layer_type} if layer_type else {}))
        factor = getattr(rotary, f"{prefix}attention_scaling")
        found.append((getattr(rotary, f"{prefix}inv_freq").clone(), factor))
    return found


def check_layers(got, hf, model):
    for i, layer in enumerate(model.model.layers):
        ours = got["layers"][i]
        assert ours["window"] == window_of(hf, layer, i), i
        assert ours["delta"] == hasattr(layer, "linear_attn"), i
        assert ours["rotates"] == (not ours["delta"] and bool(getattr(layer.self_attn, "use_rope", True))), i
        layer_type = layer_type_of(hf, i)
        assert (ours["rope"] == "local") == (layer_type == "sliding_attention"), i


def check_rope(got, hf, model):
    for layer_type in sorted(set(hf.layer_types)) if layer_type_of(hf, 0) else [None]:
        ours = got["local" if layer_type == "sliding_attention" else "full"]
        for mine, (theirs, factor) in zip(ours["frequencies"], frequencies(model, layer_type), strict=True):
            assert ours["attention_factor"] == pytest.approx(factor, rel=1e-12)
            # As positions multiply the error, no more than the last digit.
            torch.testing.assert_close(torch.tensor(mine), theirs, rtol=0, atol=0)


def check_traits(got, hf, model):
    layer = model.model.layers[0]
    # Of models without attention too: the scale is read all the same.
    attention = next((one.self_attn for one in model.model.layers if hasattr(one, "self_attn")), None)
    norm = model.model.norm
    assert got["rms_norm_eps"] == getattr(norm, "eps", None) or getattr(norm, "variance_epsilon", None)
    assert got["norm"] == {
        "Gemma2RMSNorm": 2, "Gemma3RMSNorm": 2, "Qwen3_5RMSNorm": 2, "Olmo2RMSNorm": 1, "Olmo3RMSNorm": 1}.get(type(norm).__name__, 0)
    activation = getattr(layer.mlp, "act_fn", None) or layer.mlp.activation_fn
    assert got["activation"] == ("gelu" if "GELU" in type(activation).__name__ else "silu")
    assert got["tied"] == hf.tie_word_embeddings
    assert got["attention_scale"] == pytest.approx(attention.scaling if attention else hf.head_dim**-0.5, rel=1e-12)
    softcap = attention.attn_logit_softcapping if hf.model_type == "gemma2" else None
    assert got["attention_softcap"] == (softcap or 0)
    gemma = hf.model_type.startswith("gemma")
    assert got["logits_softcap"] == ((hf.final_logit_softcapping if gemma else None) or 0)
    assert got["query_scale_beta"] == (hf.rope_parameters["llama_4_scaling_beta"] if hf.model_type == "ministral3" else 0)
    granite = hf.model_type == "granite"
    scale = model.model.embed_tokens.scalar_embed_scale if gemma else model.model.embedding_multiplier if granite else 1
    assert got["embedding_multiplier"] == pytest.approx(scale, rel=1e-12)
    assert got["residual_multiplier"] == (layer.residual_multiplier if granite else 1)
    assert got["logits_divisor"] == (hf.logits_scaling if granite else 1)
    padding = model.model.embed_tokens.padding_idx
    assert got["pad_token_id"] == (-1 if padding is None else padding)


@pytest.mark.parametrize("family", FAMILIES)
def test_random_files(describe, family):
    for number in range(COUNT):
        config = random_config(family, random.Random(f"{SEED} {family} {number}"))
        print(json.dumps(config), file=sys.stderr)
        got = describe(config)
        assert "error" not in got, got
        hf, model = build(config)
        shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
        if hf.tie_word_embeddings:
            shapes.pop("lm_head.weight")
        assert got["parameters"] == shapes
        check_layers(got, hf, model)
        check_rope(got, hf, model)
        check_traits(got, hf, model)
        assert got["interleaved"] == (family == "glm4")


# What transformers' own classes say where a file does not: no field but the sizes.
@pytest.mark.parametrize("family", FAMILIES)
def test_defaults(describe, family):
    config = {"model_type": family, "vocab_size": 160000, "hidden_size": 64, "intermediate_size": 16, "num_hidden_layers": 8,
              "num_attention_heads": 32}
    if family == "ministral3":  # its rotary embedding as a whole is one of the defaults
        config["rope_parameters"] = CONFIG_MAPPING[family]().rope_parameters
    got = describe(config)
    assert "error" not in got, got
    hf, model = build(config)
    assert {name: shape for name, shape in got["parameters"].items() if not name.startswith("lm_head")} == {
        name: list(tensor.shape) for name, tensor in model.state_dict().items() if not name.startswith("lm_head")}
    check_layers(got, hf, model)
    check_rope(got, hf, model)
    check_traits(got, hf, model)
