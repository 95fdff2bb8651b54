"""What a finished job leaves behind, read by the programs that it is for."""
import dataclasses
import hashlib
import json
import pathlib
from unittest.mock import ANY

import pytest
import torch
from conftest import submit
from ftd_fixture import REPO, Ftd
from safetensors.torch import load_file
from tiny_model import make_tiny_llama

STEPS = 12


@pytest.fixture(scope="module")
def daemon():
    with Ftd() as ftd:
        yield ftd


@pytest.fixture(scope="module", params=["lora", "full"])
def finished(request, daemon, model, dataset, tmp_path_factory):
    """(job, result directory, mode), by `ftctl get`."""
    job = submit(daemon, model, dataset, mode=request.param, max_steps=STEPS, learning_rate=1e-3)
    daemon.ftctl("wait", job)
    out = tmp_path_factory.mktemp("result") / "out"
    daemon.ftctl("get", job, out)
    return daemon.job(job), out, request.param


def names(directory):
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def test_files(finished):
    _, out, mode = finished
    common = {"tokenizer.json", "tokenizer_config.json", "metrics.jsonl", "trainer_state.json", "ftd_run.json", "README.md"}
    weights = {"lora": {"adapter_config.json", "adapter_model.safetensors"},
               "full": {"config.json", "model.safetensors"}}
    assert common | weights[mode] <= names(out)
    assert not [name for name in names(out) if name.endswith((".bin", ".pt", ".pkl", ".tmp"))]


def test_download_is_the_published_directory(finished):
    job, out, _ = finished
    published = pathlib.Path(job.result_dir)
    assert names(out) == names(published)
    for name in names(out):
        assert (out / name).read_bytes() == (published / name).read_bytes(), name


def test_metrics_agree(finished, daemon):
    job, out, _ = finished
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    printed = daemon.ftctl("metrics", job.id, "-o", "jsonl").stdout.splitlines()
    for row, line, step in zip(rows, printed, daemon.steps(job.id), strict=True):
        shown = json.loads(line)
        for key in ("step", "epoch", "loss", "entropy", "mean_token_accuracy", "grad_norm", "grad_clip_ratio", "learning_rate",
                    "tokens", "tokens_total", "padding_ratio"):
            assert row[key] == shown[key] == getattr(step, key), key
        assert row["tokens_per_second"] > 0 and row["step_seconds"] > 0
        assert row["grad_clip_ratio"] == pytest.approx(clipped_by_torch(row["grad_norm"], 1.0), rel=1e-6)


def clipped_by_torch(norm, max_norm):
    """What clip_grad_norm_ multiplies a gradient of that norm with."""
    import torch

    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    parameter.grad = torch.tensor([norm], dtype=torch.float64)
    torch.nn.utils.clip_grad_norm_([parameter], max_norm)
    return parameter.grad.item() / norm


