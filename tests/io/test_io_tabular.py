"""Rows of CSV, TSV, JSON lines and Parquet files, and the errors that name their place."""

import gzip
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from bioqa.errors import RecordError, SourceError
from bioqa.io.bad_records import MalformedError
from bioqa.io.tabular import column_names, format_by_name, parse_json_object, read_rows

TEXT = {
    "csv": '\ufeffid,text\r\n1,"a, ""b"""\r\n\r\n2,"two\r\nlines é"\r\n3,\r\n',
    "tsv": '\ufeffid\ttext\r\n1\ta, "b"\r\n\r\n2\t"two\r\nlines é"\r\n3\t\r\n',
    "jsonl": '\ufeff{"id": "1", "text": "a, \\"b\\""}\r\n\r\n{"id": "2", "text": "two\\nlines é"}\r\n{"id": "3", "text": ""}',
}
ROWS = [("1", 'a, "b"'), ("2", "two\nlines é"), ("3", "")]


def write(path: Path, content: str | bytes) -> Path:
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", "csv"),
        ("a.TSV.gz", "tsv"),
        ("a.jsonl", "jsonl"),
        ("a.ndjson.gz", "jsonl"),
        ("a.parquet", "parquet"),
        ("a.parquet.gz", None),
        ("a.txt", None),
        ("csv", None),
    ],
)
def test_the_ending_says_the_format(name, expected):
    assert format_by_name(Path(name)) == expected


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("table_format", TEXT)
def test_rows_are_the_same_in_every_text_format(tmp_path, table_format, ending):
    path = write(tmp_path / f"a.{table_format}{ending}", TEXT[table_format])
    rows = list(read_rows(path, table_format))
    assert [(row.values["id"], row.values["text"]) for row in rows] == ROWS
    assert column_names(path, table_format) == ["id", "text"]
    lines = [1, 3, 4] if table_format == "jsonl" else [2, 5, 6]  # a quoted line end moves the place to its last line
    assert [row.place for row in rows] == [f"{path}, line {number}" for number in lines]


def test_rows_of_parquet_are_read_in_batches_and_by_column(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"id": range(3000), "text": ["é"] * 3000, "more": [[1, None]] * 3000}), path)
    assert column_names(path, "parquet") == ["id", "text", "more"]
    rows = list(read_rows(path, "parquet", columns=["more", "id"]))
    assert rows[2999].values == {"id": 2999, "more": [1, None]}
    assert [row.place for row in rows] == [f"{path}, row {number}" for number in range(1, 3001)]


def test_a_header_can_be_given_and_quotes_can_be_text(tmp_path):
    path = write(tmp_path / "a.tsv", '5" disk\t"so\n')
    (row,) = read_rows(path, "tsv", header=["size", "text"], quotes=False)
    assert row.values == {"size": '5" disk', "text": '"so'}
    assert column_names(path, "tsv", quotes=False) == ['5" disk', '"so']


def test_a_field_may_be_long(tmp_path):
    path = write(tmp_path / "a.csv", f"text\n{'word ' * 100_000}\n")
    assert len(next(read_rows(path, "csv")).values["text"]) == 500_000


@pytest.mark.parametrize(
    ("table_format", "content", "message"),
    [
        (
            "csv",
            "a,b\n1,2\n\n1,2,3\n",
            r"line 4: expected 2 comma-separated columns as in the first line, found 3\. .*quotes",
        ),
        ("csv", 'a,b\n"1\n2",3\n1\n', "line 4: expected 2 comma-separated columns as in the first line, found 1"),
        ("tsv", "a\tb\n1\n", "line 2: expected 2 tab-separated columns as in the first line, found 1"),
        ("csv", f"a\n{'x' * (1 << 25)}\n", r"line 2: invalid CSV \(field larger than field limit"),
        ("csv", b"a,b\n1,caf\xe9\n", r"line 2: byte 6 \(0xe9\) is not UTF-8\. Save the file as UTF-8"),
        ("jsonl", b'{"a": "caf\xe9"}', r"line 1: byte 11 \(0xe9\) is not UTF-8"),
        ("jsonl", '{"a": 1}\n{"a', "line 2: not JSON: .* at character 2"),
        ("jsonl", "[1]", "line 1: not a JSON object but list"),
        ("jsonl", "[" * 100_000, "line 1: lists or objects are nested more than 100 levels deep"),
        ("parquet", "PAR1 but not really", "is not a valid Parquet file .*Write it again"),
        *((table_format, "", "is empty") for table_format in (*TEXT, "parquet")),
    ],
)
def test_errors_name_the_line(tmp_path, table_format, content, message):
    path = write(tmp_path / "file", content)
    with pytest.raises(SourceError, match=rf"{path}[,:]? {message}"):
        list(read_rows(path, table_format))


@pytest.mark.parametrize("table_format", [*TEXT, "parquet"])
def test_folders_and_missing_files_are_errors(tmp_path, table_format):
    for path, message in ((tmp_path, "is a folder, not a file"), (tmp_path / "none", "does not exist")):
        with pytest.raises(SourceError, match=rf"{path} {message}"):
            list(read_rows(path, table_format))
        with pytest.raises(SourceError, match=rf"{path} {message}"):
            column_names(path, table_format)


def test_text_of_parquet_that_is_not_utf8_is_reported_with_its_rows(tmp_path):
    text = pa.array([b"valid", b"caf\xe9"], pa.binary()).cast(pa.string(), safe=False)
    parquet.write_table(pa.table({"text": text}), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=r"a\.parquet, rows 1 to 2: a value cannot be read"):
        list(read_rows(tmp_path / "a.parquet", "parquet"))


def test_malformed_json_lines_can_be_skipped(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"n": 1}\nno\n{"n": 2}\n[]\n')
    bad: list[RecordError] = []
    assert [row.values["n"] for row in read_rows(path, "jsonl", on_bad=bad.append, hint="Mend it.")] == [1, 2]
    assert [str(error).split(":")[0] for error in bad] == [f"{path}, line 2", f"{path}, line 4"]
    assert all(str(error).endswith(". Mend it.") for error in bad)
    with pytest.raises(RecordError, match="line 2: not JSON"):
        list(read_rows(path, "jsonl"))


def test_only_the_first_line_may_have_a_byte_order_mark():
    line = '\ufeff{"a": 1}'.encode()
    assert parse_json_object(line, first=True) == {"a": 1}
    with pytest.raises(MalformedError, match="not JSON"):
        parse_json_object(line)
