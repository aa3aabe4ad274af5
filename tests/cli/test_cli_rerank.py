"""`bioqa rerank`: any TREC run in a cross-encoder's order, also after a kill."""

import gzip
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from bioqa import Article, Index, MemoryRetriever, Pipeline, PipelineOptions, Reranker, build_index, read_questions
from bioqa.errors import OutputError, QuestionError
from bioqa.io.trec import iter_run, read_run
from bioqa.pipeline.rerank_run import RerankCheckpoint, plan_run, run_settings
from bioqa.pipeline.windows import score_articles
from tests.support import REPOSITORY, write_jsonl
from tests.tiny_models import one_thread, tiny_reranker  # noqa: F401

WORDS = [
    "gene",
    "protein",
    "cancer",
    "cell",
    "malaria",
    "aspirin",
    "pain",
    "children",
    "drugs",
    "treatment",
    "patients",
    "mosquitoes",
]
QUESTIONS = {f"q{n}": f"Which {WORDS[n % 12]} is mutated in {WORDS[(n * 5 + 1) % 12]}?" for n in range(30)}


def text_of(n):
    rng = np.random.default_rng(n)
    return " ".join(rng.choice(WORDS, 60 if n % 10 == 0 else 8)) + "."


ARTICLES = {str(n): Article(str(n), f"The {WORDS[n % 12]}", text_of(n)) for n in range(60)}


def candidates(n):
    """Ten articles of question n, with falling scores."""
    ids = np.random.default_rng(1000 + n).permutation(60)[:10]
    return [(str(id), 20.0 - place) for place, id in enumerate(ids)]


@pytest.fixture
def files(tmp_path):
    """A corpus, questions and a run of the first stage."""
    write_jsonl(
        tmp_path / "corpus.jsonl", [{"id": a.id, "title": a.title, "text": a.abstract} for a in ARTICLES.values()]
    )
    (tmp_path / "questions.tsv").write_text("".join(f"{id}\t{body}\n" for id, body in QUESTIONS.items()))
    write_run(tmp_path / "in.run", {f"q{n}": candidates(n) for n in range(30)})
    return tmp_path


def write_run(path, run):
    lines = [f"{q} Q0 {d} {r} {s} bm25\n" for q, rows in run.items() for r, (d, s) in enumerate(rows, start=1)]
    path.write_text("".join(lines))


@pytest.fixture
def rerank(bioqa, files, tiny_reranker):  # noqa: F811
    """Call the command on the files; later options win."""

    def call(*options):
        usual = {"--run": files / "in.run", "--questions": files / "questions.tsv", "--out": files / "out.run"}
        usual |= {"--reranker": tiny_reranker, "--device": "cpu", "--corpus": files / "corpus.jsonl"}
        usual |= dict(zip(options[::2], options[1::2], strict=True))
        return bioqa("rerank", *(part for pair in usual.items() if pair[1] is not None for part in pair))

    return call


def rows(path):
    return [line.split() for line in path.read_text().splitlines()]


@pytest.mark.parametrize("stored", ["corpus", "index"])
def test_each_question_has_its_candidates_in_the_order_of_their_logits(stored, rerank, files, tiny_reranker):  # noqa: F811
    index = files / "index"
    if stored == "index":
        build_index(index, [files / "corpus.jsonl"])
    done = rerank("--index", index, "--corpus", None) if stored == "index" else rerank()
    assert (done.code, done.out) == (0, "")
    found = rows(files / "out.run")
    assert list(dict.fromkeys(row[0] for row in found)) == list(QUESTIONS)
    reranker = Reranker(tiny_reranker, device="cpu")
    for n in (0, 7, 29):
        own = [row for row in found if row[0] == f"q{n}"]
        assert [row[1] for row in own] == ["Q0"] * 10
        assert [row[3] for row in own] == [str(rank) for rank in range(1, 11)]
        assert {row[2] for row in own} == {id for id, _ in candidates(n)}
        scores = [float(row[4]) for row in own]
        assert scores == sorted(scores, reverse=True)
        expected = score_articles(reranker, QUESTIONS[f"q{n}"], [ARTICLES[row[2]] for row in own])
        assert scores == pytest.approx(expected.logits.tolist(), abs=1e-4)
    assert (
        f"Reranked 300 candidates of 30 questions with {tiny_reranker} (cpu-int8 on cpu); longer than its 64 tokens: "
        in done.err
    )
    assert not list(files.glob(".*"))


