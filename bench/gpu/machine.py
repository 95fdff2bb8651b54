"""The machine as the kit's steps see it: its GPU, the time that is left, and processes under a limit."""
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

TIMED_OUT = 124
ROOMY = 40e9  # bytes that /dev/shm must have for the models to be made there
LARGE = 30e9  # that the large models and a result take


class Skipped(Exception):
    """A step cannot be done here."""


class Failed(Exception):
    """A step cannot continue."""


@dataclasses.dataclass
class Training:
    """One run of `ft-worker train`."""
    rc: int
    seconds: float
    directory: pathlib.Path
    log: pathlib.Path
    rows: list  # metrics.jsonl
    card_gb: float | None  # the most memory in use on the card meanwhile

    @property
    def steady(self):
        """The steps after the first two, in which the caches fill."""
        return self.rows[2:] or self.rows

    @property
    def tokens_per_second(self):
        return sum(row["tokens"] for row in self.steady) / sum(row["step_seconds"] for row in self.steady)

    @property
    def step_seconds(self):
        return sum(row["step_seconds"] for row in self.steady) / len(self.steady)

    @property
    def mfu(self):
        """Per cent; None where the device's peak is not known."""
        shares = [row["mfu"] for row in self.steady if row.get("mfu")]
        return 100 * sum(shares) / len(shares) if shares else None

    @property
    def other_seconds(self):
        """Loading, and writing the result."""
        return self.seconds - sum(row["step_seconds"] for row in self.rows)

    @property
    def message(self):
        return self.log.with_suffix(".err").read_text(errors="replace").strip()[-600:]


