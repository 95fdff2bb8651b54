"""GGUF files of lib/gguf as llama.cpp itself reads them: logits, greedy text, token ids, quantised blocks, adapters.

llama.cpp is that of the wheel xllamacpp (tests/support/llama_cpp.py); the models are transformers' (gguf_models.py). Its
only own error in float32 is a table of 16-bit GELU values, which the comparison with Gemma takes over.
"""
import ctypes
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import unicodedata

import gguf
import numpy as np
import pytest

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1] / "tokenizer")]
import gguf_models  # noqa: E402
import llama_cpp  # noqa: E402
import make_tokenizers  # noqa: E402
import tokenizer_texts  # noqa: E402

import torch  # noqa: E402
import transformers  # noqa: E402
from tiny_model import quieten_transformers  # noqa: E402

BUILD = pathlib.Path(os.environ.get("FTD_BUILD_DIR", "build"))
TOOL, ENCODE = BUILD / "tests" / "gguf_tool", BUILD / "tests" / "encode_lines"
SEED = int(os.environ.get("FTD_TEST_SEED", "20261130"))
IDS = np.random.RandomState(1).randint(2, 400, 60).tolist()
quieten_transformers()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Makes each case of gguf_models once."""
    made, root = {}, tmp_path_factory.mktemp("models")

    def model(name):
        if name not in made:
            made[name] = gguf_models.make(root / name, *gguf_models.CASES[name], seed=len(name))
        return made[name]
    return model


def convert(model_dir, path, file_type="f32", adapter=None):
    """The report; an error's message as an AssertionError."""
    verb = ["model"] if adapter is None else ["adapter"]
    run = subprocess.run([TOOL, *verb, file_type, model_dir, path, *([adapter] if adapter else [])], capture_output=True, text=True,
                         timeout=120)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def refusal(model_dir, path, file_type="f32"):
    run = subprocess.run([TOOL, "model", file_type, model_dir, path], capture_output=True, text=True, timeout=120)
    assert run.returncode == 1 and not list(path.parent.glob(path.name + "*")), run
    return run.stderr


class TableGelu(torch.nn.Module):
    """GELU as llama.cpp has it: a table by the 16-bit number next to x; beyond ±10 the limits."""

    def forward(self, x):
        y = torch.nn.functional.gelu(x.half().float(), approximate="tanh").half().float()
        return torch.where(x <= -10, 0.0, torch.where(x >= 10, x, y))


def load(model_dir):
    model = transformers.AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32, attn_implementation="eager").eval()
    if "gemma" in model.config.model_type:
        for layer in model.model.layers:
            layer.mlp.act_fn = TableGelu()
    return model


def logits(model):
    with torch.no_grad():
        return model(torch.tensor([IDS])).logits[0].numpy()


def greedy(model, count):
    with torch.no_grad():
        return model.generate(torch.tensor([IDS]), max_new_tokens=count, do_sample=False, eos_token_id=None)[0, len(IDS):].tolist()


@pytest.mark.parametrize("name", gguf_models.CASES)
def test_logits_and_text_of_a_family(name, models, tmp_path):
    convert(models(name), tmp_path / "model.gguf")
    reference = load(models(name))
    want = logits(reference)
    with llama_cpp.Model(tmp_path / "model.gguf") as model:
        got = model.logits(IDS)
        text = model.greedy(IDS, 12)
    difference = np.abs(got - want).max()
    print(f"{name}: logits to {np.abs(want).max():.1f}, at most {difference:.1e} apart")
    assert difference < 5e-4
    assert text == greedy(reference, 12)


@pytest.mark.parametrize("name", gguf_models.WHOLES)
def test_the_text_part_of_a_model_with_images(name, models, tmp_path):
    part, rest = gguf_models.WHOLES[name]
    gguf_models.make_whole(tmp_path / "whole", models(part), name, rest)
    convert(tmp_path / "whole", tmp_path / "whole.gguf")
    with llama_cpp.Model(tmp_path / "whole.gguf") as model:
        assert np.abs(model.logits(IDS) - logits(load(models(part)))).max() < 5e-4


