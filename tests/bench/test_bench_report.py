"""The HTML report shows results and escapes whatever comes from files."""

import pytest

from bioqa.bench.environment import environment
from bioqa.bench.report import render_report
from bioqa.bench.results import (
    BaselineComparison,
    CollectionResult,
    Example,
    Latency,
    ShownPassage,
    SuiteResult,
    SystemDetails,
    SystemResult,
)

LATENCY = Latency(2, 1.0, 2.0)


def system(name, value, comparisons, weight=None):
    return SystemResult(name, "a.run", {"ndcg@10": value}, comparisons, LATENCY, first_stage_weight=weight)


def render(*collections, title="A title"):
    systems = [
        system("bm25", 0.5, {}),
        system("bm25 + m", 0.4, {"ndcg@10": BaselineComparison(-0.1, 0.0001, 0.0002)}, 0.5),
    ]
    found = [
        CollectionResult(name, f"About {name}", 1234, 2, 3, 1, "qrels.txt", systems) for name in collections or ("one",)
    ]
    result = SuiteResult(
        suite="s & t",
        description="",
        made="2026-11-21T09:40:12+00:00",
        questions=None,
        baseline="bm25",
        environment=environment(),
        settings={"correction": "none", "negatives": 4, "empty": "", "rerankers": [{"name": "m", "rerank_depth": 5}]},
        collections=found,
    )
    passage = ShownPassage("1", title, "Some <i>text</i>", True)
    example = Example("Is 1 < 2?", 0.9, 0.8, 1, [passage], [])
    own = {"bm25": SystemDetails(), "bm25 + m": SystemDetails(worst=[example])}
    return render_report(result, {one.name: own for one in found})


def test_text_from_files_is_escaped():
    page = render(title='<script>alert("1")</script>')
    assert "<script" not in page
    assert "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;" in page
    assert "Some &lt;i&gt;text&lt;/i&gt;" in page
    assert "Is 1 &lt; 2?" in page
    assert "<h1>s &amp; t</h1>" in page


@pytest.mark.parametrize(
    "part",
    [
        '<span class="best">0.5000</span>',
        '<span>0.4000</span><small><span class="loss">−0.1000</span> p &lt; 0.001</small>',
        "bm25 <small>baseline</small>",
        "bm25 + m <small>logit + 0.5 × BM25</small>",
        "and p,\nnot corrected.",
        "1,234 passages, 3 relevant. 1 of the relevant passages are not in the collection.",
        "Made 2026-11-21 09:40 UTC",
        "rerankers.m.rerank_depth = 5",
        '<span class="loss">−0.1000</span>, 1 relevant passage</small>',
        "Where bm25 + m loses most",
    ],
)
def test_the_page_shows(part):
    assert part in render()


def test_absent_parts_are_not_shown():
    page = render()
    assert "Optimistic" not in page
    assert "Classification" not in page
    assert "Charts" not in page
    assert "empty =" not in page
    assert "gains most" not in page


def test_several_collections_have_a_summary():
    assert "<caption>ndcg@10</caption>" not in render("one")
    page = render("one", "two")
    assert "<caption>ndcg@10</caption>" in page
    assert '<a href="#two">two</a>' in page
