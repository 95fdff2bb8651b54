"""Parity cases: small models of each family with a tokenizer and rows, made by transformers and tokenizers, after a short pre-training.

Random weights would hide mistakes: with them attention is nearly uniform and the order of heads or the layout of RoPE
hardly moves the loss. A few hundred steps on real text make every part matter (sensitivity_test.py shows how much).
A case is a function of its fields and of the processor. It is made once per build directory and shared by all test programs.
"""
import dataclasses
import fcntl
import hashlib
import importlib.metadata
import json
import os
import pathlib
import random
import re
import shutil
import sys

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples"))
import fetch  # noqa: E402

# These models are too small for two threads, and on a busy machine a second one spends its time waiting for the first.
torch.set_num_threads(1)

PROMPT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n"
    "### Instruction: {}\n\n### Input: {}\n\n### Response: {}"
)
SPECIAL_TOKENS = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
ROPE = {
    "default": {"rope_type": "default", "rope_theta": 10000.0},
    # The boundaries of Llama 3.1's scaling, moved so that a context of 64 tokens has frequencies on every side of them.
    "llama3": {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
    "linear": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
    # Of mscale and mscale_all_dim the factor of cos and sin is a quotient; they cancel in released models.
    "ministral": {
        "rope_type": "yarn",
        "rope_theta": 10000.0,
        "factor": 4.0,
        "original_max_position_embeddings": 32,
        "beta_fast": 8.0,
        "beta_slow": 1.0,
        "mscale": 1.0,
        "mscale_all_dim": 0.5,
        "llama_4_scaling_beta": 0.3,
    },
    "gemma": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        "full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
    },
    "olmo": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 500000.0},
        "full_attention": {"rope_type": "yarn", "rope_theta": 500000.0, "factor": 8.0, "original_max_position_embeddings": 64,
                           "beta_fast": 32.0, "beta_slow": 1.0},
    },
    # Micro-batches of the rows are shorter and longer than the original context.
    "phi": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.75,
        "short_factor": [1.0, 1.1, 1.3, 1.5, 1.6, 2.0],
        "long_factor": [1.0, 1.5, 2.5, 4.0, 6.0, 8.0],
        "original_max_position_embeddings": 160,
    },
    "glm": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
    "qwen": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
}


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    seed: int = 1234
    hidden: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    intermediate: int = 176
    vocab: int = 1024
    rope: str = "default"
    tied: bool = False
    dtype: str = "float32"  # what model.safetensors stores; the maths is float32 everywhere
    max_shard_size: str = "5GB"
    pad_in_text: bool = False  # config.json's pad_token_id is a token that texts have
    family: str = "llama"  # model_type
    bias: bool | None = None  # attention_bias, where the family has that
    options: dict = dataclasses.field(default_factory=dict)  # other fields of config.json

    @property
    def dir(self):
        return _cache_dir() / f"{self.name}-{_fingerprint(self)}"

    @property
    def model_dir(self):
        return self.dir / "model"

    @property
    def rows_file(self):
        return self.dir / "rows.jsonl"