@pytest.mark.parametrize("number", range(int(os.environ.get("FTD_GGUF_MODELS", "6"))))
def test_random_models(number, tmp_path):
    """Any family with other sizes and options: the same logits, or a refusal that says why."""
    seed = SEED * 10_000 + number
    model_type, options = gguf_models.random_case(random.Random(seed))
    print(f"seed {seed}: {model_type} {options}")
    hidden = options["num_attention_heads"] * options.get("head_dim", 16)
    folder = gguf_models.make(tmp_path / "model", model_type, options, seed=seed, hidden=max(hidden, 32))
    convert(folder, tmp_path / "model.gguf")
    want = logits(load(folder))
    with llama_cpp.Model(tmp_path / "model.gguf") as model:
        assert np.abs(model.logits(IDS) - want).max() < (5e-3 if "gemma" in model_type else 1e-3)  # GELU's table has steps


# The relative error of the logits, of which llama.cpp's own rounding of activations is a part: about twice what it is.
@pytest.mark.parametrize("file_type,bound", [
    ("f16", 0.003), ("bf16", 0.02), ("q8_0", 0.1), ("q6_k", 0.2), ("q5_k_m", 0.4), ("q5_0", 0.5), ("q4_k_m", 0.6), ("q4_0", 0.7)])
def test_types(file_type, bound, tmp_path_factory, tmp_path):
    folder = tmp_path_factory.getbasetemp() / "blocks"
    if not folder.exists():
        gguf_models.make(folder, "llama", {"num_hidden_layers": 3}, seed=3, hidden=256, intermediate=512, dtype="bfloat16", spread=0.8)
    report = convert(folder, tmp_path / "model.gguf", file_type)
    assert report["bytes"] == (tmp_path / "model.gguf").stat().st_size
    with llama_cpp.Model(tmp_path / "model.gguf") as model:
        got, want = model.logits(IDS), logits(load(folder))
    error = np.sqrt(np.square(got - want).mean() / np.square(want).mean())
    print(f"{file_type}: {error:.2e} of the logits apart")
    assert error < bound


REFERENCE = {"F16": "ggml_fp32_to_fp16_row", "BF16": "ggml_fp32_to_bf16_row_ref", "Q8_0": "quantize_row_q8_0_ref",
             "Q4_0": "quantize_row_q4_0_ref", "Q5_0": "quantize_row_q5_0_ref", "Q5_1": "quantize_row_q5_1_ref",
             "Q4_K": "quantize_row_q4_K_ref", "Q5_K": "quantize_row_q5_K_ref", "Q6_K": "quantize_row_q6_K_ref"}


