"""A private ftd for tests: its own state directory, its own socket, gone when the test ends.

    with Ftd() as ftd:                                  # or the pytest fixture `ftd`
        job = ftd.submit(model=make_tiny_llama(dir), rows=alpaca_rows(16), max_steps=3)
        ftd.wait(job.id, "SUCCEEDED")
        print(ftd.ftctl("show", job.id, "-o", "json").stdout)
        ftd.kill(); ftd.start()                         # the worker goes on, the next ftd adopts it

The binaries come from $FTD_BUILD_DIR/bin. The Python stubs are generated from proto/ at run time. Every wait has a
deadline; a daemon that does not start, or ends, shows its log in the exception. Leaving the `with` block ends the
daemon and every worker that was started under its state directory, whatever happened.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid

import grpc
import pytest

REPO = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("FTD_BUILD_DIR", REPO / "build"))
BIN = BUILD / "bin"
DEADLINE_S = float(os.environ.get("FTD_TEST_DEADLINE_S", "60"))
FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")

_stubs_dir = None


def _generate_stubs() -> None:
    """Compiles proto/ with grpc_tools into a directory of this process and puts that on sys.path."""
    global _stubs_dir
    if _stubs_dir is not None:
        return
    from grpc_tools import protoc

    _stubs_dir = tempfile.TemporaryDirectory(prefix="ftd-stubs-")
    files = ["ftd/v1/job.proto", "ftd/v1/worker.proto", "ftd/v1/fine_tuning.proto"]
    well_known = str(pathlib.Path(importlib.import_module("grpc_tools").__file__).parent / "_proto")
    out = _stubs_dir.name
    rc = protoc.main(["protoc", f"-I{REPO / 'proto'}", f"-I{well_known}", f"--python_out={out}",
                      f"--grpc_python_out={out}", *files])
    if rc != 0:
        raise RuntimeError("grpc_tools could not compile proto/")
    sys.path.insert(0, out)


_generate_stubs()
from ftd.v1 import fine_tuning_pb2 as api  # noqa: E402
from ftd.v1 import fine_tuning_pb2_grpc as api_grpc  # noqa: E402
from ftd.v1 import job_pb2 as jobs  # noqa: E402


def wait_until(predicate, what: str, deadline_s: float = DEADLINE_S, interval_s: float = 0.02):
    """Calls `predicate` until it gives a true value, which is returned; raises after the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"waited {deadline_s} s for: {what}")
        time.sleep(interval_s)


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def state_name(state: int) -> str:
    return jobs.Job.State.Name(state)


def processes_under(directory) -> list[int]:
    """Pids of living processes whose working directory lies under `directory`: the workers of a state directory."""
    root = os.path.realpath(directory)
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            cwd = os.readlink(f"/proc/{entry}/cwd").removesuffix(" (deleted)")
            with open(f"/proc/{entry}/stat") as stat:
                state = stat.read().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if state not in "ZX" and (cwd == root or cwd.startswith(root + "/")):
            found.append(int(entry))
    return found


def alpaca_rows(count: int, seed: int = 0) -> list[dict]:
    """Deterministic Alpaca rows of different lengths."""
    words = "the quick brown fox jumps over a lazy dog while rain falls on seven green hills".split()
    rows = []
    for i in range(count):
        k = (i * 7 + seed) % 11
        rows.append({
            "instruction": f"Repeat word number {i} in the list.",
            "input": " ".join(words[: k + 1]) if i % 3 else "",
            "output": " ".join(words[(i + j) % len(words)] for j in range(k + 2)),
        })
    return rows


def write_jsonl(path, rows) -> pathlib.Path:
    path = pathlib.Path(path)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


