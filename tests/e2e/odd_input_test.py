"""What public bug reports of this field are about: names that are no UTF-8, pipes, outputs that cannot be written, names like
flags, and input so long that an answer could not quote it."""
import os
import subprocess

import pytest
from conftest import submit, submit_args
from ftd_fixture import BIN, Ftd

LATIN1 = b"na\xefve"
FULL = "standard output cannot be written"


@pytest.fixture(scope="module")
def daemon():
    with Ftd() as ftd:
        yield ftd


@pytest.fixture(scope="module")
def job(daemon, model, dataset):
    name = submit(daemon, model, dataset, max_steps=1, name="one")
    daemon.ftctl("wait", name, timeout=60)
    return "one"


def run(*args, env=None, timeout=60, **options):
    return subprocess.run([os.fsencode(a) if not isinstance(a, bytes) else a for a in map(lambda a: a if isinstance(a, bytes) else str(a), args)],
                          stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=timeout, env=env,
                          **({"stdout": subprocess.PIPE} | options))


def ftctl(daemon, *args, **options):
    return run(BIN / "ftctl", "--address", daemon.address, *args, **options)


def train(model, dataset, output, *flags):
    return [BIN / "ft-train", "--model_name", model, "--dataset", dataset, "--max_steps", 1, "--output_dir", output, *flags]


@pytest.mark.parametrize("command", [
    ["ftctl", "show", LATIN1], ["ftctl", "submit", "--mode", "lora", "--model", LATIN1, "--dataset", "rows.jsonl"],
    ["ftctl", "submit", "--mode", "lora", "--model", "m", b"--dataset=" + LATIN1], ["ftctl-hub", LATIN1],
    ["ft-train", "--model_name", LATIN1], ["ft-worker", "train", "--dataset", LATIN1],
    ["ft-worker", "preview", "--model", ".", "--dataset", LATIN1], ["ft-worker", "logits", "--model", LATIN1, "--input", "a", "--output", "b"],
    ["ftd", "--state-dir", LATIN1], ["ftd", "--config", LATIN1]], ids=lambda c: " ".join(str(w) for w in c[:2]))
def test_arguments_that_are_not_utf8(command):
    done = run(BIN / command[0], *command[1:])
    error = done.stderr.decode()
    assert done.returncode == 65 and "not UTF-8" in error and r"na\xEFve" in error
    assert error.count("\n") == 1 and done.stdout == b""


def test_a_folder_with_such_a_name(daemon, model, dataset, tmp_path):
    rows = tmp_path / "rows"
    rows.mkdir()
    with open(os.path.join(os.fsencode(rows), LATIN1 + b".jsonl"), "wb") as file:
        file.write(dataset.read_bytes())
    for done in (ftctl(daemon, *submit_args(model, rows, max_steps=1)), run(*train(model, rows, tmp_path / "out"))):
        assert done.returncode == 65 and b"not UTF-8" in done.stderr and rb"na\xEFve.jsonl" in done.stderr, done.stderr


def test_a_working_directory_with_such_a_name(model, dataset, tmp_path):
    here = os.path.join(os.fsencode(tmp_path), LATIN1)
    os.mkdir(here)
    done = run(*train(model, dataset, "out"), cwd=here)
    assert done.returncode not in (0, -6, 134) and b"not UTF-8" in done.stderr, done.stderr
    assert os.listdir(here) == []


def test_pipes_and_devices_are_refused_at_once(daemon, model, dataset, tmp_path):
    for what in (f"<(cat '{dataset}')", "/dev/zero", f"/dev/stdin < <(cat '{dataset}')"):
        for words in ([BIN / "ftctl", "--address", daemon.address, *submit_args(model, "DATA", max_steps=1)],
                      train(model, "DATA", tmp_path / "out")):
            command = " ".join(f"'{word}'" for word in words).replace("'DATA'", what)
            done = run("bash", "-c", command, timeout=20)
            assert done.returncode == 65 and b"not a regular file" in done.stderr, (command, done.stderr)
    assert not (tmp_path / "out").exists()


OUTPUTS = [["ftctl", "--help"], ["ftctl", "--version"], ["ftctl", "help", "submit"], ["ftctl", "completion", "bash"], ["ftd", "--help"],
           ["ftd", "--version"], ["ftd", "--print-config"], ["ft-worker", "--help"], ["ft-train", "--help"], ["ft-train", "--version"]]
DAEMON_OUTPUTS = [["ls"], ["ls", "-o", "json"], ["show", "one"], ["show", "one", "-o", "json"], ["metrics", "one", "-o", "csv"], ["logs", "one"],
                  ["info"], ["checkpoints", "one"], ["models"], ["watch", "one"]]


