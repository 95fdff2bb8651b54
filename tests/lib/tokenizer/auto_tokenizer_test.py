"""Token ids, EOS and named special tokens equal to those of transformers' AutoTokenizer, on folders of every kind.

A folder is a tokenizer.json with a config.json, a tokenizer_config.json, and in old releases special_tokens_map.json and
added_tokens.json. The bases are those of make_tokenizers.py, the real vocabularies among them; `FOLDERS` puts classes and
flags around them, and `random_folder` whatever else a file may say.
"""
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys

import pytest
import transformers
from transformers import AutoTokenizer, TokenizersBackend
from transformers.models.auto import tokenization_auto

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import make_tokenizers  # noqa: E402
import tokenizer_texts  # noqa: E402

BUILD = pathlib.Path(os.environ.get("FTD_BUILD_DIR", "build"))
DRIVER = BUILD / "tests" / "encode_lines"
LLAMA = {"model_type": "llama"}


def token(content, **flags):
    return {"content": content, "lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": True, **flags}


def named(content, **flags):
    """As tokenizer_config.json has it under a token's name."""
    return {"__type": "AddedToken", **token(content, **flags)}


# `./dev soak tokenizer-folders` asks for many of these, and encodes longer texts too.
RANDOM_FOLDERS = int(os.environ.get("FTD_RANDOM_FOLDERS", "12"))
SOAK = "FTD_RANDOM_FOLDERS" in os.environ


@pytest.fixture(scope="session")
def texts():
    """Strings, most of them with the spellings of special tokens in them: 900, or 2,000.

    Long ones are left to the soak, for they take the time and say little here: what a vocabulary makes of running text is
    tokenizer_parity_test.py's to compare.
    """
    rng = random.Random(20261128)
    every = tokenizer_texts.all_texts()
    some = tokenizer_texts.AWKWARD + rng.sample(every if SOAK else [text for text in every if len(text) <= 200], 1300 if SOAK else 200)
    count = 2000 if SOAK else 900
    spellings = ["<s>", "</s>", "<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "[PAD]", "<|x|>", "SOLO", "solo", " ",
                 "\n", "  ", "a", "<mask>", "[INST]", "<image>", "<|begin_of_text|>", "q", "<pad>", "<bos>"]
    while len(some) < count:
        parts = [rng.choice(spellings) if rng.random() < 0.6 else rng.choice(every)[:30] for _ in range(rng.randint(1, 6))]
        some.append("".join(parts))
    return [text.encode("utf-8", "replace").decode() for text in some]


def ours(folder, texts):
    """({"ids", "plain"} of each text, the EOS, the special tokens by name), or the reason for which the folder is refused."""
    run = subprocess.run([DRIVER, folder], input="".join(json.dumps(text) + "\n" for text in texts), capture_output=True, text=True,
                         encoding="utf-8", timeout=300)
    if run.returncode != 0:
        assert run.returncode == 1, run.stderr
        return run.stderr.strip()
    rows = [json.loads(line) for line in run.stdout.split("\n")[:-1]]
    eos, special = run.stderr.split(", EOS ")[1].split(", special tokens ")
    return rows, json.loads(eos), json.loads(special)


def differences(folder, texts):
    """Descriptions of what the two make of the folder in different ways, at most ten; a string where ftd refuses it."""
    got = ours(folder, texts)
    if isinstance(got, str):
        return got
    rows, eos, special = got
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = [f"EOS: ftd {eos!r}, AutoTokenizer {tokenizer.eos_token!r}"] if eos != (tokenizer.eos_token or "") else []
    if special != tokenizer.special_tokens_map:
        found.append(f"special tokens: ftd {special!r}, AutoTokenizer {tokenizer.special_tokens_map!r}")
    with_special = tokenizer(texts)["input_ids"]
    plain = tokenizer(texts, add_special_tokens=False)["input_ids"]
    for text, row, a, b in zip(texts, rows, with_special, plain, strict=True):
        for key, want in (("ids", a), ("plain", b)):
            if row[key] != want:
                found.append(f"{key} of {text[:80]!r}: ftd {row[key][:40]!r}, AutoTokenizer {want[:40]!r}")
    return found[:10]


