"""BEIR folders: corpus, queries and relevance judgements."""

from pathlib import Path

import pytest

from bioqa.corpus.beir import read_beir_qrels, read_beir_queries
from bioqa.errors import QuestionError, RecordError, SourceError
from bioqa.types import Article, Question
from tests.corpus.corpus_files import read, write

HEADER = "query-id\tcorpus-id\tscore\n"


def test_the_plain_corpus_file_is_read_before_the_zipped_one(tmp_path: Path) -> None:
    write(tmp_path / "corpus.jsonl", '{"_id": "1", "title": "T", "text": "t", "metadata": {}}')
    write(tmp_path / "corpus.jsonl.gz", '{"_id": "2", "title": "T", "text": "t"}')
    assert read(tmp_path) == [Article("1", "T", "t")]


def test_a_bad_line_of_the_corpus_is_named_with_the_file_in_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "corpus.jsonl", '{"title": "T", "text": "t"}\n{"_id": "2", "text": "t"}')
    with pytest.raises(RecordError, match=r"corpus\.jsonl, line 1: no id"):
        read(tmp_path)
    bad: list[RecordError] = []
    assert read(tmp_path, bad.append) == [Article("2", "", "t")]
    assert len(bad) == 1


@pytest.mark.parametrize("name", ["queries.jsonl", "queries.jsonl.gz"])
def test_queries_are_questions(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, '{"_id": "q1", "text": "Why?"}\n\n{"_id": 2, "text": "Who é?", "metadata": {}}\n')
    assert list(read_beir_queries(tmp_path)) == [Question("q1", "Why?"), Question("2", "Who é?")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no", "not JSON"),
        ('{"text": "Why?"}', "_id is missing, empty or not text"),
        ('{"_id": "2"}', "text is missing, empty or not text"),
        ('{"_id": "2", "text": " "}', "text is missing, empty or not text"),
        ('{"_id": "2", "text": ["Why?"]}', "text is missing, empty or not text"),
    ],
)
def test_a_bad_query_is_named_by_line(tmp_path: Path, line: str, message: str) -> None:
    write(tmp_path / "queries.jsonl", '{"_id": "1", "text": "Why?"}\n' + line)
    with pytest.raises(QuestionError, match=rf"queries\.jsonl, line 2: {message}"):
        list(read_beir_queries(tmp_path))


def test_a_folder_without_queries_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"is not a BEIR folder with queries\.jsonl"):
        list(read_beir_queries(tmp_path))


@pytest.mark.parametrize("header", [HEADER, "\ufeff" + HEADER, ""])
def test_qrels_are_grades_by_query_and_document(tmp_path: Path, header: str) -> None:
    path = write(tmp_path / "test.tsv", header + "1\ta\t1\r\n1\tb\t0\n\n2\ta\t2\n2\ta\t2")
    assert read_beir_qrels(path) == {"1": {"a": 1, "b": 0}, "2": {"a": 2}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + "1\ta\n", "line 2: expected 3 tab-separated columns .*, found 2"),
        (HEADER + "1 a 1\n", "line 2: expected 3 tab-separated columns .*, found 1"),
        (HEADER + "1\ta\thigh\n", "line 2: the score 'high' is not an integer"),
        (HEADER + "1\ta\t1\n1\ta\t0\n", "line 3: document a has grade 0 for query 1, but 1 on an earlier line"),
        ((HEADER + "1\tcaf\xe9\t1\n").encode("latin-1"), r"line 2: byte 6 \(0xe9\) is not UTF-8"),
        (HEADER, "has no judgements"),
        ("", "is empty"),
    ],
)
def test_bad_qrels_are_named_by_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(SourceError, match=rf"test\.tsv.*{message}"):
        read_beir_qrels(write(tmp_path / "test.tsv", content))


@pytest.mark.shared_data
def test_scifact_is_complete(shared_data: Path) -> None:
    folder = shared_data / "scifact"
    documents = {record.id for record in read(folder)}
    questions = {question.id for question in read_beir_queries(folder)}
    qrels = read_beir_qrels(folder / "qrels" / "test.tsv")
    assert len(documents) == 5183
    assert (len(qrels), sum(map(len, qrels.values()))) == (300, 339)
    assert set(qrels) <= questions
    assert all(set(grades) <= documents for grades in qrels.values())
