"""Files of training pairs: written whole or not at all, read from many forms, faults named with their place."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bioqa.errors import OutputError, PairsError, UsageError
from bioqa.pairs.pair_file import ROW_GROUP, Pair, read_batches, read_made, read_pairs, write_pairs
from bioqa.pairs.statistics import describe
from bioqa.train.curriculum import epoch_rows
from tests.support import write_jsonl


def some_pairs(count=3):
    return [Pair(f"q{i}", f"p{i} é", float(i % 2), str(i), "9", "bm25", i) for i in range(count)]


def test_what_is_written_is_read_back_and_datasets_reads_it(tmp_path):
    path = tmp_path / "pairs.parquet"
    assert write_pairs(path, some_pairs(), {"command": "bioqa pairs build", "seed": 7}) == 3
    table = read_pairs(path)
    assert [Pair(**row) for row in table.to_pylist()] == some_pairs()
    assert read_made(path) == {"command": "bioqa pairs build", "seed": 7}
    from datasets import Dataset

    data = Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    assert data[1] == some_pairs()[1]._asdict()


def test_rows_are_written_and_read_in_groups(tmp_path):
    path = tmp_path / "pairs.parquet"
    write_pairs(path, (Pair("q", "p", 1.0, "1") for _ in range(2 * ROW_GROUP + 5)))
    assert pq.ParquetFile(path).metadata.num_row_groups == 3
    assert [batch.num_rows for batch in read_batches(path)] == [ROW_GROUP, ROW_GROUP, 5]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "pairs.parquet"
    write_pairs(path, some_pairs(1))

    def broken():
        yield from some_pairs(2)
        raise PairsError("broken")

    with pytest.raises(PairsError, match="broken"):
        write_pairs(path, broken())
    assert len(read_pairs(path)) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["pairs.parquet"]
    with pytest.raises(OutputError, match="cannot be written"):
        write_pairs(tmp_path / "nowhere" / "pairs.parquet", some_pairs())
    with pytest.raises(OutputError, match="is a folder"):
        write_pairs(tmp_path, some_pairs())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'query,answer,label\nwhat?,"yes, it is",1\nwhat?,"no\nway",0\n'),
        ("b.csv", 'what?,"yes, it is",1\nwhat?,"no\nway",0.0\n'),
        ("c.jsonl", '{"claim": "what?", "sentence": "yes, it is", "label": 1}\n{"claim": "what?", "sentence": "no\\nway", '
         '"label": false}\n'),
        ("d.jsonl", '{"query": "what?", "pos": ["yes, it is"], "neg": "no\\nway"}\n'),
    ],
)  # fmt: skip
def test_texts_and_labels_are_found_in_many_forms(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    rows = read_pairs(path).to_pylist()
    assert [(r["question"], r["passage"], r["label"], r["kind"]) for r in rows] == [
        ("what?", "yes, it is", 1.0, "given"),
        ("what?", "no\nway", 0.0, "given"),
    ]
    assert rows[0]["question_id"] == rows[1]["question_id"] != ""


def test_tab_separated_text_knows_no_quotes(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text('question\tpassage\tlabel\n5" of what?\t"so\t1\n', encoding="utf-8")
    assert read_pairs(path).to_pylist()[0]["passage"] == '"so'


def test_columns_of_parquet_can_be_named(tmp_path):
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"links": ["a"], "rechts": ["b"], "gut": [1]}), path)
    with pytest.raises(PairsError, match=r"no column for question and passage and label; it has links, rechts, gut"):
        read_pairs(path)
    assert read_pairs(path, ["links", "rechts", "gut"]).to_pylist()[0]["passage"] == "b"
    with pytest.raises(UsageError, match="three columns"):
        read_pairs(path, ["links", "rechts"])


def test_a_beir_folder_gives_its_judged_pairs(tmp_path):
    write_jsonl(tmp_path / "corpus.jsonl", [{"_id": str(i), "title": "T", "text": f"text {i}"} for i in (1, 2)])
    write_jsonl(tmp_path / "queries.jsonl", [{"_id": "q", "text": "what?"}])
    (tmp_path / "qrels").mkdir()
    for split in ("dev", "test"):
        qrels = "query-id\tcorpus-id\tscore\nq\t1\t2\nq\t2\t0\n"
        (tmp_path / "qrels" / f"{split}.tsv").write_text(qrels, encoding="utf-8")
    rows = read_pairs(tmp_path / "qrels" / "dev.tsv").to_pylist()
    assert [(r["passage"], r["label"], r["document_id"]) for r in rows] == [
        ("T\ntext 1", 1.0, "1"),
        ("T\ntext 2", 0.0, "2"),
    ]
    with pytest.raises(PairsError, match="several qrels"):
        read_pairs(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "question,passage,label\na,b,entailment\n", r"a\.csv, line 2: the label 'label' is 'entailment', not a num"),
        ("b.csv", "question,passage,label\na,b,1\na,b,nan\n", r"line 3: .* not a number"),
        ("c.csv", "question,passage,label\na,b,2\n", r"line 2: .* must be between 0 and 1"),
        ("d.csv", "question,passage,label\na,b\n", r"line 2: expected 3 comma-separated columns as in the first line, found 2"),
        ("e.csv", "question,passage,label\n,b,1\n", r"line 2: 'question' is empty"),
        ("f.csv", "question,passage,label\n", "holds no pair"),
        ("g.csv", "", "is empty"),
        ("h.jsonl", '{"question": "a", "passage": "b", "label": 1}\n{"quest\n', "line 2: not JSON"),
        ("i.jsonl", '{"query": "a", "pos": [1], "neg": []}\n', "line 1: pos and neg must be texts"),
        ("m.jsonl", '{"query": "a", "pos": 5}\n', "line 1: pos and neg must be texts"),
        ("j.jsonl", '{"query": "a", "text": "b"}\n', "no column for label"),
        ("k.dat", "nothing", "not in a known format"),
        ("l.parquet", "PAR1 but not really", "not a valid Parquet file"),
        ("n.jsonl", f'{{"question": "a", "passage": "b", "label": 1{"0" * 400}}}\n', "line 1: .* not a number"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_place(tmp_path, name, text, message):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(PairsError, match=message):
        read_pairs(tmp_path / name)


def test_a_passage_may_be_longer_than_pythons_csv_takes(tmp_path):
    (tmp_path / "long.csv").write_text(f"question,passage,label\nq,{'word ' * 40_000},1\n")
    assert len(read_pairs(tmp_path / "long.csv").column("passage")[0].as_py()) == 199_999


def test_bytes_that_are_no_text_and_missing_files_are_named(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"question,passage,label\na,\xff,1\n")
    with pytest.raises(PairsError, match=r"line 2: byte 3 \(0xff\) is not UTF-8"):
        read_pairs(tmp_path / "a.csv")
    with pytest.raises(PairsError, match="does not exist"):
        read_pairs(tmp_path / "b.csv")
    with pytest.raises(PairsError, match="no BEIR folder"):
        read_pairs(tmp_path)


def test_a_pairs_file_with_bad_labels_is_refused(tmp_path):
    path = tmp_path / "pairs.parquet"
    write_pairs(path, [*some_pairs(2), Pair("q", "p", float("nan"), "1")])
    with pytest.raises(PairsError, match="row 3: the label is nan"):
        read_pairs(path)


def test_statistics_are_those_of_the_data(tmp_path):
    path = tmp_path / "pairs.parquet"
    write_pairs(path, [Pair("aa", "b" * n, float(n == 1), str(n % 2), kind="given") for n in (1, 2, 6)])
    found = describe(read_batches(path))
    assert (found.rows, found.questions, found.positives, found.kinds) == (3, 2, 1, {"given": 3})
    assert found.positive_share == pytest.approx(1 / 3)
    assert (found.passage.min, found.passage.mean, found.passage.max) == (1, 3.0, 6)
    assert sorted(len(sample.passage) for sample in found.samples) == [1, 2, 6]
    batch = read_pairs(path).to_batches()[0]
    assert describe([batch, batch.slice(0, 1)]).passage.mean == pytest.approx(10 / 4)
    with pytest.raises(PairsError, match="no pair"):
        describe([])


class TestCurriculum:
    def table(self, tmp_path):
        pairs = [Pair("q", "gold", 1.0, "1", kind="gold")]
        pairs += [Pair("q", str(rank), 0.0, "1", kind="bm25", rank=rank) for rank in (30, 10, 20)]
        pairs += [Pair("q", "r", 0.0, "1", kind="random"), Pair("q", "s", 0.0, "1", kind="given")]
        pairs += [Pair("z", "one", 0.0, "2", kind="mined", rank=1)]
        write_pairs(tmp_path / "pairs.parquet", pairs)
        return read_pairs(tmp_path / "pairs.parquet")

    def test_narrows_to_the_hardest_of_each_question(self, tmp_path):
        table = self.table(tmp_path)
        epochs = [epoch_rows(table, epoch, 4).tolist() for epoch in range(4)]
        # 4 drawn negatives of question 1: ranks 10, 20, 30, then the random one; its other rows and question 2's only one stay.
        assert epochs == [[0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 5, 6], [0, 2, 3, 5, 6], [0, 2, 5, 6]]
        assert epoch_rows(table, 0, 1).tolist() == list(range(7))

    def test_settings_out_of_range_are_refused(self, tmp_path):
        table = self.table(tmp_path)
        with pytest.raises(UsageError, match="none of 2"):
            epoch_rows(table, 2, 2)
        with pytest.raises(UsageError, match="last epoch"):
            epoch_rows(table, 0, 2, last_share=0)


def test_the_made_metadata_is_json(tmp_path):
    path = tmp_path / "pairs.parquet"
    write_pairs(path, some_pairs(1), {"b": 1, "a": "é"})
    assert json.loads(pq.read_schema(path).metadata[b"bioqa"]) == {"a": "é", "b": 1}


@pytest.mark.shared_data
def test_scifact_evidence_is_read_as_it_is(shared_data):
    found = describe(read_batches(shared_data / "scifact" / "evidence-train.jsonl"))
    assert (found.rows, found.questions, found.positives) == (5494, 504, 1025)
    assert len(read_pairs(shared_data / "scifact" / "qrels" / "test.tsv")) == 339
