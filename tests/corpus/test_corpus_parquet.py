"""Parquet: the same fields as JSON lines, as columns."""

import datetime
import math
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from bioqa.errors import RecordError, SourceError
from bioqa.types import Article
from tests.corpus.corpus_files import read, write


def write_table(path: Path, **columns: object) -> Path:
    parquet.write_table(pa.table(columns), path, row_group_size=1000)
    return path


def test_rows_are_articles_across_batches_and_row_groups(tmp_path: Path) -> None:
    ids = list(range(2500))
    path = write_table(
        tmp_path / "a.parquet", id=ids, title=[f"T{i}" for i in ids], text=[f"é{i}" for i in ids], other=ids
    )
    assert read(path) == [Article(str(i), f"T{i}", f"é{i}") for i in ids]


def test_columns_of_many_types_are_read(tmp_path: Path) -> None:
    path = write_table(
        tmp_path / "a.parquet",
        pmid=pa.array([1.0, 2.0]),
        abstract=pa.array(["a", None], pa.large_string()),
        title=pa.array(["T", "U"]).dictionary_encode(),
        date=pa.array([datetime.date(2019, 3, 4), None]),
        year=pa.array([None, 1998.0]),
        mesh=pa.array([["Humans", None], None]),
        journal=pa.array([None, "J"]),
        languages=pa.array([["eng"], []]),
    )
    assert read(path) == [
        Article("1", "T", "a", date="2019-03-04", mesh=("Humans",), languages=("eng",)),
        Article("2", "U", "", date="1998", journal="J"),
    ]


def test_a_timestamp_is_a_date(tmp_path: Path) -> None:
    moment = pa.array([datetime.datetime(2019, 3, 4, 5, 6)], pa.timestamp("us"))
    (article,) = read(write_table(tmp_path / "a.parquet", id=["1"], text=["t"], date=moment))
    assert isinstance(article, Article)
    assert article.date == "2019-03-04"


def test_a_bad_row_is_named_by_its_number_in_the_file(tmp_path: Path) -> None:
    ids = [float(i) for i in range(1, 1502)]
    ids[1499] = math.nan
    path = write_table(tmp_path / "a.parquet", id=ids, text=["t"] * 1501)
    with pytest.raises(RecordError, match=r"a\.parquet, row 1500: no id"):
        read(path)
    bad: list[RecordError] = []
    assert len(read(path, bad.append)) == 1500
    assert len(bad) == 1


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["t"], "n": [1]}, "has no column for an id: it has text, n, and needs one of id, _id, pmid, docid"),
        (
            {"id": ["1"], "body": ["t"]},
            "has no column for a text: it has id, body, and needs one of text, contents, abstract, title",
        ),
    ],
)
def test_missing_columns_are_named_with_those_present(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    with pytest.raises(SourceError, match=rf"a\.parquet {message}"):
        read(write_table(tmp_path / "a.parquet", **columns))


def test_a_truncated_file_is_an_error(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.parquet", id=["1"], text=["t"])
    with pytest.raises(SourceError, match=r"b\.parquet is not a valid Parquet file"):
        read(write(tmp_path / "b.parquet", path.read_bytes()[:-20]))


def test_a_file_with_corrupt_pages_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(
        pa.table({"id": [str(i) for i in range(5000)], "text": ["word"] * 5000}), path, compression="zstd"
    )
    damaged = bytearray(path.read_bytes())
    damaged[40:4000] = bytes(3960)
    with pytest.raises(SourceError, match=r"a\.parquet (is not a valid Parquet file|cannot be read)"):
        read(write(path, bytes(damaged)))


def test_text_that_is_not_utf8_is_reported_with_a_range_of_rows(tmp_path: Path) -> None:
    text = pa.array([b"valid", b"caf\xe9"], pa.binary()).cast(pa.string(), safe=False)
    with pytest.raises(SourceError, match=r"a\.parquet, rows 1 to 2: a value cannot be read .*utf-8"):
        read(write_table(tmp_path / "a.parquet", id=["1", "2"], text=text))
