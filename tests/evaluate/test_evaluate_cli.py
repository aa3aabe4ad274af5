"""``bioqa eval`` from files to what is shown."""

import csv
import io
import json
import os
import subprocess
import sys

import pyarrow as pa
import pytest
from pyarrow.parquet import write_table

from tests.support import REPOSITORY

QRELS = "q1 0 a 1\nq1 0 b 0\nq2 0 c 2\nq2 0 d 1\nq3 0 e 1\n"
RUN = "q1 Q0 b 1 2.0 t\nq1 Q0 a 2 1.0 t\nq2 Q0 c 1 2.0 t\nq2 Q0 x 2 1.0 t\n"
BETTER = "q1 Q0 a 1 2.0 t\nq2 Q0 c 1 2.0 t\nq2 Q0 d 2 1.0 t\nq3 Q0 e 1 1.0 t\nother Q0 a 1 1.0 t\n"
PAIRS = [(1, 0.9), (1, 0.8), (1, 0.3), (0, 0.7), (0, 0.2), (0, 0.1)]


@pytest.fixture
def files(tmp_path):
    for name, text in (("qrels.txt", QRELS), ("run.txt", RUN), ("better.txt", BETTER)):
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("text,label,score\n" + "".join(f'"a, b",{label},{score}\n' for label, score in PAIRS))
    return path


def test_default_measures_as_a_table(bioqa, files):
    done = bioqa("eval", files / "qrels.txt", files / "run.txt")
    shown = dict(line.split() for line in done.out.splitlines() if len(line.split()) == 2)
    assert shown == {"Measure": "Mean", "nDCG@10": "0.4637", "RR@10": "0.5000", "AP": "0.3333", "R@100": "0.5000"}
    assert "1 of 3 queries (q3) have no result in run.txt and count 0." in done.err


def test_json_has_means_and_queries_under_the_names_asked_for(bioqa, files):
    done = bioqa("eval", files / "qrels.txt", files / "run.txt", "recip_rank", "P@1", "--per-query", "--json")
    found = json.loads(done.out)
    assert found["queries"] == 3
    (run,) = found["runs"]
    assert run["means"] == pytest.approx({"recip_rank": 0.5, "P@1": 1 / 3})
    assert run["per_query"]["recip_rank"] == {"q1": 0.5, "q2": 1.0, "q3": 0.0}


def test_runs_are_compared(bioqa, files):
    done = bioqa(
        "eval", files / "qrels.txt", files / "run.txt", "RR", "AP", "--compare", files / "better.txt",
        "--test", "wilcoxon", "--correction", "bonferroni", "--json",
    )  # fmt: skip
    found = json.loads(done.out)
    assert (found["baseline"], found["test"], found["correction"]) == ("run.txt", "wilcoxon", "bonferroni")
    change = found["differences"][0]
    assert (change["run"], change["measure"], change["better"], change["equal"]) == ("better.txt", "RR", 2, 1)
    assert change["difference"] == pytest.approx(0.5)
    assert change["corrected"] == min(1.0, 2 * change["p"])
    assert not change["significant"]
    assert "1 of 4 queries (other) of better.txt are not in the qrels and were left out." in done.err


def test_a_significant_change_is_marked(bioqa, tmp_path):
    queries = range(30)
    (tmp_path / "qrels").write_text("".join(f"q{number} 0 a 1\n" for number in queries))
    (tmp_path / "low").write_text("".join(f"q{number} Q0 b 1 2 t\nq{number} Q0 a 2 1 t\n" for number in queries))
    (tmp_path / "high").write_text("".join(f"q{number} Q0 a 1 {1 + number % 2} t\n" for number in queries))
    up = bioqa("eval", tmp_path / "qrels", tmp_path / "low", "RR", "--compare", tmp_path / "high", "--test", "fisher")
    assert [word for line in up.out.splitlines() if line.split()[1:2] == ["high"] for word in line.split()] == [
        "RR", "high", "1.0000", "+0.5000", "0.0002", "0.0002", "↑", "30", "/", "0", "/", "0",
    ]  # fmt: skip
    down = bioqa(
        "eval", tmp_path / "qrels", tmp_path / "high", "RR", "--compare", tmp_path / "low", "--format", "latex"
    )
    assert r"RR & low & 0.5000 & -0.5000 & \textless{}0.0001 & \textless{}0.0001 & $\downarrow$" in down.out


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("csv", "Measure,Mean\nRR,0.5\nP_1,0.3333333333333333\n"),
        ("markdown", "| Measure | Mean |\n| --- | ---: |\n| RR | 0.5000 |\n| P_1 | 0.3333 |\n"),
        (
            "latex",
            "% needs \\usepackage{booktabs}\n\\begin{tabular}{lr}\n\\toprule\nMeasure & Mean \\\\\n\\midrule\n"
            "RR & 0.5000 \\\\\nP\\_1 & 0.3333 \\\\\n\\bottomrule\n\\end{tabular}\n",
        ),
    ],
)
def test_formats(bioqa, files, form, text):
    arguments = ("eval", files / "qrels.txt", files / "run.txt", "RR", "P_1", "--format", form)
    assert bioqa(*arguments).out == text
    assert bioqa(*arguments, "--out", files / "out").out == ""
    assert (files / "out").read_text() == text


