"""The command line itself: help, usage errors, and what the flags become on the wire."""

import re
import uuid

import pytest
from google.protobuf import json_format

from fake_ftd import FakeFtd, fail, make_job
from ftd_fixture import jobs

REQUIRED = ("submit", "--mode", "lora", "--model", "alias", "--dataset")


@pytest.fixture
def fake():
    with FakeFtd(SubmitJob=lambda request, context: jobs.Job(id="ft-1", name=request.name, spec=request.spec)) as fake:
        fake.rows = fake.root / "rows.jsonl"
        fake.rows.write_text('{"text": "one"}\n')
        yield fake


def submitted(fake, *flags):
    result = fake.ftctl(*REQUIRED, fake.rows, *flags)
    assert result.returncode == 0, result.stderr
    return fake.calls("SubmitJob")[-1]


def test_help_goes_to_stdout(fake):
    plain = fake.ftctl()
    assert plain.returncode == 0 and plain.stdout == fake.ftctl("help").stdout == fake.ftctl("--help").stdout
    verbs = re.findall(r"^  ([a-z]+)  ", plain.stdout, re.M)
    assert {"run", "submit", "ls", "show", "watch", "wait", "logs", "metrics", "get", "cancel"} <= set(verbs)
    for verb in verbs:
        by_help, by_flag = fake.ftctl("help", verb), fake.ftctl(verb, "--help")
        assert by_help.returncode == by_flag.returncode == 0
        assert by_help.stdout == by_flag.stdout and f"  ftctl {verb}" in by_help.stdout, verb
        assert by_help.stderr == ""


@pytest.mark.parametrize("words", [["--version"], ["-V"], ["version"]])
def test_version(fake, words):
    from ftd_fixture import REPO
    assert fake.ftctl(*words).stdout == f"ftctl {(REPO / 'VERSION').read_text().strip()}\n"


@pytest.mark.parametrize("args, says", [
    (["sbumit"], "did you mean submit?"),
    (["frobnicate"], "unknown verb 'frobnicate'\n"),
    (["help", "wacth"], "did you mean watch?"),
    (["--adress", "unix:/x", "ls"], "did you mean --address?"),
    (["--address"], "--address needs"),
    (["submit", "--modle", "x"], "did you mean --model?"),
    (["submit", "--batchsize", "4"], "did you mean --batch-size?"),
    (["submit", "--learning_rte=1"], "did you mean --learning-rate?"),
    (["submit", "--model", "x", "--dataset", "y"], "--mode is required"),
    (["submit", "--mode", "lora", "--dataset", "x"], "--model is required"),
    (["submit", "--mode", "lroa", "--model", "x", "--dataset", "y"], "--mode needs one of lora, full, qlora; got 'lroa'"),
    (["submit", "--batch-size", "many"], "--batch-size needs a whole number"),
    (["submit", "--batch_size", "3000000000"], "--batch-size needs a whole number of at most 32 bits, or auto"),
    (["submit", "--learning-rate", "nan"], "--learning-rate needs a number; got 'nan'"),
    (["submit", "--num-epochs", "1,5"], "--num-epochs needs a number"),
    (["submit", "--gradient-checkpointing", "true"], "needs one of auto, on, off; got 'true'"),
    (["show"], "JOB is required"),
    (["show", "a", "b"], "unexpected argument 'b'"),
    (["show", "a", "-o", "xml"], "needs one of table, json, yaml; got 'xml'"),
    (["ls", "--state", "RUNING"], "RUNING is not a state"),
    (["get", "job"], "DIR is required"),
    (["wait", "job", "--timeout", "soon"], "--timeout needs a number"),
    (["--address", "example.org:7443", "ls"], "keeps it off the network"),
    (["--address", "10.0.0.1:1", "ls"], "keeps it off the network"),
    (["--address", "unix:", "ls"], "neither unix:PATH nor"),
])
def test_usage_errors_exit_2_and_say_what_to_type(fake, args, says):
    result = fake.ftctl(*args)
    assert result.returncode == 2, result.stderr
    assert says in result.stderr and result.stdout == ""
    assert fake.calls("SubmitJob") == []


