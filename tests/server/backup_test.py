"""`ftctl backup` while ftd works, and a daemon elsewhere that starts from the copy while the first one still runs."""
import os
import shutil
import sqlite3
import stat
import threading
import uuid

import grpc

from ftd_fixture import api, state_name, wait_until
from helpers import expect_error, fake_ftd, submit

Code = grpc.StatusCode
ENDLESS = "steps=1000000 step_ms=20 save=10"


def test_a_copy_while_jobs_come():
    with fake_ftd(ENDLESS) as ftd:
        spec = ftd.spec(model=ftd.model, rows=[{"instruction": "a", "output": "b"}])
        ending, acknowledged = threading.Event(), []

        def submit_many():
            while not ending.is_set():
                acknowledged.append(ftd.stub.SubmitJob(api.SubmitJobRequest(spec=spec, request_id=str(uuid.uuid4()))).id)

        clients = [threading.Thread(target=submit_many) for _ in range(4)]
        for client in clients:
            client.start()
        copies = []
        try:
            target = ftd.root / "backup.db"
            for number in range(3):
                before = list(acknowledged)
                done = ftd.ftctl("backup", target)
                assert "is in" in done.stderr and stat.S_IMODE(target.stat().st_mode) == 0o600
                copies.append((before, shutil.copy(target, ftd.root / f"copy-{number}.db")))
        finally:
            ending.set()
            for client in clients:
                client.join()
        for before, copy in copies:
            with sqlite3.connect(copy) as database:
                assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                found = {row[0] for row in database.execute("SELECT id FROM jobs")}
                assert found >= set(before), "what was acknowledged before is in it"
                assert database.execute("SELECT count(*) FROM events").fetchone()[0] >= len(found)
            database.close()
        assert not list(ftd.root.glob("*.tmp-*")) and not list(ftd.state_dir.glob(".tmp-*"))
        nowhere = ftd.ftctl("backup", ftd.root / "missing" / "x.db", check=False)
        assert nowhere.returncode != 0 and not (ftd.root / "missing").exists()


def test_a_restored_ftd_takes_nothing_from_the_one_that_still_runs():
    with fake_ftd(ENDLESS) as first:
        done = first.stub.CancelJob  # what follows has jobs in each kind of state
        running = submit(first, name="running")
        first.wait(running.id, "RUNNING")
        submit(first, name="queued")
        submit(first, name="held")
        first.stub.HoldJob(api.HoldJobRequest(job="held"))
        submit(first, name="chained", start_from="held")
        submit(first, name="cancelled")
        done(api.CancelJobRequest(job="cancelled"))
        submit(first, name="kept", priority=9)
        first.stub.PauseJob(api.PauseJobRequest(job="running"))
        first.wait("running", "PAUSED")
        first.wait("kept", "RUNNING")
        wait_until(lambda: first.job("kept").checkpoints, "a checkpoint")
        first.stub.CancelJob(api.CancelJobRequest(job="kept", keep=True))
        result = first.wait("kept", "SUCCEEDED").result_dir
        first.wait("queued", "RUNNING")
        worker = first.worker_pid("queued")
        first.ftctl("backup", "--quiet", first.root / "backup.db")
        with fake_ftd("steps=3", start=False) as second:
            second.state_dir.mkdir()
            shutil.copy(first.root / "backup.db", second.state_dir / "ftd.db")
            second.start()
            assert f"the jobs come from the state directory {first.state_dir}" in second.log()
            # Without its attempt's directory: begun again, from the first step.
            again = second.wait("queued", "SUCCEEDED")
            assert [attempt.number for attempt in again.attempts] == [1, 2] and again.attempts[0].pid != worker
            assert [step.step for step in second.steps("queued")] == [1, 2, 3]
            assert again.result_dir.startswith(str(second.state_dir))
            assert state_name(second.job("held").state) == "HELD" and state_name(second.job("running").state) == "PAUSED"
            assert state_name(second.job("cancelled").state) == "CANCELLED"
            second.stub.ReleaseJob(api.ReleaseJobRequest(job="held"))
            second.stub.ResumeJob(api.ResumeJobRequest(job="running"))
            for name in ("held", "running", "chained"):
                second.wait(name, "SUCCEEDED")
            assert second.job("chained").spec.lora.init_adapter == str(second.state_dir / "results" / "held")
            # A result is a file of the first one's, and it stays there whatever is asked of the second.
            kept = second.job("kept")
            assert kept.result_dir == result.replace(str(first.state_dir), str(second.state_dir))
            expect_error(lambda: second.stub.DownloadResult(api.DownloadResultRequest(job="kept")), Code.DATA_LOSS, "RESULT_MISSING")
            second.stub.DeleteJob(api.DeleteJobRequest(job="kept", results=True))
        assert os.path.isdir(result)
        assert state_name(first.job("queued").state) == "RUNNING" and first.worker_pid("queued") == worker
        os.kill(worker, 0)
