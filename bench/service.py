#!/usr/bin/env python3
"""The service's speed: submits, lists and lookups, with few and with many jobs. `./dev bench service` builds and runs it.

Each figure has what it is measured against beside it: the device's flush, an empty call, and what SQLite does on the same
disk with the same rows when as many as there are clients share a transaction. h2load (of nghttp2) makes the load of many
clients; a single one is grpcio's, whose own time is in its figures. The daemon's worker does nothing meanwhile. The disk
is that of --dir. Prints a Markdown table.
"""
import argparse
import os
import pathlib
import random
import shutil
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
from ftd_fixture import BIN, api, jobs as jobs_api  # noqa: E402
from helpers import ROWS, fake_ftd, submit  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
CONFIG = "max_queued = 1000000\nmax_queued_per_owner = 1000000\n"
BUSY = "prepare_ms=100000000"  # its first job stays where it is, and so do those that wait for it
CLIENTS = 64


def cpu_seconds(ftd):
    fields = pathlib.Path(f"/proc/{ftd.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(ftd):
    return int(pathlib.Path(f"/proc/{ftd.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def median_ms(call, times):
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1e3


def flush_ms(directory):
    """A write of one page and its flush, as SQLite's log has them."""
    with open(directory / "probe", "wb", buffering=0) as file:
        def flush():
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
        return median_ms(flush, 300)


def fill(path, jobs, state, shared):
    """Copies of the first job, as a daemon would have stored them, durably; `shared` of them in a transaction. A second's
    number of them."""
    database = sqlite3.connect(path, isolation_level=None)
    database.row_factory = sqlite3.Row
    database.execute("PRAGMA synchronous = FULL")
    row = dict(database.execute("SELECT * FROM jobs ORDER BY ordinal LIMIT 1").fetchone())
    del row["ordinal"]
    row |= {"name": None, "state": state, "priority": 0, "at_head": 0, "start_time": 0}
    insert_job = f"INSERT INTO jobs ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
    insert_event = "INSERT INTO events VALUES (?, 1, '', 'QUEUED', 0, 'submitted', '', '', 0, '')"
    rows = [[(row | {"id": "ft-" + "".join(random.choices("0123456789abcdefghjkmnpqrstvwxyz", k=26))}) for _ in
             range(min(shared, jobs - first))] for first in range(0, jobs, shared)]
    groups = [([tuple(job.values()) for job in group], [(job["id"],) for job in group]) for group in rows]
    start = time.perf_counter()
    for group, ids in groups:
        database.execute("BEGIN IMMEDIATE")
        database.executemany(insert_job, group)
        database.executemany(insert_event, ids)
        database.execute("COMMIT")
    taken = time.perf_counter() - start
    database.close()
    return jobs / taken


def service(**kwargs):
    ftd = fake_ftd(BUSY, config=CONFIG, **kwargs)
    ftd.first = submit(ftd, priority=1000)
    ftd.wait(ftd.first.id, "PREPARING")
    return ftd


def service_with(jobs, state="QUEUED"):
    ftd = service()
    ftd.terminate()
    fill(ftd.state_dir / "ftd.db", jobs, state, 1000)
    start = time.perf_counter()
    ftd.start()
    ftd.started_s = time.perf_counter() - start
    return ftd


def load(ftd, method, request, calls):
    """Calls a second by as many clients, each with a connection of its own and one call at a time."""
    body = request.SerializeToString()
    (ftd.root / "body").write_bytes(struct.pack(">BI", 0, len(body)) + body)
    out = subprocess.run(["h2load", "-n", str(calls), "-c", str(CLIENTS), "-m", "1", "-d", ftd.root / "body",
                          "-H", "te: trailers", "-H", "content-type: application/grpc", "-B", f"unix:{ftd.socket}",
                          f"http://localhost/ftd.v1.FineTuning/{method}"], capture_output=True, text=True, check=True).stdout
    assert f"{calls} succeeded" in out, out
    return float(out.split("finished in ")[1].split(", ")[1].split()[0])


def submits(table, calls):
    with service() as ftd:
        spec = ftd.spec(ftd.model, ROWS)
        flush = flush_ms(ftd.root)
        table("a flush of the device", flush, "ms")
        empty = median_ms(lambda: ftd.stub.GetServerInfo(api.GetServerInfoRequest()), 300)
        table("an empty call, 1 client", empty, "ms")
        before = cpu_seconds(ftd)
        one = median_ms(lambda: ftd.stub.SubmitJob(api.SubmitJobRequest(spec=spec)), 1000)
        table("a durable submit, 1 client, median", one, "ms", f"{one - flush - empty:+.2f} ms beside the two above")
        table("the daemon's processor time for it", (cpu_seconds(ftd) - before), "ms")
        shutil.copy(ftd.state_dir / "ftd.db", ftd.root / "bare.db")  # without the log of what came last
        count = api.ListJobsRequest(page_size=1)
        stored = ftd.stub.ListJobs(count).total_size
        idle = memory_mb(ftd)
        rates, bare = [], []
        for _ in range(3):
            bare.append(fill(ftd.root / "bare.db", calls // 3, "QUEUED", CLIENTS))
            before = cpu_seconds(ftd)
            rates.append(load(ftd, "SubmitJob", api.SubmitJobRequest(spec=spec), calls // 3))
            used = (cpu_seconds(ftd) - before) / (calls // 3) * 1e3
        assert ftd.stub.ListJobs(count).total_size == stored + calls // 3 * 3
        rate, most = statistics.median(rates), statistics.median(bare)
        table(f"durable submits, {CLIENTS} clients", rate, "1/s", f"{rate / most:.2f} × SQLite alone")
        table(f"SQLite alone, {CLIENTS} in a transaction", most, "1/s")
        table("the daemon's processor time for one of them", used, "ms")
        time.sleep(12)
        table("memory before and after", memory_mb(ftd), "MB", f"from {idle:.1f} MB")


def lists(table, few, many):
    taken = {}
    for jobs in (few, many):
        with service_with(jobs) as ftd:
            page = ftd.stub.ListJobs(api.ListJobsRequest(page_size=50))
            calls = {
                "ListJobs of 50": lambda: ftd.stub.ListJobs(api.ListJobsRequest(page_size=50)),
                "ListJobs of those that run": lambda: ftd.stub.ListJobs(api.ListJobsRequest(states=[jobs_api.Job.PREPARING])),
                "GetJob of a queued job": lambda: ftd.stub.GetJob(api.GetJobRequest(job=page.jobs[0].id)),
                "GetServerInfo": lambda: ftd.stub.GetServerInfo(api.GetServerInfoRequest()),
            }
            for name, call in calls.items():
                call()
                taken[name, jobs] = median_ms(call, 200)
            if jobs == many:
                started = ftd.started_s
                command = [BIN / "ftctl", "--address", ftd.address, "ls"]
                shown = median_ms(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                                         check=True), 20)
    for name in calls:
        ratio = taken[name, many] / taken[name, few]
        table(f"{name} among {many:,} queued", taken[name, many], "ms", f"{ratio:.2f} × among {few:,}")
    table(f"start with {many:,} queued jobs", started * 1e3, "ms")
    table(f"`ftctl ls` among {many:,}", shown, "ms")
    with service_with(many, "CANCELLED") as ftd:
        ids = iter([job.id for job in ftd.stub.ListJobs(api.ListJobsRequest(page_size=50)).jobs if job.id != ftd.first.id])
        gone = median_ms(lambda: ftd.stub.DeleteJob(api.DeleteJobRequest(job=next(ids))), 40)
        table(f"DeleteJob among {many:,} that have ended", gone, "ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=30000, help="submits of the many clients [30000]")
    parser.add_argument("--few", type=int, default=1000, help="jobs [1000]")
    parser.add_argument("--many", type=int, default=100000, help="jobs [100000]")
    parser.add_argument("--dir", help="where the daemons' directories are made [that of temporary files]")
    parser.add_argument("--only", choices=["submits", "lists"])
    args = parser.parse_args()
    tempfile.tempdir = args.dir
    if args.only != "lists" and shutil.which("h2load") is None:
        sys.exit("h2load is missing: apt-get install nghttp2-client")
    print("| | | |\n| --- | ---: | --- |")

    def table(what, value, unit, note=""):
        print(f"| {what} | {value:,.{0 if value >= 100 else 2}f} {unit} | {note} |", flush=True)

    if args.only != "lists":
        submits(table, args.calls)
    if args.only != "submits":
        lists(table, args.few, args.many)


if __name__ == "__main__":
    main()
