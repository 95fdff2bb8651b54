"""Who may include whom: the table of docs/architecture.md. Includes are written from the root, so a line tells all.

The reasons: ftd never loads torch, the engine knows nothing of jobs, lib serves both, and within each program a folder is a
floor that includes only the floors below it.
"""
import re

import pytest
import tree

SYSTEM = re.compile(r"(sys|linux|netinet|arpa|net|asm|ext)/")
THIRD_PARTY = {  # what an include's path begins with → the library
    "absl/": "Abseil", "nlohmann/": "JSON", "pcre2.h": "PCRE2", "utf8proc.h": "utf8proc", "openssl/": "OpenSSL",
    "arrow/": "Arrow", "parquet/": "Arrow", "curl/": "libcurl", "zlib.h": "zlib", "zstd.h": "zstd", "yaml-cpp/": "yaml-cpp",
    "google/protobuf/": "protobuf", "google/rpc/": "proto", "grpc/": "gRPC", "grpcpp/": "gRPC",
    "sqlite3.h": "SQLite", "prometheus/": "prometheus-cpp", "CivetServer.h": "CivetWeb", "CLI/": "CLI11", "toml++/": "toml++", "toml.hpp": "toml++",
    "systemd/": "libsystemd",
    "torch/": "torch", "ATen/": "torch", "c10/": "torch", "cuda": "CUDA",
    "tensorboard/event.pb.h": "messages", "ftd/v1/job.pb.h": "messages", "ftd/v1/worker.pb.h": "messages", "ftd/": "proto",
}
EVERYWHERE = {"JSON", "Abseil"}
LIB = ["lib/base", "lib/cli", "lib/jinja", "lib/chat", "lib/runlog", "lib/model", "lib/tokenizer", "lib/generation", "lib/data", "lib/spec",
       "lib/plan", "lib/gguf", "lib/hub", "lib/hub/transport"]
# Headers that include no torch.
ENGINE_FACE = ["worker/engine/train.h", "worker/engine/generate.h", "worker/engine/logits.h", "worker/engine/merge.h",
               "worker/engine/error.h"]
# Each folder and what it may include beside itself. A folder that is not named belongs to the one that holds it.
ALLOWED = {
    "lib/base": {"OpenSSL", "utf8proc"},
    "lib/cli": {"lib/base", "CLI11"},
    "lib/jinja": {"lib/base", "utf8proc"},
    "lib/chat": {"lib/base", "lib/jinja"},
    "lib/runlog": {"lib/base", "messages", "protobuf", "zlib"},
    "lib/model": {"lib/base"},
    "lib/tokenizer": {"lib/base", "lib/tokenizer/regex", "utf8proc"},
    "lib/tokenizer/regex": {"lib/base", "PCRE2"},
    "lib/generation": {"lib/base", "lib/tokenizer"},
    "lib/data": {"lib/base", "lib/chat", "lib/model", "lib/tokenizer", "lib/data/rows"},
    "lib/data/rows": {"lib/base", "zlib", "zstd", "Arrow"},
    "lib/spec": {"lib/base", "lib/chat", "lib/model", "lib/tokenizer", "lib/data"},
    "lib/plan": {"lib/base", "lib/model", "lib/data", "lib/spec"},
    "lib/gguf": {"lib/base", "lib/model", "lib/tokenizer", "lib/chat", "lib/spec"},
    "lib/hub": {"lib/base", "lib/model", "lib/data/rows", "lib/data", "lib/spec", "lib/hub/transport", "yaml-cpp"},
    "lib/hub/transport": {"lib/base", "lib/spec", "libcurl", "OpenSSL"},
    "server/host": {*LIB, "gRPC", "toml++", "libsystemd"},
    "server/net": {*LIB, "server/host", "gRPC"},
    "server/jobs": {*LIB, "server/host", "proto", "messages", "protobuf", "SQLite"},
    "server/attempts": {*LIB, "server/host", "server/jobs", "messages", "protobuf"},
    "server/lookahead": {*LIB, "server/host", "server/jobs", "server/attempts", "messages"},
    "server/requests": {*LIB, "server/host", "server/jobs", "server/attempts", "server/lookahead", "proto", "messages"},
    "server/notify": {*LIB, "server/host", "server/jobs", "server/attempts", "server/requests", "messages"},
    "server/streams": {*LIB, "server/host", "server/jobs", "server/attempts", "server/requests", "proto", "messages",
                       "protobuf", "gRPC"},
    "server/generation": {*LIB, "server/host", "server/jobs", "server/attempts", "server/requests", "proto", "messages"},
    "server/api": {*LIB, "server/host", "server/net", "server/jobs", "server/attempts", "server/requests", "server/streams",
                   "server/generation", "proto", "messages", "protobuf", "gRPC"},
    "server/metrics": {*LIB, "server/host", "server/jobs", "server/attempts", "server/streams", "gRPC", "prometheus-cpp", "CivetWeb"},
    "server": {*LIB, "server/host", "server/net", "server/jobs", "server/attempts", "server/lookahead", "server/requests", "server/notify",
               "server/streams", "server/generation", "server/api", "server/metrics", "gRPC", "CLI11"},
    "client/text": {*LIB, "messages", "protobuf"},
    "client/base": {*LIB, "client/text", "messages"},
    "client/rpc": {*LIB, "client/text", "client/base", "proto", "messages", "gRPC"},
    "client/watch": {*LIB, "client/text", "client/base", "client/rpc", "proto"},
    "client/command": {*LIB, "client/text", "client/base", "client/rpc", "proto", "messages", "protobuf", "CLI11", "yaml-cpp"},
    "client/verbs": {*LIB, "client/text", "client/base", "client/rpc", "client/watch", "client/command", "gRPC"},
    "client": {*LIB, "client/text", "client/base", "client/command"},
    "worker/records": {*LIB, *ENGINE_FACE, "messages"},
    "worker/run": {*LIB, "lib/data/rows", *ENGINE_FACE, "worker/records", "messages", "protobuf"},
    "worker/commands": {*LIB, *ENGINE_FACE, "worker/records", "worker/run", "messages", "protobuf", "CLI11"},
    "worker": {*LIB, "worker/records", "worker/commands", "CLI11"},
    "worker/engine/device": {*LIB, *ENGINE_FACE, "torch", "CUDA"},
    "worker/engine/tensors": {*LIB, *ENGINE_FACE, "worker/engine/device", "torch"},
    "worker/engine/ops": {*LIB, *ENGINE_FACE, "worker/engine/device", "worker/engine/tensors", "torch", "CUDA"},
    "worker/engine/model": {*LIB, *ENGINE_FACE, "worker/engine/device", "worker/engine/tensors", "worker/engine/ops", "torch"},
    "worker/engine/objectives": {*LIB, *ENGINE_FACE, "worker/engine/tensors", "worker/engine/ops", "worker/engine/model", "torch"},
    "worker/engine/training": {*LIB, *ENGINE_FACE, "worker/engine/device", "worker/engine/tensors", "worker/engine/ops",
                               "worker/engine/model", "worker/engine/objectives", "torch"},
    "worker/engine": {*LIB, *ENGINE_FACE, "worker/engine/device", "worker/engine/tensors", "worker/engine/ops",
                      "worker/engine/model", "worker/engine/objectives", "worker/engine/training", "torch"},
}


