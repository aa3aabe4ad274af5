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
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioqa.corpus.lock import locked
from bioqa.errors import IndexStateError, UsageError
from bioqa.evaluate.collection import Collection, digest, fingerprint
from bioqa.evaluate.environment import environment, processor
from bioqa.evaluate.journal import Journal
from bioqa.evaluate.runs import RunScores
from bioqa.evaluate.stages import Found, GoldScores, Reranked, find, rerank, score_gold
from bioqa.evaluate.suite import FirstStageSpec, RerankerSpec, Suite
from bioqa.types import Question

if TYPE_CHECKING:
    from bioqa.index import Index
    from bioqa.rerank import Reranker

MODEL_FILES = (".json", ".safetensors", ".txt", ".model")
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

    ``weight`` is that of BM25 in the score; ``threshold`` the model's own for a probability, None where its folder has none;
    ``setting`` what it ran on.
    """

    spec: RerankerSpec
    reranked: dict[str, Reranked]
    gold: dict[str, GoldScores]
    made: str
    setting: dict[str, Any]
    weight: float
    threshold: float | None

    def run(self, *, optimistic: bool = False) -> RunScores:
        """Its run, in the order of the scores; with the relevant passages that the first stage missed where ``optimistic``."""
        return {id: self._ranked(one, optimistic) for id, one in self.reranked.items()}

    def _ranked(self, one: Reranked, optimistic: bool) -> dict[str, float]:
        scores = {id: logit + self.weight * bm25 for id, bm25, logit, _ in one.passages}
        if optimistic:
            least = min((bm25 for _, bm25, _, _ in one.passages), default=0.0)
            scores |= {id: logit + self.weight * least for id, logit, _ in self.gold[one.id].missed}
        return {id: round(scores[id], 6) for id in sorted(scores, key=lambda id: -scores[id])}

    def candidates(self, relevant: Mapping[str, set[str]]) -> list[tuple[int, float]]:
        """(label, probability) of each candidate."""
        return [
            (int(id in relevant[one.id]), probability)
            for one in self.reranked.values()
            for id, _, _, probability in one.passages
        ]

    def pairs(self, relevant: Mapping[str, set[str]]) -> list[tuple[int, float]]:
        """(label, probability) of each relevant passage that the collection holds, and of the hard negatives."""
        pairs = []
        for one in self.reranked.values():
            gold, chosen = self.gold[one.id], set(self.gold[one.id].negatives)
            pairs += [(1, probability) for _, _, probability in gold.missed]
            pairs += [(1, p) for id, _, _, p in one.passages if id in relevant[one.id]]
            pairs += [(0, p) for id, _, _, p in one.passages if id in chosen]
        return pairs


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
        first, reranked, passages, absent = {}, {}, 0, 0
        for spec in suite.first_stages:
            with _open_index(path, spec) as index:
                passages = len(index)
                absent = sum(index.get(id) is None for of in relevant_of(collection).values() for id in of)
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
        model = _Model(spec)
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
            spec=spec,
            reranked=self._asked(journal),
            gold=self._asked(gold) if wanted else {},
            made=_made(journal),
            setting=journal.header["reranker"],
            weight=model.bm25_weight,
            threshold=model.threshold,
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


class _Model:
    """A reranker of the suite, loaded when it is needed."""

    def __init__(self, spec: RerankerSpec) -> None:
        from bioqa.rerank.locate import locate

        self.spec = spec
        self.name, self.folder = locate(spec.model or spec.name)
        self.own = _own_settings(self.folder)

    @cached_property
    def loaded(self) -> "Reranker":
        """The reranker itself."""
        from bioqa.rerank import Reranker

        return Reranker(self.spec.model or self.spec.name, **self.spec.options())

    @cached_property
    def key(self) -> str:
        """A fingerprint of the model's content, its options, the libraries that run it and the device."""
        from importlib import metadata

        from bioqa.rerank.device import resolve_device

        files = sorted(file for file in self.folder.iterdir() if file.suffix in MODEL_FILES)
        content = [[file.name, digest(file)] for file in files]
        libraries = [metadata.version(name) for name in ("torch", "transformers", "tokenizers")]
        return fingerprint(content, self.spec.options(), resolve_device(self.spec.device), libraries)

    def facts(self) -> dict[str, Any]:
        """What it runs on, for the report."""
        engine = str(getattr(self.loaded, "engine", "exact"))
        return {
            "model": self.name,
            "device": self.loaded.device,
            "engine": engine,
            "dtype": "int8" if "int8" in engine else str(getattr(self.loaded, "dtype", "float32")),
            "batch_size": self.loaded.batch_size,
            "max_length": self.loaded.max_length,
        }

    @property
    def bm25_weight(self) -> float:
        """The suite's weight of BM25, else that of the model folder, else 0."""
        return float(self.own.get("bm25_weight", 0.0)) if self.spec.bm25_weight is None else self.spec.bm25_weight

    @property
    def threshold(self) -> float | None:
        """The threshold of a probability that the model folder carries."""
        return float(self.own["threshold"]) if "threshold" in self.own else None


def _own_settings(folder: Path) -> dict[str, Any]:
    """What the folder's bioqa.json says; nothing where there is none."""
    path = folder / "bioqa.json"
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise UsageError(f"{path} cannot be read as JSON: {problem}.") from problem
    return content if isinstance(content, dict) else {}
