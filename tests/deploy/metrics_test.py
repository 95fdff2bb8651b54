"""A training ftd as Prometheus 2.42 sees it: the scrape, the rules, and every query of the dashboard answered with data.

The GPUs are those of fake_nvml.cc, which stands where NVIDIA's library would. Rules and queries are the files that are
installed; Prometheus runs beside, on a port of its own.
"""
import contextlib
import datetime
import json
import math
import pathlib
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request

import dashboard
import pytest
import yaml
from ftd_fixture import BUILD, DEADLINE_S, REPO, Ftd, alpaca_rows, free_port, wait_until, write_jsonl
from pki import Authority
from tiny_model import make_tiny_llama

from ftd.v1 import fine_tuning_pb2 as api

RULES = REPO / "deploy/prometheus/rules.yml"
NVML = BUILD / "tests/nvml"
MAX_SERIES = 300
ENDLESS = 1_000_000
PEAK_TFLOPS = 0.3
SECONDS = {"__rate_interval": "10s", "__range": "1m"}  # Grafana's for a scrape each second
OWN_NAME = re.compile(r"\b(?:ftd|grpc)_\w+")


def environment(**more):
    return {"LD_LIBRARY_PATH": str(NVML), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **more}


def scrape(ftd):
    address = ftd.stub.GetServerInfo(api.GetServerInfoRequest()).metrics_address
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as reply:
        return reply.read().decode()


def samples(page):
    return [line for line in page.splitlines() if not line.startswith("#")]


def families(page):
    """Those that have a sample."""
    named = {match[1] for match in re.finditer(r"^# TYPE (\w+)", page, re.MULTILINE)}
    seen = {re.match(r"\w+", line)[0] for line in samples(page)}
    return {name for name in named if seen & {name, f"{name}_bucket"}}


class Prometheus:
    """One of its own, with the installed files; only the address and the interval are the test's."""

    def __init__(self, directory: pathlib.Path, target: str):
        shutil.copy(RULES, directory)
        settings = yaml.safe_load((REPO / "deploy/prometheus/prometheus.yml").read_text())
        settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        settings["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
        (directory / "prometheus.yml").write_text(yaml.safe_dump(settings))
        self.address = f"127.0.0.1:{free_port()}"
        self.log = directory / "prometheus.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data",
                 f"--web.listen-address={self.address}"], stdout=log, stderr=log)

    def get(self, path, **parameters):
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as reply:
            return json.load(reply)["data"]

    def query(self, expression):
        """The numbers of the answer's series."""
        return [float(series["value"][1]) for series in self.get("query", query=expression)["result"]]

    def ready(self):
        with contextlib.suppress(OSError):
            return self.query('up{job="ftd"}') == [1.0]

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_tiny_llama(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki"), "ours").issue("server", days=30)


@pytest.fixture(scope="module")
def ftd(model, certificate, tmp_path_factory):
    tls = ["--listen", "127.0.0.1:0", "--tls-cert", certificate.certificate, "--tls-key", certificate.key]
    with Ftd(args=["--metrics-listen", "127.0.0.1:0", "--peak-tflops", PEAK_TFLOPS, *tls], env=environment()) as ftd:
        ftd.rows = write_jsonl(tmp_path_factory.mktemp("rows") / "rows.jsonl", alpaca_rows(32))
        yield ftd


@pytest.fixture(scope="module")
def prometheus(ftd, tmp_path_factory):
    prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), ftd.stub.GetServerInfo(api.GetServerInfoRequest()).metrics_address)
    try:
        wait_until(prometheus.ready, "Prometheus to have scraped ftd")
        yield prometheus
    finally:
        prometheus.close()


def submit(ftd, model, *flags):
    return ftd.ftctl("submit", "--mode", "lora", "--model", model, "--dataset", ftd.rows, "--batch-size", 4, "--quiet",
                     "--eval-split", 0.25, *flags).stdout.strip()


@pytest.fixture(scope="module")
def training(ftd, model, prometheus):
    """A job that trains, evaluates and writes checkpoints; before it one came to its end and one was refused. Its id."""
    ftd.wait(submit(ftd, model, "--max-steps", 5), "SUCCEEDED")
    assert ftd.ftctl("show", "nobody", check=False).returncode != 0
    job = submit(ftd, model, "--max-steps", ENDLESS, "--eval-steps", 50, "--save-steps", 50)
    submit(ftd, model, "--max-steps", 5)  # waits
    wait_until(lambda: ftd.job(job).HasField("last_evaluation") and ftd.job(job).checkpoints, "an evaluation and a checkpoint")
    for verb in (["show", job], ["ls"], ["metrics", job], ["checkpoints", job], ["logs", job], ["info"]):
        ftd.ftctl(*verb)
    return job


def promtool(*words, check=True, **kwargs):
    done = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True, timeout=60, **kwargs)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


