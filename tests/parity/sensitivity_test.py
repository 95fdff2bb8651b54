"""The parity checks can fail: typical mistakes of an implementation, and of what stores it, land outside the tolerances.

Each mistake is made in Hugging Face's own model, in float32, and measured as the other tests measure ftd.
"""
import importlib

import pytest
import torch
from case import CASES
from reference import Batches, Reference, load_model, logits_of
from tolerance import LOGITS, LOSS, WEIGHTS, logit_distance, relative, rounded_distance


def module_of(case):
    folder = case.family.removesuffix("_text")
    return importlib.import_module(f"transformers.models.{folder}.modeling_{folder}")


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

    module = module_of(case)
    monkeypatch.setattr(module, "apply_rotary_pos_emb", apply)


def other_theta(model, case, monkeypatch):
    """Twice the default θ; for other types than the default this also drops the scaling of frequencies."""
    rotary = model.model.rotary_emb
    for name, frequencies in list(rotary.named_buffers()):
        if name.endswith("inv_freq"):
            pairs = frequencies.numel()
            setattr(rotary, name, 1.0 / (20000.0 ** (torch.arange(pairs).float() / pairs)))


def other_eps(model, case, monkeypatch):
    for module in model.modules():
        for name in ("variance_epsilon", "eps"):
            if hasattr(module, name) and "Norm" in type(module).__name__:
                setattr(module, name, 1e-6)