CASES = [
    Case("untied"),
    Case("tied-llama3-bf16", seed=7, hidden=96, layers=3, heads=6, intermediate=256, vocab=768, rope="llama3",
         tied=True, dtype="bfloat16"),
    Case("wide-heads-llama3", seed=3, kv_heads=1, head_dim=24, rope="llama3", max_shard_size="200KB"),
    Case("tied-multi-head", seed=11, hidden=80, layers=4, heads=5, kv_heads=5, intermediate=208, vocab=1500, tied=True,
         pad_in_text=True),
    Case("untied-bf16", seed=29, hidden=48, layers=3, heads=6, kv_heads=3, head_dim=8, intermediate=128,
         vocab=640, dtype="bfloat16", pad_in_text=True),
    Case("llama-bias", seed=13, bias=True),
    Case("qwen2-tied", seed=17, family="qwen2", tied=True, kv_heads=1, intermediate=192),
    Case("qwen3", seed=19, family="qwen3", layers=3, head_dim=24, max_shard_size="200KB"),
    Case("qwen3-bias-bf16", seed=23, family="qwen3", head_dim=32, kv_heads=4, bias=True, tied=True, dtype="bfloat16"),
]
# One of each family more. Windows and caps are small enough for rows of these lengths to meet them; sizes are such that
# bitsandbytes takes the right scales (hf_models.py).
FAMILY_CASES = [dataclasses.replace(case, intermediate=192) for case in (
    Case("mistral", seed=41, family="mistral", head_dim=32, rope="linear", options={"sliding_window": 24}),
    Case("ministral3", seed=43, family="ministral3", rope="ministral", dtype="bfloat16"),
    Case("gemma2", seed=47, family="gemma2", head_dim=32, tied=True, options={
        "sliding_window": 24, "query_pre_attn_scalar": 12, "attn_logit_softcapping": 4.0, "final_logit_softcapping": 12.0}),
    Case("gemma3", seed=53, family="gemma3_text", layers=3, rope="gemma", tied=True, options={
        "sliding_window": 24, "query_pre_attn_scalar": 12, "layer_types": ["sliding_attention"] * 2 + ["full_attention"]}),
    Case("phi3", seed=59, family="phi3", rope="phi", options={
        "sliding_window": 100, "original_max_position_embeddings": 160}),
    # Without rotation a bias of keys would have no gradient but rounding: it adds the same to all scores of a query.
    Case("smollm3", seed=61, family="smollm3", tied=True, options={"mlp_bias": True, "no_rope_layers": [1, 0]}),
    Case("granite", seed=67, family="granite", options={
        "embedding_multiplier": 3.0, "residual_multiplier": 0.4, "attention_multiplier": 0.4, "logits_scaling": 1.5}),
    Case("olmo2", seed=71, family="olmo2", kv_heads=4, dtype="bfloat16"),
    Case("olmo3", seed=73, family="olmo3", rope="olmo", options={
        "sliding_window": 24, "layer_types": ["sliding_attention", "full_attention"]}),
    Case("glm4", seed=79, family="glm4", rope="glm", bias=True),
    # Rows are longer than a chunk of 64 tokens. Value heads share key heads, or do not.
    Case("qwen3_5", seed=83, family="qwen3_5_text", layers=3, head_dim=32, rope="qwen", options={
        "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 24, "linear_value_head_dim": 16,
        "layer_types": ["linear_attention", "linear_attention", "full_attention"]}),
    Case("qwen3_5-bias-bf16", seed=97, family="qwen3_5_text", kv_heads=4, rope="qwen", tied=True, bias=True, dtype="bfloat16",
         max_shard_size="200KB", options={
             "linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 16, "linear_value_head_dim": 32,
             "linear_conv_kernel_dim": 3, "full_attention_interval": 2}),
)]
CASES += FAMILY_CASES
ROWS = 64
PRETRAIN_STEPS = 250


def _cache_dir():
    return pathlib.Path(os.environ.get("FTD_BUILD_DIR", ROOT / "build")) / "parity"


def _processor():
    """The model and instruction set that the sums of a case follow, with what holds the libraries to a part of them."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    told = {line for line in lines if re.match(r"(model name|flags|Features)\s*:", line)}
    held = {name: value for name, value in os.environ.items() if name.startswith(("ATEN_CPU", "MKL_", "ONEDNN_", "DNNL_"))}
    return sorted(told), sorted(held.items())


def _fingerprint(case):
    """Changes with whatever a case's bytes may depend on."""
    here = pathlib.Path(__file__).parent
    sources = b"".join((here / name).read_bytes() for name in ("case.py", "reference.py"))
    versions = [importlib.metadata.version(name) for name in ("torch", "transformers", "peft", "tokenizers")]
    return hashlib.sha256(repr((case, versions, _processor())).encode() + sources).hexdigest()[:12]


