"""Completions and manual pages: made of the tables of --help, judged by the shells themselves, groff and mandoc."""

import re
import socket
import subprocess
import time

import pytest

import shells
from fake_ftd import FakeFtd
from ftd_fixture import BIN, REPO, api, jobs

PROGRAMS = {name: section for name, section in {"ftctl": 1, "ftd": 8, "ft-worker": 1, "ft-train": 1}.items()
            if (BIN / name).exists()}
NOBODY = {"FTCTL_ADDRESS": "unix:/nowhere/ftd.sock"}


def run(*command, **options):
    return subprocess.run([str(word) for word in command], text=True, capture_output=True, timeout=60, **options)


def flags_of_help(text):
    """The names at the beginnings of a help's lines."""
    return {name for names in re.findall(r"^  (-\S+)", text, re.M) for name in names.split(",")}


def help_of(*words):
    shown = run(BIN / words[0], *words[1:], "--help")
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


def verbs_of(program):
    """Every command of a program by its words: ("ftctl", "models", "pull")."""
    text = help_of(program)
    names = re.findall(r"^  ([a-z][a-z-]*)  ", text, re.M) if program in ("ftctl", "ft-worker") else []
    found = [(program, name) for name in names]
    below = {"data": ("check",), "models": ("ls", "pull", "rm", "verify"), "token": ("ls", "create", "revoke")}
    return found + [("ftctl", verb, name) for verb in below for name in below[verb]] * (program == "ftctl")


VERBS = [words for program in PROGRAMS for words in verbs_of(program)]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """(program, shell) → file."""
    root = tmp_path_factory.mktemp("scripts")
    files = {}
    for program in PROGRAMS:
        for shell in ("bash", "zsh", "fish"):
            files[program, shell] = root / f"{program}.{shell}"
            made = run(BIN / program, "--generate", shell)
            assert made.returncode == 0 and made.stderr == "", made.stderr
            files[program, shell].write_text(made.stdout)
    return files


@pytest.fixture(scope="module")
def zsh(scripts, tmp_path_factory):
    """Zshes by program, started as they are needed; no ftd answers them."""
    started = {}

    def of(program):
        if program not in started:
            started[program] = shells.Zsh(scripts[program, "zsh"], tmp_path_factory.mktemp("zsh"), **NOBODY)
        return started[program]

    yield of
    for one in started.values():
        one.__exit__()


def test_the_verb_prints_what_is_installed(scripts):
    for shell in ("bash", "zsh", "fish"):
        assert run(BIN / "ftctl", "completion", shell).stdout == scripts["ftctl", shell].read_text()
    assert run(BIN / "ftctl", "completion", "man").returncode == 2
    refused = run(BIN / "ftctl", "completion", "tcsh")
    assert refused.returncode == 2 and "bash, zsh, fish" in refused.stderr and refused.stdout == ""


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_shell_reads_the_script(scripts, shell):
    for program in PROGRAMS:
        assert run(shell, "-n", scripts[program, shell]).stderr == ""


# Each flag of each --help is offered, and nothing else that begins with a dash.

def test_bash_offers_the_flags_of_each_help(scripts):
    for words in [*[(program,) for program in PROGRAMS], *VERBS]:
        offered = shells.bash(scripts[words[0], "bash"], " ".join(words) + " -")
        assert sorted(offered) == sorted(expected_flags(words)), words


def test_fish_offers_the_flags_of_each_help(scripts):
    for program in PROGRAMS:
        commands = [(program,), *(words for words in VERBS if words[0] == program)]
        lines = [" ".join(words) + " -" for words in commands] + [" ".join(words) + " --" for words in commands]
        offered = shells.fish(scripts[program, "fish"], lines)
        for i, words in enumerate(commands):
            assert {*offered[i], *offered[i + len(commands)]} == expected_flags(words), words


def test_zsh_offers_the_flags_of_each_help(zsh):
    for words in [*[(program,) for program in PROGRAMS], *VERBS]:
        offered = zsh(words[0]).offers(" ".join(words) + " -")
        assert {offer.removesuffix("=") for offer in offered} == expected_flags(words), words


def expected_flags(words):
    if words == ("ftctl",):  # its help is prose
        return flags_of_help(help_of("ftctl", "info")) - {"-o", "--output"} | {"--version"}
    return flags_of_help(help_of(*words))


# What else is offered: the line, and the words that may follow, whole or (…) among others.