def write(folder, base, config, tokenizer_config=None, edit=None, **files):
    folder.mkdir(exist_ok=True)
    path = make_tokenizers.ensure(make_tokenizers.fetch.cache_dir() / "tokenizers", base)
    if edit is None:
        shutil.copy(path, folder / "tokenizer.json")
    else:
        document = json.loads(path.read_text("utf-8"))
        edit(document)
        (folder / "tokenizer.json").write_text(json.dumps(document), "utf-8")
    (folder / "config.json").write_text(json.dumps(config))
    if tokenizer_config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def forget_added(document):
    document["added_tokens"] = []


def pad_with(content):
    def edit(document):
        document["padding"] = {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                               "pad_type_id": 0, "pad_token": content}
    return edit


SPM = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
SPM_DECODER = {str(i): token(t) for i, t in enumerate(["<unk>", "<s>", "</s>"])}
CHATML = {"100": token("<|im_start|>"), "101": token("<|im_end|>"), "102": token("<tool>", special=False, normalized=True)}
# name: (base, config.json, tokenizer_config.json, further arguments of write)
FOLDERS = {
    # The class alone, on every base that it may meet.
    **{f"llama3 as {name}": ("llama3", LLAMA, {"tokenizer_class": name, "eos_token": "<|eot_id|>"}, {})
       for name in ("PreTrainedTokenizerFast", "LlamaTokenizer")},
    **{f"smollm2 by {name}": ("smollm2", LLAMA, {"tokenizer_class": name, "eos_token": "<|im_end|>"}, {})
       for name in ("TokenizersBackend", "PreTrainedTokenizer", "LlamaTokenizerFast", "NoSuchTokenizer", "BloomTokenizerFast")},
    **{f"llama2 as {name}": ("llama2", LLAMA, {"tokenizer_class": name, **SPM, "added_tokens_decoder": SPM_DECODER}, {})
       for name in ("PreTrainedTokenizerFast", "LlamaTokenizer", "LlamaTokenizerFast", "GemmaTokenizer", "GPT2Tokenizer")},
    **{f"smollm2 as {name}": ("smollm2", LLAMA, {"tokenizer_class": name, "eos_token": "<|im_end|>", "add_prefix_space": prefix}, {})
       for name, prefix in (("GPT2Tokenizer", False), ("GPT2TokenizerFast", True), ("GPTNeoXTokenizerFast", False),
                            ("CohereTokenizerFast", False), ("Qwen2Tokenizer", True), ("Qwen3_5Tokenizer", None))},
    **{f"{base} with nothing": (base, LLAMA, None, {}) for base in make_tokenizers.MAKERS},
    **{f"qwen2 of {model_type}": ("qwen2", {"model_type": model_type}, {"tokenizer_class": name, "eos_token": "<|im_end|>"}, {})
       for model_type, name in (("qwen2", "LlamaTokenizer"), ("qwen2", "Qwen2TokenizerFast"), ("qwen3", "PreTrainedTokenizerFast"),
                                ("qwen3", "Qwen2Tokenizer"), ("qwen3_5", "Qwen2Tokenizer"))},
    **{f"{base} of {model_type} as {name}": (base, {"model_type": model_type}, {"tokenizer_class": name, "eos_token": eos}, {})
       for base, model_type, name, eos in (
           ("llama4", "llama", "PreTrainedTokenizerFast", "<|eot|>"), ("qwen", "qwen2", "Qwen2Tokenizer", "<|im_end|>"),
           ("qwen", "qwen3", "Qwen2TokenizerFast", "<|im_end|>"), ("qwen", "qwen3_5", "Qwen2Tokenizer", "<|im_end|>"),
           ("mistral_v1", "mistral", "LlamaTokenizer", "</s>"), ("mistral_v1", "llama", "LlamaTokenizerFast", "</s>"),
           ("mistral_v3", "mistral", "LlamaTokenizerFast", "</s>"), ("mistral_v3", "llama", "LlamaTokenizer", "</s>"),
           ("mistral_v7", "llama", "LlamaTokenizer", "</s>"), ("tekken", "mistral", "PreTrainedTokenizerFast", "</s>"),
           ("tekken", "llama", "LlamaTokenizerFast", "</s>"))},
    "mistral of mistral": ("mistral", {"model_type": "mistral"}, {"tokenizer_class": "LlamaTokenizer", **SPM, "legacy": False}, {}),
    "mistral as LlamaTokenizer": ("mistral", LLAMA, {"tokenizer_class": "LlamaTokenizer", **SPM, "legacy": False}, {}),
    "class in config.json": ("llama2", {"model_type": "llama", "tokenizer_class": "LlamaTokenizer"}, SPM, {}),
    "gemma over all": ("llama2", {"model_type": "gemma"}, {"tokenizer_class": "GemmaTokenizer", **SPM}, {}),
    # LlamaTokenizer's flags.
    **{f"llama2 {flags}": ("llama2", LLAMA, {"tokenizer_class": "LlamaTokenizer", **SPM, **flags, "added_tokens_decoder": SPM_DECODER}, {})
       for flags in ({"legacy": True}, {"legacy": None}, {"add_prefix_space": False}, {"add_prefix_space": None, "legacy": True},
                     {"add_bos_token": False, "add_eos_token": True}, {"unk_token": None}, {"use_default_system_prompt": True})},
    # Tokens: missing in tokenizer.json, new, with other flags, under other names.
    "EOS only in the vocabulary": ("digits", LLAMA, {"eos_token": "<|im_end|>"}, {"edit": forget_added}),
    "EOS is new": ("digits", LLAMA, {"eos_token": "<|x|>"}, {}),
    "no token is added": ("llama2", LLAMA, {"tokenizer_class": "LlamaTokenizer", **SPM, "added_tokens_decoder": {}}, {}),
    "decoder adds": ("llama2", LLAMA, {"tokenizer_class": "LlamaTokenizer", **SPM, "added_tokens_decoder": {**SPM_DECODER, **CHATML}}, {}),
    "decoder changes flags": ("digits", LLAMA, {"added_tokens_decoder": {
        "1": token("<|im_start|>", rstrip=True), "2": token("<|im_end|>", lstrip=True, special=False), "3": token("solo"),
        "9": token("SOLO", single_word=True, normalized=True)}, "eos_token": "<|im_end|>"}, {}),
    "decoder leaves flags out": ("digits", LLAMA, {"added_tokens_decoder": {"7": {"content": "SOLO"}, "8": {"content": "[PAD]", "special": True}}}, {}),
    "tokens with flags": ("digits", LLAMA, {"eos_token": named("<|x|>", lstrip=True), "pad_token": named("[PAD]", special=False, normalized=True)}, {}),
    "additional": ("digits", LLAMA, {"additional_special_tokens": ["<|x|>", "<image>", "q"], "extra_special_tokens": {}}, {}),
    "extra list": ("digits", LLAMA, {"extra_special_tokens": ["<|x|>", named("<image>", rstrip=True)], "additional_special_tokens": ["q"]}, {}),
    "extra names": ("digits", LLAMA, {"extra_special_tokens": {"image_token": "<image>", "x_token": "<|x|>"}, "boi_token": "q"}, {}),
    "named like a token": ("digits", LLAMA, {"image_token": "<image>", "video_token": named("<|x|>", lstrip=True), "pad_token": "[PAD]"}, {}),
    "an object that is no token": ("digits", LLAMA, {"image_token": token("<image>"), "eos_token": "<|im_end|>"}, {}),
    "extra names over others": ("digits", LLAMA, {"extra_special_tokens": {"pad_token": "[PAD]", "image_token": "<image>"},
                                                  "image_token": "q", "pad_token": "<|x|>", "eos_token": None}, {}),
    "map with names": ("digits", LLAMA, {"image_token": "q"}, {"special_tokens_map": {
        "image_token": token("<image>", lstrip=True), "video_token": "<|x|>", "mask_token": "a"}}),
    "the file pads": ("digits", LLAMA, {"eos_token": "<|im_end|>"}, {"edit": pad_with("[PAD]")}),
    "the file pads Llama": ("llama2", LLAMA, {"tokenizer_class": "LlamaTokenizer"}, {"edit": pad_with("[PAD]")}),
    # Old folders.
    "map wins": ("digits", LLAMA, {"eos_token": "<|endoftext|>"}, {"special_tokens_map": {"eos_token": "<|im_end|>"}}),
    "map is not read": ("digits", LLAMA, {"eos_token": "<|endoftext|>", "added_tokens_decoder": {}},
                        {"special_tokens_map": {"eos_token": "<|im_end|>", "pad_token": "[PAD]"}}),
    "map with flags": ("digits", LLAMA, {}, {"special_tokens_map": {
        "eos_token": {"content": "<|x|>", "lstrip": True, "rstrip": False, "single_word": False, "normalized": True},
        "additional_special_tokens": ["<image>"]}}),
    "map of Llama 2": ("llama2", LLAMA, {"tokenizer_class": "LlamaTokenizer", "eos_token": named("</s>", normalized=True, special=False)},
                       {"special_tokens_map": {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "[PAD]"}}),
    "map alone": ("smollm2", LLAMA, None, {"special_tokens_map": {"eos_token": "<|im_end|>", "bos_token": "<|im_start|>"}}),
    "added_tokens.json": ("llama2", LLAMA, {"tokenizer_class": "LlamaTokenizer", **SPM, "pad_token": "[PAD]"},
                          {"added_tokens": {"<|im_start|>": 6001, "<|im_end|>": 6000, "[PAD]": 6002, "SOLO": 6003}}),
    "added_tokens.json of a backend": ("digits", LLAMA, {"eos_token": "<|x|>"}, {"added_tokens": {"<|x|>": 12010, "SOLO": 12011}}),
    "a pattern set right": ("llama3", {"model_type": "mistral", "transformers_version": "4.50.0"},
                            {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|eot_id|>", "fix_mistral_regex": True}, {}),
    "a pattern left alone": ("llama3", LLAMA, {"tokenizer_class": "PreTrainedTokenizerFast", "fix_mistral_regex": True}, {}),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folder(name, texts, tmp_path):
    base, config, tokenizer_config, further = FOLDERS[name]
    write(tmp_path, base, config, tokenizer_config, **further)
    assert differences(tmp_path, texts) == []


def random_folder(rng, folder):
    """A folder with whatever the files may say, in any combination."""
    base = rng.choice(["digits", "qwen2", "llama2", "llama2_meta", "mistral"])
    contents = ["<s>", "</s>", "<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "[PAD]", "<|x|>", "SOLO", "solo", "q", "<image>", "a b", "é"]

    def flags():
        return {name: rng.random() < 0.3 for name in ("lstrip", "rstrip", "single_word", "normalized", "special")}

    def spelled():
        content = rng.choice(contents)
        return content if rng.random() < 0.6 else named(content, **flags())

    tokenizer_config = {}
    if rng.random() < 0.9:
        tokenizer_config["tokenizer_class"] = rng.choice(
            ["LlamaTokenizer", "LlamaTokenizerFast", "PreTrainedTokenizerFast", "GPT2Tokenizer", "Qwen2Tokenizer", "GemmaTokenizer",
             "GPTNeoXTokenizer", "CohereTokenizer", "Qwen3_5Tokenizer", "Custom"])
    for name in ("bos_token", "eos_token", "unk_token", "pad_token", "mask_token", "image_token"):
        if rng.random() < 0.4:
            tokenizer_config[name] = spelled() if rng.random() < 0.9 else None
    if rng.random() < 0.5:
        ids = rng.sample(range(0, 13000), rng.randint(0, 6))
        tokenizer_config["added_tokens_decoder"] = {str(i): token(c, **flags()) for i, c in zip(ids, rng.sample(contents, len(ids)))}
    for name in ("additional_special_tokens", "extra_special_tokens"):
        if rng.random() < 0.3:
            tokenizer_config[name] = [spelled() for _ in range(rng.randint(0, 3))]
    for name in ("add_prefix_space", "legacy", "add_bos_token", "add_eos_token"):
        if rng.random() < 0.3:
            tokenizer_config[name] = rng.choice([True, False, None])
    if rng.random() < 0.2:
        tokenizer_config["extra_special_tokens"] = {name: spelled() for name in rng.sample(["image_token", "pad_token", "boi"], 2)}
    files = {}
    if rng.random() < 0.5:
        files["special_tokens_map"] = {name: rng.choice(contents) if rng.random() < 0.6 else token(rng.choice(contents), **flags())
                                       for name in ("bos_token", "eos_token", "pad_token") if rng.random() < 0.5}
    if rng.random() < 0.3:
        files["added_tokens"] = {c: 12500 + i for i, c in enumerate(rng.sample(contents, 3))}
    config = {"model_type": rng.choice(["llama", "llama", "llama", "mistral", "qwen2", "qwen3", "gemma"])}
    write(folder, base, config, tokenizer_config, **files)
    return base, config, tokenizer_config, files


@pytest.mark.parametrize("number", range(RANDOM_FOLDERS))
def test_random_folder(number, texts, tmp_path):
    rng = random.Random(f"{os.environ.get('FTD_TEST_SEED', '0')} {number}")
    what = random_folder(rng, tmp_path)
    few = rng.sample(texts, 150)
    try:
        AutoTokenizer.from_pretrained(tmp_path)(few)
    except Exception:  # a folder that transformers itself cannot use says nothing
        return
    assert differences(tmp_path, few) == [], what


REBUILT = {"CohereTokenizer", "GPT2Tokenizer", "GPTNeoXTokenizer", "GemmaTokenizer", "LlamaTokenizer", "Qwen2Tokenizer", "Qwen3_5Tokenizer"}


def takes_the_file(name):
    """Whether AutoTokenizer makes a class of that name of tokenizer.json as it is."""
    cls = tokenization_auto.tokenizer_class_from_name(name)
    if cls is None or cls.__name__ == "PythonBackend":
        return True
    return issubclass(cls, TokenizersBackend) and (cls is TokenizersBackend or "__init__" not in cls.__dict__)


def test_every_class_is_known(tmp_path):
    """Each class of transformers takes the file as it is, is compared above, or is refused by name."""
    names = {name for name in dir(transformers) if name.endswith("Tokenizer")} - {"AutoTokenizer"}
    names |= {name for name in tokenization_auto.TOKENIZER_MAPPING_NAMES.values() if name}
    assert len(names) > 100
    wrong = []
    for name in sorted(names):
        if name.removesuffix("Fast") in REBUILT:
            continue
        write(tmp_path, "digits", LLAMA, {"tokenizer_class": name})
        got = ours(tmp_path, [])
        try:
            as_it_is = takes_the_file(name)
        except (ImportError, TypeError):  # needs a package that is not installed, so AutoTokenizer fails
            as_it_is = False
        if as_it_is == isinstance(got, str) or (isinstance(got, str) and name.removesuffix("Fast") not in got):
            wrong.append((name, got))
    assert wrong == []


@pytest.mark.parametrize("base, tokenizer_config, words", [
    ("digits", {"split_special_tokens": True}, "split_special_tokens"),
    ("digits", {"fast_tokenizer_files": ["tokenizer.4.0.0.json", "tokenizer.json"]}, "tokenizer.4.0.0.json"),
    ("digits", {"init_inputs": ["x"]}, "init_inputs"),
    ("digits", {"auto_map": {"AutoTokenizer": ["tokenization_x.XTokenizer", None]}, "tokenizer_class": "XTokenizer"}, "auto_map"),
    ("digits", {"eos_token": 3}, "eos_token"),
    ("digits", {"added_tokens_decoder": {"x": token("<|x|>")}}, "added_tokens_decoder"),
    ("digits", {"added_tokens_decoder": {"5": {"lstrip": True}}}, "added_tokens_decoder"),
    ("digits", {"extra_special_tokens": [3]}, "extra_special_tokens"),
    ("digits", [], "tokenizer_config.json"),
])
def test_refused_by_name(base, tokenizer_config, words, tmp_path):
    write(tmp_path, base, LLAMA, tokenizer_config)
    got = ours(tmp_path, [])
    assert isinstance(got, str) and words in got, got
