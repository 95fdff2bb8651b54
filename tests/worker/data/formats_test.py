"""Every format and compression against `datasets` (and pandas and pyarrow beneath it): same rows, same order; and what
is wrong with a row or a file, by name and place."""
import csv
import gzip
import io
import json
import os
import random
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from datasets.data_files import DataFilesDict, get_data_patterns
from preview import preview, rows_of, texts_of

TEMPLATE = "{id}|{question}|{answer}"
# A share, with every kind of file and of name among any three; `./dev soak data` has more.
FIRST_SEED = int(os.environ.get("FTD_TEST_SEED", "0"))
SEEDS = range(FIRST_SEED, FIRST_SEED + int(os.environ.get("FTD_DATA_SEEDS", "3")))


def make_rows(count=300, seed=11):
    """Texts that a careless reader breaks: delimiters, quotes, line ends, blanks at the ends, wide characters."""
    rng = random.Random(seed)
    pieces = ["plain", "a,b", "tab\there", 'say "hi"', "two\nlines", "dos\r\nline", "é", "漢字", "🙂", " ends ", "'", "\\n",
              "{}", "|", "[x]", "a\u2028b", "7", "1e3", "true"]
    text = lambda: "x" + "".join(rng.choice(pieces) for _ in range(rng.randrange(1, 9))) + "y"  # noqa: E731
    return [{"id": i, "question": text(), "answer": text()} for i in range(count)]


ROWS = make_rows()


def delimited(rows, delimiter, **options):
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter, **{"lineterminator": "\n", **options})
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def parquet(rows, **options):
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out, **options)
    return out.getvalue()