# --- the scrape ---

def test_promtool_finds_nothing_to_mend(ftd, training):
    page = scrape(ftd)
    assert promtool("check", "metrics", input=page).stderr == ""
    spoilt = page.replace("ftd_train_tokens_total", "ftd_train_tokens_ms")
    assert spoilt != page and promtool("check", "metrics", input=spoilt, check=False).returncode != 0


def test_few_series(ftd, training):
    assert 150 < len(samples(scrape(ftd))) <= MAX_SERIES


def test_checkpoints_are_timed(ftd, training):
    """As many as are counted, and none took longer than there was time."""
    found = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in samples(scrape(ftd))}
    counted = sum(value for name, value in found.items() if name.startswith("ftd_checkpoints_total{"))
    assert found["ftd_checkpoint_duration_seconds_count"] == counted >= 1
    assert 0 < found["ftd_checkpoint_duration_seconds_sum"] < time.time() - found["ftd_start_time_seconds"]


def test_the_results_size(ftd, training):
    """That of the first job's."""
    files = [file for file in (ftd.state_dir / "results").rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    assert size > 0

    def seen():
        return re.search(rf"^ftd_results_bytes {size}$", scrape(ftd), re.MULTILINE)

    wait_until(seen, "the size of the results", 20, interval_s=0.2)


def test_the_certificates_end_is_what_openssl_says(ftd, certificate):
    end = subprocess.run(["openssl", "x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in", certificate.certificate],
                         capture_output=True, text=True, check=True).stdout.strip().removeprefix("notAfter=")
    seconds = datetime.datetime.fromisoformat(end.replace("Z", "+00:00")).timestamp()
    [line] = [line for line in samples(scrape(ftd)) if line.startswith("ftd_tls_certificate_expiry_timestamp_seconds")]
    assert float(line.split()[1]) == seconds


def test_the_reference_names_each_metric(ftd, training):
    described = set(re.findall(r"^\| `([a-z]\w+)`", (REPO / "docs/metrics.md").read_text(), re.MULTILINE))
    assert described == {name for name in families(scrape(ftd))}


def test_rules_and_dashboard_ask_for_what_there_is(ftd, training):
    scraped = families(scrape(ftd))
    known = scraped | {name + suffix for name in scraped for suffix in ("_bucket", "_sum", "_count")}
    rules = yaml.safe_load(RULES.read_text())
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    expressions += [expression for _, expression in dashboard.queries(dashboard.load())]
    assert {name for expression in expressions for name in OWN_NAME.findall(expression)} - known == {"grpc_code", "grpc_method", "grpc_type"}


# --- GPUs ---

def gpu_samples(page):
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in samples(page) if line.startswith("ftd_gpu_")}


def test_gpus(ftd):
    found = gpu_samples(scrape(ftd))
    assert found.pop('ftd_gpu_energy_joules_total{gpu="0"}') > 0 and found.pop('ftd_gpu_energy_joules_total{gpu="1"}') > 0
    each = {"ftd_gpu_memory_total_bytes": 80 * 2**30, "ftd_gpu_memory_used_bytes": 3 * 2**30, "ftd_gpu_power_watts": 412.5,
            "ftd_gpu_temperature_celsius": 61}
    assert found == {f'{name}{{gpu="{gpu}"}}': value for name, value in each.items() for gpu in (0, 1)} | {
        'ftd_gpu_utilization_ratio{gpu="0"}': 0.87, 'ftd_gpu_utilization_ratio{gpu="1"}': 0}


def test_a_gpu_that_tells_no_memory():
    """DGX Spark."""
    with Ftd(args=["--metrics-listen", "127.0.0.1:0"], env=environment(FTD_FAKE_NVML="unified")) as ftd:
        found = gpu_samples(scrape(ftd))
    assert len(found) == 8 and not any("memory" in name for name in found)


def test_a_driver_that_hangs():
    """The first scrape waits a while for it, the others do not; ftd starts and stops as ever."""
    with Ftd(args=["--metrics-listen", "127.0.0.1:0"], env=environment(FTD_FAKE_NVML="hangs")) as ftd:
        for _ in range(20):
            page = scrape(ftd)
            assert "ftd_gpu_" not in page and "ftd_host_memory_available_bytes" in page
        assert ftd.terminate() == 0


@pytest.mark.parametrize("given", [environment(FTD_FAKE_NVML="none"), {}], ids=["no driver", "no library"])
def test_no_gpu(given):
    with Ftd(args=["--metrics-listen", "127.0.0.1:0"], env=given) as ftd:
        page = scrape(ftd)
    if given or not shutil.which("nvidia-smi"):
        assert "ftd_gpu_" not in page
    assert "ftd_host_memory_available_bytes" in page


# --- the rules ---

