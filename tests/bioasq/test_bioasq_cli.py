"""`bioqa bioasq submit` and `eval`: what they write, print and refuse."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from bioqa import (
    Article,
    BM25Retriever,
    Hit,
    Index,
    Pipeline,
    PipelineOptions,
    Question,
    Reranker,
    Snippet,
    read_questions,
)
from bioqa.bioasq.official_measures import score_phase_a
from bioqa.bioasq.phase_a_file import read_phase_a
from bioqa.bioasq.submission import submission_record
from bioqa.errors import QuestionError, UsageError
from tests.support import DEMO

GOLD = DEMO / "questions.json"


@pytest.fixture
def few_questions(tmp_path: Path) -> Path:
    """The first three demo questions, without their answers."""
    questions = json.loads(GOLD.read_text(encoding="utf-8"))["questions"][:3]
    path = tmp_path / "questions.json"
    path.write_text(
        json.dumps({"questions": [{name: one[name] for name in ("id", "body", "type")} for one in questions]})
    )
    return path


def test_a_submission_is_valid_and_keeps_id_body_and_type(bioqa, demo_index: Path, tmp_path: Path):
    out = tmp_path / "submission.json"
    done = bioqa("bioasq", "submit", demo_index, GOLD, "--out", out, "--no-rerank")
    assert (done.code, done.out) == (0, "")
    assert "47 questions answered" in done.err
    assert bioqa("bioasq", "validate", out, "--index", demo_index).code == 0
    written = json.loads(out.read_text(encoding="utf-8"))["questions"]
    asked = json.loads(GOLD.read_text(encoding="utf-8"))["questions"]
    for name in ("id", "body", "type"):
        assert [one[name] for one in written] == [one[name] for one in asked]
    with Index(demo_index) as index:
        for one in written:
            best = [
                f"http://www.ncbi.nlm.nih.gov/pubmed/{hit.id}" for hit in BM25Retriever(index).search(one["body"], 10)
            ]
            assert one["documents"] == best
    assert score_phase_a(read_phase_a(GOLD), read_phase_a(out)).documents.map > 0.5


@pytest.mark.slow
def test_snippets_of_a_reranked_submission_are_the_most_probable_sentences(
    bioqa, demo_index: Path, few_questions: Path, tmp_path: Path
):
    out = tmp_path / "submission.json"
    options = ("--rerank-depth", 10)
    done = bioqa("bioasq", "submit", demo_index, few_questions, "--out", out, *options)
    assert done.code == 0
    assert "Reranked 30 BM25 candidates with " in done.err
    assert bioqa("bioasq", "validate", out, "--index", demo_index).code == 0
    with Index(demo_index) as index:
        pipeline = Pipeline(BM25Retriever(index), Reranker(), PipelineOptions(rerank_depth=10, sentences=10))
        for written in json.loads(out.read_text(encoding="utf-8"))["questions"]:
            found = [s for hit in pipeline.answer(written["body"]).hits for s in hit.snippets]
            assert found
            best = sorted(found, key=lambda s: -(s.probability or 0))[:10]
            assert [s["text"] for s in written["snippets"]] == [s.text for s in best]


def test_the_options_of_the_first_stage_apply(bioqa, demo_index: Path, few_questions: Path):
    outcomes = [
        bioqa("bioasq", "submit", demo_index, few_questions, "--out", "-", "--no-rerank", *more)
        for more in ((), ("--k1", 3, "--b", 0), ("--until", "1900"))
    ]
    plain, other, none = (json.loads(outcome.out)["questions"] for outcome in outcomes)
    assert plain != other
    assert [one["documents"] for one in none] == [[]] * 3
    assert "3 of them match no article (demo-1-01, " in outcomes[2].err


def test_articles_that_were_retracted_or_corrected_are_reported(bioqa, demo_index: Path, tmp_path: Path):
    bodies = ["circulating miR-122 acute liver injury", "bisulfite sequencing DNA methylation", "Marfan syndrome gene"]
    questions = [{"id": str(number), "body": body, "type": "factoid"} for number, body in enumerate(bodies)]
    (tmp_path / "q.json").write_text(json.dumps({"questions": questions}))
    arguments = ("bioasq", "submit", demo_index, tmp_path / "q.json", "--out", tmp_path / "out.json", "--no-rerank")
    told = bioqa(*arguments).err
    assert (
        "1 document was retracted (99000301 by 99000407). To leave such articles out, use --exclude-retracted." in told
    )
    assert "1 document was corrected (99000284 by 99000408).\n" in told
    told = bioqa(*arguments, "--exclude-retracted").err
    assert "retracted" not in told
    assert "1 document was corrected" in told
    assert "99000301" not in (tmp_path / "out.json").read_text()


def test_a_submission_can_be_made_as_of_a_day(bioqa, demo_index: Path, few_questions: Path):
    done = bioqa("bioasq", "submit", demo_index, few_questions, "--out", "-", "--no-rerank", "--as-of", "2020-06")
    found = {url.rsplit("/", 1)[1] for one in json.loads(done.out)["questions"] for url in one["documents"]}
    with Index(demo_index) as index:
        entered = {id: index.get(id).entered for id in found}
    assert len(entered) > 10
    assert max(entered.values()) <= "2020-06-30"


def hit(rank: int, *snippets: tuple[str, float | None]) -> Hit:
    article = Article(str(rank), "", " ".join(text for text, _ in snippets))
    places = [
        Snippet(article.id, "abstract", article.abstract.index(text), article.abstract.index(text) + len(text), text, p)
        for text, p in snippets
    ]
    return Hit(rank, article, 1.0, 1.0, snippets=tuple(places))


def test_a_question_has_at_most_ten_documents_and_ten_snippets_best_first():
    hits = [hit(n, (f"First{n}.", n / 100), (f"Second{n}.", n / 1000)) for n in range(1, 13)]
    record = submission_record(Question("q", "Why?", "summary"), hits)
    assert record["documents"] == [f"http://www.ncbi.nlm.nih.gov/pubmed/{n}" for n in range(1, 11)]
    assert [snippet["text"] for snippet in record["snippets"]] == [f"First{n}." for n in range(10, 0, -1)]
    assert set(record["snippets"][0]) == {
        *("document", "text", "beginSection", "endSection"),
        *("offsetInBeginSection", "offsetInEndSection"),
    }


def test_snippets_without_a_probability_are_the_best_of_each_hit_then_the_second_best():
    record = submission_record(
        Question("q", "Why?", "list"), [hit(n, (f"A{n}.", None), (f"B{n}.", None)) for n in (1, 2)]
    )
    assert [snippet["text"] for snippet in record["snippets"]] == ["A1.", "A2.", "B1.", "B2."]


def test_a_snippet_that_is_not_where_its_offsets_say_is_not_submitted():
    wrong = hit(1, ("A sentence.", 0.5))
    moved = Hit(1, Article("1", "", f" {wrong.article.abstract}"), 1.0, 1.0, snippets=wrong.snippets)
    with pytest.raises(ValueError, match=r"offsets of 'A sentence.' in the abstract of 1 are wrong"):
        submission_record(Question("q", "Why?", "list"), [moved])


@pytest.mark.parametrize("id", ["doc-1", "٣", "012", ""])
def test_articles_without_a_pmid_cannot_be_submitted(id: str):
    article = Article(id, "Title", "")
    with pytest.raises(UsageError, match=f"'{id}' is not a PMID"):
        submission_record(Question("q", "Why?", "list"), [Hit(1, article, 1.0, 1.0)])


@pytest.mark.parametrize(
    ("content", "options", "code", "message"),
    [
        ('{"questions": [{"id": "a", "body": "Why?"}]}', (), 4, "Question a has no type."),
        (
            '{"questions": [{"id": "a", "body": "Why?", "type": "x"}]}',
            (),
            4,
            "Question a has the type 'x'. A submission needs one of factoid",
        ),
        ('{"questions": [{"id": "a", "type": "list"}]}', (), 4, "question 1 (a): no question text"),
        (
            '{"questions": [{"id": "a", "type": "list", "body": "Why?"}]}',
            ("--batch-size", 0),
            2,
            "Invalid value for '--batch-size'",
        ),
        ('{"questions": [{"id": "a", "type": "list", "body": "(a"}]}', ("--syntax", "lucene"), 4, "Question a: "),
        (
            '{"questions": [{"id": "a", "type": "list", "body": "a\\ud800"}]}',
            (),
            4,
            "question 1 (a): The question has half",
        ),
    ],
)
def test_what_cannot_be_submitted_is_an_error_and_leaves_no_file(
    bioqa, demo_index: Path, tmp_path: Path, content: str, options: tuple[object, ...], code: int, message: str
):
    questions, out = tmp_path / "questions.json", tmp_path / "out.json"
    questions.write_text(content)
    done = bioqa("bioasq", "submit", demo_index, questions, "--out", out, "--no-rerank", *options)
    assert done.code == code
    assert message in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["questions.json"]


def test_a_submission_does_not_replace_its_questions(bioqa, demo_index: Path, few_questions: Path):
    before = few_questions.read_bytes()
    done = bioqa("bioasq", "submit", demo_index, few_questions, "--out", few_questions, "--no-rerank")
    assert done.code == 7
    assert "is an input and would be overwritten. Name another file" in done.err
    assert few_questions.read_bytes() == before


def test_a_submission_replaces_an_existing_file_only_when_it_is_complete(
    bioqa, demo_index: Path, few_questions: Path, tmp_path: Path, monkeypatch
):
    out = tmp_path / "out.json"
    out.write_text("before")
    answer = Pipeline.answer

    def fail_at_the_third(self, question, options=None):
        if question == read_questions(few_questions)[2]:
            raise QuestionError("broken off")
        return answer(self, question, options)

    monkeypatch.setattr(Pipeline, "answer", fail_at_the_third)
    done = bioqa("bioasq", "submit", demo_index, few_questions, "--out", out, "--no-rerank")
    assert (done.code, done.err) == (4, "Error: broken off\n")
    assert out.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "questions.json"]


@pytest.fixture
def judged(tmp_path: Path) -> tuple[Path, Path]:
    """A gold file of three questions and a system's answers to two of them, and to another one."""
    url = "http://www.ncbi.nlm.nih.gov/pubmed/"
    gold = [{"id": id, "documents": [url + "1"], "snippets": []} for id in ("a", "b", "c")]
    system = [{"id": "a", "documents": [url + "1"]}, {"id": "b", "documents": []}, {"id": "z", "documents": [url] * 11}]
    paths = tmp_path / "gold.json", tmp_path / "system.json"
    for path, questions in zip(paths, (gold, system), strict=True):
        path.write_text(json.dumps({"questions": questions}))
    return paths