@pytest.mark.parametrize("said, meant", [("list", "ls"), ("ps", "ls"), ("status", "show"), ("describe", "show"), ("delete", "rm")])
def test_what_other_tools_call_a_verb(fake, said, meant):
    assert fake.ftctl(said, "--help").stdout == fake.ftctl(meant, "--help").stdout != ""


def test_stop_is_two_things(fake):
    result = fake.ftctl("stop", "ft-1")
    assert result.returncode == 2 and "pause" in result.stderr and "cancel" in result.stderr
    assert fake.calls("CancelJob") == fake.calls("PauseJob") == []


def test_label_without_value_is_a_usage_error(fake):
    result = fake.ftctl(*REQUIRED, fake.rows, "--label", "team")
    assert result.returncode == 2 and "KEY=VALUE" in result.stderr


def test_a_chat_template_is_a_file_or_one_of_ours(fake, tmp_path):
    template = tmp_path / "t.jinja"
    template.write_text("{{ messages }}\n")
    fake.ftctl(*REQUIRED, fake.rows, "--chat-template", template)
    [request] = fake.calls("SubmitJob")
    assert request.spec.dataset.chat_template == "{{ messages }}\n"
    result = fake.ftctl(*REQUIRED, fake.rows, "--chat-template", "chatmk")
    assert result.returncode != 0 and "--chat-template: " in result.stderr and "chatmk" in result.stderr


