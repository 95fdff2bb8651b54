"""What every tracked file must be free of, what documentation may promise, and how long files are."""
import os
import pathlib
import re
import statistics
import subprocess
import sys

import pytest
import tree

# Folders that many machines have (the Filesystem Hierarchy Standard and Nix), and those that examples and tests invent.
COMMON_FOLDERS = {"bin", "boot", "dev", "etc", "lib", "lib64", "media", "mnt", "nix", "opt", "proc", "run", "sbin", "srv",
                  "sys", "tmp", "usr", "var"}
INVENTED_FOLDERS = {"a", "c", "data", "file", "host", "m", "models", "no", "none", "nonexistent", "nowhere", "results", "s"}
REGISTRY_HOST = re.compile(r"pypi\.org|pythonhosted|debian\.org|npmjs\.|crates\.io|proxy\.golang", re.IGNORECASE)
LEFT_OPEN = re.compile(r"\b(TODO|FIXME|XXX)\b")


def machine_path(folders):
    """A pattern for paths of one machine: anybody's home, and what lies below the top folder of any of `folders`."""
    tops = {pathlib.Path(folder).parts[1] for folder in folders if len(pathlib.Path(folder).parts) > 2}
    own = sorted(re.escape(top) for top in tops - COMMON_FOLDERS - INVENTED_FOLDERS - {"home"})
    return re.compile(rf"(^|[^A-Za-z0-9_.])/({'|'.join(['root', '(home|Users)/[a-z]+', *own])})/")


# This machine's: the checkout, the cache, the interpreter, the home.
MACHINE_PATH = machine_path([tree.ROOT, os.environ.get("FTD_CACHE_DIR", "/"), sys.prefix, pathlib.Path.home()])


def lines_matching(pattern, names):
    return [f"{name}:{n}: {line.strip()[:120]}" for name in names
            for n, line in enumerate(tree.text(name).splitlines(), 1) if pattern.search(line)]


@pytest.mark.parametrize("pattern,sample", [
    (MACHINE_PATH, "cp " + "/ro" + "ot/x/y ."), (REGISTRY_HOST, "https://py" + "pi.org/simple"), (LEFT_OPEN, "// TO" + "DO")])
def test_no_such_line(pattern, sample):
    assert pattern.search(sample)
    names = [name for name in tree.files() if name not in ("LICENSE", "tests/project/tidy_tree_test.py")]
    assert lines_matching(pattern, names) == []


@pytest.mark.parametrize("folders,path,seen", [
    (["/far" + "m/clone"], "cp /far" + "m/x/y .", True),
    (["/far" + "m/clone"], "below build/far" + "m/x", False),
    (["/usr/src/ftd", "/data/ftd"], "/usr/src/x and /data/rows.jsonl", False),
    ([], "cd /ho" + "me/ann/ftd", True),
    ([], "/Us" + "ers/ann/ftd", True),
])
def test_paths_of_one_machine_are_seen(folders, path, seen):
    assert bool(machine_path(folders).search(path)) == seen


def test_tracked_files_are_small():
    assert [name for name in tree.files() if (tree.ROOT / name).stat().st_size > 1 << 20] == []


def test_every_test_is_run_by_ctest_or_the_soak():
    """A list of tests names Python's without their `_test.py`, in their own folder; C++ tests may be built in another."""
    lists = {name: set(re.findall(r"[\w/.]+", tree.text(name))) for name in tree.files("CMakeLists.txt")}
    built, soak = {word.rsplit("/", 1)[-1] for words in lists.values() for word in words}, tree.text("tests/soak.py")
    idle = []
    for path in map(pathlib.PurePath, tree.files("_test.py", "_test.cc")):
        in_folder = lists.get(str(path.parent / "CMakeLists.txt"), set())
        in_soak = str(path.relative_to("tests")) in soak
        if not (path.name in built or path.stem.removesuffix("_test") in in_folder or in_soak):
            idle.append(str(path))
    assert idle == []


def test_requirements_are_pinned():
    lines = [line for name in ("requirements.txt", "requirements-nvcc.txt", "requirements-vllm.txt") for line in tree.text(name).splitlines()
             if line and not line.startswith("#")]
    assert lines and [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.\-]+==[0-9][^\s]*", line)] == []


def test_python_names_are_defined_and_imports_used():
    """What no interpreter says before the line runs: an undefined name in a test that a machine rarely reaches."""
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", "--isolated", "--select", "F,E9",
                           "--output-format", "concise", *tree.files(".py")], cwd=tree.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_that_documents_name_exist():
    missing = []
    for name in tree.files(".md"):
        base = (tree.ROOT / name).parent
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", tree.text(name)):
            if not (base / target).exists():
                missing.append(f"{name}: {target}")
    assert missing == []


def test_what_soak_runs_is_there():
    script = tree.text("tests/soak.py")
    assert len(re.findall(r"run_pytest\(\"", script)) >= 8
    named = ["tests/" + path for path in re.findall(r"run_pytest\(\"([^\"]+)\"", script)]
    fuzzed = re.findall(r"^    fuzz-(\w+)", script, re.M)
    assert len(fuzzed) >= 11
    assert [path for path in named if not (tree.ROOT / path).exists()] == []
    assert [name for name in fuzzed if len(list(tree.ROOT.glob(f"tests/*/fuzz/corpus/{name}"))) != 1] == []


def shell_blocks(name):
    """The lines of a document's fenced shell blocks, without prompts and comments."""
    for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", tree.text(name), re.DOTALL):
        yield from (re.sub(r"^\$ ", "", line) for line in block.splitlines())


def commands(program, names):
    """The words that follow `program` in shell blocks."""
    call = re.compile(rf"(?:^|[\s(|&;/]){re.escape(program)}((?:\s+--address \S+)?)\s+([a-z][a-z-]*)")
    return {match[2] for name in names for line in shell_blocks(name) for match in call.finditer(line)}


def test_dev_verbs_in_documents_exist():
    usage = subprocess.run([tree.ROOT / "dev"], check=True, capture_output=True, text=True).stdout
    verbs = set(re.findall(r"^  ([a-z][a-z-]*)", usage, re.MULTILINE))
    used = commands("./dev", tree.files(".md"))
    assert {"demo", "test", "bench"} <= used and used <= verbs


def test_unknown_dev_verb_is_a_usage_error():
    done = subprocess.run([tree.ROOT / "dev", "tets"], capture_output=True, text=True)
    assert done.returncode == 2 and "tets" in done.stderr and not done.stdout


def test_lengths_of_files():
    """conventions: header ≤ 120 lines, source ≤ 300. Prints what is over; far over is no longer one concept."""
    yardstick = {".h": 120, ".cc": 300, ".py": 300}
    far_over = []
    for suffix, limit in yardstick.items():
        lengths = {name: tree.text(name).count("\n") for name in tree.files(suffix)}
        if not lengths:
            continue
        over = {name: n for name, n in lengths.items() if n > limit}
        print(f"{suffix}: {len(lengths)} files, median {statistics.median(lengths.values()):.0f}, over {limit}: {over}")
        far_over += [f"{name}: {n}" for name, n in over.items() if n > 2 * limit]
    assert far_over == []
