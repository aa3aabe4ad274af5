"""Every public entry refuses arguments of the wrong type with a UsageError that names the argument."""

import inspect
from array import array
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bioqa
from bioqa import (
    Answer,
    Article,
    BM25Retriever,
    Candidate,
    Candidates,
    Deletion,
    DenseRetriever,
    Encoder,
    Filters,
    Hit,
    HybridRetriever,
    Index,
    MemoryRetriever,
    Pipeline,
    PipelineOptions,
    Question,
    Reranker,
    SearchOptions,
    Section,
    Snippet,
    build_index,
    embed_index,
    expand_sources,
    read_questions,
    read_source,
)
from bioqa.arguments import check_fields, check_items, check_path, check_type
from bioqa.corpus.sources import Source
from bioqa.errors import QuestionError, UsageError
from bioqa.pipeline.answer import Coverage
from bioqa.pipeline.rerank_run import plan_run
from bioqa.retrieve.retriever import Snapshot
from tests.index.vector_encoders import TextEncoder
from tests.support import DEMO
from tests.tiny_models import build

ARTICLE = Article("1", "Cystic fibrosis", "The CFTR gene is mutated in cystic fibrosis.")
SNIPPET = Snippet("1", "abstract", 0, 8, "The CFTR")
QUESTION = Question("q", "Which gene is mutated?")
VALUES: dict[type, dict[str, Any]] = {
    Answer: {
        "question": QUESTION,
        "hits": (),
        "reranker": "default",
        "timings": {},
        "coverage": Coverage(),
        "missing_fields": (),
        "unknown_filter_values": (),
        "options": PipelineOptions(),
        "index": Snapshot("demo", 1),
        "threshold": 0.5,
        "facets": {},
    },
    Article: {field.name: getattr(ARTICLE, field.name) for field in fields(Article)},
    Candidates: {"ids": ["1"], "scores": array("f", [1.0]), "keys": array("i", [0])},
    Deletion: {"id": "1"},
    Filters: {
        "since": "2019",
        "until": "",
        "journal": (),
        "mesh": ("Asthma",),
        "type": (),
        "language": (),
        "author": ("Smith J",),
        "major_topic": (),
        "narrower": (("Asthma", "Asthma, Aspirin-Induced"),),
        "as_of": "2020",
        "has_abstract": False,
        "exclude_retracted": False,
    },
    Hit: {
        "rank": 1,
        "article": ARTICLE,
        "score": 1.0,
        "first_stage_score": 1.0,
        "logit": 1.0,
        "probability": 0.5,
        "snippets": (SNIPPET,),
        "explanation": "",
        "reranker_score": 0.7,
        "relevant": True,
        "first_stage_rank": 2,
        "first_stage": {},
    },
    PipelineOptions: {field.name: getattr(PipelineOptions(), field.name) for field in fields(PipelineOptions)},
    Question: {"id": "q", "body": "a question", "type": "", "documents": ("1",), "snippets": (SNIPPET,)},
    SearchOptions: {field.name: getattr(SearchOptions(), field.name) for field in fields(SearchOptions)},
    Section: {"label": "METHODS", "category": "", "begin": 0, "text_begin": 9, "end": 12},
    Snippet: {field.name: getattr(SNIPPET, field.name) for field in fields(Snippet)},
}
"""A valid value of each field of each public dataclass."""
PROTOCOL = ("as_integer_ratio", "count", "index")
"""Methods that Candidates and Candidate have because they are sequences."""
ELSEWHERE = ("Index", "build_index", "embed_index")
"""Not covered here."""
NOT_CHECKED = ("Candidate", "BioqaError", "__version__")
"""A NamedTuple, an exception and a text."""


@dataclass(frozen=True)
class Entry:
    """A public function or method, with a valid value of each parameter."""

    call: Any
    values: dict[str, Any]


