"""Suites run end to end: the demo suite with the default reranker, from the command line."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import bioqa
from bioqa import BM25Retriever, Index, Pipeline, PipelineOptions, Reranker, read_questions
from bioqa.corpus.qrels import read_qrels
from bioqa.evaluate.measures import measure_runs
from bioqa.evaluate.ranking import means
from bioqa.io.trec import read_run
from tests.support import DEMO, REPOSITORY

QUESTIONS, DEPTH, RERANKED = 4, 8, 3
SUITE = REPOSITORY / "benchmarks" / "suites" / "demo.toml"
MEASURES = ("ndcg@10", "bioasq-map@10", "mrr@10", "recall@20")


def arguments(out: Path, *more: object, suite: Path = SUITE) -> list[object]:
    sizes = [f"first-stage.depth={DEPTH}", f"reranker.rerank-depth={RERANKED}", "reranker.device=cpu"]
    options = [part for size in sizes for part in ("--set", size)]
    return ["bench", "run", suite, "--out", out, "--limit", QUESTIONS, *options, *more]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The folder of one run of the demo suite."""
    from bioqa.cli.main import main

    out = tmp_path_factory.mktemp("bench") / "out"
    assert main([str(one) for one in arguments(out, "--optimistic")]) == 0
    return out


@pytest.fixture
def report(results):
    return json.loads((results / "report.json").read_text(encoding="utf-8"))


def systems(report):
    return {system["name"]: system for system in report["collections"][0]["systems"]}


def find_index(results) -> Path:
    (path,) = (results / "cache").glob("*/index")
    return path