def test_articles_come_by_id_from_an_index(files):
    build_index(files / "index", [files / "corpus.jsonl"])
    with Index(files / "index") as index:
        ids = [*ARTICLES, "none", *list(ARTICLES)[:3]] * 20  # more than are looked up at a time
        assert index.get_many(ids) == [index.get(id) for id in ids[:64]] * 20
        assert index.get_many([]) == []


def test_the_run_goes_to_standard_output_when_asked(rerank, files):
    assert rerank().code == 0
    done = rerank("--out", "-")
    assert done.out == (files / "out.run").read_text()
    assert not list(files.glob(".*"))


def test_a_pipe_is_written_to_and_not_replaced(rerank, files):
    assert rerank().code == 0
    pipe = files / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_text)
        assert rerank("--out", pipe).code == 0
        assert read.result(60) == (files / "out.run").read_text()
    assert pipe.is_fifo()
    assert not list(files.glob(".*"))


@pytest.mark.parametrize("aggregation", ["maxp", "firstp", "meanp", "truncate"])
def test_what_was_split_truncated_and_not_read_is_reported(aggregation, rerank, files, tiny_reranker):  # noqa: F811
    done = rerank("--aggregation", aggregation, "--overlap", 1)
    reranker = Reranker(tiny_reranker, device="cpu")
    split = truncated = unread = characters = 0
    for n in range(30):
        articles = [ARTICLES[id] for id, _ in candidates(n)]
        found = score_articles(reranker, QUESTIONS[f"q{n}"], articles, aggregation=aggregation, overlap=1)
        split += (found.windows > 1).sum()
        truncated += found.truncated.sum()
        unread += found.unread.sum()
        characters += sum(len(article.default_text()) for article in articles)
    assert truncated > 20
    assert f"{split} split into windows, {truncated} truncated; " in done.err
    assert f"; {unread:,} characters ({unread / characters:.2%}) not read." in done.err


@pytest.mark.parametrize("weight", [0.0, 0.25, 3.0])
def test_with_a_first_stage_weight_a_run_is_ranked_as_by_a_search(weight, rerank, bioqa, files, tiny_reranker):  # noqa: F811
    search = ("search", "--corpus", files / "corpus.jsonl", "--questions", files / "questions.tsv", "--top", 10)
    reranked = ("--reranker", tiny_reranker, "--device", "cpu", "--rerank-depth", 10, "--first-stage-weight", weight)
    assert bioqa(*search, "--no-rerank", "--run", files / "in.run").code == 0
    assert bioqa(*search, *reranked, "--run", files / "searched.run").code == 0
    done = rerank("--first-stage-weight", weight)
    assert done.code == 0
    ours, theirs = read_run(files / "out.run"), read_run(files / "searched.run")
    assert ours.keys() == theirs.keys() and len(ours) > 20
    for question, scores in theirs.items():
        assert list(ours[question]) == list(scores)
        assert list(ours[question].values()) == pytest.approx(list(scores.values()), abs=1e-4)
    assert (f"ranked by logit + {weight:g} × the run's score" in done.err) == (weight > 0)


