"""Steps that measure: every piece of a step, then models of real sizes, then transformers + PEFT on the same."""
import json
import re

from correctness import distance, sha256
from machine import Failed, Skipped

LENGTH = 2048
LORA = ["--mode", "lora", "--dtype", "bfloat16", "--learning_rate", 1e-4]
QLORA = ["--mode", "qlora", "--dtype", "bfloat16", "--learning_rate", 1e-4]
FULL = ["--mode", "full", "--dtype", "bfloat16", "--learning_rate", 1e-5]
PLANNED = 8  # steps of the 8B LoRA runs; the learning rate falls to 0 over them
# As failure.cc advises on GPU_OUT_OF_MEMORY, and on nothing else.
OUT_OF_MEMORY = re.compile(r"^hint: lower --seq-length", re.MULTILINE)
LOSS_BOUND, NORM_BOUND = 1e-3, 2e-2  # relative, bfloat16 against transformers' bfloat16
LOSS_BOUND_FP32 = 1e-5
NF4_70B_BYTES = 46e9


def long_rows(machine, size):
    return ["--dataset", machine.work / "long.jsonl", "--seq_length", LENGTH, "--batch_size", size]


def alpaca_rows(machine, size):
    return ["--dataset", machine.work / "alpaca.jsonl", "--seq_length", LENGTH, "--batch_size", size]


def adapter(machine, name, limit=60):
    return ["--model_name", machine.model(name, limit), "--init_adapter", machine.work / f"{name}-adapter"]


def figures(step, label, run, memory=True):
    step.figure(f"{label}, speed", run.tokens_per_second, "tok/s")
    step.figure(f"{label}, MFU", run.mfu, "%")
    step.figure(f"{label}, step", run.step_seconds, "s")
    if memory:
        step.figure(f"{label}, memory", run.card_gb, "GB")


def ops(machine, step):
    """Every piece of a training step; on a CPU those of a tiny model."""
    machine.settle()
    if machine.run("ops_bench", [machine.program("ops_bench")], 60):
        raise Failed("see ops_bench.err")
    report = json.loads((machine.out / "ops_bench.log").read_text())
    pieces = report["pieces"]
    step.note(f"{len(pieces)} pieces on {report['device']}")
    if not machine.gpu:
        return step.note("no GPU: a tiny model's shapes")
    step.expect(report["own_kernels"], "none of the engine's own kernels runs on this card")
    for piece in pieces:
        name = f"{piece['name']}, {piece['rows']} rows" if piece["rows"] else piece["name"]
        step.figure(name, piece["rate"], piece["unit"])
    large = [piece for piece in pieces if piece["rows"] == 16384]
    products = [piece["rate"] for piece in large if piece["name"].startswith("product")]
    own = [piece["rate"] for piece in large if re.match(r"norm (forward|backward \+ residual$)|rope|swiglu|dropout", piece["name"])]
    step.figure("product, 16384 rows", min(products))
    step.figure("own kernel, 16384 rows", min(own))


def lora_8b(machine, step):
    """8B LoRA at 8 × 2048, twice: the same bits."""
    machine.need_gpu()
    machine.settle()
    words = [*adapter(machine, "8b"), *LORA, *long_rows(machine, 8), "--max_steps", PLANNED]
    first = machine.train_well("8b-lora-8", *words, limit=70)
    figures(step, "8B LoRA, 8 × 2048", first)
    machine.need_time(first.seconds)
    second = machine.train_well("8b-lora-again", *words, limit=70)
    file = "adapter_model.safetensors"
    step.expect(sha256(first.directory / file) == sha256(second.directory / file), "two runs have different bits")
    step.note("two runs")


def alpaca_8b(machine, step):
    """8B LoRA on rows as long as Alpaca's."""
    machine.need_gpu()
    for size, steps in ((8, 30), (32, 20)):
        run = machine.train_well(f"8b-alpaca-{size}", *adapter(machine, "8b"), *LORA, *alpaca_rows(machine, size), "--max_steps",
                                 steps, limit=40)
        figures(step, f"8B LoRA, {size} Alpaca rows", run, memory=False)


def run_peer(machine, name, model, rows, size, steps, *flags, planned=PLANNED, limit=100):
    """The lines of hf_peer.py as rows of metrics."""
    out = machine.out / f"{name}.json"
    rc = machine.python(name, "hf_peer.py", "--model", machine.work / model, "--adapter", machine.work / f"{model}-adapter",
                        "--rows", machine.work / rows, "--batch-size", size, "--seq-length", LENGTH, "--steps", steps,
                        "--planned-steps", planned, "--report", out, *flags, limit=limit)
    if rc == 3:
        raise Skipped("this Python has no transformers or no PEFT")
    if rc:
        raise Failed(f"{name}: exit status {rc}; see {name}.err")
    return json.loads(out.read_text())


def compare(step, label, ours, peer, loss_bound, norm_bound):
    """Loss and gradient norm of every step that the peer took; then the speeds."""
    rows = ours.rows[:len(peer["steps"])]
    for key, most in (("loss", loss_bound), ("grad_norm", norm_bound)):
        apart = distance(rows, peer["steps"], key)
        step.figure(f"{label}, {key}, distance from PEFT's", apart)
        step.expect(apart <= most, f"{label}: {key} {apart:.2g} from PEFT's (≤ {most})")
    step.figure(f"{label}, transformers + PEFT, speed", peer["tokens_per_second"], "tok/s")
    step.figure(f"{label}, over transformers + PEFT", ours.tokens_per_second / peer["tokens_per_second"], "×")


