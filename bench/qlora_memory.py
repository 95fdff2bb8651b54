"""Peak memory of loading a model in NF4, by ftd and by transformers + bitsandbytes, against what it should take.

    ./dev python bench/qlora_memory.py [--model DIR …]

Without --model: SmolLM2-135M, and a random bfloat16 model of Llama-3.2-1B's shape, which is made in a temporary directory
(2.5 GB). Each program loads the model in float32 maths and answers one token. `bound` is what must stay in memory (the
projections in NF4, all else in float32), two layers in float32, and the process itself: its peak with a model of 1 MB.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from random_llama import LLAMA_1B, make_model, shapes

ROOT = pathlib.Path(__file__).resolve().parents[1]
WORKER = pathlib.Path(os.environ.get("FTD_BUILD_DIR", ROOT / "build")) / "bin" / "ft-worker"

NF4_BYTES = 1 / 2 + 1 / 64 + 4 / 64 / 256
PEER = """
import sys, torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_use_double_quant=True, bnb_4bit_quant_type="nf4")
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32, quantization_config=config).train()
with torch.no_grad():
    model(input_ids=torch.tensor([[5]]))
"""


def numel(shape):
    return shape[0] * (shape[1] if len(shape) > 1 else 1)


def expected_bytes(config):
    """(what stays, two layers) of a model whose maths is float32."""
    projections = sum(numel(s) for name, s in shapes(config) if "_proj" in name)
    everything = sum(numel(s) for _, s in shapes(config))
    layers = config["num_hidden_layers"]
    return projections * NF4_BYTES + (everything - projections) * 4, 2 * projections / layers * 4


def peak_rss(command):
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0, f"{command} failed with {status}"
    return usage.ru_maxrss * 1024


def peaks(model_dir, scratch):
    ids, out = scratch / "ids.json", scratch / "logits.safetensors"
    ids.write_text("[5]")
    ours = peak_rss([WORKER, "logits", "--nf4", "--model", model_dir, "--input", ids, "--output", out])
    out.unlink()
    return ours, peak_rss([sys.executable, "-c", PEER, model_dir])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, action="append", default=[])
    args = parser.parse_args()
    smollm = pathlib.Path(subprocess.run([sys.executable, ROOT / "examples" / "smollm2.py"], check=True, text=True,
                                         stdout=subprocess.PIPE).stdout.strip())
    with tempfile.TemporaryDirectory(prefix="ftd-qlora-memory-") as tmp:
        scratch = pathlib.Path(tmp)
        small = dict(LLAMA_1B, vocab_size=49152, hidden_size=4, intermediate_size=4, num_hidden_layers=1,
                     num_attention_heads=1, num_key_value_heads=1, head_dim=4)
        base = peaks(make_model(scratch / "small", smollm, small), scratch)
        models = args.model or [smollm, make_model(scratch / "random-1b", smollm, LLAMA_1B)]
        print("MB. The processes by themselves: ftd {:.0f}, transformers {:.0f}.\n".format(*(b / 1e6 for b in base)))
        print("| model | stays in memory | bound | ftd, peak | transformers + bitsandbytes, peak |\n| --- | --- | --- | --- | --- |")
        for model in models:
            stays, layers = expected_bytes(json.loads((model / "config.json").read_text()))
            ours, theirs = peaks(model, scratch)
            row = [f"{value / 1e6:.0f}" for value in (stays, stays + layers + base[0], ours, theirs)]
            print("| " + " | ".join([model.name, *row]) + " |", flush=True)
            if ours > stays + layers + base[0]:
                sys.exit(f"{model}: ftd's peak is above the bound")


if __name__ == "__main__":
    main()
