"""The official phase A measures equal those of the organisers' evaluator, including its quirks."""

import json
import math
from pathlib import Path

import pytest

from bioqa.bioasq.official_measures import PhaseAScores, score_phase_a
from bioqa.bioasq.phase_a_file import PhaseAAnswer, Span, read_phase_a
from bioqa.errors import QuestionError, UsageError

URL = "http://www.ncbi.nlm.nih.gov/pubmed/"
NAMES = {"MPrec": "precision", "MRec": "recall", "MF1": "f1", "MAP": "map", "GMAP": "gmap"}
RUNS = ("7B1", "8B2", "9B3", "10B4", "11B1", "11B2")


def span(document: str, begin: int, end: int, section: str = "abstract") -> Span:
    return Span(URL + document, section, section, begin, end)


def answer(*documents: str, snippets: tuple[Span, ...] = (), id: str = "q") -> PhaseAAnswer:
    return PhaseAAnswer(id, tuple(URL + document for document in documents), snippets)


def one(gold: PhaseAAnswer, system: PhaseAAnswer, edition: int = 8):
    """The values of the only question."""
    return score_phase_a([gold], [system], edition).questions[0]


def flat(scores) -> tuple[float, float, float, float]:
    return scores.precision, scores.recall, scores.f1, scores.average_precision


def assert_official(found: PhaseAScores, official: dict[str, float]) -> None:
    for part in ("documents", "snippets"):
        for name, attribute in NAMES.items():
            assert getattr(getattr(found, part), attribute) == pytest.approx(official[f"{name} {part}"], abs=1e-9), name


@pytest.mark.shared_data
@pytest.mark.parametrize("edition", [5, 8])
@pytest.mark.parametrize("name", RUNS)
def test_the_measures_of_every_run_are_the_official_evaluators(shared_data: Path, name: str, edition: int):
    folder = shared_data / "bioasq" / "official-measures"
    judged = {one["gold"]: one for one in json.loads((folder / "official_scores.json").read_text())}
    assert set(judged) == {f"{run}_golden.json" for run in RUNS}
    expected = judged[f"{name}_golden.json"]
    gold, system = (read_phase_a(folder / f"{expected[key]}.gz") for key in ("gold", "run"))
    assert_official(score_phase_a(gold, system, edition), expected[f"e{edition}"])


@pytest.mark.shared_data
@pytest.mark.parametrize("edition", [5, 8])
def test_the_evaluators_own_example_gives_its_own_output(shared_data: Path, edition: int):
    folder = shared_data / "bioasq" / "official-measures"
    blocks = (folder / "task2b_testset1_official_output.txt").read_text().replace("\ne", "\n\ne").split("\n\n")
    block = next(block for block in blocks if block.startswith(f"e{edition}\n"))
    official = {name: float(value) for name, value in (line.split(": ") for line in block.strip().splitlines()[1:])}
    stem = "BioASQ-task2bPhaseA-testset1.docs.concepts"
    gold = read_phase_a(folder / f"{stem}.documents.gold.json")
    assert_official(score_phase_a(gold, read_phase_a(folder / f"{stem}.multiple.json.gz"), edition), official)


@pytest.mark.shared_data
def test_a_gold_file_scored_against_itself_is_perfect_but_for_edition_5s_division_by_10(shared_data: Path):
    gold = read_phase_a(shared_data / "bioasq" / "official-measures" / "11B1_golden.json.gz")
    found = score_phase_a(gold, gold)
    assert (found.documents.precision, found.documents.recall, found.snippets.f1) == (1, 1, 1)
    short = [one for one in gold if len(one.documents) <= 5]
    assert score_phase_a(short, short).documents.map == pytest.approx(1)
    assert score_phase_a(short, short, 5).documents.map <= 0.5


def test_documents_are_scored_by_precision_recall_f1_and_average_precision():
    # Relevant at ranks 1 and 3: AP = (1/1 + 2/3) / min(10, 4 gold).
    found = one(answer("1", "2", "3", "4"), answer("1", "8", "2"))
    assert flat(found.documents) == pytest.approx((2 / 3, 2 / 4, 4 / 7, (1 + 2 / 3) / 4))
    assert one(answer("1", "2", "3", "4"), answer("1", "8", "2"), 5).documents.average_precision == pytest.approx(1 / 6)


