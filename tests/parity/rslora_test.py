"""rsLoRA trains as PEFT's does, and PEFT reads the result as such."""
import json

import pytest
import torch
from case import CASES
from ftd_fixture import Ftd
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from peft.utils import load_peft_weights
from reference import BATCH, MAX_LENGTH, STEPS, Batches, Reference, Run, load_model, load_peft, logits_of, train
from tolerance import GRAD_NORM, LOGITS, LOSS, NOISY_SHARE, WEIGHTS, adapter_bound, logit_distance, relative, weight_distance
from worker_cli import worker_logits

RUN = Run("rslora", "lora", 1e-4)
RANK, ALPHA = 6, 16


@pytest.fixture(scope="module")
def reference():
    return Reference(CASES[0])


@pytest.fixture(scope="module")
def theirs(reference, tmp_path_factory):
    """(initial adapter, curve, trained model)."""
    torch.manual_seed(1)
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", use_rslora=True,
                        task_type=TaskType.CAUSAL_LM)
    init = tmp_path_factory.mktemp("init")
    get_peft_model(load_model(reference.case.model_dir), config).save_pretrained(init)
    model = PeftModel.from_pretrained(load_model(reference.case.model_dir), init, is_trainable=True)
    return init, train(model, Batches(reference.case), RUN), model


def test_trains_as_peft(reference, theirs, tmp_path):
    init, curve, model = theirs
    flags = ["--mode", "lora", "--model", reference.case.model_dir, "--dataset", reference.case.rows_file,
             "--batch-size", BATCH, "--seq-length", MAX_LENGTH, "--max-steps", STEPS, "--no-shuffle",
             "--dtype", "float32", "--lora_rank", RANK, "--lora_alpha", ALPHA, "--init-adapter", init]
    with Ftd() as ftd:
        refused = ftd.ftctl("submit", *flags, check=False)
        assert refused.returncode != 0 and "pass --use-rslora" in refused.stderr
        job = ftd.ftctl("submit", *flags, "--use_rslora", "--quiet").stdout.strip()
        ftd.ftctl("wait", job, "--timeout", 180, timeout=190)
        ftd.ftctl("get", job, tmp_path / "out")
        rows = [json.loads(line) for line in ftd.ftctl("metrics", job, "-o", "jsonl").stdout.splitlines()]
    assert relative([row["loss"] for row in rows], curve["loss"]) <= LOSS
    assert relative([row["grad_norm"] for row in rows], curve["grad_norm"]) <= GRAD_NORM
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["use_rslora"] is True

    model.save_pretrained(tmp_path / "theirs")
    got, expected = load_peft_weights(tmp_path / "out"), load_peft_weights(tmp_path / "theirs")
    assert got.keys() == expected.keys()
    for name, weight in expected.items():
        assert weight_distance(got[name], weight, leave_out=NOISY_SHARE) <= WEIGHTS, name
        assert (got[name] - weight).abs().max() <= adapter_bound(RUN.learning_rate, STEPS), name
    ids = reference.expected["prompt_ids"]
    loaded = logits_of(load_peft(reference.case.model_dir, tmp_path / "out"), ids)
    assert logit_distance(loaded, logits_of(model, ids)) <= LOGITS
    assert logit_distance(worker_logits(reference.case.model_dir, ids, adapter=tmp_path / "out"), loaded) <= LOGITS
