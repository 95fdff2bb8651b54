"""What a job would need and how long it would take, told before it: `ftctl estimate`, the queue's times, and DOES_NOT_FIT."""
import contextlib
import json
import math
import pathlib
import re
import struct

import grpc
import pytest
from conftest import ENDLESS, submit, submit_args, wait_for_step
from ftd_fixture import REPO, Ftd, alpaca_rows, api, jobs, wait_until, write_jsonl
from helpers import expect_error
from tiny_model import make_tiny_llama, make_tokenizer

MIB = 1 << 20


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Large enough for its parts to be told apart in MiB."""
    return make_tiny_llama(tmp_path_factory.mktemp("model") / "wide", hidden=256, intermediate=512)


def estimate(ftd, model, dataset, *flags, code=0):
    done = ftd.ftctl("estimate", "--model", model, "--dataset", dataset, "--seq-length", 96, *flags, "-o", "json", check=False)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def least_bytes(plan):
    memory = plan["memory"]
    return sum(memory[f"{part}_bytes"] for part in ("weights", "adapters", "masters", "gradients", "optimizer", "step_least"))


def seconds(timestamp):
    return timestamp.seconds + timestamp.nanos / 1e9


def test_jobs_that_ran_tell_how_long_others_take(ftd, model, dataset, tmp_path):
    """Nothing is known of a CPU's pace before a job ran; then the next one takes as long as told, and the queue has times."""
    flags = ["--mode", "lora", "--batch-size", 4, "--max-steps", 60]
    told = estimate(ftd, model, dataset, *flags)
    assert told["plan"]["time"] is None and told["jobs_ahead"] == 0 and told["start_time"]
    assert told["plan"]["disk"]["checkpoint_bytes"] > 0
    first = submit(ftd, model, dataset, max_steps=60)
    ftd.wait(first, "SUCCEEDED")
    # Twice as many steps, of rows of the same length.
    other = write_jsonl(tmp_path / "other.jsonl", alpaca_rows(32, seed=5))
    time = wait_until(lambda: estimate(ftd, model, other, *flags[:-1], 120)["plan"]["time"], "the pace")
    assert (time["basis"], time["jobs"]) == ("SAME_SHAPE", 1) and time["low_seconds"] < time["high_seconds"]
    full = estimate(ftd, model, dataset, "--mode", "full", "--max-steps", 9)["plan"]["time"]
    assert full["basis"] == "OTHER_JOBS" and full["high_seconds"] / full["low_seconds"] > 5
    second = submit(ftd, model, other, max_steps=120)
    done = ftd.wait(second, "SUCCEEDED")
    took = seconds(done.end_time) - seconds(done.start_time)
    # A short job on a busy machine: bench/ has the accuracy.
    assert time["low_seconds"] / 3 < took < 3 * time["high_seconds"]
    assert not done.data_report.plan.HasField("time") and not done.HasField("estimated_end_time")
    text = ftd.ftctl("estimate", "--model", model, "--dataset", dataset, *flags).stdout
    assert "jobs of this model, mode and dtype" in text and "at once" in text and "optimizer" in text
    running = submit(ftd, model, dataset, max_steps=ENDLESS)
    wait_for_step(ftd, running, 2)
    waiting = [submit(ftd, model, dataset, max_steps=steps) for steps in (20, 30)]
    wait_until(lambda: all(ftd.job(job).HasField("estimated_end_time") for job in waiting), "the times")
    ends = [(seconds(job.estimated_start_time), seconds(job.estimated_end_time)) for job in map(ftd.job, waiting)]
    end = seconds(ftd.job(running).estimated_end_time)
    assert end > seconds(ftd.job(running).start_time) + 1000
    assert ends[0][0] < ends[0][1] <= ends[1][0] < ends[1][1] and abs(ends[0][0] - end) < 0.2 * end
    listed = {job.id: job for job in ftd.stub.ListJobs(api.ListJobsRequest()).jobs}
    assert all(listed[job].HasField("estimated_start_time") for job in waiting)
    told = estimate(ftd, model, dataset, "--mode", "lora")
    assert told["jobs_ahead"] == 3 and told["start_time"]
    assert "will start" in ftd.ftctl("show", waiting[0]).stdout
    ftd.ftctl("cancel", running)


