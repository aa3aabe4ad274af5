"""TREC runs and relevance judgements."""

import gzip
import json

import pytest

from bioqa.corpus.qrels import read_qrels
from bioqa.errors import QuestionError
from bioqa.io.trec import from_column, qrels_lines, read_run, run_lines, to_column

RUN = "q1 Q0 a 1 2.5 tag\nq1 Q0 b 2 -1e3 tag\n\n# a comment\nq2\tQ0\ta\t1\t0\ttag\n"


def test_a_run_is_read_plain_and_gzipped(tmp_path):
    plain, zipped = tmp_path / "run.txt", tmp_path / "run.txt.gz"
    plain.write_text(RUN)
    zipped.write_bytes(gzip.compress(RUN.encode()))
    assert read_run(plain) == read_run(zipped) == {"q1": {"a": 2.5, "b": -1000.0}, "q2": {"a": 0.0}}


IDS = (
    "a",
    "b c",
    " b\u00a0c\u3000",
    "b_c",
    "50%",
    "50% x",
    "a%20b",
    "a%2520b",
    "%C2%A0",
    "%3C",
    "#1",
    "a#1",
    "%231",
    "é %",
)


def test_a_written_run_and_written_qrels_are_read_back(tmp_path):
    run, qrels = tmp_path / "run.txt", tmp_path / "qrels.txt"
    scores = {id: float(len(IDS) - rank) for rank, id in enumerate(IDS)}
    run.write_text("".join(line for id in IDS for line in run_lines(id, scores.items(), "my tag")), encoding="utf-8")
    qrels.write_text("".join(line for id in IDS for line in qrels_lines(id, dict.fromkeys(IDS, 1))), encoding="utf-8")
    assert read_run(run) == dict.fromkeys(IDS, scores)
    assert read_qrels(qrels) == dict.fromkeys(IDS, dict.fromkeys(IDS, 1))


def test_white_space_in_ids_is_written_as_in_a_url_and_other_ids_as_they_are():
    for id in ("12345678", "MED-10", "10.1002/x%3C1::aid", "50%", "a_b", "é", "a#b"):
        assert to_column(id) == from_column(id) == id
    assert (to_column("Heart failure"), to_column("#1"), to_column("a%20b")) == ("Heart%20failure", "%231", "a%2520b")


def test_qrels_are_read_in_three_formats(tmp_path):
    trec, beir, bioasq = tmp_path / "qrels.txt", tmp_path / "test.tsv", tmp_path / "gold.json"
    trec.write_text("q1 0 a 1\nq1 0 b -1\nq2 0 a 2\n")
    beir.write_text("query-id\tcorpus-id\tscore\nq1\ta b\t1\nq2\ta\t2\n")
    url = "http://www.ncbi.nlm.nih.gov/pubmed/"
    questions = [
        {"id": "q1", "body": "One?", "documents": [url + "11", url + "12"]},
        {"id": "q2", "body": "Two?", "documents": []},
    ]
    bioasq.write_text(json.dumps({"questions": questions}))
    assert read_qrels(trec) == {"q1": {"a": 1, "b": -1}, "q2": {"a": 2}}
    assert read_qrels(beir) == {"q1": {"a b": 1}, "q2": {"a": 2}}
    assert read_qrels(bioasq) == {"q1": {"11": 1, "12": 1}}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("q1 Q0 a 1 2.5\n", "line 1: expected 6 columns, .*, found 5"),
        ("q1 Q0 a 1 9 t\nq1 Q0 Heart failure 2 9.5 t\n", "line 2: expected 6 columns, .*, found 7. White space .* %20"),
        ("q1 Q0 a 1 9.5 t\nq1 Q0 Heart failure 9.5 t\n", "line 2: the rank 'failure' is not an integer"),
        ("q1 Q0 a 1.0 9.5 t\n", "line 1: the rank '1.0' is not an integer"),
        ("q1 Q0 a 1 2.5 t\nq1 Q0 b 2 high t\n", "line 2: the score 'high' is not a number"),
        ("q1 Q0 a 1 nan t\n", "line 1: the score is nan"),
        ("q1 Q0 a 1 2 t\nq2 Q0 a 1 2 t\nq1 Q0 a 2 1 t\n", "line 3: document a is listed twice for query q1"),
        ("# nothing\n", "has no results"),
        ("", "is empty"),
    ],
)
def test_a_malformed_run_is_an_error_with_the_line(tmp_path, text, problem):
    path = tmp_path / "run.txt"
    path.write_text(text)
    with pytest.raises(QuestionError, match=problem) as caught:
        read_run(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("q1 0 a\n", "line 1: expected 4 columns, found 3"),
        ("q1 0 Heart failure 1\n", "line 1: expected 4 columns, found 5.* White space .* %20"),
        ("q1 0 a 1\nq1 0 b yes\n", "line 2: the relevance 'yes' is not an integer"),
        ("q1 0 a 1\nq1 0 a 0\n", "line 2: document a is listed twice"),
        ("query-id\tcorpus-id\tscore\nq1\ta\thigh\n", "line 2"),
        ('{"questions": [{"id": "1", "body": "One?"}]}', "no question with gold documents"),
        ("\n\n", "has no judgements"),
    ],
)
def test_malformed_qrels_are_an_error_with_the_line(tmp_path, text, problem):
    path = tmp_path / "qrels"
    path.write_text(text)
    with pytest.raises(QuestionError, match=problem) as caught:
        read_qrels(path)
    assert str(path) in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    broken = tmp_path / "run.gz"
    broken.write_bytes(gzip.compress(RUN.encode() * 50)[:-20])
    with pytest.raises(QuestionError, match="truncated"):
        read_run(broken)
    with pytest.raises(QuestionError, match="does not exist"):
        read_qrels(tmp_path / "none")
    (tmp_path / "latin").write_bytes(b"q1 0 a 1\nq1 0 \xe9 1\n")
    with pytest.raises(QuestionError, match="line 2: not UTF-8"):
        read_qrels(tmp_path / "latin")


@pytest.mark.shared_data
def test_the_judgements_of_scifact_and_bioasq_are_read(shared_data):
    scifact = read_qrels(shared_data / "scifact" / "qrels" / "test.tsv")
    assert (len(scifact), sum(map(len, scifact.values()))) == (300, 339)
    assert len(read_qrels(shared_data / "bioasq" / "dev.json.gz")) == 496
