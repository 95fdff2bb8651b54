"""The API keeps buf's rules, but for the exceptions in proto/buf.yaml, of which each is needed."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
import tree
import yaml

CONFIG = "buf.yaml"


@pytest.fixture(scope="module")
def lint(tmp_path_factory):
    """A function that lints a folder and returns {(rule, file)} of what it finds."""
    beside = pathlib.Path(sys.executable).parent / "buf"  # the wheel buf-bin puts it there
    buf = beside if beside.exists() else shutil.which("buf")
    assert buf, "no buf: requirements.txt has its wheel, buf-bin"
    environment = {**os.environ, "BUF_CACHE_DIR": str(tmp_path_factory.mktemp("buf"))}

    def run(folder):
        done = subprocess.run([buf, "lint", folder, "--error-format", "json"], capture_output=True, text=True, timeout=50,
                              env=environment)
        assert done.returncode in (0, 100), done.stderr  # 100: findings
        findings = [json.loads(line) for line in done.stdout.splitlines()]
        assert bool(findings) == (done.returncode == 100), done.stdout
        return {(finding["type"], pathlib.Path(finding["path"]).name) for finding in findings}

    return run


@pytest.fixture
def copy(tmp_path):
    return pathlib.Path(shutil.copytree(tree.ROOT / "proto", tmp_path / "proto"))


def test_the_api_keeps_the_rules(lint):
    assert lint(tree.ROOT / "proto") == set()


def test_a_broken_rule_is_seen(lint, copy):
    job = copy / "ftd/v1/job.proto"
    job.write_text(job.read_text() + "\nmessage Unheard {\n  int32 BadName = 1;\n}\n")
    assert lint(copy) == {("FIELD_LOWER_SNAKE_CASE", "job.proto")}


def test_each_exception_is_needed_and_has_a_reason(lint, copy):
    text = tree.text("proto/" + CONFIG)
    rules = yaml.safe_load(text)["lint"]
    (copy / CONFIG).write_text(yaml.safe_dump({"version": "v2", "lint": {"use": rules["use"]}}))
    found = lint(copy)
    assert set(rules["except"]) <= {rule for rule, _ in found}
    assert all(any(file in os.listdir(copy / folder) for _, file in found) for folder in rules["ignore"])
    # A comment stands above each exception or group of exceptions.
    lines = [line.strip() for line in text.partition("except:")[2].splitlines()]
    first_of_group = [i for i, line in enumerate(lines) if line.startswith("- ") and not lines[i - 1].startswith("- ")]
    assert len(first_of_group) >= 3 and [lines[i] for i in first_of_group if not lines[i - 1].startswith("# ")] == []