def arrow(rows, kind, **options):
    out = io.BytesIO()
    table = pa.Table.from_pylist(rows)
    with kind(out, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in table.to_batches(max_chunksize=37):
            writer.write_batch(batch)
    return out.getvalue()


def typed(rows):
    """Each way in which Arrow stores a string."""
    table = pa.Table.from_pylist(rows)
    table = table.set_column(1, "question", table["question"].cast(pa.large_string()))
    out = io.BytesIO()
    pq.write_table(table.set_column(2, "answer", table["answer"].dictionary_encode()), out)
    return out.getvalue()


LINES = "".join(json.dumps(row, ensure_ascii=i % 2 == 0) + "\n" for i, row in enumerate(ROWS)).encode()
FILES = {  # name: (bytes, builder of `datasets`, its options)
    "rows.jsonl": (LINES, "json", {}),
    "lines.json": (LINES, "json", {}),
    "array.json": (json.dumps(ROWS, indent=1).encode(), "json", {}),
    "compact.json": (json.dumps(ROWS, ensure_ascii=False).encode(), "json", {}),
    "bom.jsonl": (b"\xef\xbb\xbf" + LINES, "json", {}),
    "rows.csv": (delimited(ROWS, ","), "csv", {}),
    "quoted.csv": (delimited(ROWS, ",", quoting=csv.QUOTE_ALL), "csv", {}),
    "dos.csv": (delimited(ROWS, ",", lineterminator="\r\n"), "csv", {}),
    "bom.csv": (b"\xef\xbb\xbf" + delimited(ROWS, ","), "csv", {}),
    "blank.csv": (delimited(ROWS, ",").replace(b"\n1,", b"\n\n  \n1,"), "csv", {}),
    "rows.tsv": (delimited(ROWS, "\t"), "csv", {"sep": "\t"}),
    "rows.parquet": (parquet(ROWS), "parquet", {}),
    "groups.parquet": (parquet(ROWS, row_group_size=41, compression="zstd"), "parquet", {}),
    "plain.parquet": (parquet(ROWS, use_dictionary=False, compression="none", data_page_version="2.0"), "parquet", {}),
    "typed.parquet": (typed(ROWS), "parquet", {}),
    "file.arrow": (arrow(ROWS, pa.ipc.new_file), "arrow", {}),
    "stream.arrow": (arrow(ROWS, pa.ipc.new_stream), "arrow", {}),
    "packed.arrow": (arrow(ROWS, pa.ipc.new_stream, compression="zstd"), "arrow", {}),
}
COLUMNAR = (".parquet", ".arrow")


def zstd(data):
    return pa.Codec("zstd").compress(data, asbytes=True)


def in_pieces(compress):
    """Of several members or frames, as parallel compressors make them."""
    return lambda data: b"".join(compress(data[i:i + 5000]) for i in range(0, len(data), 5000))


COMPRESSIONS = {"": bytes, ".gz": gzip.compress, ".zst": zstd}


def by_datasets(builder, path, tmp_path, **options):
    dataset = load_dataset(builder, data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"), **options)
    return [TEMPLATE.format(**row) for row in dataset]


@pytest.mark.parametrize("name", FILES)
def test_rows_are_those_of_datasets(model, tmp_path, name):
    data, builder, options = FILES[name]
    plain = tmp_path / name
    plain.write_bytes(data)
    expected = by_datasets(builder, plain, tmp_path, **options)
    assert len(expected) == len(ROWS)
    for extension, compress in COMPRESSIONS.items():
        if extension and name.endswith(COLUMNAR):
            continue
        path = tmp_path / f"{name}{extension}"
        for way in (compress, in_pieces(compress)) if extension else (compress,):
            path.write_bytes(way(data))
            assert texts_of(model, path, "--template", TEMPLATE, "--seq-length", 100) == expected, path
        if extension == ".gz":  # `datasets` decompresses this one too
            assert by_datasets(builder, path, tmp_path, **options) == expected
    assert texts_of(model, plain, "--template", TEMPLATE, "-n", 7) == expected[:7]


def test_csv_rows_are_those_of_pandas_where_a_field_is_what_pandas_would_convert(model, tmp_path):
    """Read as text, without its guesses of types and missing values, pandas gives what ftd gives."""
    rows = [{"id": i, "question": q, "answer": a} for i, (q, a) in enumerate(
        [("NA", "null"), ("None", "nan"), ("007", "1.50"), ("True", "-"), ("", "x"), (" ", "a"), ("x", "")])]
    path = tmp_path / "rows.csv"
    path.write_bytes(delimited(rows, ","))
    import pandas
    frame = pandas.read_csv(path, dtype=str, keep_default_na=False)
    assert texts_of(model, path, "--template", TEMPLATE) == [TEMPLATE.format(**row) for row in frame.to_dict("records")]


@pytest.mark.parametrize("seed", SEEDS)
def test_directories_and_globs_are_those_of_datasets(model, tmp_path, seed):
    """Random trees whose names may tell splits; each file's one row is its own path."""
    rng = random.Random(seed)
    words = ["train", "test", "validation", "dev", "a", "b", "part", "latest", "training", "x"] if seed % 2 else list("abcx")
    root = tmp_path / "root"
    for _ in range(rng.randrange(3, 12)):
        folders = ["".join(rng.choice(["", ".", "_", "__"][:1 + 3 * (rng.random() < 0.1)]) + rng.choice(words))
                   for _ in range(rng.randrange(0, 3))]
        stem = rng.choice(["", "", "", "__", "."]) + rng.choice(["-", "_", "."]).join(rng.choice(words) for _ in range(rng.randrange(1, 3)))
        path = root.joinpath(*folders, f"{stem}{rng.choice(['', '1', '-00000-of-00002'])}.jsonl")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"text": str(path)}) + "\n")
    (root / "README.md").parent.mkdir(exist_ok=True)
    (root / "README.md").write_text("# not rows\n")
    for pattern in ["*.jsonl", "**/*.jsonl", "*/*", "**"]:
        try:
            theirs = [row["text"] for row in load_dataset("json", data_files=f"{root}/{pattern}", split="train",
                                                          cache_dir=str(tmp_path / f"cache{pattern.count('*')}"))]
        except Exception:  # nothing matches, or README.md is no JSON
            continue
        assert texts_of(model, f"{root}/{pattern}") == theirs, (seed, pattern)
    try:
        splits = DataFilesDict.from_patterns(get_data_patterns(str(root)), base_path=str(root))
    except Exception:
        splits = {}
    train = sorted({path for path in splits.get("train", []) if path.endswith(".jsonl")})
    done = preview(model, root)
    if train:
        assert [row["text"].removesuffix("<|end|>") for row in json.loads(done.stdout)] == train, (seed, done.stderr)
    else:
        assert done.returncode in (65, 66), (seed, done)


