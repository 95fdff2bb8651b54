"""submit -f: a job as YAML or JSON. The files are written by PyYAML and protobuf's json_format."""
import json
import pathlib
import random

import pytest
import yaml
from google.protobuf import json_format

from fake_ftd import FakeFtd
from ftd_fixture import jobs

STRINGS = ["a", "1234", "true", "null", "~", "0x1f", "1e3", "- a", "a: b", "#x", "日本", "line\nbreak", " spaces ", "'", '"', "{q}", "é\u0301"]


def accept(request, context):
    return jobs.Job(id="ft-1", name=request.name, state=jobs.Job.QUEUED, spec=request.spec, priority=request.priority, labels=request.labels)


@pytest.fixture
def fake():
    with FakeFtd(SubmitJob=accept, GetJob=lambda request, context: jobs.Job()) as fake:
        yield fake


def submit(fake, text, *flags):
    result = fake.ftctl("submit", "-f", "-", "--quiet", *flags, stdin=text)
    assert result.returncode == 0, result.stderr
    return fake.calls("SubmitJob")[-1]


def some_value(field, rng):
    if field.enum_type:
        return rng.choice([value.number for value in field.enum_type.values if value.number])
    if field.cpp_type == field.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if field.cpp_type == field.CPPTYPE_INT32:
        return rng.randint(-2**31, 2**31 - 1)
    if field.cpp_type == field.CPPTYPE_INT64:
        return rng.randint(-2**63, 2**63 - 1)
    if field.cpp_type == field.CPPTYPE_DOUBLE:
        return rng.choice([rng.random(), 10.0 ** rng.randint(-20, 20), 3.0, rng.uniform(-1e300, 1e300), 5e-324])
    return rng.choice(STRINGS)


def fill(message, rng):
    """Sets some of its fields to anything that their types can hold."""
    for field in message.DESCRIPTOR.fields:
        if rng.random() < 0.3:
            continue
        if field.message_type and field.message_type.GetOptions().map_entry:
            for _ in range(rng.randint(0, 3)):
                getattr(message, field.name)[rng.choice(STRINGS)] = rng.choice(STRINGS)
        elif field.is_repeated:
            for _ in range(rng.randint(0, 3)):
                if field.message_type:
                    fill(getattr(message, field.name).add(), rng)
                else:
                    getattr(message, field.name).append(some_value(field, rng))
        elif field.message_type:
            getattr(message, field.name).SetInParent()
            fill(getattr(message, field.name), rng)
        else:
            setattr(message, field.name, some_value(field, rng))


def spec_of(seed):
    spec = jobs.JobSpec()
    fill(spec, random.Random(seed))
    spec.model, spec.lora.init_adapter = "alias", "/adapters/a"
    spec.dataset.SetInParent()  # ftctl always sends one
    if spec.dataset.HasField("hub"):
        spec.dataset.hub.name = "owner/name"
    return spec


@pytest.mark.parametrize("form", ["yaml", "json"])
@pytest.mark.parametrize("seed", range(25))
def test_every_key_of_a_spec_is_read(fake, seed, form):
    spec = spec_of(seed)
    keys = json_format.MessageToDict(spec, preserving_proto_field_name=True)
    text = json.dumps(keys) if form == "json" else yaml.safe_dump(keys, allow_unicode=seed % 2 == 0, default_flow_style=seed % 3 == 0)
    assert submit(fake, text).spec == spec, text


@pytest.mark.parametrize("seed", range(100, 115))
@pytest.mark.parametrize("form", ["yaml", "json"])
def test_show_feeds_back(fake, seed, form):
    """What show prints queues the same job: all that another could have as well."""
    job = jobs.Job(id="ft-9", name="first", state=jobs.Job.SUCCEEDED, priority=-7, labels={"team": "nlp", "1": "true"}, spec=spec_of(seed),
                   result_dir="/r", warnings=["w"], attempts=[jobs.Attempt(number=1, reason="x")])
    job.create_time.GetCurrentTime()
    fake.handlers["GetJob"] = lambda request, context: job
    shown = fake.ftctl("show", "first", "-o", form)
    assert shown.returncode == 0, shown.stderr
    request = submit(fake, shown.stdout)
    assert request.spec == job.spec
    assert (request.name, request.priority, dict(request.labels)) == ("", -7, {"team": "nlp", "1": "true"})
    assert submit(fake, shown.stdout, "--name", "second").name == "second"


