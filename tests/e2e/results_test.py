"""docs/results.md, block by block: what it says to run is run on the results of real jobs, and all programs give the same text.

llama.cpp's programs are stood for by its library (tests/support/llama_cpp.py, and the server of the wheel `xllamacpp`); Ollama's
by the grammar of its Modelfile; vLLM's commands are run by vllm_test.py.
"""
import argparse
import contextlib
import io
import json
import os
import re
import shlex
import subprocess

import llama_cpp
import modelfile
import pytest
import transformers
from conftest import submit
from ftd_fixture import BIN, REPO, Ftd, alpaca_rows, write_jsonl
from tiny_model import EOS, quieten_transformers

DOC = (REPO / "docs" / "results.md").read_text()
OURS, LLAMA_CPP, ELSEWHERE = {"ftctl", "ft-worker"}, {"llama-cli", "llama-completion", "llama-server"}, {"ollama", "vllm", "curl"}
PUSH = "ftctl push"  # tests/server/push_test.py
MODES = ("lora", "qlora", "full")
quieten_transformers()


def blocks(language):
    return [text for word, text in re.findall(r"^```(\w*)\n(.*?)^```$", DOC, re.S | re.M) if word == language]


def shell_lines():
    return "".join(blocks("sh")).replace("\\\n", "").splitlines()


def commands(*programs):
    """The lines of the shell blocks that begin with one of these."""
    return [line for line in shell_lines() if line.split()[0] in programs]


def table_commands():
    return re.findall(r"^\| [^|]* \| `(ftctl (?:get|export) [^`]*)` \|", DOC, re.M)


def run(ftd, line, folder):
    environment = {**os.environ, "FTCTL_ADDRESS": ftd.address, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, timeout=120,
                          input="Hello\n")
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def printed(block, folder, monkeypatch):
    """What a Python block prints in the folder."""
    monkeypatch.chdir(folder)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(block, {})
    return out.getvalue()[:-1]


@pytest.fixture(scope="module", params=MODES)
def place(request, chatty, tmp_path_factory):
    """(mode, daemon, folder): a job `first` of the mode has ended, and our commands have been run in the folder; GGUF in float32."""
    folder = tmp_path_factory.mktemp(request.param)
    rows = write_jsonl(folder / "rows.jsonl", alpaca_rows(32))
    (folder / "base").symlink_to(chatty)
    (folder / "question.json").write_text(json.dumps([{"role": "user", "content": "Why is the sky blue?"}]))
    with Ftd() as ftd:
        ftd.wait(submit(ftd, chatty, rows, mode=request.param, max_steps=30, learning_rate=0.01, name="first"), "SUCCEEDED")
        for line in commands(*OURS):
            if line.startswith(PUSH) or (request.param == "full" and ("adapter" in line)):
                continue
            run(ftd, re.sub("--type q4_k_m|--type f16", "--type f32", line), folder)
        if request.param == "full":
            run(ftd, re.search("`(ftctl get first model)`", DOC)[1], folder)
        yield request.param, ftd, folder


@pytest.fixture
def said(place, monkeypatch):
    """The text that the mode's own Python block prints: the whole model's, or that of base + adapter."""
    mode, _, folder = place
    lora, qlora, whole = blocks("python")
    if mode != "full":
        return printed({"lora": lora, "qlora": qlora}[mode], folder, monkeypatch)
    (folder / "as-got").mkdir(exist_ok=True)
    if not (folder / "as-got" / "merged").exists():
        (folder / "as-got" / "merged").symlink_to(folder / "model")
    return printed(whole, folder / "as-got", monkeypatch)


def test_every_shell_line_is_run_somewhere():
    lines = commands(*OURS, *LLAMA_CPP, *ELSEWHERE)
    assert lines == shell_lines() and len(lines) > 12
    assert len(re.findall("^```", DOC, re.M)) == 2 * sum(len(blocks(language)) for language in ("sh", "python", "modelfile"))


def test_python_blocks_say_what_generate_says(place, said, monkeypatch):
    """PEFT on the base, in 4 bits where the job had it, transformers on the merged or full model, and the daemon agree."""
    mode, ftd, folder = place
    ours = run(ftd, 'ftctl generate first --prompt "The quick brown" --max-new-tokens 8', folder)
    base = run(ftd, f'ftctl generate {folder}/base --prompt "The quick brown" --max-new-tokens 8', folder)
    assert said.startswith("The quick brown") and said.removesuffix(EOS) == "The quick brown" + ours.removesuffix("\n")
    assert base != ours
    assert printed(blocks("python")[2], folder, monkeypatch) == said


def llama_cpp_answer(line, folder):
    """The text that one of llama.cpp's programs would print; its flags are those that the document uses, and no others."""
    program, *flags = shlex.split(line)
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("-m", "--lora", "-p"):
        parser.add_argument(name)
    parser.add_argument("-n", type=int, default=8)
    parser.add_argument("--temp", type=float)
    parser.add_argument("-st" if program == "llama-cli" else "-no-cnv", action="store_true")
    args = parser.parse_args(flags)
    if program != "llama-completion":
        return served(folder / args.m, args.p or "Why is the sky blue?")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "base")
    with llama_cpp.Model(folder / args.m) as model:
        if args.lora:
            model.add_adapter(folder / args.lora)
        ids = model.tokenize(args.p, special=True)
        ids += model.greedy(ids, args.n)
    end = tokenizer.eos_token_id
    return tokenizer.decode(ids[:ids.index(end) + 1] if end in ids else ids)


