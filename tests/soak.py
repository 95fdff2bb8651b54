#!/usr/bin/env python3
"""The whole of what the tests run a share of: kills at random moments, fuzzing, Nix. `./dev soak` builds and runs it.

    ./dev soak [--shard I/N] [--seed S] [NAME…]       all of them unless some are named

    hub-kills         300 downloads from the test hub, killed at random and resumed
    hub-push-kills    100 uploads to the test hub, killed at random and repeated: one commit, right bytes
    push-kills        100 kills of ftd or ftctl while a result is pushed to the test hub: one commit, right bytes
    daemon-kills      2,000 kills of the daemon in a storm of two users, all verbs, killed workers and a disk that fails
    failpoints        50 rounds of a crash, an error and a delay at each of the named places (tests/chaos/places.py)
    power-cuts        300 cuts of the power in such a storm: what was not flushed is lost, in part or as a whole
    planted-bugs      a dozen bugs are planted into a copy of ftd, each of which the storms or the power cuts have to find
    training-kills    200 kills of ft-train in each of its modes, in every phase: results bit-identical to the unbroken run's
    job-kills         216 kills and restarts of workers and daemon while jobs train, with the same results
    control           200 moments at which jobs are paused, resumed, held, released, reordered or ended early with a result
    tsan              the C++ tests of the torch-free parts, the tests of ftd and its clients, and a storm of ten kills: all
                      programs with ThreadSanitizer
    trixie            the tarball trains on a Debian trixie that has nothing else installed
    parity-isa        every test of parity with Hugging Face, of all families in 16 bits too, with MKL, oneDNN and ATen held to
                      each of three instruction sets
    gpu-kit           the GPU kit is built, and runs without a GPU on a Debian trixie with Python and torch's wheels alone
    gguf              2,000 random models of all families as GGUF files, and a million numbers of each kind in blocks of each type,
                      against llama.cpp's own library
    data              90 random trees of data files, found as `datasets` finds them; 2,250 damaged files, refused or read
    tokenizer-folders 400 random folders of a tokenizer's files, and 150 texts by each, against AutoTokenizer; and 2,000 texts
                      by the folders of the test
    exporters         a job is sent to W&B, MLflow and Trackio by their own libraries, and read back
    vllm              vLLM's build for CPUs serves an adapter, a merged and a full model: the tokens of transformers and PEFT
    fuzz-json_rows    10,000,000 inputs or an hour of a processor each, by libFuzzer with AddressSanitizer
    fuzz-csv_rows     and UndefinedBehaviorSanitizer; what reaches new code lands in build-fuzz/corpus
    fuzz-hub_answer
    fuzz-dataset_card
    fuzz-jinja
    fuzz-chat_rows
    fuzz-model_config
    fuzz-worker_records
    fuzz-job_spec
    fuzz-configuration
    fuzz-http
    nix               the package with LibTorch in Nix's sandbox, twice without a compiler cache: the same bytes; the demo
                      from it; the flake's checks, with the C++ tests in the sandbox

A shard does one N-th of each, with a seed of its own (S + I); what cannot be divided is the first shard's. Each that ended
writes a line to tests/soak_ledger.tsv, which is kept in the repository: what ran, on which commit, for how many seconds (of
the clock, of the processors), and how it ended.
"""
import argparse
import datetime
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
LEDGER = ROOT / "tests" / "soak_ledger.tsv"
MODES = 3
CONTROL_MODES = 2
KILLS_OF_A_STORM = 40
KILLS_OF_ONE_RESUME_TEST = 18  # nine cases, twice each
FUZZ_RUNS, FUZZ_CPU_SECONDS = 10_000_000, 3600
# What starts threads of the programs against each other, of what runs at a tenth of the speed as well.
TSAN_TESTS = ["server_service_test", "server_runner_test", "server_control_test", "server_watch_test", "server_queue_test",
              "server_users_test", "server_uploads_test", "server_tls_test", "server_tcp_test", "server_backup_test", "server_drain_test",
              "server_task_streams_test", "server_standing_clients_test", "server_http_port_test", "server_metrics_growth_test",
              "server_retention_test", "server_notify_test", "client_cli_test", "client_watch_test", "client_top_test",
              "hub_ftd_fetch_test", "chaos"]
SLOW_INPUT_SECONDS = 20  # an input that takes longer is a finding
# What other processors compute with. On AMD's, MKL does not heed MKL_ENABLE_INSTRUCTIONS; MKL_CBWR it does everywhere.
INSTRUCTION_SETS = [
    {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "MKL_CBWR": "COMPATIBLE"},
    {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "MKL_ENABLE_INSTRUCTIONS": "AVX512"},  # no bfloat16, no AMX
]


