"""WatchJob: ordered, unique, complete, also across lost streams, crashes of the worker and of the daemon."""

import os
import random
import threading
import urllib.request

import grpc

import prometheus_text
from ftd_fixture import api, api_grpc, jobs, state_name, wait_until
from helpers import SANITIZED, expect_error, fake_ftd, submit

Code = grpc.StatusCode


def kind(event):
    return event.WhichOneof("event")


class Collector:
    """Follows a job as a client should: calls again with the last token until the stream ends with OK."""

    def __init__(self, ftd, job, rng=None, cut_after=40):
        self.ftd, self.job, self.rng, self.cut_after = ftd, job, rng, cut_after
        self.events, self.streams = [], 0

    def run(self, deadline_s=60):
        token, over = "", False
        while not over:
            self.streams += 1
            assert self.streams < 2000
            limit = self.rng.randint(1, self.cut_after) if self.rng else None
            try:
                with self.ftd.new_channel() as channel:
                    stream = api_grpc.FineTuningStub(channel).WatchJob(
                        api.WatchJobRequest(job=self.job, resume_token=token), timeout=deadline_s)
                    over = True
                    for event in stream:
                        assert event.resume_token
                        token = event.resume_token
                        if kind(event) != "bookmark":
                            self.events.append(event)
                        if limit is not None and (limit := limit - 1) == 0:
                            over = False
                            stream.cancel()
                            break
            except grpc.RpcError as error:
                over = False
                assert error.code() in (Code.UNAVAILABLE, Code.CANCELLED), error
        return self


def check(events, last_step, final):
    """Every step once and in order but for announced rollbacks; state events without a gap; the final one last."""
    assert kind(events[0]) == "snapshot" and all(kind(e) != "snapshot" for e in events[1:])
    step, sequence, state = 0, None, events[0].snapshot.state
    for event in events[1:]:
        if kind(event) == "step":
            assert event.step.step == step + 1
            step = event.step.step
        elif kind(event) == "rolled_back_to_step":
            assert event.rolled_back_to_step < step
            step = event.rolled_back_to_step
        elif kind(event) == "state_change":
            change = event.state_change
            assert sequence is None or change.sequence == sequence + 1
            assert getattr(change, "from") == state
            sequence, state = change.sequence, change.to
    assert step == last_step
    assert state_name(state) == final


def test_one_watcher_from_submit_to_end():
    with fake_ftd("prepare_ms=300 steps=50 step_ms=2 save=20 warn=7") as ftd:
        events = Collector(ftd, submit(ftd).id).run().events
        check(events, 50, "SUCCEEDED")
        assert kind(events[-1]) == "state_change" and events[-1].state_change.result_dir
        assert [e.checkpoint.step for e in events if kind(e) == "checkpoint"] == [20, 40]
        order = [kind(e) for e in events]
        assert order.index("warning") == [i for i, e in enumerate(events) if kind(e) == "step"][6] + 1
        running = next(i for i, e in enumerate(events)
                       if kind(e) == "state_change" and e.state_change.to == jobs.Job.RUNNING)
        assert running < order.index("step")


def test_a_late_watcher_gets_every_step():
    with fake_ftd("steps=1000 step_ms=0") as ftd:
        job = submit(ftd)
        ftd.wait(job.id, "SUCCEEDED")
        events = list(ftd.watch(job.id))
        assert events[0].snapshot.state == jobs.Job.SUCCEEDED
        assert [e.step.step for e in events if kind(e) == "step"] == list(range(1, 1001))
        # From any token of it: exactly the rest.
        for at in [0, 1, 2, 500, len(events) - 2, len(events) - 1]:
            rest = list(ftd.watch(job.id, events[at].resume_token))
            assert [e.resume_token for e in rest] == [e.resume_token for e in events[at + 1:]]