def kv_head_modulo(model, case, monkeypatch):
    """Query head h reads key-value head h % G where it should read h // (H / G)."""
    group, dim = case.heads // case.kv_heads, case.head_dim
    order = [(h % case.kv_heads) * group + h // case.kv_heads for h in range(case.heads)]
    for layer in model.model.layers:
        o, attention = layer.self_attn.o_proj.weight.data, layer.self_attn
        q_rows = case.heads * dim
        for q in (getattr(attention, "q_proj", None) or attention.qkv_proj).parameters():  # with the bias
            q.data[:q_rows].copy_(q.data[:q_rows].view(case.heads, dim, -1)[order].reshape(q.data[:q_rows].shape))
        o.copy_(o.view(-1, case.heads, dim)[:, order].reshape(o.shape))


def norm_weight_forgotten(model, case, monkeypatch):
    model.model.norm.weight.data.fill_(0.0 if case.family.startswith(("gemma", "qwen3_5")) else 1.0)


def bias_forgotten(part):
    def mistake(model, case, monkeypatch):
        for name, parameter in model.named_parameters():
            if name.endswith(f"{part}.bias"):
                parameter.data.zero_()

    mistake.__name__ = f"{part}_bias_forgotten"
    return mistake


def attentions(model):
    return [layer.self_attn for layer in model.model.layers if hasattr(layer, "self_attn")]


def norm_of_head_forgotten(part):
    def mistake(model, case, monkeypatch):
        for attention in attentions(model):
            setattr(attention, part, torch.nn.Identity())

    mistake.__name__ = f"{part}_forgotten"
    return mistake


def weight_of_head_norm_forgotten(model, case, monkeypatch):
    for attention in attentions(model):
        attention.k_norm.weight.data.fill_(0.0 if case.family.startswith(("gemma", "qwen3_5")) else 1.0)


def head_norm_after_rope(model, case, monkeypatch):
    """It commutes with the rotation but for its weight."""
    module = module_of(case)
    apply, norms = module.apply_rotary_pos_emb, []
    for attention in attentions(model):
        norms.append((attention.q_norm, attention.k_norm))
        attention.q_norm, attention.k_norm = torch.nn.Identity(), torch.nn.Identity()
    calls = iter(norms * 100)

    def rotate_first(q, k, *args, **kwargs):
        q, k = apply(q, k, *args, **kwargs)
        q_norm, k_norm = next(calls)
        return q_norm(q), k_norm(k)

    monkeypatch.setattr(module, "apply_rotary_pos_emb", rotate_first)


def of_layers(name, *path_and_value):
    """A mistake that sets an attribute of every layer, by its path."""
    *path, value = path_and_value

    def mistake(model, case, monkeypatch):
        for layer in model.model.layers:
            holder = layer
            for part in path[:-1]:
                holder = getattr(holder, part)
            setattr(holder, path[-1], value(holder) if callable(value) and not isinstance(value, torch.nn.Module) else value)

    mistake.__name__ = name
    return mistake


def of_model(name, change):
    def mistake(model, case, monkeypatch):
        change(model)

    mistake.__name__ = name
    return mistake


def set_config(**fields):
    def change(model):
        for name, value in fields.items():
            setattr(model.config, name, value)

    return change


def all_layers_full(model):
    for i in range(len(model.config.layer_types)):
        model.config.layer_types[i] = "full_attention"


def window_of_one_more(model):
    model.config.sliding_window += 1


def offset_of_norms_forgotten(model):
    for module in model.modules():
        if type(module).__name__ in ("Gemma2RMSNorm", "Gemma3RMSNorm", "Qwen3_5RMSNorm"):
            module.weight.data -= 1


def rope_of_full_layers_everywhere(model):
    rotary = model.model.rotary_emb
    rotary.sliding_attention_inv_freq = rotary.full_attention_inv_freq
    rotary.sliding_attention_attention_scaling = rotary.full_attention_attention_scaling


def rope_of_windowed_layers_everywhere(model):
    rotary = model.model.rotary_emb
    rotary.full_attention_inv_freq = rotary.sliding_attention_inv_freq
    rotary.full_attention_attention_scaling = 1.0


def whole_heads_rotate(model):
    rotary = model.model.rotary_emb
    head_dim = getattr(model.config, "head_dim", None) or model.config.hidden_size // model.config.num_attention_heads
    rotary.inv_freq = rotary.original_inv_freq = rotary.long_inv_freq = 1.0 / (
        10000.0 ** (torch.arange(0, head_dim, 2).float() / head_dim))


def long_frequencies_forgotten(model):
    model.model.rotary_emb.long_inv_freq = model.model.rotary_emb.original_inv_freq


def silu_for_gelu(model):
    for layer in model.model.layers:
        layer.mlp.act_fn = torch.nn.SiLU()


def gelu_for_silu(model):
    for layer in model.model.layers:
        layer.mlp.act_fn = torch.nn.GELU(approximate="tanh")


def heads_normed_one_by_one(model, case, monkeypatch):
    """OLMo norms the whole projection; the statistics of each head would be others."""
    class ByHead(torch.nn.Module):
        def __init__(self, whole):
            super().__init__()
            self.whole = whole

        def forward(self, x):
            heads = x.unflatten(-1, (-1, case.head_dim))
            normed = heads * torch.rsqrt(heads.pow(2).mean(-1, keepdim=True) + self.whole.variance_epsilon)
            return normed.flatten(-2) * self.whole.weight

    for layer in model.model.layers:
        layer.self_attn.q_norm, layer.self_attn.k_norm = ByHead(layer.self_attn.q_norm), ByHead(layer.self_attn.k_norm)


def halves_for_neighbours(model, case, monkeypatch):
    """Llama's pairs, of GLM's part of a head."""
    def apply(q, k, cos, sin, *_, **__):
        cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)

        def rotated(x):
            part, rest = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
            first, second = part.chunk(2, -1)
            return torch.cat([part * cos + torch.cat([-second, first], -1) * sin, rest], -1)

        return rotated(q), rotated(k)

    monkeypatch.setattr(importlib.import_module("transformers.models.glm4.modeling_glm4"), "apply_rotary_pos_emb", apply)


def embedding_scale_forgotten(model):
    model.model.embed_tokens.embed_scale.fill_(1.0)


def query_scale_forgotten(model):
    model.config.rope_parameters["llama_4_scaling_beta"] = 0.0


def attention_factor_forgotten(model):
    model.model.rotary_emb.attention_scaling = 1.0


def mlp_biases_forgotten(model):
    for name, parameter in model.named_parameters():
        if ".mlp." in name and name.endswith(".bias"):
            parameter.data.zero_()


def output_gates_forgotten(model, case, monkeypatch):
    def open_gates(_, __, out):
        heads = out.unflatten(-1, (-1, 2 * case.head_dim)).clone()
        heads[..., case.head_dim :] = 1e4
        return heads.flatten(-2)

    for attention in attentions(model):
        attention.q_proj.register_forward_hook(open_gates)


def gates_behind_all_queries(model, case, monkeypatch):
    """All queries and then all gates, where each query has its gate behind it."""
    for attention in attentions(model):
        for q in attention.q_proj.parameters():
            q.data.copy_(q.data.unflatten(0, (2, case.heads, case.head_dim)).transpose(0, 1).flatten(0, 2))


