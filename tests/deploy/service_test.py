"""The story of a service, on a real systemd: installed, used, reloaded, killed, hung, restarted, stopped.

One ftd for the whole file, as an operator has it; the tests are the story's chapters and need their order.
"""
import json
import os
import pathlib
import subprocess
import sysconfig

import pytest
from systemd_box import SystemdBox
from tiny_model import make_tiny_llama

REPO = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("FTD_BUILD_DIR", REPO / "build"))
ROWS = 400
FLAGS = ("--mode lora --model /opt/data/model --dataset /opt/data/rows.jsonl --dtype float32 --seq-length 64 --batch-size 2 "
         "--save-steps 20 --seed 7")


def install(folder):
    """`cmake --install`, and LibTorch beside it: the service does not see where this machine keeps its Python."""
    subprocess.run(["cmake", "--install", BUILD, "--prefix", folder], check=True, capture_output=True)
    libraries = folder / "lib/ftd"
    libraries.mkdir()
    site = pathlib.Path(sysconfig.get_paths()["purelib"])
    for library in [*(site / "torch/lib").glob("*.so*"), *(site / "pyarrow").glob("lib*.so.*")]:
        (libraries / library.name).symlink_to(f"/opt/site-packages/{library.relative_to(site)}")
    (folder / "nvidia").symlink_to("/opt/site-packages/nvidia")  # where libtorch_cpu looks for CUDA's runtime
    unit = folder / "lib/systemd/system/ftd.service"
    unit.write_text(unit.read_text().replace(str(folder), "/opt/ftd"))
    return site


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    data = folder / "data"
    data.mkdir()
    make_tiny_llama(data / "model")
    with (data / "rows.jsonl").open("w") as rows:
        for i in range(ROWS):
            rows.write(json.dumps({"instruction": f"Repeat word {i}.", "output": f"word {i} " * (i % 7 + 1)}) + "\n")
    site = install(folder / "ftd")
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    (folder / "box").mkdir()
    box = SystemdBox(folder / "box", {"ftd": folder / "ftd", "data": data, "site-packages": site})
    box.succeed("cp /opt/ftd/lib/systemd/system/ftd.* /etc/systemd/system/ && systemd-sysusers /opt/ftd/lib/sysusers.d/ftd.conf")
    box.succeed("useradd -m -G ftd alice && useradd -m mallory")
    # Short times, so that the chapters about them are short; a few threads, so that the machine goes on.
    box.succeed("mkdir -p /etc/systemd/system/ftd.service.d && printf '[Service]\\nWatchdogSec=3s\\nTimeoutStopSec=20s\\n"
                "Environment=OMP_NUM_THREADS=1\\n' > /etc/systemd/system/ftd.service.d/test.conf && systemctl daemon-reload")
    yield box
    box.close()


def ftctl(box, words, user="alice", **options):
    return box.succeed(f"ftctl {words}", user=user, **options)


def job(box, name):
    return json.loads(ftctl(box, f"show {name} -o json"))


def main_pid(box):
    return int(box.show("ftd.service", "MainPID"))


def processes(box):
    """Names of the processes in the service's cgroup."""
    listed = box.run("for p in $(cat /sys/fs/cgroup/system.slice/ftd.service/cgroup.procs); do cat /proc/$p/comm; done")
    return sorted(listed.stdout.split())


def await_another(box, daemon):
    """Until systemd has put a new daemon in the place of this one, and it serves."""
    box.wait_until(f"p=$(systemctl show -P MainPID ftd); test $p != 0 -a $p != {daemon} && ftctl info")


def drop_in(box, lines):
    """Further lines for the unit, which the next call replaces."""
    box.succeed(f"printf '{lines}' > /etc/systemd/system/ftd.service.d/chapter.conf && systemctl daemon-reload")


def submit_long(box, name, steps=20000):
    ftctl(box, f"submit {FLAGS} --max-steps {steps} --name {name} --quiet")
    wait_for_step(box, name, 25)


def last_step(box, name):
    return steps_of(box, name)[-1]


