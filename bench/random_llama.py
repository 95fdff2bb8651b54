"""Models of a Llama's shape with random weights: as heavy as the real ones, and made at once."""
import json
import multiprocessing

LLAMA_1B = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 128256, "hidden_size": 2048,
            "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
            "head_dim": 64, "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
            "max_position_embeddings": 131072, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
            "bos_token_id": 1, "eos_token_id": 0}  # Llama-3.2-1B's


def shapes(config):
    """Name, shape of every tensor."""
    hidden, ffn, head = config["hidden_size"], config["intermediate_size"], config.get("head_dim")
    head = head or hidden // config["num_attention_heads"]
    q, kv = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        for name, shape in (("q", (q, hidden)), ("k", (kv, hidden)), ("v", (kv, hidden)), ("o", (hidden, q))):
            yield f"{layer}self_attn.{name}_proj.weight", shape
        for name, shape in (("gate", (ffn, hidden)), ("up", (ffn, hidden)), ("down", (hidden, ffn))):
            yield f"{layer}mlp.{name}_proj.weight", shape
        yield f"{layer}input_layernorm.weight", (hidden,)
        yield f"{layer}post_attention_layernorm.weight", (hidden,)
    yield "model.norm.weight", (hidden,)
    if not config.get("tie_word_embeddings"):
        yield "lm_head.weight", (config["vocab_size"], hidden)


def make_model(*args):
    """make_model(directory, tokenizer_dir, config): bfloat16 weights and the other directory's tokenizer. Returns `directory`.

    In a process of its own: what a parent has ever held counts towards its children's peaks.
    """
    process = multiprocessing.Process(target=_write_model, args=args)
    process.start()
    process.join()
    assert process.exitcode == 0
    return args[0]


def _write_model(directory, tokenizer_dir, config):
    import torch
    from safetensors.torch import save_file
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    for file in tokenizer_dir.glob("tokenizer*.json"):
        (directory / file.name).write_bytes(file.read_bytes())
    tensors = {name: torch.empty(shape, dtype=torch.bfloat16).normal_(0, 0.02) for name, shape in shapes(config)}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