def test_eval_prints_the_measures_and_what_was_ignored(bioqa, judged):
    done = bioqa("bioasq", "eval", *judged, "--edition", 8)
    assert done.code == 0
    assert [line.split() for line in done.out.splitlines()][1:] == [
        ["precision", "recall", "F1", "MAP", "GMAP"],
        ["documents", "0.5000", "0.5000", "0.5000", "0.5000", "0.0032"],
        ["snippets", "0.0000", "0.0000", "0.0000", "0.0000", "0.0000"],
    ]
    assert "rules of edition 8, 2 questions" in done.out
    assert done.err.splitlines() == [
        "Gold questions without an answer, excluded from the means: 1 (c).",
        "Answers to questions that are not in the gold file, ignored: 1 (z).",
        "Answers with more than 10 documents or snippets, all of which count: 1 (z).",
    ]


def test_eval_prints_each_question_when_asked(bioqa, judged):
    done = bioqa("bioasq", "eval", *judged, "--per-question", "--edition", 5)
    rows = [line.split() for line in done.out.splitlines()]
    assert ["a", "1.0000", "1.0000", "1.0000", "0.1000", "0.0000", "0.0000", "0.0000", "0.0000"] in rows
    assert ["b", *["0.0000"] * 8] in rows
    assert "rules of edition 5" in done.out