def run_pytest(path, seed, only="", **environment):
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-rP", ROOT / "tests" / path] + (["-k", only] if only else [])
    environment = {name: str(value) for name, value in environment.items()}
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "FTD_TEST_SEED": str(seed), **environment})
    try:
        return process.wait() == 0
    except SystemExit:  # what subprocess.run does here is SIGKILL: its daemons would stay
        process.terminate()
        process.wait()
        raise


def run_rounds(path, rounds, seed, only="", **environment):
    return all(run_pytest(path, seed * 1000 + i, only, **environment) for i in range(rounds))


def training_kills(kills, seed):
    of_a_mode = -(-kills // MODES)
    return of_a_mode * MODES, run_pytest("e2e/kill_test.py", seed, FTD_TRAIN_KILLS=of_a_mode)


def job_kills(kills, seed):
    rounds = -(-kills // KILLS_OF_ONE_RESUME_TEST)
    return rounds * KILLS_OF_ONE_RESUME_TEST, run_rounds("e2e/resume_test.py", rounds, seed, "interrupted")


def control(moments, seed):
    of_a_mode = -(-moments // CONTROL_MODES)
    return of_a_mode * CONTROL_MODES, run_pytest("e2e/control_test.py", seed, FTD_CONTROL_MOMENTS=of_a_mode)


def daemon_kills(kills, seed):
    """Users do not pause: some two hundred operations for each kill."""
    storms = -(-kills // KILLS_OF_A_STORM)
    return storms * KILLS_OF_A_STORM, run_rounds("chaos/chaos_test.py", storms, seed, FTD_CHAOS_KILLS=KILLS_OF_A_STORM, FTD_CHAOS_PAUSE_S=0)


def planted_bugs(_, seed):
    """The harness that finds what befalls ftd finds what is wrong with it as well."""
    command = [sys.executable, ROOT / "tests" / "chaos" / "planted.py"]
    return 1, subprocess.run(command, cwd=ROOT, env={**os.environ, "FTD_TEST_SEED": str(seed)}).returncode == 0


def parity_isa(sets, seed):
    """Consecutive ones, so that shards, whose seeds are consecutive, have done all between them."""
    passed = True
    for k in range(sets):
        held = INSTRUCTION_SETS[(seed + k) % len(INSTRUCTION_SETS)]
        print("[soak]", *(f"{name}={value}" for name, value in held.items()), flush=True)
        passed = run_pytest("parity", seed, FTD_TEST_LONG=1, **held) and passed
    return sets, passed


def tsan(_, seed):
    """Any report of any process fails it, whatever the tests say: a daemon's does not show in a test's result."""
    build = ROOT / "build-tsan"
    subprocess.run(["cmake", "--preset", "tsan", f"-DFTD_PYTHON={sys.executable}"], cwd=ROOT, check=True)
    subprocess.run(["cmake", "--build", build, "-j", str(os.cpu_count())], check=True)
    reports = build / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir()
    reports.chmod(0o777)  # some tests run programs as another user
    # Threads that did not end are no finding: ftd's last resort ends it without those that are stuck.
    options = f"suppressions={ROOT}/tests/tsan.supp log_path={reports}/report report_thread_leaks=0"
    environment = {**os.environ, "FTD_TEST_SEED": str(seed), "FTD_TEST_DEADLINE_S": "300", "FTD_CHAOS_KILLS": "10",
                   "TSAN_OPTIONS": options, "GTEST_FILTER": "-Limits.AreKeptInTime"}  # its bound is for programs at full speed
    ctest = ["ctest", "--test-dir", build, "-j", str(os.cpu_count()), "--output-on-failure", "--no-label-summary"]
    passed = all([subprocess.run([*ctest, *which], env=environment).returncode == 0
                  for which in (["-L", "cpp"], ["-R", f"^({'|'.join(TSAN_TESTS)})$"])])
    found = sorted(reports.iterdir())
    for report in found:
        print(report.read_text(errors="replace"), flush=True)
    return 1, passed and not found


def stop_after(process, cpu_seconds):
    """Waits for the process; asks libFuzzer to end when it has used its time, which -max_total_time counts by the clock."""
    while process.poll() is None:
        try:
            fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            return
        if (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") >= cpu_seconds:
            return process.send_signal(signal.SIGUSR1)
        time.sleep(1)


def fuzz(name, runs, seed, cpu_seconds):
    found = ROOT / "build-fuzz" / "corpus" / name
    found.mkdir(parents=True, exist_ok=True)
    command = [ROOT / "build-fuzz" / "tests" / f"fuzz_{name}", f"-runs={runs}", f"-seed={seed}", f"-timeout={SLOW_INPUT_SECONDS}",
               "-max_len=4096", "-rss_limit_mb=4096", "-print_final_stats=1", f"-artifact_prefix={found}-finding-", found,
               next(ROOT.glob(f"tests/*/fuzz/corpus/{name}"))]
    # libFuzzer knows nothing of the standard library's containers, which are not instrumented.
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace",
                               env={**os.environ, "ASAN_OPTIONS": "detect_container_overflow=0"})
    threading.Thread(target=stop_after, args=(process, cpu_seconds), daemon=True).start()
    executed = 0
    try:
        for line in process.stderr:
            if re.match(r"#\d+\s+(pulse|DONE|INITED)", line) or "ERROR" in line or "SUMMARY" in line:
                print(line, end="", flush=True)
            if match := re.match(r"stat::number_of_executed_units:\s*(\d+)", line):
                executed = int(match[1])
        return executed, process.wait() == 0
    finally:
        process.kill()


SOAKS = {
    "hub-kills": (300, lambda n, seed: (n, run_pytest("lib/hub/ftd_fetch_test.py", seed, "test_kills", FTD_HUB_KILLS=n))),
    "hub-push-kills": (100, lambda n, seed: (n, run_pytest("lib/hub/ftd_push_test.py", seed, "test_kills", FTD_HUB_PUSH_KILLS=n))),
    "push-kills": (100, lambda n, seed: (n, run_pytest("server/push_test.py", seed, "test_kills", FTD_PUSH_KILLS=n))),
    "daemon-kills": (2000, daemon_kills),
    "failpoints": (50, lambda n, seed: (n, run_pytest("chaos/failpoints_test.py", seed, FTD_CHAOS_ROUNDS=n))),
    "power-cuts": (300, lambda n, seed: (n, run_pytest("chaos/power_cut_test.py", seed, FTD_POWER_CUTS=n))),
    "planted-bugs": (1, planted_bugs),
    "training-kills": (MODES * 200, training_kills),
    "job-kills": (216, job_kills),
    "control": (200, control),
    "parity-isa": (len(INSTRUCTION_SETS), parity_isa),
    "tsan": (1, tsan),
    "trixie": (1, lambda n, seed: (n, run_pytest("deploy/trixie_test.py", seed))),
    "gpu-kit": (1, lambda n, seed: (n, run_pytest("deploy/gpu_kit_trixie_test.py", seed))),
    "gguf": (2000, lambda n, seed: (n, run_pytest("lib/gguf/gguf_test.py", seed, "random or blocks", FTD_GGUF_MODELS=n, FTD_GGUF_BLOCKS=4000))),
    "data": (90, lambda n, seed: (n, run_pytest("worker/data/formats_test.py", seed * 1000, "directories or damaged", FTD_DATA_SEEDS=n))),
    "tokenizer-folders": (400, lambda n, seed: (n, run_pytest("lib/tokenizer/auto_tokenizer_test.py", seed, "folder",
                                                              FTD_RANDOM_FOLDERS=n))),
    "exporters": (1, lambda n, seed: (n, run_pytest("tools/trackers_test.py", seed))),
    "vllm": (1, lambda n, seed: (n, run_pytest("e2e/vllm_test.py", seed))),
    **{f"fuzz-{name}": (FUZZ_RUNS, lambda n, seed, name=name: fuzz(name, n, seed, FUZZ_CPU_SECONDS * n // FUZZ_RUNS))
       for name in ("json_rows", "csv_rows", "hub_answer", "dataset_card", "jinja", "chat_rows", "model_config", "worker_records",
                    "job_spec", "configuration", "http")},
    "nix": (1, lambda n, seed: (n, run_pytest("nix/whole_test.py", seed, FTD_NIX_CCACHE=""))),
}


def commit():
    def git(*args):
        return subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    changed = git("status", "--porcelain", "-uno", "--", ".", f":!{LEDGER.relative_to(ROOT)}")
    return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")


def cpu_seconds():
    """That the processes which have ended used so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shard", default="1/1", help="I/N: the I-th of N parts")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("names", nargs="*", metavar="NAME")
    args = parser.parse_args()
    if unknown := set(args.names) - set(SOAKS):
        parser.error(f"no such soak: {', '.join(sorted(unknown))}; there are {', '.join(SOAKS)}")
    shard, shards = map(int, args.shard.split("/"))
    if not 1 <= shard <= shards:
        parser.error(f"--shard {args.shard}: I/N with 1 <= I <= N is wanted")
    failed = 0
    for name in args.names or SOAKS:
        whole, soak = SOAKS[name]
        if shard > whole:
            print(f"[soak] {name}: done by the shards before this one", flush=True)
            continue
        start, cpu, seed, at = time.monotonic(), cpu_seconds(), args.seed + shard, commit()
        print(f"[soak] {name}, shard {args.shard}, seed {seed}", flush=True)
        runs, passed = soak(-(-whole // shards), seed)
        failed += not passed
        seconds = time.monotonic() - start
        fields = [datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"), at, name, args.shard, seed, runs,
                  round(seconds), round(cpu_seconds() - cpu), "passed" if passed else "FAILED"]
        with LEDGER.open("a") as ledger:
            print(*fields, sep="\t", file=ledger)
        print(f"[soak] {name}: {'passed' if passed else 'FAILED'}, {runs} runs in {seconds:.0f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