# Each flag, and what it makes of the spec in proto3 JSON: by protobuf itself.
FLAGS = [
    (["--dataset-size", "5"], {"dataset": {"size": "5"}}),
    (["--dataset-shape", "prompt-completion"], {"dataset": {"shape": "PROMPT_COMPLETION"}}),
    (["--dataset_shape", "alpaca"], {"dataset": {"shape": "ALPACA"}}),
    (["--columns", "instruction=q,output=an answer"],
     {"dataset": {"columns": {"instruction": "q", "output": "an answer"}}}),
    (["--template", r"Q: {q}\nA: {a}\\"], {"dataset": {"template": "Q: {q}\nA: {a}\\"}}),
    (["--train-on", "completions"], {"dataset": {"trainOn": "COMPLETIONS"}}),
    (["--train_on=all"], {"dataset": {"trainOn": "ALL"}}),
    (["--train-on", "last"], {"dataset": {"trainOn": "LAST"}}),
    (["--dataset-shape", "sharegpt"], {"dataset": {"shape": "SHAREGPT"}}),
    (["--chat-template", "chatml"], {"dataset": {"chatTemplate": "chatml"}}),
    (["--chat-template-date", "2026-01-31"], {"dataset": {"chatTemplateDate": "2026-01-31"}}),
    (["--packing"], {"packing": True}),
    (["--skip-bad-rows", "5"], {"dataset": {"skipBadRows": "5"}}),
    (["--skip_bad_rows", "5"], {"dataset": {"skipBadRows": "5"}}),
    (["--num-epochs", "1.5"], {"numEpochs": 1.5}),
    (["--max-steps", "3"], {"maxSteps": "3"}),
    (["--batch-size", "4"], {"batchSize": 4}),
    (["--batch_size", "4"], {"batchSize": 4}),
    (["--batch_size=4"], {"batchSize": 4}),
    (["--batch-size", "auto"], {"autoBatchSize": True}),
    (["--batch-size=Auto"], {"autoBatchSize": True}),
    (["--batch_size", "16", "--auto-batch-size"], {"batchSize": 16, "autoBatchSize": True}),
    (["--no-auto-batch-size"], {"autoBatchSize": False}),
    (["--batch-tokens", "8192"], {"batchTokens": 8192}),
    (["--gradient-accumulation-steps", "2"], {"gradientAccumulationSteps": 2}),
    (["--gradient_accumulation_steps", "2"], {"gradientAccumulationSteps": 2}),
    (["--seq-length", "512"], {"seqLength": 512}),
    (["--learning-rate", "1e-4"], {"learningRate": 1e-4}),
    (["--learning_rate", "3.3000000000000003e-05"], {"learningRate": 3.3000000000000003e-05}),
    (["--lr-scheduler-type", "cosine"], {"lrSchedulerType": "COSINE"}),
    (["--lr_scheduler_type", "cosine_with_min_lr"], {"lrSchedulerType": "COSINE_WITH_MIN_LR"}),
    (["--lr_scheduler_type=constant_with_warmup"], {"lrSchedulerType": "CONSTANT_WITH_WARMUP"}),
    (["--warmup-steps", "0.03"], {"warmupSteps": 0.03}),
    (["--warmup_steps", "10"], {"warmupSteps": 10.0}),
    (["--min-lr", "1e-6"], {"minLr": 1e-6}),
    (["--min_lr_rate", "0.1"], {"minLrRate": 0.1}),
    (["--weight-decay", "0"], {"weightDecay": 0.0}),
    (["--max-grad-norm", "0.5"], {"maxGradNorm": 0.5}),
    (["--lora-rank", "4"], {"lora": {"rank": 4}}),
    (["--lora-alpha", "8"], {"lora": {"alpha": 8.0}}),
    (["--lora-dropout", "0.1"], {"lora": {"dropout": 0.1}}),
    (["--use-rslora"], {"lora": {"useRslora": True}}),
    (["--use_rslora"], {"lora": {"useRslora": True}}),
    (["--target-modules", "q_proj,v_proj"], {"lora": {"targetModules": ["q_proj", "v_proj"]}}),
    (["--target_modules", "all-linear"], {"lora": {"targetModules": ["all-linear"]}}),
    (["--seed", "-7"], {"seed": "-7"}),
    (["--shuffle"], {"shuffle": True}),
    (["--no-shuffle"], {"shuffle": False}),
    (["--no_shuffle"], {"shuffle": False}),
    (["--dtype", "bfloat16"], {"dtype": "BFLOAT16"}),
    (["--precision", "hf_parity"], {"precision": "HF_PARITY"}),
    (["--precision=fp32_master"], {"precision": "FP32_MASTER"}),
    (["--gradient-checkpointing"], {"gradientCheckpointing": True}),
    (["--gradient_checkpointing", "--seed", "7"], {"gradientCheckpointing": True, "seed": "7"}),
    (["--gradient-checkpointing", "on"], {"gradientCheckpointing": True}),
    (["--gradient_checkpointing=on"], {"gradientCheckpointing": True}),
    (["--gradient-checkpointing", "off"], {"gradientCheckpointing": False}),
    (["--no-gradient-checkpointing"], {"gradientCheckpointing": False}),
    (["--gradient-checkpointing", "auto"], {}),
    (["--gradient-checkpointing", "off", "--gradient-checkpointing=auto"], {}),
    (["--no-deterministic"], {"deterministic": False}),
    (["--no_deterministic"], {"deterministic": False}),
    (["--logging-steps", "10"], {"loggingSteps": 10}),
    (["--save-steps", "0"], {"saveSteps": 0}),
    (["--save-total-limit", "3"], {"saveTotalLimit": 3}),
    (["--revision", "main"], {"revision": "main"}),
    (["--model-name", "other"], {"model": "other"}),
    (["--mode", "full"], {"mode": "FULL"}),
    (["--mode", "qlora"], {"mode": "QLORA"}),
]