def numbers(seed, blocks):
    """Of every kind that meets a branch of a quantiser: usual weights, far outliers, zeros, equal ones, all sizes."""
    rng = np.random.RandomState(seed)
    count = 256 * blocks
    half_zero = rng.randn(count) * (rng.rand(count) < 0.5)
    sizes = 10.0 ** rng.uniform(-12, 3, count // 16).repeat(16)
    kinds = [rng.randn(count) * 0.02, rng.standard_cauchy(count), np.zeros(count), half_zero, np.abs(rng.randn(count)),
             -np.abs(rng.randn(count)), np.full(count, 0.37), rng.randn(count) * 1e-7, rng.randn(count) * 1e-14, rng.randn(count) * 1e-41,
             rng.randn(count) * sizes, rng.randint(-5, 5, count), rng.randn(count) * 3e4]
    return np.concatenate(kinds).astype(np.float32)


@pytest.mark.parametrize("name", REFERENCE)
def test_blocks_equal_llama_cpps_reference(name):
    values = numbers(seed=SEED % 2**32, blocks=int(os.environ.get("FTD_GGUF_BLOCKS", "24")))
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    want = ctypes.create_string_buffer(values.size // block * size)
    getattr(llama_cpp.library(), REFERENCE[name])(values.ctypes.data_as(ctypes.c_void_p), want, ctypes.c_int64(values.size))
    got = subprocess.run([TOOL, "blocks", name], input=values.tobytes(), capture_output=True, check=True, timeout=120).stdout
    assert got == want.raw


def tokenizer_model(folder, name):
    """A model with that tokenizer, all of zeros; returns the names of its settings."""
    from safetensors.numpy import save_file

    folder.mkdir()
    path = make_tokenizers.ensure(make_tokenizers.fetch.cache_dir() / "tokenizers", name)
    document = json.loads(path.read_text("utf-8"))
    (folder / "tokenizer.json").write_text(path.read_text("utf-8"), "utf-8")
    added = {token["content"]: token["id"] for token in document["added_tokens"]}
    vocab = max([*document["model"]["vocab"].values(), *added.values()]) + 5
    config = {"model_type": "llama", "vocab_size": vocab, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
              "num_attention_heads": 1, "num_key_value_heads": 1, "max_position_embeddings": 128, "tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps(config))
    choices = {"bos_token": ["<s>", "<|begin_of_text|>"], "eos_token": ["</s>", "<|end_of_text|>", "<|im_end|>"], "unk_token": ["<unk>"]}
    names = {key: text for key, texts in choices.items() for text in texts if text in added}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"} | names))
    layer, square = "model.layers.0.", np.zeros((8, 8), np.float16)
    tensors = {"model.embed_tokens.weight": np.zeros((vocab, 8), np.float16)}
    tensors |= {name + ".weight": np.zeros(8, np.float16) for name in ("model.norm", layer + "input_layernorm",
                                                                       layer + "post_attention_layernorm")}
    for module in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj",
                   "mlp.down_proj"):
        tensors[layer + module + ".weight"] = square.copy()
    save_file(tensors, str(folder / "model.safetensors"))
    return names


def texts():
    """600 pieces of real files, then 400 and more of odd ones."""
    rng = random.Random(20261130)
    every = tokenizer_texts.all_texts()
    odd = tokenizer_texts.AWKWARD + rng.sample(every[:-6000], 400)
    return [text.encode("utf-8", "replace").decode() for text in rng.sample(every[-6000:], 600) + odd]


# How many of the odd texts may differ, and why. What holds for a text before it is compared at all:
ANY, COMPOSED, ONE_PREFIX = "any", "NFC", "begins with no space and has no special token"
# llama.cpp's Unicode tables and its patterns for marks are others in some places; see the notes of the report for the rest.
TOKENIZERS = {"llama2": (0, ANY), "llama2_meta": (0, ONE_PREFIX), "mistral_v3": (0, ONE_PREFIX), "llama3": (12, ANY),
              "qwen2": (12, COMPOSED), "smollm2": (4, ANY), "tekken": (20, ANY)}


def applies(rule, text):
    if rule == COMPOSED:
        return unicodedata.normalize("NFC", text) == text
    return rule == ANY or not text.startswith((" ", "▁")) and not any(special in text for special in ("<s>", "</s>", "<unk>"))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_token_ids(name, tmp_path):
    allowed, rule = TOKENIZERS[name]
    tokenizer_model(tmp_path / "model", name)
    convert(tmp_path / "model", tmp_path / "model.gguf", "f16")
    every = texts()
    run = subprocess.run([ENCODE, tmp_path / "model"], input="".join(json.dumps(text) + "\n" for text in every), capture_output=True,
                         text=True, encoding="utf-8", timeout=300, check=True)
    rows = [json.loads(line) for line in run.stdout.split("\n")[:-1]]
    with llama_cpp.Model(tmp_path / "model.gguf", n_ctx=64) as model:
        different = [i for i, (text, row) in enumerate(zip(every, rows, strict=True)) if applies(rule, text)
                     and (row["ids"] != model.tokenize(text, special=True) or row["plain"] != model.tokenize(text))]
    print(f"{name}: {len(different)} of {sum(applies(rule, text) for text in every)} texts differ")
    assert [every[i] for i in different if i < 600] == []
    assert len(different) <= allowed


@pytest.mark.parametrize("name", ["llama", "llama-tied-wide-heads", "phi3", "gemma2", "qwen3_5", "glm4"])
def test_an_adapter_equals_the_merged_model(name, models, tmp_path):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(5)
    rslora = name == "glm4"
    config = LoraConfig(r=6, lora_alpha=9, target_modules="all-linear", use_rslora=rslora, task_type="CAUSAL_LM")
    adapted = get_peft_model(load(models(name)), config).eval()
    for parameter_name, parameter in adapted.named_parameters():
        if "lora_B" in parameter_name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted.save_pretrained(str(tmp_path / "adapter"))
    convert(models(name), tmp_path / "model.gguf")
    convert(models(name), tmp_path / "adapter.gguf", adapter=tmp_path / "adapter")
    plain = logits(load(models(name)))
    want = logits(adapted.merge_and_unload())
    with llama_cpp.Model(tmp_path / "model.gguf") as model:
        model.add_adapter(tmp_path / "adapter.gguf")
        got = model.logits(IDS)
    difference, effect = np.abs(got - want).max(), np.abs(want - plain).max()
    print(f"{name}: the adapter moves logits by up to {effect:.1f}; llama.cpp's are at most {difference:.1e} apart")
    assert effect > 0.1
    assert difference < 1e-3


REFUSED = [
    ("llama", {"hidden_act": "gelu_pytorch_tanh"}, "activation"),
    ("qwen3", {"rope_parameters": gguf_models.YARN | {"beta_fast": 16.0}}, "beta_fast"),
    ("gemma2", {"query_pre_attn_scalar": 20}, "query_pre_attn_scalar"),
    ("smollm3", {"no_rope_layers": [1, 0, 1, 1, 1]}, "fourth layer"),
    ("qwen3", {"attention_bias": True}, "biases"),
    ("qwen3_5", {"rms_norm_eps": 1e-5}, "rms_norm_eps"),
]


@pytest.mark.parametrize("name,fields,words", REFUSED)
def test_what_llama_cpp_would_compute_otherwise_is_refused(name, fields, words, models, tmp_path):
    folder = shutil.copytree(models(name), tmp_path / "model")
    gguf_models.change_config(folder, **fields)
    assert words in refusal(folder, tmp_path / "out" / "model.gguf")


def test_what_the_small_files_say(models, tmp_path):
    """Names of tokens, tokens that end an answer, chat templates; and that llama.cpp's own reader in Python takes it all."""
    folder = shutil.copytree(models("llama"), tmp_path / "phi-3 tuned")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 7, 9, 11]}))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    convert(folder, tmp_path / "model.gguf", "q8_0")
    reader = gguf.GGUFReader(tmp_path / "model.gguf")
    fields = {key: field.contents() for key, field in reader.fields.items()}
    tokenizer = {key.removeprefix("tokenizer.ggml."): value for key, value in fields.items()}
    assert [tokenizer[key] for key in ("bos_token_id", "eos_token_id", "padding_token_id", "eot_token_id", "eom_token_id")] == [1, 0, 0, 7, 9]
    assert tokenizer["tokens"][-3:] == ["[PAD428]", "[PAD429]", "[PAD430]"] and tokenizer["token_type"][-4:] == [1, 5, 5, 5]
    assert (tokenizer["model"], tokenizer["pre"], tokenizer["token_type"][:2]) == ("gpt2", "gpt-2", [3, 3])
    assert fields["tokenizer.chat_template"] == "{{ messages }}"
    assert fields["general.name"] == "phi_3 tuned"  # llama.cpp would look for Phi-3's tokens
    with llama_cpp.Model(tmp_path / "model.gguf", n_ctx=64):
        pass


