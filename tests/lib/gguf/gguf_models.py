"""Small models of every family that ftd writes as GGUF, and of what their config.json may say; made with transformers.

All weights are random, norms and biases too, and large enough for logits of some units: a norm that is off by one, or a
head whose features are in another order, moves them far.
"""
import json
import pathlib

import tiny_model

YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16}
LONGROPE = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0 + i / 8 for i in range(8)],
            "long_factor": [1.0 + i for i in range(8)]}
# name: (model_type, options of its config class). Texts have 60 tokens; llama.cpp's context has 512.
CASES = {
    "llama": ("llama", {}),
    "llama-tied-wide-heads": ("llama", {"tie_word_embeddings": True, "head_dim": 32}),
    "llama-biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama-llama3": ("llama", {"rope_parameters": {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
                                                   "high_freq_factor": 4.0, "original_max_position_embeddings": 32}}),
    "llama-linear": ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}}),
    "llama-yarn": ("llama", {"rope_parameters": YARN | {"attention_factor": 1.3}}),
    "mistral": ("mistral", {"sliding_window": None}),
    "ministral3": ("ministral3", {"head_dim": 16, "rope_parameters": YARN | {
        "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.2, "beta_fast": 16.0}}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {"head_dim": 32, "tie_word_embeddings": True, "rope_parameters": YARN}),
    "qwen3_5": ("qwen3_5_text", {"head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16,
                                 "linear_value_head_dim": 16, "num_hidden_layers": 4, "full_attention_interval": 2}),
    "gemma2": ("gemma2", {"head_dim": 16, "sliding_window": 12, "query_pre_attn_scalar": 16, "attn_logit_softcapping": 5.0}),
    "gemma3": ("gemma3_text", {"head_dim": 32, "sliding_window": 12, "query_pre_attn_scalar": 32, "num_hidden_layers": 3,
                               "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
                               "rope_parameters": {"full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
                                                   "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}}),
    "phi3": ("phi3", {"original_max_position_embeddings": 2048}),
    "phi3-long": ("phi3", {"original_max_position_embeddings": 40,
                           "rope_parameters": LONGROPE | {"original_max_position_embeddings": 40}}),
    "phi3-short-partial": ("phi3", {"original_max_position_embeddings": 1024, "rope_parameters": LONGROPE | {
        "original_max_position_embeddings": 1024, "partial_rotary_factor": 0.5, "short_factor": [1.0, 1.2, 1.5, 2.0],
        "long_factor": [1.0, 2.0, 4.0, 8.0]}}),
    "smollm3": ("smollm3", {"num_hidden_layers": 5}),
    "granite": ("granite", {"residual_multiplier": 0.5, "embedding_multiplier": 4.0, "logits_scaling": 2.0, "attention_multiplier": 0.3}),
    "olmo2": ("olmo2", {"tie_word_embeddings": True}),
    "olmo3": ("olmo3", {"sliding_window": 12, "layer_types": ["sliding_attention", "full_attention"], "rope_parameters": YARN}),
    "glm4": ("glm4", {"head_dim": 16, "attention_bias": True, "partial_rotary_factor": 0.5}),
}


# Text parts of models that see images too: the case whose model the part is, and the config of the rest.
WHOLES = {"gemma3": ("gemma3", {"vision_config": {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
                                                  "num_attention_heads": 2, "image_size": 28, "patch_size": 14}, "mm_tokens_per_image": 4}),
          "qwen3_5": ("qwen3_5", {"vision_config": {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2,
                                                    "out_hidden_size": 64, "patch_size": 4, "num_position_embeddings": 16},
                                  "tie_word_embeddings": False})}


def random_case(rng):
    """(model_type, options) of any family, with what its config class and llama.cpp both have."""
    model_type, options = rng.choice([case for name, case in CASES.items() if not name.startswith("phi3-")])  # factors fit one size
    heads, kv_heads = rng.choice([(1, 1), (2, 2), (4, 4), (4, 1), (8, 4), (6, 2)])
    options = dict(options, num_attention_heads=heads, num_key_value_heads=kv_heads, rms_norm_eps=rng.choice([1e-6, 1e-5, 1e-2]))
    if model_type == "qwen3_5_text":
        options["rms_norm_eps"] = 1e-6  # see gguf_family.cc
    elif "layer_types" not in options:
        options["num_hidden_layers"] = rng.randint(1, 9)
    if "head_dim" in options:
        options["head_dim"] = rng.choice([8, 16, 32])
    if "query_pre_attn_scalar" in options:
        options["query_pre_attn_scalar"] = options["head_dim"]
    if options.get("sliding_window"):
        options["sliding_window"] = rng.choice([1, 2, 7, 12, 33, 200])
    options["tie_word_embeddings"] = model_type == "gemma2" or rng.random() < 0.4
    return model_type, options


def randomise(model, seed, spread):
    """Gives every parameter random values of a size at which the model's signals stay about 1."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                scale = 0.5 if "embed" in name else spread  # the embedding may be the head
                parameter.copy_(noise * scale * parameter.shape[-1] ** -0.5)
            else:
                parameter.add_(0.3 * noise)
    return model


def make(directory, model_type, options, *, seed=0, hidden=64, intermediate=128, dtype="float32", spread=1.5):
    """A model in `directory`, which is created; returns the directory."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    directory = pathlib.Path(directory)
    directory.mkdir(parents=True)
    common = {"vocab_size": tiny_model.make_tokenizer(directory) + 3, "hidden_size": hidden, "intermediate_size": intermediate,
              "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048,
              "bos_token_id": 1, "eos_token_id": 0, "pad_token_id": None}
    torch.manual_seed(seed)
    config = AutoConfig.for_model(model_type, **common | options)
    model = randomise(AutoModelForCausalLM.from_config(config), seed, spread)
    model.to(getattr(torch, dtype)).save_pretrained(str(directory))
    return directory


def make_whole(directory, part_dir, model_type, rest):
    """The model of `part_dir` as the text part of one that sees images."""
    import shutil

    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    part = AutoModelForCausalLM.from_pretrained(part_dir)
    whole = AutoModelForImageTextToText.from_config(AutoConfig.for_model(model_type, text_config=part.config.to_dict(), **rest))
    whole.model.language_model.load_state_dict(part.model.state_dict())
    whole.lm_head.load_state_dict(part.lm_head.state_dict())
    whole.tie_weights()
    whole.save_pretrained(str(directory))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(pathlib.Path(part_dir) / name, directory)
    return directory


def change_config(directory, **fields):
    path = pathlib.Path(directory) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
