"""Training curves show what was logged, or say that nothing was."""

import pytest

from bioqa.train.plots import curves_figure, save_curves
from bioqa.train.training_result import DEV_METRIC


def stage(*log, steps=100, best_step=None, name="stage 1"):
    return {"stage": name, "steps": steps, "best_step": best_step, "log": [{"epoch": 1.0, **entry} for entry in log]}


def drawn(*stages):
    figure = curves_figure(stages)
    figure.canvas.draw()
    return figure.axes


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_stages_follow_each_other_and_are_named():
    titles = stage(
        *({"step": step, "loss": 1 / step} for step in (50, 100)),
        {"step": 100, "eval_loss": 0.5, DEV_METRIC: 0.6},
        name="titles",
    )
    answers = stage(
        *({"step": step, "eval_loss": 0.4, DEV_METRIC: 0.7} for step in (30, 60)),
        steps=60,
        best_step=60,
        name="answers",
    )
    loss, precision = drawn(titles, answers)
    assert loss.get_title() == "Stages: 1 titles, 2 answers"
    assert texts(loss) == ["1", "2"]
    assert [list(line.get_xdata()) for line in precision.lines] == [
        [100],
        [100, 100],
        [130, 160],
    ]  # the line between the stages
    assert legend(loss) == ["training", "dev"]
    assert legend(precision) == ["dev", "saved checkpoint"]
    assert precision.get_xlim()[0] == 0
    assert precision.get_xlim()[1] >= 160


def test_a_single_point_is_drawn_as_a_dot():
    loss, _ = drawn(stage({"step": 50, "loss": 0.5}))
    assert [line.get_marker() for line in loss.lines] == ["o"]
    assert loss.get_title() == ""


@pytest.mark.parametrize(
    ("entry", "missing"),
    [
        ({}, ["no loss was logged: see training.logging_steps", "not evaluated on dev"]),
        ({"loss": 0.5}, ["not evaluated on dev"]),
        ({"eval_loss": 0.5, DEV_METRIC: 0.6}, []),
    ],
)
def test_axes_without_lines_say_so(entry, missing, tmp_path):
    made = stage({"step": 100, **entry})
    assert [text for axes in drawn(made) for text in texts(axes)] == missing
    save_curves(tmp_path / "curves.png", [made])
    assert (tmp_path / "curves.png").stat().st_size > 1000
