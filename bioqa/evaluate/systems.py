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
from typing import TYPE_CHECKING, Any

from bioqa.corpus.lock import locked
from bioqa.errors import IndexStateError, UsageError
from bioqa.evaluate.collection import Collection, digest, fingerprint
from bioqa.evaluate.environment import environment, processor
from bioqa.evaluate.journal import Journal
from bioqa.evaluate.rerankers import SuiteReranker
from bioqa.evaluate.results import Labelled
from bioqa.evaluate.runs import RunScores
from bioqa.evaluate.stages import Found, GoldScores, Reranked, find, rerank, score_gold
from bioqa.evaluate.suite import FirstStageSpec, RerankerSpec, Suite
from bioqa.rerank.decision import Decision
from bioqa.types import Question

if TYPE_CHECKING:
    from bioqa.index import Index

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
    decision: Decision

    def run(self, *, optimistic: bool = False) -> RunScores:
        """Its run, in the order of the scores; with the relevant passages that the first stage missed where ``optimistic``."""
        return {id: self._ranked(one, optimistic) for id, one in self.reranked.items()}

    def _ranked(self, one: Reranked, optimistic: bool) -> dict[str, float]:
        scores = {id: logit + self.weight * bm25 for id, bm25, logit in one.passages}
        if optimistic:
            least = min((bm25 for _, bm25, _ in one.passages), default=0.0)
            scores |= {id: logit + self.weight * least for id, logit in self.gold[one.id].missed}
        return {id: round(scores[id], 6) for id in sorted(scores, key=lambda id: -scores[id])}

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
        calibration = self.decision.calibration
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
        with _open_index(path, suite.first_stages[0]) as index:
            passages = len(index)
            absent = sum(index.get(id) is None for of in relevant_of(collection).values() for id in of)
        first, reranked = {}, {}
        for spec in suite.first_stages:
            with _open_index(path, spec) as index:
                stage = _Stage(suite, collection, work, index, folder, asked, judged)
                first[spec.name] = stage.first(spec)
                for reranker in suite.rerankers:
                    reranked[spec.name, reranker.name] = stage.rerank(spec, reranker)
    return CollectionRuns(collection, path, passages, absent, first, reranked)


def _limited(collection: Collection, count: int) -> Collection:
    """The collection with its first questions only."""
    questions = collection.questions[:count]
    return replace(collection, questions=questions, qrels={one.id: collection.qrels[one.id] for one in questions})


def _collection_key(collection: Collection) -> str:
    from bioqa import __version__

    if collection.index is not None:
        from bioqa.index import Index

        with Index(collection.index) as index:
            info = index.info()
        return fingerprint(info.documents, info.created, [entry.md5 for entry in info.sources])
    parts = [digest(path) for path in collection.inputs]
    return fingerprint(__version__, collection.definition if collection.passages else "", parts)


def _index(collection: Collection, folder: Path, work: Work) -> Path:
    """The index of the collection, built where it is not there yet."""
    from bioqa.index import Index, build_index

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
    from bioqa.evaluate.runs import open_output

    assert collection.passages is not None
    with open_output(path) as file:
        for one in collection.passages():
            record = {"id": one.id, "title": one.title, "text": one.default_text()}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def check_first_stage(spec: FirstStageSpec) -> None:
    """Raise UsageError for what no index could be searched with."""
    from bioqa.index.query import QueryBuilder
    from bioqa.index.reader import check_bm25

    try:
        check_bm25(spec.k1, spec.b)
        QueryBuilder(title_weight=spec.title_weight, rm3=spec.rm3)
    except UsageError as problem:
        raise UsageError(f"First stage {spec.name}: {problem}") from None


def _open_index(path: Path, spec: FirstStageSpec) -> "Index":
    from bioqa.index import Index

    return Index(path, k1=spec.k1, b=spec.b, title_weight=spec.title_weight, rm3=spec.rm3)


@dataclass
class _Stage:
    """Runs of one first stage, and of rerankers on it, each from its journal where that has them."""

    suite: Suite
    collection: Collection
    work: Work
    index: "Index"
    folder: Path
    asked: str
    judged: str

    def first(self, spec: FirstStageSpec) -> FirstStageRun:
        journal = Journal(self.folder / f"first-{self._first_key(spec)}.jsonl", Found)
        missing = self._missing(journal)
        if missing:
            label = f"{self.collection.name}: {spec.name}"
            header = {"environment": environment(), "settings": asdict(spec)}
            with self.work.bar(label, len(missing)) as advance:
                journal.extend(header, _counted(find(self.index, missing, spec.depth), advance))
        return FirstStageRun(spec, self._asked(journal), _made(journal))

    def rerank(self, first: FirstStageSpec, spec: RerankerSpec) -> RerankRun:
        model = SuiteReranker(spec)
        key = fingerprint(self._first_key(first), spec.depth, model.key)
        journal = Journal(self.folder / f"rerank-{key}.jsonl", Reranked)
        gold_key = fingerprint(key, self.judged, self.suite.negatives)
        gold = Journal(self.folder / f"gold-{gold_key}.jsonl", GoldScores)
        label = f"{self.collection.name}: {first.name} + {spec.name}"
        if missing := self._missing(journal):
            header = {"environment": environment(), "settings": asdict(spec), "reranker": model.facts()}
            with self.work.bar(label, len(missing)) as advance:
                made = rerank(self.index, model.loaded, missing, first.depth, spec.depth)
                journal.extend(header, _counted(made, advance))
        wanted = self.suite.classification or self.work.optimistic
        if wanted and (missing := self._missing(gold)):
            relevant, count = relevant_of(self.collection), self.suite.negatives
            with self.work.bar(f"{label}, missed gold", len(missing)) as advance:
                scored = score_gold(
                    self.index, model.loaded, missing, relevant=relevant, reranked=journal.records, negatives=count
                )
                gold.extend({"environment": environment(), "negatives": count}, _counted(scored, advance))
        assert journal.header is not None
        return RerankRun(
            key=key,
            reranked=self._asked(journal),
            gold=self._asked(gold) if wanted else {},
            made=_made(journal),
            setting=journal.header["reranker"],
            weight=model.bm25_weight,
            decision=model.decision,
        )

    def _first_key(self, spec: FirstStageSpec) -> str:
        return fingerprint(asdict(replace(spec, name="")), self.asked, _machine())

    def _missing(self, journal: Journal[Any]) -> list[Question]:
        return [one for one in self.collection.questions if one.id not in journal.records]

    def _asked(self, journal: Journal[Any]) -> dict[str, Any]:
        return {one.id: journal.records[one.id] for one in self.collection.questions}


def _made(journal: Journal[Any]) -> str:
    assert journal.header is not None
    return str(journal.header["environment"]["date"])


def _counted(records: Iterator[Any], advance: Callable[[], object]) -> Iterator[Any]:
    for record in records:
        yield record
        advance()


def _machine() -> list[Any]:
    """What a time depends on beside the settings."""
    from bioqa import __version__

    return [__version__, processor(), os.cpu_count()]
