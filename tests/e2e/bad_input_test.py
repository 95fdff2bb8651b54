"""Bad input: the right code, reason and exit status, a message that names the object and the mend, and a queue that
goes on."""
import io
import json
import os
import shutil
import struct

import pyarrow
import pyarrow.parquet
import pytest
from conftest import ENDLESS, error_of, submit, submit_args
from ftd_fixture import Ftd, alpaca_rows, state_name

from ftd.v1 import job_pb2 as jobs


@pytest.fixture(scope="module")
def daemon():
    with Ftd() as ftd:
        yield ftd


def copy_of(model, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    return copy


def truncate_weights(directory):
    file = directory / "model.safetensors"
    os.truncate(file, file.stat().st_size // 2)


def edit_header(directory, edit):
    """Rewrites the safetensors header through `edit`; the data stays."""
    file = directory / "model.safetensors"
    data = file.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    edit(header)
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])


def first_tensor(header):
    return header[min(name for name in header if name != "__metadata__")]


def lie_about_offsets(directory):
    edit_header(directory, lambda header: first_tensor(header).update(data_offsets=[0, 1 << 40]))


def lie_about_shape(directory):
    edit_header(directory, lambda header: first_tensor(header).update(shape=[1 << 31, 1 << 31]))


def lie_about_header_size(directory):
    file = directory / "model.safetensors"
    file.write_bytes(struct.pack("<Q", (1 << 64) - 1) + file.read_bytes()[8:])


def lose_a_tensor(directory):
    edit_header(directory, lambda header: header.update({"x": header.pop("model.layers.0.self_attn.q_proj.weight")}))


def edit_config(directory, **fields):
    file = directory / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def other_architecture(directory):
    edit_config(directory, architectures=["GPT2LMHeadModel"], model_type="gpt2")


def absurd_config(directory):
    edit_config(directory, num_attention_heads=-4)


def config_that_is_no_json(directory):
    (directory / "config.json").write_text('{"architectures": [')


def tokenizer_that_is_no_bpe(directory):
    tokenizer = {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": {"type": "Whitespace"},
                 "post_processor": None, "decoder": None,
                 "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                           "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0, "a": 1}}}
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))


def lose(name):
    def damage(directory):
        (directory / name).unlink()

    damage.__name__ = f"without_{name}"
    return damage


BAD_MODELS = [  # damage, code, reason, exit status, words of the message
    (shutil.rmtree, "NOT_FOUND", "MODEL_NOT_FOUND", 66, ["model"]),
    (lose("config.json"), "NOT_FOUND", "MODEL_NOT_FOUND", 66, ["config.json"]),
    (lose("tokenizer.json"), "NOT_FOUND", "MODEL_NOT_FOUND", 66, ["tokenizer.json"]),
    (lose("model.safetensors"), "NOT_FOUND", "MODEL_NOT_FOUND", 66, ["model.safetensors"]),
    (truncate_weights, "FAILED_PRECONDITION", "MODEL_CORRUPT", 65, ["model.safetensors"]),
    (lie_about_offsets, "FAILED_PRECONDITION", "MODEL_CORRUPT", 65, ["model.safetensors"]),
    (lie_about_shape, "FAILED_PRECONDITION", "MODEL_CORRUPT", 65, ["model.safetensors"]),
    (lie_about_header_size, "FAILED_PRECONDITION", "MODEL_CORRUPT", 65, ["model.safetensors"]),
    (lose_a_tensor, "FAILED_PRECONDITION", "MODEL_CORRUPT", 65, ["q_proj"]),
    (other_architecture, "FAILED_PRECONDITION", "MODEL_UNSUPPORTED", 65, ["config.json", "gpt2"]),
    (absurd_config, "FAILED_PRECONDITION", "MODEL_CORRUPT", 65, ["config.json", "num_attention_heads"]),
    (config_that_is_no_json, "FAILED_PRECONDITION", "MODEL_CORRUPT", 65, ["config.json"]),
    (tokenizer_that_is_no_bpe, "FAILED_PRECONDITION", "MODEL_UNSUPPORTED", 65, ["tokenizer.json", "WordPiece"]),
]