@pytest.fixture
def rules(tmp_path):
    """The rules with their tests beside them."""
    for file in (RULES, pathlib.Path(__file__).with_name("rules_test.yml"), REPO / "deploy/prometheus/prometheus.yml"):
        shutil.copy(file, tmp_path)
    return tmp_path


def test_the_rules(rules):
    promtool("check", "config", rules / "prometheus.yml")
    promtool("check", "rules", rules / "rules.yml")
    assert "SUCCESS" in promtool("test", "rules", rules / "rules_test.yml").stdout


def test_every_rule_is_tested(rules):
    alerts = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    tests = (rules / "rules_test.yml").read_text()
    for rule in alerts:
        assert re.search(rf"{re.escape(rule.get('alert') or rule['record'])}\b", tests), rule


@pytest.mark.parametrize("number", range(12))
def test_each_rule_s_test_can_fail(rules, number):
    """A rule that says something else is found by its test."""
    file = rules / "rules.yml"
    settings = yaml.safe_load(file.read_text())
    every = [rule for group in settings["groups"] for rule in group["rules"]]
    assert len(every) == 12
    every[number]["expr"] = f"({every[number]['expr']}) * 2" if "record" in every[number] else "vector(1) == 0"
    file.write_text(yaml.safe_dump(settings))
    assert promtool("test", "rules", rules / "rules_test.yml", check=False).returncode != 0


def test_the_rules_run(prometheus, training):
    def healthy():
        rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        return rules if all(rule["health"] == "ok" for rule in rules) else None

    rules = wait_until(healthy, "all rules to have been judged", 20)
    assert len(rules) == 12
    assert {rule["name"] for rule in rules if rule.get("state") == "firing"} <= {"FtdDiskLow"}  # as the machine's disk is
    for rule in rules:
        if rule["type"] == "recording":
            assert wait_until(lambda: finite(prometheus.query(rule["name"])), rule["name"], 20)


# --- the dashboard ---

def finite(numbers):
    return any(math.isfinite(number) for number in numbers)


def test_the_dashboard_s_variables(prometheus, ftd, training):
    page = dashboard.load()
    for variable in page["templating"]["list"]:
        if variable["type"] == "datasource":
            continue
        metric, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()
        metric = dashboard.fill(metric, {"instance": ".+"})
        values = {series["metric"][label] for series in prometheus.get("query", query=metric)["result"]}
        assert values, variable["name"]
        assert training in values or variable["name"] != "ft_job"


@pytest.mark.parametrize("chosen", ["all", "one"])
def test_every_panel_shows_data(prometheus, ftd, training, chosen):
    page = dashboard.load()
    values = {variable["name"]: ".+" for variable in page["templating"]["list"]} | SECONDS
    if chosen == "one":
        values |= {"ft_job": re.escape(training), "instance": re.escape(prometheus.get("targets")["activeTargets"][0]["labels"]["instance"])}
        values = {name: value.replace("\\", "\\\\") for name, value in values.items()}
    empty = dict.fromkeys(dashboard.queries(page))

    def answered():
        ftd.job(training)  # calls, for the panels about calls
        for query in list(empty):
            if finite(prometheus.query(dashboard.fill(query[1], values))):
                del empty[query]
        return not empty

    with contextlib.suppress(TimeoutError):
        wait_until(answered, "data", 45, interval_s=1)
    assert not empty, [title for title, _ in empty]


def test_a_query_for_what_is_not_there_is_seen(prometheus, training):
    assert not finite(prometheus.query("ftd_train_los")) and not finite(prometheus.query("vector(0) / vector(0)"))


def test_the_numbers_are_the_job_s(prometheus, ftd, training):
    """What Prometheus keeps of a step is what the API says of it."""
    def seen():
        series = prometheus.get("query", query=f'{{__name__=~"ftd_train_(step|loss)", ft_job="{training}"}}')["result"]
        return {one["metric"]["__name__"]: float(one["value"][1]) for one in series} if len(series) == 2 else None

    at = wait_until(seen, "a step", 20)
    step = next(s for s in ftd.steps(training) if s.step == at["ftd_train_step"])
    assert step.loss == pytest.approx(at["ftd_train_loss"], rel=1e-6)


def test_scrapes_are_quick(prometheus, training):
    """Printed, not judged: pytest -rP shows it."""
    durations = prometheus.query('quantile_over_time(0.5, scrape_duration_seconds{job="ftd"}[1m])')
    print(f"scrape, median: {1000 * durations[0]:.1f} ms; {prometheus.query('scrape_samples_scraped')[0]:.0f} samples")
    assert durations[0] < DEADLINE_S and prometheus.query("scrape_samples_scraped")[0] <= MAX_SERIES


def test_a_stopped_job_keeps_its_last_numbers_for_a_while(ftd, training):
    ftd.ftctl("cancel", training)
    ftd.wait(training, "CANCELLED")
    assert f'ftd_train_loss{{ft_job="{training}"' in scrape(ftd)