BAD_ROWS = [  # name, bytes, words of the message
    ("a.jsonl", b'{"text": "a"}\n\n{"text": 3}\n', ["a.jsonl line 3", '"text" must be a string']),
    ("a.jsonl", b'{"text": "a"}\n{"text": \n', ["a.jsonl line 2", "not JSON at column"]),
    ("a.json", b'[{"text": "a"}, {"txt": "b"}]', ["a.json row 2", 'has "txt"']),
    ("a.csv", b'text,n\n"a\nb",1\nc,2,3\n', ["a.csv line 4", "3 fields", "header has 2"]),
    ("a.csv", b'text\na\n\xff\n', ["a.csv line 3", "UTF-8"]),
    ("a.csv", b'text\na\n"b\n', ["a.csv line 3", "quote"]),
    ("a.tsv", b"question\tanswer\nq\ta\n", ["a.tsv line 2", '"question", "answer"']),
    ("a.csv", b"instruction,output\nq\n", ["a.csv line 2", '"output" is null or missing']),
    ("a.parquet", parquet([{"text": "a"}, {"text": None}]), ["a.parquet row 2"]),
    ("a.parquet", parquet([{"text": ["a"]}]), ["a.parquet row 1", "must be a string"]),
    ("a.arrow", arrow([{"text": 1.5}], pa.ipc.new_file), ["a.arrow row 1", "must be a string"]),
    ("a.jsonl.gz", gzip.compress(b'{"text": "a"}\n' * 9999)[:-20], ["a.jsonl.gz", "cut short"]),
    ("a.csv.zst", zstd(b"text\n" + b"a\n" * 999)[:-4], ["a.csv.zst", "cut short"]),
    ("a.jsonl.gz", b"<html>", ["a.jsonl.gz", "holds none"]),
    ("a.parquet", parquet(ROWS)[:-100], ["a.parquet", "damaged"]),
    ("a.parquet", b"<html>", ["a.parquet", "damaged"]),
    ("a.arrow", arrow(ROWS, pa.ipc.new_stream)[:1500], ["a.arrow", "damaged"]),
    ("a.arrow", b"", ["a.arrow"]),
    ("a.parquet.gz", gzip.compress(parquet(ROWS)), ["a.parquet.gz", "decompress"]),
    ("a.jsonl", b"", ["a.jsonl has no rows"]),
    ("a.csv", b"text\n", ["a.csv has no rows"]),
    ("a.parquet", b"PAR1", ["a.parquet"]),
    ("a.xlsx", b"PK", ["a.xlsx", ".parquet"]),
]


@pytest.mark.parametrize("name,data,words", BAD_ROWS, ids=[f"{i}-{row[0]}" for i, row in enumerate(BAD_ROWS)])
def test_bad_rows_and_files_are_named(model, tmp_path, name, data, words):
    path = tmp_path / name
    path.write_bytes(data)
    done = preview(model, path)
    assert done.returncode == 65 and done.stdout == "", done
    for word in words:
        assert word in done.stderr, (word, done.stderr)


@pytest.mark.parametrize("seed", SEEDS)
def test_damaged_columnar_files_are_refused_or_read(model, tmp_path, seed):
    """Flipped bytes anywhere: an error or rows, never a crash."""
    rng = random.Random(seed)
    data = bytearray([parquet(ROWS), arrow(ROWS, pa.ipc.new_file), arrow(ROWS, pa.ipc.new_stream)][seed % 3])
    path = tmp_path / ("a.parquet" if seed % 3 == 0 else "a.arrow")
    for _ in range(25):
        mutated = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            mutated[rng.randrange(len(mutated))] ^= 1 << rng.randrange(8)
        path.write_bytes(mutated)
        done = preview(model, path, "--template", TEMPLATE)
        assert done.returncode in (0, 65), (seed, done.returncode, done.stderr[-500:])


def test_bad_rows_may_be_skipped(model, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "1"}\noops\n{"text": 2}\n{"text": "3"}\n')
    assert texts_of(model, path, "--skip-bad-rows", 2) == ["1", "3"]
    done = preview(model, path, "--skip_bad_rows", 2)
    assert "a.jsonl line 2" in done.stderr and "a.jsonl line 3" in done.stderr
    done = preview(model, path, "--skip-bad-rows", 1)
    assert done.returncode == 65 and "a.jsonl line 3" in done.stderr and "skip_bad_rows" in done.stderr


def test_shapes_by_flags(model, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("question,context,answer,text\nQ,C,A,T\n")
    columns = "instruction=question,input=context,output=answer"
    (alpaca,) = rows_of(model, path, "--columns", columns)
    assert "### Instruction: Q\n\n### Input: C\n\n### Response: A<|end|>" in alpaca["text"]
    assert alpaca["labels"] == alpaca["input_ids"]
    (learned,) = rows_of(model, path, "--columns", columns, "--train-on", "completions")
    assert learned["input_ids"] == alpaca["input_ids"] and learned["labels"][0] == -100
    assert texts_of(model, path, "--dataset-shape", "text") == ["T"]
    assert texts_of(model, path, "--columns", "prompt=question,completion=answer") == ["QA"]
    assert texts_of(model, path, "--template", r"{{Q}}: {question}\nA: {answer}") == ["{Q}: Q\nA: A"]
    for flags, words in [(["--template", "{nope}"], '"nope" is not there; there are "question", "context", "answer"'),
                         (["--columns", "text=nope"], '"nope" is missing'), (["--columns", "txt=text"], "txt"),
                         (["--dataset-shape", "chat"], "shape"), (["--train-on", "none"], "train_on"),
                         (["--template", "{a"], "template")]:
        done = preview(model, path, *flags)
        assert done.returncode == 65 and words in done.stderr, (flags, done.stderr)


def test_arrow_stays_out_of_the_programs_that_read_no_rows(model):
    from ftd_fixture import BIN
    for name, loads in [("ftd", False), ("ftctl", False), ("ft-worker", True)]:
        libraries = subprocess.run(["ldd", BIN / name], capture_output=True, text=True, check=True).stdout
        assert ("libarrow" in libraries) == loads, name
