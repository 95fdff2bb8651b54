"""ftd trains as Hugging Face does: every step's numbers, the final weights, and what other tools load of the result.

Each run is submitted by ftctl to a real ftd. The reference is transformers + PEFT in float32 (reference.py).
"""
import json

import pytest
import torch
from case import CASES, load_rows, render
from ftd_fixture import Ftd
from peft.utils import load_peft_weights
from reference import BATCH, MAX_LENGTH, STEPS, Reference, load_model, load_peft, logits_of, runs_of
from safetensors.torch import load_file
from tolerance import (
    GRAD_NORM, LOGITS, LOSS, NOISY_SHARE, WEIGHTS, adapter_bound, logit_distance, relative, rounded_distance, weight_distance)
from worker_cli import preview, worker_logits

DEADLINE_S = 180


@pytest.fixture(scope="module")
def daemon():
    with Ftd() as ftd:
        yield ftd


@pytest.fixture(scope="module", params=CASES, ids=lambda c: c.name)
def reference(request):
    return Reference(request.param)


@pytest.fixture(scope="module", params=[(case, run) for case in CASES for run in runs_of(case)],
                ids=lambda pair: "-".join(one.name for one in pair))
def pair(request):
    """A case's reference, and a run of it."""
    case, run = request.param
    return Reference(case), run


@pytest.fixture(scope="module")
def trained(daemon, pair, tmp_path_factory):
    """(metrics rows, result directory) of one run through ftd."""
    reference, run = pair
    args = ["--mode", run.mode, "--model", reference.case.model_dir, "--dataset", reference.case.rows_file,
            "--batch-size", BATCH, "--gradient-accumulation-steps", run.accumulation, "--seq-length", MAX_LENGTH,
            "--max-steps", STEPS, "--learning-rate", repr(run.learning_rate), "--no-shuffle", "--dtype", "float32"]
    if run.mode == "lora":
        args += ["--init-adapter", reference.init_adapter]
    job = daemon.ftctl("submit", *args, "--quiet").stdout.strip()
    daemon.ftctl("wait", job, "--timeout", DEADLINE_S, timeout=DEADLINE_S + 10)
    result = tmp_path_factory.mktemp("result") / "out"
    daemon.ftctl("get", job, result)
    metrics = daemon.ftctl("metrics", job, "-o", "jsonl").stdout
    return [json.loads(line) for line in metrics.splitlines()], result


def test_every_step(trained, pair):
    reference, run = pair
    rows, _ = trained
    curve = reference.expected["curves"][run.name]
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    got = {key: [row[key] for row in rows] for key in curve}
    by_loss, by_norm = (relative(got[key], curve[key]) for key in ("loss", "grad_norm"))
    print(f"{reference.case.name} {run.name}: loss {by_loss:.1e}, grad_norm {by_norm:.1e}")
    assert by_loss <= LOSS and by_norm <= GRAD_NORM
    assert got["learning_rate"] == pytest.approx(curve["learning_rate"], rel=1e-12)
    assert got["tokens"] == curve["tokens"]
    assert got["padding_ratio"] == pytest.approx(curve["padding_ratio"], abs=1e-9)
    assert rows[-1]["tokens_total"] == sum(curve["tokens"])
    epochs = STEPS * BATCH * run.accumulation / len(reference.expected["row_ids"])
    assert rows[-1]["epoch"] == pytest.approx(epochs, rel=1e-9)


def test_final_weights(trained, pair):
    reference, run = pair
    if not run.weights:
        return
    _, result = trained
    if run.mode == "lora":
        got, expected = load_peft_weights(result), load_peft_weights(reference.adapter(run.name))
    else:
        got, expected = read_full(result), reference.final_weights(run.name)
    assert got.keys() == expected.keys()
    if run.mode == "full" and reference.case.dtype == "bfloat16":
        assert {weight.dtype for weight in got.values()} == {torch.bfloat16}
        print(f"{rounded_distance(got, expected):.1e} but for the rounding")
        assert rounded_distance(got, expected) <= WEIGHTS
        return
    for name, weight in expected.items():
        if run.mode == "lora":
            assert weight_distance(got[name], weight, leave_out=NOISY_SHARE) <= WEIGHTS, name
            assert (got[name] - weight).abs().max() <= adapter_bound(run.learning_rate, STEPS), name
        else:
            assert weight_distance(learned(reference.case, name, got[name]), learned(reference.case, name, weight)) <= WEIGHTS, name