@pytest.mark.parametrize("words", OUTPUTS + DAEMON_OUTPUTS, ids=" ".join)
def test_an_output_that_cannot_be_written_is_no_success(daemon, job, words):
    command = [BIN / words[0], *words[1:]] if words in OUTPUTS else [BIN / "ftctl", "--address", daemon.address, *words]
    whole = run(*command)
    with open("/dev/full", "wb") as full:
        on_full = run(*command, stdout=full)
    closed = run("bash", "-c", '"$@" >&-', "bash", *command)
    assert whole.returncode == 0 and whole.stdout, whole.stderr
    for done in (on_full, closed):
        assert done.returncode == 74 and FULL in done.stderr.decode(), done
        assert done.stderr.count(b"\n") == 1 + whole.stderr.count(b"\n")


def test_names_like_flags(daemon, model, dataset, job):
    for name in ("-n", "--help", "-"):
        done = ftctl(daemon, *submit_args(model, dataset, max_steps=1), f"--name={name}")
        assert done.returncode == 65 and b"must not begin with -" in done.stderr, done.stderr
    assert ftctl(daemon, "show", "--", job).returncode == 0
    assert ftctl(daemon, "show", "-o", "json", "--", job).returncode == 0
    for name in ("-n", "--help"):  # of a job of before
        done = ftctl(daemon, "show", "--", name)
        assert done.returncode == 102 and name.encode() in done.stderr, done.stderr
    excess = ftctl(daemon, "show", "--", job, "-x")
    assert excess.returncode == 2 and b"unexpected argument '-x'" in excess.stderr


@pytest.mark.parametrize("prefix", ["unix:", ""])
def test_a_path_too_long_for_a_socket(prefix):
    done = run(BIN / "ftctl", "--address", prefix + "/tmp/" + "l" * 120 + "/f.sock", "ls")
    assert done.returncode == 2 and b"107" in done.stderr and len(done.stderr) < 600, done.stderr


# Beyond 8 KiB of metadata gRPC would put an error of its own, RESOURCE_EXHAUSTED, in the place of ours.
@pytest.mark.parametrize("words, codes", [
    (["show", "x" * 6000], {102}), (["show", "漢" * 4000], {102}), (["cancel", "x" * 60000], {102}), (["logs", "%" * 9000], {102}),
    (["submit", "--columns", "x" * 9000 + "=a"], {65}), (["submit", "--columns", "漢" * 9000 + "=a"], {65}),
    (["submit", *(word for i in range(40) for word in ("--columns", f"c{i}{'y' * 500}=a"))], {65}),
    (["submit", "--template", "{" + "z" * 20000], {65}), (["submit", "--name", "A" * 20000], {65}),
    (["submit", *(word for i in range(60) for word in ("--label", f"{'K' * 300}{i}={'v' * 900}"))], {65}),
    (["submit", "--target-modules", "m" * 20000], {65}), (["submit", "--request-id", "r" * 20000], {65, 2}),
    (["submit", "--model", "/" + "m" * 9000], {65, 66})], ids=lambda w: str(w[:2])[:24] if isinstance(w, list) else "")
def test_long_input_in_errors(daemon, model, dataset, words, codes):
    if words[0] == "submit":
        flags = words[1:] if "--model" in words else ["--model", model, *words[1:]]
        words = ["submit", "--mode", "lora", "--dataset", dataset, "--max-steps", 1, *flags]
    done = ftctl(daemon, *words)
    assert done.returncode in codes, (done.returncode, done.stderr[:500])
    assert b"metadata" not in done.stderr and len(done.stderr) < 20000


@pytest.mark.parametrize("flags, words", [(["--eval_split", "0.9999"], "eval_split"), (["--seq_length", "2", "--train_on", "completions"], "seq_length")])
def test_a_hint_is_about_what_is_wrong(model, dataset, tmp_path, flags, words):
    done = run(*train(model, dataset, tmp_path / "out", *flags))
    error = done.stderr.decode()
    assert done.returncode not in (0, 70) and words in error and "row that the message names" not in error, error


def test_the_worker_tells_the_facts_of_the_run(daemon, model, job):
    log = daemon.ftctl("logs", job).stdout
    for fact in (str(model), "mode lora", "dtype float32", "rows.jsonl", "32 rows, steps 1 to 1", "phase tokenize", "phase train", "succeeded after step 1"):
        assert fact in log, (fact, log)
