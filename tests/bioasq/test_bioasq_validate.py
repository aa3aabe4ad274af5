"""`bioqa bioasq validate` finds every problem of a file, and where it is."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bioqa import Article, Index, MemoryRetriever
from bioqa.bioasq.validate import validate
from tests.support import DEMO

URL = "http://www.ncbi.nlm.nih.gov/pubmed/"
ABSTRACT = "BACKGROUND: Fibrillin-1 matters.RESULTS: FBN1 is mutated in β-cells."
ARTICLES = MemoryRetriever([Article("1", "Marfan syndrome.", ABSTRACT), Article("2", "Statins.", "")])


def snippet(text: str, section: str = "abstract", document: str = "1") -> dict[str, Any]:
    begin = (ABSTRACT if section == "abstract" else "Marfan syndrome.").index(text)
    return {
        "document": URL + document,
        "text": text,
        "beginSection": section,
        "endSection": section,
        "offsetInBeginSection": begin,
        "offsetInEndSection": begin + len(text),
    }


VALID = {
    "questions": [
        {"id": "a", "body": "Which gene is mutated?", "type": "factoid", "documents": [], "snippets": []},
        {
            "id": "b",
            "body": "Is FBN1 mutated in Marfan syndrome?",
            "type": "yesno",
            "documents": [URL + "1", URL + "2"],
            "snippets": [snippet("FBN1 is mutated in β-cells."), snippet("Marfan", "title")],
        },
    ]
}


def damaged(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """A valid file after ``change`` to its second question."""
    data = copy.deepcopy(VALID)
    change(data["questions"][1])
    return data


def problems(tmp_path: Path, data: Any, **options: Any) -> list[tuple[str, str]]:
    path = tmp_path / "file.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return [(one.where, one.what) for one in validate(path, **options).problems]


def test_a_valid_file_has_no_problem(tmp_path: Path):
    assert problems(tmp_path, VALID) == []
    assert problems(tmp_path, VALID, articles=ARTICLES) == []


def test_extra_fields_of_a_question_are_allowed(tmp_path: Path):
    assert problems(tmp_path, damaged(lambda q: q.update(_body="?", _type="list", concepts=[], statements=[]))) == []


Q, S1, S2, D1 = (
    "question 2 (b)",
    "question 2 (b), snippet 1",
    "question 2 (b), snippet 2",
    "question 2 (b), document 1",
)


@pytest.mark.parametrize(
    ("change", "where", "what"),
    [
        (lambda q: q.pop("id"), "question 2", "no id"),
        (lambda q: q.update(id="a"), "question 2 (a)", "the same id as question 1"),
        (lambda q: q.pop("body"), Q, "no body"),
        (lambda q: q.update(body=" "), Q, "no body"),
        (lambda q: q.update(body="why " * 1001), Q, "The question has 1,001 words"),
        (lambda q: q.update(body="half \ud800"), Q, "half a character"),
        (
            lambda q: q.update(type="opinion"),
            Q,
            "the type is 'opinion', not one of factoid, list, summary, yesno",
        ),
        (lambda q: q.pop("type"), Q, "the type is None"),
        (lambda q: q.pop("documents"), Q, "no list of documents"),
        (lambda q: q.update(snippets="x"), Q, "no list of snippets"),
        (
            lambda q: q.update(documents=[f"{URL}{n}" for n in range(1, 12)]),
            Q,
            "11 documents, more than the 10 allowed",
        ),
        (
            lambda q: q["documents"].insert(0, "https://www.ncbi.nlm.nih.gov/pubmed/1"),
            D1,
            "not have the form http://www",
        ),
        (lambda q: q["documents"].insert(0, "1"), D1, "'1' does not have the form"),
        (lambda q: q["documents"].insert(0, URL + "1/"), D1, "not have the form"),
        (lambda q: q["documents"].insert(0, URL + "PMC12"), D1, "not have the form"),
        (lambda q: q["documents"].insert(0, URL + "١"), D1, "not have the form"),
        (lambda q: q["documents"].insert(0, 1), D1, "1 does not have the form"),
        (lambda q: q["documents"].append(URL + "1"), "question 2 (b), document 3", "the same as document 1"),
        (lambda q: q["snippets"].insert(0, "text"), S1, "not a JSON object"),
        (lambda q: q["snippets"][0].pop("text"), S1, "text must be a non-empty text"),
        (lambda q: q["snippets"][0].pop("endSection"), S1, "endSection must be a non-empty text"),
        (
            lambda q: q["snippets"][0].update(offsetInBeginSection="7"),
            S1,
            "offsetInBeginSection must be an integer",
        ),
        (lambda q: q["snippets"][0].update(offsetInEndSection=7.5), S1, "offsetInEndSection must be an integer"),
        (lambda q: q["snippets"][0].update(offsetInBeginSection=True), S1, "offsetInBeginSection must be an integer"),
        (lambda q: q["snippets"][0].update(probability=0.5), S1, "unknown field 'probability'"),
        (lambda q: q["snippets"][0].update(document="1"), S1, "'1' does not have the form"),
        (lambda q: q["snippets"][0].update(beginSection="body", endSection="body"), S1, "neither title nor abstract"),
        (lambda q: q["snippets"][0].update(endSection="title"), S1, "begins in 'abstract' and ends in 'title'"),
        (lambda q: q["snippets"][0].update(offsetInBeginSection=-1), S1, "the offsets -1 to"),
        (lambda q: q["snippets"][0].update(offsetInEndSection=3), S1, "are not a valid range"),
        (
            lambda q: q["snippets"][0].update(text="FBN1"),
            S1,
            "the text has 4 characters, but the offsets 41 to 68 span 27",
        ),
        (
            lambda q: q["snippets"].append(q["snippets"][0] | {"text": "x" * 27}),
            "question 2 (b), snippet 3",
            "the same as",
        ),
    ],
)
def test_every_problem_is_found_with_its_place(tmp_path: Path, change, where: str, what: str):
    found = problems(tmp_path, damaged(change))
    assert len(found) == 1
    assert found[0][0] == where
    assert what in found[0][1]


@pytest.mark.parametrize(
    ("change", "where", "what"),
    [
        (
            lambda s: s.update(text=s["text"].upper()),
            S1,
            "text differs from the abstract at 41 to 68: 'FBN1 is mutated in β-",
        ),
        (
            lambda s: s.update(offsetInBeginSection=42, offsetInEndSection=69),
            S1,
            "the offsets 42 to 69 are outside the abstract, which has 68 characters",
        ),
        (
            lambda s: s.update(offsetInBeginSection=40, offsetInEndSection=67),
            S1,
            "text differs from the abstract at 40 to 67",
        ),
        (lambda s: s.update(beginSection="title", endSection="title"), S1, "are outside the title, which has 16"),
        (lambda s: s.update(document=URL + "2"), S1, "are outside the abstract, which has 0 characters"),
        (lambda s: s.update(document=URL + "3"), S1, "the index has no article 3"),
    ],
)
def test_a_text_that_differs_from_the_article_is_found_with_the_index(tmp_path: Path, change, where: str, what: str):
    data = damaged(lambda question: change(question["snippets"][0]))
    assert problems(tmp_path, data) == []
    found = problems(tmp_path, data, articles=ARTICLES)
    assert [place for place, _ in found] == [where]
    assert what in found[0][1]


def test_all_problems_are_listed(tmp_path: Path):
    data = damaged(lambda question: question.update(body="", type="x", documents=["x", "y"]))
    data["questions"].append([])
    assert [where for where, _ in problems(tmp_path, data)] == [Q, Q, D1, D1.replace("1", "2"), "question 3"]


def test_a_gold_file_can_have_more_than_ten_and_the_sections_of_early_years(tmp_path: Path):
    def change(question: dict[str, Any]) -> None:
        question["documents"] = [f"{URL}{number}" for number in range(1, 31)]
        question["snippets"][0].update(beginSection="sections.0", endSection="sections.0")

    assert problems(tmp_path, damaged(change), gold=True) == []
    assert [what for _, what in problems(tmp_path, damaged(change))] == [
        "30 documents, more than the 10 allowed",
        "the section 'sections.0' is neither title nor abstract",
    ]


@pytest.mark.parametrize("data", [[], {}, {"questions": {}}, {"questions": []}, VALID["questions"]])
def test_a_file_in_another_format_is_a_problem(tmp_path: Path, data):
    assert problems(tmp_path, data) == [("the file", 'no questions: the format is {"questions": [{…}, …]}')]


def test_the_demos_gold_file_is_valid(demo_index: Path):
    with Index(demo_index) as index:
        verdict = validate(DEMO / "questions.json", gold=True, articles=index)
    assert verdict.problems == ()
    assert (verdict.questions, verdict.documents > 47, verdict.snippets > 47) == (47, True, True)


@pytest.mark.shared_data
def test_real_gold_files_have_their_known_problems(shared_data: Path):
    folder = shared_data / "bioasq"
    assert validate(folder / "test.json.gz", gold=True).problems == ()
    assert len(validate(folder / "test.json.gz").problems) == 225 + 278  # questions with over 10 documents or snippets
    found = [one.what for one in validate(folder / "train.json.gz", gold=True).problems]
    assert sum("span" in what for what in found) > 1000
    assert sum("are not a valid range" in what for what in found) == 15


def test_the_command_lists_problems_counts_them_and_fails(bioqa, tmp_path: Path):
    path = tmp_path / "file.json"
    path.write_text(json.dumps(damaged(lambda question: question.update(type="x"))))
    done = bioqa("bioasq", "validate", path)
    assert done.code == 4
    assert done.out.splitlines() == [
        "question 2 (b): the type is 'x', not one of factoid, list, summary, yesno",
        f"{path}: 1 problem (2 questions, 2 documents, 2 snippets)",
    ]
    assert done.err == f"Error: {path} is not a valid submission.\n"
    record = json.loads(bioqa("bioasq", "validate", path, "--json").out)
    assert record["valid"] is False
    assert record["problems"][0]["where"] == "question 2 (b)"


def test_the_command_reports_a_valid_file(bioqa, tmp_path: Path):
    path = tmp_path / "file.json"
    path.write_text(json.dumps(VALID))
    done = bioqa("bioasq", "validate", path)
    assert (done.code, done.out) == (0, f"{path}: a valid submission (2 questions, 2 documents, 2 snippets)\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no question file"),
        (b"", "is empty"),
        (b'{"questions": [', "line 1, column 16: not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"\x1f\x8b\x08\x00broken", "cannot be read"),
        (b'{"questions": ' + b"9" * 5000 + b"}", "has 5,000 digits, more than the 300 allowed"),
        (b"[" * 100_000, "nested more than 100 levels deep"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error(bioqa, tmp_path: Path, content: bytes | None, message: str):
    path = tmp_path / "file.json"
    if content is not None:
        path.write_bytes(content)
    done = bioqa("bioasq", "validate", path)
    assert done.code == 4
    assert message in done.err
    assert str(path) in done.err
    assert "Traceback" not in done.err
