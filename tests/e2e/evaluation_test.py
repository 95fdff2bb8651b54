"""What users see of evaluations: when they are made, on the watch stream, in ftctl, in the metrics; and stops that come into one."""
import json
import math
import urllib.request

import pytest
from conftest import ENDLESS, error_of, submit
from ftd_fixture import Ftd, alpaca_rows, wait_until, write_jsonl

from ftd.v1 import fine_tuning_pb2 as api
from ftd.v1 import job_pb2 as jobs


def test_an_epoch_by_default_and_after_the_last_step(ftd, model, dataset):
    job = submit(ftd, model, dataset, max_steps=15, eval_split=8)  # 24 rows to train on: 6 steps an epoch
    ftd.wait(job, "SUCCEEDED")
    assert [(e.step, e.rows) for e in ftd.evaluations(job)] == [(6, 8), (12, 8), (15, 8)]
    assert all(e.seconds > 0 and math.isfinite(e.loss) and e.time.seconds > 0 for e in ftd.evaluations(job))


def test_told_of_everywhere(model, dataset):
    with Ftd(args=["--metrics-listen", "127.0.0.1:0"]) as ftd:
        job = submit(ftd, model, dataset, max_steps=6, eval_split=0.25, eval_steps=2)
        done = ftd.wait(job, "SUCCEEDED")
        evaluations = ftd.evaluations(job)
        assert [e.step for e in evaluations] == [2, 4, 6]
        order = [(m.WhichOneof("event"), getattr(m, m.WhichOneof("event")).step) for m in ftd.watch(job)
                 if m.WhichOneof("event") in ("step", "evaluation")]
        assert order == [("step", 1), ("step", 2), ("evaluation", 2), ("step", 3), ("step", 4), ("evaluation", 4), ("step", 5),
                         ("step", 6), ("evaluation", 6)]
        assert done.last_evaluation == evaluations[-1]
        assert done.best_evaluation == min(evaluations, key=lambda e: e.loss)
        printed = ftd.ftctl("watch", job).stdout
        assert [line for line in printed.splitlines() if "evaluation" in line] == [
            f"evaluation step {e.step}  loss {e.loss:.4f}, token accuracy {100 * e.mean_token_accuracy:.1f}%, 8 rows" for e in evaluations]
        assert f"loss {evaluations[-1].loss:.4f}" in ftd.ftctl("show", job).stdout
        csv = [line.split(",") for line in ftd.ftctl("metrics", job, "-o", "csv").stdout.splitlines()]
        column = csv[0].index("eval_loss")
        assert [line[column] != '""' and line[column] != "" for line in csv[1:]] == [False, True] * 3
        table = ftd.ftctl("metrics", job).stdout.splitlines()
        assert "EVAL_LOSS" in table[0] and f"{evaluations[0].loss:.4f}" in table[2]
        address = ftd.stub.GetServerInfo(api.GetServerInfoRequest()).metrics_address
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as reply:
            lines = [line for line in reply.read().decode().splitlines() if line.startswith("ftd_eval_loss{")]
        assert len(lines) == 1 and float(lines[0].split()[-1]) == pytest.approx(evaluations[-1].loss, rel=1e-5)


def test_stopped_within_an_evaluation(ftd, model, tmp_path):
    """The evaluation that was cut off is made when the job goes on, at the step that it belongs to."""
    rows = write_jsonl(tmp_path / "rows.jsonl", alpaca_rows(32) * 100)
    job = submit(ftd, model, rows, max_steps=4, eval_split=0.99, eval_steps=2, load_best_model_at_end=True)
    wait_until(lambda: ftd.job(job).progress.phase == jobs.Progress.EVAL, "an evaluation")
    at = ftd.job(job).last_step.step
    assert ftd.terminate() == 0
    ftd.start()
    assert not ftd.evaluations(job) and ftd.job(job).checkpoints[-1].step == at
    ftd.wait(job, "SUCCEEDED", deadline_s=180)
    assert [e.step for e in ftd.evaluations(job)] == [2, 4]


def test_cancelled_within_an_evaluation(ftd, model, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", alpaca_rows(32) * 300)
    job = submit(ftd, model, rows, max_steps=ENDLESS, eval_split=0.99, eval_steps=1)
    wait_until(lambda: ftd.job(job).progress.phase == jobs.Progress.EVAL, "an evaluation")
    ftd.ftctl("cancel", job)
    ftd.wait(job, "CANCELLED", deadline_s=5)


@pytest.mark.parametrize("flags, field", [(dict(eval_steps=5), "eval_steps"), (dict(load_best_model_at_end=True), "load_best_model_at_end"),
                                          (dict(eval_split=1.5), "eval_split"), (dict(eval_split=0.1, seed=-1), "seed")])
def test_settings_that_do_not_go_together(ftd, model, flags, field):
    code, info, fields, _ = error_of(lambda: ftd.submit(model=model, rows=alpaca_rows(8), max_steps=1, **flags))
    assert (code, info.reason, fields) == ("INVALID_ARGUMENT", "FIELD_INVALID", [f"spec.{field}"])


def test_nothing_left_to_train_on(ftd, model, dataset):
    job = ftd.wait(submit(ftd, model, dataset, max_steps=1, eval_split=32), "FAILED")
    assert job.failure_reason == jobs.DATASET_INVALID and "eval_split" in job.message and "32 rows" in job.message, job.message
    assert json.loads(ftd.ftctl("show", job.id, "-o", "json").stdout)["last_evaluation"] is None
