"""The API as others use it: without stubs, by reflection and the health service."""
import json
import pathlib
import subprocess
import sys
import urllib.request

from conftest import submit
from ftd_fixture import REPO, Ftd
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def test_example_client(ftd, model, dataset):
    """examples/client.py, which the README shows, does what it says."""
    script = REPO / "examples" / "client.py"
    done = subprocess.run([sys.executable, script, ftd.address, model, dataset], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    steps = [line for line in lines if line.startswith("step ")]
    assert [int(line.split()[1]) for line in steps] == list(range(1, 21))
    assert lines[-2] == "state SUCCEEDED"
    assert (pathlib.Path(lines[-1].removeprefix("result ")) / "adapter_model.safetensors").exists()


def test_health_and_reflection(ftd):
    health = health_pb2_grpc.HealthStub(ftd.channel)
    for service in ("", "ftd.v1.FineTuning"):
        assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == 1
    services = ProtoReflectionDescriptorDatabase(ftd.channel).get_services()
    assert {"ftd.v1.FineTuning", "grpc.health.v1.Health"} <= set(services)


def test_metrics_page(model, dataset):
    """Prometheus' text, with the families of docs/architecture.md, while a job has run."""
    with Ftd(args=["--metrics-listen", "127.0.0.1:0"]) as ftd:
        job = submit(ftd, model, dataset, max_steps=4)
        ftd.wait(job, "SUCCEEDED")
        info = json.loads(ftd.ftctl("info", "-o", "json").stdout)
        page = urllib.request.urlopen(f"http://{info['metrics_address']}/metrics", timeout=10).read().decode()
    for family in ("ftd_build_info{", "ftd_jobs{", 'ftd_jobs_submitted_total{mode="lora"} 1', "ftd_train_loss{",
                   "ftd_train_tokens_total{", "ftd_jobs_finished_total{"):
        assert family in page, family
