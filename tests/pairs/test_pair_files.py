"""Files of training pairs: written completely or not at all, read in many formats, errors name their place."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bioqa.errors import BioqaError, OutputError, PairsError, UsageError
from bioqa.pairs.pair_file import ROW_GROUP, Pair, open_pairs, read_provenance, write_pairs
from bioqa.pairs.pair_statistics import describe_pairs
from bioqa.pairs.question_groups import read_groups
from bioqa.pairs.read_pairs import read_batches, read_pairs
from tests.support import write_jsonl


def some_pairs(count=3):
    return [Pair(f"q{i}", f"p{i} é", float(i % 2), str(i), "9", "bm25", i) for i in range(count)]


def test_a_pairs_file_is_read_back_also_by_datasets(tmp_path):
    path = tmp_path / "pairs.parquet"
    assert write_pairs(path, some_pairs(), {"command": "bioqa pairs build", "seed": 7}) == 3
    table = read_pairs(path)
    assert [Pair(**row) for row in table.to_pylist()] == some_pairs()
    assert read_provenance(path) == {"command": "bioqa pairs build", "seed": 7}
    from datasets import Dataset

    data = Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    assert data[1] == some_pairs()[1]._asdict()


def test_rows_are_written_and_read_in_groups(tmp_path):
    path = tmp_path / "pairs.parquet"
    write_pairs(path, (Pair("q", "p", 1.0, "1") for _ in range(2 * ROW_GROUP + 5)))
    assert pq.ParquetFile(path).metadata.num_row_groups == 3
    assert [batch.num_rows for batch in read_batches(path)] == [ROW_GROUP, ROW_GROUP, 5]


def test_a_failure_keeps_the_old_file(tmp_path):
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


def test_splits_appear_together_or_not_at_all(tmp_path):
    paths = [tmp_path / "train.parquet", tmp_path / "dev.parquet"]

    def write(count, fail):
        with open_pairs(paths) as writers:
            for writer in writers:
                writer.write(some_pairs(count))
            if fail:
                raise PairsError("broken")

    with pytest.raises(PairsError, match="broken"):
        write(1, fail=True)
    assert list(tmp_path.iterdir()) == []
    write(2, fail=False)
    assert [len(read_pairs(path)) for path in paths] == [2, 2]
    with pytest.raises(PairsError, match="broken"):
        write(3, fail=True)
    assert [len(read_pairs(path)) for path in paths] == [2, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dev.parquet", "train.parquet"]


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
def test_texts_and_labels_are_found_in_many_formats(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    rows = read_pairs(path).to_pylist()
    assert [(r["question"], r["passage"], r["label"], r["kind"]) for r in rows] == [
        ("what?", "yes, it is", 1.0, "given"),
        ("what?", "no\nway", 0.0, "given"),
    ]
    assert rows[0]["question_id"] == rows[1]["question_id"] != ""


def test_tab_separated_text_has_no_quoting(tmp_path):
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


def test_a_beir_folder_is_read_as_its_judged_pairs(tmp_path):
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
        ("f.csv", "question,passage,label\n", "has no pairs"),
        ("g.csv", "", "is empty"),
        ("h.jsonl", '{"question": "a", "passage": "b", "label": 1}\n{"quest\n', "line 2: not JSON"),
        ("i.jsonl", '{"query": "a", "pos": [1], "neg": []}\n', "line 1: pos and neg must be texts"),
        ("m.jsonl", '{"query": "a", "pos": 5}\n', "line 1: pos and neg must be texts"),
        ("j.jsonl", '{"query": "a", "text": "b"}\n', "no column for label"),
        ("k.dat", "nothing", "not in a known format"),
        ("l.parquet", "PAR1 but not really", "not a valid Parquet file"),
        ("n.jsonl", f'{{"question": "a", "passage": "b", "label": 1{"0" * 400}}}\n', "line 1: a number has 401 digits"),
    ],
)  # fmt: skip
def test_an_error_names_its_place(tmp_path, name, text, message):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(PairsError, match=message):
        read_pairs(tmp_path / name)


def test_a_passage_may_be_longer_than_pythons_csv_takes(tmp_path):
    (tmp_path / "long.csv").write_text(f"question,passage,label\nq,{'word ' * 40_000},1\n")
    assert len(read_pairs(tmp_path / "long.csv").column("passage")[0].as_py()) == 199_999


def test_invalid_utf8_and_missing_files_are_named(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"question,passage,label\na,\xff,1\n")
    with pytest.raises(PairsError, match=r"line 2: byte 3 \(0xff\) is not UTF-8"):
        read_pairs(tmp_path / "a.csv")
    with pytest.raises(PairsError, match="does not exist"):
        read_pairs(tmp_path / "b.csv")
    with pytest.raises(PairsError, match="not a BEIR folder"):
        read_pairs(tmp_path)


def test_a_pairs_file_with_bad_labels_is_refused(tmp_path):
    path = tmp_path / "pairs.parquet"
    write_pairs(path, [*some_pairs(2), Pair("q", "p", float("nan"), "1")])
    with pytest.raises(PairsError, match="row 3: the label is nan"):
        read_pairs(path)


def test_statistics_are_those_of_the_data(tmp_path):
    path = tmp_path / "pairs.parquet"
    write_pairs(path, [Pair("aa", "b" * n, float(n == 1), str(n % 2), kind="given") for n in (1, 2, 6)])
    found = describe_pairs(read_batches(path))
    assert (found.rows, found.questions, found.positives, found.kinds) == (3, 2, 1, {"given": 3})
    assert found.positive_share == pytest.approx(1 / 3)
    assert (found.passage.min, found.passage.mean, found.passage.max) == (1, 3.0, 6)
    assert sorted(len(sample.passage) for sample in found.samples) == [1, 2, 6]
    batch = read_pairs(path).to_batches()[0]
    assert describe_pairs([batch, batch.slice(0, 1)]).passage.mean == pytest.approx(10 / 4)
    with pytest.raises(PairsError, match="no pairs"):
        describe_pairs([])


def test_provenance_is_json(tmp_path):
    path = tmp_path / "pairs.parquet"
    write_pairs(path, some_pairs(1), {"b": 1, "a": "é"})
    assert json.loads(pq.read_schema(path).metadata[b"bioqa"]) == {"a": "é", "b": 1}


@pytest.mark.shared_data
def test_scifact_evidence_is_read_directly(shared_data):
    found = describe_pairs(read_batches(shared_data / "scifact" / "evidence-train.jsonl"))
    assert (found.rows, found.questions, found.positives) == (5494, 504, 1025)
    assert len(read_pairs(shared_data / "scifact" / "qrels" / "test.tsv")) == 339


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", '{"query": "What? \\ud800", "pos": ["That."], "neg": []}'),
        ("b.jsonl", '{"query": "What?", "pos": ["That. \\udfff"], "neg": []}'),
        ("c.jsonl", '{"question": "What?", "passage": "\\ud800", "label": 1}'),
        ("d.jsonl", '{"question": "What?", "passage": "That.", "label": 1, "document_id": "\\ud800"}'),
        ("e.json", '{"1": {"QUESTION": "What?", "CONTEXTS": ["\\ud800"]}}'),
        ("f.json", '{"questions": [{"id": "1", "body": "What?", "documents": ["\\ud800"]}]}'),
        ("g.json", '{"questions": [{"id": "1", "body": "What?", "snippets": [{"text": "\\ud800"}]}]}'),
    ],
)
def test_half_a_character_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(BioqaError, match="surrogate"):
        read_groups([tmp_path / name])
