"""What the end-to-end tests share: a tiny model, and jobs that are short enough to finish or long enough to interrupt."""
import hashlib
import json
import pathlib
import re

import grpc
import pytest
from ftd_fixture import Ftd, alpaca_rows, wait_until, write_jsonl
from google.rpc import error_details_pb2, status_pb2
from tiny_model import add_chat_template, make_tiny_llama, make_tiny_model

ENDLESS = 10_000_000  # steps; a job of so many is there to be interrupted


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return make_tiny_llama(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def chatty(tmp_path_factory):
    """A tiny model with a chat template."""
    directory = make_tiny_llama(tmp_path_factory.mktemp("model") / "chatty", seed=3)
    add_chat_template(directory)
    return directory


@pytest.fixture(scope="session")
def model_of(model, tmp_path_factory):
    """A tiny model of a family by its model_type; each is made once."""
    made = {"llama": model}

    def of(family):
        if family not in made:
            made[family] = make_tiny_model(tmp_path_factory.mktemp("model") / family, family)
        return made[family]

    return of


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    return write_jsonl(tmp_path_factory.mktemp("data") / "rows.jsonl", alpaca_rows(32))


@pytest.fixture
def ftd():
    with Ftd() as daemon:
        yield daemon


def submit_args(model, dataset, *, mode="lora", max_steps, **flags):
    """Arguments of `ftctl submit`; a keyword is a flag, True a switch."""
    args = ["submit", "--quiet", "--mode", mode, "--model", model, "--dataset", dataset, "--seq-length", 96, "--max-steps", max_steps]
    if "batch_tokens" not in flags:
        args += ["--batch-size", 4]
    for name, value in flags.items():
        args += ["--" + name.replace("_", "-")] + ([] if value is True else [value])
    return args


def submit(ftd, model, dataset, **flags):
    """Submits by ftctl; the job's id."""
    return ftd.ftctl(*submit_args(model, dataset, **flags)).stdout.strip()


def wait_for_step(ftd, job, step, deadline_s=60):
    """Until `step` steps are recorded; how many are."""

    def recorded():
        last = ftd.job(job).last_step.step
        return last if last >= step else None

    return wait_until(recorded, f"{job} to record step {step}", deadline_s)


def weights(directory):
    """The sha256 of each weight file."""
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(pathlib.Path(directory).glob("*.safetensors"))}


def history(directory):
    """The steps and evaluations of a result, but for what a clock has measured."""
    entries = json.loads((directory / "trainer_state.json").read_text())["log_history"]
    return [{key: value for key, value in entry.items() if not re.search("runtime|second", key)} for entry in entries]


def error_of(call):
    """(code, ErrorInfo, BadRequest's field names, message) of a refused call."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    trailers = dict(caught.value.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info) or detail.Unpack(request)
    assert info.domain == "ftd"
    return caught.value.code().name, info, [v.field for v in request.field_violations], caught.value.details()