def learned(case, name, weight):
    """Without what has no gradient but rounding: in a key's features that do not rotate, a bias adds the same to all scores
    of a query."""
    if case.family != "glm4" or not name.endswith("k_proj.bias"):
        return weight
    return weight.view(case.kv_heads, case.head_dim)[:, : case.head_dim // 2]


def read_full(result):
    weights = {}
    for shard in sorted(result.glob("*.safetensors")):
        weights |= load_file(shard)
    return weights


def test_result_loads_elsewhere(trained, pair):
    """PEFT, or transformers, loads the result, and its logits are those of `ft-worker logits`."""
    reference, run = pair
    _, result = trained
    ids = reference.expected["prompt_ids"]
    if run.mode == "lora":
        theirs = logits_of(load_peft(reference.case.model_dir, result), ids)
        ours = worker_logits(reference.case.model_dir, ids, adapter=result)
    else:
        theirs, ours = logits_of(load_model(result), ids), worker_logits(result, ids)
    assert logit_distance(ours, theirs) <= LOGITS
    if run.weights and reference.case.dtype == "float32":
        assert logit_distance(theirs, reference.logits[run.name]) <= LOGITS


def test_logits(reference):
    ids = reference.expected["prompt_ids"]
    model_dir = reference.case.model_dir
    distance = logit_distance(worker_logits(model_dir, ids), reference.logits["base"])
    print(f"{reference.case.name}: logits {distance:.1e}")
    assert distance <= LOGITS
    run = [run.name for run in runs_of(reference.case) if run.mode == "lora"][-1]
    assert logit_distance(worker_logits(model_dir, ids, adapter=reference.adapter(run)), reference.logits[run]) <= LOGITS


def test_logits_of_several_sequences(reference):
    rows = [ids[:n] for ids, n in zip(reference.expected["row_ids"], (1, 30, 64))]
    model = load_model(reference.case.model_dir)
    for ours, ids in zip(worker_logits(reference.case.model_dir, rows), rows, strict=True):
        assert logit_distance(ours, logits_of(model, ids)) <= LOGITS


def test_config_in_transformers_4_spelling(reference, tmp_path):
    """Published checkpoints say rope_theta, rope_scaling and torch_dtype where transformers 5 says rope_parameters.

    config_parity_test.py has the families with spellings of their own.
    """
    if reference.case.rope not in ("default", "llama3", "linear"):
        return
    model_dir = tmp_path / "model"
    model_dir.mkdir()
    for file in reference.case.model_dir.iterdir():
        (model_dir / file.name).hardlink_to(file)  # a link would lead out of the model's directory
    config = json.loads((reference.case.model_dir / "config.json").read_text())
    rope = config.pop("rope_parameters")
    config["torch_dtype"] = config.pop("dtype")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = rope if rope["rope_type"] != "default" else None
    (model_dir / "config.json").unlink()
    (model_dir / "config.json").write_text(json.dumps(config))
    ids = reference.expected["prompt_ids"]
    assert logit_distance(worker_logits(model_dir, ids), reference.logits["base"]) <= LOGITS


def test_preview_shows_what_is_trained_on(reference):
    rows = load_rows(reference.case)
    shown = preview(reference.case.model_dir, reference.case.rows_file, len(rows))
    for row, expected_ids, entry in zip(rows, reference.expected["row_ids"], shown, strict=True):
        assert entry["text"] == render(row) + "<|end_of_text|>"
        assert entry["input_ids"][:MAX_LENGTH] == expected_ids
        assert entry["labels"] == entry["input_ids"]
