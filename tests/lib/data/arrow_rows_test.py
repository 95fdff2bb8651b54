"""Rows of Parquet and Arrow files, nested columns above all, as pyarrow, `datasets` and TRL's remove_none_values have them."""
import json
import math
import random
import struct

import datasets
import numpy
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from row_cells import cells_of, print_rows, rows_of
from trl.trainer.utils import remove_none_values

KEEP = ["messages", "tools"]
TEXTS = ["", "a", "é", "漢字", "🙂", "\0", "\x1f", "\x7f", "\u2028", '"', "\\", "\n\t", "{[,:]}"]
FLOATS = [0.0, -0.0, 1.0, 0.1, 100000.0, 1e16, 1e22, 1e23, 123456789.0, 5e-324, 1.7976931348623157e308, 65504.0, 1 / 3, -2.5]
INTEGERS = {f"{sign}int{bits}": (0 if sign else -2**(bits - 1), 2**(bits if sign else bits - 1) - 1)
            for sign in ("", "u") for bits in (8, 16, 32, 64)}


def spelled(value):
    """JSON text that shows an integer from a float, and the order of members."""
    return json.dumps(value, allow_nan=False)


def cell(value, keep):
    """What a value of Python's is as (kind, text); nested text as `spelled`."""
    if isinstance(value, (list, dict)):
        try:
            return ("nested", spelled(remove_none_values(value)) if keep else "")
        except ValueError:  # NaN
            return ("other", "") if keep else ("nested", "")
    if value is None:
        return ("null", "")
    if isinstance(value, str):
        return ("text", value)
    return ("integer", str(value)) if type(value) is int else ("other", "")


def found_cells(path):
    """As `cell` has them; each nested text is compact."""
    rows = cells_of(path, *KEEP)
    for row in rows:
        for i, (kind, text) in enumerate(row):
            if kind == "nested" and text:
                row[i] = (kind, spelled(json.loads(text)))
                assert len(text) <= len(json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))), text
    return rows


def expected_cells(rows):
    return [[cell(value, name in KEEP) for name, value in row.items()] for row in rows]


def write_arrow(path, table, kind, batch_rows=7):
    with kind(str(path), table.schema) as writer:
        for batch in table.to_batches(max_chunksize=batch_rows):
            writer.write_batch(batch)


def files_of(tmp_path, table):
    """The table as a file of each format."""
    paths = [tmp_path / "a.parquet", tmp_path / "file.arrow", tmp_path / "stream.arrow"]
    try:
        pq.write_table(table, paths[0], row_group_size=11)
    except pa.ArrowNotImplementedError:  # string_view within a list
        del paths[0]
    write_arrow(tmp_path / "file.arrow", table, pa.ipc.new_file)
    write_arrow(tmp_path / "stream.arrow", table, pa.ipc.new_stream)
    return paths


class Types:
    """Random Arrow types, and values of them."""

    def __init__(self, rng):
        self.rng = rng

    def type(self, depth):
        kind = self.rng.randrange(12 if depth else 5)
        if kind < 2:
            return self.rng.choice([pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())])
        if kind == 2:
            return getattr(pa, self.rng.choice(list(INTEGERS)))()
        if kind == 3:
            return self.rng.choice([pa.float16(), pa.float32(), pa.float64()])
        if kind == 4:
            return self.rng.choice([pa.bool_(), pa.null()])
        if kind < 8:
            make = self.rng.choice([pa.list_, pa.large_list, lambda inner: pa.list_(inner, self.rng.randrange(1, 4))])
            return make(self.type(depth - 1))
        if kind == 8:
            return pa.map_(self.rng.choice([pa.string(), pa.large_string()]), self.type(depth - 1))
        names = self.rng.sample(["role", "content", "é", "a b", '"', "", "0"], self.rng.randrange(1, 5))
        return pa.struct([(name, self.type(depth - 1)) for name in names])

    def value(self, kind, nulls=0.2):
        if pa.types.is_null(kind) or self.rng.random() < nulls:
            return None
        if pa.types.is_map(kind):
            return {key: self.value(kind.item_type) for key in self.rng.sample(TEXTS, self.rng.randrange(4))}
        if pa.types.is_fixed_size_list(kind):
            return [self.value(kind.value_type) for _ in range(kind.list_size)]
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            return [self.value(kind.value_type) for _ in range(self.rng.randrange(4))]
        if pa.types.is_struct(kind):
            return {kind.field(i).name: self.value(kind.field(i).type) for i in range(kind.num_fields)}
        if pa.types.is_integer(kind):
            low, high = INTEGERS[str(kind)]
            return self.rng.choice([low, high, 0, self.rng.randint(low, high)])
        if pa.types.is_floating(kind):
            value = self.rng.choice(FLOATS)
            value = math.inf if self.rng.random() < 0.02 else value
            with numpy.errstate(over="ignore"):
                return numpy.float16(value) if pa.types.is_float16(kind) else value
        return self.rng.random() < 0.5 if pa.types.is_boolean(kind) else "".join(self.rng.choices(TEXTS, k=self.rng.randrange(4)))


