"""Token ids and labels against TRL's own preparation of the same rows: EOS, the prompt's mask, the cut, what is dropped."""
import json
import pathlib
import shutil

import pytest
import trl
from datasets import Dataset
from preview import rows_of
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

PROMPT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n"
    "### Instruction: {}\n\n### Input: {}\n\n### Response: "
)
PAIRS = [
    {"prompt": "the quick ", "completion": "brown fox"}, {"prompt": "the qui", "completion": "ck brown fox"},
    {"prompt": "", "completion": "all of it"}, {"prompt": "nothing more", "completion": ""},
    {"prompt": "ends itself<|end|>", "completion": ""}, {"prompt": "has its own", "completion": " end<|end|>"},
    {"prompt": "a prompt that alone is longer than any row may be: " + "the lazy dog " * 9, "completion": "lost"},
    {"prompt": "é漢🙂", "completion": "\n\nwide\n"}, {"prompt": "<|begin|>x", "completion": "y"},
    *({"prompt": "rain falls on seven green hills "[:i], "completion": "rain falls on seven green hills"[i:]}
      for i in range(1, 31, 2)),
]
ALPACA = [{"instruction": "Repeat word 3.", "input": "the quick brown", "output": "brown"},
          {"instruction": "Repeat.", "input": "", "output": " spaced"}, {"instruction": "Say nothing.", "input": "", "output": ""},
          {"instruction": "x", "input": "y", "output": "\n" + "long " * 60}]
TEXTS = [{"text": row["prompt"] + row["completion"]} for row in PAIRS]
ALPACA_PAIRS = [{"prompt": PROMPT.format(row["instruction"], row["input"]), "completion": row["output"]} for row in ALPACA]
ALPACA_TEXTS = [{"text": row["prompt"] + row["completion"]} for row in ALPACA_PAIRS]


def by_trl(model, rows, out_dir, **config):
    tokenizer = AutoTokenizer.from_pretrained(model)
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(model), processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows),
        args=SFTConfig(output_dir=str(out_dir), report_to="none", use_cpu=True, bf16=False, **config))
    return [(row["input_ids"], row["labels"]) for row in trainer.train_dataset]


CASES = [  # ftd's rows, its flags, TRL's rows, TRL's settings
    ("pairs", PAIRS, [], PAIRS, {}),
    ("pairs, all", PAIRS, ["--train-on", "all"], PAIRS, {"completion_only_loss": False}),
    ("pairs, completions", PAIRS, ["--train-on", "completions"], PAIRS, {"completion_only_loss": True}),
    ("texts", TEXTS, [], TEXTS, {}),
    ("alpaca", ALPACA, [], ALPACA_TEXTS, {}),
    ("alpaca, completions", ALPACA, ["--train-on", "completions"], ALPACA_PAIRS, {}),
    ("template", PAIRS, ["--template", "{prompt}{completion}"], TEXTS, {}),
]


@pytest.mark.parametrize("max_length", [2048, 40])
@pytest.mark.parametrize("name,rows,flags,trl_rows,config", CASES, ids=[case[0] for case in CASES])
def test_ids_and_labels_are_those_of_trl(model, tmp_path, name, rows, flags, trl_rows, config, max_length):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ours = [(row["input_ids"], row["labels"]) for row in rows_of(model, path, "--seq-length", max_length, *flags)]
    kept = [pair for pair in ours if any(label != -100 for label in pair[1])]
    assert kept == by_trl(model, trl_rows, tmp_path / "trl", max_length=max_length, **config)
    assert (len(kept) < len(ours)) == (max_length == 40 and "--train-on" in flags and "completions" in flags
                                       or name == "pairs" and max_length == 40)


CHAT_PAIRS = [
    {"prompt": [{"role": "user", "content": "the quick"}], "completion": [{"role": "assistant", "content": "brown fox"}]},
    {"prompt": [{"role": "system", "content": "rain"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
                {"role": "user", "content": "é漢🙂"}], "completion": [{"role": "assistant", "content": "\n\nwide\n"}]},
    {"prompt": [{"role": "user", "content": "one"}],
     "completion": [{"role": "assistant", "content": "two"}, {"role": "user", "content": "three"}, {"role": "assistant", "content": "four"}]},
    {"prompt": [{"role": "user", "content": "a prompt that alone is longer than any row may be: " + "the lazy dog " * 9}],
     "completion": [{"role": "assistant", "content": "lost"}]},
]


@pytest.mark.parametrize("name", ["llama3", "qwen3", "phi3", "qwen3_training"])
@pytest.mark.parametrize("flags,config", [([], {}), (["--train-on", "all"], {"completion_only_loss": False}),
                                          (["--train-on", "assistant"], {"assistant_only_loss": True})], ids=["completion", "all", "assistant"])
def test_conversational_pairs_are_those_of_trl(model, tmp_path, name, flags, config):
    """TRL learns in a completion what both of its masks have: with assistant_only_loss the answers alone."""
    if config.get("assistant_only_loss") and name == "qwen3":
        pytest.skip("TRL takes its training template, which writes another text")
    chat_model, path = tmp_path / "model", tmp_path / "rows.jsonl"
    shutil.copytree(model, chat_model)
    template = pathlib.Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja"
    (chat_model / "chat_template.jinja").write_text(template.read_text())
    path.write_text("".join(json.dumps(row) + "\n" for row in CHAT_PAIRS))
    ours = [(row["input_ids"], row["labels"]) for row in rows_of(chat_model, path, "--seq-length", 120, *flags)]
    kept = [pair for pair in ours if any(label != -100 for label in pair[1])]
    assert kept == by_trl(chat_model, CHAT_PAIRS, tmp_path / "trl", max_length=120, **config)
    assert 2 <= len(kept) <= len(ours)