def test_the_weight_in_the_models_folder_is_reported_but_not_used(rerank, files, tiny_reranker, tmp_path):  # noqa: F811
    assert "--first-stage-weight" not in rerank().err
    alone = (files / "out.run").read_text()
    named = shutil.copytree(tiny_reranker, tmp_path / "reranker")  # the run's tag
    (named / "bioqa.json").write_text('{"first_stage_weight": 0.3}')
    done = rerank("--reranker", named)
    assert f"Ranking by the logit only. {named} has a first-stage weight: if" in done.err
    assert "--first-stage-weight 0.3 ranks as `bioqa search` does" in done.err
    assert (files / "out.run").read_text() == alone
    assert "has a first-stage weight" not in rerank("--reranker", named, "--first-stage-weight", 0).err
    assert (files / "out.run").read_text() == alone


@pytest.mark.parametrize("weight", [0, 2])
def test_candidates_beyond_the_depth_follow_in_the_runs_order(weight, rerank, files):
    backwards = {f"q{n}": candidates(n)[::-1] for n in range(3)}
    write_run(files / "in.run", backwards)
    done = rerank("--rerank-depth", 4, "--first-stage-weight", weight)
    moved = 0
    for n in range(3):
        own = [row for row in rows(files / "out.run") if row[0] == f"q{n}"]
        ids, scores = [row[2] for row in own], [float(row[4]) for row in own]
        best = [id for id, _ in candidates(n)]  # by score; the lines of the run are in the opposite order
        assert set(ids[:4]) == set(best[:4])
        assert ids[4:] == best[4:]
        assert [row[3] for row in own] == [str(rank) for rank in range(1, 11)]
        assert scores == sorted(scores, reverse=True)
        assert scores[4] < scores[3]
        assert [a - b for a, b in pairwise(scores[4:])] == pytest.approx([1.0] * 5, abs=1e-5)
        moved += ids[:4] != best[:4]
    assert moved or weight  # with the weight, the first stage decides
    assert "Reranked 12 candidates of 3 questions" in done.err
    assert "18 candidates beyond the first 4 of a question were not reranked." in done.err
    assert "27 questions of the file are not in the run" in done.err


def test_a_deep_search_is_the_rerank_of_a_deep_run(rerank, bioqa, files, tiny_reranker):  # noqa: F811
    """`--top` greater than `--rerank-depth`: the reranked first, then the others in the first stage's order."""
    search = ("search", "--corpus", files / "corpus.jsonl", "--questions", files / "questions.tsv", "--top", 40)
    assert bioqa(*search, "--no-rerank", "--run", files / "in.run").code == 0
    model = ("--reranker", tiny_reranker, "--device", "cpu", "--rerank-depth", 5, "--first-stage-weight", 0.5)
    assert bioqa(*search, *model, "--run", files / "searched.run").code == 0
    assert rerank("--rerank-depth", 5, "--first-stage-weight", 0.5).code == 0
    first, searched, reranked = (read_run(files / name) for name in ("in.run", "searched.run", "out.run"))
    assert max(len(scores) for scores in searched.values()) > 20
    for question, scores in searched.items():
        ids = list(scores)
        assert set(ids) == set(first[question])
        assert ids[5:] == list(first[question])[5:]
        assert list(scores.values()) == sorted(scores.values(), reverse=True)
        assert list(reranked[question]) == ids
        assert list(reranked[question].values()) == pytest.approx(list(scores.values()), abs=1e-4)


def test_missing_articles_are_dropped_and_counted(rerank, files):
    write_run(files / "in.run", {"q1": [*candidates(1), ("gone", 1.0)], "q2": [("lost", 2.0), ("gone", 1.0)]})
    done = rerank()
    assert done.code == 0
    assert {row[0] for row in rows(files / "out.run")} == {"q1"}
    assert len(rows(files / "out.run")) == 10
    assert f"3 of 13 candidates are not in {files / 'corpus.jsonl'} and were dropped" in done.err
    assert "1 of 2 questions have no candidate left (q2)" in done.err


def test_a_run_of_missing_articles_only_is_refused(rerank, files):
    write_run(files / "in.run", {"q1": [("gone", 1.0)]})
    done = rerank()
    assert done.code == 2
    assert "None of the 1 candidates is in the corpus. Name the index that the run was made from." in done.err
    assert not (files / "out.run").exists()
    assert not list(files.glob(".*"))