class CardMemory(threading.Thread):
    """Follows the memory in use on the first GPU. `with CardMemory() as card: …; card.most_gb`."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most_gb, self.process = None, None

    def __enter__(self):
        words = ["nvidia-smi", "--id=0", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--loop-ms=200"]
        try:
            self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            self.start()
        except OSError:
            pass  # no nvidia-smi: not known
        return self

    def run(self):
        for line in self.process.stdout:
            if line.strip().isdigit():
                self.most_gb = max(self.most_gb or 0, int(line) * 2**20 / 1e9)

    def __exit__(self, *_):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.join()


class Machine:
    def __init__(self, home, out, seconds_max):
        self.home, self.out = home, out
        self.end = self.step_end = time.monotonic() + seconds_max
        self.torch = self._ask_torch()
        shared = pathlib.Path("/dev/shm")
        roomy = shared.is_dir() and os.access(shared, os.W_OK) and shutil.disk_usage(shared).free >= ROOMY
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="ftd-gpu-kit-", dir=shared if roomy else "/tmp"))
        self.maker = None
        self.running = set()
        self.trained = {}  # what train_well returned, by name
        self.rc = None  # of the last process

    @staticmethod
    def _ask_torch():
        code = ("import json, torch; print(json.dumps([torch.__path__[0], torch.__version__, torch.cuda.is_available(), "
                "torch.cuda.is_available() and torch.cuda.get_device_name(0), "
                "torch.cuda.is_available() and torch.cuda.get_device_properties(0).total_memory]))")
        asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        if asked.returncode:
            raise SystemExit(f"torch does not load:\n{asked.stderr}")
        return dict(zip(("path", "version", "cuda", "card", "bytes"), json.loads(asked.stdout.splitlines()[-1])))

    @property
    def gpu(self):
        return bool(self.torch["cuda"])

    def need_gpu(self):
        if not self.gpu:
            raise Skipped("no GPU")

    def left(self):
        """Seconds, of the step and of the whole run."""
        return min(self.end, self.step_end) - time.monotonic()

    def need_time(self, seconds):
        if self.left() < seconds:
            raise Skipped(f"{seconds} s needed, {max(self.left(), 0):.0f} s left")

    def environment(self, cpu=False):
        """Our programs': LibTorch is the Python's. `cpu` hides the GPU.

        What runs on the CPU is small: more threads than one would wait for each other, and on a busy machine for long.
        """
        ours = {"LD_LIBRARY_PATH": f"{self.torch['path']}/lib", "FTD_LIBTORCH": self.torch["path"], "HF_HUB_OFFLINE": "1",
                "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
        if cpu:
            ours["CUDA_VISIBLE_DEVICES"] = ""
        if cpu or not self.gpu:
            ours["OMP_NUM_THREADS"] = "1"
        return {**os.environ, **ours}

    def program(self, name):
        return self.home / "bin" / name

    def start(self, name, words, environment=None):
        """stdout to OUT/NAME.log, stderr to OUT/NAME.err; in a process group of its own."""
        with open(self.out / f"{name}.log", "ab") as log, open(self.out / f"{name}.err", "ab") as err:
            process = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=log, stderr=err,
                                       env=environment or self.environment(), start_new_session=True)
        self.running.add(process)
        return process

    def finish(self, process, limit):
        """Its exit status; TIMED_OUT when it had to be killed, with all that it started."""
        try:
            self.rc = process.wait(max(min(limit, self.left()), 0.1))
        except subprocess.TimeoutExpired:
            self.rc = TIMED_OUT
        finally:
            self.kill(process)
        return self.rc

    def kill(self, process):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.running.discard(process)

    def run(self, name, words, limit, environment=None):
        self.need_time(1)
        return self.finish(self.start(name, words, environment), limit)

    def python(self, name, script, *words, limit):
        return self.run(name, [sys.executable, self.home / script, *words], limit)

    def train_words(self, directory, *flags):
        return [self.program("ft-worker"), "train", *flags, "--output_dir", directory]

    def train(self, name, *flags, limit, cpu=False, most_bytes=None):
        """`ft-worker train` to its end. What it wrote stays until `forget`. `most_bytes`: of the card, for its allocator."""
        directory = self.forget(name)
        environment = self.environment(cpu)
        if most_bytes is not None:
            fraction = most_bytes / self.torch["bytes"]
            environment["PYTORCH_ALLOC_CONF"] = f"expandable_segments:True,per_process_memory_fraction:{fraction:.4f}"
        begin = time.monotonic()
        with CardMemory() as card:
            rc = self.run(name, self.train_words(directory, "--save_steps", 0, *flags), limit, environment)
        metrics = directory / "metrics.jsonl"
        rows = [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []
        return Training(rc, time.monotonic() - begin, directory, self.out / f"{name}.log", rows, card.most_gb)

    def train_well(self, name, *flags, limit, cpu=False, most_bytes=None):
        training = self.train(name, *flags, limit=limit, cpu=cpu, most_bytes=most_bytes)
        if training.rc or not training.rows:
            raise Failed(f"{name}: exit status {training.rc}: {training.message}")
        self.trained[name] = training
        return training

    def forget(self, name):
        directory = self.work / f"out-{name}"
        shutil.rmtree(directory, ignore_errors=True)
        return directory

    def make_models(self, *names):
        """In the background, on the GPU when there is one."""
        self.maker = self.start("make_models", [sys.executable, self.home / "make_models.py", self.work, *names])

    def model(self, name, limit=60):
        """The model's directory, as soon as it is complete."""
        complete = self.work / name / ".complete"
        self.wait_while(lambda: not complete.exists() and self.maker.poll() is None, limit, f"{name} is not made yet")
        if not complete.exists():
            if self.maker.returncode == 0:
                raise Skipped(f"{name} was not made: {LARGE / 1e9:.0f} GB needed in {self.work.parent}")
            raise Failed(f"{name} was not made; see make_models.err")
        return complete.parent

    def settle(self, limit=60):
        """Waits until no model is being made, which would disturb what is measured."""
        self.wait_while(lambda: self.maker.poll() is None, limit, "the models are not made yet")

    def wait_while(self, holds, limit, what):
        until = time.monotonic() + limit
        while holds():
            if time.monotonic() > until or self.left() < 1:
                raise Skipped(what)
            time.sleep(0.1)

    def forget_model(self, name):
        shutil.rmtree(self.work / name, ignore_errors=True)

    def free_bytes(self):
        return shutil.disk_usage(self.work).free

    def close(self):
        """Kills what still runs; nothing can be started afterwards."""
        self.end = 0
        for process in list(self.running):
            self.kill(process)
        shutil.rmtree(self.work, ignore_errors=True)
