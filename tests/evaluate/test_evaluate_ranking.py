"""Ranking measures are trec_eval's, whatever name they are asked for by."""

import math
import random
import subprocess
import sys

import pytest
import pytrec_eval
import ranx
from numba import njit

from bioqa.errors import QuestionError, UsageError
from bioqa.evaluate import ranking
from bioqa.evaluate.ranking import evaluate_run, mean, means, notify_compilation, parse_measure
from tests.support import REPOSITORY

# Our name → trec_eval's.
SAME = {
    "nDCG": "ndcg",
    "nDCG@10": "ndcg_cut_10",
    "ndcg_cut_1000": "ndcg_cut_1000",
    "AP": "map",
    "map_cut_10": "map_cut_10",
    "mrr": "recip_rank",
    "P@5": "P_5",
    "precision@1000": "P_1000",
    "R@5": "recall_5",
    "recall@100": "recall_100",
    "Success@1": "success_1",
    "hit_rate@5": "success_5",
    "r-precision": "Rprec",
    "Bpref": "bpref",
    "precision": "set_P",
    "recall": "set_recall",
    "f1": "set_F",
    "hits": "num_rel_ret",
    "gm_map": "gm_map",
}
ASKED = {
    "ndcg", "ndcg_cut.10,1000", "map", "map_cut.10", "recip_rank", "P.5,1000", "recall.5,100", "success.1,5", "Rprec",
    "bpref", "set_P", "set_recall", "set_F", "num_rel_ret", "gm_map",
}  # fmt: skip
NOTHING = {"gm_map": math.log(1e-5)}
"""The value of a query without results, where it is not 0."""


def random_case(seed: int):
    """Qrels with grades -1 to 3, and a run with many ties, some of them only in single precision, that lacks queries."""
    rng = random.Random(seed)
    documents = [f"d{number}" for number in range(60)] + ["D1", "é", "z", "𝒳", "-"]
    scores = [1.0, 2.0, 2.0 + 1e-9, 30.1234561, 30.1234562, -1.0]
    qrels, run = {}, {"unknown": {"d1": 1.0}}
    for number in range(rng.choice([1, 4, 30])):
        judged = rng.sample(documents, rng.randint(1, 30))
        qrels[f"q{number}"] = {document: rng.choice([-1, 0, 0, 1, 1, 2, 3]) for document in judged}
        qrels[f"q{number}"][judged[0]] = rng.choice([0, 1])  # pytrec_eval crashes where all are negative
        if number == 0 or rng.random() < 0.85:
            retrieved = rng.sample(documents, rng.randint(1, 40))
            run[f"q{number}"] = {document: rng.choice([*scores, rng.random()]) for document in retrieved}
    return qrels, run


@pytest.mark.parametrize("seed", range(40))
def test_values_are_those_of_trec_eval(seed):
    qrels, run = random_case(seed)
    theirs = pytrec_eval.RelevanceEvaluator(qrels, ASKED).evaluate(run)
    ours = evaluate_run(qrels, run, list(SAME))
    for name, trec_name in SAME.items():
        expected = {query: theirs.get(query, {}).get(trec_name, NOTHING.get(name, 0.0)) for query in qrels}
        assert ours[name] == pytest.approx(expected, abs=1e-6), name


@pytest.mark.parametrize("seed", range(5))
def test_gm_map_is_the_geometric_mean_of_trec_eval(seed):
    qrels, run = random_case(seed)
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"gm_map"}).evaluate(run)
    logarithms = [theirs.get(query, {}).get("gm_map", math.log(1e-5)) for query in qrels]
    expected = pytrec_eval.compute_aggregated_measure("gm_map", logarithms)
    assert means(evaluate_run(qrels, run, ["gm_map"])) == pytest.approx({"gm_map": expected})
    assert mean("GM_MAP(rel=2)", logarithms) == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:unsafe cast")  # by ranx.Run
