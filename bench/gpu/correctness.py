"""Steps that can fail: tests, and small models trained on the GPU, on the CPU, and across a kill."""
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import signal
import time

from machine import TIMED_OUT, Failed, Skipped

MODES, DTYPES = ("lora", "full", "qlora"), ("float32", "bfloat16", "float16")
# Relative distance from the CPU: of every step's loss, of every step's gradient norm.
BOUNDS = {"float32": (1e-5, 1e-4), "bfloat16": (3e-2, 5e-2), "float16": (3e-2, 5e-2)}
TINY = ["--seq_length", 512, "--batch_size", 8, "--learning_rate", 1e-4]


def environment(machine, step):
    """Which machine this is, and whether everything loads."""
    facts = {"date": time.strftime("%Y-%m-%d %H:%M %Z"), "torch": machine.torch["version"], "CPUs": os.cpu_count(), "models in": str(machine.work),
             "free there": f"{shutil.disk_usage(machine.work).free / 1e9:.0f} GB", "card": machine.torch["card"] or "no GPU"}
    if machine.gpu and shutil.which("nvidia-smi"):
        words = ["nvidia-smi", "--id=0", "--query-gpu=driver_version,memory.total,power.limit,clocks.max.sm", "--format=csv,noheader"]
        machine.run("nvidia-smi", words, 20)
        answer = (machine.out / "nvidia-smi.log").read_text().strip().split(", ")
        facts |= dict(zip(("driver", "memory", "power limit", "highest clock"), answer))
    rc = machine.run("version", [machine.program("ft-worker"), "--version"], 30)
    step.expect(rc == 0, f"ft-worker does not start; see {machine.out / 'version.err'}")
    if rc == 0:
        facts["ftd"] = (machine.out / "version.log").read_text().strip()
    step.note(facts["card"])
    step.expect(machine.gpu or not os.path.exists("/dev/nvidiactl"), "a GPU is there, but torch cannot use it")
    return facts


def run_gtest(machine, step, name, limit):
    """A GoogleTest program: on a GPU nothing may be skipped, and no operator may warn that it is not deterministic."""
    report = machine.out / f"{name}.json"
    rc = machine.run(name, [machine.program(name), f"--gtest_output=json:{report}"], limit)
    if rc == TIMED_OUT or not report.exists():
        raise Failed(f"{name}: exit status {rc}; see {name}.log and {name}.err")
    tests = [test for suite in json.loads(report.read_text())["testsuites"] for test in suite["testsuite"]]
    failed = [test["classname"] + "." + test["name"] for test in tests if "failures" in test]
    skipped = [test for test in tests if test.get("result") == "SKIPPED"]
    step.note(f"{len(tests)} tests, {len(failed)} failed, {len(skipped)} skipped")
    step.expect(rc == 0 and not failed, f"failed: {', '.join(failed[:6]) or f'exit status {rc}'}")
    warned = re.search(r".*deterministic.*", (machine.out / f"{name}.err").read_text(errors="replace"))
    step.expect(not warned, f"warned: {warned and warned[0].strip()[:200]}")
    if machine.gpu:
        step.expect(not skipped, "a GPU is there, but tests were skipped")
    else:
        step.note("no GPU")


def gpu_test(machine, step):
    """The engine's parts and kernels on the GPU against the CPU's."""
    run_gtest(machine, step, "gpu_test", 120)


def gpu_trainer_test(machine, step):
    """Whole training runs on the GPU against the CPU's, in C++. Without a GPU the CPU's side alone."""
    run_gtest(machine, step, "gpu_trainer_test", 90)
    if machine.gpu:
        return
    folder = machine.work / "cpu-report"
    if machine.run("gpu_trainer_report", [machine.program("gpu_trainer_test"), f"--report={folder}"], 90):
        raise Failed("the CPU's side failed; see gpu_trainer_report.err")
    cases = json.loads((folder / "report.json").read_text())["cases"]
    other = [name for name, case in cases.items() if case["sha256"] != case["resumed_sha256"]]
    step.note(f"the CPU's side: {len(cases)} runs")
    step.expect(not other, f"resumed runs have other bits: {', '.join(other)}")


def distance(rows, reference, key):
    return max(abs(a[key] - b[key]) / abs(b[key]) for a, b in zip(rows, reference, strict=True))


def training(machine, step):
    """`ft-worker train` on the GPU against the CPU, in every mode and dtype."""
    model, rows = machine.model("tiny"), machine.work / "alpaca.jsonl"
    cells = [(mode, dtype) for mode in MODES for dtype in DTYPES]

    def train(cell, cpu):
        mode, dtype = cell
        return machine.train_well(f"tiny-{mode}-{dtype}-{'cpu' if cpu else 'gpu'}", "--model_name", model, "--dataset", rows,
                                  "--mode", mode, "--dtype", dtype, *TINY, "--max_steps", 5, limit=60, cpu=cpu)

    workers = min(8, os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        on_cpu = {cell: pool.submit(train, cell, True) for cell in cells}
        on_gpu = {cell: train(cell, False) for cell in cells} if machine.gpu else {}
        on_cpu = {cell: future.result() for cell, future in on_cpu.items()}
    step.note(f"{len(cells)} runs each" if machine.gpu else f"no GPU; the CPU's side: {len(cells)} runs")
    for cell, run in on_gpu.items():
        loss, norm = (distance(run.rows, on_cpu[cell].rows, key) for key in ("loss", "grad_norm"))
        name, (most_loss, most_norm) = " ".join(cell), BOUNDS[cell[1]]
        step.figure(f"{name}: loss, distance from the CPU", loss)
        step.expect(loss <= most_loss and norm <= most_norm,
                    f"{name}: loss {loss:.2g} (≤ {most_loss}), gradient norm {norm:.2g} (≤ {most_norm}) from the CPU's")


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kill_at_checkpoint(machine, name, words):
    """Starts the training and kills it as soon as there is a checkpoint."""
    directory = machine.forget(name)
    process = machine.start(name, machine.train_words(directory, *words))
    try:
        while process.poll() is None and not list(directory.glob("checkpoint-*")):
            if machine.left() < 1:
                raise Skipped("no time left")
            time.sleep(0.005)
        machine.kill(process)
    finally:
        machine.kill(process)
    if process.returncode != -signal.SIGKILL:
        raise Failed(f"{name}: ended with {process.returncode} before it could be killed")
    return directory


def resume(machine, step):
    """A run that was killed with SIGKILL and resumed gives the unbroken run's bits."""
    model, rows = machine.model("tiny"), machine.work / "alpaca.jsonl"
    dtype, batch, steps = ("bfloat16", 8, 400) if machine.gpu else ("float32", 1, 60)
    for mode, file in (("lora", "adapter_model.safetensors"), ("full", "model.safetensors")):
        words = ["--model_name", model, "--dataset", rows, "--mode", mode, "--dtype", dtype, "--batch_size", batch,
                 "--seq_length", 512, "--max_steps", steps, "--save_steps", steps // 6]
        unbroken = machine.forget(f"{mode}-unbroken")
        if machine.run(f"{mode}-unbroken", machine.train_words(unbroken, *words), 40):
            raise Failed(f"see {mode}-unbroken.err")
        killed = kill_at_checkpoint(machine, f"{mode}-killed", words)
        if machine.run(f"{mode}-resumed", machine.train_words(killed, "--resume", "latest"), 40):
            raise Failed(f"see {mode}-resumed.err")
        step.expect(sha256(unbroken / file) == sha256(killed / file), f"{mode}: other bits than the unbroken run's")
        step.note(f"{mode} {dtype}")
