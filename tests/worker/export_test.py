"""`ft-worker export` against PEFT's merge_and_unload, transformers, bitsandbytes and llama.cpp."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

TESTS = pathlib.Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "lib" / "gguf"), str(TESTS / "parity")]
import gguf_models  # noqa: E402
import llama_cpp  # noqa: E402
import transformers  # noqa: E402
from ftd_fixture import BIN  # noqa: E402
from mounts import on_small_disk  # noqa: E402
from peft import LoraConfig, PeftModel, get_peft_model  # noqa: E402
from tiny_model import quieten_transformers  # noqa: E402
from worker_cli import worker_logits  # noqa: E402

IDS = np.random.RandomState(1).randint(2, 400, 40).tolist()
# Each family that there is once, and what is special to merging: dtypes, shards, tied heads, rsLoRA, some modules alone.
FAMILIES = ["llama-biases", "mistral", "qwen2", "qwen3", "qwen3_5", "gemma2", "gemma3", "phi3", "smollm3", "granite", "olmo2", "olmo3", "glm4"]
quieten_transformers()
EPSILON = {torch.float32: 2.0**-23, torch.bfloat16: 2.0**-7, torch.float16: 2.0**-10}


def export(*flags, check=True):
    done = subprocess.run([BIN / "ft-worker", "export", *map(str, flags)], capture_output=True, text=True, timeout=120)
    assert not check or done.returncode == 0, done.stderr
    return done


def load(folder, dtype=torch.float32, **options):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager", **options).eval()


def make_adapter(model_dir, folder, seed=0, size=0.1, **options):
    """A PEFT adapter with random factors, whose product is large enough to show; returns its folder."""
    torch.manual_seed(seed)
    config = LoraConfig(**{"r": 6, "lora_alpha": 16, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | options)
    model = get_peft_model(load(model_dir), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=size)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """(model directory, adapter directory) of a case of gguf_models, made once."""
    made, root = {}, tmp_path_factory.mktemp("models")

    def model(name, dtype="float32", shards=None, **options):
        key = f"{name}-{dtype}-{shards}-{sorted(options.items())}"
        if key not in made:
            folder = gguf_models.make(root / str(len(made)), *gguf_models.CASES[name], seed=len(name), dtype=dtype)
            if shards:
                resaved = load(folder, dtype=getattr(torch, dtype))
                (folder / "model.safetensors").unlink()
                resaved.save_pretrained(folder, max_shard_size=shards)
            made[key] = folder, make_adapter(folder, root / f"{len(made)}-adapter", **options)
        return made[key]
    return model


def tensors_of(folder):
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def merged_by_peft(model_dir, adapter_dir):
    """In float32; rounded by whoever needs it."""
    return PeftModel.from_pretrained(load(model_dir), adapter_dir).merge_and_unload().eval()


def logits_of(model, ids=IDS):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float()


def distance(got, want):
    return float((got - want).norm() / want.norm())


def check_weights(model_dir, out, reference):
    """Every tensor equals the source's, or PEFT's merged one within a unit of the last place; returns how many changed."""
    source, got = tensors_of(model_dir), tensors_of(out)
    assert list(got) == list(source)
    changed, worst = 0, 0
    for name, tensor in got.items():
        assert (tensor.dtype, tensor.shape) == (source[name].dtype, source[name].shape), name
        if torch.equal(tensor, source[name]):
            continue
        changed += 1
        want = reference[name].to(tensor.dtype).float()
        units = (tensor.float() - want).abs() / (EPSILON[tensor.dtype] * want.abs().clamp_min(1e-6))
        worst = max(worst, float(units.max()))
    print(f"{changed} weights changed; at most {worst:.2f} units from PEFT's")
    assert worst <= 1
    return changed


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_as_peft_merges_it(name, models, tmp_path):
    model_dir, adapter = models(name)
    said = export("--model", model_dir, "--adapter", adapter, "--output", tmp_path / "out").stderr
    print(name, said)
    reference = merged_by_peft(model_dir, adapter)
    got = load(tmp_path / "out")
    adapters = sum("lora_A" in key for key in load_file(adapter / "adapter_model.safetensors"))
    assert check_weights(model_dir, tmp_path / "out", reference.state_dict()) == adapters
    assert distance(logits_of(got), logits_of(reference)) < 1e-5
    assert distance(logits_of(got), logits_of(load(model_dir))) > 1e-2, "the adapter shows"
    assert float(re.search("logits differ by ([^ ]*) ", said)[1]) <= 1e-5, "from the engine's own base + adapter"


@pytest.mark.parametrize("dtype,shards,options", [
    ("bfloat16", "100KB", {}), ("float16", None, {"use_rslora": True, "r": 3}),
    ("bfloat16", None, {"target_modules": ["q_proj", "down_proj"]})])
def test_dtypes_shards_and_kinds_of_adapters(dtype, shards, options, models, tmp_path):
    model_dir, adapter = models("llama-tied-wide-heads", dtype, shards, **options)
    out = tmp_path / "out"
    out.mkdir()  # an empty directory will do
    export("--model", model_dir, "--adapter", adapter, "--output", out)
    reference = merged_by_peft(model_dir, adapter)
    assert check_weights(model_dir, out, reference.state_dict()) == (4 if "target_modules" in options else 14)
    assert distance(logits_of(load(out)), logits_of(reference)) < 4 * EPSILON[getattr(torch, dtype)]
    assert {file.name for file in out.iterdir()} == {file.name for file in model_dir.iterdir()} | ({"README.md"} & set(os.listdir(out)))
    for file in model_dir.iterdir():
        if file.suffix != ".safetensors":
            assert (out / file.name).read_bytes() == file.read_bytes(), file.name
            continue
        with safe_open(file, "pt") as source, safe_open(out / file.name, "pt") as got:
            assert (got.keys(), got.metadata()) == (source.keys(), source.metadata())


def test_greedy_text_of_50_prompts(models, tmp_path):
    model_dir, adapter = models("qwen3")
    export("--model", model_dir, "--adapter", adapter, "--output", tmp_path / "out")
    prompts = torch.from_numpy(np.random.RandomState(5).randint(2, 400, (50, 12)))
    options = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    with_adapter = PeftModel.from_pretrained(load(model_dir), adapter).eval()
    assert torch.equal(load(tmp_path / "out").generate(prompts, **options), with_adapter.generate(input_ids=prompts, **options))
    assert not torch.equal(load(model_dir).generate(prompts, **options), with_adapter.generate(input_ids=prompts, **options))


@pytest.fixture(scope="module")
def qlora(models, tmp_path_factory):
    """(model directory, adapter as of a job in mode qlora)."""
    model_dir, plain = models("llama", "bfloat16")
    adapter = tmp_path_factory.mktemp("qlora") / "adapter"
    shutil.copytree(plain, adapter)
    spec = {"mode": "QLORA", "model": "x", "dtype": "BFLOAT16", "dataset": {"server_path": "rows.jsonl"}, "num_epochs": 1}
    (adapter / "ftd_run.json").write_text(json.dumps({"spec": spec}))
    return model_dir, adapter


def nf4_config():
    return transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_use_double_quant=True, bnb_4bit_quant_type="nf4",
                                           bnb_4bit_compute_dtype=torch.float32)


def test_qlora_is_merged_into_what_it_was_trained_on(qlora, tmp_path):
    """bitsandbytes' dequantised base plus the adapter, nearer to the run with the adapter than what PEFT makes: NF4 again."""
    model_dir, adapter = qlora
    export("--model", model_dir, "--adapter", adapter, "--output", tmp_path / "out")
    run = PeftModel.from_pretrained(load(model_dir, quantization_config=nf4_config()), adapter).train()
    want = logits_of(run)
    merged = distance(logits_of(load(tmp_path / "out")), want)
    into_plain = distance(logits_of(merged_by_peft(model_dir, adapter)), want)
    again = distance(logits_of(run.merge_and_unload()), want)
    print(f"merged {merged:.2e}, quantised again {again:.2e}, into the base that it was not trained on {into_plain:.2e}")
    assert merged < 0.02 < min(again, into_plain)
    assert distance(worker_logits(tmp_path / "out", IDS), worker_logits(model_dir, IDS, adapter=adapter, nf4=True)) < 0.02


