"""``bioqa classify`` from files to its output."""

import csv
import io
import json

import pyarrow as pa
import pytest
from pyarrow.parquet import write_table

PAIRS = [(1, 0.9), (1, 0.8), (1, 0.3), (0, 0.7), (0, 0.2), (0, 0.1)]


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("text,label,score\n" + "".join(f'"a, b",{label},{score}\n' for label, score in PAIRS))
    return path


def test_pairs_are_measured_at_the_frozen_threshold_and_at_the_best(bioqa, pairs):
    done = bioqa("classify", pairs, "--threshold", "0.75", "--json")
    found = json.loads(done.out)
    assert list(found).index("frozen") < list(found).index("published")
    assert found["frozen"]["name"] == "at the frozen threshold (given)"
    assert (found["frozen"]["threshold"], found["frozen"]["accuracy"]) == (0.75, pytest.approx(5 / 6))
    assert "optimistic" in found["published"]["name"]
    assert found["published"]["f1"] == pytest.approx(6 / 7)
    assert found["published"]["f1_threshold"] == pytest.approx(0.25)
    table = bioqa("classify", pairs, "--threshold", "0.75", "--format", "csv").out
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(table))}
    assert rows["Measure"][0] == "at the frozen threshold (given)"
    assert rows["F1"] == ["0.8", "0.8571428571428571", "0.25"]
    assert rows["False negatives"] == ["1", "", ""]


def test_the_same_pairs_in_four_formats(bioqa, pairs, tmp_path):
    (tmp_path / "pairs.tsv").write_text("label\tscore\n" + "".join(f"{y}\t{x}\n" for y, x in PAIRS))
    lines = (json.dumps({"label": bool(label), "score": score}) + "\n" for label, score in PAIRS)
    (tmp_path / "pairs.jsonl").write_text("".join(lines))
    labels, scores = zip(*PAIRS, strict=True)
    write_table(pa.table({"label": labels, "score": scores}), tmp_path / "pairs.parquet")
    found = [
        json.loads(bioqa("classify", tmp_path / f"pairs.{ending}", "--json").out)["frozen"]
        for ending in ("csv", "tsv", "jsonl", "parquet")
    ]
    assert found[0]["name"] == "at probability 0.5 (no threshold given)"
    assert found == [found[0]] * 4


def test_columns_may_be_named(bioqa, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("gold,mine,score\n0,0.1,0.9\n1,0.9,0.1\n")
    assert json.loads(bioqa("classify", path, "--json").out)["frozen"]["f1"] == 0
    done = bioqa("classify", path, "--score-column", "mine", "--json")
    assert json.loads(done.out)["frozen"]["f1"] == 1
    assert "Labels from column 'gold', scores from column 'mine': probabilities." in done.err


def test_logits_are_distinguished_from_probabilities(bioqa, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("label,score\n0,-1\n1,0.25\n1,3\n0,0.1\n")
    done = bioqa("classify", path, "--json")
    found = json.loads(done.out)
    assert (found["scale"], found["frozen"]["threshold"], found["frozen"]["recall"]) == ("logit", 0.0, 1.0)
    assert "logistic function" in done.err
    path.write_text("label,score\n0,0.1\n1,0.25\n")
    assert json.loads(bioqa("classify", path, "--scale", "logit", "--json").out)["scale"] == "logit"


def test_the_threshold_of_a_model_folder_is_used(bioqa, pairs, tmp_path):
    (tmp_path / "bioqa.json").write_text('{"threshold": 0.75}')
    found = json.loads(bioqa("classify", pairs, "--reranker", tmp_path, "--json").out)
    assert found["frozen"]["threshold"] == 0.75
    assert found["frozen"]["name"] == f"at the frozen threshold (of {tmp_path})"


def test_plots_are_written(bioqa, pairs, tmp_path):
    assert bioqa("classify", pairs, "--plots", tmp_path / "plots").code == 0
    assert len(list((tmp_path / "plots").glob("*.png"))) == 5


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("label,score\n1,0.5\nyes,0.4\n", "pairs.csv, line 3: the label is 'yes'"),
        ("label,score\n1,0.5\n2,0.4\n", "line 3: the label is '2'"),
        ("label,score\n1,0.5\n0,nan\n", "line 3: the score is 'nan', not a finite number"),
        ("label,score\n1,0.5\n0\n", "line 3: expected 2 comma-separated columns as in the first line, found 1"),
        (
            "label,score\n1,0.5,x\n0,0.4\n",
            "found 3. Text with a comma must be in quotes",
        ),
        ("label,label,score\n1,0,0.5\n", "pairs.csv: 2 columns are named 'label'"),
        ("label,score\n1,0.5\n0,\n", "line 3: the score is missing"),
        (f"label,score,text\n1,0.5,{'x' * ((1 << 24) + 1)}\n", "line 2: invalid CSV (field larger than field limit"),
        ("label,score\n1,0.5\n1,0.4\n", "pairs.csv: All 2 labels are 1"),
        ("label,score\n", "pairs.csv: There are no pairs"),
        ("label,points\n1,2\n", "Name the right one with --score-column"),
        ("", "is empty"),
    ],
)
def test_bad_pairs_are_named(bioqa, tmp_path, text, problem):
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    done = bioqa("classify", path)
    assert (done.code, done.out) == (3, "")
    assert problem in done.err