def test_every_query_has_a_line_in_csv(bioqa, files):
    done = bioqa(
        "eval", files / "qrels.txt", files / "run.txt", "RR", "--per-query", "--compare", files / "better.txt",
        "--format", "csv",
    )  # fmt: skip
    rows = list(csv.reader(io.StringIO(done.out)))
    assert rows[0] == ["Query", "Run", "RR"]
    assert rows[1:3] == [["q1", "run.txt", "0.5"], ["q1", "better.txt", "1.0"]]
    assert rows[-2:] == [["all", "run.txt", "0.5"], ["all", "better.txt", "1.0"]]
    assert len(rows) == 1 + 2 * 3 + 2


def test_gold_of_a_bioasq_file(bioqa, tmp_path):
    url = "http://www.ncbi.nlm.nih.gov/pubmed/11"
    (tmp_path / "gold.json").write_text(json.dumps({"questions": [{"id": "q", "body": "One?", "documents": [url]}]}))
    (tmp_path / "run").write_text("q Q0 11 1 1.0 t\n")
    assert (
        bioqa("eval", tmp_path / "gold.json", tmp_path / "run", "RR", "--format", "csv").out == "Measure,Mean\nRR,1.0\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (("qrels.txt",), 2, "Name the qrels and a run"),
        (("qrels.txt", "run.txt", "nDGC@10"), 2, "Did you mean nDCG@10?"),
        (("qrels.txt", "run.txt", "RR", "RR"), 2, "named twice"),
        (("qrels.txt", "run.txt", "--compare", "run.txt"), 2, "A run is named twice"),
        (("qrels.txt", "run.txt", "--threshold", "0.5"), 2, "--threshold goes with --classification"),
        (("qrels.txt", "run.txt", "--scale", "logit"), 2, "--scale goes with --classification"),
        (("qrels.txt", "run.txt", "--classification", "run.txt"), 2, "take qrels.txt run.txt away"),
        (("--classification", "pairs.csv", "--per-query"), 2, "take --per-query away"),
        (("qrels.txt", "none.txt"), 4, "none.txt does not exist"),
        (("qrels.txt", "stranger.txt"), 4, "stranger.txt: No query of the run is in the qrels"),
        (("qrels.txt", "run.txt", "--out", "no/where"), 7, "cannot be written"),
        (
            ("qrels.txt", "run.txt", "--format", "csv", "--out", "./run.txt"),
            7,
            "run.txt is an input and would be overwritten",
        ),
    ],
)
def test_what_cannot_be_done_is_one_sentence(bioqa, files, monkeypatch, arguments, code, problem):
    monkeypatch.chdir(files)
    (files / "stranger.txt").write_text("q9 Q0 a 1 1.0 t\n")
    done = bioqa("eval", *arguments)
    assert (done.code, done.out) == (code, "")
    assert problem in done.err
    assert done.err.count("\n") == 1


def test_pairs_are_judged_at_the_frozen_threshold_and_as_published(bioqa, pairs):
    done = bioqa("eval", "--classification", pairs, "--threshold", "0.75", "--json")
    found = json.loads(done.out)
    assert list(found).index("frozen") < list(found).index("published")
    assert found["frozen"]["name"] == "at the frozen threshold (given)"
    assert (found["frozen"]["threshold"], found["frozen"]["accuracy"]) == (0.75, pytest.approx(5 / 6))
    assert "optimistic" in found["published"]["name"]
    assert found["published"]["f1"] == pytest.approx(6 / 7)
    assert found["published"]["f1_threshold"] == pytest.approx(0.25)
    table = bioqa("eval", "--classification", pairs, "--threshold", "0.75", "--format", "csv").out
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
        json.loads(bioqa("eval", "--classification", tmp_path / f"pairs.{ending}", "--json").out)["frozen"]
        for ending in ("csv", "tsv", "jsonl", "parquet")
    ]
    assert found[0]["name"] == "at probability 0.5 (no threshold given)"
    assert found == [found[0]] * 4