@pytest.mark.parametrize("shards", [None, "60KB"])
def test_a_model_in_nf4_comes_out_of_it(qlora, shards, tmp_path):
    model_dir, adapter = qlora
    quantised = tmp_path / "quantised"
    model = load(model_dir, dtype=torch.bfloat16, quantization_config=nf4_config())
    model.save_pretrained(quantised, **({"max_shard_size": shards} if shards else {}))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model_dir / name, quantised)
    export("--model", quantised, "--adapter", adapter, "--output", tmp_path / "out")
    export("--model", model_dir, "--adapter", adapter, "--output", tmp_path / "same")
    assert "quantization_config" not in json.loads((tmp_path / "out" / "config.json").read_text())
    got, same = tensors_of(tmp_path / "out"), tensors_of(tmp_path / "same")
    assert got.keys() == same.keys() and all(torch.equal(got[name], same[name]) for name in got)
    if shards:
        index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
        assert index["weight_map"].keys() == got.keys()
        assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in got.values())
    assert torch.equal(logits_of(load(tmp_path / "out")), logits_of(load(tmp_path / "same")))


def test_gguf_of_a_merged_model_and_of_the_adapter(models, tmp_path):
    model_dir, adapter = models("llama-tied-wide-heads")
    both = "--model", model_dir, "--adapter", adapter
    export(*both, "--gguf", tmp_path / "merged.gguf", "--type", "f32")
    export(*both, "--gguf", tmp_path / "adapter.gguf", "--type", "f32", "--adapter-only")
    export("--model", model_dir, "--gguf", tmp_path / "base.gguf", "--type", "f32")
    export(*both, "--gguf", tmp_path / "half.gguf", "--adapter-only")  # f16 where nobody says more
    assert (tmp_path / "half.gguf").stat().st_size < 0.7 * (tmp_path / "adapter.gguf").stat().st_size
    (tmp_path / "half.gguf").unlink()
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "adapter.gguf", "base.Modelfile", "base.gguf", "merged.Modelfile", "merged.gguf"]
    assert (tmp_path / "merged.Modelfile").read_text() == 'FROM ./merged.gguf\nPARAMETER stop """<|end|>"""\n'
    reference = merged_by_peft(model_dir, adapter)
    ids = reference.generate(torch.tensor([IDS]), max_new_tokens=12, do_sample=False, eos_token_id=None)[0, len(IDS):].tolist()
    with llama_cpp.Model(tmp_path / "merged.gguf") as merged, llama_cpp.Model(tmp_path / "base.gguf") as base:
        assert merged.greedy(IDS, 12) == ids
        assert base.greedy(IDS, 12) != ids
        base.add_adapter(tmp_path / "adapter.gguf")
        assert base.greedy(IDS, 12) == ids
        assert np.abs(base.logits(IDS) - merged.logits(IDS)).max() < 1e-3