def test_a_gzipped_run_with_white_space_in_the_ids_of_its_questions(rerank, files):
    (files / "questions.tsv").write_text("q 1\tWhich gene?\n")
    (files / "in.run").write_bytes(gzip.compress(b"q%201 Q0 3 1 1.0 x\nq%201\tQ0\t4\t2\t0.5\tx\n"))
    assert rerank().code == 0
    assert [row[0] for row in rows(files / "out.run")] == ["q%201", "q%201"]


@pytest.mark.parametrize(
    ("run", "code", "message"),
    [
        ("q1 Q0 3 1 2.0\n", 4, "in.run, line 1: expected 6 columns, `qid Q0 docid rank score tag`, found 5"),
        ("q1 Q0 3 1 2.0 x\nq1 Q0 4 2 high x\n", 4, "in.run, line 2: the score 'high' is not a number"),
        ("q1 Q0 3 1 nan x\n", 4, "in.run, line 1: the score is nan"),
        ("q1 Q0 3 1 2.0 x\nq1 Q0 3 2 1.0 x\n", 4, "in.run, line 2: document 3 is listed twice"),
        (
            "q1 Q0 3 1 2.0 x\nq2 Q0 3 1 1.0 x\nq1 Q0 4 2 1.0 x\n",
            4,
            "in.run, line 3: the lines of query q1 are not adjacent",
        ),
        ("q99 Q0 3 1 2.0 x\n", 4, "question q99 is not in the question file"),
        ("", 4, "in.run is empty"),
        ("\n\n", 4, "in.run has no results"),
        (None, 4, "in.run"),
    ],
)
def test_an_invalid_run_is_refused_before_anything_is_scored(run, code, message, rerank, files):
    (files / "in.run").unlink() if run is None else (files / "in.run").write_text(run)
    done = rerank("--reranker", "/nowhere")
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert "Traceback" not in done.err
    assert not (files / "out.run").exists()


@pytest.mark.parametrize("read", ["in.run", "questions.tsv"])
def test_an_input_is_never_overwritten(read, rerank, files):
    before = (files / read).read_bytes()
    done = rerank("--out", files / read)
    assert done.code == 7
    assert "is an input and would be overwritten" in done.err
    assert (files / read).read_bytes() == before


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--corpus", None], 2, "either --index INDEX or --corpus FILE"),
        (["--index", "/nowhere"], 2, "either --index INDEX or --corpus FILE"),
        (["--corpus", None, "--index", "/nowhere"], 5, "There is no index at /nowhere"),
        (["--corpus", "/nowhere.jsonl"], 3, "/nowhere.jsonl"),
        (["--questions", "/nowhere"], 4, "There is no question file"),
        (["--rerank-depth", 0], 2, "Invalid value for '--rerank-depth'"),
        (["--first-stage-weight", -0.1], 2, "The first-stage weight must be finite and at least 0, not -0.1."),
        (["--first-stage-weight", "nan"], 2, "The first-stage weight must be finite and at least 0, not nan."),
        (["--first-stage-weight", "inf"], 2, "The first-stage weight must be finite and at least 0, not inf."),
        (["--first-stage-weight", "much"], 2, "'much' is not a valid float"),
        (["--batch-size", 0], 2, "Invalid value for '--batch-size'"),
        (["--overlap", -1], 2, "Invalid value for '--overlap'"),
        (["--aggregation", "best"], 2, "best"),
        (["--max-length", 65], 2, "more than the 64"),
        (["--device", "cuda:0,cpu"], 8, "cuda:0"),
        (["--reranker", "/nowhere"], 6, "/nowhere"),
        (["--out", "/nowhere/out"], 7, "/nowhere/out cannot be written"),
        (["--out", "/"], 7, "cannot be written"),
        (["--run", None], 2, "--run"),
    ],
)
def test_invalid_options_are_refused_in_a_sentence(options, code, message, rerank, files):
    done = rerank(*options)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert "Traceback" not in done.err
    assert not (files / "out.run").exists()