OFFERS = [
    ("ftctl sub", {"submit"}),
    ("ftctl --address unix:/x/y.sock sub", {"submit"}),
    ("ftctl --address=localhost:7443 sub", {"submit"}),
    ("ftctl re", {"release", "resume", "retry"}),
    ("ftctl help su", {"submit"}),
    ("ftctl models ", {"ls", "pull", "rm", "verify"}),
    ("ftctl submit --mode ", {"lora", "full", "qlora"}),
    ("ftctl submit --mode q", {"qlora"}),
    ("ftctl run --seq-length 5 --dtype b", {"bfloat16"}),
    ("ftctl submit --shuffle --precision ", {"fp32_master", "hf_parity"}),
    ("ftctl submit --gradient-checkpointing ", {"auto", "on", "off"}),
    ("ftctl ls --state PAUS", {"PAUSING", "PAUSED"}),
    ("ftctl ls --state QUEUED --state H", {"HELD"}),
    ("ftctl show first -o ", {"table", "json", "yaml"}),
    ("ftctl submit -o ", {"json", "yaml"}),
    ("ftctl completion ", {"bash", "zsh", "fish", "jobs", "models"}),
    ("ftctl submit --dataset ", {"rows.jsonl", "adapter/"}),
    ("ftctl --tls-ca ", {"rows.jsonl", "adapter/"}),
    ("ftctl get first ", {"adapter/"}),
    ("ftctl submit --init-adapter ", {"adapter/"}),
    ("ftctl submit --model smollm2-1.", {"smollm2-1.7b", "smollm2-1.7b-base"}),
    ("ftctl submit --model ad", {"adapter/"}),
    ("ftctl models pull llama3.3", {"llama3.3-70b"}),
    ("ftctl submit --batch-size ", {"auto"}),
    ("ftctl submit --seq-length ", set()),
    ("ftctl show ", set()),
    ("ftctl frobnicate ", set()),
    ("ftd --state-dir ", {"adapter/"}),
    ("ftd --config ro", {"rows.jsonl"}),
    ("ft-train llama3-8b", {"llama3-8b-lora"}),
    ("ft-train --mode ", {"lora", "full", "qlora"}),
    ("ft-train --gradient_checkpointing o", {"on", "off"}),
    ("ft-train --output_dir ", {"adapter/"}),
    ("ft-worker pre", {"preview"}),
]
OFFERS = [row for row in OFFERS if row[0].split()[0] in PROGRAMS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("folder")
    (root / "adapter").mkdir()
    (root / "rows.jsonl").write_text("")
    return root


def plain(offers):
    return {offer.rstrip("/") for offer in offers}


def test_bash_offers(scripts, folder):
    for line, expected in OFFERS:
        assert plain(shells.bash(scripts[line.split()[0], "bash"], line, cwd=folder, **NOBODY)) == plain(expected), line
    assert shells.bash(scripts["ftctl", "bash"], "ftctl submit --mode=q") == ["qlora"]
    assert len(shells.bash(scripts["ftctl", "bash"], "ftctl submit --mode=")) == 3


def test_fish_offers(scripts, folder):
    for program in PROGRAMS:
        rows = [row for row in OFFERS if row[0].split()[0] == program]
        offered = shells.fish(scripts[program, "fish"], [line for line, _ in rows], cwd=folder, **NOBODY)
        for (line, expected), found in zip(rows, offered):
            assert plain(found) == plain(expected), line
    assert shells.fish(scripts["ftctl", "fish"], ["ftctl submit --mode=q"]) == [["--mode=qlora"]]


def test_zsh_offers(scripts, folder, tmp_path_factory):
    for program in PROGRAMS:
        with shells.Zsh(scripts[program, "zsh"], tmp_path_factory.mktemp("zsh"), cwd=folder, **NOBODY) as zsh:
            for line, expected in OFFERS:
                if line.split()[0] == program:
                    assert plain(zsh.offers(line)) == plain(expected), line
            if program == "ftctl":
                assert zsh.offers("ftctl submit --mode=q") == ["qlora"]


# Jobs, which only a server knows.

def offers_of_all(scripts, directory, line, **env):
    with shells.Zsh(scripts["ftctl", "zsh"], directory, **env) as zsh:
        by_zsh = zsh.offers(line)
    return [shells.bash(scripts["ftctl", "bash"], line, **env), shells.fish(scripts["ftctl", "fish"], [line], **env)[0],
            by_zsh]


def test_jobs_of_the_server(scripts, tmp_path):
    listed = api.ListJobsResponse(jobs=[
        jobs.Job(id="ft-01", name="first", state=jobs.Job.RUNNING), jobs.Job(id="ft-02", state=jobs.Job.QUEUED),
        jobs.Job(id=f"$(touch {tmp_path}/ran)", name="`id`")])
    with FakeFtd(ListJobs=lambda request, context: listed) as fake:
        for offers in offers_of_all(scripts, tmp_path, "ftctl show ft-", FTCTL_ADDRESS=fake.address):
            assert set(offers) == {"ft-01", "ft-02"}
        for line in (f"ftctl --address {fake.address} pause f", f"ftctl pause --address={fake.address} f"):
            for offers in offers_of_all(scripts, tmp_path, line, **NOBODY):
                assert set(offers) == {"first", "ft-01", "ft-02"}, line
        for offers in offers_of_all(scripts, tmp_path, "ftctl wait ", FTCTL_ADDRESS=fake.address):
            assert len(offers) == 5
    assert not (tmp_path / "ran").exists(), "a shell ran what a server said"


def test_a_server_that_never_answers_costs_a_second_at_most(scripts, tmp_path):
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "deaf.sock"))
        deaf.listen()
        for what in ("jobs", "models"):
            began = time.monotonic()
            asked = run(BIN / "ftctl", "--address", f"unix:{tmp_path}/deaf.sock", "completion", what)
            assert time.monotonic() - began < 5  # half a second, on a machine that does other things too
            assert asked.returncode == 0 and asked.stderr == ""
            assert (asked.stdout == "") == (what == "jobs")
        for offers in offers_of_all(scripts, tmp_path, "ftctl show ", FTCTL_ADDRESS=f"unix:{tmp_path}/deaf.sock"):
            assert offers == []