def made(case, finish):
    """The case, on disk. `finish(case)` adds to a new case directory what the caller needs there."""
    cache = _cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / f".{case.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (case.dir / ".complete").exists():
            for stale in cache.glob(f"{case.name}-????????????"):
                shutil.rmtree(stale)
            case.dir.mkdir()
            _make(case)
            finish(case)
            (case.dir / ".complete").touch()
    return case


def load_tokenizer(case):
    return AutoTokenizer.from_pretrained(case.model_dir)


def load_rows(case):
    return [json.loads(line) for line in case.rows_file.read_text(encoding="utf-8").splitlines()]


def render(row):
    return PROMPT.format(row["instruction"], row["input"], row["output"])


def _make(case):
    rows = [
        {key: row[key] for key in ("instruction", "input", "output")}
        for row in json.loads(fetch.llamafactory_data("alpaca_en_demo.json"))
        if 20 < len(row["instruction"]) + len(row["input"]) + len(row["output"]) < 700
    ]
    random.Random(case.seed).shuffle(rows)
    lines = [json.dumps(row, ensure_ascii=False) for row in rows[:ROWS]]
    case.rows_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    prose = fetch.llamafactory_data("wiki_demo.txt")[:400_000]
    texts = [render(row) for row in rows[ROWS:]]
    _make_tokenizer(case, [prose[i : i + 4000] for i in range(0, len(prose), 4000)] + texts)
    tokenizer = load_tokenizer(case)
    documents = tokenizer([prose] + [text + tokenizer.eos_token for text in texts])["input_ids"]
    model = _pretrained(case, tokenizer, torch.tensor([i for ids in documents for i in ids]))
    model.to(getattr(torch, case.dtype)).save_pretrained(case.model_dir, max_shard_size=case.max_shard_size)


def _make_tokenizer(case, texts):
    """Byte-level BPE with Llama 3's pre-tokenizer, its BOS template, and special tokens behind the learned ones."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3_SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    # transformers' Qwen2Tokenizer and Qwen3_5Tokenizer add this one to a vocabulary that lacks it.
    special_tokens = SPECIAL_TOKENS + (["<|endoftext|>"] if case.family in ("qwen2", "qwen3_5_text") else [])
    size = case.vocab - len(special_tokens)
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(special_tokens)
    bos, eos = SPECIAL_TOKENS[:2]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, tokenizer.token_to_id(bos))])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos, eos_token=eos,
                            clean_up_tokenization_spaces=False).save_pretrained(case.model_dir)


def _pretrained(case, tokenizer, corpus):
    torch.manual_seed(case.seed)
    options = {} if case.bias is None else {"attention_bias": case.bias}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(
        case.family, **options, vocab_size=len(tokenizer), hidden_size=case.hidden, intermediate_size=case.intermediate,
        num_hidden_layers=case.layers, num_attention_heads=case.heads, num_key_value_heads=case.kv_heads,
        head_dim=case.head_dim, max_position_embeddings=512, rms_norm_eps=1e-5, rope_parameters=ROPE[case.rope],
        tie_word_embeddings=case.tied, **case.options, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=int(corpus.bincount().argmax()) if case.pad_in_text else None), attn_implementation="eager")
    for name, parameter in model.named_parameters():
        if name.endswith("A_log"):  # as drawn, a state is gone within a token, and what made it go learns from rounding alone
            parameter.data -= 3
    generator = torch.Generator().manual_seed(case.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    for _ in range(PRETRAIN_STEPS):
        starts = torch.randint(0, len(corpus) - 129, (16,), generator=generator).tolist()
        batch = torch.stack([corpus[i : i + 128] for i in starts])
        model(input_ids=batch, labels=batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():  # by themselves norm weights stay near one, and biases near zero: forgetting one would not show
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith(".bias"):
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model