@pytest.mark.parametrize("damage,code,reason,exit_status,words", BAD_MODELS, ids=lambda v: getattr(v, "__name__", ""))
def test_bad_model(daemon, model, dataset, tmp_path, damage, code, reason, exit_status, words):
    bad = copy_of(model, tmp_path)
    damage(bad)
    got_code, info, _, message = error_of(lambda: daemon.submit(model=bad, rows=alpaca_rows(2), max_steps=1))
    assert (got_code, info.reason) == (code, reason)
    done = daemon.ftctl(*submit_args(bad, dataset, max_steps=1), check=False)
    assert done.returncode == exit_status and done.stdout == ""
    for word in [str(tmp_path), *words]:
        assert word in message and word in done.stderr, word
    goes_on(daemon, model, dataset)


BAD_FIELDS = [  # field, value, ftctl's flag
    ("learning_rate", 0.0, "--learning-rate"),
    ("learning_rate", -1e-4, "--learning-rate"),
    ("learning_rate", float("nan"), "--learning-rate"),
    ("batch_size", 0, "--batch-size"),
    ("batch_size", 1 << 30, "--batch-size"),
    ("batch_tokens", -1, "--batch-tokens"),
    ("gradient_accumulation_steps", -1, "--gradient-accumulation-steps"),
    ("seq_length", 1, "--seq-length"),
    ("num_epochs", -1.0, "--num-epochs"),
    ("max_steps", -5, "--max-steps"),
    ("weight_decay", 2.0, "--weight-decay"),
    ("max_grad_norm", 0.0, "--max-grad-norm"),
    ("lora.rank", 0, "--lora-rank"),
    ("lora.alpha", 0.0, "--lora-alpha"),
    ("lora.dropout", 1.0, "--lora-dropout"),
]


@pytest.mark.parametrize("field,value,flag", BAD_FIELDS)
def test_field_out_of_range(daemon, model, dataset, field, value, flag):
    call = {field.replace("lora.", "lora_"): value}
    code, info, fields, message = error_of(lambda: daemon.submit(model=model, rows=alpaca_rows(2), **call))
    assert (code, info.reason, fields) == ("INVALID_ARGUMENT", "FIELD_INVALID", [f"spec.{field}"])
    assert field in message
    args = [*submit_args(model, dataset, max_steps=1), f"{flag}={value!r}"]
    done = daemon.ftctl(*args, check=False)
    if value != value:  # ftctl itself knows that it is no number
        assert done.returncode == 2 and flag in done.stderr, done
    else:
        assert done.returncode == 65 and field in done.stderr, done


def test_unknown_target_module(daemon, model):
    spec = daemon.spec(model, alpaca_rows(2), max_steps=1, lora_target_modules=["q_proj", "k_porj"])
    code, info, fields, message = error_of(lambda: daemon.submit(spec))
    assert (code, info.reason, fields) == ("INVALID_ARGUMENT", "FIELD_INVALID", ["spec.lora.target_modules"])
    assert "k_porj" in message


QUANTISED = [  # quantization_config of config.json, mode, words of the message
    ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "LORA", "--mode qlora"),
    ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "FULL", "--mode qlora"),
    ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}, "QLORA", "bitsandbytes fp4"),
    ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "QLORA", "bitsandbytes 8-bit"),
    ({"quant_method": "gptq", "bits": 4}, "QLORA", "gptq"),
    ({"quant_method": "awq", "bits": 4}, "LORA", "awq"),
]