def goes_on(box, name, worker):
    """The job trains on in the worker that it began in, and no step is lost to its end."""
    assert job(box, name)["state"] == "RUNNING"
    wait_for_step(box, name, last_step(box, name) + 50)
    ftctl(box, f"cancel {name} --keep")
    ftctl(box, f"wait {name}", timeout=60)
    steps = steps_of(box, name)
    assert steps == list(range(1, len(steps) + 1))
    assert [attempt["pid"] for attempt in job(box, name)["attempts"]] == [worker]


def wait_for_step(box, name, step):
    box.wait_until(f"test $(ftctl show {name} -o json | grep -A20 last_step | sed -n 's/.*\"step\": *\\([0-9]*\\).*/\\1/p' "
                   f"| head -1) -ge {step}", 120, user="alice")


def steps_of(box, name):
    return [json.loads(line)["step"] for line in ftctl(box, f"metrics {name} -o jsonl").splitlines()]


def test_it_starts_and_says_so(box):
    box.succeed("systemctl start ftd.service")  # returns when ftd has said READY
    assert box.show("ftd.service", "ActiveState") == "active"
    assert box.show("ftd.service", "StatusText") != ""
    assert box.succeed("stat -c '%U %G %a' /run/ftd/ftd.sock /run/ftd /var/lib/ftd").split("\n")[:3] == [
        "ftd ftd 660", "ftd ftd 750", "ftd ftd 750"]


def test_a_member_of_the_group_trains_and_gets_the_result(box):
    ftctl(box, f"submit {FLAGS} --max-steps 60 --name first --watch", timeout=120)
    assert steps_of(box, "first") == list(range(1, 61))
    assert job(box, "first")["owner"] == "alice"
    ftctl(box, "get first /tmp/first")
    assert "adapter_model.safetensors" in box.succeed("ls /tmp/first")


def test_a_stranger_does_not_come_in(box):
    refused = box.run("ftctl --address unix:/run/ftd/ftd.sock ls", user="mallory")
    assert refused.returncode != 0 and "first" not in refused.stdout
    assert box.run("cat /var/lib/ftd/ftd.db", user="mallory").returncode != 0


def test_the_worker_compiles_kernels_as_it_runs(box):
    """oneDNN does for bfloat16, into memory that it may both write and execute: why MemoryDenyWriteExecute is left out."""
    ftctl(box, f"submit {FLAGS.replace('float32', 'bfloat16')} --max-steps 20000 --name compiled --quiet")
    wait_for_step(box, "compiled", 2)
    worker = job(box, "compiled")["attempts"][-1]["pid"]
    assert int(box.run(f"grep -cE '^[^ ]+ rwxp 0+ 00:00 0 *$' /proc/{worker}/maps").stdout) > 0
    ftctl(box, "cancel compiled")
    ftctl(box, "wait compiled || test $? = 103", timeout=60)


def test_a_reload_is_not_noticed_by_the_job(box):
    submit_long(box, "reloaded")
    daemon, attempt = main_pid(box), job(box, "reloaded")["attempts"][-1]
    box.succeed("systemctl reload ftd.service")
    box.wait_until(f"journalctl -u ftd --no-pager | grep -q 'adopted the worker, pid {attempt['pid']}'")
    goes_on(box, "reloaded", attempt["pid"])
    assert main_pid(box) == daemon


def test_bad_settings_do_not_end_a_running_daemon(box):
    daemon = main_pid(box)
    box.succeed("mkdir -p /etc/ftd && echo 'max_queue = 3' > /etc/ftd/ftd.toml")
    box.run("systemctl reload ftd.service")
    box.wait_until("journalctl -u ftd --no-pager | grep -q 'did you mean .max_queued'")
    assert main_pid(box) == daemon and box.show("ftd.service", "ActiveState") == "active"
    box.succeed("rm /etc/ftd/ftd.toml")


def test_the_job_goes_on_when_the_daemon_is_killed(box):
    submit_long(box, "orphaned")
    daemon, attempt = main_pid(box), job(box, "orphaned")["attempts"][-1]
    box.succeed(f"kill -9 {daemon}")
    await_another(box, daemon)
    goes_on(box, "orphaned", attempt["pid"])


def test_the_watchdog_replaces_a_daemon_that_hangs(box):
    submit_long(box, "watched")
    daemon, attempt = main_pid(box), job(box, "watched")["attempts"][-1]
    box.succeed(f"kill -STOP {daemon}")
    await_another(box, daemon)
    goes_on(box, "watched", attempt["pid"])


