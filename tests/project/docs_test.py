"""What the documents say of the product is there: messages, settings, variables, links."""
import pathlib
import re
import subprocess
import tomllib

import doc_tables
import pytest
from ftd_fixture import BIN
from tree import ROOT

DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = [path for part in ("lib", "client", "server", "worker") for path in (ROOT / part).rglob("*.*")
           if path.suffix in (".h", ".cc")]


def rows(path: pathlib.Path, head: str) -> list[list[str]]:
    """The cells of each row of the tables whose first column is called `head`."""
    found, inside = [], False
    for line in path.read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and cells[0] == head:
            inside = True
        elif not cells:
            inside = False
        elif inside and not cells[0].startswith("---"):
            found.append(cells)
    assert found, f"{path.name} has no table of {head}"
    return found


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def said() -> str:
    """All that the product's strings say, adjacent literals joined."""
    texts = []
    for path in SOURCES:
        joined = re.sub(r'"\s*\n\s*"', "", path.read_text())
        texts += re.findall(r'"((?:[^"\\\n]|\\.)*)"', joined)
    return "\n".join(texts).replace('\\"', '"').replace("\\n", "\n")


def test_every_message_of_troubleshooting_is_one_of_ours():
    path = ROOT / "docs" / "troubleshooting.md"
    cells = [row[0] for head in ("the message has", "reason, or the message has") for row in rows(path, head)]
    foreign = {"Permission denied"}  # the kernel's
    reasons = re.search(r"enum FailureReason \{(.*?)^\}", (ROOT / "proto/ftd/v1/job.proto").read_text(), re.S | re.M)[1]
    everything = said() + reasons
    unknown = [text for cell in cells for text in code(cell) if text not in everything and text not in foreign]
    assert unknown == [] and len(cells) > 20


@pytest.mark.parametrize("path", DOCS[1:], ids=lambda path: path.name)
def test_tables_are_those_of_the_code(path):
    made = doc_tables.with_tables(path.read_text(), doc_tables.tables(BIN.parent))
    assert path.read_text() == made, "run ./dev docs"


def said_default(comment):
    """What a comment of the proto says after "Default": a number, true or false; None where it says something else."""
    match = re.search(r"\bDefault:? (true|false|-?[\d.]+(?:e-?\d+)?)\b|\b(\d+), the default\b", comment)
    return match and (match[1] or match[2]).rstrip(".")


def test_the_proto_states_the_defaults_of_the_code():
    proto = (ROOT / "proto/ftd/v1/job.proto").read_text()
    prefixes = {"JobSpec": "", "Lora": "lora.", "Dataset": "dataset."}
    defaults, compared = doc_tables.tables(BIN.parent)["job_defaults"], []
    for message, prefix in prefixes.items():
        body = re.search(rf"^message {message} \{{(.*?)^\}}", proto, re.S | re.M)[1]
        for comment, name in re.findall(r"((?:^  //[^\n]*\n)+)  optional \w+ (\w+) = \d+;", body, re.M):
            stated, ours = said_default(comment.replace("\n  //", "")), defaults[prefix + name].split(";")[0]
            ours = {"on": "true", "off": "false"}.get(ours, ours)
            number = re.fullmatch(r"true|false|[\d.e-]+", ours)
            if number is None:
                continue
            assert stated is not None, f"{name}: the comment does not state the default {ours}"
            same = stated == ours if ours in ("true", "false") else float(stated) == float(ours)
            assert same, f"{name}: the comment says {stated}, the code {ours}"
            compared.append(name)
    assert len(compared) > 20


def test_every_setting_is_documented_and_no_other():
    documented = [key for row in rows(ROOT / "docs" / "configuration.md", "key") for key in code(row[0])]
    printed = subprocess.run([BIN / "ftd", "--print-config"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert sorted(key.strip("[]") for key in documented) == sorted({*tomllib.loads(printed), "models"})


def test_every_variable_of_the_documents_is_read():
    documented = set()
    for row in rows(ROOT / "docs" / "configuration.md", "variable"):
        documented |= set(code(row[0]))
    documented |= set(re.findall(r"FTCTL_[A-Z_]+", (ROOT / "docs" / "configuration.md").read_text()))
    foreign = {"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "LISTEN_FDS"}  # libcurl's and libsystemd's
    everything = said()
    assert [name for name in sorted(documented - foreign) if name not in everything] == [] and len(documented) > 15


def test_the_table_in_job_states_h_lists_the_moves():
    header = (ROOT / "server/jobs/job_states.h").read_text()
    table = set()
    for sources, target in re.findall(r"^//   ([A-Z, ]+?)  +([A-Z]+)  ", header, re.M):
        table |= {(source, target) for source in sources.split(", ")}
    moves = re.findall(r"\{JobState::k(\w+), JobState::k(\w+)\}", header)
    assert len(moves) > 20 and table == {(source.upper(), target.upper()) for source, target in moves}


def anchors(path: pathlib.Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", path.read_text(), flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", path.read_text(), flags=re.S)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(target)
    assert dead == []


def test_every_document_is_reached_from_the_readme():
    linked = set(re.findall(r"\]\(docs/([\w-]+\.md)", (ROOT / "README.md").read_text()))
    assert linked == {path.name for path in DOCS[1:]}