@pytest.mark.parametrize("quantization,mode,words", QUANTISED)
def test_quantised_models_that_the_mode_cannot_train(daemon, model, tmp_path, quantization, mode, words):
    copy = copy_of(model, tmp_path)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"quantization_config": quantization}))
    code, info, _, message = error_of(lambda: daemon.submit(model=copy, rows=alpaca_rows(2), mode=mode, max_steps=1))
    assert (code, info.reason) == ("FAILED_PRECONDITION", "MODEL_UNSUPPORTED")
    assert words in message


GOOD = json.dumps({"instruction": "a", "input": "b", "output": "c"})
BAD_DATASETS = [  # bytes of rows.jsonl, words of the message
    ("not_json", "\n".join([GOOD] * 16 + ["{oops", GOOD]), ["rows.jsonl", "line 17"]),
    ("no_object", "\n".join([GOOD, "[1, 2]"]), ["rows.jsonl", "line 2"]),
    ("missing_output", "\n".join([GOOD] * 4 + ['{"instruction": "a", "input": "b"}']), ["line 5", "output"]),
    ("number_for_text", "\n".join([GOOD, '{"text": 7}']), ["line 2", "text"]),
    ("invalid_utf8", GOOD.encode() + b'\n{"text": "\xff\xfe"}', ["line 2", "UTF-8"]),
    ("empty", "", ["rows.jsonl"]),
    ("blank_lines_only", "\n\n\n", ["rows.jsonl"]),
]


def written(tmp_path, content, name="rows.jsonl"):
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


@pytest.mark.parametrize("more", [[], ["--validate-only"]], ids=["submit", "validate"])
@pytest.mark.parametrize("content,words", [row[1:] for row in BAD_DATASETS], ids=[row[0] for row in BAD_DATASETS])
def test_bad_dataset(daemon, model, tmp_path, content, words, more):
    """The first rows are read before a submit is answered."""
    done = daemon.ftctl(*submit_args(model, written(tmp_path, content), max_steps=1), *more, check=False)
    assert done.returncode == 65 and done.stdout == "", done
    for word in words:
        assert word in done.stderr, (word, done.stderr)


def test_bad_dataset_by_the_api(daemon, model):
    spec = daemon.spec(model, [{"instruction": "a"}], max_steps=1)
    code, info, _, message = error_of(lambda: daemon.submit(spec))
    assert (code, info.reason) == ("INVALID_ARGUMENT", "DATASET_INVALID") and "rows.jsonl line 1" in message


LATE = "\n".join([GOOD] * 5000 + ['{"instruction": "a"}'])  # too far down for a look at the first rows


def failed_for_line_5001(daemon, job):
    job = daemon.wait(job, "FAILED")
    assert jobs.FailureReason.Name(job.failure_reason) == "DATASET_INVALID" and job.hint
    assert "rows.jsonl line 5001" in job.message and "output" in job.message
    waited = daemon.ftctl("wait", job.id, check=False)
    assert waited.returncode == 100 and "line 5001" in waited.stderr
    return job


def test_a_bad_row_further_down_fails_the_job(daemon, model, dataset, tmp_path):
    job = submit(daemon, model, written(tmp_path, LATE), max_steps=1)
    assert len(failed_for_line_5001(daemon, job).attempts) == 1
    goes_on(daemon, model, dataset)


def test_a_bad_row_further_down_fails_the_job_before_its_turn(daemon, model, dataset, tmp_path):
    first = submit(daemon, model, dataset, max_steps=ENDLESS)
    daemon.wait(first, "RUNNING")
    good = submit(daemon, model, dataset, max_steps=1)
    late = submit(daemon, model, written(tmp_path, LATE), max_steps=1)
    assert not failed_for_line_5001(daemon, late).attempts
    assert state_name(daemon.job(first).state) == "RUNNING" and state_name(daemon.job(good).state) == "QUEUED"
    assert "line 5001" in daemon.ftctl("show", late).stdout and not (daemon.state_dir / "jobs" / late / "row_check").exists()
    daemon.ftctl("cancel", first)
    daemon.wait(good, "SUCCEEDED")


