"""The scrape's size while jobs come and go. FTD_METRICS_JOBS: how many; the whole is a thousand."""
import os
import statistics
import time
import urllib.request

import prometheus_text
from helpers import fake_ftd, submit

from ftd.v1 import fine_tuning_pb2 as api

JOBS = int(os.environ.get("FTD_METRICS_JOBS", "40"))
WARM_UP = 8  # jobs until each counter that they move has been seen


def scrape(address):
    begin = time.perf_counter()
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as reply:
        page = reply.read().decode()
    return prometheus_text.parse(page), time.perf_counter() - begin


def test_a_thousand_jobs_leave_no_series():
    with fake_ftd("steps=2 save=1", args=["--metrics-listen", "127.0.0.1:0"]) as ftd:
        address = ftd.stub.GetServerInfo(api.GetServerInfoRequest()).metrics_address
        sizes, seconds = [], []
        for i in range(JOBS):
            ftd.wait(submit(ftd).id, "SUCCEEDED")
            samples, took = scrape(address)
            sizes.append(len(samples))
            seconds.append(took)
        print(f"{JOBS} jobs: {sizes[WARM_UP]} series after {WARM_UP + 1}, {sizes[-1]} at the end; "
              f"scrape, median: {1000 * statistics.median(seconds):.1f} ms, of the last 20: {1000 * statistics.median(seconds[-20:]):.1f} ms")
        assert set(sizes[WARM_UP:]) == {sizes[WARM_UP]} and sizes[-1] < 300
        jobs = {dict(labels)["ft_job"] for _, labels in samples if "ft_job" in dict(labels)}
        assert len(jobs) == 3