def test_tensorboard_reads_the_events(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, out, _ = finished
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    (event_file,) = out.rglob("events.out.tfevents.*")
    events = EventAccumulator(str(event_file.parent))
    events.Reload()
    for key in ("loss", "entropy", "mean_token_accuracy", "grad_norm", "learning_rate"):
        (tag,) = [tag for tag in events.Tags()["scalars"] if tag.split("/")[-1] == key]
        scalars = events.Scalars(tag)
        assert [scalar.step for scalar in scalars] == [row["step"] for row in rows]
        assert [scalar.value for scalar in scalars] == pytest.approx([row[key] for row in rows], rel=1e-6)


def test_transformers_reads_the_trainer_state(finished):
    from transformers import TrainerState

    _, out, _ = finished
    state = TrainerState.load_from_json(str(out / "trainer_state.json"))
    written = json.loads((out / "trainer_state.json").read_text())
    # Every key is one of theirs; a figure that nobody counts is left out, not written as 0.
    assert set(written) <= {field.name for field in dataclasses.fields(TrainerState)} and "total_flos" not in written
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert state.global_step == state.max_steps == STEPS
    logged = [entry for entry in state.log_history if "loss" in entry]
    for key in ("step", "loss", "entropy", "mean_token_accuracy"):
        assert [entry[key] for entry in logged] == [row[key] for row in rows]


def test_nothing_tells_where_it_was_made(finished, model, daemon):
    """A result may be published. Only PEFT's config has to say where the base model is."""
    _, out, _ = finished
    for name in ("README.md", "ftd_run.json", "trainer_state.json", "metrics.jsonl"):
        text = (out / name).read_text()
        assert str(model) not in text and str(daemon.root) not in text and '"/' not in text, name


@pytest.mark.parametrize("mode", ["lora", "qlora", "full"])
def test_the_hub_reads_the_model_card(daemon, model, dataset, mode, tmp_path):
    """huggingface_hub parses the metadata; a base model or dataset that is not on the hub is not named as if it were."""
    from huggingface_hub import ModelCard
    merge = {} if mode == "full" else {"merge": True}
    done = daemon.wait(submit(daemon, model, dataset, mode=mode, max_steps=4, eval_split=8, eval_steps=2, load_best_model_at_end=True,
                              name=f"card-{mode}", **merge), "SUCCEEDED")
    data = ModelCard.load(pathlib.Path(done.result_dir) / "README.md").data
    best = min(daemon.evaluations(done.id), key=lambda evaluation: evaluation.loss)
    assert data.library_name == ("transformers" if mode == "full" else "peft") and data.pipeline_tag == "text-generation"
    assert {"ftd", "sft", mode} - {"full"} <= set(data.tags) and data.base_model is None and data.datasets is None
    assert [(r.task_type, r.dataset_name, r.metric_type) for r in data.eval_results] == [
        ("text-generation", dataset.name, "loss"), ("text-generation", dataset.name, "accuracy")]
    assert [r.metric_value for r in data.eval_results] == pytest.approx([best.loss, best.mean_token_accuracy], rel=1e-5)
    assert data.model_name == f"card-{mode}"
    merged = pathlib.Path(done.result_dir) / "merged"
    assert merged.exists() == bool(merge) == ('from_pretrained("merged")' in (merged.parent / "README.md").read_text())
    if merge:  # by whichever way it was asked for
        daemon.ftctl("export", done.id, tmp_path / "out")
        assert names(merged) == names(tmp_path / "out") >= {"config.json", "model.safetensors", "tokenizer.json"}
        assert all((merged / name).read_bytes() == (tmp_path / "out" / name).read_bytes() for name in names(merged))
        base, got = load_file(model / "model.safetensors"), load_file(merged / "model.safetensors")
        moved = max((got[name] - base[name]).norm() / base[name].norm() for name in base if "proj" in name)
        assert (moved > 0.03) == (mode == "qlora"), "into what it was trained on, which is in NF4"


def test_adapter_is_for_peft(finished, model):
    _, out, mode = finished
    if mode != "lora":
        return
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    config = json.loads((out / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA" and config["task_type"] == "CAUSAL_LM"
    assert config["base_model_name_or_path"] == str(model) and config["inference_mode"] is True
    base = AutoModelForCausalLM.from_pretrained(model)
    before = base(input_ids=torch.arange(2, 20)[None]).logits.detach()
    after = PeftModel.from_pretrained(base, out)(input_ids=torch.arange(2, 20)[None]).logits.detach()
    assert (before - after).abs().max() > 1e-4


def test_export_is_for_transformers_and_llama_cpp(finished, daemon, model, tmp_path):
    """The same text as of base + adapter, or of the trained model."""
    import llama_cpp
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    job, out, mode = finished
    daemon.ftctl("export", job.id, tmp_path / "merged")
    daemon.ftctl("export", job.id, "--gguf", tmp_path / "model.gguf", "--type", "f32")
    trained = AutoModelForCausalLM.from_pretrained(model if mode == "lora" else out)
    if mode == "lora":
        trained = PeftModel.from_pretrained(trained, out)
    ids = torch.arange(2, 20)[None]
    options = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    want = trained.generate(input_ids=ids, **options)[0, ids.shape[1]:].tolist()
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert merged.generate(input_ids=ids, **options)[0, ids.shape[1]:].tolist() == want
    with llama_cpp.Model(tmp_path / "model.gguf") as loaded:
        assert loaded.greedy(ids[0].tolist(), 12) == want
    assert (tmp_path / "model.Modelfile").read_text().startswith("FROM ./model.gguf\nPARAMETER stop")


def test_full_model_is_for_transformers(finished, model):
    _, out, mode = finished
    if mode != "full":
        return
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert (out / "config.json").read_bytes() == (model / "config.json").read_bytes()
    loaded, info = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert AutoTokenizer.from_pretrained(out).eos_token == AutoTokenizer.from_pretrained(model).eos_token
    original = AutoModelForCausalLM.from_pretrained(model)
    assert not torch.equal(loaded.model.embed_tokens.weight, original.model.embed_tokens.weight)


def test_sharded_tied_bfloat16_model_comes_back_as_it_was(daemon, dataset, tmp_path):
    """The result has the source's dtype and no head of its own."""
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM

    source = make_tiny_llama(tmp_path / "model", tied=True, dtype="bfloat16", max_shard_size="50KB")
    assert len(list(source.glob("*.safetensors"))) > 1
    job = submit(daemon, source, dataset, mode="full", max_steps=2, learning_rate=1e-3)
    done = daemon.wait(job, "SUCCEEDED")
    for shard in pathlib.Path(done.result_dir).glob("*.safetensors"):
        with safe_open(shard, "pt") as file:
            assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"BF16"}
            assert "lm_head.weight" not in file.keys()
    _, info = AutoModelForCausalLM.from_pretrained(done.result_dir, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]


def test_run_record_names_what_was_used(finished, model, dataset):
    """Model, dataset hash, resolved spec, versions and device: enough to run it again."""
    job, out, mode = finished
    record = json.loads((out / "ftd_run.json").read_text())
    assert record["job_id"] == job.id and record["model"] == {"name": model.name, "revision": "", "weights_digest": ANY}
    assert record["dataset"]["sha256"] == hashlib.sha256(dataset.read_bytes()).hexdigest()
    assert record["dataset"]["rows"] == len(dataset.read_text().splitlines())
    assert record["spec"]["mode"].lower() == mode and float(record["spec"]["learning_rate"]) == 1e-3
    assert record["versions"]["torch"] and record["versions"]["ftd"] == (REPO / "VERSION").read_text().strip()
    assert record["device"] and record["steps"] == STEPS