@pytest.fixture(scope="module")
def entries(demo_index, tmp_path_factory):
    """Every public function and method that takes arguments, by name."""
    run = tmp_path_factory.mktemp("run") / "run.txt"
    run.write_text("q Q0 1 1 1.0 bioqa\n")
    plan = plan_run(run, [QUESTION])
    memory = MemoryRetriever([ARTICLE])
    tiny = build(tmp_path_factory.mktemp("model"), "bert-uncased")
    reranker = Reranker(tiny, device="cpu")
    encoder = Encoder(build(tmp_path_factory.mktemp("encoder"), head=""), device="cpu")
    pipeline = Pipeline(memory, reranker)
    options = SearchOptions()
    made, embedded = TextEncoder(), tmp_path_factory.mktemp("embedded") / "index"
    build_index(embedded, [DEMO / "demo26n0002.xml"])
    embed_index(embedded, made)
    with Index(demo_index) as index, Index(embedded) as vectors:
        bm25, words = BM25Retriever(index), BM25Retriever(vectors)
        dense = DenseRetriever(vectors, made)
        hybrid = HybridRetriever(words, dense)

        def retriever(one, found):
            return {
                f"{type(one).__name__}.{name}": Entry(getattr(one, name), values)
                for name, values in {
                    "search": {"question": "gene", "k": 3, "options": options},
                    "search_many": {"questions": ["gene"], "k": 3, "options": options},
                    "check_options": {"options": options},
                    "check_question": {"question": "gene", "options": options},
                    "explain": {"question": "gene", "candidate": found[0], "options": options},
                    "missing_field_counts": {"question": "gene", "options": options},
                    "unknown_filter_values": {"options": options},
                    "facets": {"question": "gene", "fields": ["year"], "options": options, "values": 3},
                    "similar": {"article": ARTICLE, "k": 3, "options": options},
                    "articles": {"candidates": found},
                    "get_many": {"ids": ["1"]},
                }.items()
            }

        yield {
            "BM25Retriever": Entry(BM25Retriever, {"index": index}),
            **retriever(bm25, bm25.search("gene", 2)),
            "BM25Retriever.stored": Entry(bm25.stored, {"candidates": bm25.search("gene", 2)}),
            "DenseRetriever": Entry(DenseRetriever, {"index": vectors, "encoder": made, "exact": False}),
            **retriever(dense, dense.search("gene", 2)),
            "HybridRetriever": Entry(
                HybridRetriever, {"bm25": words, "dense": dense, "fusion": "minmax", "weight": 0.5}
            ),
            **retriever(hybrid, hybrid.search("gene", 2)),
            "MemoryRetriever": Entry(MemoryRetriever, {"records": [ARTICLE], "name": "memory"}),
            **retriever(memory, memory.search("gene")),
            "MemoryRetriever.get": Entry(memory.get, {"id": "1"}),
            "Pipeline": Entry(Pipeline, {"retriever": memory, "reranker": reranker, "options": PipelineOptions()}),
            "Pipeline.similar": Entry(pipeline.similar, {"article": ARTICLE, "options": PipelineOptions()}),
            "Pipeline.answer": Entry(pipeline.answer, {"question": "gene", "options": PipelineOptions()}),
            "Pipeline.rank": Entry(pipeline.rank, {"question": QUESTION, "options": PipelineOptions()}),
            "Pipeline.run": Entry(pipeline.run, {"questions": [QUESTION], "options": PipelineOptions()}),
            "Pipeline.rerank": Entry(pipeline.rerank, {"plan": plan, "done": (), "options": PipelineOptions()}),
            "Pipeline.check_questions": Entry(
                pipeline.check_questions, {"questions": [QUESTION], "options": PipelineOptions()}
            ),
            "Pipeline.resolve_options": Entry(pipeline.resolve_options, {"options": PipelineOptions()}),
            "Reranker": Entry(
                Reranker,
                {"name_or_path": tiny, "device": "cpu", "batch_size": 8, "max_length": 64, "engine": "exact"},
            ),
            "Reranker.count_tokens": Entry(reranker.count_tokens, {"texts": ["gene"]}),
            "Reranker.max_passage_tokens": Entry(reranker.max_passage_tokens, {"question": "gene"}),
            "Reranker.score_pairs": Entry(reranker.score_pairs, {"pairs": [("q", "p")], "whole_questions": True}),
            "Reranker.encode_pairs": Entry(reranker.encode_pairs, {"pairs": [("q", "p")], "whole_questions": True}),
            "Reranker.score_encoded": Entry(reranker.score_encoded, {"encoded": reranker.encode_pairs([("q", "p")])}),
            "Reranker.activate": Entry(reranker.activate, {"logits": np.zeros(2, dtype=np.float32)}),
            "Reranker.calibrate": Entry(reranker.calibrate, {"logits": np.zeros(2, dtype=np.float32)}),
            "Reranker.logits": Entry(reranker.logits, {"question": "gene", "passages": ["a gene"]}),
            "Reranker.score": Entry(reranker.score, {"question": "gene", "passages": ["a gene"]}),
            "Reranker.probabilities": Entry(reranker.probabilities, {"question": "gene", "passages": ["a gene"]}),
            "Reranker.rank": Entry(
                reranker.rank, {"query": "gene", "documents": ["a gene"], "top_k": 1, "return_documents": True}
            ),
            "Encoder": Entry(
                Encoder,
                {
                    "name_or_path": encoder.folder,
                    "device": "cpu",
                    "batch_size": 8,
                    "max_length": 64,
                    "engine": "exact",
                    "pooling": "cls",
                },
            ),
            "Encoder.encode_queries": Entry(encoder.encode_queries, {"texts": ["gene"]}),
            "Encoder.encode_query": Entry(encoder.encode_query, {"text": "gene"}),
            "Encoder.encode_articles": Entry(encoder.encode_articles, {"articles": [ARTICLE]}),
            "Encoder.encode_passages": Entry(encoder.encode_passages, {"texts": ["a gene"]}),
            "expand_sources": Entry(expand_sources, {"sources": [run.parent]}),
            "read_questions": Entry(read_questions, {"path": run}),
            "read_source": Entry(read_source, {"source": expand_sources(DEMO / "demo26n0002.xml")[0], "on_bad": None}),
        }


