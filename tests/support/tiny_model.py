"""Tiny random models in Hugging Face's layout, deterministic by seed; made with transformers and tokenizers."""

from __future__ import annotations

import json
import pathlib

EOS = "<|end|>"
BOS = "<|begin|>"
CHAT_TEMPLATE = ("{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}"
                 "{% if add_generation_prompt %}<assistant>{% endif %}")

_CORPUS = [
    "Below is an instruction that describes a task, paired with an input that provides further context.",
    "Write a response that appropriately completes the request.",
    "### Instruction: ### Input: ### Response:",
    "the quick brown fox jumps over a lazy dog while rain falls on seven green hills",
    "Repeat word number 0 1 2 3 4 5 6 7 8 9 in the list.",
]


def quieten_transformers() -> None:
    """Errors alone, no bars, and one thread: what is compared is tiny."""
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)


def add_chat_template(directory):
    """Gives the tokenizer in the directory CHAT_TEMPLATE, and returns it."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory)
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(directory)
    return tokenizer


def make_tokenizer(directory, vocab_size: int = 512) -> int:
    """Trains a byte-level BPE tokenizer on a few sentences and saves it; returns the size of its vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=[EOS, BOS], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(_CORPUS, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=EOS, bos_token=BOS, pad_token=EOS)
    fast.save_pretrained(str(directory))
    return tokenizer.get_vocab_size()


def make_tiny_llama(directory, *, seed: int = 0, layers: int = 2, hidden: int = 64, intermediate: int = 128,
                    heads: int = 4, kv_heads: int = 2, tied: bool = False, dtype: str = "float32",
                    vocab_size: int = 512, rope_scaling: dict | None = None, rope_theta: float = 10000.0,
                    max_shard_size: str = "5GB") -> pathlib.Path:
    """A random LlamaForCausalLM with its tokenizer in `directory`, which is created. Returns the directory."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    actual_vocab = make_tokenizer(directory, vocab_size)
    rope = {"rope_type": "default", "rope_theta": rope_theta, **(rope_scaling or {})}
    config = LlamaConfig(vocab_size=actual_vocab, hidden_size=hidden, intermediate_size=intermediate,
                         num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv_heads,
                         max_position_embeddings=2048, tie_word_embeddings=tied, bos_token_id=1, eos_token_id=0,
                         rope_parameters=rope)
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config).to(getattr(torch, dtype))
    model.save_pretrained(str(directory), max_shard_size=max_shard_size, safe_serialization=True)
    return directory


# What families have that Llama lacks, small enough for rows of some fifty tokens to meet it.
FAMILY_OPTIONS = {
    "gemma3_text": {"head_dim": 16, "sliding_window": 12, "query_pre_attn_scalar": 16, "sliding_window_pattern": 2,
                    "tie_word_embeddings": True},
    "gemma2": {"head_dim": 16, "sliding_window": 12, "query_pre_attn_scalar": 16, "attn_logit_softcapping": 5.0,
               "tie_word_embeddings": True},
    "phi3": {"original_max_position_embeddings": 40, "rope_parameters": {
        "rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0 + i / 8 for i in range(8)],
        "long_factor": [1.0 + i for i in range(8)], "original_max_position_embeddings": 40}},
    "olmo3": {"sliding_window": 12, "layer_types": ["sliding_attention", "full_attention"]},
    "qwen3": {"head_dim": 16, "attention_bias": True},
    "qwen3_5_text": {"head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16,
                     "linear_value_head_dim": 16, "layer_types": ["linear_attention", "full_attention"]},
    "granite": {"residual_multiplier": 0.5, "embedding_multiplier": 4.0, "logits_scaling": 2.0, "attention_multiplier": 0.3},
}


def make_tiny_model(directory, family: str, *, seed: int = 0) -> pathlib.Path:
    """A random causal language model of that model_type with its tokenizer in `directory`, which is created."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    config = AutoConfig.for_model(
        family, vocab_size=make_tokenizer(directory), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048, bos_token_id=1, eos_token_id=0,
        pad_token_id=None, **FAMILY_OPTIONS[family])
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config).save_pretrained(str(directory))
    return directory


def make_stub_model(directory, *, hidden: int = 8, vocab_size: int = 256) -> pathlib.Path:
    """A model directory that passes the daemon's headers-only judgement, without torch: for tests of the service alone."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": vocab_size,
              "hidden_size": hidden, "intermediate_size": 2 * hidden, "num_hidden_layers": 1,
              "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 128,
              "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": True,
              "torch_dtype": "float32", "bos_token_id": 1, "eos_token_id": 0, "attention_bias": False,
              "mlp_bias": False}
    (directory / "config.json").write_text(json.dumps(config))
    kv = hidden // 2
    layer = "model.layers.0."
    shapes = {"model.embed_tokens.weight": [vocab_size, hidden], "model.norm.weight": [hidden],
              layer + "input_layernorm.weight": [hidden], layer + "post_attention_layernorm.weight": [hidden],
              layer + "self_attn.q_proj.weight": [hidden, hidden], layer + "self_attn.k_proj.weight": [kv, hidden],
              layer + "self_attn.v_proj.weight": [kv, hidden], layer + "self_attn.o_proj.weight": [hidden, hidden],
              layer + "mlp.gate_proj.weight": [2 * hidden, hidden], layer + "mlp.up_proj.weight": [2 * hidden, hidden],
              layer + "mlp.down_proj.weight": [hidden, 2 * hidden]}
    header, offset = {}, 0
    for name in sorted(shapes):
        size = 4
        for extent in shapes[name]:
            size *= extent
        header[name] = {"dtype": "F32", "shape": shapes[name], "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (directory / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(offset))
    alphabet = [chr(c) for c in list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))]
    alphabet += [chr(256 + i) for i in range(256 - len(alphabet))]
    vocab = {c: i for i, c in enumerate(sorted(alphabet))}
    tokenizer = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
                 "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                                   "use_regex": True},
                 "post_processor": None,
                 "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
                 "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                           "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "vocab": vocab,
                           "merges": []}}
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    (directory / "tokenizer_config.json").write_text(json.dumps({"eos_token": "!", "bos_token": "\""}))
    return directory