def served(gguf, question):
    """llama-server's answer to a question, by the chat template in the file."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel, params.warmup = str(gguf), 256, 1, False
    request = {"messages": [{"role": "user", "content": question}], "max_tokens": 8, "temperature": 0}
    return xllamacpp.Server(params).handle_chat_completions(request)["choices"][0]["message"]["content"]


def chatted(folder, question):
    """transformers' answer, by the merged model and its chat template."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "merged")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "merged")
    ids = tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt",
                                        return_dict=True)
    rows = model.generate(**ids, max_new_tokens=8, do_sample=False)
    return tokenizer.decode(rows[0][ids["input_ids"].shape[1]:], skip_special_tokens=True)


def test_llama_cpp_says_the_same(place, said):
    mode, _, folder = place
    lines = commands(*LLAMA_CPP)
    assert {line.split()[0] for line in lines} == LLAMA_CPP and any("--lora" in line for line in lines)
    for line in lines:
        # An adapter of mode qlora is not over what it was trained on here: base.gguf is not in NF4.
        if "--lora" in line and mode != "lora":
            continue
        expected = said if line.startswith("llama-completion") else chatted(folder, "Why is the sky blue?")
        assert llama_cpp_answer(line, folder) == expected, line


def test_the_table_of_commands_word_for_word(place, tmp_path):
    """As it stands there, with the types that it names; the 4-bit file loads and answers too."""
    mode, ftd, _ = place
    lines = table_commands()
    assert len(lines) == 4
    for line in lines:
        if mode != "full" or "adapter" not in line:
            run(ftd, line, tmp_path)
    with llama_cpp.Model(tmp_path / "first.gguf") as model:
        assert len(model.greedy(model.tokenize("The quick brown", special=True), 8)) == 8
    assert {path.name for path in tmp_path.iterdir()} == {"merged", "first.gguf", "first.Modelfile"} | (
        set() if mode == "full" else {"adapter", "first-lora.gguf"})


def test_ollama_can_read_its_files(place):
    """`ollama create` names a Modelfile that is there; its FROM and ADAPTER are files that llama.cpp, which Ollama runs, loads."""
    mode, _, folder = place
    create, start = commands("ollama")
    program, verb, name, flag, file = shlex.split(create)
    assert (program, verb, flag, shlex.split(start)) == ("ollama", "create", "-f", ["ollama", "run", name])
    found = modelfile.read((folder / file).read_text())
    assert found == [("FROM", "", "./first.gguf"), ("PARAMETER", "stop", EOS)]
    llama_cpp.Model(folder / found[0][2]).close()
    [block] = blocks("modelfile")
    parts = modelfile.read(block)
    assert [name for name, _, _ in parts] == ["FROM", "ADAPTER"]
    if mode == "lora":
        with llama_cpp.Model(folder / parts[0][2]) as base:
            base.add_adapter(folder / parts[1][2])


@pytest.mark.parametrize("end", ["<| the end |>", "<|a|>\n", " <|b|>", "<|end▁of｜text|>", "#c", '<"d">'])
def test_a_modelfile_keeps_the_text_that_ends_an_answer(end, chatty, tmp_path):
    """Spaces and lines too; a text with a quote, which no Modelfile can hold, is left out."""
    model = tmp_path / "model"
    model.mkdir()
    for path in chatty.iterdir():
        text = path.read_bytes()
        (model / path.name).write_bytes(text.replace(json.dumps(EOS).encode(), json.dumps(end).encode()) if path.suffix == ".json" else text)
    subprocess.run([BIN / "ft-worker", "export", "--model", model, "--gguf", tmp_path / "of mine.gguf"], check=True, timeout=60)
    found = modelfile.read((tmp_path / "of mine.Modelfile").read_text())
    assert found == [("FROM", "", "./of mine.gguf")] + ([] if '"' in end else [("PARAMETER", "stop", end)])


def test_the_grammar():
    """The examples of Ollama's own documentation, and what it refuses."""
    text = ('# a comment\nFROM llama3.2\nparameter temperature 1\nPARAMETER stop "AI assistant:"\nSYSTEM You are Mario.\n'
            'TEMPLATE """{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"""\n'
            "MESSAGE user Is Toronto in Canada?\nADAPTER ./ollama-lora.gguf\nREQUIRES 0.14.0\n")
    assert modelfile.read(text) == [
        ("FROM", "", "llama3.2"), ("PARAMETER", "temperature", "1"), ("PARAMETER", "stop", "AI assistant:"),
        ("SYSTEM", "", "You are Mario."),
        ("TEMPLATE", "", "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"),
        ("MESSAGE", "user", "Is Toronto in Canada?"), ("ADAPTER", "", "./ollama-lora.gguf"), ("REQUIRES", "", "0.14.0")]
    for wrong in ("", "# FROM x\n", "FROM x\nSTOP y\n", "FROM x\nMESSAGE tool y\n", 'FROM x\nSYSTEM """y\n', "FROM\n", "FROM x\nPARAMETER a-b 1\n"):
        with pytest.raises(ValueError):
            modelfile.read(wrong)
