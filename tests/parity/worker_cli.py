"""ft-worker's foreground sub-commands, called as a user would."""
import json
import subprocess
import tempfile

from ftd_fixture import BIN
from safetensors.torch import load_file


def run_worker(*args):
    done = subprocess.run([BIN / "ft-worker", *map(str, args)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"ft-worker {args} exited {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout


def preview(model_dir, dataset, count):
    out = run_worker("preview", "--model", model_dir, "--dataset", dataset, "-n", count, "-o", "json")
    return json.loads(out)


def worker_logits(model_dir, ids, adapter=None, nf4=False):
    """Logits [T, V] of a list of token ids, or a list of such for a list of lists."""
    with tempfile.TemporaryDirectory() as tmp:
        with open(f"{tmp}/ids.json", "w") as file:
            json.dump(ids, file)
        extra = (["--adapter", adapter] if adapter else []) + (["--nf4"] if nf4 else [])
        out = f"{tmp}/logits.safetensors"
        run_worker("logits", "--model", model_dir, *extra, "--input", f"{tmp}/ids.json", "--output", out)
        tensors = load_file(out)
    if isinstance(ids[0], int):
        assert tensors.keys() == {"logits"}
        return tensors["logits"]
    return [tensors[f"logits.{i}"] for i in range(len(ids))]