def break_adapter(adapter, folder, change):
    """A copy of an adapter, changed; the engine that checks reads the original."""
    shutil.copytree(adapter, folder)
    tensors = load_file(folder / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    return folder


def test_what_cannot_be_exported(models, qlora, tmp_path):
    model_dir, adapter = models("llama", "float16")
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").touch()

    def huge(tensors):
        name = next(key for key in tensors if "o_proj.lora_B" in key)
        tensors[name] = torch.full_like(tensors[name], 1e6)

    cases = [
        (["--adapter", adapter, "--output", full], 73, "exists already"),
        (["--adapter", adapter, "--gguf", full / "mine"], 73, "exists already"),
        (["--adapter", adapter], 65, "either a directory or a GGUF file"),
        (["--output", tmp_path / "x", "--adapter-only", "--adapter", adapter], 65, "adapter"),
        (["--adapter", adapter, "--gguf", tmp_path / "x", "--type", "q3"], 65, "must be one of f32"),
        (["--adapter", adapter, "--gguf", tmp_path / "x", "--adapter-only", "--type", "q8_0"], 65, "must be f32, f16 or bf16"),
        (["--adapter", models("phi3")[1], "--output", tmp_path / "x"], 1, "is of no module"),
        (["--adapter", tmp_path / "nowhere", "--output", tmp_path / "x"], 66, "adapter_config.json"),
        (["--adapter", break_adapter(adapter, tmp_path / "huge", huge), "--output", tmp_path / "x"], 65, "F16 cannot hold"),
    ]
    before = sorted(tmp_path.rglob("*"))
    for flags, code, message in cases:
        done = export("--model", model_dir, *flags, check=False)
        assert done.returncode == code, (flags, done.stderr)
        assert message in done.stderr, done.stderr
    assert sorted(tmp_path.rglob("*")) == before
    assert export("--adapter", adapter, "--output", tmp_path / "x", check=False).returncode == 2  # --model is required


@pytest.mark.parametrize("output", [["--output", "disk/out"], ["--gguf", "disk/out.gguf", "--type", "q8_0"]], ids=lambda o: o[0][2:])
def test_a_disk_that_is_too_small_is_noticed_first(output, models, tmp_path):
    """By the sizes, which the message has: the merged model and, for a GGUF file, that as well."""
    model_dir, adapter = models("llama", "bfloat16")
    command = [BIN / "ft-worker", "export", "--model", model_dir, "--adapter", adapter, *output]
    done = subprocess.run(on_small_disk(tmp_path / "disk", "200k", command), cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 75 and "the export needs 0.00 GB in disk, where 0.00 GB are free" in done.stderr, done.stderr


@pytest.mark.parametrize("output", ["--output", "--gguf"])
def test_a_signal_leaves_nothing(output, models, tmp_path):
    model_dir, adapter = models("llama", "bfloat16")
    end = time.monotonic() + 60
    while time.monotonic() < end:
        process = subprocess.Popen([BIN / "ft-worker", "export", "--model", model_dir, "--adapter", adapter, output, tmp_path / "out"])
        while process.poll() is None and not (tmp_path / ".tmp-out").exists():
            pass
        process.send_signal(signal.SIGTERM)
        if process.wait() == 130:
            assert os.listdir(tmp_path) == []
            return
        for path in tmp_path.iterdir():  # it was too quick
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    pytest.fail("no export was under way when it got its signal")