EXAMPLE = """
name: first
priority: 3
labels: {team: nlp, run: 1}
mode: LoRA
model: alias
dtype: bf16
learning_rate: 1e-4
lr_scheduler_type: cosine-with-min-lr
gradient_checkpointing: on
lora:
  rank: 4
  target_modules: all-linear
dataset:
  hub: {name: a/b, split: test}
  columns: {text: body}
  size: 10
"""


def test_words_as_people_write_them(fake):
    request = submit(fake, EXAMPLE)
    spec = request.spec
    assert (request.name, request.priority, dict(request.labels)) == ("first", 3, {"team": "nlp", "run": "1"})
    assert (spec.mode, spec.dtype, spec.lr_scheduler_type) == (jobs.JobSpec.LORA, jobs.JobSpec.BFLOAT16, jobs.JobSpec.COSINE_WITH_MIN_LR)
    assert spec.learning_rate == 1e-4 and spec.gradient_checkpointing and list(spec.lora.target_modules) == ["all-linear"]
    assert (spec.dataset.hub.name, spec.dataset.hub.split, spec.dataset.size) == ("a/b", "test", 10)


def test_the_example_of_the_docs(fake, tmp_path):
    text = (pathlib.Path(__file__).parents[2] / "docs/cli.md").read_text().split("```yaml\n")[1].split("```")[0]
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "job.yaml").write_text(text)
    result = fake.ftctl("submit", "-f", "job.yaml", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    request = fake.calls("SubmitJob")[0]
    want = yaml.safe_load(text)
    spec = json_format.MessageToDict(request.spec, preserving_proto_field_name=True)
    assert spec["mode"] == "LORA" and spec["model"] == want["model"] and spec["lora"] == want["lora"]
    assert (spec["learning_rate"], spec["num_epochs"]) == (1e-4, 3) and spec["dataset"]["upload_sha256"] in fake.uploads
    assert (request.name, dict(request.labels)) == ("first", want["labels"])


def test_flags_override_the_file(fake, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a"}\n')
    request = submit(fake, EXAMPLE, "--name", "other", "--priority", "0", "--label", "run=2", "--lr", "2e-5", "--gradient-checkpointing", "auto",
                     "--lora-rank", "8", "--dataset", str(rows), "--columns", "output=o", "--mode", "qlora", "--model", "b")
    spec = request.spec
    assert (request.name, request.priority, dict(request.labels)) == ("other", 0, {"team": "nlp", "run": "2"})
    assert (spec.mode, spec.model, spec.learning_rate, spec.lora.rank) == (jobs.JobSpec.QLORA, "b", 2e-5, 8)
    assert not spec.HasField("gradient_checkpointing") and list(spec.lora.target_modules) == ["all-linear"]
    dataset = spec.dataset
    assert not dataset.HasField("hub") and dataset.upload_sha256 and dict(dataset.columns) == {"output": "o"} and dataset.size == 10


@pytest.mark.parametrize("file, flag", [("batch_size", "--batch-tokens"), ("batch_tokens", "--batch-size")])
def test_a_batch_by_rows_or_tokens_overrides_the_other(fake, file, flag):
    spec = submit(fake, f"{file}: 100", flag, "200").spec
    assert [getattr(spec, name) for name in ("batch_size", "batch_tokens") if spec.HasField(name)] == [200] and not spec.HasField(file)


def test_a_batch_that_fits(fake):
    spec = submit(fake, "batch_size: auto").spec
    assert spec.auto_batch_size and not spec.HasField("batch_size")
    for text, *flags in (["batch_size: 16\nauto_batch_size: true"], ["batch_size: 16", "--batch-size", "auto"],
                         ["batch_size: AUTO", "--batch-size", "16"]):
        spec = submit(fake, text, *flags).spec
        assert (spec.batch_size, spec.auto_batch_size) == (16, True), text
    assert not submit(fake, "batch_size: auto", "--no-auto-batch-size").spec.auto_batch_size
    spec = submit(fake, "batch_tokens: 4096", "--batch-size", "auto").spec
    assert spec.auto_batch_size and not spec.HasField("batch_tokens")
    spec = submit(fake, "batch_size: auto", "--batch-tokens", "4096").spec
    assert spec.batch_tokens == 4096 and not spec.HasField("auto_batch_size")


@pytest.mark.parametrize("text", ["dataset: {}", "dataset: {{path: {}, size: 1}}", '{{"dataset": "{}"}}'])
def test_a_dataset_is_sent_as_with_its_flag(fake, tmp_path, text):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a"}\n')
    assert submit(fake, text.format(rows)).spec.dataset.upload_sha256 in fake.uploads


def test_prompts_are_texts_or_messages(fake):
    text = "sample_prompts:\n- '1'\n- [{role: user, content: '7', weight: 0, x: {y: true}}]\n- {json}\n"
    prompts = submit(fake, text.replace("{json}", "'[1]'")).spec.sample_prompts
    assert prompts[0] == "1" and prompts[2] == "[1]"
    assert prompts[1] == '[{"role":"user","content":"7","weight":0,"x":{"y":true}}]'
    assert list(submit(fake, "sample_prompts: Once").spec.sample_prompts) == ["Once"]


def test_anchors(fake):
    assert list(submit(fake, "lora: {target_modules: [&q q_proj, *q]}").spec.lora.target_modules) == ["q_proj", "q_proj"]


@pytest.mark.parametrize("text, words", [
    ("mode: lora\nlora_r: 3", "line 2: unknown key 'lora_r'; did you mean lora.rank?"),
    ("mode: lora\nlora:\n  alpa: 3", "line 3: unknown key 'lora.alpa'; did you mean lora.alpha?"),
    ("num_train_epochs: 3", "did you mean num_epochs?"), ("zzz: 1", "line 1: unknown key 'zzz'"), ("<<: {mode: lora}", "unknown key '<<'"),
    ("mode: lora\nmode: full", "line 2: 'mode' is given twice"), ("labels: {a: 1, a: 2}", "'labels.a' is given twice"),
    ("mode: adapter", "mode must be one of lora, full, qlora; got 'adapter'"), ("dtype: [a]", "dtype must be one value"),
    ("max_steps: 1.5", "max_steps needs a whole number; got '1.5'"), ("max_steps: 99999999999999999999", "whole number"),
    ("learning_rate: .nan", "needs a number"), ("learning_rate: fast", "needs a number; got 'fast'"), ("shuffle: 3", "shuffle needs true or false"),
    ("gradient_checkpointing: some", "or auto"), ("lora: 3", "lora must be keys and values"), ("a: [", "line 1: not YAML"), ("a:\n\t- b", "not YAML"),
    ("- mode", "must be keys and values"), ("", "says nothing"), ("# nothing", "says nothing"), ("mode: lora\n---\nmode: full", "more than one document"),
    ("dataset: {path: x, hub: {name: a/b}}", "dataset.path and dataset.hub contradict"), ("spec: {mode: lora}\nmode: full", "'mode' belongs below spec"),
    ("sample_prompts: [&a [*a]]", "nested too deep"), ("sample_prompts: [[{? [a] : b}]]", "a key must be a text"),
    ("sample_prompts:\n- {a: 1}", "must be one value"),
    ("spec: {moode: lora}", "did you mean mode?"), ("spec: 3", "must be keys and values"), ("? [a]\n: b", "a key must be a text"),
    ("[" * 5000, "not YAML"), ("mode: \xff", "not UTF-8"), ("priority: high", "priority needs a whole number"),
    ("a: &a [x]\nlora: *b", "line 2"), ("x" * (1 << 20) + ": 1", "1 MiB"), ("zz\x1b[31m: 1", "unknown key"),
    ("lora: {target_modules: [&a " + "x" * 500_000 + ", *a" * 100 + "]}", "aliases"),
])
def test_what_does_not_read_is_named(fake, text, words):
    data = text.encode("latin-1" if "\xff" in text else "utf-8")
    result = fake.ftctl("submit", "-f", "-", stdin=data)
    assert result.returncode == 65 and words in result.stderr and result.stdout == "", result.stderr[:500]
    assert result.stderr.startswith("ftctl: standard input: ") and "\x1b" not in result.stderr and len(result.stderr) < 4000
    assert fake.calls("SubmitJob") == []


def test_files_that_are_none(fake, tmp_path):
    for path, code, words in [(tmp_path / "none.yaml", 66, "No such file"), (tmp_path, 65, "directory"), ("/dev/zero", 65, "1 MiB")]:
        result = fake.ftctl("submit", "-f", path)
        assert result.returncode == code and words in result.stderr and str(path) in result.stderr, result.stderr


def test_the_mode_is_still_asked_for(fake):
    """By ftd, which says all that is missing."""
    assert fake.ftctl("submit").returncode == 2
    assert submit(fake, "model: alias").spec.mode == 0
