"""First stages and rerankers on one collection, through the cache."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bioqa.bench.collection import TestCollection
from bioqa.bench.environment import processor
from bioqa.bench.results import LabelledScores
from bioqa.bench.run_cache import RunCache, StartProgress, file_sha256, fingerprint
from bioqa.bench.suite import FirstStageSpec, RerankerSpec, Suite
from bioqa.bench.suite_reranker import SuiteReranker
from bioqa.bench.timed_runs import (
    FirstStageRecord,
    GoldRecord,
    RerankRecord,
    score_gold,
    time_first_stage,
    time_reranking,
)
from bioqa.errors import IndexStateError, UsageError
from bioqa.index.filters import Filters
from bioqa.index.reader import Index
from bioqa.io.locks import locked
from bioqa.io.output import open_output
from bioqa.io.trec import RunScores
from bioqa.pipeline.combine import rank
from bioqa.pipeline.options import PipelineOptions
from bioqa.pipeline.pipeline import Pipeline
from bioqa.rerank.model_folder.settings import RerankerSettings
from bioqa.retrieve.bm25 import BM25Retriever
from bioqa.retrieve.options import SearchOptions


@contextmanager
def _no_progress(label: str, total: int) -> Iterator[Callable[[], object]]:
    yield lambda: None


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """How a suite is run: the folder of the cache, and ``limit``, the number of questions per collection (None: all).

    ``optimistic`` asks for the scores of relevant passages that the first stage missed, as a suite's classification does.
    ``note`` gets one-line messages.
    """

    cache: Path
    limit: int | None = None
    optimistic: bool = False
    note: Callable[[str], None] = lambda text: None
    progress: StartProgress = _no_progress


@dataclass(frozen=True, slots=True)
class FirstStageRun:
    """A first stage on a collection: its record of each question, and the day on which they were made."""

    spec: FirstStageSpec
    records: dict[str, FirstStageRecord]
    made: str

    def run(self) -> RunScores:
        """Its run."""
        return {id: dict(one.passages) for id, one in self.records.items()}


@dataclass(frozen=True, slots=True)
class RerankRun:
    """A reranker on the candidates of a first stage.

    ``key`` identifies the candidates and the model; ``first_stage_weight`` × the first-stage score is added to the logit.
    ``settings`` has the model's threshold and calibration; ``facts`` are those of ``SuiteReranker``. ``gold`` is empty unless
    asked for.
    """

    key: str
    records: dict[str, RerankRecord]
    gold: dict[str, GoldRecord]
    made: str
    facts: dict[str, Any]
    first_stage_weight: float
    settings: RerankerSettings

    def run(self, *, optimistic: bool = False) -> RunScores:
        """Its run, best first; with ``optimistic``, the relevant passages that the first stage missed are added."""
        return {id: self._ranked(one, optimistic) for id, one in self.records.items()}

    def _ranked(self, one: RerankRecord, optimistic: bool) -> dict[str, float]:
        rows = list(one.passages)
        if optimistic:
            lowest = min((score for _, score, _ in rows), default=0.0)
            rows += [(id, lowest, logit) for id, logit in self.gold[one.id].missed]
        logits = [logit for _, _, logit in rows]
        ranked = rank([(id, score) for id, score, _ in rows], logits, logits, self.first_stage_weight)
        return {candidate.id: round(candidate.score, 6) for candidate in ranked}

    def candidates(self, relevant: Mapping[str, set[str]]) -> LabelledScores:
        """Each candidate, labelled by whether it is relevant."""
        rows = [(id in relevant[one.id], logit) for one in self.records.values() for id, _, logit in one.passages]
        return self._labelled(rows)

    def pairs(self, relevant: Mapping[str, set[str]]) -> LabelledScores:
        """Each relevant passage of the collection, and the hard negatives."""
        rows = []
        for one in self.records.values():
            gold, chosen = self.gold[one.id], set(self.gold[one.id].negatives)
            rows += [(True, logit) for _, logit in gold.missed]
            rows += [(id not in chosen, logit) for id, _, logit in one.passages if id in relevant[one.id] | chosen]
        return self._labelled(rows)

    def _labelled(self, rows: Sequence[tuple[bool, float]]) -> LabelledScores:
        import numpy as np

        from bioqa.rerank.activations import activate, probabilities

        labels = np.array([label for label, _ in rows], dtype=np.int64)
        logits = np.array([logit for _, logit in rows], dtype=np.float32)
        calibration = self.settings.calibration
        scores = activate(self.facts["activation"], logits)
        return LabelledScores(labels, scores, probabilities(logits, calibration.a, calibration.b))


@dataclass(frozen=True, slots=True)
class CollectionRuns:
    """All runs on a collection of ``passages`` passages; ``reranked`` by the names of first stage and reranker.

    ``absent`` counts the relevant passages that are not in the index.
    """

    collection: TestCollection
    index: Path
    passages: int
    absent: int
    first: dict[str, FirstStageRun]
    reranked: dict[tuple[str, str], RerankRun]

    @property
    def relevant(self) -> dict[str, set[str]]:
        """Question id → ids of its relevant passages."""
        return self.collection.relevant


def collection_index(collection: TestCollection, options: BenchOptions) -> Path:
    """The folder of the collection's index, built in the cache unless that was done before.

    Raises:
        BioqaError: the corpus cannot be indexed, or another benchmark is running in the cache.
    """
    folder = options.cache / f"{collection.name}-{_collection_key(collection)}"
    with locked(folder, "benchmark"):
        return _ensure_index(collection, folder, options)


def run_collection(suite: Suite, collection: TestCollection, options: BenchOptions) -> CollectionRuns:
    """Index the collection unless that was done before, and run every system on it.

    Raises:
        BioqaError: indexing, searching or reranking failed.
    """
    folder = options.cache / f"{collection.name}-{_collection_key(collection)}"
    with locked(folder, "benchmark"):
        path = _ensure_index(collection, folder, options)
        questions_key = fingerprint([[one.id, one.body] for one in collection.questions])
        qrels_key = fingerprint(collection.qrels)
        if options.limit is not None:
            collection = collection.first(options.limit)
        first, reranked = {}, {}
        with Index(path) as index:
            passages = len(index)
            absent = sum(index.get(id) is None for ids in collection.relevant.values() for id in ids)
            cache = RunCache(folder, options.progress)
            runner = _CollectionRunner(suite, collection, options, index, cache, questions_key, qrels_key)
            for spec in suite.first_stages:
                first[spec.name] = runner.first_stage(spec)
                for reranker in suite.rerankers:
                    reranked[spec.name, reranker.name] = runner.rerank(spec, reranker)
    return CollectionRuns(collection, path, passages, absent, first, reranked)


def _collection_key(collection: TestCollection) -> str:
    from bioqa import __version__

    if collection.index is not None:
        with Index(collection.index) as index:
            info = index.info()
        return fingerprint(info.documents, info.created, [entry.md5 for entry in info.sources])
    parts = [file_sha256(path) for path in collection.inputs]
    return fingerprint(__version__, collection.definition if collection.passages else "", parts)


def _ensure_index(collection: TestCollection, folder: Path, options: BenchOptions) -> Path:
    """The index of the collection, built if it does not exist yet."""
    from bioqa.index.build import build_index

    if collection.index is not None:
        return collection.index
    path = folder / "index"
    try:
        with Index(path):
            return path
    except IndexStateError:
        options.note(f"{collection.name}: building the index …")
    sources: Sequence[Path] = collection.sources
    passages = folder / "passages.jsonl"
    if collection.passages is not None:
        _write_passages(collection, passages)
        sources = [passages]
    report = build_index(path, sources)
    passages.unlink(missing_ok=True)
    options.note(f"{collection.name}: indexed {report.documents:,} passages in {report.seconds:.0f} s.")
    return path


def _write_passages(collection: TestCollection, path: Path) -> None:
    assert collection.passages is not None
    with open_output(path) as file:
        for one in collection.passages():
            record = {"id": one.id, "title": one.title, "text": one.default_text()}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def check_first_stage(spec: FirstStageSpec) -> None:
    """Raise UsageError for invalid search options."""
    try:
        search_options(spec)
    except UsageError as problem:
        raise UsageError(f"First stage {spec.name}: {problem}") from None


def search_options(spec: FirstStageSpec) -> SearchOptions:
    """The options of a first stage."""
    filters = Filters(as_of=spec.as_of)
    return SearchOptions(k1=spec.k1, b=spec.b, filters=filters, title_weight=spec.title_weight, rm3=spec.rm3)


@dataclass(frozen=True, slots=True)
class _CollectionRunner:
    """Runs first stages, and rerankers on them, on one collection."""

    suite: Suite
    collection: TestCollection
    options: BenchOptions
    index: Index
    cache: RunCache
    questions_key: str
    qrels_key: str

    def first_stage(self, spec: FirstStageSpec) -> FirstStageRun:
        options = PipelineOptions(top=spec.depth, search=search_options(spec))
        pipeline = Pipeline(BM25Retriever(self.index), None, options)
        cached = self.cache.get(
            f"first-{self._first_stage_key(spec)}",
            FirstStageRecord,
            self.collection.questions,
            lambda missing: time_first_stage(pipeline, missing),
            label=f"{self.collection.name}: {spec.name}",
            settings=lambda: {"settings": asdict(spec)},
        )
        for name, count in pipeline.retriever.missing_field_counts(None, options.search):
            self.options.note(
                f"{self.collection.name}: {spec.name} leaves out {count:,} passages that lack the field {name!r}."
            )
        return FirstStageRun(spec, cached.records, cached.made)

    def rerank(self, first: FirstStageSpec, spec: RerankerSpec) -> RerankRun:
        model = SuiteReranker(spec)
        key = fingerprint(self._first_stage_key(first), spec.rerank_depth, model.key)
        label = f"{self.collection.name}: {first.name} + {spec.name}"
        options = PipelineOptions(top=first.depth, rerank_depth=spec.rerank_depth, search=search_options(first))
        cached = self.cache.get(
            f"rerank-{key}",
            RerankRecord,
            self.collection.questions,
            lambda missing: time_reranking(Pipeline(BM25Retriever(self.index), model.loaded, options), missing),
            label=label,
            settings=lambda: {"settings": asdict(spec), "reranker": model.facts()},
        )
        wanted = self.suite.classification or self.options.optimistic
        return RerankRun(
            key=key,
            records=cached.records,
            gold=self._gold(key, model, cached.records, label) if wanted else {},
            made=cached.made,
            facts=cached.header["reranker"],
            first_stage_weight=model.first_stage_weight,
            settings=model.settings,
        )

    def _gold(
        self, key: str, model: SuiteReranker, reranked: dict[str, RerankRecord], label: str
    ) -> dict[str, GoldRecord]:
        relevant, negatives = self.collection.relevant, self.suite.negatives
        return self.cache.get(
            f"gold-{fingerprint(key, self.qrels_key, negatives, 'normal form')}",
            GoldRecord,
            self.collection.questions,
            lambda missing: score_gold(
                self.index, model.loaded, missing, relevant=relevant, reranked=reranked, negatives=negatives
            ),
            label=f"{label}, missed gold",
            settings=lambda: {"negatives": negatives},
        ).records

    def _first_stage_key(self, spec: FirstStageSpec) -> str:
        return fingerprint(asdict(replace(spec, name="")), self.questions_key, _machine())


def _machine() -> list[Any]:
    """What times depend on besides the settings."""
    from bioqa import __version__

    return [__version__, processor(), os.cpu_count()]
