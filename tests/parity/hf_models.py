"""Models as NVIDIA's scripts load them with transformers and bitsandbytes, and hand them to TRL.

Shapes of NF4_CASES are such that every row is whole blocks of 64: bitsandbytes' AVX-512 kernel takes wrong scales where it
is not. Its models stay in training mode: in evaluation it multiplies in bfloat16, whatever the dtype, where the processor
can.
"""
import torch
from case import Case, made
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from reference import load_model
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

NF4_CASES = [
    Case("nf4-bf16", seed=5, intermediate=192, dtype="bfloat16"),
    Case("nf4-tied-llama3", seed=9, kv_heads=1, head_dim=32, intermediate=128, vocab=768, rope="llama3", tied=True,
         max_shard_size="200KB"),
    Case("nf4-qwen3-bias", seed=37, hidden=128, family="qwen3", bias=True, head_dim=32, intermediate=192),
]


def made_for_nf4(case):
    return made(case, _init_adapter)


def _init_adapter(case):
    torch.manual_seed(case.seed + 1)
    config = LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules="all-linear", task_type=TaskType.CAUSAL_LM)
    get_peft_model(load_model(case.model_dir), config).save_pretrained(case.dir / "lora-init")


def load_plain(model_dir, dtype=torch.float32, attention="eager"):
    return AutoModelForCausalLM.from_pretrained(model_dir, dtype=dtype, attn_implementation=attention)


def load_nf4(model_dir, dtype=torch.float32, attention="eager", **changes):
    """dtype and compute dtype are the same."""
    if not changes.pop("already", False):
        settings = dict(load_in_4bit=True, bnb_4bit_use_double_quant=True, bnb_4bit_quant_type="nf4",
                        bnb_4bit_compute_dtype=dtype) | changes
        changes = {"quantization_config": BitsAndBytesConfig(**settings)}
    return AutoModelForCausalLM.from_pretrained(
        model_dir, dtype=dtype, attn_implementation=attention, **changes).train()


def trainable(case, mode, **options):
    """With the initial adapter that ftd is given too."""
    model = (load_nf4 if mode == "qlora" else load_plain)(case.model_dir, **options)
    return model if mode == "full" else PeftModel.from_pretrained(model, case.dir / "lora-init", is_trainable=True)
