"""Who may include whom: the table of docs/architecture.md. Includes are written from the root, so a line tells all.

The point of it: ftd never loads torch, the engine knows nothing of jobs, and artifacts serves both.
"""
import re

import pytest
import tree

SYSTEM = re.compile(r"(sys|linux|netinet|arpa|net|asm)/")
THIRD_PARTY = {  # what an include's path begins with → the library
    "absl/": "Abseil", "nlohmann/": "JSON", "pcre2.h": "PCRE2", "utf8proc.h": "utf8proc", "openssl/": "OpenSSL",
    "arrow/": "Arrow", "parquet/": "Arrow", "curl/": "libcurl", "zlib.h": "zlib", "zstd.h": "zstd", "yaml-cpp/": "yaml-cpp",
    "google/protobuf/": "protobuf", "google/rpc/": "proto", "grpc/": "gRPC", "grpcpp/": "gRPC",
    "sqlite3.h": "SQLite", "prometheus/": "prometheus-cpp", "CLI/": "CLI11", "toml++/": "toml++", "toml.hpp": "toml++",
    "systemd/": "libsystemd", "ncurses": "ncurses", "curses.h": "ncurses", "term.h": "ncurses",
    "torch/": "torch", "ATen/": "torch", "c10/": "torch", "cuda": "CUDA",
    "tensorboard/event.pb.h": "messages", "ftd/v1/job.pb.h": "messages", "ftd/v1/worker.pb.h": "messages", "ftd/": "proto",
}
EVERYWHERE = {"JSON", "Abseil"}  # artifacts speaks both to all
ALLOWED = {
    "artifacts": {"artifacts", "PCRE2", "utf8proc", "OpenSSL", "Arrow", "libcurl", "zlib", "zstd", "yaml-cpp"},
    "server": {"server", "proto", "messages", "protobuf", "artifacts", "gRPC", "SQLite", "prometheus-cpp",
               "CLI11", "toml++", "libsystemd", "libcurl"},
    "client": {"client", "proto", "messages", "protobuf", "artifacts", "gRPC", "CLI11", "toml++", "ncurses"},
    "worker": {"worker", "worker/engine/train.h", "messages", "protobuf", "artifacts", "CLI11"},
    "worker/engine": {"worker/engine", "worker/engine/train.h", "artifacts", "torch", "CUDA"},
}


def layer_of(path):
    """The layer that a file of ours belongs to."""
    if path == "worker/engine/train.h":
        return path
    return "worker/engine" if path.startswith("worker/engine/") else path.split("/")[0]


def library_of(include):
    """What an include belongs to: a layer, a library, or None for the standard library and the system's headers."""
    layer = layer_of(include)
    if "/" in include and layer.split("/")[0] in ALLOWED:
        return layer
    for prefix, library in THIRD_PARTY.items():
        if include.startswith(prefix):
            return library
    if "/" not in include or SYSTEM.match(include):
        return None
    return f"unknown library of {include}"


def violations(path, source):
    layer = "worker/engine" if path.startswith("worker/engine/") else layer_of(path)
    for number, line in enumerate(source.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
        if match and (library := library_of(match[1])) and library not in ALLOWED[layer] | EVERYWHERE:
            yield f"{path}:{number}: {layer} may not include {match[1]} ({library})"


def test_every_include_is_allowed():
    sources = [name for name in tree.files(".cc", ".h", ".cu", ".cuh") if name.split("/")[0] in ALLOWED]
    assert len(sources) > 20
    assert [v for name in sources for v in violations(name, tree.text(name))] == []


@pytest.mark.parametrize("path,include", [
    ("server/runner.cc", "torch/torch.h"),
    ("server/runner.cc", "worker/engine/train.h"),
    ("client/verbs.cc", "sqlite3.h"),
    ("artifacts/dataset.cc", "grpcpp/grpcpp.h"),
    ("artifacts/dataset.cc", "server/job.h"),
    ("worker/train.cc", "ftd/v1/fine_tuning.grpc.pb.h"),
    ("worker/train.cc", "worker/engine/model.h"),
    ("worker/train.cc", "ATen/ATen.h"),
    ("worker/engine/model.cc", "ftd/v1/job.pb.h"),
    ("worker/engine/model.cc", "worker/attempt.h"),
    ("worker/engine/train.cc", "grpcpp/grpcpp.h"),
    ("server/main.cc", "boost/asio.hpp"),
])
def test_forbidden_include_is_seen(path, include):
    assert list(violations(path, f"#include <{include}>\n"))


def test_public_engine_header_is_free_of_torch():
    includes = re.findall(r'#include\s*[<"]([^>"]+)', tree.text("worker/engine/train.h"))
    assert includes and {library_of(i) for i in includes} <= {None, "artifacts"}
