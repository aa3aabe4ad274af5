"""Large files are read in parts: on several cores, with progress inside the file, and resumed inside it."""

import json

import pytest

from bioqa import Index
from bioqa.corpus import sources
from bioqa.corpus.read_source import read_source
from bioqa.corpus.sources import expand_sources, split_source
from bioqa.errors import RecordError
from bioqa.index import build
from bioqa.index.build import build_index

RECORDS = [{"id": str(n), "title": f"Title {n}", "text": f"Text {n} with ünïcode. " * (1 + n % 9)} for n in range(500)]


@pytest.fixture(params=["jsonl", "parquet"])
def source(request, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "PART_BYTES", 4000)
    path = tmp_path / f"large.{request.param}"
    if request.param == "jsonl":
        path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in RECORDS), encoding="utf-8")
    else:
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.Table.from_pylist(RECORDS), path, row_group_size=40)
    return path


def test_the_parts_of_a_file_have_each_record_once_and_in_order(source):
    [whole] = expand_sources([source])
    parts = split_source(whole)
    assert len(parts) > 5
    assert [article.id for part in parts for article in read_source(part)] == [one["id"] for one in RECORDS]


@pytest.mark.parametrize("size", [1, 7, 100, 10**6])
def test_parts_of_any_size_and_lines_of_any_length(tmp_path, monkeypatch, size):
    monkeypatch.setattr(sources, "PART_BYTES", size)
    path = tmp_path / "small.jsonl"
    path.write_text('{"id": "1", "text": "a"}\n\n{"id": "2", "text": "bb"}\r\n{"id": "3", "text": "no line end"}')
    parts = split_source(expand_sources([path])[0])
    assert [article.id for part in parts for article in read_source(part)] == ["1", "2", "3"]


def test_a_malformed_line_of_a_part_is_named_by_its_byte(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "PART_BYTES", 30)
    path = tmp_path / "bad.jsonl"
    path.write_text('{"id": "1", "text": "aaaaaaaaaaaaaaa"}\n{"id": "2", "text": "bbbbbbbbbbbbbb"}\n{broken\n')
    with pytest.raises(RecordError, match="line at byte 77"):
        for part in split_source(expand_sources([path])[0]):
            list(read_source(part))


def test_gzipped_files_are_not_split(tmp_path, monkeypatch):
    import gzip

    monkeypatch.setattr(sources, "PART_BYTES", 10)
    path = tmp_path / "packed.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(one) + "\n" for one in RECORDS).encode()))
    [source] = expand_sources([path])
    assert split_source(source) == [source]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_build_in_parts_is_one_source_and_reports_bytes_inside_the_file(source, tmp_path, monkeypatch, workers):
    monkeypatch.setattr(build, "SMALL_BYTES", 0)
    seen = []
    report = build_index(tmp_path / "index", [source], workers=workers, memory_mb=800, progress=seen.append)
    assert report.documents == report.articles == 500
    assert len({state.bytes_done for state in seen}) > 5
    assert seen[-1].bytes_done == seen[-1].bytes
    with Index(tmp_path / "index") as index:
        [entry] = index.info().sources
        assert (entry.path, entry.articles) == (str(source), 500)
        assert entry.size == source.stat().st_size
        assert all(index.get_many([one["id"] for one in RECORDS]))


def test_an_interrupted_build_resumes_inside_the_file(source, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "COMMIT_SECONDS", 0.0)
    usual, done = build.index_source, []

    def interrupted(*args, **kwargs):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(1)
        return usual(*args, **kwargs)

    monkeypatch.setattr(build, "index_source", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_index(tmp_path / "index", [source], workers=1)
    monkeypatch.setattr(build, "index_source", usual)
    report = build_index(tmp_path / "index", [source], workers=1)
    assert report.resumed == 4
    assert report.documents == report.articles == 500
