"""First stages and rerankers on a collection, with what does not change kept between runs.

The cache holds, for each collection, its index and one file for each first stage, reranker and set of judgements, named by a
fingerprint of all that goes into it: the content of the corpus files, the questions, the settings, the content of the model, the
versions, and the machine, since the files hold times. They grow question by question, so that a killed run goes on.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from bioqa.bench.collection import Collection, digest, fingerprint
from bioqa.bench.environment import environment, processor
from bioqa.bench.results import Labelled
from bioqa.bench.suite import FirstStageSpec, RerankerSpec, Suite
from bioqa.bench.suite_reranker import SuiteReranker
from bioqa.bench.timed_runs import Found, GoldScores, Reranked, find, rerank, score_gold
from bioqa.errors import IndexStateError, UsageError
from bioqa.index.reader import Index
from bioqa.io.checkpoint import Checkpoint
from bioqa.io.locks import locked
from bioqa.io.trec import RunScores
from bioqa.pipeline.combine import rank
from bioqa.pipeline.options import PipelineOptions
from bioqa.pipeline.pipeline import Pipeline
from bioqa.rerank.model_folder.settings import RerankerSettings
from bioqa.retrieve.bm25 import BM25Retriever
from bioqa.retrieve.options import SearchOptions
from bioqa.types import Question

_Record = TypeVar("_Record")

Bar = Callable[[str, int], AbstractContextManager[Callable[[], object]]]
"""(what is done, how many times) → a context that gives what to call each time."""


@contextmanager
def _no_bar(label: str, total: int) -> Iterator[Callable[[], object]]:
    yield lambda: None


@dataclass(frozen=True, slots=True)
class Work:
    """Where results are kept, how many questions of each collection are asked (None: all), and whom to tell of progress.

    ``optimistic`` asks for the scores of relevant passages that the first stage missed, as a suite's classification does.
    """

    cache: Path
    questions: int | None = None
    optimistic: bool = False
    note: Callable[[str], None] = lambda text: None
    bar: Bar = _no_bar


@dataclass(frozen=True, slots=True)
class FirstStageRun:
    """A first stage on a collection: what it found, and when it was made."""

    spec: FirstStageSpec
    found: dict[str, Found]
    made: str

    def run(self) -> RunScores:
        """Its run."""
        return {id: dict(one.passages) for id, one in self.found.items()}


@dataclass(frozen=True, slots=True)
class RerankRun:
    """A reranker on what a first stage found.

    ``key`` stands for what was scored by which model; ``weight`` is that of BM25 in the score; ``decision`` the threshold and
    calibration of the model; ``setting`` what it ran on. ``gold`` is empty where nothing asks for it.
    """

    key: str
    reranked: dict[str, Reranked]
    gold: dict[str, GoldScores]
    made: str
    setting: dict[str, Any]
    weight: float
    settings: RerankerSettings

    def run(self, *, optimistic: bool = False) -> RunScores:
        """Its run, in the order of the scores; with the relevant passages that the first stage missed where ``optimistic``."""
        return {id: self._ranked(one, optimistic) for id, one in self.reranked.items()}

    def _ranked(self, one: Reranked, optimistic: bool) -> dict[str, float]:
        rows = list(one.passages)
        if optimistic:
            least = min((score for _, score, _ in rows), default=0.0)
            rows += [(id, least, logit) for id, logit in self.gold[one.id].missed]
        logits = [logit for _, _, logit in rows]
        ranked = rank([(id, score) for id, score, _ in rows], logits, logits, self.weight)
        return {candidate.id: round(candidate.score, 6) for candidate in ranked}

    def candidates(self, relevant: Mapping[str, set[str]]) -> Labelled:
        """Each candidate, and whether it is relevant."""
        rows = [(id in relevant[one.id], logit) for one in self.reranked.values() for id, _, logit in one.passages]
        return self._labelled(rows)

    def pairs(self, relevant: Mapping[str, set[str]]) -> Labelled:
        """Each relevant passage that the collection holds, and the hard negatives."""
        rows = []
        for one in self.reranked.values():
            gold, chosen = self.gold[one.id], set(self.gold[one.id].negatives)
            rows += [(True, logit) for _, logit in gold.missed]
            rows += [(id not in chosen, logit) for id, _, logit in one.passages if id in relevant[one.id] | chosen]
        return self._labelled(rows)

    def _labelled(self, rows: Sequence[tuple[bool, float]]) -> Labelled:
        import numpy as np

        from bioqa.rerank.activations import activate, probabilities

        labels = np.array([label for label, _ in rows], dtype=np.int64)
        logits = np.array([logit for _, logit in rows], dtype=np.float32)
        calibration = self.settings.calibration
        scores = activate(self.setting["activation"], logits)
        return Labelled(labels, scores, probabilities(logits, calibration.a, calibration.b))


@dataclass(frozen=True, slots=True)
class CollectionRuns:
    """All runs on a collection of ``passages``; ``reranked`` by the names of first stage and reranker.

    ``absent`` counts the relevant passages that the index does not hold.
    """

    collection: Collection
    index: Path
    passages: int
    absent: int
    first: dict[str, FirstStageRun]
    reranked: dict[tuple[str, str], RerankRun]

    @property
    def relevant(self) -> dict[str, set[str]]:
        """Question id → ids of its relevant passages."""
        return relevant_of(self.collection)


def relevant_of(collection: Collection) -> dict[str, set[str]]:
    """Question id → ids of its relevant passages."""
    return {id: {name for name, grade in of.items() if grade > 0} for id, of in collection.qrels.items()}


def run_collection(suite: Suite, collection: Collection, work: Work) -> CollectionRuns:
    """Index the collection where that was not done yet, and run every system on it.

    Raises:
        BioqaError: what indexing, searching and reranking raise.
    """
    key = _collection_key(collection)
    folder = work.cache / f"{collection.name}-{key}"
    with locked(folder, "benchmark"):
        path = _index(collection, folder, work)
        asked = fingerprint([[one.id, one.body] for one in collection.questions])
        judged = fingerprint(collection.qrels)
        if work.questions is not None:
            collection = _limited(collection, work.questions)
        first, reranked = {}, {}
        with Index(path) as index:
            passages = len(index)
            absent = sum(index.get(id) is None for of in relevant_of(collection).values() for id in of)
            cache = RunCache(folder, work.bar)
            runner = _CollectionRunner(suite, collection, work, index, cache, asked, judged)
            for spec in suite.first_stages:
                first[spec.name] = runner.first_stage(spec)
                for reranker in suite.rerankers:
                    reranked[spec.name, reranker.name] = runner.rerank(spec, reranker)
    return CollectionRuns(collection, path, passages, absent, first, reranked)


def _limited(collection: Collection, count: int) -> Collection:
    """The collection with its first questions only."""
    questions = collection.questions[:count]
    return replace(collection, questions=questions, qrels={one.id: collection.qrels[one.id] for one in questions})


def _collection_key(collection: Collection) -> str:
    from bioqa import __version__

    if collection.index is not None:
        with Index(collection.index) as index:
            info = index.info()
        return fingerprint(info.documents, info.created, [entry.md5 for entry in info.sources])
    parts = [digest(path) for path in collection.inputs]
    return fingerprint(__version__, collection.definition if collection.passages else "", parts)


def _index(collection: Collection, folder: Path, work: Work) -> Path:
    """The index of the collection, built where it is not there yet."""
    from bioqa.index.build import build_index
    from bioqa.index.reader import Index

    if collection.index is not None:
        return collection.index
    path = folder / "index"
    try:
        with Index(path):
            return path
    except IndexStateError:
        work.note(f"{collection.name}: building the index …")
    sources: Sequence[Path] = collection.sources
    passages = folder / "passages.jsonl"
    if collection.passages is not None:
        _write_passages(collection, passages)
        sources = [passages]
    report = build_index(path, sources)
    passages.unlink(missing_ok=True)
    work.note(f"{collection.name}: {report.documents:,} passages indexed in {report.seconds:.0f} s.")
    return path


def _write_passages(collection: Collection, path: Path) -> None:
    from bioqa.io.output import open_output

    assert collection.passages is not None
    with open_output(path) as file:
        for one in collection.passages():
            record = {"id": one.id, "title": one.title, "text": one.default_text()}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def check_first_stage(spec: FirstStageSpec) -> None:
    """Raise UsageError for options that no index could be searched with."""
    try:
        search_options(spec)
    except UsageError as problem:
        raise UsageError(f"First stage {spec.name}: {problem}") from None


def search_options(spec: FirstStageSpec) -> SearchOptions:
    """The options of a first stage."""
    return SearchOptions(k1=spec.k1, b=spec.b, title_weight=spec.title_weight, rm3=spec.rm3)


@dataclass(frozen=True, slots=True)
class Cached(Generic[_Record]):
    """Records by question id, and under which circumstances they were made."""

    header: dict[str, Any]
    records: dict[str, _Record]

    @property
    def made(self) -> str:
        """The day on which the first of them was made."""
        return str(self.header["environment"]["date"])


@dataclass(frozen=True, slots=True)
class RunCache:
    """Results question by question, in one checkpoint for each key: an interrupted suite resumes, and nothing is computed twice."""

    folder: Path
    bar: Bar

    def get(
        self,
        key: str,
        kind: Callable[..., _Record],
        questions: Sequence[Question],
        compute: Callable[[list[Question]], Iterator[_Record]],
        *,
        label: str,
        settings: Callable[[], Mapping[str, Any]],
    ) -> Cached[_Record]:
        """The records of all ``questions``: those under ``key``, and from ``compute`` those that are not there yet.

        ``kind`` is their dataclass, which has a field ``id``; ``settings`` gives what the header says beside the environment.
        """
        with Checkpoint(self.folder / f"{key}.jsonl") as checkpoint:
            records = {record["id"]: kind(**record) for record in checkpoint}
            missing = [one for one in questions if one.id not in records]
            if missing:
                if checkpoint.header is None:
                    checkpoint.start({"environment": environment(), **settings()})
                with self.bar(label, len(missing)) as advance:
                    for record in compute(missing):
                        values = asdict(record)  # type: ignore[call-overload]
                        checkpoint.append(values)
                        records[values["id"]] = record
                        advance()
            assert checkpoint.header is not None
            return Cached(checkpoint.header, {one.id: records[one.id] for one in questions})


@dataclass(frozen=True, slots=True)
class _CollectionRunner:
    """Runs first stages, and rerankers on them, on one collection; ``asked`` and ``judged`` stand for its questions and qrels."""

    suite: Suite
    collection: Collection
    work: Work
    index: Index
    cache: RunCache
    asked: str
    judged: str

    def first_stage(self, spec: FirstStageSpec) -> FirstStageRun:
        options = PipelineOptions(top=spec.depth, search=search_options(spec))
        pipeline = Pipeline(BM25Retriever(self.index), None, options)
        found = self.cache.get(
            f"first-{self._first_key(spec)}",
            Found,
            self.collection.questions,
            lambda missing: find(pipeline, missing),
            label=f"{self.collection.name}: {spec.name}",
            settings=lambda: {"settings": asdict(spec)},
        )
        return FirstStageRun(spec, found.records, found.made)

    def rerank(self, first: FirstStageSpec, spec: RerankerSpec) -> RerankRun:
        model = SuiteReranker(spec)
        key = fingerprint(self._first_key(first), spec.depth, model.key)
        label = f"{self.collection.name}: {first.name} + {spec.name}"
        options = PipelineOptions(top=first.depth, rerank_depth=spec.depth, search=search_options(first))
        reranked = self.cache.get(
            f"rerank-{key}",
            Reranked,
            self.collection.questions,
            lambda missing: rerank(Pipeline(BM25Retriever(self.index), model.loaded, options), missing),
            label=label,
            settings=lambda: {"settings": asdict(spec), "reranker": model.facts()},
        )
        wanted = self.suite.classification or self.work.optimistic
        return RerankRun(
            key=key,
            reranked=reranked.records,
            gold=self._gold(key, model, reranked.records, label) if wanted else {},
            made=reranked.made,
            setting=reranked.header["reranker"],
            weight=model.first_stage_weight,
            settings=model.settings,
        )

    def _gold(self, key: str, model: SuiteReranker, reranked: dict[str, Reranked], label: str) -> dict[str, GoldScores]:
        relevant, negatives = relevant_of(self.collection), self.suite.negatives
        return self.cache.get(
            f"gold-{fingerprint(key, self.judged, negatives)}",
            GoldScores,
            self.collection.questions,
            lambda missing: score_gold(
                self.index, model.loaded, missing, relevant=relevant, reranked=reranked, negatives=negatives
            ),
            label=f"{label}, missed gold",
            settings=lambda: {"negatives": negatives},
        ).records

    def _first_key(self, spec: FirstStageSpec) -> str:
        return fingerprint(asdict(replace(spec, name="")), self.asked, _machine())


def _machine() -> list[Any]:
    """What a time depends on beside the settings."""
    from bioqa import __version__

    return [__version__, processor(), os.cpu_count()]