@pytest.mark.parametrize("flags", [["--address", "unix:/nowhere/x"], ["--address", "example.org:1"],
                                   ["--tls-ca", "/nowhere", "--address", "localhost:1"], ["--address", "nonsense"]])
def test_no_server_is_no_news(flags):
    asked = run(BIN / "ftctl", "completion", "jobs", *flags)
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, "", "")


# Manual pages.

@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    root = tmp_path_factory.mktemp("man")
    for program, section in PROGRAMS.items():
        (root / f"{program}.{section}").write_text(run(BIN / program, "--generate", "man").stdout)
    return root


def rendered(page):
    shown = run("man", "--warnings=w", "-E", "UTF-8", "-P", "cat", "-l", page,
                env=shells.environment(MANWIDTH="900", MAN_KEEP_FORMATTING=""))
    assert shown.returncode == 0 and shown.stderr == "", shown.stderr
    return shown.stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_groff_and_mandoc_find_no_fault(pages, program):
    page = pages / f"{program}.{PROGRAMS[program]}"
    assert page.read_bytes().isascii()
    assert run("groff", "-ww", "-b", "-z", "-man", "-Tutf8", page).stderr == ""
    found = run("mandoc", "-T", "lint", "-W", "warning", page).stdout.splitlines()
    # Equal programs have equal pages, so there is no date of the day.
    assert [line for line in found if "missing date" not in line] == []
    assert run("mandoc", "-T", "lint", "-W", "warning", __file__).stdout != "", "mandoc finds no fault in anything"


def flags_by_chapter(text):
    """Heading → flags, of a rendered page: headings stand in columns 1 and 4, terms in column 8."""
    chapters, heading = {}, ""
    for line in text.splitlines():
        if re.match(r" {0,3}\S", line):
            heading = line.strip()
        elif named := re.match(r" {7}((?:--?[\w-]+(?:, )?)+)", line):
            chapters.setdefault(heading, set()).update(named[1].strip(", ").split(", "))
    return chapters


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_page_has_the_flags_of_each_help(pages, program):
    chapters = flags_by_chapter(rendered(pages / f"{program}.{PROGRAMS[program]}"))
    assert chapters["OPTIONS"] == expected_flags((program,))
    commands = [words for words in VERBS if words[0] == program]
    for words in commands:
        told = chapters.pop(" ".join(words), set())
        expected = expected_flags(words)
        assert told | (chapters["OPTIONS"] & expected) == expected, words
    assert set(chapters) == {"OPTIONS"}


def test_the_page_says_what_a_verb_says(pages):
    text = " ".join(rendered(pages / "ftctl.1").split())
    for words in (w for w in VERBS if w[0] == "ftctl"):
        for line in help_of(*words).splitlines():
            if described := re.match(r"  -\S+ (?:\S+ )?(?:REQUIRED )? {2,}(\S.*)", line):
                assert " ".join(described[1].split()) in text, (words, line)


def test_exit_codes_are_those_of_the_documents(pages):
    """docs/cli.md and the page name the same codes."""
    table = (REPO / "docs/cli.md").read_text().split("## Exit codes")[1].split("\n## ")[0]
    documented = re.findall(r"^\| (\d+) \|", table, re.M)
    chapter = rendered(pages / "ftctl.1").split("EXIT STATUS")[1].split("ENVIRONMENT")[0]
    assert re.findall(r"^ {7}(\d+)\b", chapter, re.M) == documented
