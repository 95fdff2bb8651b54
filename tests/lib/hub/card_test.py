"""Dataset cards: the files that ftd chooses by them are those that `datasets` chooses, in its order."""
import json
import os
import pathlib
import subprocess

import pytest

DRIVER = pathlib.Path(os.environ["FTD_BUILD_DIR"]) / "tests" / "card_files"
TREE = ["README.md", "alpaca.json", "extra.json", "train.jsonl", "data/a.jsonl", "data/b.jsonl", "data/test.jsonl",
        "data/deep/c.jsonl", "data/deep/er/d.jsonl", "data/.hidden.jsonl", "data/__pycache__/e.jsonl", "en/train.jsonl",
        "en/test.jsonl", "de/train.jsonl", "odd [x]/y.jsonl", "UPPER/z.jsonl"]
CARDS = {  # YAML, [(configuration, split)]
    "one file": ("configs:\n- config_name: default\n  data_files: alpaca.json", [("", "train")]),
    "list": ("configs:\n- config_name: default\n  data_files:\n  - extra.json\n  - alpaca.json", [("", "train")]),
    "splits": ("configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/b.jsonl\n"
               "  - split: test\n    path:\n    - data/test.jsonl\n    - data/a.jsonl", [("", "train"), ("", "test")]),
    "star": ("configs:\n- config_name: default\n  data_files: data/*.jsonl", [("", "train")]),
    "any depth": ("configs:\n- config_name: default\n  data_files: data/**", [("", "train")]),
    "any depth and a name": ("configs:\n- config_name: default\n  data_files: '**/train.jsonl'", [("", "train")]),
    "in the middle": ("configs:\n- config_name: default\n  data_files: data/**/d.jsonl", [("", "train")]),
    "classes": ("configs:\n- config_name: default\n  data_files: data/[ab].jsonl", [("", "train")]),
    "question mark": ("configs:\n- config_name: default\n  data_files: data/?.jsonl", [("", "train")]),
    "overlap": ("configs:\n- config_name: default\n  data_files: [data/b.jsonl, data/*.jsonl]", [("", "train")]),
    "default flag": ("configs:\n- config_name: en\n  data_files: en/train.jsonl\n- config_name: de\n"
                     "  data_files: de/train.jsonl\n  default: true", [("", "train"), ("en", "train"), ("de", "train")]),
    "named default": ("configs:\n- config_name: en\n  data_files: en/train.jsonl\n- config_name: default\n"
                      "  data_files: de/train.jsonl", [("", "train"), ("en", "train")]),
    "directory": ("configs:\n- config_name: en\n  data_dir: en\n- config_name: de\n  data_dir: ./de/",
                  [("en", "train"), ("en", "test"), ("de", "train")]),
    "directory and files": ("configs:\n- config_name: en\n  data_dir: en\n  data_files: '*.jsonl'", [("", "train")]),
    "only one": ("license: mit\nconfigs:\n- config_name: anything\n  data_files: train.jsonl", [("", "train")]),
    "windows lines": ("license: mit\r\nconfigs:\r\n- config_name: a\r\n  data_files: train.jsonl\r", [("", "train")]),
}


def ask(readme, config="", split="train"):
    request = json.dumps(dict(readme=readme, files=TREE, config=config, split=split))
    return subprocess.run([DRIVER], input=request, capture_output=True, text=True, timeout=30)


@pytest.fixture
def repository(tmp_path):
    for name in TREE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('{"text": "x"}\n')
    return tmp_path


@pytest.mark.parametrize("yaml, wanted", CARDS.values(), ids=CARDS)
def test_as_datasets_reads_them(yaml, wanted, repository):
    import datasets
    readme = f"---\n{yaml}\n---\n# Rows\n\n---\nconfigs: not this\n"
    (repository / "README.md").write_bytes(readme.encode())
    for config, split in wanted:
        builder = datasets.load_dataset_builder(str(repository), config or None)
        expected = [os.path.relpath(path, repository) for path in builder.config.data_files[split]]
        got = ask(readme, config, split)
        assert got.stdout.splitlines() == expected, got.stderr
        assert expected


ERRORS = [  # YAML, configuration, split, words
    ("configs:\n- config_name: a\n  data_files: x\n- config_name: b\n  data_files: y", "", "train", "choose one of a, b"),
    ("configs:\n- config_name: a\n  data_files: x", "c", "train", 'no configuration "c"; it has a'),
    ("configs:\n- config_name: a\n  data_files: train.jsonl", "", "test", 'no split "test"; it has train'),
    ("configs:\n- config_name: a\n  data_files: nothing/*.jsonl", "", "train", "nothing/*.jsonl, which its card names,"),
    ("configs:\n- config_name: a\n  data_files: ../x.jsonl", "", "train", "leads out of the repository"),
    ("configs:\n- config_name: a\n  data_files: /etc/passwd", "", "train", "leads out of the repository"),
    ("configs:\n- config_name: a\n  data_dir: ../..", "", "train", "leads out of the repository"),
    ("configs:\n- config_name: a\n  data_files:\n  - split: train", "", "train", "must have split and path"),
    ("configs:\n- config_name: a\n  data_files:\n    train: x", "", "train", "a path must be a text"),
    ("configs:\n- config_name: [a]\n  data_files: x", "", "train", "config_name must be a text"),
    ("configs: yes", "", "train", "configs must be a list"),
    ("configs: [yes]", "", "train", "must be a map"),
    ("license: [mit", "", "train", "README.md line"),
    ("a: " + "[" * 5000, "", "train", "README.md line"),
    ("configs:\n- config_name: a\n  default: maybe\n  data_files: x", "", "train", "README.md line 4"),
]


@pytest.mark.parametrize("yaml, config, split, words", ERRORS)
def test_errors(yaml, config, split, words):
    got = ask(f"---\n{yaml}\n---\n", config, split)
    assert got.returncode == 1 and words in got.stderr and got.stdout == ""


@pytest.mark.parametrize("readme", ["", "# Rows", "---\n", "---\nlicense: mit\n---\n", "---\n---\n", "---\nconfigs:\n---\n",
                                    "--- a\nconfigs: [1]\n---\n", "text\n---\nconfigs: [1]\n---\n", "\0\xff", "---\n- a\n---\n"])
def test_no_configurations(readme):
    assert "declares no configurations" in ask(readme).stderr
