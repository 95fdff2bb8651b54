"""The parity checks can fail: typical mistakes of an implementation, and of what stores it, land outside the tolerances.

Each mistake is made in Hugging Face's own model, in float32, and measured as the other tests measure ftd.
"""
import importlib

import pytest
import torch
from case import CASES
from reference import Batches, Reference, load_model, logits_of
from tolerance import LOGITS, LOSS, WEIGHTS, logit_distance, relative, rounded_distance


def interleaved_rope(model, case, monkeypatch):
    """Meta's pairing of neighbours on weights that are laid out for halves."""

    def rotate_pairs(x):
        rotated = torch.empty_like(x)
        rotated[..., 0::2], rotated[..., 1::2] = -x[..., 1::2], x[..., 0::2]
        return rotated

    def apply(q, k, cos, sin, *_, **__):
        half = cos.shape[-1] // 2
        cos, sin = (t[..., :half].repeat_interleave(2, -1).unsqueeze(1) for t in (cos, sin))
        return q * cos + rotate_pairs(q) * sin, k * cos + rotate_pairs(k) * sin

    module = importlib.import_module(f"transformers.models.{case.family}.modeling_{case.family}")
    monkeypatch.setattr(module, "apply_rotary_pos_emb", apply)


def other_theta(model, case, monkeypatch):
    """Twice the default θ; for llama3 this also drops the frequency scaling."""
    exponent = torch.arange(0, case.head_dim, 2).float() / case.head_dim
    model.model.rotary_emb.inv_freq = 1.0 / (20000.0**exponent)


def other_eps(model, case, monkeypatch):
    for module in model.modules():
        if hasattr(module, "variance_epsilon"):
            module.variance_epsilon = 1e-6