def parquet(columns):
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


COLUMNAR = [  # bytes, words of the message; the exit status of submit, of submit --validate-only
    ("none", b"instruction,output\na,b\n", ["rows.parquet", "PAR1"], 65, 65),
    ("short", b"PA", ["rows.parquet", "too short"], 65, 65),
    ("cut", parquet({"text": ["a"] * 50})[:-20], ["rows.parquet", "cut off"], 65, 65),
    ("columns", parquet({"question": ["a"], "answer": ["b"]}), ["rows.parquet row 1", "question"], 0, 65),
    ("numbers", parquet({"text": [1, 2]}), ["rows.parquet row 1", "text"], 0, 65),
    ("no_rows", parquet({"text": pyarrow.array([], pyarrow.string())}), ["rows.parquet", "no rows"], 0, 65),
]


@pytest.mark.parametrize("content,words,submits,validates", [row[1:] for row in COLUMNAR], ids=[row[0] for row in COLUMNAR])
def test_bad_parquet(daemon, model, tmp_path, content, words, submits, validates):
    args = submit_args(model, written(tmp_path, content, "rows.parquet"), max_steps=1)
    validated = daemon.ftctl(*args, "--validate-only", check=False)
    assert validated.returncode == validates, validated
    done = daemon.ftctl(*args, check=False)
    assert done.returncode == submits, done
    said = done.stderr if submits else daemon.wait(done.stdout.strip(), "FAILED").message
    for word in words:
        assert word in said and word in validated.stderr, (word, said, validated.stderr)


def test_good_rows_are_accepted(daemon, model, tmp_path):
    for content, name in [(parquet({"text": ["a"]}), "rows.parquet"), (GOOD, "rows.jsonl")]:
        daemon.ftctl(*submit_args(model, written(tmp_path, content, name), max_steps=1), "--validate-only")
    assert not [path for path in (daemon.state_dir / "jobs").glob("*") if not (path / "attempts").exists()]


USAGE = [  # arguments, exit status, words on stderr
    (["submit", "--modle", "x"], 2, ["--model"]),
    (["sumbit"], 2, ["submit"]),
    (["submit", "--mode", "lora"], 2, ["--model"]),
    (["submit", "--mode", "loar", "--model", "x", "--dataset", "y"], 2, ["lora"]),
    (["submit", "--mode", "lora", "--model", "x", "--dataset", "/none/rows.jsonl"], 66, ["/none/rows.jsonl"]),
    (["show", "ft-00000000000000000000000000"], 102, ["ft-00000000000000000000000000"]),
    (["wait", "no-such-job"], 102, ["no-such-job"]),
]


@pytest.mark.parametrize("args,exit_status,words", USAGE)
def test_command_line(daemon, args, exit_status, words):
    done = daemon.ftctl(*args, check=False)
    assert done.returncode == exit_status and done.stdout == "", done
    for word in words:
        assert word in done.stderr


def test_no_daemon(tmp_path):
    with Ftd(start=False) as ftd:
        done = ftd.ftctl("ls", check=False)
        assert done.returncode == 69 and str(ftd.socket) in done.stderr


def test_adapter_of_another_rank(daemon, model, dataset, tmp_path):
    job = submit(daemon, model, dataset, max_steps=1, lora_rank=4)
    adapter = daemon.wait(job, "SUCCEEDED").result_dir
    code, info, _, message = error_of(
        lambda: daemon.submit(model=model, rows=alpaca_rows(2), max_steps=1, lora_rank=8, lora_init_adapter=adapter))
    assert (code, info.reason) == ("FAILED_PRECONDITION", "ADAPTER_MISMATCH")
    assert "rank" in message or '"r"' in message


def goes_on(daemon, model, dataset):
    """The daemon is well: a good job runs."""
    assert state_name(daemon.wait(submit(daemon, model, dataset, max_steps=1)).state) == "SUCCEEDED"