def test_results_go_to_a_folder_named_after_the_suite_by_default(tmp_path, bioqa, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = bioqa("bench", "run", SUITE, "--limit", 1, "--no-rerank")
    assert done.code == 0, done.err
    assert (tmp_path / "results" / "demo" / "report.html").is_file()
    assert (tmp_path / "results" / "demo" / "cache").is_dir()


def test_the_measures_are_those_of_the_written_runs_and_qrels(results, report):
    qrels = read_qrels(results / report["collections"][0]["qrels"])
    assert len(qrels) == QUESTIONS
    for system in systems(report).values():
        run = read_run(results / system["run"])
        assert system["measures"] == pytest.approx(means(measure_runs(qrels, run, MEASURES)), abs=1e-6)
    values = json.loads((results / "measures.json").read_text(encoding="utf-8"))["demo"]
    assert values.keys() == systems(report).keys()
    assert values["bm25"]["ndcg@10"].keys() == qrels.keys()


def test_the_runs_equal_those_of_the_pipeline(results, report):
    asked = read_questions(DEMO / "questions.json")[:QUESTIONS]
    found = {name: read_run(results / system["run"]) for name, system in systems(report).items()}
    with Index(find_index(results)) as index:
        retriever = BM25Retriever(index)
        pipeline = Pipeline(retriever, Reranker(device="cpu"), PipelineOptions(top=RERANKED, rerank_depth=RERANKED))
        for ranked in pipeline.run(asked):
            candidates = retriever.search(ranked.question.body, DEPTH)
            assert list(found["bm25"][ranked.question.id]) == [one.id for one in candidates]
            run = found["bm25 + default"][ranked.question.id]
            assert run.keys() == {one.id for one in candidates[:RERANKED]}
            assert run == pytest.approx({one.id: one.score for one in ranked.candidates}, abs=1e-3)
            assert list(run.values()) == sorted(run.values(), reverse=True)


def test_times_cuts_and_environment_are_reported(report):
    bm25, reranked = systems(report)["bm25"], systems(report)["bm25 + default"]
    assert bm25["rerank"] is None
    assert 0 < bm25["first_stage"]["p50_ms"] <= bm25["first_stage"]["p95_ms"]
    cost = reranked["rerank"]
    assert cost["candidates"] == QUESTIONS * RERANKED
    assert cost["texts"] >= cost["candidates"] > 0
    assert cost["cut"] <= cost["candidates"]
    assert 0 < cost["latency"]["p50_ms"] <= cost["latency"]["p95_ms"]
    assert cost["setting"]["device"] == "cpu"
    assert cost["setting"]["batch_size"] == 32
    assert cost["setting"]["dtype"] == "int8"
    assert report["environment"]["packages"]["bioqa"] == bioqa.__version__
    assert report["settings"]["rerankers"][0]["rerank_depth"] == RERANKED
    assert report["questions"] == QUESTIONS


def test_passages_that_the_first_stage_missed_only_count_in_the_optimistic_measures(results, report):
    qrels = read_qrels(results / report["collections"][0]["qrels"])
    reranked = systems(report)["bm25 + default"]
    run = read_run(results / reranked["run"])
    missed = [id for id, grades in qrels.items() if not grades.keys() <= run[id].keys()]
    assert missed, "the depth is too large for this test"
    assert reranked["measures"]["recall@20"] < 1
    assert reranked["optimistic"]["recall@20"] == 1
    assert systems(report)["bm25"]["optimistic"] is None
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "No search gives these results" in page


def test_gold_is_classified_against_hard_negatives(results, report):
    qrels = read_qrels(results / report["collections"][0]["qrels"])
    found = systems(report)["bm25 + default"]["classification"]
    assert found["positives"] == sum(len(of) for of in qrels.values())
    run = read_run(results / systems(report)["bm25"]["run"])
    others = sum(len([id for id in list(run[q])[:RERANKED] if id not in qrels[q]]) for q in qrels)
    assert 0 < found["negatives"] <= min(others, 4 * found["positives"])
    assert found["frozen"]["n"] == found["positives"] + found["negatives"]
    assert found["frozen"]["threshold"] == found["threshold"]
    assert found["published"]["f1"] >= found["frozen"]["f1"]


class Page(HTMLParser):
    """The elements and addresses of a page, and whether its elements are closed in order."""

    VOID = ("meta", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        values = dict(attrs)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        self.ids += [values["id"]] if "id" in values else []
        if tag == "img":
            assert values["alt"].strip()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_self_contained_and_well_formed(results):
    text = (results / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.open
    assert not {"script", "link", "iframe", "object"} & set(page.seen)
    assert ".best { font-weight: 700 }" in text
    inside = [address[1:] for address in page.addresses if address.startswith("#")]
    assert set(inside) <= set(page.ids)
    assert all(address.startswith(("#", "data:image/svg+xml;base64,")) for address in page.addresses)
    assert not re.search(r"@import|url\(|http://|https://", text)
    assert page.seen.count("img") == 4
    for part in ("Where bm25 + default", "relevant passage", "Settings", "engine cpu-int8", "p = "):
        assert part in text


def test_cached_scores_are_reused_with_another_first_stage_weight(results, report, tmp_path, bioqa, monkeypatch):
    monkeypatch.setattr("bioqa.pipeline.windows.score_questions", lambda *_, **__: pytest.fail("scored again"))
    weighted = ["--set", "reranker.first-stage-weight=0.9", "--cache", results / "cache", "--json"]
    done = bioqa(*arguments(tmp_path / "out", *weighted))
    assert done.code == 0, done.err
    found = systems(json.loads(done.out))["bm25 + default"]
    assert found["first_stage_weight"] == 0.9
    runs = [read_run(folder / "runs" / "demo" / "bm25+default.run") for folder in (results, tmp_path / "out")]
    bm25 = read_run(results / "runs" / "demo" / "bm25.run")
    change = 0.9 - systems(report)["bm25 + default"]["first_stage_weight"]
    assert change
    for id, scores in runs[0].items():
        expected = {name: score + change * bm25[id][name] for name, score in scores.items()}
        assert runs[1][id] == pytest.approx(expected, abs=4e-6)


def test_an_interrupted_run_resumes(results, tmp_path, bioqa, monkeypatch):
    from bioqa.pipeline import windows

    cache = tmp_path / "cache"
    (cached,) = (results / "cache").glob("*/rerank-*.jsonl")
    lines = cached.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + QUESTIONS
    folder = cache / cached.parent.name
    folder.mkdir(parents=True)
    for file in cached.parent.glob("*.jsonl"):
        (folder / file.name).write_bytes(file.read_bytes())
    # The third question is half written; the header and two questions are left.
    (folder / cached.name).write_bytes(b"".join(lines[:3]) + lines[3][: len(lines[3]) // 2])
    scored = []
    original = windows.score_questions

    def counting(reranker, asked, **more):
        scored.extend(question for question, _ in asked)
        return original(reranker, asked, **more)

    monkeypatch.setattr("bioqa.pipeline.windows.score_questions", counting)
    done = bioqa(*arguments(tmp_path / "out", "--cache", cache))
    assert done.code == 0, done.err
    asked = [question.body for question in read_questions(DEMO / "questions.json")[:QUESTIONS]]
    assert set(scored) == set(asked[2:])
    before, after = (read_run(out / "runs" / "demo" / "bm25+default.run") for out in (results, tmp_path / "out"))
    assert {id: pytest.approx(scores, abs=1e-4) for id, scores in before.items()} == after


def test_a_suite_can_search_as_of_a_day(tmp_path, bioqa):
    command = arguments(tmp_path / "out", "--no-rerank", "--set", "first-stage.as-of=2020-06")
    assert bioqa(*command).code == 0
    run = read_run(tmp_path / "out" / "runs" / "demo" / "bm25.run")
    with Index(find_index(tmp_path / "out")) as index:
        entered = [index.get(id).entered for hits in run.values() for id in hits]
    assert len(entered) > QUESTIONS
    assert max(entered) <= "2020-06-30"
    refused = bioqa(*arguments(tmp_path / "bad", "--no-rerank", "--set", "first-stage.as-of=May"))
    assert (refused.code, "First stage bm25: 'May' is not a date" in refused.err) == (2, True)


def test_passages_without_a_day_of_entry_are_noted(tmp_path, bioqa, corpus):
    (tmp_path / "q.tsv").write_text("q\tcystic fibrosis gene\n")
    (tmp_path / "qrels").write_text("q 0 1 1\n")
    (tmp_path / "suite.toml").write_text(
        f'name = "undated"\n[[collection]]\nname = "few"\ncorpus = ["{corpus}"]\nquestions = "q.tsv"\nqrels = "qrels"\n'
        '[[first-stage]]\nas-of = "2020"\n'
    )
    done = bioqa("bench", "run", tmp_path / "suite.toml", "--out", tmp_path / "out")
    assert "few: bm25 leaves out 4 passages that lack the field 'entered'." in done.err


def test_two_results_are_compared_with_their_settings(results, tmp_path, bioqa):
    other = tmp_path / "other"
    done = bioqa(*arguments(other, "--set", "first-stage.k1=2", "--no-rerank", "--cache", results / "cache"))
    assert done.code == 0, done.err
    found = bioqa("bench", "compare", results, other / "report.json", "--json")
    assert found.code == 0, found.err
    differences = json.loads(found.out)
    assert {(one["system"], one["measure"]) for one in differences["changes"]} == {("bm25", name) for name in MEASURES}
    values = [
        json.loads((out / "measures.json").read_text(encoding="utf-8"))["demo"]["bm25"] for out in (results, other)
    ]
    for one in differences["changes"]:
        assert one["questions"] == QUESTIONS
        first, second = (sum(of[one["measure"]].values()) / QUESTIONS for of in values)
        assert (one["first"], one["second"]) == pytest.approx((first, second))
        assert 0 <= one["p"] <= one["corrected"] <= 1
    assert ["first_stages.bm25.k1", 0.9, 2.0] in differences["settings"]
    assert any("bm25 + default on demo is only in" in line for line in differences["unpaired"])
    shown = bioqa("bench", "compare", results, other)
    assert "Setting first_stages.bm25.k1: 0.9 → 2.0" in shown.out
    (other / "measures.json").unlink()
    assert "not tested" in bioqa("bench", "compare", results, other).out


def test_invalid_input_is_reported_before_anything_is_written(tmp_path, bioqa):
    out = tmp_path / "out"
    for more, message in (
        (["--set", "measures=ndgc@10"], "Unknown measure 'ndgc@10'"),
        (["--limit", "0"], "limit of questions must be 1 or more"),
        (["--set", "collection.questions=nowhere.json"], "no question file"),
        (["--set", "collection.corpus=nowhere.xml"], "nowhere.xml"),
        (["--set", "reranker.model=./nowhere"], "nowhere"),
        (["--set", "first-stage.k1=nan"], "First stage bm25: BM25's k1 must be finite and at least 0"),
        (["--set", "first-stage.b=2"], "First stage bm25: BM25's b must be between 0 and 1"),
        (["--set", "first-stage.title-weight=-1"], "First stage bm25: The title weight must be"),
        (["--set", "reranker.engine=warp"], "Reranker default: unknown engine 'warp'"),
        (
            ["--set", "reranker.batch-size=0"],
            "--set reranker.batch-size=0: reranker.default.batch-size must be 1 or more, not 0.",
        ),
        (["--set", "reranker.device=tpu"], "Unknown device 'tpu'"),
    ):
        done = bioqa("bench", "run", SUITE, "--out", out, *more)
        assert done.code in (2, 3, 4, 6, 8), done.err
        assert message in done.err
        assert "Traceback" not in done.err
        assert not out.exists()
    missing = bioqa("bench", "compare", tmp_path / "a", tmp_path / "b")
    assert (missing.code, "There is no" in missing.err) == (4, True)
    (tmp_path / "report.json").write_text("{}", encoding="utf-8")
    assert "is not a report of `bioqa bench run`" in bioqa("bench", "compare", tmp_path, tmp_path).err
    for damaged in ('{"format": 1, "collections": 5}', '{"format": 1, "collections": [{"name": "demo"}]}'):
        (tmp_path / "report.json").write_text(damaged, encoding="utf-8")
        done = bioqa("bench", "compare", tmp_path, tmp_path)
        assert (done.code, "report.json is damaged" in done.err) == (4, True)


def test_the_options_of_a_reranker_are_passed_on():
    from bioqa.bench.suite import RerankerSpec

    assert RerankerSpec("m").options() == {"device": "auto", "batch_size": 32, "max_length": None}
    options = RerankerSpec("m", engine="cpu-int8", max_length=128).options()
    assert (options["engine"], options["max_length"]) == ("cpu-int8", 128)
