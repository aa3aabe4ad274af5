"""Labels of one question and passage that contradict each other are refused, with both places."""

import pytest

from bioqa.errors import PairsError
from bioqa.index.build import build_index
from bioqa.index.reader import Index
from bioqa.pairs.contradictions import check_labels
from bioqa.pairs.negatives import NegativeSpec
from bioqa.pairs.pair_file import Pair, write_pairs
from bioqa.pairs.question_groups import read_groups
from bioqa.pairs.read_pairs import read_pairs
from bioqa.pairs.title_pairs import TitleOptions, build_title_pairs
from tests.support import write_jsonl

QUESTION, PASSAGE = "What lowers fever?", "Aspirin lowers fever."


def message(*files):
    with pytest.raises(PairsError) as caught:
        check_labels([read_pairs(file) for file in files], files)
    return str(caught.value)


def test_both_rows_of_a_pairs_file_are_named(tmp_path):
    rows = [(QUESTION, "Ice.", 0.0), (QUESTION, PASSAGE, 1.0), ("Why?", PASSAGE, 0.0), (QUESTION, PASSAGE, 0.0)]
    write_pairs(tmp_path / "a.parquet", [Pair(*row, "q") for row in rows])
    said = message(tmp_path / "a.parquet")
    assert said.startswith(f"{tmp_path / 'a.parquet'}, row 2 and {tmp_path / 'a.parquet'}, row 4: the same question")
    assert "have the labels 1 and 0 (question 'What lowers fever?')" in said


def test_lines_of_two_files_are_named_as_the_files_count_them(tmp_path):
    (tmp_path / "a.csv").write_text(f'question,passage,label\nWhy?,"So\nit is.",1\n\n{QUESTION},{PASSAGE},0\n')
    write_jsonl(tmp_path / "b.jsonl", [{"query": "Who?", "pos": ["Me."]}, {"query": QUESTION, "pos": [PASSAGE]}])
    said = message(tmp_path / "a.csv", tmp_path / "b.jsonl")
    assert said.startswith(f"{tmp_path / 'a.csv'}, line 5 and {tmp_path / 'b.jsonl'}, line 2: ")
    assert "have the labels 0 and 1" in said


def test_one_line_can_contradict_itself(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"query": QUESTION, "pos": [PASSAGE], "neg": ["Ice.", PASSAGE]}])
    assert message(path).startswith(f"{path}, line 1: the same question")
    with pytest.raises(PairsError, match=r"a\.jsonl, line 1: the same question"):
        read_groups([path])


def test_several_contradictions_are_counted(tmp_path):
    path = tmp_path / "a.parquet"
    write_pairs(path, [Pair(f"Question {n}?", PASSAGE, float(label), str(n)) for label in (1, 0) for n in range(3)])
    assert "So do 2 others." in message(path)


def test_repeated_pairs_and_shades_of_a_label_do_not_contradict(tmp_path):
    path = tmp_path / "a.parquet"
    rows = [(PASSAGE, 1.0), (PASSAGE, 1.0), (PASSAGE, 0.6), ("Ice.", 0.0), ("Ice.", 0.4), (PASSAGE + " ", 0.0)]
    write_pairs(path, [Pair(QUESTION, passage, label, "q") for passage, label in rows])
    check_labels([read_pairs(path)], [path])


def test_articles_of_the_same_title_are_not_negatives_of_each_other(tmp_path):
    text = "The liver enzyme was raised, and fell when the drug was stopped by the treating physician. " * 4
    records = [
        {"id": str(i), "title": "Antibiotics for acute bronchitis.", "text": f"Update {i}. {text}"} for i in range(3)
    ]
    corpus = write_jsonl(
        tmp_path / "corpus.jsonl", [*records, {"id": "9", "title": "The liver", "text": f"Other. {text}"}]
    )
    build_index(tmp_path / "index", [corpus])
    wanted = TitleOptions(("title",), (NegativeSpec("bm25", 2), NegativeSpec("random", 2)))
    with Index(tmp_path / "index") as index:
        build_title_pairs([corpus], index, tmp_path / "pairs", wanted)
    table = read_pairs(tmp_path / "pairs")
    assert set(table.column("document_id").to_pylist()) == {"0", "1", "2", "9"}
    check_labels([table], [tmp_path / "pairs"])
