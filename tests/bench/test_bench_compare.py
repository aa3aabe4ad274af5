"""Two results are compared over the questions that both have."""

import json

import pytest

from bioqa.bench.compare import compare_results
from bioqa.errors import QuestionError


@pytest.fixture
def result(tmp_path):
    """Writes a result of ``bioqa bench run``: the values of the questions of each system."""

    def write(name, values, measure="ndcg@10", **changed):
        folder = tmp_path / name
        folder.mkdir()
        systems = [
            {"name": system, "measures": {measure: sum(of.values()) / len(of)}, "rerank": None}
            for system, of in values.items()
        ]
        collection = {
            "name": "demo",
            "definition": "Demo.",
            "questions": 2,
            "relevant": 3,
            "systems": systems,
            **changed,
        }
        report = {"format": 1, "settings": {}, "environment": {}, "questions": None, "collections": [collection]}
        (folder / "report.json").write_text(json.dumps(report))
        measures = {"demo": {system: {measure: of} for system, of in values.items()}}
        (folder / "measures.json").write_text(json.dumps(measures))
        return folder

    return write


def test_results_without_a_question_in_common_are_not_compared(result, bioqa):
    first, second = result("a", {"bm25": {"q1": 0.1, "q2": 0.3}}), result("b", {"bm25": {"q3": 0.9, "q4": 0.9}})
    done = bioqa("bench", "compare", first, second)
    assert (done.code, done.out) == (4, "")
    assert "cannot be compared. bm25 on demo: the results have no question in common." in done.err


def test_a_system_without_a_question_in_common_is_named_beside_those_that_are_compared(result, bioqa):
    first = result("a", {"bm25": {"q1": 0.1, "q2": 0.3}, "other": {"q1": 0.1}})
    second = result("b", {"bm25": {"q1": 0.2, "q2": 0.3}, "other": {"q9": 0.9}})
    found = compare_results(first, second)
    assert [change.system for change in found.changes] == ["bm25"]
    assert found.unpaired == ["other on demo: the results have no question in common"]
    assert (
        "Not compared: other on demo: the results have no question in common.\n"
        in bioqa("bench", "compare", first, second).out
    )


def test_one_question_in_common_is_compared_but_not_tested(result, bioqa):
    first, second = result("a", {"bm25": {"q1": 0.1, "q2": 0.3}}), result("b", {"bm25": {"q2": 0.9, "q3": 0.7}})
    (change,) = compare_results(first, second).changes
    assert (change.first, change.second, change.questions, change.p) == (0.3, 0.9, 1, None)
    shown = bioqa("bench", "compare", first, second).out
    assert "demo: bm25 (only 1 question in common)" in shown
    assert "0.3000 → 0.9000  +0.6000  not tested: a test needs two questions or more" in shown


@pytest.mark.parametrize("changed", [{"questions": 5}, {"definition": "Another."}, {"relevant": 4}])
def test_means_of_other_questions_are_not_compared_where_the_values_are_missing(result, changed):
    first, second = result("a", {"bm25": {"q1": 0.1}}), result("b", {"bm25": {"q1": 0.2}}, **changed)
    (second / "measures.json").unlink()
    with pytest.raises(QuestionError, match=r"bm25 on demo: the questions differ, and measures.json"):
        compare_results(first, second)


def test_means_of_the_same_questions_are_compared_where_the_values_are_missing(result):
    first, second = result("a", {"bm25": {"q1": 0.1}}), result("b", {"bm25": {"q1": 0.2}})
    (second / "measures.json").unlink()
    (change,) = compare_results(first, second).changes
    assert (change.first, change.second, change.questions) == (0.1, 0.2, None)


def test_results_without_a_measure_in_common_are_not_compared(result):
    first, second = result("a", {"bm25": {"q1": 0.1}}), result("b", {"bm25": {"q1": 0.2}}, "mrr")
    with pytest.raises(QuestionError, match="no measure in common"):
        compare_results(first, second)


def test_gm_map_is_compared_by_geometric_means(result):
    logarithms = {"q1": -1.0, "q2": -3.0}, {"q1": -1.0, "q2": -1.0}
    first, second = (result(name, {"bm25": of}, "gm_map") for name, of in zip(("a", "b"), logarithms, strict=True))
    (change,) = compare_results(first, second).changes
    assert (change.first, change.second) == pytest.approx((0.1353352832, 0.3678794412))


@pytest.mark.parametrize(
    "values", [5, {"demo": 5}, {"demo": {"bm25": {"ndcg@10": [1]}}}, {"demo": {"bm25": {"m": {"q": "x"}}}}]
)
def test_damaged_values_are_named(result, values):
    first, second = result("a", {"bm25": {"q1": 0.1}}), result("b", {"bm25": {"q1": 0.2}})
    (second / "measures.json").write_text(json.dumps(values))
    with pytest.raises(QuestionError, match=r"measures.json is damaged"):
        compare_results(first, second)