def kv_head_modulo(model, case, monkeypatch):
    """Query head h reads key-value head h % G where it should read h // (H / G)."""
    group, dim = case.heads // case.kv_heads, case.head_dim
    order = [(h % case.kv_heads) * group + h // case.kv_heads for h in range(case.heads)]
    for layer in model.model.layers:
        o = layer.self_attn.o_proj.weight.data
        for q in layer.self_attn.q_proj.parameters():  # with the bias
            q.data.copy_(q.data.view(case.heads, dim, -1)[order].reshape(q.shape))
        o.copy_(o.view(-1, case.heads, dim)[:, order].reshape(o.shape))


def norm_weight_forgotten(model, case, monkeypatch):
    model.model.norm.weight.data.fill_(1.0)


def bias_forgotten(part):
    def mistake(model, case, monkeypatch):
        for name, parameter in model.named_parameters():
            if name.endswith(f"{part}.bias"):
                parameter.data.zero_()

    mistake.__name__ = f"{part}_bias_forgotten"
    return mistake


def norm_of_head_forgotten(part):
    def mistake(model, case, monkeypatch):
        for layer in model.model.layers:
            setattr(layer.self_attn, part, torch.nn.Identity())

    mistake.__name__ = f"{part}_forgotten"
    return mistake


def weight_of_head_norm_forgotten(model, case, monkeypatch):
    for layer in model.model.layers:
        layer.self_attn.k_norm.weight.data.fill_(1.0)


def head_norm_after_rope(model, case, monkeypatch):
    """It commutes with the rotation but for its weight."""
    module = importlib.import_module(f"transformers.models.{case.family}.modeling_{case.family}")
    apply, norms = module.apply_rotary_pos_emb, []
    for layer in model.model.layers:
        norms.append((layer.self_attn.q_norm, layer.self_attn.k_norm))
        layer.self_attn.q_norm, layer.self_attn.k_norm = torch.nn.Identity(), torch.nn.Identity()
    calls = iter(norms * 100)

    def rotate_first(q, k, *args, **kwargs):
        q, k = apply(q, k, *args, **kwargs)
        q_norm, k_norm = next(calls)
        return q_norm(q), k_norm(k)

    monkeypatch.setattr(module, "apply_rotary_pos_emb", rotate_first)


MISTAKES = [interleaved_rope, other_theta, other_eps, kv_head_modulo, norm_weight_forgotten]
QKV_BIASES = [bias_forgotten(part) for part in ("q_proj", "k_proj", "v_proj")]
HEAD_NORMS = [norm_of_head_forgotten("q_norm"), norm_of_head_forgotten("k_norm"), weight_of_head_norm_forgotten,
              head_norm_after_rope]


def mistakes_of(case):
    """Those that the case can show: with one group or one head a group both orders of heads are the same."""
    mistakes = [mistake for mistake in MISTAKES if mistake is not kv_head_modulo or 1 < case.kv_heads < case.heads]
    if case.family == "qwen2" or case.bias:
        mistakes += QKV_BIASES
    if case.bias:
        mistakes.append(bias_forgotten("o_proj"))
    if case.family == "qwen3":
        mistakes += HEAD_NORMS
    return mistakes


@pytest.mark.parametrize("case, mistake", [(case, mistake) for case in CASES for mistake in mistakes_of(case)],
                         ids=lambda one: getattr(one, "name", None) or one.__name__)
def test_mistake_shows(case, mistake, monkeypatch):
    reference = Reference(case)
    model = load_model(case.model_dir)
    mistake(model, case, monkeypatch)
    x_BT, mask_BT, labels_BT = Batches(case)[0]
    with torch.no_grad():
        loss = model(input_ids=x_BT, attention_mask=mask_BT, labels=labels_BT).loss.item()
    by_loss = relative([loss], reference.expected["curves"]["full"]["loss"][:1])
    by_logits = logit_distance(logits_of(model, reference.expected["prompt_ids"]), reference.logits["base"])
    assert by_loss > LOSS or by_logits > LOGITS, (by_loss, by_logits)
    print(f"{case.name} {mistake.__name__}: loss {by_loss:.1e}, logits {by_logits:.1e}")


def truncated(weights):
    """The upper half of each float32, as a cast by shifting takes it."""
    return {name: (w.view(torch.int32) & -65536).view(torch.float32).to(torch.bfloat16) for name, w in weights.items()}


def rounded(weights):
    return {name: w.to(torch.bfloat16) for name, w in weights.items()}


def rounded_to_7_bits(weights):
    return {name: (w.to(torch.bfloat16).view(torch.int16) & -2).view(torch.bfloat16) for name, w in weights.items()}


def rounded_through_float16(weights):
    return rounded({name: w.half().float() for name, w in weights.items()})


def one_row_of_another_step(weights):
    """A row of the last layer's largest matrix that misses a thousandth of itself: less than half a unit of any weight."""
    changed = {name: w.clone() for name, w in weights.items()}
    changed[_last_matrix(weights)][5] *= 1.001
    return rounded(changed)


def one_weight_a_unit_off(weights):
    """The largest one of a matrix, by a unit of its last place."""
    changed = rounded(weights)
    flat = changed[_last_matrix(weights)].view(torch.int16).view(-1)
    flat[weights[_last_matrix(weights)].abs().argmax()] += 1
    return changed


def _last_matrix(weights):
    return [name for name in weights if name.endswith("down_proj.weight")][-1]


STORED_WRONG = [truncated, rounded_to_7_bits, rounded_through_float16, one_row_of_another_step, one_weight_a_unit_off]


@pytest.mark.parametrize("mistake", STORED_WRONG, ids=lambda m: m.__name__)
@pytest.mark.parametrize("case", [case for case in CASES if case.dtype == "bfloat16"], ids=lambda c: c.name)
def test_mistake_of_rounding_shows(case, mistake):
    expected = Reference(case).final_weights("full")
    # Right answers are 1e-7 apart before they are rounded (tolerance.py); ten times as much passes.
    generator = torch.Generator().manual_seed(1)
    near = {name: w + torch.randn(w.shape, generator=generator) * w.square().mean().sqrt() * 1e-6 for name, w in expected.items()}
    assert rounded_distance(rounded(near), expected) <= WEIGHTS / 2
    distance = rounded_distance(mistake(expected), expected)
    print(f"{case.name} {mistake.__name__}: {distance:.1e}")
    assert distance > WEIGHTS