@pytest.mark.parametrize("seed", range(25))
def test_random_tables(tmp_path, seed):
    rng = random.Random(seed)
    types = Types(rng)
    columns = {}
    for name in ["messages", "x", "tools"]:
        kind = types.type(4)
        while name == "messages" and not pa.types.is_nested(kind):
            kind = types.type(4)
        columns[name] = pa.array([types.value(kind) for _ in range(60)], kind)
    table = pa.table(columns)
    expected = expected_cells(table.to_pylist(maps_as_pydicts="strict"))
    for path in files_of(tmp_path, table):
        for number, (found, wanted) in enumerate(zip(found_cells(path), expected, strict=True), 1):
            assert found == wanted, (seed, path.name, number, str(table.schema))


def test_slices_of_arrays(tmp_path):
    """Children keep their own offsets."""
    kind = pa.struct([("a", pa.list_(pa.struct([("b", pa.string()), ("c", pa.list_(pa.int8(), 2))]))), ("m", pa.map_(pa.string(), pa.bool_()))])
    rows = [{"a": [{"b": f"{i}{k}", "c": [i, k]} for k in range(i % 4)], "m": {f"k{i}": True, "n": None}} for i in range(40)]
    table = pa.table({"messages": pa.array(rows, kind)}).slice(13, 21)
    expected = expected_cells({"messages": row} for row in rows[13:34])
    for path in files_of(tmp_path, table):
        assert found_cells(path) == expected, path


def test_dictionaries_of_nulls_and_of_lists(tmp_path):
    strings = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 0], pa.int8()), pa.array(["é", None]))
    lists = pa.DictionaryArray.from_arrays(pa.array([1, 0, None, 1], pa.int8()), pa.array([[1], [2, None]]))
    table = pa.table({
        "messages": pa.StructArray.from_arrays([strings, lists], ["s", "l"]), "tools": lists, "x": strings,
        "y": pa.ListArray.from_arrays([0, 1, 2, 3, 4], strings)})
    expected = [[{"s": "é", "l": [2, None]}, [2, None], "é", ["é"]], [{"l": [1]}, [1], None, [None]], [{}, None, None, [None]],
                [{"s": "é", "l": [2, None]}, [2, None], "é", ["é"]]]
    path = tmp_path / "a.arrow"
    write_arrow(path, table, pa.ipc.new_file)
    assert found_cells(path) == [[cell(value, keep) for value, keep in zip(row, [True, True, False, False], strict=True)] for row in expected]


def test_members_of_one_name_are_kept(tmp_path):
    keys, values = pa.array(["a", "b", "a"]), pa.array([1, None, 2], pa.int32())
    twice = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], fields=[pa.field("a", pa.int64())] * 2)
    path = tmp_path / "a.arrow"
    write_arrow(path, pa.table({"messages": pa.MapArray.from_arrays([0, 3], keys, values), "tools": twice}), pa.ipc.new_file)
    assert cells_of(path, *KEEP) == [[("nested", '{"a":1,"a":2}'), ("nested", '{"a":1,"a":2}')]]


