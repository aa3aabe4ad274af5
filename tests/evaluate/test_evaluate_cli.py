"""``bioqa eval`` from files to its output."""

import csv
import io
import json
import math
import os
import subprocess
import sys

import pytest

from bioqa.io.tables import Column, Table, as_csv
from tests.support import REPOSITORY

QRELS = "q1 0 a 1\nq1 0 b 0\nq2 0 c 2\nq2 0 d 1\nq3 0 e 1\n"
RUN = "q1 Q0 b 1 2.0 t\nq1 Q0 a 2 1.0 t\nq2 Q0 c 1 2.0 t\nq2 Q0 x 2 1.0 t\n"
BETTER = "q1 Q0 a 1 2.0 t\nq2 Q0 c 1 2.0 t\nq2 Q0 d 2 1.0 t\nq3 Q0 e 1 1.0 t\nother Q0 a 1 1.0 t\n"


@pytest.fixture
def files(tmp_path):
    for name, text in (("qrels.txt", QRELS), ("run.txt", RUN), ("better.txt", BETTER)):
        (tmp_path / name).write_text(text)
    return tmp_path


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
    assert "1 of 4 queries (other) of better.txt are not in the qrels and were ignored." in done.err


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


def test_every_measure_of_a_suite_is_known(bioqa, files):
    names = ("ndcg@10", "bioasq-map@10", "BioASQ-MAP@10", "mrr@10", "recall@100")
    done = bioqa("eval", files / "qrels.txt", files / "run.txt", *names, "--compare", files / "better.txt", "--json")
    assert done.code == 0, done.err
    run, better = json.loads(done.out)["runs"]
    # q1: 1/2; q2: 1 of 2 found, first; q3: nothing found.
    assert run["means"]["bioasq-map@10"] == run["means"]["BioASQ-MAP@10"] == pytest.approx((1 / 2 + 1 / 2) / 3)
    assert better["means"]["bioasq-map@10"] == 1


def test_gm_map_is_a_geometric_mean_and_compared_as_one(bioqa, files):
    arguments = ("eval", files / "qrels.txt", files / "run.txt", "gm_map", "--per-query", "--json")
    found = json.loads(bioqa(*arguments, "--compare", files / "better.txt").out)
    (first, second) = (run["means"]["gm_map"] for run in found["runs"])
    assert (first, second) == pytest.approx(((0.5 * 0.5 * 1e-5) ** (1 / 3), 1))
    assert found["runs"][0]["per_query"]["gm_map"]["q1"] == pytest.approx(math.log(0.5))
    assert found["differences"][0]["difference"] == pytest.approx(second - first)


@pytest.mark.parametrize("id", ["=1+1", "+1+cmd", "-2-3", "@SUM(A1)", "-inf"])
def test_csv_has_no_cell_that_a_spreadsheet_runs(bioqa, tmp_path, id):
    (tmp_path / "qrels").write_text(f"{id} 0 a 1\n-5 0 a 1\n")
    (tmp_path / "=run").write_text(f"{id} Q0 a 1 1.0 t\n-5 Q0 a 1 1.0 t\n")
    (tmp_path / "other").write_text(f"{id} Q0 a 1 1.0 t\n")
    arguments = (
        "eval",
        tmp_path / "qrels",
        tmp_path / "=run",
        "RR",
        "--compare",
        tmp_path / "other",
        "--format",
        "csv",
    )
    rows = list(csv.reader(io.StringIO(bioqa(*arguments, "--per-query").out)))
    assert [row[:2] for row in rows[1:5]] == [
        [f"'{id}", "'=run"],
        [f"'{id}", "other"],
        ["-5", "'=run"],
        ["-5", "other"],
    ]
    means = list(csv.reader(io.StringIO(bioqa(*arguments).out)))
    assert means[0][-1] == "'+ / = / −"
    assert means[2][3] == "-0.5"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_text_that_starts_like_a_formula_is_neutral_in_csv_and_numbers_stay(start):
    table = Table([Column(f"{start}a"), Column("b", ".2f")], [[f"{start}1+1", -0.5], ["a=1", -3], ["+4.2e-7", None]])
    rows = list(csv.reader(io.StringIO(as_csv(table), newline="")))
    assert rows == [[f"'{start}a", "b"], [f"'{start}1+1", "-0.5"], ["a=1", "-3"], ["+4.2e-7", ""]]


def test_gold_of_a_bioasq_file(bioqa, tmp_path):
    url = "http://www.ncbi.nlm.nih.gov/pubmed/11"
    question = {"id": "q", "documents": [url], "snippets": [{"document": url}], "type": "unknown"}
    (tmp_path / "gold.json").write_text(json.dumps({"questions": [question]}))
    (tmp_path / "run").write_text("q Q0 11 1 1.0 t\n")
    assert (
        bioqa("eval", tmp_path / "gold.json", tmp_path / "run", "RR", "--format", "csv").out == "Measure,Mean\nRR,1.0\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (("qrels.txt", "run.txt", "nDGC@10"), 2, "Did you mean nDCG@10?"),
        (("qrels.txt", "run.txt", "RR", "RR"), 2, "Duplicate measure"),
        (("qrels.txt", "run.txt", "bioasq-map@5"), 2, "BioASQ's measure is bioasq-map@10."),
        (("qrels.txt", "run.txt", "--compare", "run.txt"), 2, "Duplicate run"),
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
def test_errors_are_one_sentence(bioqa, files, monkeypatch, arguments, code, problem):
    monkeypatch.chdir(files)
    (files / "stranger.txt").write_text("q9 Q0 a 1 1.0 t\n")
    done = bioqa("eval", *arguments)
    assert (done.code, done.out) == (code, "")
    assert problem in done.err
    assert done.err.count("\n") == 1


def test_the_first_use_reports_compilation(files):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(files / "cache")}
    command = [sys.executable, "-m", "bioqa", "eval", str(files / "qrels.txt"), str(files / "run.txt"), "RR"]
    first, second = (
        subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY, env=environment)
        for _ in range(2)
    )
    assert "Compiling the measures" in first.stderr
    assert "Compiling" not in second.stderr
    assert first.stdout == second.stdout


def test_help_and_the_modules_load_nothing_heavy():
    program = (
        "import sys\nfrom bioqa.cli.main import main\nmain(['eval', '--help'])\nmain(['classify', '--help'])\n"
        "import bioqa.evaluate.plots, bioqa.evaluate.ranking_report, bioqa.evaluate.classification_report\n"
        "heavy = ('numpy', 'numba', 'ranx', 'scipy', 'sklearn', 'matplotlib', 'pyarrow', 'torch', 'rich')\n"
        "print('LOADED', [m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.splitlines()[-1] == "LOADED []"