def test_adapters_that_do_not_fit(models, tmp_path):
    from safetensors.torch import save_file

    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}))
    name = "base_model.model.model.layers.%d.self_attn.q_proj.%s.weight"
    pair = {name % (0, "lora_A"): torch.ones(2, 64), name % (0, "lora_B"): torch.ones(64, 2)}
    cases = [("q8_0", {}, "f32, f16 or bf16"), ("f32", {name % (9, "lora_A"): torch.ones(2, 64)}, "belongs to none"),
             ("f32", {name % (0, "lora_B"): torch.ones(60, 2)}, "another shape")]
    for file_type, changes, words in cases:
        save_file(pair | changes, adapter / "adapter_model.safetensors")
        with pytest.raises(AssertionError, match=words):
            convert(models("llama"), tmp_path / "adapter.gguf", file_type, adapter=adapter)
    save_file(pair, adapter / "adapter_model.safetensors")
    assert convert(models("llama"), tmp_path / "adapter.gguf", adapter=adapter)["tensors"] == 2


@pytest.mark.parametrize("value,file_type,words", [(np.nan, "q8_0", "down_proj"), (1e5, "f16", "choose bf16")])
def test_numbers_that_the_type_lacks_are_refused(value, file_type, words, models, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(models("llama"), tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.mlp.down_proj.weight"][63, 127] = value
    save_file(tensors, folder / "model.safetensors")
    assert words in refusal(folder, tmp_path / "model.gguf", file_type)


def test_a_window_that_llama_cpp_lacks_is_told(models, tmp_path):
    gguf_models.make(tmp_path / "model", "mistral", {"sliding_window": 12})
    assert "beyond 12 tokens" in "".join(convert(tmp_path / "model", tmp_path / "model.gguf")["notes"])


def test_a_pre_tokenizer_without_a_name_is_refused(models, tmp_path):
    gguf_models.make(tmp_path / "model", "llama", {})
    path = tmp_path / "model" / "tokenizer.json"
    document = json.loads(path.read_text())
    document["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": r"\p{Lu}"}, "behavior": "Isolated", "invert": False}, document["pre_tokenizer"]]}
    path.write_text(json.dumps(document))
    assert r"\\p{Lu}" in refusal(tmp_path / "model", tmp_path / "model.gguf")
