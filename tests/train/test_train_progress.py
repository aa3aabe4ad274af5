"""Progress on standard error where it is not a terminal: a line within the first minute, and more by time."""

import re
from types import SimpleNamespace

import pytest
import torch

from bioqa.train import callbacks
from bioqa.train.train_recipe import train_recipe

LINE = re.compile(r"stage 1, step (\d+) of (\d+): loss (\d+\.\d{4}), ([\d,]+\.\d) pairs/s, ([\d:]+) left")


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests set."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: clock.now)
    return clock


def run(clock, *, steps, seconds, accumulation=1, first_step=0):
    """Drive the callback as the trainer does, with batches of 8 pairs that take ``seconds`` and have losses 1, 2, 3, …"""
    progress = callbacks.TrainingProgress("stage 1", "eval_map", pairs_per_example=2.0)
    args = SimpleNamespace(train_batch_size=4, world_size=1, gradient_accumulation_steps=accumulation)
    state = SimpleNamespace(max_steps=steps, global_step=first_step, is_world_process_zero=True)
    progress.on_train_begin(args, state, None)
    for batch in range(1, (steps - first_step) * accumulation + 1):
        clock.now += seconds
        progress.add_loss(torch.tensor(float(batch)))
        if batch % accumulation:
            progress.on_substep_end(args, state, None)
        else:
            state.global_step += 1
            progress.on_step_end(args, state, None)
    progress.on_train_end(args, state, None)


def test_lines_come_after_10_seconds_and_then_every_30(clock, capsys):
    run(clock, steps=20, seconds=5)
    lines = LINE.findall(capsys.readouterr().err)
    # The mean loss since the last line, 8 pairs in 5 seconds, and the time that the remaining steps take.
    assert lines == [
        ("2", "20", "1.5000", "1.6", "01:30"),
        ("8", "20", "5.5000", "1.6", "01:00"),
        ("14", "20", "11.5000", "1.6", "00:30"),
        ("20", "20", "17.5000", "1.6", "00:00"),
    ]


def test_a_stage_named_by_a_recipe_does_not_control_the_terminal(clock, capsys):
    progress = callbacks.TrainingProgress("\x1b[2Jstage", "eval_map", pairs_per_example=2.0)
    state = SimpleNamespace(max_steps=1, global_step=1, is_world_process_zero=True)
    progress.on_train_begin(None, state, None)
    progress.on_log(None, state, None, {"eval_loss": 0.5, "eval_map": 0.75})
    assert capsys.readouterr().err.startswith("\ufffd[2Jstage, step 1 of 1: dev loss 0.5000")


def test_a_step_longer_than_a_minute_is_reported_by_its_batches(clock, capsys):
    run(clock, steps=3, seconds=15, accumulation=10)
    first = capsys.readouterr().err.splitlines()[0]
    assert first == "stage 1, step 0 of 3: loss 1.0000, 0.5 pairs/s, 07:15 left"


def test_a_resumed_run_estimates_the_time_of_its_remaining_steps(clock, capsys):
    run(clock, steps=1000, seconds=10, first_step=998)
    first = capsys.readouterr().err.splitlines()[0]
    assert first == "stage 1, step 999 of 1,000: loss 1.0000, 0.8 pairs/s, 00:10 left"


def test_training_reports_between_logged_losses(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(callbacks, "FIRST_REPORT", 0.0)
    monkeypatch.setattr(callbacks, "REPORT_INTERVAL", 0.0)
    made = recipe(training={"logging_steps": 1000, "batch_size": 24})
    train_recipe(made, tmp_path / "model", progress=True)
    lines = LINE.findall(capsys.readouterr().err)
    assert [(step, steps) for step, steps, *_ in lines] == [(str(step), "6") for step in range(1, 7)]
    assert all(0 < float(loss) < 5 and float(speed.replace(",", "")) > 0 for *_, loss, speed, _ in lines)


def test_no_progress_unless_asked(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(callbacks, "FIRST_REPORT", 0.0)
    train_recipe(recipe(), tmp_path / "model")
    assert "step" not in capsys.readouterr().err