@pytest.mark.parametrize(
    ("name", "content", "code", "problem"),
    [
        (
            "pairs.jsonl",
            b'{"label": 1, "score": 1}\n{"label": 1}\n',
            3,
            "line 2: 'score' is missing, which the first line has",
        ),
        ("pairs.jsonl", b"[1]\n", 3, "line 1: not a JSON object"),
        (
            "pairs.jsonl",
            b"{\n",
            3,
            "line 1: not JSON: Expecting property name enclosed in double quotes at character 2",
        ),
        ("pairs.jsonl", b'{"label": 1, "score": "\xe9"}\n', 3, "line 1: byte 24 (0xe9) is not UTF-8"),
        ("pairs.jsonl", b'{"label": 1, "score": 1%s}\n' % (b"0" * 400), 3, "line 1: a number has 401 digits"),
        ("pairs.parquet", b"PAR1 or not", 3, "is not a valid Parquet file"),
        ("pairs.txt", b"1 1\n", 2, "the ending says the format"),
    ],
)
def test_bad_files_of_other_formats_are_named(bioqa, tmp_path, name, content, code, problem):
    (tmp_path / name).write_bytes(content)
    done = bioqa("classify", tmp_path / name)
    assert (done.code, done.out) == (code, "")
    assert problem in done.err


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "has no threshold"),
        ("{", "is damaged"),
        ("{}", "has no threshold"),
        ('{"threshold": "x"}', "is damaged ('x' is not a number)"),
        ('{"threshold": 0.5, "calibration": {"method": "platt"}}', "is damaged"),
    ],
)
def test_a_model_folder_without_a_threshold_is_refused(bioqa, pairs, tmp_path, content, problem):
    if content is not None:
        (tmp_path / "bioqa.json").write_text(content)
    done = bioqa("classify", pairs, "--reranker", tmp_path)
    assert done.code == 6
    assert problem in done.err


def test_contradictory_thresholds_and_scales_are_refused(bioqa, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("label,score\n0,-1\n1,3\n")
    both = bioqa("classify", path, "--threshold", "1", "--reranker", tmp_path)
    assert both.code == 2
    assert "not both" in both.err
    scale = bioqa("classify", path, "--scale", "probability")
    assert scale.code == 2
    assert "some are outside 0 to 1" in scale.err
    path.write_text("label,score\n0,0.1\n1,0.3\n")
    threshold = bioqa("classify", path, "--threshold", "1.5")
    assert threshold.code == 2
    assert "The threshold 1.5 is not a probability, but the scores are" in threshold.err
    assert bioqa("classify", path, "--threshold", "1.5", "--scale", "logit").code == 0


def test_a_folder_is_not_a_file_of_pairs(bioqa, tmp_path):
    done = bioqa("classify", tmp_path)
    assert done.code == 3
    assert "is a folder, not a file" in done.err