class Ftd:
    """One private daemon. `worker` replaces ft-worker; `args` are further flags; `env` further environment."""

    def __init__(self, *, worker=None, args=(), env=None, config: str | None = None, start=True):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="ftd-test-"))
        self.state_dir = self.root / "state"
        self.socket = self.root / "ftd.sock"
        self.address = f"unix:{self.socket}"
        self.log_path = self.root / "ftd.log"
        self.args = list(args)
        self.worker = worker
        self.env = dict(env or {})
        self.process: subprocess.Popen | None = None
        self.config_path = None
        if config is not None:
            self.config_path = self.root / "ftd.toml"
            self.config_path.write_text(config)
        self.pass_fds = ()  # descriptors of ours that the daemon inherits
        self._channel = None
        if start:
            try:
                self.start()
            except BaseException:
                self.close()
                raise

    # Life of the daemon.

    def command(self) -> list[str]:
        command = [str(BIN / "ftd"), "--state-dir", str(self.state_dir), "--listen", self.address]
        if not any(str(a).startswith("--metrics-listen") for a in self.args):
            command += ["--metrics-listen", "off"]
        if self.worker is not None:
            command += ["--worker", str(self.worker)]
        if self.config_path is not None:
            command += ["--config", str(self.config_path)]
        return command + [str(a) for a in self.args]

    def start(self) -> "Ftd":
        """Starts the daemon and returns once it answers."""
        assert self.process is None or self.process.poll() is not None, "ftd runs already"
        env = {k: v for k, v in os.environ.items() if not k.startswith(("FTD_", "FTCTL_"))}
        for name in ("RUNTIME_DIRECTORY", "STATE_DIRECTORY", "CONFIGURATION_DIRECTORY"):
            env.pop(name, None)
        env["XDG_CONFIG_HOME"] = str(self.root / "xdg-config")
        env |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(self.root / "hf")}  # no test asks the public hub
        env["FTD_MODEL_ROOTS"] = str(self.root)  # where the models of tests over TCP lie
        env.update(self.env)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=env, start_new_session=True, pass_fds=self.pass_fds)
        self._drop_channel()

        def answers():
            if self.process.poll() is not None:
                raise RuntimeError(f"ftd ended with {self.process.returncode}:\n{self.log()}")
            if not self.socket.exists():
                return False
            try:
                self.stub.GetServerInfo(api.GetServerInfoRequest(), timeout=5)
                return True
            except grpc.RpcError:
                self._drop_channel()
                return False

        try:
            wait_until(answers, "ftd to answer", 20)
        except TimeoutError as e:
            raise RuntimeError(f"{e}\n{self.log()}") from None
        return self

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9 of the daemon; the worker goes on."""
        self.process.kill()
        self.process.wait()
        self._drop_channel()

    def terminate(self, deadline_s: float = DEADLINE_S) -> int:
        """SIGTERM; the exit status."""
        self.process.terminate()
        try:
            return self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"ftd did not end within {deadline_s} s of SIGTERM:\n{self.log()}") from None
        finally:
            self._drop_channel()

    def restart(self) -> "Ftd":
        self.terminate()
        return self.start()

    def close(self) -> None:
        """Ends the daemon and all workers under the state directory, and removes every file."""
        self._drop_channel()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in processes_under(self.root):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: not processes_under(self.root), "workers to end", 10)
        for directory, _, _ in os.walk(self.root):
            with contextlib.suppress(OSError):
                os.chmod(directory, 0o700)
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> "Ftd":
        return self

    def __exit__(self, *exc) -> None:
        if exc[0] is not None:
            print(f"--- ftd's log\n{self.log()}", file=sys.stderr)
            for path in sorted(self.state_dir.glob("jobs/*/attempts/*/worker.log")):
                print(f"--- {path}\n{path.read_text(errors='replace')[-4000:]}", file=sys.stderr)
        self.close()

    # The API.

    def _drop_channel(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    @property
    def channel(self) -> grpc.Channel:
        if self._channel is None:
            self._channel = self.new_channel()
        return self._channel

    def new_channel(self) -> grpc.Channel:
        # A pool of its own: else grpcio shares one connection between all channels to an address.
        return grpc.insecure_channel(self.address, options=[("grpc.use_local_subchannel_pool", 1)])

    @property
    def stub(self) -> api_grpc.FineTuningStub:
        return api_grpc.FineTuningStub(self.channel)

    def upload(self, data: bytes, name: str = "rows.jsonl") -> str:
        digest = hashlib.sha256(data).hexdigest()

        def parts():
            yield api.UploadFileRequest(header=api.UploadFileRequest.Header(
                sha256=digest, size_bytes=len(data), file_name=name))
            for i in range(0, len(data), 1 << 20):
                yield api.UploadFileRequest(data=data[i:i + (1 << 20)])

        self.stub.UploadFile(parts(), timeout=DEADLINE_S)
        return digest

    def spec(self, model, rows=None, mode="LORA", **fields) -> jobs.JobSpec:
        """A JobSpec. `rows`: a list of rows (uploaded), or a path under a dataset root of the configuration."""
        spec = jobs.JobSpec(mode=jobs.JobSpec.Mode.Value(mode), model=str(model))
        lora = {k.removeprefix("lora_"): fields.pop(k) for k in list(fields) if k.startswith("lora_")}
        for key, value in fields.items():
            if isinstance(value, list):
                getattr(spec, key).extend(value)
            else:
                setattr(spec, key, value)
        for key, value in lora.items():
            if key == "target_modules":
                spec.lora.target_modules.extend(value)
            else:
                setattr(spec.lora, key, value)
        if isinstance(rows, (str, os.PathLike)):
            spec.dataset.server_path = str(rows)
        elif rows is not None:
            data = "".join(json.dumps(row) + "\n" for row in rows).encode()
            spec.dataset.upload_sha256 = self.upload(data)
            spec.dataset.file_name = "rows.jsonl"
        return spec

    def submit(self, spec=None, *, name="", priority=0, labels=None, request_id=None, after=(), start_from="", time_limit=0,
               **fields) -> jobs.Job:
        """Submits `spec`, or one made of `fields` (see spec()). `time_limit`: seconds."""
        request = api.SubmitJobRequest(spec=spec if spec is not None else self.spec(**fields), name=name,
                                       priority=priority, labels=labels or {}, after=after, start_from=start_from,
                                       time_limit_seconds=time_limit, request_id=request_id or str(uuid.uuid4()))
        return self.stub.SubmitJob(request, timeout=DEADLINE_S)

    def job(self, job: str) -> jobs.Job:
        return self.stub.GetJob(api.GetJobRequest(job=job), timeout=DEADLINE_S)

    def wait(self, job: str, *states: str, deadline_s: float = DEADLINE_S) -> jobs.Job:
        """Waits for one of `states` (default: a final one). A final state that is not asked for raises at once."""
        states = states or FINAL

        def reached():
            current = self.job(job)
            name = state_name(current.state)
            if name in states:
                return current
            if name in FINAL:
                raise AssertionError(f"{job} is {name}, not {states}: {current.message}\n{self.log()}")
            return None

        return wait_until(reached, f"{job} to become {' or '.join(states)}", deadline_s)

    def watch(self, job: str, resume_token: str = "", timeout: float = DEADLINE_S):
        return self.stub.WatchJob(api.WatchJobRequest(job=job, resume_token=resume_token), timeout=timeout)

    def steps(self, job: str, **fields) -> list[jobs.StepMetrics]:
        stream = self.stub.QueryMetrics(api.QueryMetricsRequest(job=job, **fields), timeout=DEADLINE_S)
        return [step for message in stream for step in message.steps]

    def evaluations(self, job: str) -> list[jobs.Evaluation]:
        stream = self.stub.QueryMetrics(api.QueryMetricsRequest(job=job), timeout=DEADLINE_S)
        return [evaluation for message in stream for evaluation in message.evaluations]

    def worker_pid(self, job: str) -> int:
        return self.job(job).attempts[-1].pid

    def attempt_dir(self, job_id: str, attempt: int) -> pathlib.Path:
        return self.state_dir / "jobs" / job_id / "attempts" / str(attempt)

    # The command line.

    def ftctl(self, *args, check: bool = True, timeout: float = DEADLINE_S, env=None, input="") -> subprocess.CompletedProcess:
        """Runs ftctl against this daemon, with `input` on stdin; stdout and stderr as text."""
        full_env = {k: v for k, v in os.environ.items() if not k.startswith(("FTD_", "FTCTL_"))}
        full_env.update(env or {})
        result = subprocess.run([str(BIN / "ftctl"), "--address", self.address, *map(str, args)],
                                capture_output=True, text=True, timeout=timeout, env=full_env,
                                input=input)
        if check and result.returncode != 0:
            raise AssertionError(f"ftctl {' '.join(map(str, args))} exited {result.returncode}\n"
                                 f"{result.stdout}\n{result.stderr}\n--- ftd's log\n{self.log()}")
        return result


@pytest.fixture
def ftd():
    """A running daemon with the real ft-worker."""
    with Ftd() as daemon:
        yield daemon
