"""Models from the hub, as users have them: a name and a token. The hub is the test hub (tests/support/hub_server.py)."""
import json
import os
import pathlib
import pty
import select
import stat
import subprocess
import sys

import pyarrow
import pyarrow.parquet
import pytest
from conftest import ENDLESS, submit, submit_args, wait_for_step
from ftd_fixture import BIN, DEADLINE_S, Ftd, processes_under, wait_until
from huggingface_hub import ModelCard
from mounted_ftd import MountedFtd
from tiny_model import make_tiny_llama

from hf_client import value  # noqa: E402
from hub_fixture import Hub  # noqa: E402

PROMPT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n"
    "### Instruction: {}\n\n### Input: {}\n\n### Response: {}"
)
REPO = "meta-llama/Llama-3.1-8B-Instruct"
TOKEN = "hf_goodTokenThatMustShowNowhere"


@pytest.fixture
def hub(model):
    """A hub with the tiny model, gated, under the name of a big one."""
    with Hub() as hub:
        files = {p.name: p for p in model.iterdir() if p.is_file()}
        hub.add_repo(REPO, {**files, "original/consolidated.00.pth": b"x" * 5000, "README.md": b"hello"}, gated="manual")
        hub.add_token(TOKEN, user="ann", may_read=[REPO], role="write")
        yield hub


@pytest.fixture
def home(tmp_path):
    return tmp_path / "hf"


def environment(hub, home, token=TOKEN):
    names = ("HF_ENDPOINT", "HF_HOME", "HF_TOKEN", "SSL_CERT_FILE")
    return {"HF_HUB_OFFLINE": "0", **{k: v for k, v in hub.env(home, token).items() if k in names}}


def daemon(hub, home, token=TOKEN, **env):
    return Ftd(env={**environment(hub, home, token), **env})


@pytest.fixture
def ftd(hub, home):
    with daemon(hub, home) as ftd:
        yield ftd


def weights(hub):
    return [r for r in hub.requests() if r["listener"] == "cdn"]


def stall(hub, after=20_000):
    hub.fault("safetensors", "stall", listener="cdn", after=after, times=None)


def test_a_name_and_a_token(ftd, hub, home, dataset):
    job = submit(ftd, "llama3.1-8b", dataset, max_steps=3)
    done = ftd.wait(job, "SUCCEEDED")
    commit = (home / "hub/models--meta-llama--Llama-3.1-8B-Instruct/refs/main").read_text()
    assert (done.spec.model, done.spec.revision) == (REPO, commit)
    adapter = json.loads((pathlib.Path(done.result_dir) / "adapter_config.json").read_text())
    assert (adapter["base_model_name_or_path"], adapter["revision"]) == (REPO, commit)
    asked = [r["path"] for r in hub.requests(clear=True)]
    assert not any("pth" in path or "README" in path for path in asked), "only what is needed"

    again = submit(ftd, "llama3.1-8b", dataset, max_steps=3)
    ftd.wait(again, "SUCCEEDED")
    assert [r["path"] for r in hub.requests()] == [f"/api/models/{REPO}/revision/main"]


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_a_result_goes_back_to_the_hub(ftd, hub, home, dataset, tmp_path, mode):
    """Its card has what the hub reads, the license too, where Python has fetched the base model's own card."""
    hub.commit(REPO, {"README.md": b"---\nlicense: other\nlicense_name: house\nlicense_link: LICENSE.txt\n---\n# Llama\n"})
    if mode == "lora":
        value(hub, home, f"hf.snapshot_download({REPO!r})", token=TOKEN)
    done = ftd.wait(submit(ftd, "llama3.1-8b", dataset, mode=mode, max_steps=3, name=f"mine-{mode}"), "SUCCEEDED")
    url = ftd.ftctl("push", f"mine-{mode}", "ann/mine").stdout.strip()
    assert url == f"{hub.endpoint}/ann/mine"
    got = pathlib.Path(value(hub, tmp_path / "reader", "hf.snapshot_download('ann/mine')", token=TOKEN))
    result = pathlib.Path(done.result_dir)
    names = {str(p.relative_to(result)) for p in result.rglob("*") if p.is_file()}
    assert names == {str(p.relative_to(got)) for p in got.rglob("*") if p.is_file()} - {".gitattributes"}
    assert all((got / name).read_bytes() == (result / name).read_bytes() for name in names)
    card = ModelCard.load(got / "README.md").data
    assert (card.base_model, card.pipeline_tag, "ftd" in card.tags) == (REPO, "text-generation", True)
    assert card.library_name == ("peft" if mode == "lora" else "transformers")
    link = f"https://huggingface.co/{REPO}/blob/main/LICENSE.txt"
    assert (card.license, card.license_name, card.license_link) == (
        ("other", "house", link) if mode == "lora" else (None, None, None))
    told = value(hub, tmp_path / "reader", "hf.HfApi()._validate_yaml(open({!r}).read())".format(str(got / "README.md")), token=TOKEN)
    assert told is None, "no error, as the test hub judges it"