def test_more_than_ten_gold_documents_count_as_ten_in_average_precision():
    many = answer(*(str(number) for number in range(1, 26)))
    found = one(many, answer(*(str(number) for number in range(1, 11))))
    assert found.documents.average_precision == pytest.approx(1)
    assert found.documents.recall == pytest.approx(10 / 25)


def test_documents_past_the_tenth_count_as_in_the_official_evaluator():
    found = one(answer("1"), answer(*(str(number) for number in range(12, 0, -1))))
    assert flat(found.documents) == pytest.approx((1 / 12, 1, 2 / 13, 1 / 12))


def test_a_repeated_document_counts_once():
    found = one(answer("1", "2", "1"), answer("1", "1", "3", "2"))
    assert found.documents == one(answer("1", "2"), answer("1", "3", "2")).documents


def test_document_urls_must_be_identical():
    system = PhaseAAnswer("q", ("https://www.ncbi.nlm.nih.gov/pubmed/1",))
    assert flat(one(answer("1"), system).documents) == (0, 0, 0, 0)


def test_snippets_are_scored_by_characters_both_ends_inside():
    # 10..19 against 15..34: 5 characters of 10 and of 20 are shared.
    found = one(answer(snippets=(span("1", 15, 34),)), answer(snippets=(span("1", 10, 19),)))
    assert flat(found.snippets) == pytest.approx((5 / 10, 5 / 20, 1 / 3, 5 / 10))


def test_overlapping_snippets_of_one_list_are_merged_at_the_place_of_the_first():
    gold = answer(snippets=(span("1", 0, 9), span("1", 40, 49)))
    apart = answer(snippets=(span("1", 40, 44), span("2", 0, 9), span("1", 45, 52), span("1", 43, 46)))
    merged = answer(snippets=(span("1", 40, 52), span("2", 0, 9)))
    assert one(gold, apart) == one(gold, merged)
    assert flat(one(gold, merged).snippets)[:2] == pytest.approx((10 / 23, 10 / 20))


def test_touching_ends_overlap_and_neighbours_do_not():
    gold = answer(snippets=(span("1", 0, 9),))
    touching = one(gold, answer(snippets=(span("1", 0, 4), span("1", 4, 9))))
    neighbours = one(gold, answer(snippets=(span("1", 0, 4), span("1", 5, 9))))
    assert touching.snippets.average_precision == pytest.approx(1)
    assert neighbours.snippets.average_precision == pytest.approx(2)


def test_a_snippet_beside_the_gold_one_still_counts_as_relevant_if_its_document_is():
    gold = answer(snippets=(span("1", 0, 9),))
    found = one(gold, answer(snippets=(span("1", 0, 9), span("1", 50, 59))))
    assert found.snippets.average_precision == pytest.approx(1 + 1 / 2)
    elsewhere = one(gold, answer(snippets=(span("1", 0, 9), span("2", 50, 59))))
    assert elsewhere.snippets.average_precision == pytest.approx(1)


def test_snippet_urls_are_compared_by_their_ends_for_precision_and_whole_for_average_precision():
    system = answer(snippets=(Span("https://pubmed.ncbi.nlm.nih.gov/1/", "abstract", "abstract", 0, 9),))
    assert flat(one(answer(snippets=(span("1", 0, 9),)), system).snippets) == (1, 1, 1, 0)


def test_sections_must_agree_but_section_0_of_a_system_is_the_abstract_of_gold():
    abstract, title, old = (answer(snippets=(span("1", 0, 9, name),)) for name in ("abstract", "title", "sections.0"))
    assert one(abstract, title).snippets.f1 == 0
    assert one(abstract, old).snippets.f1 == 1
    assert one(old, abstract).snippets.f1 == 0