@pytest.mark.parametrize("name", ["rbp.95", "rbp.5", "rbp.80-l2"])
def test_rbp_is_that_of_ranx(name):
    rng = random.Random(name)
    documents = [f"d{number}" for number in range(40)]
    relevance = 2 if "-l2" in name else 1
    grades = {f"q{n}": {document: rng.choice([0, relevance]) for document in documents[:25]} for n in range(12)}
    run = {query: dict(zip(rng.sample(documents, 30), rng.sample(range(100), 30), strict=True)) for query in grades}
    binary = {query: {name: int(grade > 0) for name, grade in row.items()} for query, row in grades.items()}
    ours = evaluate_run(grades, run, [name])[name]
    theirs = ranx.evaluate(ranx.Qrels(binary), ranx.Run(run), name.partition("-")[0], return_mean=False)
    assert [ours[query] for query in sorted(ours)] == pytest.approx(list(theirs))
    assert evaluate_run(grades, run, [str(parse_measure(name))]).popitem()[1] == ours


def test_rbp_takes_a_result_as_relevant_or_not_and_can_have_a_cutoff():
    qrels, run = {"q": {"a": 3, "c": 1, "e": 1}}, {"q": {name: -ord(name) for name in "abcde"}}
    values = evaluate_run(qrels, run, ["rbp.5", "RBP(p=0.5)@3", "RBP(p=.5,rel=2)", "RBP(rel=2, p=0.5)@1"])
    assert [value["q"] for value in values.values()] == pytest.approx([0.5 + 0.125 + 0.03125, 0.625, 0.5, 0.5])


@pytest.mark.parametrize("level", [2, 3])
def test_the_minimum_relevance_is_that_of_trec_eval(level):
    qrels, run = random_case(7)
    asked = {"map", "P.5", "recip_rank", "Rprec", "bpref", "recall.10"}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, asked, relevance_level=level).evaluate(run)
    names = {"AP": "map", "P@5": "P_5", "RR": "recip_rank", "Rprec": "Rprec", "Bpref": "bpref", "R@10": "recall_10"}
    for name, trec_name in names.items():
        stem, _, cutoff = name.partition("@")
        asked_name = f"{stem}(rel={level})" + (f"@{cutoff}" if cutoff else "")
        ours = evaluate_run(qrels, run, [asked_name])[asked_name]
        assert ours == pytest.approx({query: theirs.get(query, {}).get(trec_name, 0.0) for query in qrels}), name


def test_lists_of_very_different_length_are_judged_in_blocks(monkeypatch):
    qrels, run = random_case(2)
    whole = evaluate_run(qrels, run, list(SAME))
    monkeypatch.setattr(ranking, "BLOCK_CELLS", 50)
    assert evaluate_run(qrels, run, list(SAME)) == whole


def test_a_tie_is_broken_by_document_descending():
    qrels = {"q": {"a": 1}}
    assert evaluate_run(qrels, {"q": {"a": 1.0, "b": 1.0}}, ["RR"]) == {"RR": {"q": 0.5}}
    assert evaluate_run({"q": {"b": 1}}, {"q": {"a": 1.0, "b": 1.0}}, ["RR"]) == {"RR": {"q": 1.0}}


def test_queries_without_results_or_relevant_documents_count_zero():
    qrels = {"found": {"a": 1}, "missing": {"a": 1}, "nothing relevant": {"a": 0}}
    values = evaluate_run(qrels, {"found": {"a": 1.0}, "nothing relevant": {"a": 1.0}}, ["RR", "R@100"])
    assert values["RR"] == {"found": 1.0, "missing": 0.0, "nothing relevant": 0.0}
    assert means(values) == pytest.approx({"RR": 1 / 3, "R@100": 1 / 3})


