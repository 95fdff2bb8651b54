"""A base model whose directory holds other weights than before: an adapter means nothing beside them, and everybody says so."""
import pathlib
import shutil
import subprocess

import pytest
import torch
from conftest import ENDLESS, submit, wait_for_step
from ftd_fixture import BIN, jobs
from safetensors.torch import load_file, save_file

OTHER = "other weights than those"


@pytest.fixture
def mine(model, tmp_path):
    """A copy of the model that a test may change."""
    return pathlib.Path(shutil.copytree(model, tmp_path / "mine"))


def change(directory, how):
    """Changes all weights by `how` and writes them as before, but for the time; returns a function that undoes it."""
    file = directory / "model.safetensors"
    before = file.read_bytes()
    tensors = load_file(file)
    file.unlink()  # as a download does it: what has the old file mapped keeps it
    save_file({name: how(tensor) for name, tensor in tensors.items()}, file, {"format": "pt"})

    def undo():
        file.unlink()
        file.write_bytes(before)

    return undo


def trained_a_little(tensor):
    return tensor + 1e-4 * torch.randn_like(tensor)


@pytest.mark.parametrize("mode", ["lora", "qlora"])
def test_after_the_run(ftd, mine, dataset, tmp_path, mode):
    job = submit(ftd, mine, dataset, mode=mode, max_steps=3, name="first")
    ftd.wait(job, "SUCCEEDED")
    undo = change(mine, trained_a_little)
    for refused in (["export", "first", tmp_path / "merged"], ["export", "first", "--gguf", tmp_path / "merged.gguf"],
                    ["generate", "first", "--prompt", "One", "--max-new-tokens", 3]):
        done = ftd.ftctl(*refused, check=False)
        assert done.returncode == 65 and OTHER in done.stderr and str(mine) in done.stderr, done
    assert not (tmp_path / "merged").exists() and not (tmp_path / "merged.gguf").exists()
    ftd.ftctl("export", "first", "--gguf", tmp_path / "adapter.gguf", "--adapter-only")  # needs no weights of the base
    ftd.ftctl("generate", str(mine), "--prompt", "One", "--max-new-tokens", 3)  # nor does the base need the adapter
    undo()
    ftd.ftctl("export", "first", tmp_path / "merged")
    assert ftd.ftctl("generate", "first", "--prompt", "One", "--max-new-tokens", 3).stdout


def test_an_adapter_without_a_record_is_taken_as_it_is(ftd, mine, dataset, tmp_path):
    """Somebody knows what they do, and an adapter of PEFT's has no record."""
    ftd.wait(submit(ftd, mine, dataset, max_steps=2, name="first"), "SUCCEEDED")
    ftd.ftctl("get", "first", tmp_path / "adapter")
    change(mine, trained_a_little)
    command = [BIN / "ft-worker", "generate", "--model", mine, "--adapter", tmp_path / "adapter", "--prompt", "One", "--max-new-tokens", "2"]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 65 and OTHER in refused.stderr
    (tmp_path / "adapter" / "ftd_run.json").unlink()
    subprocess.run(command, check=True, capture_output=True)


def test_full_weights_need_no_base(ftd, mine, dataset, tmp_path):
    ftd.wait(submit(ftd, mine, dataset, mode="full", max_steps=2, name="first"), "SUCCEEDED")
    change(mine, trained_a_little)
    ftd.ftctl("export", "first", "--gguf", tmp_path / "model.gguf", "--type", "f32")


@pytest.mark.parametrize("mode,goes_on", [("lora", False), ("full", True)])
def test_while_a_job_is_paused(ftd, mine, dataset, mode, goes_on):
    job = submit(ftd, mine, dataset, mode=mode, max_steps=ENDLESS)
    wait_for_step(ftd, job, 3)
    ftd.ftctl("pause", job)
    ftd.wait(job, "PAUSED")
    paused_at = ftd.job(job).last_step.step
    change(mine, trained_a_little)
    ftd.ftctl("resume", job)
    if goes_on:
        wait_for_step(ftd, job, paused_at + 2)
    else:
        ended = ftd.wait(job, "FAILED")
        assert ended.failure_reason == jobs.MODEL_CORRUPT and ended.checkpoints
        assert OTHER in ended.message and str(mine) in ended.message
