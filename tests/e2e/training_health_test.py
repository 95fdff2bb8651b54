"""What ftd says of a run that goes wrong: one that diverges, learns by heart, or trains on rows that were cut; and when it ends early."""
import json
import pathlib

import pytest
from conftest import submit
from ftd_fixture import alpaca_rows, write_jsonl
from transformers import EarlyStoppingCallback, TrainerControl, TrainerState, TrainingArguments

from ftd.v1 import job_pb2 as jobs


def warnings(ftd, job):
    """A job's warnings, which must be in show, in the log and on the watch stream alike."""
    told = list(ftd.job(job).warnings)
    shown, log = ftd.ftctl("show", job).stdout, ftd.ftctl("logs", job).stdout
    assert [m.warning for m in ftd.watch(job) if m.WhichOneof("event") == "warning"] == told
    assert [line.removeprefix("warning ") for line in ftd.ftctl("watch", job).stdout.splitlines() if line.startswith("warning ")] == told
    for warning in told:
        assert warning in shown and f"warning: {warning}" in log
    return told


HALVED_TWICE = 2.5  # 1.5 once, 4 three times; the rounding of another machine may make it one of those
EXPLODES = {"mode": "full", "learning_rate": 10, "max_grad_norm": 1e9, "max_steps": 30, "save_steps": 4}


def test_a_loss_that_explodes_is_told(ftd, model, dataset):
    job = submit(ftd, model, dataset, **EXPLODES)
    ftd.wait(job, "SUCCEEDED")
    losses = [step.loss for step in ftd.steps(job)]
    assert losses[-1] > 10 * losses[0]
    told = warnings(ftd, job)
    assert len(told) == 1 and told[0].startswith("training diverges: the loss is ")


def test_or_fails_the_job(ftd, model, dataset):
    job = submit(ftd, model, dataset, **EXPLODES, on_divergence="stop")
    failed = ftd.wait(job, "FAILED")
    assert jobs.FailureReason.Name(failed.failure_reason) == "LOSS_DIVERGED"
    assert failed.message.startswith("training diverges: the loss is ") and "--learning-rate" in failed.hint
    assert 2 < len(ftd.steps(job)) < 12


def rollbacks(ftd, job):
    """What each attempt was told of earlier ones."""
    attempts = sorted((ftd.state_dir / "jobs" / job / "attempts").iterdir(), key=lambda path: int(path.name))
    return [json.loads((path / "request.json").read_text()).get("rollbacks", 0) for path in attempts]


def test_or_goes_back_until_it_holds(ftd, model, dataset):
    """At half the learning rate as often as it takes; the steps before the divergence are kept."""
    job = submit(ftd, model, dataset, mode="full", learning_rate=HALVED_TWICE, lr_scheduler_type="constant_with_warmup", warmup_steps=60,
                 max_grad_norm=1e9, max_steps=90, save_steps=4, on_divergence="rollback")
    done = ftd.wait(job, "SUCCEEDED", deadline_s=120)
    states = [jobs.Attempt.State.Name(attempt.state) for attempt in done.attempts]
    back = len(states) - 1
    assert 1 <= back <= 3 and states == ["ROLLED_BACK"] * back + ["SUCCEEDED"], states
    assert done.attempts[0].reason.startswith("training diverges: ")
    steps = ftd.steps(job)
    assert [step.step for step in steps] == list(range(1, 91))
    assert steps[-1].learning_rate == pytest.approx(HALVED_TWICE * 0.5 ** back)
    first = done.attempts[1].first_step
    assert first > 1, "a checkpoint before the divergence was used"
    assert json.loads((pathlib.Path(done.result_dir) / "ftd_run.json").read_text())["rollbacks"] == back
    assert rollbacks(ftd, job) == list(range(back + 1))


def test_or_gives_up_after_three_times(ftd, model, dataset):
    job = submit(ftd, model, dataset, **EXPLODES, on_divergence="rollback")
    failed = ftd.wait(job, "FAILED")
    assert jobs.FailureReason.Name(failed.failure_reason) == "LOSS_DIVERGED" and "halved 3 times" in failed.message
    assert [jobs.Attempt.State.Name(attempt.state) for attempt in failed.attempts] == ["ROLLED_BACK"] * 3 + ["FAILED"]