def parquet(rows):
    table = pyarrow.Table.from_pylist(rows)
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def alpaca(hub, rows=600):
    """The default dataset, with the columns of the real one."""
    texts = [{"instruction": f"Say {i}", "input": "", "output": f"It is {i}.", "text": "not this"} for i in range(rows)]
    hub.add_repo("tatsu-lab/alpaca", {"data/train-00000-of-00001-a09b74b3ef9c3b56.parquet": parquet(texts),
                                      "README.md": b"# Alpaca"}, type="dataset")


def test_nothing_but_a_token(ftd, hub):
    """ftctl submit --mode lora --model llama3.1-8b, and no other flag."""
    alpaca(hub)
    job = ftd.ftctl("submit", "--quiet", "--mode", "lora", "--model", "llama3.1-8b").stdout.strip()
    done = ftd.wait(job, "SUCCEEDED", deadline_s=300)
    assert (done.spec.dataset.hub.name, done.spec.dataset.size) == ("tatsu-lab/alpaca", 512)
    assert len(done.spec.dataset.hub.revision) == 40 and done.last_step.step == 64
    record = json.loads((pathlib.Path(done.result_dir) / "ftd_run.json").read_text())
    assert record["dataset"]["rows"] == 512
    hub.requests(clear=True)
    again = ftd.ftctl("submit", "--quiet", "--mode", "lora", "--model", "llama3.1-8b", "--max-steps", 1).stdout.strip()
    ftd.wait(again, "SUCCEEDED")
    assert [r["path"] for r in hub.requests()] == [f"/api/models/{REPO}/revision/main",
                                                   "/api/datasets/tatsu-lab/alpaca/revision/main"]


def test_the_default_rows_come_in_the_scripts_order(ftd, hub, model):
    """`select(range(512)).shuffle(seed=42)`, and the Trainer's own order of the epoch on top."""
    import datasets
    import torch
    from transformers import AutoTokenizer

    texts = [{"instruction": f"Count to {i}", "input": "", "output": "one two " * (i % 37)} for i in range(600)]
    hub.add_repo("tatsu-lab/alpaca", {"data/train-00000-of-00001.parquet": parquet(texts)}, type="dataset")
    job = ftd.ftctl("submit", "--quiet", "--mode", "lora", "--model", model, "--max-steps", 12).stdout.strip()
    done = ftd.wait(job, "SUCCEEDED")
    assert done.spec.dataset.shuffle_seed == 42
    rows = datasets.Dataset.from_list(texts).select(range(512)).shuffle(seed=42)
    order = torch.randperm(512, generator=torch.Generator().manual_seed(42)).tolist()
    tokenizer = AutoTokenizer.from_pretrained(model)
    lengths = [len(tokenizer(PROMPT.format(*rows[i].values()) + tokenizer.eos_token)["input_ids"]) for i in order[:96]]
    assert [step.tokens for step in ftd.steps(job)] == [sum(lengths[i:i + 8]) for i in range(0, 96, 8)]