def public_callables() -> set[str]:
    """Every public class, function and method that takes arguments, except dataclasses themselves."""
    found = set()
    for name in set(bioqa.__all__) - {*NOT_CHECKED, *ELSEWHERE}:
        value = getattr(bioqa, name)
        if not is_dataclass(value):
            found.add(name)
        if inspect.isclass(value):
            for method, function in inspect.getmembers(value, inspect.isfunction):
                if (
                    not method.startswith("_")
                    and method not in PROTOCOL
                    and len(inspect.signature(function).parameters) > 1
                ):
                    found.add(f"{name}.{method}")
    return found


def wrong_values(valid: Any) -> list[Any]:
    """Values of another type than a valid one."""
    texts = isinstance(valid, str | list | tuple | Path)
    return [object(), b"x", [object()], 5 if texts else "x", *(["abc"] if isinstance(valid, list) else ())]


def accepted(call: Any, values: dict[str, Any]) -> list[str]:
    """The arguments for which a value of the wrong type raises no UsageError, with what happens instead."""
    problems = []
    for name, valid in values.items():
        for wrong in wrong_values(valid):
            try:
                list(iterated) if inspect.isgenerator(iterated := call(**{**values, name: wrong})) else None
            except UsageError as error:
                if len(str(error)) > 250 or "\n" in str(error):
                    problems.append(f"{name}={wrong!r}: long message {error}")
            except Exception as error:
                problems.append(f"{name}={wrong!r}: {type(error).__name__}: {error}")
            else:
                problems.append(f"{name}={wrong!r} is accepted")
    return problems


def test_every_public_entry_is_tested_here(entries):
    assert set(entries) == public_callables()
    for name, entry in entries.items():
        assert list(entry.values) == list(inspect.signature(entry.call).parameters), name
    assert set(VALUES) == {value for name in bioqa.__all__ if is_dataclass(value := getattr(bioqa, name))}


def test_a_wrong_type_in_any_argument_of_any_entry_is_a_usage_error(entries):
    refused = {name: accepted(entry.call, entry.values) for name, entry in entries.items()}
    sources = refused.pop("expand_sources")
    assert {name: problems for name, problems in refused.items() if problems} == {}
    assert sources == [
        "sources='abc': SourceError: abc does not exist. Check the path."
    ]  # a single path is no mistake there


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
def test_a_wrong_type_in_any_field_of_a_dataclass_is_a_usage_error(kind):
    values = VALUES[kind]
    assert list(values) == [field.name for field in fields(kind) if field.type is not Any]
    kind(**values)
    problems = accepted(kind, values)
    if kind is Candidates:  # made for every search: only its columns are checked, not their rows
        problems = [problem for problem in problems if not problem.startswith("ids=[")]
    assert problems == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Filters(mesh="Asthma"), "Filters.mesh must be a list of values, each text, not 'Asthma' (str)."),
        (lambda: SearchOptions(k1="1"), "SearchOptions.k1 must be a number, not '1' (str)."),
        (lambda: SearchOptions(rm3=1), "SearchOptions.rm3 must be True or False, not 1 (int)."),
        (lambda: PipelineOptions(top=True), "PipelineOptions.top must be a whole number, not True (bool)."),
        (lambda: PipelineOptions(rerank_depth="9"), "PipelineOptions.rerank_depth must be a whole number or None, not '9' (str)."),
        (lambda: PipelineOptions(search=Filters()), "PipelineOptions.search must be a SearchOptions, not a value of type Filters."),
        (lambda: Article("1", "t", None), "Article.abstract must be text, not None."),
        (lambda: Article("1", "t", "a", mesh=("x", 1)), "Article.mesh[1] must be text, not 1 (int)."),
        (lambda: Question("q", "b" * 99, 5 * "x", 7), "Question.documents must be a tuple, not 7 (int)."),
        (lambda: Question(b"q" * 99, ""), f"Question.id must be text, not b'{'q' * 38}… (bytes)."),
        (lambda: MemoryRetriever([ARTICLE, "abc"]), "records[1] must be an Article or a Deletion, not 'abc' (str)."),
        (lambda: read_questions("a\0b"), "path must be a path without null characters, not 'a\\x00b' (str)."),
        (lambda: read_source("c.jsonl"), "source must be a Source, not 'c.jsonl' (str). Get one from a path with expand_sources."),
        (
            lambda: read_source(Source(Path("c.csv"), "csv")),
            "Unknown format 'csv' of c.csv. Choose from pubmed, jsonl, beir, parquet.",
        ),
        (
            lambda: Pipeline(MemoryRetriever),
            "retriever must be a BM25Retriever, a MemoryRetriever or another Retriever, not the class MemoryRetriever. "
            "To search an Index, wrap it in a BM25Retriever.",
        ),
        (
            lambda: Pipeline(MemoryRetriever([ARTICLE]), "default"),
            "reranker must be a Reranker or None, not 'default' (str). Load one with Reranker(NAME).",
        ),
    ],
)  # fmt: skip
def test_the_message_names_the_argument_and_shows_the_value(call, message):
    with pytest.raises(UsageError) as raised:
        call()
    assert str(raised.value) == message


