"""The host's memory runs short while a job trains: it saves, stops, waits, and goes on to the same bits."""
import contextlib
import os
import re
import signal
import subprocess
import sys
import urllib.request

from conftest import ENDLESS, submit, submit_args, wait_for_step, weights
from ftd_fixture import BIN, Ftd, wait_until

from ftd.v1 import fine_tuning_pb2 as api

FLAGS = dict(mode="lora", learning_rate=1e-3, seed=3, max_steps=400)
HOG = "import sys; held = bytearray(b'x') * int(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


def available_mib():
    with open("/proc/meminfo") as meminfo:
        return int(re.search(r"MemAvailable:\s+(\d+)", meminfo.read())[1]) >> 10


@contextlib.contextmanager
def hog(mib):
    """A process that holds so much memory. It goes before anything else when the kernel runs out."""
    process = subprocess.Popen([sys.executable, "-c", HOG, str(mib << 20)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        with contextlib.suppress(OSError), open(f"/proc/{process.pid}/oom_score_adj", "w") as score:
            score.write("1000")
        assert process.stdout.readline() == b"held\n"
        yield
    finally:
        process.kill()
        process.communicate()


def guarded(reserve_mib):
    return Ftd(args=["--metrics-listen", "127.0.0.1:0", "--host-memory-reserve-mib", reserve_mib])


def trips(ftd):
    address = ftd.stub.GetServerInfo(api.GetServerInfoRequest()).metrics_address
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as page:
        return int(re.search(r"^ftd_memory_guard_trips_total (\d+)", page.read().decode(), re.M)[1])


def test_a_job_gives_way_and_goes_on(model, dataset):
    with Ftd() as ftd:
        whole = weights(ftd.wait(submit(ftd, model, dataset, **FLAGS), "SUCCEEDED").result_dir)
    free = available_mib()
    with guarded(free - free // 8) as ftd:
        job = submit(ftd, model, dataset, **FLAGS)
        wait_for_step(ftd, job, 20)
        assert trips(ftd) == 0
        worker = ftd.job(job).attempts[0].pid
        os.kill(worker, signal.SIGSTOP)  # else it may be done before the memory is taken
        with hog(free // 4):
            os.kill(worker, signal.SIGCONT)
            wait_until(lambda: ftd.job(job).state == ftd.job(job).QUEUED, "the job to give way", 20)
        shown = ftd.job(job)
        assert re.search(r"GiB of memory left.*it is tried again", shown.message), shown.message
        assert shown.pending_reason == shown.BACKOFF and trips(ftd) == 1
        saved = shown.checkpoints[-1].step
        assert saved >= 20, "what it had done was saved"
        assert weights(ftd.wait(job, "SUCCEEDED").result_dir) == whole
        assert [s.step for s in ftd.steps(job)] == list(range(1, 401))
        assert ftd.job(job).attempts[1].first_step == saved + 1


def test_where_there_is_no_time_it_ends_at_once(model, dataset):
    with guarded(3 * (os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20)) as ftd:
        job = submit(ftd, model, dataset, mode="lora", max_steps=ENDLESS)
        first = wait_until(lambda: next((a for a in ftd.job(job).attempts if a.HasField("end_time")), None), "the first end", 30)
        assert "is what jobs must leave free" in first.reason and first.exit_code == 1
        ftd.ftctl("cancel", job)
        ftd.wait(job, "CANCELLED")
        assert trips(ftd) == 1


def test_in_the_foreground(model, dataset, tmp_path):
    flags = [str(a) for a in submit_args(model, dataset, max_steps=5)[2:]]
    flags[flags.index("--model")] = "--model-name"
    command = [BIN / "ft-train", *flags, "--output_dir", tmp_path / "out"]
    refused = subprocess.run([*command, "--host_memory_reserve_mib", str(3 * available_mib())], capture_output=True, text=True,
                             timeout=60)
    assert refused.returncode == 1
    assert "is what jobs must leave free" in refused.stderr and "hint: free memory of the host" in refused.stderr
    assert not list((tmp_path / "out").glob("*.safetensors"))
    resumed = subprocess.run([BIN / "ft-train", "--resume", "latest", "--output_dir", tmp_path / "out"], capture_output=True,
                             text=True, timeout=60)
    assert resumed.returncode == 0, "the limit is the machine's, not the run's: " + resumed.stderr
    assert (tmp_path / "out" / "adapter_model.safetensors").exists()