def layer_of(path):
    """The layer that a file of ours belongs to: the longest folder of ALLOWED that holds it; None for no file of ours."""
    if path in ENGINE_FACE:
        return path
    folders = [folder for folder in ALLOWED if path.startswith(folder + "/")]
    return max(folders, key=len, default=None)


def library_of(include):
    """What an include belongs to: a layer, a library, or None for the standard library and the system's headers."""
    if layer := layer_of(include):
        return layer
    for prefix, library in THIRD_PARTY.items():
        if include.startswith(prefix):
            return library
    if "/" not in include or SYSTEM.match(include):
        return None
    return f"unknown library of {include}"


def violations(path, source):
    layer = "worker/engine" if path in ENGINE_FACE else layer_of(path)
    for number, line in enumerate(source.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
        if match and (library := library_of(match[1])) and library not in ALLOWED[layer] | {layer} | EVERYWHERE:
            yield f"{path}:{number}: {layer} may not include {match[1]} ({library})"


def test_every_include_is_allowed():
    sources = [name for name in tree.files(".cc", ".h", ".cu", ".cuh") if layer_of(name)]
    assert len(sources) > 20
    assert {name.split("/")[0] for name in sources} == {"lib", "server", "client", "worker"}
    assert [v for name in sources for v in violations(name, tree.text(name))] == []


@pytest.mark.parametrize("path,include", [
    ("server/attempts/runner.cc", "torch/torch.h"),
    ("server/attempts/runner.cc", "worker/engine/train.h"),
    ("server/jobs/job_store.cc", "server/attempts/runner.h"),
    ("server/requests/submission.cc", "grpcpp/grpcpp.h"),
    ("server/attempts/runner.cc", "sqlite3.h"),
    ("client/verbs/ls.cc", "sqlite3.h"),
    ("client/text/table.cc", "client/rpc/connection.h"),
    ("lib/data/tokenize.cc", "grpcpp/grpcpp.h"),
    ("lib/data/tokenize.cc", "server/jobs/job.h"),
    ("lib/base/file.cc", "lib/model/safetensors.h"),
    ("lib/data/rows/row.cc", "lib/data/splits.h"),
    ("lib/model/model_config.cc", "lib/spec/train_spec.h"),
    ("lib/spec/judge.cc", "lib/hub/fetch.h"),
    ("lib/spec/judge.cc", "lib/gguf/convert.h"),
    ("worker/run/training_run.cc", "ftd/v1/fine_tuning.grpc.pb.h"),
    ("worker/run/training_run.cc", "worker/engine/model/model.h"),
    ("worker/run/training_run.cc", "ATen/ATen.h"),
    ("worker/engine/model/model.cc", "ftd/v1/job.pb.h"),
    ("worker/engine/model/model.cc", "worker/run/failure.h"),
    ("worker/records/run_record.cc", "worker/run/result.h"),
    ("worker/engine/train.cc", "grpcpp/grpcpp.h"),
    ("server/main.cc", "boost/asio.hpp"),
])
def test_forbidden_include_is_seen(path, include):
    assert list(violations(path, f"#include <{include}>\n"))


@pytest.mark.parametrize("header", ENGINE_FACE)
def test_the_face_of_the_engine_is_free_of_torch(header):
    includes = re.findall(r'#include\s*[<"]([^>"]+)', tree.text(header))
    assert includes and {library_of(i) for i in includes} <= {None, *LIB, *ENGINE_FACE}