def test_what_cannot_fit_is_refused_with_what_would(wide, tmp_path):
    """Limits between what lora and full need at least: full is refused at submit, a row that is too long before it is trained."""
    short = write_jsonl(tmp_path / "short.jsonl", [{"text": "rain falls on the hills"}] * 8)
    long = write_jsonl(tmp_path / "long.jsonl", [{"text": "rain falls"}, {"text": "rain falls on the hills " * 400}])
    with Ftd() as ftd:
        lora = estimate(ftd, wide, short, "--mode", "lora")["plan"]
        full = estimate(ftd, wide, short, "--mode", "full")["plan"]
        longest = estimate(ftd, wide, long, "--mode", "lora", "--seq-length", 2048)["plan"]
    limit = 2 * least_bytes(lora) // MIB + 1
    assert least_bytes(lora) < limit * MIB < min(least_bytes(full), least_bytes(longest))
    with Ftd(args=("--device-memory-mib", str(limit))) as ftd:
        ftd.wait(submit(ftd, wide, short, max_steps=2), "SUCCEEDED")
        refused = ftd.ftctl(*submit_args(wide, short, mode="full", max_steps=2), check=False)
        assert refused.returncode == 1 and "--mode lora (" in refused.stderr, refused.stderr
        spec = ftd.spec(wide, [{"text": "rain"}], mode="FULL")
        expect_error(lambda: ftd.submit(spec), grpc.StatusCode.FAILED_PRECONDITION, "DOES_NOT_FIT")
        # Submitted all the same, since no row is tokenised by then.
        args = ("--mode", "lora", "--seq-length", 2048, "--batch-size", 1)
        told = estimate(ftd, wide, long, *args, code=1)["plan"]
        assert "--seq-length" in told["does_not_fit"] and least_bytes(told) == least_bytes(longest)
        validated = ftd.ftctl("submit", "--model", wide, "--dataset", long, *args, "--validate-only", check=False)
        assert validated.returncode == 1 and "for a row of " in validated.stderr
        failed = ftd.wait(ftd.ftctl("submit", "--quiet", "--model", wide, "--dataset", long, *args).stdout.strip(), "FAILED")
        assert failed.failure_reason == jobs.DOES_NOT_FIT and "--seq-length" in failed.message and failed.hint
        assert failed.data_report.plan.does_not_fit == failed.message
        # In the queue the look at the rows finds it.
        running = submit(ftd, wide, short, max_steps=ENDLESS)
        wait_for_step(ftd, running, 1)
        behind = ftd.wait(ftd.ftctl("submit", "--quiet", "--model", wide, "--dataset", long, *args).stdout.strip(), "FAILED")
        assert behind.failure_reason == jobs.DOES_NOT_FIT and not behind.attempts
        ftd.ftctl("cancel", running)


def kept_bytes(plan):
    """What is there from the first step to the last."""
    return least_bytes(plan) - plan["memory"]["step_least_bytes"]