@pytest.mark.parametrize("flags, expected", FLAGS, ids=[" ".join(row[0]) for row in FLAGS])
def test_each_flag_sets_its_field_and_no_other(fake, flags, expected):
    spec = json_format.MessageToDict(submitted(fake, *flags).spec)
    dataset = spec.pop("dataset")
    assert dataset.pop("fileName") == "rows.jsonl" and len(dataset.pop("uploadSha256")) == 64
    base = {"mode": "LORA", "model": "alias"}
    assert {**spec, **({"dataset": dataset} if dataset else {})} == {**base, **expected}


def test_flags_outside_the_spec(fake):
    request = submitted(fake, "--name", "first", "--priority", "-3", "--label", "a=1", "--label", "b=x=y",
                        "--request-id", "11111111-2222-4333-8444-555555555555")
    assert request.name == "first" and request.priority == -3 and dict(request.labels) == {"a": "1", "b": "x=y"}
    assert request.request_id == "11111111-2222-4333-8444-555555555555" and not request.validate_only


def test_every_submit_has_a_fresh_request_id(fake):
    ids = {submitted(fake).request_id for _ in range(3)}
    assert len(ids) == 3 and all(uuid.UUID(i).version == 4 and str(uuid.UUID(i)) == i for i in ids)


def test_local_directories_become_absolute_and_aliases_stay(fake, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "rows.jsonl").write_text('{"text": "one"}\n')

    def model_of(*flags):
        result = fake.ftctl("submit", "--mode", "lora", "--dataset", "rows.jsonl", *flags, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        return fake.calls("SubmitJob")[-1].spec

    assert model_of("--model", "model").model == str(tmp_path / "model")
    assert model_of("--model", "./missing/../model2").model == str(tmp_path / "model2")
    assert model_of("--model", "llama3.1-8b").model == "llama3.1-8b"
    assert model_of("--model", "org/name").model == "org/name"
    assert model_of("--model", "m", "--init-adapter", "ad").lora.init_adapter == str(tmp_path / "ad")


def test_validate_only(fake):
    result = fake.ftctl(*REQUIRED, fake.rows, "--validate-only")
    assert result.returncode == 0 and result.stdout == "" and "would accept" in result.stderr
    assert fake.calls("SubmitJob")[-1].validate_only


def test_address_from_flag_before_and_behind_the_verb_and_from_the_environment(fake):
    fake.handlers["GetJob"] = lambda request, context: make_job()
    for args in (["--address", fake.address, "show", "x"], [f"--address={fake.socket}", "show", "x"],
                 ["show", "x", "--address", fake.address]):
        assert fake.ftctl(*args, env={"FTCTL_ADDRESS": "unix:/nowhere"}).returncode == 0, args


def test_address_falls_back_to_the_first_existing_socket(fake):
    fake.handlers["GetJob"] = lambda request, context: make_job()
    runtime, user = fake.root / "runtime", fake.root / "user"
    (user / "ftd").mkdir(parents=True)
    runtime.mkdir()
    (user / "ftd" / "ftd.sock").symlink_to(fake.socket)
    env = {"FTCTL_ADDRESS": "", "RUNTIME_DIRECTORY": f"{runtime}:/other", "XDG_RUNTIME_DIR": str(user)}
    assert fake.ftctl("show", "x", env=env).returncode == 0
    (runtime / "ftd.sock").symlink_to(fake.socket)
    assert fake.ftctl("show", "x", env={**env, "XDG_RUNTIME_DIR": "/nowhere"}).returncode == 0
    (runtime / "ftd.sock").unlink()
    (user / "ftd" / "ftd.sock").unlink()
    missing = fake.ftctl("show", "x", env=env)
    if missing.returncode == 69:  # unless this machine runs an ftd at /run/ftd
        assert f"unix:{runtime}/ftd.sock" in missing.stderr


def test_server_text_cannot_drive_the_terminal(fake):
    fake.handlers["GetJob"] = lambda request, context: fail(context, "NOT_FOUND", "JOB_NOT_FOUND", "no \x1b[2Jjob")
    assert fake.ftctl("show", "x").stderr == "ftctl: no ?[2Jjob\n"