@pytest.mark.parametrize("patience", [1, 3])
def test_ends_where_transformers_would(ftd, model, tmp_path, patience):
    """Against EarlyStoppingCallback, told of the evaluations of a run without an early end."""
    rows = write_jsonl(tmp_path / "rows.jsonl", alpaca_rows(16))
    flags = {"mode": "full", "learning_rate": 3e-3, "max_steps": 100, "eval_split": 8, "eval_steps": 4, "load_best_model_at_end": True}
    whole = submit(ftd, model, rows, **flags)
    ftd.wait(whole, "SUCCEEDED")
    callback, state, control = EarlyStoppingCallback(patience), TrainerState(), TrainerControl()
    args = TrainingArguments(str(tmp_path / "trainer"), metric_for_best_model="eval_loss", greater_is_better=False)
    for evaluation in ftd.evaluations(whole):
        callback.on_evaluate(args, state, control, {"eval_loss": evaluation.loss})
        if control.should_training_stop:
            break
        if state.best_metric is None or evaluation.loss < state.best_metric:
            state.best_metric = evaluation.loss
    assert control.should_training_stop and evaluation.step < 100, "the case shows nothing"

    job = submit(ftd, model, rows, **flags, early_stopping_patience=patience)
    done = ftd.wait(job, "SUCCEEDED")
    assert [s.loss for s in ftd.steps(job)] == [s.loss for s in ftd.steps(whole)][:evaluation.step]
    assert ftd.evaluations(job)[-1].step == evaluation.step
    words = f"ended early, after step {evaluation.step}: {patience} evaluations in a row did not lower the loss"
    assert words in ftd.ftctl("show", job).stdout
    assert json.loads((pathlib.Path(done.result_dir) / "trainer_state.json").read_text())["best_metric"] == state.best_metric


def test_early_stopping_needs_evaluations(ftd, model, dataset):
    result = ftd.ftctl("submit", "--mode", "lora", "--model", model, "--dataset", dataset, "--early-stopping-patience", 2, check=False)
    assert result.returncode == 65 and "early_stopping_patience needs rows to evaluate on: eval_split" in " ".join(result.stderr.split())


def test_learning_by_heart_is_told(ftd, model, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", alpaca_rows(16))
    job = submit(ftd, model, rows, mode="full", learning_rate=3e-3, max_steps=120, eval_split=8, eval_steps=10)
    ftd.wait(job, "SUCCEEDED")
    told = [warning for warning in warnings(ftd, job) if "learns its rows by heart" in warning]
    losses = [e.loss for e in ftd.evaluations(job)]
    rising = [a < b < c < d for a, b, c, d in zip(losses, losses[1:], losses[2:], losses[3:])]
    assert len(told) == any(rising) == 1


def test_rows_that_are_cut_or_empty_are_counted(ftd, model, tmp_path):
    rows = ([{"prompt": "Say it.", "completion": "It."}] * 7 + [{"prompt": "Say it.", "completion": "It is said. " * 100}] * 3
            + [{"prompt": "Say it. " * 100, "completion": "It."}] * 2 + [{"prompt": "Say nothing.", "completion": ""}])
    job = submit(ftd, model, write_jsonl(tmp_path / "rows.jsonl", rows), max_steps=2)
    done = ftd.wait(job, "SUCCEEDED")
    longest = json.loads((pathlib.Path(done.result_dir) / "ftd_run.json").read_text())["dataset"].pop("longest_row_tokens")
    expected = [
        f"5 of 13 rows (38.5%) were cut to --seq-length 96; the longest has {longest} tokens",
        "2 of 13 rows (15.4%) lost the whole completion to that cut: the prompt alone fills --seq-length 96",
        "1 of 13 rows (7.69%) have an empty text or completion: nothing but its end can be learned from them",
        "2 of 13 rows (15.4%) have nothing to learn and were left out",
    ]
    assert warnings(ftd, job) == expected
    # A cached dataset warns alike.
    again = submit(ftd, model, tmp_path / "rows.jsonl", max_steps=2)
    record = json.loads((pathlib.Path(ftd.wait(again, "SUCCEEDED").result_dir) / "ftd_run.json").read_text())["dataset"]
    assert warnings(ftd, again) == expected
    assert {key: value for key, value in record.items() if key.endswith("rows") or "row" in key} == {
        "rows": 11, "eval_rows": 0, "kept_rows": 11, "skipped_rows": 0, "dropped_rows": 2, "rows_dropped_by_cut": 2, "cut_rows": 5, "rows_without_completion": 2, "empty_rows": 1,
        "longest_row_tokens": longest, "rows_without_stop_token": 0}


def test_rows_longer_than_the_model_was_made_for(ftd, model, tmp_path):
    positions = json.loads((pathlib.Path(model) / "config.json").read_text())["max_position_embeddings"]
    rows = [{"text": "It is said. " * positions}, {"text": "short"}] * 4
    job = submit(ftd, model, write_jsonl(tmp_path / "rows.jsonl", rows), max_steps=1, seq_length=positions + 10, batch_size=1)
    ftd.wait(job, "SUCCEEDED")
    assert any(f"the model was made for {positions} (max_position_embeddings" in warning for warning in warnings(ftd, job))
