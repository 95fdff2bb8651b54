"""What Hugging Face's software computes for a case: curves, final weights, adapters and logits.

The loop is written out in plain PyTorch over transformers' and PEFT's own modules, so that every rule of the numerics
contract (docs/numerics.md) stands here in one line; trl_test.py checks it against TRL's trainer. Rules of every run:
rows in file order, batch 4, wrapping; text = prompt + EOS, BOS by the tokenizer; cut right at 256; loss over all tokens
of the step but pads; AdamW 0.9/0.999/1e-8 without decay; gradient clipped to 1; linear decay without warm-up.
"""
import dataclasses
import json

import torch
from case import load_rows, load_tokenizer, made, render
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

BATCH, MAX_LENGTH, STEPS = 4, 256, 20


@dataclasses.dataclass(frozen=True)
class Run:
    name: str
    mode: str
    learning_rate: float
    accumulation: int = 1
    weights: bool = False  # compare final weights: meaningful at the scripts' rates only (docs/numerics.md)


RUNS = [
    Run("lora", "lora", 1e-4, weights=True),
    Run("lora_fast", "lora", 5e-3),
    Run("lora_accumulated", "lora", 5e-3, accumulation=2),
    Run("full", "full", 5e-5, weights=True),
    Run("full_fast", "full", 1e-3),
]


def runs_of(case):
    """All for Llamas; of another family, or with biases, the two whose final weights are compared too."""
    return [run for run in RUNS if run.weights or (case.family, case.bias) == ("llama", None)]


class Reference:
    """The recorded numbers of one case."""

    def __init__(self, case):
        self.case = made(case, _record)
        self.expected = json.loads((self.case.dir / "expected.json").read_text())
        self.logits = load_file(self.case.dir / "logits.safetensors")
        self.init_adapter = self.case.dir / "lora-init"

    def adapter(self, run_name):
        return self.case.dir / run_name

    def final_weights(self, run_name):
        return load_file(self.case.dir / f"{run_name}.safetensors")


def load_model(model_dir):
    return AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32, attn_implementation="eager").eval()


def load_peft(model_dir, adapter_dir):
    return PeftModel.from_pretrained(load_model(model_dir), adapter_dir).eval()


def logits_of(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0].float().contiguous()


class Batches:
    """Micro-batches of a case's rows in file order: (input_ids, attention_mask, labels), right-padded with EOS."""

    def __init__(self, case):
        tokenizer = load_tokenizer(case)
        self.eos = tokenizer.eos_token_id
        texts = [render(row) + tokenizer.eos_token for row in load_rows(case)]
        self.ids = [ids[:MAX_LENGTH] for ids in tokenizer(texts)["input_ids"]]

    def of_step(self, step, accumulation):
        return [self[step * accumulation + j] for j in range(accumulation)]

    def __getitem__(self, k):
        return self.padded([(k * BATCH + j) % len(self.ids) for j in range(BATCH)])

    def padded(self, indices):
        rows = [self.ids[i] for i in indices]
        width = max(map(len, rows))
        x_BT = torch.tensor([ids + [self.eos] * (width - len(ids)) for ids in rows])
        mask_BT = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in rows])
        return x_BT, mask_BT, x_BT.masked_fill(mask_BT == 0, -100)


def train(model, batches, run):
    """Trains in place; returns the curve."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    curve = {key: [] for key in ("loss", "grad_norm", "learning_rate", "tokens", "padding_ratio")}
    model.train()
    for step in range(STEPS):
        micro_batches = batches.of_step(step, run.accumulation)
        targets = sum(int((labels[:, 1:] != -100).sum()) for _, _, labels in micro_batches)
        loss = sum(_backward(model, *micro_batch, targets) for micro_batch in micro_batches)
        for group in optimizer.param_groups:
            group["lr"] = run.learning_rate * (STEPS - step) / STEPS
        grad_norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0).item()
        optimizer.step()
        optimizer.zero_grad()
        real = sum(int(mask.sum()) for _, mask, _ in micro_batches)
        padded = sum(mask.numel() for _, mask, _ in micro_batches)
        values = (loss, grad_norm, group["lr"], real, 1 - real / padded)
        for key, value in zip(curve, values):
            curve[key].append(value)
    model.eval()
    return curve


def _backward(model, x_BT, mask_BT, labels_BT, targets):
    logits_BTV = model(input_ids=x_BT, attention_mask=mask_BT).logits.float()
    loss = torch.nn.functional.cross_entropy(
        logits_BTV[:, :-1].flatten(0, 1), labels_BT[:, 1:].flatten(), ignore_index=-100, reduction="sum") / targets
    loss.backward()
    return loss.item()


def trainable(case, run):
    model = load_model(case.model_dir)
    if run.mode == "full":
        return model
    return PeftModel.from_pretrained(model, case.dir / "lora-init", is_trainable=True)


def _make_init_adapter(case):
    torch.manual_seed(case.seed + 1)
    config = LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules="all-linear", task_type=TaskType.CAUSAL_LM)
    get_peft_model(load_model(case.model_dir), config).save_pretrained(case.dir / "lora-init")


def _record(case):
    """Adds lora-init/, one adapter or weight file a run, logits.safetensors and expected.json to a case directory."""
    _make_init_adapter(case)
    batches = Batches(case)
    prompt_ids = batches.ids[0][:48]
    logits = {"base": logits_of(load_model(case.model_dir), prompt_ids)}
    curves = {}
    for run in runs_of(case):
        model = trainable(case, run)
        curves[run.name] = train(model, batches, run)
        logits[run.name] = logits_of(model, prompt_ids)
        if run.mode == "lora":
            model.save_pretrained(case.dir / run.name)
        else:
            tied = "lm_head.weight" if case.tied else None
            weights = {name: w.contiguous() for name, w in model.state_dict().items() if name != tied}
            save_file(weights, case.dir / f"{run.name}.safetensors", metadata={"format": "pt"})
    save_file(logits, case.dir / "logits.safetensors")
    expected = {"prompt_ids": prompt_ids, "row_ids": batches.ids, "curves": curves}
    (case.dir / "expected.json").write_text(json.dumps(expected))
