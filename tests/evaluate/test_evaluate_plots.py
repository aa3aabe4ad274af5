"""The plots show the right numbers."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from bioqa.errors import OutputError, SourceError
from bioqa.evaluate.classification import classification_measures, reliability_bins
from bioqa.evaluate.plots import (
    PANELS,
    classification_figure,
    precision_recall,
    reliability,
    roc,
    score_distribution,
    write_plots,
)

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def pairs():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    return labels, 1 / (1 + np.exp(-rng.normal(size=300) - labels))


def axes():
    return Figure().subplots()


def test_the_threshold_stands_where_its_measures_are(pairs):
    found = classification_measures(*pairs, 0.6)
    drawn = axes()
    precision_recall(drawn, *pairs, 0.6)
    assert drawn.lines[-1].get_xydata().tolist() == [[found.recall, found.precision]]
    drawn = axes()
    roc(drawn, *pairs, 0.6)
    false_rate = found.false_positives / (found.n - found.positives)
    assert drawn.lines[-1].get_xydata().tolist() == [[false_rate, found.recall]]
    drawn = axes()
    score_distribution(drawn, *pairs, 0.6)
    assert drawn.lines[-1].get_xydata()[:, 0].tolist() == [0.6, 0.6]


def test_a_threshold_above_all_scores_has_no_precision_to_show(pairs):
    drawn = axes()
    precision_recall(drawn, *pairs, 1.0)
    assert [line.get_marker() for line in drawn.lines] == ["None", "None"]


def test_reliability_shows_the_bins(pairs):
    drawn = axes()
    reliability(drawn, *pairs)
    points = drawn.collections[0].get_offsets()
    assert points.tolist() == [[one.mean_probability, one.share_positive] for one in reliability_bins(*pairs)]


def test_the_distribution_holds_every_pair(pairs):
    drawn = axes()
    score_distribution(drawn, *pairs, 0.5)
    negatives = sum(patch.get_height() for patch in drawn.containers[0])
    assert negatives == (pairs[0] == 0).sum()


@pytest.mark.parametrize("draw", PANELS.values(), ids=PANELS)
def test_every_picture_names_itself_and_its_axes(pairs, draw):
    drawn = axes()
    draw(drawn, *pairs, 0.5)
    assert drawn.get_title()
    assert drawn.get_xlabel()
    assert drawn.get_ylabel()
    assert drawn.get_legend()


def test_many_pairs_are_drawn_without_a_search_for_the_place_of_the_legend(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 20_000)
    drawn = axes()
    precision_recall(drawn, labels, rng.random(20_000), 0.5)
    lower_left = 3
    assert drawn.get_legend()._get_loc() == lower_left


def test_the_files_are_written_whole(pairs, tmp_path):
    written = write_plots(*pairs, 0.5, tmp_path / "plots")
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == sorted(path.name for path in written)
    assert {path.stem for path in written} == {*PANELS, "classification"}
    assert all(path.read_bytes().startswith(PNG) for path in written)


def test_what_cannot_be_drawn_or_written_leaves_nothing(pairs, tmp_path):
    with pytest.raises(SourceError, match="All 2 labels are 1"):
        classification_figure(np.array([1, 1]), np.array([0.5, 0.6]), 0.5, tmp_path / "out.png")
    with pytest.raises(OutputError, match="cannot be written"):
        classification_figure(*pairs, 0.5, tmp_path / "missing" / "out.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file cannot be written: File exists"):
        write_plots(*pairs, 0.5, tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