def test_ft_train_with_a_preset(hub, home, tmp_path):
    """A preset's model and the default rows, fetched with the user's token; a second run asks the hub for nothing else."""
    alpaca(hub)
    command = [BIN / "ft-train", "llama3-8b-lora", "--max_steps", "3", "--seq_length", "96"]
    env = {**os.environ, **environment(hub, home)}
    done = subprocess.run([*command, "--output_dir", tmp_path / "a"], env=env, capture_output=True, text=True,
                          timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    adapter = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == REPO and "512 rows" in done.stdout
    card = ModelCard.load(tmp_path / "a" / "README.md").data
    assert (card.base_model, card.datasets, card.base_model_relation) == (REPO, ["tatsu-lab/alpaca"], "adapter")
    hub.requests(clear=True)
    subprocess.run([*command, "--output_dir", tmp_path / "b"], env=env, capture_output=True, check=True, timeout=DEADLINE_S)
    assert [r["path"] for r in hub.requests()] == [f"/api/models/{REPO}/revision/main",
                                                   "/api/datasets/tatsu-lab/alpaca/revision/main"]
    assert (tmp_path / "a/adapter_model.safetensors").read_bytes() == (tmp_path / "b/adapter_model.safetensors").read_bytes()
    refused = subprocess.run([*command, "--output_dir", tmp_path / "c"], capture_output=True, text=True, timeout=DEADLINE_S,
                             env={**os.environ, **environment(hub, tmp_path / "other", token="")})
    assert refused.returncode != 0 and REPO in refused.stderr and not (tmp_path / "c").exists()


def test_ft_train_with_a_dataset_of_the_hub(hub, home, model, tmp_path):
    row = json.dumps({"text": "a row"}).encode() + b"\n"
    hub.add_repo("ann/rows", {"train.jsonl": row * 9, "test.jsonl": row * 2}, type="dataset")
    hub.add_repo("ann/many", {"a/train.jsonl": row * 3, "b/train.jsonl": row * 5}, type="dataset")

    def train(*flags):
        return subprocess.run([BIN / "ft-train", "--model_name", model, "--dataset", *flags, "--max_steps", "1"], cwd=tmp_path,
                              env={**os.environ, **environment(hub, home)}, capture_output=True, text=True, timeout=DEADLINE_S)

    assert "Dataset: ann/rows, 9 rows" in train("ann/rows").stdout
    assert "Dataset: ann/rows, 2 rows" in train("ann/rows", "--dataset_split", "test").stdout
    refused = train("ann/many")
    assert refused.returncode == 65 and "choose one of a, b with --dataset-config" in refused.stderr
    assert "Dataset: ann/many, 5 rows" in train("ann/many", "--dataset-config", "b").stdout


def test_datasets_of_the_hub(ftd, hub, model):
    row = {"prompt": "one", "completion": " two"}
    jsonl = (json.dumps(row) + "\n").encode()
    hub.add_repo("ann/rows", {"train.jsonl": jsonl * 4, "test.jsonl": jsonl}, type="dataset")
    hub.add_repo("ann/many", {"a/train.jsonl": jsonl * 3, "b/train.jsonl": jsonl * 5}, type="dataset")
    hub.add_repo("ann/odd", {"data/train_sft-00000-of-00001.parquet": parquet([row] * 6),
                             "data/test_sft-00000-of-00001.parquet": parquet([row])}, type="dataset")

    card = b"---\nconfigs:\n- config_name: small\n  data_files:\n  - split: train\n    path: rows/*.jsonl\n---\n# Rows\n"
    hub.add_repo("ann/card", {"README.md": card, "rows/a.jsonl": jsonl, "rows/b.jsonl": jsonl, "old.jsonl": jsonl * 9},
                 type="dataset")

    def rows_of(*flags):
        job = ftd.ftctl("submit", "--quiet", "--mode", "lora", "--model", model, "--max-steps", 1, *flags).stdout.strip()
        result = pathlib.Path(ftd.wait(job, "SUCCEEDED").result_dir)
        return json.loads((result / "ftd_run.json").read_text())["dataset"]["rows"]

    assert rows_of("--dataset", "ann/rows") == 4
    assert rows_of("--dataset", "ann/rows", "--dataset-split", "test") == 1
    assert rows_of("--dataset", "ann/many", "--dataset-config", "b") == 5
    assert rows_of("--dataset", "ann/odd", "--dataset-split", "train_sft") == 6
    assert rows_of("--dataset", "ann/card") == 2
    hub.requests(clear=True)
    assert rows_of("--dataset", "ann/card", "--dataset-config", "small") == 2
    assert [r["path"] for r in hub.requests()] == ["/api/datasets/ann/card/revision/main"]
    for flags, code, words in ((["ann/many"], 65, "choose one of a, b"), (["ann/nothing"], 66, "no such repository"),
                               (["ann/many", "--dataset-config", "c"], 65, "it has a, b"),
                               (["ann/odd", "--dataset-split", "nothing"], 65, 'split "nothing"'),
                               (["ann/card", "--dataset-config", "large"], 65, "it has small"),
                               (["ann/rows", "--dataset-revision", "v9"], 66, 'no revision "v9"')):
        result = ftd.ftctl("submit", "--mode", "lora", "--model", model, "--dataset", *flags, check=False)
        assert result.returncode == code and words in result.stderr, result.stderr


def test_the_token_shows_nowhere(ftd, hub, dataset):
    stall(hub)
    job = submit(ftd, "llama3.1-8b", dataset, max_steps=3)
    hub.wait_for("GET .*safetensors", count=2)
    pid = ftd.worker_pid(job)
    for name in ("cmdline", "environ"):
        assert TOKEN.encode() not in pathlib.Path(f"/proc/{pid}/{name}").read_bytes(), name
    hub.clear_faults()
    ftd.wait(job, "SUCCEEDED")
    for path in ftd.root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert TOKEN.encode() not in path.read_bytes(), path
    assert TOKEN not in ftd.ftctl("show", job, "-o", "json").stdout


def test_progress_is_told(ftd, hub, dataset):
    stall(hub)
    job = submit(ftd, "llama3.1-8b", dataset, max_steps=2)
    part = wait_until(lambda: ftd.job(job).progress.unit == "bytes" and ftd.job(job).progress.done >= 20_000
                      and ftd.job(job).progress, "bytes to be told")
    assert part.phase == part.DOWNLOAD and 20_000 <= part.done < part.total
    hub.clear_faults()
    ftd.wait(job, "SUCCEEDED")


def test_cancel_while_fetching(ftd, hub, dataset):
    stall(hub)
    job = submit(ftd, "llama3.1-8b", dataset, max_steps=2)
    hub.wait_for("GET .*safetensors", count=2)
    ftd.ftctl("cancel", job)
    ftd.wait(job, "CANCELLED", deadline_s=5)
    assert processes_under(ftd.state_dir) == []


def test_pause_while_fetching(ftd, hub, dataset):
    stall(hub)
    job = submit(ftd, "llama3.1-8b", dataset, max_steps=2)
    hub.wait_for("GET .*safetensors", count=2)
    ftd.ftctl("pause", job)
    ftd.wait(job, "PAUSED", deadline_s=10)
    assert processes_under(ftd.state_dir) == []
    hub.clear_faults()
    ftd.ftctl("resume", job)
    assert len(ftd.wait(job, "SUCCEEDED").attempts) == 2


def test_a_killed_worker_resumes_the_fetch(ftd, hub, dataset, home):
    stall(hub)
    job = submit(ftd, "llama3.1-8b", dataset, max_steps=2)
    blobs = home / "hub/models--meta-llama--Llama-3.1-8B-Instruct/blobs"
    there = wait_until(lambda: max((p.stat().st_size for p in blobs.glob("*.incomplete")), default=0) >= 20_000,
                       "bytes on disk")
    assert there
    os.kill(ftd.worker_pid(job), 9)
    hub.clear_faults()
    done = ftd.wait(job, "SUCCEEDED")
    assert len(done.attempts) == 2 and any(r["range"] == "bytes=20000-" for r in weights(hub))


def test_a_killed_daemon_does_not_stop_the_fetch(ftd, hub, dataset):
    stall(hub)
    job = submit(ftd, "llama3.1-8b", dataset, max_steps=2)
    hub.wait_for("GET .*safetensors", count=2)
    ftd.kill()
    hub.clear_faults()
    ftd.start()
    assert len(ftd.wait(job, "SUCCEEDED").attempts) == 1


def test_the_next_model_is_fetched_meanwhile(ftd, hub, model, dataset):
    running = submit(ftd, model, dataset, max_steps=ENDLESS)
    wait_for_step(ftd, running, 1)
    queued = submit(ftd, "llama3.1-8b", dataset, max_steps=2)
    wait_until(lambda: "is there" in ftd.log(), "the prefetch")
    assert ftd.job(queued).attempts == []
    hub.requests(clear=True)
    ftd.ftctl("cancel", running)
    ftd.wait(queued, "SUCCEEDED")
    assert hub.requests() == []


ERRORS = [  # token, model, further environment, exit code, reason's mark, words
    (None, "llama3.1-8b", {}, 1, "gated", f"{REPO}, then store a token with `ftctl login`"),
    ("hf_other", "llama3.1-8b", {}, 1, "gated", "ask for it at"),
    ("hf_expired", "llama3.1-8b", {}, 77, "does not accept the token", "ftctl login"),
    (TOKEN, "meta-llama/Nothing", {}, 66, "no such repository", "check the name"),
    (TOKEN, "llama3.1-8B", {}, 66, "did you mean llama3.1-8b?", "aliases"),
    (TOKEN, "llama3.1-8b", {"HF_HUB_OFFLINE": "1"}, 69, "not in the cache", "HF_HUB_OFFLINE"),
    (TOKEN, "llama3.1-8b", {"HF_ENDPOINT": "http://127.0.0.1:9"}, 69, "cannot be reached", "not in the cache"),
]


@pytest.mark.parametrize("token, name, env, code, mark, words", ERRORS, ids=[e[4] + str(i) for i, e in enumerate(ERRORS)])
def test_errors_come_at_submit(hub, home, dataset, token, name, env, code, mark, words):
    hub.add_token("hf_other", user="eve")
    hub.add_token("hf_expired", user="old", expired=True)
    with daemon(hub, home, token, **env) as ftd:
        result = ftd.ftctl(*submit_args(name, dataset, max_steps=1), check=False)
        assert (result.returncode, result.stdout) == (code, "") and mark in result.stderr and words in result.stderr, \
            result.stderr
        assert "hf_" not in result.stderr.replace("hf_hub", "")
        assert ftd.ftctl("ls", "--quiet").stdout == ""


def test_a_full_disk(hub, home, model, dataset, tmp_path):
    """Said at submit, with the sizes, before a byte of the model is fetched; what fits is trained all the same."""
    big = make_tiny_llama(tmp_path / "big", hidden=256, intermediate=1024, layers=4, vocab_size=2000)
    hub.add_repo("ann/big", {p.name: p for p in big.iterdir() if p.is_file()})
    with MountedFtd(270, home / "hub", env=environment(hub, home)) as ftd:
        ftd.start()
        done = ftd.ftctl(*submit_args("ann/big", dataset, max_steps=2), check=False)
        assert done.returncode == 75
        assert "ann/big" in done.stderr and str(home / "hub") in done.stderr
        assert "needs 0.0" in done.stderr and "0.28 GB are free" in done.stderr
        assert weights(hub) == [] and json.loads(ftd.ftctl("ls", "-o", "json").stdout) == []
        ftd.wait(submit(ftd, "llama3.1-8b", dataset, max_steps=2), "SUCCEEDED")


def test_an_unknown_revision(ftd, dataset):
    result = ftd.ftctl(*submit_args("llama3.1-8b", dataset, max_steps=1, revision="v9"), check=False)
    assert result.returncode == 66 and 'no revision "v9"' in result.stderr


def test_offline_with_a_cache(hub, home, dataset):
    with daemon(hub, home) as ftd:
        ftd.ftctl("models", "pull", "llama3.1-8b")
    hub.requests(clear=True)
    with daemon(hub, home, HF_HUB_OFFLINE="1") as ftd:
        ftd.wait(submit(ftd, "llama3.1-8b", dataset, max_steps=2), "SUCCEEDED")
    assert hub.requests() == []
    hub.close()
    with daemon(hub, home) as ftd:
        ftd.wait(submit(ftd, "llama3.1-8b", dataset, max_steps=2), "SUCCEEDED")


def test_a_model_that_cannot_be_trained(ftd, hub, dataset):
    hub.add_repo("ann/bert", {"config.json": b'{"model_type": "bert", "architectures": ["BertModel"]}',
                              "tokenizer.json": b"{}", "model.safetensors": b"x" * 1000})
    hub.add_repo("ann/old", {"config.json": b"{}", "tokenizer.json": b"{}", "pytorch_model.bin": b"x"})
    for name, words in (("ann/bert", "model_type is bert"), ("ann/old", "safetensors")):
        result = ftd.ftctl(*submit_args(name, dataset, max_steps=1), check=False)
        assert result.returncode == 65 and words in result.stderr
    assert weights(hub) == [], "seen before the weights are fetched"


def test_access_that_is_lost_while_it_waits(ftd, hub, model, dataset):
    running = submit(ftd, model, dataset, max_steps=ENDLESS)
    wait_for_step(ftd, running, 1)
    hub.fault("safetensors", "status", code=403, error_code="GatedRepo", times=None)
    queued = submit(ftd, "llama3.1-8b", dataset, max_steps=2)
    ftd.ftctl("cancel", running)
    failed = ftd.wait(queued, "FAILED")
    assert failed.failure_reason == failed.DESCRIPTOR.file.enum_types_by_name["FailureReason"].values_by_name[
        "MODEL_GATED"].number
    assert REPO in failed.message and failed.hint


# ftctl models

def test_models(ftd, hub, dataset):
    listed = json.loads(ftd.ftctl("models", "-o", "json").stdout)
    entry = next(m for m in listed if m["name"] == REPO)
    assert entry["size_bytes"] == 0 and entry["aliases"] == ["llama3.1-8b"]
    pulled = ftd.ftctl("models", "pull", "llama3.1-8b").stdout.strip()
    assert (pathlib.Path(pulled) / "config.json").exists()
    entry = json.loads(ftd.ftctl("models", "ls", "--cached", "-o", "json").stdout)
    assert [m["name"] for m in entry] == [REPO] and entry[0]["size_bytes"] > 100_000
    assert "llama3.1-8b" in ftd.ftctl("models").stdout
    assert ftd.ftctl("models", "verify", "llama3.1-8b").returncode == 0

    blob = (pathlib.Path(pulled) / "model.safetensors").resolve()
    with open(blob, "r+b") as f:
        f.seek(50_000)
        f.write(b"damaged")
    result = ftd.ftctl("models", "verify", "llama3.1-8b", check=False)
    assert result.returncode == 74 and result.stdout == f"blobs/{blob.name}\n"

    stall(hub)
    ftd.ftctl("models", "rm", "llama3.1-8b")
    assert ftd.ftctl("models", "rm", "llama3.1-8b", check=False).returncode == 66
    job = submit(ftd, "llama3.1-8b", dataset, max_steps=2)
    result = ftd.ftctl("models", "rm", "llama3.1-8b", check=False)
    assert result.returncode == 1 and job in result.stderr
    hub.clear_faults()
    ftd.wait(job, "SUCCEEDED")
    assert "free again" in ftd.ftctl("models", "rm", "llama3.1-8b").stderr


def test_models_by_wrong_names(ftd):
    for args, code, words in ((["models", "pul", "x"], 2, "did you mean pull?"), (["models", "pull"], 2, "MODEL"),
                              (["models", "pull", "nothing"], 66, "neither an alias"),
                              (["models", "pull", "ann/nothing"], 66, "no such repository"),
                              (["models", "verify", "ann/nothing"], 66, "not in the cache")):
        result = ftd.ftctl(*args, check=False)
        assert result.returncode == code and words in result.stderr, (args, result.stderr)


# ftctl login

def hub_verb(hub, home, verb, text="", token=None):
    return subprocess.run([BIN / "ftctl", verb], input=text, env=hub.env(home, token), capture_output=True, text=True,
                          timeout=DEADLINE_S)


def test_login_and_whoami(hub, home):
    assert hub_verb(hub, home, "whoami").returncode == 77
    refused = hub_verb(hub, home, "login", "hf_wrong\n")
    assert refused.returncode == 77 and not (home / "token").exists() and "hf_wrong" not in refused.stderr
    assert hub_verb(hub, home, "login", "\n").returncode == 65
    done = hub_verb(hub, home, "login", TOKEN + "\n")
    assert done.returncode == 0 and "You are ann" in done.stderr and TOKEN not in done.stderr + done.stdout
    assert stat.S_IMODE((home / "token").stat().st_mode) == 0o600 and (home / "token").read_text() == TOKEN
    assert hub_verb(hub, home, "whoami").stdout == "ann\n"
    python = subprocess.run([sys.executable, "-c", "import huggingface_hub as h; print(h.whoami()['name'])"],
                            env=hub.env(home), capture_output=True, text=True, timeout=DEADLINE_S)
    assert python.stdout == "ann\n", python.stderr


def test_a_login_counts_at_once(hub, home, dataset):
    with daemon(hub, home, token=None) as ftd:
        assert ftd.ftctl(*submit_args("llama3.1-8b", dataset, max_steps=1), check=False).returncode == 1
        assert hub_verb(hub, home, "login", TOKEN + "\n").returncode == 0
        ftd.wait(submit(ftd, "llama3.1-8b", dataset, max_steps=1), "SUCCEEDED")


def test_the_terminal_does_not_show_the_token(hub, home):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(BIN / "ftctl", ["ftctl", "login"], hub.env(home))
    shown = b""
    while b"Token" not in shown:
        assert select.select([terminal], [], [], DEADLINE_S)[0]
        shown += os.read(terminal, 1000)
    os.write(terminal, TOKEN.encode() + b"\n")
    while True:
        try:
            more = os.read(terminal, 1000)
        except OSError:
            break
        if not more:
            break
        shown += more
    assert os.waitpid(pid, 0)[1] == 0 and b"You are ann" in shown and TOKEN.encode() not in shown