def test_what_behaves_like_the_type_is_accepted():
    assert SearchOptions(k1=1, b=np.float32(0.5)).k1 == 1
    assert PipelineOptions(top=np.int64(3)).top == 3
    assert Filters(mesh=["Asthma", "Cough"]).mesh == ("Asthma", "Cough")
    assert Filters(mesh={"Asthma"}).mesh == ("Asthma",)
    assert Question("q", "b", documents=["1"]).documents == ["1"]
    assert check_items("texts", (text for text in np.array(["a", "b"])), str) == ["a", "b"]
    assert check_path("path", Path("a/b")) == check_path("path", "a/b") == Path("a/b")
    memory = MemoryRetriever(article for article in [ARTICLE])
    assert [hit.article for hit in Pipeline(memory).answer("gene").hits] == [ARTICLE]
    assert [len(ranked.candidates) for ranked in Pipeline(memory).run(iter([QUESTION]))] == [1]


def test_an_optional_field_takes_none_and_no_other_type():
    @dataclass
    class Made:
        count: int | None = None
        names: tuple[str, ...] | None = None

        def __post_init__(self):
            check_fields(self)

    Made(None, None)
    Made(1, ("a",))
    for wrong in ({"count": 1.5}, {"names": "a"}):
        with pytest.raises(UsageError, match="Made"):
            Made(**wrong)
    with pytest.raises(UsageError, match="k must be a whole number or text, not None"):
        check_type("k", None, int, str)


def test_a_question_with_half_a_character_and_a_k_out_of_range_are_refused(entries):
    for name in ("BM25Retriever", "MemoryRetriever"):
        for method in ("search", "check_question", "missing_field_counts"):
            with pytest.raises(QuestionError, match="half a character"):
                entries[f"{name}.{method}"].call("a \ud800 gene")
        with pytest.raises(QuestionError, match="half a character"):
            entries[f"{name}.search_many"].call(["gene", "a \ud800 gene"])
        for k in (0, -1):
            with pytest.raises(UsageError, match=f"k must be at least 1, not {k}"):
                entries[f"{name}.search"].call("gene", k)
            with pytest.raises(UsageError, match=f"k must be at least 1, not {k}"):
                entries[f"{name}.search_many"].call([], k)
        with pytest.raises(UsageError, match="k must be at most 2,147,483,647, not 1,000,000,000,000"):
            entries[f"{name}.search"].call("gene", 10**12)


@pytest.mark.parametrize("candidate", [Candidate("9", 1.0, 7), Candidate("9", 1.0, -1), Candidate("9", 1.0, 2**40)])
def test_candidates_of_another_retriever_are_refused(candidate):
    with pytest.raises(UsageError, match=r"is not a candidate that (this|a) retriever returned"):
        MemoryRetriever([ARTICLE]).articles([candidate])


@pytest.mark.parametrize("pairs", [[("q",)], [("q", "p", "r")], [["q", None]], ["qp"], [{"q": "p", "r": "s"}]])
def test_pairs_are_two_texts_each(entries, pairs):
    with pytest.raises(UsageError, match=r"pairs\[0\]"):
        entries["Reranker.score_pairs"].call(pairs)


def test_passages_may_be_any_iterable_but_one_text(entries):
    score = entries["Reranker.score"].call
    expected = score("gene", ["a gene", "a cell"])
    for passages in (("a gene", "a cell"), np.array(["a gene", "a cell"]), iter(["a gene", "a cell"])):
        assert score("gene", passages).tolist() == expected.tolist()
    with pytest.raises(UsageError, match=r"passages must be a list of values, each text, not 'abc' \(str\)"):
        score("gene", "abc")
    with pytest.raises(UsageError, match=r"passages\[1\] must be text, not None"):
        score("gene", ["a gene", None])
