"""Conversations against transformers and TRL: text, token ids and what is learned, for every text template in TRL's wheel."""
import json
import os
import pathlib
import re
import sys

import pytest
from chat_reference import FAMILY, TEMPLATES, apply, mask_of, spans_by_definition, spans_of_transformers, tokenizer_of
from preview import rows_of
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "lib" / "jinja"))
import jinja_reference  # noqa: E402
from jinja_conversations import TEXTS, Conversations  # noqa: E402

COUNT = 400 if os.environ.get("FTD_TEST_LONG") else 60  # conversations a template
# Importing it has pinned the day that transformers' templates print.
DATE = "{:04}-{:02}-{:02}".format(*jinja_reference.NOW[:3])
MARK = re.compile(r"<[|｜]?[A-Za-z_▁/][A-Za-z_▁0-9:]*[|｜]?>|\[/?[A-Z_]{4,}\]")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a small byte-level tokenizer to which the marks of all templates are special tokens."""
    marks = sorted({mark for template in TEMPLATES.values() for mark in MARK.findall(template)} | {"<s>", "</s>"})
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator([*TEXTS, *TEMPLATES.values()], trainers.BpeTrainer(
        vocab_size=3000, special_tokens=marks, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    directory = tmp_path_factory.mktemp("chat") / "model"
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>").save_pretrained(directory)
    return directory


def conversations(seed, count):
    """Rows as a file has them, without pictures."""
    made = Conversations(seed)
    for _ in range(count):
        variables = made.variables()
        row = {"messages": variables.pop("messages"), "tools": variables.pop("tools")}
        variables.pop("add_generation_prompt")
        row["chat_template_kwargs"] = {key: value for key, value in variables.items() if value is not None}
        for message in row["messages"]:
            if isinstance(message.get("content"), list) and message.get("role") != "tool":
                message["content"] = [part for part in message["content"] if part["type"] == "text"] or ""
        if row["messages"] and all("role" in message for message in row["messages"]):
            yield row


def with_joined_parts(row):
    def joined(content):
        is_parts = isinstance(content, list) and all(isinstance(part, dict) and "type" in part for part in content)
        return "".join(part["text"] for part in content) if is_parts else content
    return {**row, "messages": [{**message, **({"content": joined(message["content"])} if "content" in message else {})}
                                for message in row["messages"]]}


def takes_parts(tokenizer, template):
    row = {"messages": [{"role": "user", "content": [{"type": "text", "text": "xyzzy"}]}]}
    try:
        text = apply(tokenizer, template, row)[0]
    except Exception:
        return False
    return "xyzzy" in text and "'xyzzy'" not in text and '"xyzzy"' not in text


def expected(tokenizer, name, row):
    """{"text", "input_ids", "labels"}; labels None where nobody but us says what is learned."""
    template = TEMPLATES[name]
    text, ids, offsets = apply(tokenizer, template, row)
    spans = None
    if "{% generation" in template or "{%- generation" in template:
        spans = spans_of_transformers(tokenizer, template, row)
    elif (twin := TEMPLATES.get(name + "_training")) and apply(tokenizer, twin, row)[0] == text:
        spans = spans_of_transformers(tokenizer, twin, row)
    elif name in FAMILY and not MARK.search(json.dumps(row["messages"])):
        spans = spans_by_definition(name, text)
    labels = None if spans is None else [token if learned else -100 for token, learned in zip(ids, mask_of(spans, offsets), strict=True)]
    return {"text": text, "input_ids": ids, "labels": labels}


@pytest.mark.parametrize("name", TEMPLATES)
def test_equal_to_transformers_and_trl(model, tmp_path, name):
    tokenizer = tokenizer_of(model)
    parts = takes_parts(tokenizer, TEMPLATES[name])
    rows, want = [], []
    for row in conversations(len(name), COUNT):
        try:
            want.append(expected(tokenizer, name, row if parts else with_joined_parts(row)))
        except Exception:
            continue
        rows.append(row)
    assert len(rows) > COUNT / 20
    path, template = tmp_path / "rows.jsonl", tmp_path / "template.jinja"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    template.write_text(TEMPLATES[name])
    got = rows_of(model, path, "--chat-template", template, "--chat-template-date", DATE, "--seq-length", 1 << 20)
    assert [row["text"] for row in got] == [row["text"] for row in want]
    assert [row["input_ids"] for row in got] == [row["input_ids"] for row in want]
    wrong = [i for i, (ours, theirs) in enumerate(zip(got, want)) if theirs["labels"] is not None and ours["labels"] != theirs["labels"]]
    assert wrong == [], rows[wrong[0]]