def peer(machine, step):
    """transformers + PEFT on the same model, adapter, rows and order. Without a GPU a tiny model in float32."""
    if not machine.gpu:
        ours = machine.train_well("tiny-for-peer", *adapter(machine, "tiny"), "--mode", "lora", "--dtype", "float32",
                                  "--learning_rate", 1e-4, *alpaca_rows(machine, 4), "--max_steps", PLANNED, limit=60)
        theirs = run_peer(machine, "tiny-peer", "tiny", "alpaca.jsonl", 4, 3, "--dtype", "float32")
        compare(step, "tiny LoRA", ours, theirs, LOSS_BOUND_FP32, 10 * LOSS_BOUND_FP32)
        return step.note("no GPU: a tiny model")
    for size, steps, flags in ((8, 5, ["--checkpointing"]), (2, 6, [])):
        machine.need_time(25)
        name = f"8b-lora-{size}"
        ours = machine.trained.get(name) or machine.train_well(name, *adapter(machine, "8b"), *LORA, *long_rows(machine, size),
                                                               "--max_steps", PLANNED, limit=60)
        theirs = run_peer(machine, f"8b-peer-{size}", "8b", "long.jsonl", size, steps, *flags)
        label = f"8B LoRA, {size} × 2048"
        compare(step, label, ours, theirs, LOSS_BOUND, NORM_BOUND)
        step.figure(f"{label}, ours, speed", ours.tokens_per_second, "tok/s")
        step.figure(f"{label}, transformers + PEFT, memory", theirs["peak_gb"], "GB")


def qlora_8b(machine, step):
    """8B QLoRA, quantised as it is loaded."""
    machine.need_gpu()
    run = machine.train_well("8b-qlora", *adapter(machine, "8b"), *QLORA, *long_rows(machine, 8), "--max_steps", 6, limit=70)
    figures(step, "8B QLoRA, 8 × 2048", run)
    step.figure("8B QLoRA, 8 × 2048, loading", run.other_seconds, "s")


def full_3b(machine, step):
    """3B full: Hugging Face's arithmetic, then float32 masters, which do not fit 80 GB unless layers are recomputed."""
    machine.need_gpu()
    for precision in ("hf_parity", "fp32_master"):
        name = f"3b-{precision}"
        run = machine.train_well(name, "--model_name", machine.model("3b"), *FULL, "--precision", precision,
                                 *long_rows(machine, 8), "--max_steps", 5, limit=70)
        record = json.loads((run.directory / "ftd_run.json").read_text())
        machine.forget(name)
        figures(step, f"3B full, {precision}", run)
        step.figure(f"3B full, {precision}, recomputed", record["recomputed_layers"], "layers")


def out_of_memory(machine, step):
    """With little of the card's memory a batch is computed in parts; with less than the weights take, the run ends with the
    product's reason; then the next run works.
    """
    machine.need_gpu()
    words = [*adapter(machine, "8b"), *LORA, *long_rows(machine, 8), "--max_steps", 2]
    parted = machine.train_well("8b-parted", *words, limit=50, most_bytes=28e9)
    parts = json.loads((parted.directory / "ftd_run.json").read_text())["micro_batch_parts"]
    step.expect(parts > 1, "28 GB sufficed for a whole batch")
    whole = machine.train_well("8b-after", *words, limit=40)
    apart = distance(parted.rows[:1], whole.rows[:1], "loss")
    step.expect(apart <= LOSS_BOUND, f"in parts, the loss is {apart:.2g} from the whole batch's (≤ {LOSS_BOUND})")
    run = machine.train("8b-too-large", *words, limit=40, most_bytes=10e9)
    step.expect(run.rc == 1 and OUT_OF_MEMORY.search(run.message), f"exit status {run.rc}, not GPU_OUT_OF_MEMORY: {run.message}")
    step.note(f"8 × 2048 in {parts} parts, whole, and without room")


def nf4_tiny(machine, step):
    """A model that bitsandbytes' format holds in NF4 trains: what the 70B step is made of, on any machine."""
    run = machine.train_well("tiny-nf4", *adapter(machine, "tiny-nf4"), "--mode", "qlora", "--dtype", "float32",
                             *alpaca_rows(machine, 4), "--max_steps", 3, limit=40)
    step.note(f"loss {run.rows[0]['loss']:.3f} to {run.rows[-1]['loss']:.3f}")


def qlora_70b(machine, step):
    """70B QLoRA, when there is time and room left."""
    machine.need_gpu()
    machine.need_time(150)
    for name in ("8b", "3b"):
        machine.forget_model(name)
    free = machine.free_bytes()
    if free < NF4_70B_BYTES:
        raise Skipped(f"{NF4_70B_BYTES / 1e9:.0f} GB needed in {machine.work}, {free / 1e9:.0f} GB free")
    machine.make_models("70b-nf4")
    run = machine.train_well("70b-qlora", *adapter(machine, "70b-nf4", 110), *QLORA, "--gradient_checkpointing",
                             *long_rows(machine, 8), "--max_steps", 3, limit=140)
    figures(step, "70B QLoRA, 8 × 2048", run)