def test_eval_gives_json(bioqa, judged):
    record = json.loads(bioqa("bioasq", "eval", *judged, "--json", "--per-question").out)
    found = score_phase_a(*(read_phase_a(path) for path in judged))
    assert (record["edition"], record["questions"]) == (14, 2)
    assert record["documents"] == asdict(found.documents)
    assert record["snippets"] == {"precision": None, "recall": None, "f1": None, "map": None, "gmap": 0}
    assert record["without_snippets"] == ["a", "b"]
    assert (record["unanswered"], record["unknown"]) == (["c"], ["z"])
    assert record["per_question"][0]["documents"]["average_precision"] == 1
    assert record["per_question"][0]["snippets"]["average_precision"] is None
    assert "per_question" not in json.loads(bioqa("bioasq", "eval", *judged, "--json").out)


def test_eval_refuses_an_unknown_edition(bioqa, judged):
    done = bioqa("bioasq", "eval", *judged, "--edition", 15)
    assert (done.code, done.out) == (2, "")
    assert "The edition of BioASQ must be 1 to 14, not 15." in done.err


def test_eval_takes_the_numbers_of_the_editions(bioqa, judged):
    maps = {
        edition: json.loads(bioqa("bioasq", "eval", *judged, "--json", "--edition", edition).out)["documents"]["map"]
        for edition in range(1, 15)
    }
    assert maps == {edition: 0.05 if 3 <= edition <= 7 else 0.5 for edition in range(1, 15)}
    assert "excluded from the means of snippets: 2 (a, b)" in bioqa("bioasq", "eval", *judged).err


@pytest.mark.parametrize("place", [{}, dict.fromkeys(["beginSection", "endSection", "offsetInBeginSection"])])
def test_eval_reads_snippets_without_a_place_and_says_so_once(bioqa, tmp_path: Path, place):
    url = "http://www.ncbi.nlm.nih.gov/pubmed/1"
    snippets = [{"document": url, "text": text, **place} for text in ("abc", "def")]
    path, system = tmp_path / "gold.json", tmp_path / "system.json"
    path.write_text(json.dumps({"questions": [{"id": "a", "documents": [url], "snippets": snippets}]}))
    system.write_text(json.dumps({"questions": [{"id": "a", "documents": [url], "snippets": []}]}))
    done = bioqa("bioasq", "eval", path, system, "--json")
    assert done.code == 0
    record = json.loads(done.out)
    assert (record["documents"]["map"], record["snippets"]["f1"]) == (1, 0)
    assert done.err == f"Snippets of {path} without section or offsets, which score 0: 2 of 2.\n"


def test_questions_are_read_without_the_places_of_their_snippets(tmp_path: Path):
    url = "http://www.ncbi.nlm.nih.gov/pubmed/1"
    nowhere = [{"text": "abc", "document": url}, {"document": url, "offsetInBeginSection": None, "beginSection": ""}]
    path = tmp_path / "questions.json"
    path.write_text(json.dumps({"questions": [{"id": "a", "body": "Why?", "type": "other", "snippets": nowhere}]}))
    assert read_questions(path) == [
        Question("a", "Why?", "other", (), (Snippet("1", "", 0, 0, "abc"), Snippet("1", "", 0, 0, "")))
    ]
