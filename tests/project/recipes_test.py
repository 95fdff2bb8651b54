"""The recipes of CONTRIBUTING.md hold: what they name is there, and an example of each touches those places and no others.

So a new place that knows all metrics, or all verbs, fails here until the recipe has it, or better, until it walks the table.
"""
import re

import pytest
import tree

PRODUCT = ("lib/", "server/", "client/", "worker/", "proto/ftd/", "docs/")
SOURCES = (".cc", ".h", ".cu", ".def", ".proto", "CMakeLists.txt", ".md")
# What shows that a file knows a recipe's example, and the files that may know it without being a place to touch.
TRACES = {
    "a hyperparameter": (r"max_grad_norm", {
        "worker/run/training_run.cc": "a metric is made of it", "docs/train.md": "made from the table", "docs/cli.md": "made from the table"}),
    "a step metric": (r"padding_ratio", {
        "lib/runlog/step_layout.cc": "the columns of version 1, which never change",
        "docs/cli.md": "made from the table", "docs/metrics.md": "made from the table"}),
    "a model family": (r'"llama"', {
        "lib/model/unsupported.cc": "the nearest family of types that are none",
        "lib/gguf/tokenizer_metadata.cc": "llama.cpp's name of SentencePiece"}),
    "an operator": (r"\bglu/glu", {"worker/engine/model/decoder_layer.cc": "computes with it"}),
    "an RPC with its verb": (r"HoldJob|HoldVerb|verbs/hold\.cc|`hold JOB`", {"docs/security.md": "made from the table"}),
    "a dataset shape": (r"PROMPT_COMPLETION|kPromptCompletion|prompt-completion", {}),
}


def tables(text):
    """Each table's rows of cells under its heading, as (heading, rows)."""
    for section in re.split(r"^#+ ", text, flags=re.M)[1:]:
        heading, _, body = section.partition("\n")
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in body.splitlines() if line.startswith("|")]
        if rows:
            yield heading, rows[2:]


def recipes(text):
    """By what is added: (places in the summary, example, rows of its own table)."""
    found = dict(tables(text))
    summary = found.pop("What to touch")
    for cells in summary:
        title = re.fullmatch(r"\[(.*)\]\(#.*\)", cells[0])[1]
        heading = title[0].upper() + title[1:]
        yield title, (int(cells[1]), cells[2].strip("`"), found.pop(heading))
    assert not found, f"tables that the summary lacks: {sorted(found)}"


RECIPES = dict(recipes(tree.text("CONTRIBUTING.md")))


def spelled_out(name, example):
    """The files that a cell's code stands for: `a.{h,cc}` is two, NAME the example's."""
    if braces := re.search(r"\{(.*?)\}", name):
        return [name.replace(braces[0], part).replace("NAME", example) for part in braces[1].split(",")]
    return [name.replace("NAME", example)]


def places(text, example):
    """All that `text` names in code and that looks like a path."""
    for name in re.findall(r"`([\w./{},]+/[\w./{},]*)`", text):
        yield from spelled_out(name, example)


def problems(title, count, example, rows):
    """What does not hold of a recipe's table."""
    if count != len(rows):
        yield f"{title}: the summary says {count} places, its table has {len(rows)}"
    if [cells[0] for cells in rows] != [str(i + 1) for i in range(len(rows))]:
        yield f"{title}: steps are not numbered from 1"
    for cells in rows:
        if not list(places(cells[1], example)):
            yield f"{title}, step {cells[0]}: names no file"


def missing(text, example=""):
    yield from (f"{path} is not there" for path in places(text, example) if not (tree.ROOT / path).exists())


def untouched(rows, example, trace, elsewhere):
    """Files that know the example without being in the table, and the reverse. A folder stands for all its files."""
    touched = {path for cells in rows for path in places(cells[1], example)}
    folders = {path for path in touched if path.endswith("/")}
    knows = {next((folder for folder in folders if name.startswith(folder)), name) for name in tree.files(*SOURCES)
             if (name.startswith(PRODUCT) or name in touched) and re.search(trace, tree.text(name))}
    yield from (f"{name} has the example, but is no step of the recipe" for name in sorted(knows - touched - set(elsewhere)))
    yield from (f"{name} is a step of the recipe, but lacks the example" for name in sorted(touched - knows))


@pytest.mark.parametrize("title", TRACES)
def test_a_recipe_is_whole(title):
    count, example, rows = RECIPES[title]
    assert list(problems(title, count, example, rows)) == []


@pytest.mark.parametrize("title", TRACES)
def test_what_a_recipe_names_exists(title):
    _, example, rows = RECIPES[title]
    assert [problem for cells in rows for problem in missing(cells[1], example)] == []


@pytest.mark.parametrize("title", TRACES)
def test_the_example_touches_the_recipe_and_nothing_else(title):
    _, example, rows = RECIPES[title]
    assert list(untouched(rows, example, *TRACES[title])) == []


def test_each_recipe_has_a_trace():
    assert set(RECIPES) == set(TRACES)


def test_all_other_files_that_contributing_names_exist():
    outside = re.sub(r"^\|.*$", "", tree.text("CONTRIBUTING.md"), flags=re.M)
    assert list(missing(outside)) == [] and len(list(places(outside, ""))) > 8


def test_a_broken_recipe_is_seen():
    rows = [["1", "`proto/ftd/v1/job.proto`", ""], ["3", "by hand", ""]]
    assert len(list(problems("x", 3, "y", rows))) == 3
    assert list(missing("`lib/no_such_file.cc`")) and not list(missing("`client/verbs/NAME.cc`", "hold"))
    trace, elsewhere = TRACES["a step metric"]
    seen = list(untouched([["1", "`proto/ftd/v1/job.proto`, `server/main.cc`", ""]], "", trace, elsewhere))
    assert [problem.split()[0] for problem in seen] == ["lib/runlog/step_metrics.cc", "worker/run/training_run.cc", "server/main.cc"]
