"""ft-worker preview, called as a user would: rows exactly as training will see them."""
import json
import subprocess

from ftd_fixture import BIN


def preview(model, dataset, *flags):
    count = [] if "-n" in flags else ["-n", 1_000_000]
    command = [BIN / "ft-worker", "preview", "--model", model, "--dataset", dataset, *count, *flags]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120)


def rows_of(model, dataset, *flags):
    done = preview(model, dataset, *flags)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def texts_of(model, dataset, *flags, eos="<|end|>"):
    """The rows' texts, without the EOS that training puts behind them."""
    return [row["text"].removesuffix(eos) for row in rows_of(model, dataset, *flags)]