def test_a_restart_leaves_a_checkpoint_and_the_result_is_the_same(box):
    ftctl(box, f"submit {FLAGS} --max-steps 300 --name unbroken --watch", timeout=120)
    submit_long(box, "restarted", steps=300)
    box.succeed("systemctl restart ftd.service")
    ftctl(box, "wait restarted", timeout=180)
    attempts = job(box, "restarted")["attempts"]
    assert len(attempts) == 2 and attempts[1]["resumed_from"]
    sums = [box.succeed(f"sha256sum < /var/lib/ftd/results/{name}/adapter_model.safetensors") for name in ("unbroken", "restarted")]
    assert sums[0] == sums[1]


def test_a_stop_leaves_no_process(box):
    submit_long(box, "stopped")
    assert "ft-worker" in processes(box)
    box.succeed("systemctl stop ftd.service")
    assert box.show("ftd.service", "Result") == "success" and processes(box) == []
    box.succeed("systemctl start ftd.service")
    wait_for_step(box, "stopped", 30)


def test_a_worker_that_hangs_is_ended_by_ftd(box):
    """It writes no checkpoint; ftd, which asked for more time than the unit gives, kills it when its own is up."""
    drop_in(box, "[Service]\\nTimeoutStopSec=1s\\nEnvironment=FTD_STOP_GRACE_SECONDS=3\\n")
    box.succeed("systemctl restart ftd.service")
    wait_for_step(box, "stopped", 60)
    worker = job(box, "stopped")["attempts"][-1]["pid"]
    box.succeed(f"kill -STOP {worker}")
    box.succeed("systemctl stop ftd.service")
    assert box.show("ftd.service", "Result") == "success" and processes(box) == []
    assert box.run(f"kill -0 {worker}").returncode != 0


def test_a_stop_past_its_time_leaves_no_process(box):
    """Daemon and worker both hang: systemd kills the one when the time is up, and the unit's reaper the other."""
    drop_in(box, "[Service]\\nTimeoutStopSec=2s\\n")
    box.succeed("systemctl start ftd.service")
    wait_for_step(box, "stopped", 90)
    daemon, worker = main_pid(box), job(box, "stopped")["attempts"][-1]["pid"]
    # systemd sends SIGCONT after its SIGTERM, so that once is not enough for the daemon.
    box.succeed(f"kill -STOP {worker} && (while kill -STOP {daemon} 2>/dev/null; do :; done) > /dev/null 2>&1 & "
                "systemctl stop ftd.service")
    assert box.show("ftd.service", "Result") == "timeout" and processes(box) == []
    assert box.run(f"kill -0 {worker}").returncode != 0
    box.wait_until("journalctl -u ftd --no-pager | grep -q 'ending what ftd left behind'")
    drop_in(box, "")
    box.succeed("systemctl reset-failed ftd.service")


def test_the_gpu_is_shared_with_an_inference_server(box):
    """The recipe of docs/install.md."""
    box.succeed("printf '[Service]\\nExecStart=/bin/sleep infinity\\n' > /etc/systemd/system/vllm.service")
    drop_in(box, "[Unit]\\nConflicts=vllm.service\\nAfter=vllm.service\\n")
    box.succeed("systemctl start vllm.service && systemctl start ftd.service")
    assert box.show("vllm.service", "ActiveState") == "inactive"
    box.succeed("systemctl start vllm.service")
    assert box.show("ftd.service", "ActiveState") == "inactive"
    box.succeed("systemctl stop vllm.service")
    drop_in(box, "")


def test_a_client_starts_it_through_the_socket(box):
    box.succeed("systemctl start ftd.socket")
    assert box.show("ftd.service", "ActiveState") == "inactive"
    assert box.succeed("stat -c '%U %G %a' /run/ftd/ftd.sock") == "ftd ftd 660\n"
    ftctl(box, "ls")
    assert box.show("ftd.service", "ActiveState") == "active"
    box.succeed("systemctl restart ftd.service && systemctl stop ftd.service")
    ftctl(box, "ls")
    assert box.run("ftctl ls", user="mallory").returncode != 0