def test_a_query_whose_documents_were_not_judged_counts_zero():
    qrels = {"q": {"a": -1}, "r": {"a": 1}}
    values = evaluate_run(qrels, {"q": {"a": 1.0}, "r": {"a": 1.0}}, list(SAME))
    assert all(of["q"] == NOTHING.get(name, 0.0) for name, of in values.items())


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (("ndcg_cut_10", "nDCG@10", "ndcg@10", "NDCG@10", "ndcg_cut.10"), "nDCG@10"),
        (("recip_rank", "RR", "mrr"), "RR"),
        (("RR@10", "mrr@10"), "RR@10"),
        (("map", "AP"), "AP"),
        (("AP@100", "map@100", "map_cut_100"), "AP@100"),
        (("P_10", "P@10", "precision@10"), "P@10"),
        (("recall_100", "R@100", "recall@100"), "R@100"),
        (("success_1", "Success@1", "hit_rate@1"), "Success@1"),
        (("Rprec", "r-precision"), "Rprec"),
        (("bpref", "Bpref"), "Bpref"),
        (("AP(rel=2)@100", "map@100-l2"), "AP(rel=2)@100"),
        (("gm_map", "GM_MAP"), "gm_map"),
        (("rbp.95", "rbp@95", "RBP(p=0.95)", "rbp(p=.95)", "RBP.950"), "RBP(p=0.95)"),
        (("RBP(p=0.8,rel=2)@10", "rbp(rel=2, p=.8)@10", "RBP(p=0.8)@10-l2"), "RBP(p=0.8,rel=2)@10"),
    ],
)
def test_a_measure_has_many_names(names, shown):
    assert {str(parse_measure(name)) for name in names} == {shown}


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nDGC@10", "Did you mean nDCG@10?"),
        ("recip_rnk", "Did you mean recip_rank?"),
        ("accuracy-of-all", "Unknown measure"),
        ("", "Unknown measure"),
        ("nDCG@0", "a cut-off must be 1 or more"),
        ("Rprec@10", "Rprec has no cut-off"),
        ("ndcg_cut", "needs a cut-off, such as ndcg_cut_10"),
        ("nDCG(rel=2)@10", "uses every grade"),
        ("AP(rel=0)", "the minimum relevance must be 1 or more"),
        ("gm_map@10", "gm_map has no cut-off"),
        ("rbp", "RBP needs a persistence, such as rbp.95 or RBP(p=0.95)"),
        ("rbp.0", "RBP needs a persistence"),
        ("RBP(p=0.8)@0", "a cut-off must be 1 or more"),
        ("AP(p=0.5)", "AP has no persistence"),
        ("RBP(p=1.5)", "Unknown measure"),
    ],
)
def test_an_invalid_measure_is_named(name, problem):
    with pytest.raises(UsageError, match=r"[Mm]easure") as caught:
        parse_measure(name)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("qrels", "run", "problem"),
    [
        ({}, {"q": {"a": 1.0}}, "The qrels are empty"),
        (
            {"q": {"a": 1}},
            {"x": {"a": 1.0}},
            "No query of the run is in the qrels \\(the run has x; the qrels have q\\)",
        ),
        ({"q": {"a": 1}}, {"q": {"a": 1.0, "b": float("nan")}}, "Query q, document b"),
        ({"q": {"a": 1}}, {"q": {"a": float("inf")}}, "not a finite number"),
    ],
)
def test_input_that_cannot_be_judged_is_named(qrels, run, problem):
    with pytest.raises(QuestionError, match=problem):
        evaluate_run(qrels, run, ["RR"])


def test_a_compilation_is_notified_once():
    @njit
    def add(x, y):
        return x + y

    notified = []
    with notify_compilation(lambda: notified.append("compiling")):
        add(1, 2)
        add(1.0, 2.0)
    with notify_compilation(lambda: notified.append("again")):
        add(3, 4)
    assert notified == ["compiling"]


def test_evaluation_loads_only_the_measures_of_ranx_and_leaves_ranx_usable():
    program = (
        "import sys\n"
        "from bioqa.evaluate.ranking import evaluate_run\n"
        "assert evaluate_run({'q': {'a': 1}}, {'q': {'a': 1.0}}, ['RR']) == {'RR': {'q': 1.0}}\n"
        "loaded = [m for m in ('pandas', 'matplotlib', 'ir_datasets', 'scipy.stats', 'torch') if m in sys.modules]\n"
        "import ranx\n"
        "from ranx import Qrels, evaluate\n"
        "assert ranx.metrics.ndcg and ranx.data_structures.Qrels is Qrels\n"
        "print('LOADED', loaded)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.splitlines()[-1] == "LOADED []"