def test_a_question_too_long_for_the_model_is_named_before_anything_is_scored(rerank, bioqa, files, tiny_reranker):  # noqa: F811
    (files / "questions.tsv").write_text("".join(f"q{n}\t{'gene ' * (60 if n == 29 else 3)}\n" for n in range(30)))
    done = rerank()
    assert done.code == 4
    assert "Question q29: The question has 60 tokens" in done.err
    searched = bioqa(
        *("search", "--corpus", files / "corpus.jsonl", "--questions", files / "questions.tsv"),
        *("--reranker", tiny_reranker, "--device", "cpu", "--run", files / "out.run"),
    )
    assert searched.code == 4
    assert "Question q29: The question has 60 tokens" in searched.err
    assert not (files / "out.run").exists()


def test_a_killed_run_resumes(rerank, files, tiny_reranker):  # noqa: F811
    """The process is killed once it has kept some questions; the model is slowed down to give time for that."""
    assert rerank("--out", files / "whole.run").code == 0
    slow = (
        "import sys, time\nfrom bioqa.rerank.reranker import Reranker\nscore_pairs = Reranker.score_pairs\n"
        "def slow(*arguments, **options):\n    time.sleep(0.3)\n    return score_pairs(*arguments, **options)\n"
        "Reranker.score_pairs = slow\nfrom bioqa.cli.main import main\nsys.exit(main())"
    )
    arguments = {"--run": "in.run", "--questions": "questions.tsv", "--corpus": "corpus.jsonl", "--out": "out.run"}
    arguments |= {"--reranker": str(tiny_reranker), "--device": "cpu", "--batch-size": "2"}
    process = subprocess.Popen(
        [sys.executable, "-c", slow, "rerank", *(part for pair in arguments.items() for part in pair)],
        cwd=files,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
    )
    checkpoint = files / ".out.run.rerank"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if checkpoint.exists() and checkpoint.read_bytes().count(b"\n") >= 4:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, err
    assert not (files / "out.run").exists()
    kept = checkpoint.read_bytes().count(b"\n") - 1
    assert 3 <= kept < 30
    with checkpoint.open("ab") as file:
        file.write(b'{"question": "q29", "resu')  # a kill in the middle of a write
    done = rerank()
    assert done.code == 0, done.err
    assert f"Resuming after {kept} of 30 questions." in done.err
    assert "Reranked 300 candidates of 30 questions" in done.err
    assert not checkpoint.exists()
    ours, whole = rows(files / "out.run"), rows(files / "whole.run")
    assert [row[:4] for row in ours] == [row[:4] for row in whole]
    assert [float(row[4]) for row in ours] == pytest.approx([float(row[4]) for row in whole], abs=1e-5)


def plan_of(files):
    return plan_run(files / "in.run", read_questions(files / "questions.tsv"))


def settings_of(files, reranker, **options):
    """The settings of a run reranked by the command without further options."""
    chosen = PipelineOptions(**{"first_stage_weight": 0.0, **options})
    return run_settings(plan_of(files), files / "corpus.jsonl", reranker, chosen)


def interrupt(files, tiny_reranker, done, **options):  # noqa: F811
    """Rerank some questions and leave the checkpoint as it is then."""
    reranker = Reranker(tiny_reranker, device="cpu", batch_size=1)
    chosen = PipelineOptions(**{"first_stage_weight": 0.0, **options})
    pipeline = Pipeline(MemoryRetriever(ARTICLES.values()), reranker, chosen)
    with RerankCheckpoint(files / "out.run", settings_of(files, reranker, **options)) as checkpoint:
        for _, ranked in zip(range(done), pipeline.rerank(plan_of(files)), strict=False):
            checkpoint.add(ranked)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--aggregation", "truncate"], "aggregation"),
        (["--overlap", 1], "overlap"),
        (["--rerank-depth", 3], "rerank depth"),
        (["--max-length", 40], "maximum length"),
        (["--first-stage-weight", 0.5, "--overlap", 1], "first-stage weight, overlap"),
    ],
)
def test_a_run_with_other_settings_starts_over_and_names_them(options, names, rerank, files, tiny_reranker):  # noqa: F811
    assert rerank(*options).code == 0
    expected = (files / "out.run").read_text()
    interrupt(files, tiny_reranker, 5)
    done = rerank(*options)
    assert f"The settings of the unfinished run changed ({names}); starting over." in done.err
    assert (files / "out.run").read_text() == expected
    interrupt(files, tiny_reranker, 5)
    assert "Resuming after 5 of 30 questions" in rerank("--batch-size", 3).err  # which changes nothing


