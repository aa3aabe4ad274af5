"""The curriculum: later epochs keep only the hardest negatives."""

import pytest

from bioqa.errors import UsageError
from bioqa.pairs.pair_file import Pair, write_pairs
from bioqa.pairs.read_pairs import read_pairs
from bioqa.train.curriculum import epoch_rows


def curriculum_table(tmp_path):
    pairs = [Pair("q", "gold", 1.0, "1", kind="gold")]
    pairs += [Pair("q", str(rank), 0.0, "1", kind="bm25", rank=rank) for rank in (30, 10, 20)]
    pairs += [Pair("q", "r", 0.0, "1", kind="random"), Pair("q", "s", 0.0, "1", kind="given")]
    pairs += [Pair("z", "one", 0.0, "2", kind="mined", rank=1)]
    write_pairs(tmp_path / "pairs.parquet", pairs)
    return read_pairs(tmp_path / "pairs.parquet")


def test_a_curriculum_narrows_to_the_hardest_of_each_question(tmp_path):
    table = curriculum_table(tmp_path)
    epochs = [epoch_rows(table, epoch, 4).tolist() for epoch in range(4)]
    # 4 sampled negatives of question 1: ranks 10, 20, 30, then the random one; its other rows and question 2's only one stay.
    assert epochs == [[0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 5, 6], [0, 2, 3, 5, 6], [0, 2, 5, 6]]
    assert epoch_rows(table, 0, 1).tolist() == list(range(7))


def test_settings_out_of_range_are_refused(tmp_path):
    table = curriculum_table(tmp_path)
    with pytest.raises(UsageError, match="is not one of 2"):
        epoch_rows(table, 2, 2)
    with pytest.raises(UsageError, match="last epoch"):
        epoch_rows(table, 0, 2, last_share=0)