def delta_rule(name, change):
    """A mistake of what reaches the rule, or of the rule: change(rule, query, key, value, g, beta, options)."""
    def mistake(model, case, monkeypatch):
        module = module_of(case)
        rule = module.torch_chunk_gated_delta_rule

        def changed(query, key, value, g, beta, **options):
            return change(rule, query, key, value, g, beta, options)

        monkeypatch.setattr(module, "torch_chunk_gated_delta_rule", changed)

    mistake.__name__ = name
    return mistake


def state_of_each_chunk_alone(rule, query, key, value, g, beta, options):
    made = [rule(*part, **options) for part in zip(*(x.split(64, 1) for x in (query, key, value, g, beta)))]
    return torch.cat([out for out, _ in made], 1), made[-1][1]


def heads_modulo(rule, query, key, value, g, beta, options):
    """Value head h reads key head h % K where it should read h // (N / K)."""
    sharers = value.shape[2] // key.shape[2]
    return rule(query.repeat(1, 1, sharers, 1), key.repeat(1, 1, sharers, 1), value, g, beta, **options)


def unscaled_queries(rule, query, key, value, g, beta, options):
    out, state = rule(query, key, value, g, beta, **options)
    return out * query.shape[-1] ** 0.5, state


def of_delta(name, change):
    """A mistake in the modules or parameters of each layer with the delta rule."""
    def mistake(model, case, monkeypatch):
        for layer in model.model.layers:
            if hasattr(layer, "linear_attn"):
                change(layer.linear_attn)

    mistake.__name__ = name
    return mistake


def gate_before_norm(delta):
    norm = delta.norm

    class GateFirst(torch.nn.Module):
        def forward(self, x, gate):
            x = x * torch.nn.functional.silu(gate)
            return norm.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)

    delta.norm = GateFirst()


def gate_by_sigmoid(delta):
    norm = delta.norm

    class Sigmoid(torch.nn.Module):
        def forward(self, x, gate):
            return norm.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon) * gate.sigmoid()

    delta.norm = Sigmoid()


def convolution_forgotten(delta):
    delta.conv1d.weight.data[..., :-1] = 0
    delta.conv1d.weight.data[..., -1] = 1


DELTA = [
    delta_rule("state_of_each_chunk_alone", state_of_each_chunk_alone), delta_rule("unscaled_queries", unscaled_queries),
    delta_rule("lengths_as_they_are", lambda rule, *of: rule(*of[:-1], **(of[-1] | {"use_qk_l2norm_in_kernel": False}))),
    delta_rule("decay_forgotten", lambda rule, q, k, v, g, beta, options: rule(q, k, v, torch.zeros_like(g), beta, **options)),
    delta_rule("beta_forgotten", lambda rule, q, k, v, g, beta, options: rule(q, k, v, g, torch.ones_like(beta), **options)),
    of_delta("step_bias_forgotten", lambda delta: delta.dt_bias.data.zero_()),
    of_delta("A_without_its_logarithm", lambda delta: delta.A_log.data.copy_(delta.A_log.data.exp())),
    of_delta("convolution_forgotten", convolution_forgotten), of_delta("gate_by_sigmoid", gate_by_sigmoid),
    of_delta("convolution_backwards", lambda delta: delta.conv1d.weight.data.copy_(delta.conv1d.weight.data.flip(-1))),
    of_delta("convolution_without_activation", lambda delta: setattr(delta, "activation", None)),
    of_delta("gate_before_norm", gate_before_norm),
    of_delta("weight_of_gated_norm_forgotten", lambda delta: delta.norm.weight.data.fill_(1.0)),
]
IDENTITY = torch.nn.Identity()
BY_HEAD_DIM = of_layers("scale_of_the_head_size", "self_attn", "scaling", lambda attention: attention.head_dim**-0.5)
OUTPUT_NORMS = [of_layers(f"{name}_forgotten", name, IDENTITY)
                for name in ("post_attention_layernorm", "post_feedforward_layernorm")]