def test_columns_may_be_named(bioqa, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("gold,mine,score\n0,0.1,0.9\n1,0.9,0.1\n")
    assert json.loads(bioqa("eval", "--classification", path, "--json").out)["frozen"]["f1"] == 0
    done = bioqa("eval", "--classification", path, "--score-column", "mine", "--json")
    assert json.loads(done.out)["frozen"]["f1"] == 1
    assert "Labels from column 'gold', scores from 'mine': probabilities." in done.err


def test_logits_are_told_from_probabilities(bioqa, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("label,score\n0,-1\n1,0.25\n1,3\n0,0.1\n")
    done = bioqa("eval", "--classification", path, "--json")
    found = json.loads(done.out)
    assert (found["scale"], found["frozen"]["threshold"], found["frozen"]["recall"]) == ("logit", 0.0, 1.0)
    assert "logistic function" in done.err
    path.write_text("label,score\n0,0.1\n1,0.25\n")
    assert json.loads(bioqa("eval", "--classification", path, "--scale", "logit", "--json").out)["scale"] == "logit"


def test_a_model_folder_lends_its_threshold(bioqa, pairs, tmp_path):
    (tmp_path / "bioqa.json").write_text('{"threshold": 0.75}')
    found = json.loads(bioqa("eval", "--classification", pairs, "--model", tmp_path, "--json").out)
    assert found["frozen"]["threshold"] == 0.75
    assert found["frozen"]["name"] == f"at the frozen threshold (of {tmp_path})"


def test_pictures_are_written(bioqa, pairs, tmp_path):
    assert bioqa("eval", "--classification", pairs, "--plots", tmp_path / "plots").code == 0
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
        (f"label,score,text\n1,0.5,{'x' * (1 << 25)}\n", "line 2: invalid CSV (field larger than field limit"),
        ("label,score\n1,0.5\n1,0.4\n", "pairs.csv: All 2 labels are 1"),
        ("label,score\n", "pairs.csv: There are no pairs"),
        ("label,points\n1,2\n", "Name the right one with --score-column"),
        ("", "is empty"),
    ],
)
def test_bad_pairs_are_named(bioqa, tmp_path, text, problem):
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    done = bioqa("eval", "--classification", path)
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
        ("pairs.jsonl", b'{"label": 1, "score": 1%s}\n' % (b"0" * 400), 3, "line 1: the score is 1000"),
        ("pairs.parquet", b"PAR1 or not", 3, "is not a valid Parquet file"),
        ("pairs.txt", b"1 1\n", 2, "the ending says the format"),
    ],
)
def test_bad_files_of_other_formats_are_named(bioqa, tmp_path, name, content, code, problem):
    (tmp_path / name).write_bytes(content)
    done = bioqa("eval", "--classification", tmp_path / name)
    assert (done.code, done.out) == (code, "")
    assert problem in done.err


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "cannot be read"), ("{", "is not JSON"), ("{}", "holds no threshold"), ('{"threshold": "x"}', "found 'x'")],
)
def test_a_model_folder_without_a_threshold(bioqa, pairs, tmp_path, content, problem):
    if content is not None:
        (tmp_path / "bioqa.json").write_text(content)
    done = bioqa("eval", "--classification", pairs, "--model", tmp_path)
    assert done.code == 6
    assert problem in done.err


def test_thresholds_and_scales_that_contradict(bioqa, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("label,score\n0,-1\n1,3\n")
    both = bioqa("eval", "--classification", path, "--threshold", "1", "--model", tmp_path)
    assert both.code == 2
    assert "not both" in both.err
    scale = bioqa("eval", "--classification", path, "--scale", "probability")
    assert scale.code == 2
    assert "some lie outside 0 to 1" in scale.err
    path.write_text("label,score\n0,0.1\n1,0.3\n")
    threshold = bioqa("eval", "--classification", path, "--threshold", "1.5")
    assert threshold.code == 2
    assert "The threshold 1.5 is no probability, but the scores are" in threshold.err
    assert bioqa("eval", "--classification", path, "--threshold", "1.5", "--scale", "logit").code == 0


def test_a_folder_is_no_file_of_pairs(bioqa, tmp_path):
    done = bioqa("eval", "--classification", tmp_path)
    assert done.code == 3
    assert "is a folder, not a file" in done.err


def test_the_first_use_says_that_it_compiles(files):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(files / "cache")}
    command = [sys.executable, "-m", "bioqa", "eval", str(files / "qrels.txt"), str(files / "run.txt"), "RR"]
    first, second = (
        subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY, env=environment)
        for _ in range(2)
    )
    assert "ranx compiles its measures" in first.stderr
    assert "compiles" not in second.stderr
    assert first.stdout == second.stdout


def test_help_and_the_modules_load_nothing_heavy():
    program = (
        "import sys\nfrom bioqa.cli import main\nmain(['eval', '--help'])\n"
        "import bioqa.evaluate.plots, bioqa.evaluate.ranking_report, bioqa.evaluate.classification_report\n"
        "heavy = ('numpy', 'numba', 'ranx', 'scipy', 'sklearn', 'matplotlib', 'pyarrow', 'torch', 'rich')\n"
        "print('LOADED', [m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.splitlines()[-1] == "LOADED []"
