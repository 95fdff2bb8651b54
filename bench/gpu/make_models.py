"""Models of real shapes with random weights, adapters to start from, and rows, for the kit.

    make_models.py DIR NAME…        names: those of SHAPES, which say what each is

Weights come from the GPU when there is one, each tensor from a seed of its own, and go straight to the file's pages, so the
host holds one tensor at a time. DIR/NAME/.complete comes last. DIR/long.jsonl has rows of more than 2048 tokens,
DIR/alpaca.jsonl rows that are as many tokens long as Alpaca's under a real tokenizer; ours counts bytes.
"""
import concurrent.futures
import json
import math
import pathlib
import random
import sys

import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]
from random_llama import shapes  # noqa: E402

BOS, EOS = 256, 257
LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "rms_norm_eps": 1e-5,
         "rope_theta": 500000.0, "max_position_embeddings": 131072, "torch_dtype": "bfloat16", "bos_token_id": BOS,
         "eos_token_id": EOS, "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": False}
SHAPES = {
    "8b": dict(vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
               num_key_value_heads=8, head_dim=128),
    "3b": dict(vocab_size=128256, hidden_size=3072, intermediate_size=8192, num_hidden_layers=28, num_attention_heads=24,
               num_key_value_heads=8, head_dim=128, tie_word_embeddings=True),
    "70b-nf4": dict(vocab_size=128256, hidden_size=8192, intermediate_size=28672, num_hidden_layers=80, num_attention_heads=64,
                    num_key_value_heads=8, head_dim=128),
    "tiny": dict(vocab_size=512, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
                 num_key_value_heads=2, head_dim=32, torch_dtype="float32"),
}
SHAPES["tiny-nf4"] = SHAPES["tiny"]
NF4 = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True,
       "bnb_4bit_compute_dtype": "bfloat16"}
RANK, ALPHA = 8, 16
SPREAD = 0.02  # of the weights
THREADS = 4
DTYPES = {torch.bfloat16: "BF16", torch.float32: "F32", torch.uint8: "U8"}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Planned:
    """A tensor that is yet to be drawn: its name, shape, dtype, and a function of a generator that draws it."""

    def __init__(self, name, shape, dtype, draw):
        self.name, self.shape, self.dtype, self.draw = name, tuple(shape), dtype, draw
        self.bytes = math.prod(self.shape) * dtype.itemsize


def normal(name, shape, dtype, spread=SPREAD):
    return Planned(name, shape, dtype, lambda g: torch.randn(shape, generator=g, device=DEVICE).mul_(spread))


def constant(name, value):
    return Planned(name, value.shape, value.dtype, lambda g: value)


def random_bytes(name, shape):
    return Planned(name, shape, torch.uint8,
                   lambda g: torch.randint(256, shape, generator=g, device=DEVICE, dtype=torch.uint8))


def nf4_weight(name, shape):
    """A weight as bitsandbytes stores it: random codes, scales between 0.03 and 0.05, quantised a second time."""
    elements = math.prod(shape)
    blocks = elements // 64
    state = {"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": list(shape), "nested_blocksize": 256,
             "nested_dtype": "float32", "nested_offset": 0.04}
    text = torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)
    yield random_bytes(name, (elements // 2, 1))
    yield random_bytes(f"{name}.absmax", (blocks,))
    yield constant(f"{name}.nested_absmax", torch.full((-(-blocks // 256),), 0.01))
    yield constant(f"{name}.nested_quant_map", torch.linspace(-1, 1, 256))
    yield constant(f"{name}.quant_state.bitsandbytes__nf4", text)


def plan(config, nf4):
    dtype = getattr(torch, config["torch_dtype"])
    for name, shape in shapes(config):
        if len(shape) == 1:
            yield constant(name, torch.ones(shape, dtype=dtype))
        elif nf4 and "_proj" in name:
            yield from nf4_weight(name, shape)
        else:
            yield normal(name, shape, dtype)


def write_safetensors(path, tensors):
    """The file of the planned tensors. Not safetensors.save_file, which wants them all in memory."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for tensor in tensors:
        header[tensor.name] = {"dtype": DTYPES[tensor.dtype], "shape": tensor.shape, "data_offsets": [at, at + tensor.bytes]}
        at += tensor.bytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    begin = 8 + len(text)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(begin + at)
    pages = torch.from_file(str(path), shared=True, size=begin + at, dtype=torch.uint8)

    def draw(index):
        tensor = tensors[index]
        values = tensor.draw(torch.Generator(DEVICE).manual_seed(index)).to(tensor.dtype).contiguous()
        first = begin + header[tensor.name]["data_offsets"][0]
        pages[first:first + tensor.bytes].copy_(values.view(-1).view(torch.uint8))

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(draw, range(len(tensors))))


def write_json(path, content):
    path.write_text(json.dumps(content))


def write_tokenizer(folder):
    """Bytes alone, with a BOS before every text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    alphabet = {character: i for i, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1",
                                                             special_tokens=[("<s>", BOS)])
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>",
                                                  "eos_token": "</s>", "clean_up_tokenization_spaces": False})


def write_adapter(folder, config):
    """A PEFT adapter for all seven projections. Its B is not zero, so that A has a gradient from the first step."""
    folder.mkdir()
    tensors, modules = [], set()
    for name, shape in shapes(config):
        if "_proj" not in name:
            continue
        prefix = f"base_model.model.{name.removesuffix('.weight')}"
        modules.add(name.split(".")[-2])
        tensors.append(normal(f"{prefix}.lora_A.weight", (RANK, shape[1]), torch.float32, 0.6 / shape[1] ** 0.5))
        tensors.append(normal(f"{prefix}.lora_B.weight", (shape[0], RANK), torch.float32, 1e-3))
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    write_json(folder / "adapter_config.json", {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "", "r": RANK, "lora_alpha": ALPHA,
        "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False, "inference_mode": True, "init_lora_weights": True,
        "target_modules": sorted(modules)})


def make_model(folder, name):
    config = {**LLAMA, **SHAPES[name]}
    nf4 = name.endswith("nf4")
    folder.mkdir()
    write_json(folder / "config.json", {**config, **({"quantization_config": NF4} if nf4 else {})})
    write_tokenizer(folder)
    write_safetensors(folder / "model.safetensors", list(plan(config, nf4)))
    write_adapter(folder.with_name(f"{name}-adapter"), config)
    (folder / ".complete").touch()


def write_rows(path, lengths, words):
    def text(length):
        said = ""
        while len(said) < length:
            said += words.choice(("the", "of", "model", "quick", "brown", "fox", "trains", "under", "seven", "numbers")) + " "
        return said[:length]
    path.write_text("".join(json.dumps({"text": text(length)}) + "\n" for length in lengths))


def main():
    root = pathlib.Path(sys.argv[1])
    words = random.Random(3)
    if not (root / "alpaca.jsonl").exists():
        write_rows(root / "long.jsonl", [2300] * 512, words)
        write_rows(root / "alpaca.jsonl", [int(min(600, max(40, words.lognormvariate(4.6, 0.5)))) for _ in range(512)], words)
    for name in sys.argv[2:]:
        make_model(root / name, name)
        print(f"{name} made", flush=True)


if __name__ == "__main__":
    main()