def test_watchers_that_come_and_go_at_random():
    seed = int(os.environ.get("FTD_TEST_SEED", random.SystemRandom().randrange(2**32)))
    print("FTD_TEST_SEED", seed)
    with fake_ftd("steps=300 step_ms=4 save=50 1:crash=120 2:crash=210") as ftd:
        job = submit(ftd)
        collectors = [Collector(ftd, job.id, random.Random(seed + i), cut) for i, cut in enumerate([3, 20, 100])]
        steady = Collector(ftd, job.id)
        threads = [threading.Thread(target=c.run) for c in collectors + [steady]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(90)
        for collector in collectors + [steady]:
            check(collector.events, 300, "SUCCEEDED")
        assert collectors[0].streams > 20
        rolled = [e.rolled_back_to_step for e in steady.events if kind(e) == "rolled_back_to_step"]
        assert rolled == [100, 200]


def test_the_snapshot_and_the_first_change_agree():
    """Streams that are opened while the job's state changes: the first change starts from the snapshot's state."""
    with fake_ftd("prepare_ms=1 steps=2 step_ms=1") as ftd, ftd.new_channel() as channel:
        stub = api_grpc.FineTuningStub(channel)
        for _ in range(40):
            job = submit(ftd)
            streams = [stub.WatchJob(api.WatchJobRequest(job=job.id), timeout=30) for _ in range(60)]
            for stream in streams:
                snapshot = next(stream).snapshot
                change = next((e.state_change for e in stream if kind(e) == "state_change"), None)
                assert change is None or getattr(change, "from") == snapshot.state
                assert change is not None or state_name(snapshot.state) == "SUCCEEDED"


def test_across_restarts_of_the_daemon():
    with fake_ftd("steps=400 step_ms=5 save=50") as ftd:
        job = submit(ftd)
        collector = Collector(ftd, job.id)
        failures = []

        def run():
            try:
                collector.run()
            except BaseException as error:  # shown by the main thread
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        for action in [ftd.kill, ftd.kill, ftd.terminate, ftd.kill]:
            have = len(collector.events)
            wait_until(lambda: len(collector.events) > have + 20 or not thread.is_alive(), "some more events")
            action()
            ftd.start()
        thread.join(60)
        assert not failures, failures
        check(collector.events, 400, "SUCCEEDED")
        assert collector.streams > 4


def test_rollback_to_the_beginning_without_a_checkpoint():
    with fake_ftd("steps=10 1:crash=5") as ftd:
        events = Collector(ftd, submit(ftd).id).run().events
        check(events, 10, "SUCCEEDED")
        assert [e.rolled_back_to_step for e in events if kind(e) == "rolled_back_to_step"] == [0]


def test_a_queued_job_that_is_cancelled():
    with fake_ftd("prepare_ms=600000") as ftd:
        submit(ftd)
        job = submit(ftd)
        stream = ftd.watch(job.id)
        assert kind(next(stream)) == "snapshot"
        ftd.stub.CancelJob(api.CancelJobRequest(job=job.id, reason="changed my mind"))
        rest = list(stream)
        assert [state_name(e.state_change.to) for e in rest] == ["CANCELLED"]
        assert "changed my mind" in rest[0].state_change.message


def test_a_quiet_stream_is_bookmarked():
    with fake_ftd("prepare_ms=600000") as ftd:
        job = submit(ftd)
        stream = ftd.watch(job.id, timeout=20)
        bookmark = next(e for e in stream if kind(e) == "bookmark")
        stream.cancel()
        ftd.stub.CancelJob(api.CancelJobRequest(job=job.id))
        rest = [state_name(e.state_change.to) for e in ftd.watch(job.id, bookmark.resume_token)]
        assert rest == ["CANCELLING", "CANCELLED"]


def test_a_quiet_stream_is_bookmarked_while_another_job_trains():
    with fake_ftd("steps=1000000 step_ms=20") as ftd:
        training, waiting = submit(ftd), submit(ftd)
        ftd.wait(training.id, "RUNNING")
        assert any(kind(e) == "bookmark" for e in ftd.watch(waiting.id, timeout=20))


def test_tokens_of_other_jobs_are_refused():
    with fake_ftd() as ftd:
        first, second = submit(ftd), submit(ftd)
        token = list(ftd.watch(first.id))[3].resume_token
        for bad in [token, "junk", token[:-2]]:
            expect_error(lambda: ftd.watch(second.id, bad), Code.INVALID_ARGUMENT, "FIELD_INVALID")


def test_watchers_are_limited_and_let_go():
    with fake_ftd("prepare_ms=600000") as ftd:
        job = submit(ftd)
        streams = [ftd.watch(job.id) for _ in range(1024)]
        for stream in streams:
            next(stream)
        expect_error(lambda: ftd.watch(job.id), Code.RESOURCE_EXHAUSTED, "TOO_MANY_WATCHERS")
        rss_kib = int(next(line for line in open(f"/proc/{ftd.process.pid}/status")
                           if line.startswith("VmRSS")).split()[1])
        if not SANITIZED:  # whose shadow memory is not the daemon's doing
            assert rss_kib < 40 * 1024 + 1024 * 64
        for stream in streams:
            stream.cancel()

        def one_more():
            try:
                return kind(next(ftd.watch(job.id))) == "snapshot"
            except grpc.RpcError:
                return False

        wait_until(one_more, "room for one more", 10)


def test_steps_collapse_for_a_reader_that_stands_still():
    """It holds nobody up, misses no other event, and is told how many steps were left out."""
    script = "prepare_ms=300 steps=20000 step_ms=0 save=5000 warn=12000 result_ms=2500"
    with fake_ftd(script, args=["--metrics-listen", "127.0.0.1:0"]) as ftd:
        job = submit(ftd)
        # Without the probe for bandwidth, which has the client take in all that there is.
        channel = grpc.insecure_channel(ftd.address, options=[("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)])
        slow = api_grpc.FineTuningStub(channel).WatchJob(api.WatchJobRequest(job=job.id), timeout=60)
        assert kind(next(slow)) == "snapshot"
        ftd.wait(job.id, "SUCCEEDED")  # 2.5 s after the last step: the reader is late by then
        rest = list(slow)
        step, left_out = 0, 0
        for event in rest:
            assert kind(event) == "step" or event.collapsed == 0
            if kind(event) == "step":
                assert event.step.step == step + event.collapsed + 1
                step, left_out = event.step.step, left_out + event.collapsed
        assert step == 20000 and left_out > 10000
        assert [e.checkpoint.step for e in rest if kind(e) == "checkpoint"] == [5000, 10000, 15000, 20000]
        assert [e.warning for e in rest if kind(e) == "warning"] == ["warning at step 12000"]
        assert state_name(rest[-1].state_change.to) == "SUCCEEDED"
        address = ftd.stub.GetServerInfo(api.GetServerInfoRequest()).metrics_address
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as reply:
            samples = prometheus_text.parse(reply.read().decode())
        assert samples["ftd_watch_steps_collapsed_total", ()] == left_out
        # A stream that is opened again has all of them, also from a token of the one that was slow.
        at = next(i for i, e in enumerate(rest) if e.collapsed)
        again = [e for e in ftd.watch(job.id, rest[at - 1].resume_token) if kind(e) == "step"]
        assert [e.step.step for e in again] == list(range(rest[at].step.step - rest[at].collapsed, 20001))
        assert not any(e.collapsed for e in again)


def test_all_watchers_see_what_a_query_says():
    with fake_ftd("steps=400 step_ms=2 save=50 1:crash=220") as ftd:
        job = submit(ftd)
        collectors = [Collector(ftd, job.id) for _ in range(8)]
        threads = [threading.Thread(target=c.run) for c in collectors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        steps = ftd.steps(job.id)
        for collector in collectors:
            check(collector.events, 400, "SUCCEEDED")
            seen = []
            for event in collector.events:
                if kind(event) == "rolled_back_to_step":
                    del seen[event.rolled_back_to_step:]
                elif kind(event) == "step":
                    seen.append(event.step)
            assert seen == steps