def test_auto_divides_what_does_not_fit_before_the_first_step(wide, tmp_path):
    """A limit between one row and all four: the same losses, and the same bits by a job that is resumed where there is more."""
    rows = write_jsonl(tmp_path / "rows.jsonl", [{"text": f"rain falls on the hills, said {i} " * 20} for i in range(16)])
    flags = dict(max_steps=60, auto_batch_size=True, learning_rate=1e-4)

    def losses(daemon, job):
        return [step.loss for step in daemon.steps(job)]

    def parts(job):
        return json.loads((pathlib.Path(job.result_dir) / "ftd_run.json").read_text())["micro_batch_parts"]

    def divisions(job):
        return [warning for warning in job.warnings if "micro-batch" in warning]

    with Ftd() as ftd:
        plan = estimate(ftd, wide, rows, "--mode", "lora", "--batch-size", 4, "--auto-batch-size")["plan"]
        text = ftd.ftctl("estimate", "--model", wide, "--dataset", rows, "--mode", "lora", "--batch-size", "auto").stdout
        assert "8 rows in as few parts as fit; one row, with all layers recomputed, takes " in text
        whole = ftd.wait(submit(ftd, wide, rows, **flags), "SUCCEEDED")
        assert parts(whole) == 1 and not divisions(whole) and "auto batch size on" in ftd.ftctl("show", whole.id).stdout
        expected = losses(ftd, whole.id)
    limit = (kept_bytes(plan) + plan["memory"]["step_bytes"] * 3 // 4) // MIB
    with Ftd(args=("--device-memory-mib", str(limit))) as ftd:
        divided = ftd.wait(submit(ftd, wide, rows, **flags), "SUCCEEDED")
        assert parts(divided) == 2 and losses(ftd, divided.id) == pytest.approx(expected, rel=1e-6)
        [warning] = divisions(divided)
        assert "a micro-batch of 4 rows is computed in 2 parts; the batch stays the same" in warning
        job = submit(ftd, wide, rows, **flags)
        wait_for_step(ftd, job, 2)
        ftd.ftctl("pause", job)
        ftd.wait(job, "PAUSED")
        ftd.args = []
        ftd.restart()
        ftd.ftctl("resume", job)
        resumed = ftd.wait(job, "SUCCEEDED")
        assert len(resumed.attempts) == 2 and parts(resumed) == 2 and losses(ftd, job) == losses(ftd, divided.id)


def make_llama_8b(directory):
    """What an estimate reads of Llama 3.1 8B: its config and its tensors' shapes, in a file that takes no space; a small tokenizer."""
    hidden, wide, kv, layers, vocabulary = 4096, 14336, 1024, 32, 128256
    directory.mkdir()
    make_tokenizer(directory)
    rope = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    (directory / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": vocabulary, "hidden_size": hidden,
        "intermediate_size": wide, "num_hidden_layers": layers, "num_attention_heads": 32, "num_key_value_heads": 8,
        "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "rope_scaling": rope, "hidden_act": "silu",
        "tie_word_embeddings": False, "torch_dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 0}))
    shapes = {"model.embed_tokens": [vocabulary, hidden], "lm_head": [vocabulary, hidden], "model.norm": [hidden]}
    for layer in range(layers):
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in {
            "input_layernorm": [hidden], "post_attention_layernorm": [hidden], "self_attn.q_proj": [hidden, hidden],
            "self_attn.k_proj": [kv, hidden], "self_attn.v_proj": [kv, hidden], "self_attn.o_proj": [hidden, hidden],
            "mlp.gate_proj": [wide, hidden], "mlp.up_proj": [wide, hidden], "mlp.down_proj": [hidden, wide]}.items()}
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[name + ".weight"] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with (directory / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return directory


def words_and_numbers(text):
    """A printed estimate without its bars."""
    text = re.sub("[▏▎▍▌▋▊▉█]", "", text)
    number = r"\d+(?:\.\d+)?"
    return re.sub(number, "0", text).split(), [float(found) for found in re.findall(number, text)]


def test_the_chapter_of_the_guide(tmp_path):
    """Its command gives what it shows, for a model of that size, and so does the same one with --mode full."""
    chapter = re.search("^## Will it fit.*?(?=^## )", (REPO / "docs" / "guide.md").read_text(), re.S | re.M)[0]
    (language, command), *shown = re.findall("^```(\\w*)\n(.*?)^```$", chapter, re.S | re.M)
    (_, output), (_, refused) = shown
    assert language == "sh"
    write_jsonl(tmp_path / "rows.jsonl", [row | {"output": " ".join([row["output"]] * (1 + i % 20))} for i, row in enumerate(alpaca_rows(1000))])
    make_llama_8b(tmp_path / "llama3.1-8b")
    limit = re.search(r"device_memory_mib = (\d+)", chapter)[1]
    with Ftd(args=("--device-memory-mib", limit)) as ftd, contextlib.chdir(tmp_path):
        for mode, shown, code in (("lora", output, 0), ("full", refused, 1)):
            args = command.replace("--mode lora", f"--mode {mode}").replace("/models", str(tmp_path)).split()
            done = ftd.ftctl(*args[1:], check=False)
            said = (done.stdout + done.stderr).replace(str(tmp_path), "/models")
            words, numbers = words_and_numbers(said)
            assert done.returncode == code and words == words_and_numbers(shown)[0], said
            assert numbers == pytest.approx(words_and_numbers(shown)[1], rel=0.03), said
    assert {row.split("`")[1] for row in re.findall(r"^\| `.*", chapter, re.M)} <= set(output.split())