def test_a_snippet_that_ends_one_before_it_begins_has_no_characters():
    gold = answer(snippets=(span("1", 0, 9),))
    found = score_phase_a([gold], [answer(snippets=(span("1", 5, 4), span("1", 0, 9)))])
    assert found.snippets.map == pytest.approx(1)  # merged into the second
    alone = score_phase_a([gold], [answer(snippets=(span("2", 5, 4), span("1", 0, 9)))])
    assert math.isnan(alone.questions[0].snippets.average_precision)
    assert (alone.snippets.map, alone.snippets.gmap) == (0, 0)
    assert alone.snippets.f1 == 1


def test_without_gold_snippets_average_precision_is_0_in_edition_5_and_nan_in_8():
    gold, system = answer("1"), answer("1", snippets=(span("1", 0, 9),))
    assert flat(one(gold, system, 5).snippets) == (0, 0, 0, 0)
    assert score_phase_a([gold], [system], 5).snippets.gmap == pytest.approx(1e-5)
    assert math.isnan(one(gold, system, 8).snippets.average_precision)
    beside = answer("1", snippets=(span("1", 0, 9),), id="r")
    found = score_phase_a([gold, beside], [system, PhaseAAnswer("r", system.documents, system.snippets)])
    # Not a number counts as 0 in MAP and as 1 in GMAP.
    assert found.snippets.map == pytest.approx(1 / 2)
    assert found.snippets.gmap == pytest.approx(math.sqrt(1 + 1e-5))


def test_an_empty_answer_counts_as_0_and_a_missing_one_is_ignored():
    gold = [answer("1", id="a"), answer("1", id="b"), answer("1", id="c")]
    found = score_phase_a(gold, [answer("1", id="a"), answer(id="b"), answer("1", id="z")])
    assert found.documents.map == pytest.approx(1 / 2)
    assert found.documents.gmap == pytest.approx(math.sqrt((1 + 1e-5) * 1e-5))
    assert [question.id for question in found.questions] == ["a", "b"]
    assert (found.unanswered, found.unknown) == (("c",), ("z",))


def test_files_without_a_question_in_common_are_refused():
    with pytest.raises(QuestionError, match="no question id in common"):
        score_phase_a([answer(id="a")], [answer(id="b")])


def test_other_editions_than_5_and_8_are_refused():
    with pytest.raises(UsageError, match="not 6"):
        score_phase_a([answer()], [answer()], 6)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"body": "?"}, "question 1: no id"),
        ({"id": "a", "documents": "x"}, "question 1: documents must be a list"),
        ({"id": "a", "snippets": [{"document": "x"}]}, r"question 1 \(a\), snippet 1: beginSection must be text"),
        ({"id": "a\u0007"}, r"question 1: the id 'a\\x07' has unprintable characters"),
    ],
)
def test_a_malformed_file_is_refused_with_the_place(tmp_path: Path, question: dict[str, object], message: str):
    path = tmp_path / "system.json"
    path.write_text(json.dumps({"questions": [question]}))
    with pytest.raises(QuestionError, match=message):
        read_phase_a(path)


@pytest.mark.parametrize(
    ("begin", "end", "message"),
    [(5, 3, "its end, 3, is before its beginning, 5"), (0, "9", "an integer"), (0, True, "an integer")],
)
def test_invalid_offsets_are_refused_with_the_place(tmp_path: Path, begin, end, message: str):
    snippet = {"document": URL + "1", "text": "x", "beginSection": "title", "endSection": "title"}
    offsets = {"offsetInBeginSection": begin, "offsetInEndSection": end}
    path = tmp_path / "system.json"
    path.write_text(json.dumps({"questions": [{"id": "a", "snippets": [snippet | offsets]}]}))
    with pytest.raises(QuestionError, match=rf"question 1 \(a\), snippet 1: .*{message}"):
        read_phase_a(path)


def test_two_answers_to_one_question_are_refused(tmp_path: Path):
    path = tmp_path / "system.json"
    path.write_text('{"questions": [{"id": "a"}, {"id": "a"}]}')
    with pytest.raises(QuestionError, match="duplicate id a"):
        read_phase_a(path)
