"""huggingface_hub as a user runs it: in a process of its own, with the environment that a hub's fixture gives it."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

from hub_fixture import DEADLINE_S, Hub

# Evaluates each argument and prints what it gave. Waits between retries are recorded instead of waited.
CLIENT = """
import json, sys, time, types
import huggingface_hub as hf
import huggingface_hub.file_download, huggingface_hub.utils._http
waits = []
clock = types.SimpleNamespace(**{**vars(time), "sleep": waits.append})
hf.file_download.time = hf.utils._http.time = clock
for expression in sys.argv[1:]:
    waits.clear()
    out = {"value": None, "error": None, "waits": waits}
    try:
        out["value"] = eval(expression)
    except Exception as e:
        response = getattr(e, "response", None)
        out |= {"error": type(e).__name__, "message": str(e), "cause": type(e.__cause__).__name__,
                "status": getattr(response, "status_code", None)}
    print(json.dumps(out, default=str))
"""
WEIGHTS = bytes(range(256)) * 4000  # 1 MB
CONFIG = b'{"model_type": "llama"}\n'
TINY = {"config.json": CONFIG, "model.safetensors": WEIGHTS, "tokenizer/vocab.txt": b"a\nb\n"}
DOWNLOAD = "hf.hf_hub_download('ann/tiny', 'model.safetensors')"
SNAPSHOT = "hf.snapshot_download('ann/tiny')"


def start(hub: Hub, home, *expressions, token=None, **env) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", CLIENT, *expressions], env={**hub.env(home, token), **env},
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process) -> list[dict]:
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err
    return [json.loads(line) for line in out.splitlines()]


def ask(hub, home, *expressions, token=None, **env) -> list[dict]:
    return finish(start(hub, home, *expressions, token=token, **env))


def value(hub, home, expression, **settings):
    """What the one expression gave; an error is the test's."""
    out = ask(hub, home, expression, **settings)[0]
    assert out["error"] is None, out
    return out["value"]


def calls(hub) -> list[str]:
    """What was asked since the last call, without the query: "METHOD path status"."""
    return [f"{r['method']} {r['path'] if r['listener'] == 'hub' else '(cdn)'} {r['status']}"
            for r in hub.requests(clear=True)]


def in_cache(home, repo="models--ann--tiny") -> pathlib.Path:
    return home / "hub" / repo


def files_of(home) -> dict[str, bytes]:
    """The snapshot that main stands for, as a user of the cache reads it."""
    root = in_cache(home) / "snapshots" / (in_cache(home) / "refs/main").read_text()
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