@pytest.mark.parametrize("kind,value", [
    (pa.binary(), b"a"), (pa.timestamp("us"), 1), (pa.date32(), 1), (pa.time32("s"), 1), (pa.duration("s"), 1), (pa.decimal128(5, 2), 1),
    (pa.binary(2), b"ab"), (pa.float64(), math.nan), (pa.float32(), -math.inf), (pa.float16(), numpy.float16("nan")),
    (pa.map_(pa.int32(), pa.string()), {1: "a"}), (pa.list_view(pa.int8()), [1])], ids=str)
def test_values_that_json_does_not_know(tmp_path, kind, value):
    """They spoil the cells that hold one, not those where it is null."""
    table = pa.table({"messages": pa.array([[{"a": value, "b": 1}], [{"a": None, "b": 1}]], pa.list_(pa.struct([("a", kind), ("b", pa.int8())]))),
                      "tools": pa.array([value, None], kind), "x": pa.array([[value], [None]], pa.list_(kind))})
    path = tmp_path / "a.arrow"
    write_arrow(path, table, pa.ipc.new_stream)
    assert cells_of(path, *KEEP) == [[("other", ""), ("other", ""), ("nested", "")], [("nested", '[{"b":1}]'), ("null", ""), ("nested", "")]]


CONVERSATIONS = [
    {"messages": [{"role": "user", "content": "hi \u2028é"},
                  {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"a": 1, "n": None}}}]}],
     "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}}],
     "x": {"any": 1}},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]},
                  {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "g", "arguments": {"b": "x", "c": [1.5, True]}}}]}],
     "tools": [{"type": "function", "function": {"name": "g", "parameters": {"type": "object", "properties": {"b": {"type": "string", "enum": []}}}}}],
     "x": "text"},
    {"messages": [], "tools": None, "x": 3},
    {"messages": None, "tools": [], "x": None},
    {"messages": [{"role": "user", "content": ""}], "tools": None, "x": 1.5},
]


def write_all(tmp_path, dataset):
    """The files that `datasets` writes, and its table as others would write it."""
    dataset.to_parquet(tmp_path / "a.parquet")
    dataset.save_to_disk(tmp_path / "disk")
    pq.write_table(dataset.data.table, tmp_path / "plain.parquet", store_schema=False)
    return [tmp_path / "a.parquet", tmp_path / "plain.parquet", *(tmp_path / "disk").glob("*.arrow")]


@pytest.mark.parametrize("way", ["list", "file"])
def test_mixed_types_as_datasets_stores_them(tmp_path, way):
    """`datasets` makes JSON text of what differs from row to row, wherever it stands. In it, nulls have been written on purpose."""
    if way == "list":
        dataset = datasets.Dataset.from_list(CONVERSATIONS, on_mixed_types="use_json")
    else:
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in CONVERSATIONS))
        dataset = datasets.load_dataset("json", data_files=str(tmp_path / "rows.jsonl"), split="train", cache_dir=str(tmp_path / "cache"))
    assert "Json" in str(dataset.features["messages"]) and "Json" in str(dataset.features["tools"]) and "Json" in str(dataset.features["x"])
    assert list(dataset) == CONVERSATIONS
    paths = write_all(tmp_path, dataset)
    assert len(paths) == 3
    for path in paths:
        rows = cells_of(path, *KEEP)
        for row, (messages, tools, x) in zip(CONVERSATIONS, rows, strict=True):
            for name, (kind, text) in [("messages", messages), ("tools", tools)]:
                assert (json.loads(text) if kind == "nested" else None) == row[name], (path, row)
        assert [x for _, _, x in rows] == [("nested", ""), ("text", "text"), ("integer", "3"), ("null", ""), ("other", "")]


def test_columns_of_json(tmp_path):
    """A whole column of mixed types, whose cells are values of every kind."""
    values = [{"a": [1, 2.5, None]}, [1, {"b": "é"}], "text", "", 7, None, True, 1.5]
    features = datasets.Features({"messages": datasets.Json(), "x": datasets.Json(), "tools": datasets.List(datasets.Json())})
    rows = [{"messages": value, "x": value, "tools": [value, value]} for value in values]
    dataset = datasets.Dataset.from_list(rows, features=features)
    assert list(dataset) == rows
    for path in write_all(tmp_path, dataset):
        for value, (messages, x, tools) in zip(values, cells_of(path, *KEEP), strict=True):
            assert x == cell(value, keep=False), value
            kind, text = messages
            assert kind == cell(value, keep=True)[0], value
            assert (json.loads(text) if kind == "nested" else text) == (value if kind == "nested" else cell(value, keep=True)[1])
            assert tools[0] == "nested" and json.loads(tools[1]) == [value, value]