FORGOTTEN_WINDOWS = [of_model("windows_forgotten", all_layers_full), of_model("window_of_one_more", window_of_one_more)]
ONE_WINDOW = [of_model("window_forgotten", set_config(sliding_window=None)), of_model("window_of_one_more", window_of_one_more)]
# What leaving out or mistaking a trait of a family comes to.
OF_FAMILY = {
    "mistral": ONE_WINDOW,
    "ministral3": [of_model(change.__name__, change) for change in (query_scale_forgotten, attention_factor_forgotten)],
    "gemma2": FORGOTTEN_WINDOWS + OUTPUT_NORMS + [
        BY_HEAD_DIM, of_model("logits_uncapped", set_config(final_logit_softcapping=None)),
        of_layers("scores_uncapped", "self_attn", "attn_logit_softcapping", None),
        of_layers("pre_feedforward_layernorm_forgotten", "pre_feedforward_layernorm", IDENTITY),
        *(of_model(change.__name__, change) for change in (offset_of_norms_forgotten, silu_for_gelu, embedding_scale_forgotten))],
    "gemma3_text": OUTPUT_NORMS + [
        BY_HEAD_DIM, of_model("window_of_one_more", window_of_one_more),
        *(of_model(change.__name__, change) for change in (
            offset_of_norms_forgotten, silu_for_gelu, embedding_scale_forgotten, rope_of_full_layers_everywhere,
            rope_of_windowed_layers_everywhere))],
    "phi3": ONE_WINDOW + [of_model(change.__name__, change) for change in (
        whole_heads_rotate, long_frequencies_forgotten, attention_factor_forgotten)],
    "smollm3": [of_layers("all_layers_rotate", "self_attn", "use_rope", 1), of_layers("none_rotates", "self_attn", "use_rope", 0),
                of_model("mlp_biases_forgotten", mlp_biases_forgotten), of_model("gelu_for_silu", gelu_for_silu)],
    "granite": [BY_HEAD_DIM, of_layers("residual_multiplier_forgotten", "residual_multiplier", 1.0),
                of_model("logits_scaling_forgotten", set_config(logits_scaling=1.0)),
                of_model("embedding_multiplier_forgotten", lambda model: setattr(model.model, "embedding_multiplier", 1.0))],
    "olmo2": OUTPUT_NORMS + [heads_normed_one_by_one],
    "olmo3": OUTPUT_NORMS + [heads_normed_one_by_one, of_model("window_of_one_more", window_of_one_more), *(
        of_model(change.__name__, change) for change in (rope_of_full_layers_everywhere, rope_of_windowed_layers_everywhere))],
    "glm4": [halves_for_neighbours, of_model("whole_heads_rotate", whole_heads_rotate), *(
        of_layers(f"{name}_forgotten", name, IDENTITY) for name in ("post_self_attn_layernorm", "post_mlp_layernorm"))],
    "qwen3_5_text": DELTA + [output_gates_forgotten, gates_behind_all_queries, *(
        of_model(change.__name__, change) for change in (offset_of_norms_forgotten, whole_heads_rotate))],
}
MISTAKES = [interleaved_rope, other_theta, other_eps, kv_head_modulo, norm_weight_forgotten]
QKV_BIASES = [bias_forgotten(part) for part in ("q_proj", "k_proj", "v_proj")]
HEAD_NORMS = [norm_of_head_forgotten("q_norm"), norm_of_head_forgotten("k_norm"), weight_of_head_norm_forgotten,
              head_norm_after_rope]


def mistakes_of(case):
    """Those that the case can show: with one group or one head a group both orders of heads are the same."""
    mistakes = [mistake for mistake in MISTAKES if mistake is not kv_head_modulo or 1 < case.kv_heads < case.heads]
    if case.rope in ("phi", "glm", "qwen"):  # which rotate a part of each head
        mistakes.remove(interleaved_rope)
    # The norm's weight would have to move too, or the gates.
    if case.family.startswith(("olmo", "qwen3_5")) and kv_head_modulo in mistakes:
        mistakes.remove(kv_head_modulo)
    options = case.options
    if options.get("linear_num_key_heads") != options.get("linear_num_value_heads"):
        mistakes.append(delta_rule("heads_modulo", heads_modulo))
    if case.family == "qwen2" or case.bias:
        mistakes += QKV_BIASES
    if case.bias and case.family != "glm4":
        mistakes.append(bias_forgotten("o_proj"))
    if case.family in ("qwen3", "gemma3_text", "qwen3_5_text"):
        mistakes += HEAD_NORMS
    return mistakes + OF_FAMILY.get(case.family, [])


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