def test_a_weighted_run_resumes_with_the_runs_scores(rerank, files, tiny_reranker):  # noqa: F811
    assert rerank("--first-stage-weight", 0.5).code == 0
    expected = (files / "out.run").read_text()
    interrupt(files, tiny_reranker, 5, first_stage_weight=0.5)
    assert "Resuming after 5 of 30 questions" in rerank("--first-stage-weight", 0.5).err
    assert (files / "out.run").read_text() == expected
    interrupt(files, tiny_reranker, 5, first_stage_weight=0.5)
    write_run(files / "in.run", {f"q{n}": [(id, score / 2) for id, score in candidates(n)] for n in range(30)})
    assert "unfinished run changed (candidates); starting over" in rerank("--first-stage-weight", 0.5).err
    assert (files / "out.run").read_text() != expected


def test_another_corpus_or_model_changes_the_settings(files, tiny_reranker):  # noqa: F811
    reranker = Reranker(tiny_reranker, device="cpu")
    before = settings_of(files, reranker)
    assert before == settings_of(files, reranker)
    with (files / "corpus.jsonl").open("a") as file:
        file.write('{"id": "x", "text": "More."}\n')
    after = settings_of(files, reranker)
    assert [name for name in before if before[name] != after[name]] == ["corpus"]
    reranker.folder = files
    assert settings_of(files, reranker)["reranker"] != before["reranker"]


def test_two_processes_do_not_write_one_output(files):
    with RerankCheckpoint(files / "out.run", {}), pytest.raises(OutputError, match="Another process is writing"):
        RerankCheckpoint(files / "out.run", {})
    with RerankCheckpoint(files / "out.run", {}) as checkpoint:
        assert not checkpoint.done


def test_a_damaged_checkpoint_starts_over(files):
    (files / ".out.run.rerank").write_bytes(b"\x00\xff rubbish\n{}\n")
    with RerankCheckpoint(files / "out.run", {"aggregation": "maxp"}) as checkpoint:
        assert (checkpoint.done, checkpoint.changed) == (set(), [])


def test_equal_scores_keep_the_order_of_the_run(files, tiny_reranker):  # noqa: F811
    twins = [Article(id, "Gene", "The gene.") for id in ("b", "a", "c")]
    write_run(files / "in.run", {"q1": [("c", 3.0), ("a", 2.0), ("b", 2.0)]})
    pipeline = Pipeline(MemoryRetriever(twins), Reranker(tiny_reranker, device="cpu"))
    [ranked] = pipeline.rerank(plan_of(files))
    assert [id for id, _ in ranked.results] == ["c", "a", "b"]


def test_a_run_is_read_one_question_at_a_time(files):
    found = list(iter_run(files / "in.run"))
    assert [id for id, _ in found] == list(QUESTIONS)
    assert {id: dict(results) for id, results in found} == read_run(files / "in.run")
    (files / "late.run").write_text("q1 Q0 3 1 2.0 x\nq2 Q0 3 1 1.0 x\nq3 Q0 3 1\n")
    reading = iter_run(files / "late.run")
    assert next(reading) == ("q1", [("3", 2.0)])
    with pytest.raises(QuestionError, match=r"line 3: expected 6 columns.*found 4"):
        list(reading)