def test_structs_as_datasets_stores_them(tmp_path):
    """Where the types agree `datasets` makes structs, in which every member is there, null where the row has none."""
    rows = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "tool_calls": [{"name": "f", "arguments": {"x": 1}}]}]},
            {"messages": [{"role": "user", "content": "c", "name": "n"}]}]
    dataset = datasets.Dataset.from_list(rows)
    assert dataset[0]["messages"][0]["tool_calls"] is None
    for path in write_all(tmp_path, dataset):
        assert [json.loads(text) for ((_, text),) in cells_of(path, *KEEP)] == [row["messages"] for row in rows]
        assert found_cells(path) == expected_cells(dataset), path


def test_texts_are_utf8(tmp_path):
    """Arrow validates strings, and a file with bad ones is damaged; what it does not look at is the row's problem."""
    table = pa.table({"messages": pa.array([[{"zzqq": "text zzpp"}]]), "x": pa.array([[{"zzqq": "a"}]])})
    path = tmp_path / "a.arrow"
    write_arrow(path, table, pa.ipc.new_stream)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"zzqq", b"zz\xff\xfe"))
    assert [row["problem"] for row in rows_of(path, *KEEP)] == ['"messages" is not UTF-8']
    assert [row["problem"] for row in rows_of(path)] == [None]
    path.write_bytes(data.replace(b"zzpp", b"zz\xff\xfe"))
    done = print_rows(path, *KEEP)
    assert done.returncode == 1 and "UTF8" in done.stderr and "damaged" in done.stderr, done


def test_a_small_file_cannot_stand_for_a_text_without_end(tmp_path):
    """Elements of a dictionary, of no size, and views of the same bytes."""
    count = 1 << 21
    text = "x" * 10_000
    dictionary = pa.DictionaryArray.from_arrays(pa.array(numpy.zeros(count, numpy.int8)), pa.array([text]))
    views = pa.Array.from_buffers(pa.string_view(), 20_000, [None, pa.py_buffer(struct.pack("<i4sii", 10_000, b"xxxx", 0, 0) * 20_000),
                                                             pa.py_buffer(text.encode())])
    for values in [dictionary, views, pa.nulls(1 << 24)]:
        table = pa.table({"messages": pa.LargeListArray.from_arrays([0, len(values)], values)})
        path = tmp_path / "a.arrow"
        write_arrow(path, table, pa.ipc.new_stream)
        assert path.stat().st_size < 4 << 20
        assert rows_of(path, *KEEP)[0]["problem"] == '"messages" is longer than 64 MiB as JSON; one row may not be that long'
        assert cells_of(path) == [[("nested", "")]]


@pytest.mark.parametrize("seed", range(6))
def test_damaged_files_are_refused_or_read(tmp_path, seed):
    """Flipped bytes anywhere: an error or rows, never a crash."""
    rng = random.Random(seed)
    dataset = datasets.Dataset.from_list(CONVERSATIONS, on_mixed_types="use_json")
    types = Types(rng)
    kind = pa.list_(types.type(4))
    table = dataset.data.table.append_column("messages2", pa.array([types.value(kind) for _ in CONVERSATIONS], kind))
    files = files_of(tmp_path, table)
    source = files[seed % len(files)]
    data = source.read_bytes()
    for _ in range(60):
        mutated = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            mutated[rng.randrange(len(mutated))] ^= 1 << rng.randrange(8)
        source.write_bytes(mutated)
        done = print_rows(source, *KEEP, "messages2")
        assert done.returncode in (0, 1), (seed, done.returncode, done.stderr[-500:])
        for line in done.stdout.split("\n")[:-1]:
            for _, nested, text in json.loads(line)["cells"]:
                assert nested != "nested" or not text or json.loads(text) is not None
