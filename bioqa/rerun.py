"""Rerank a TREC run: the candidates of any first stage, scored by a cross-encoder, in a way that survives being killed."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from bioqa.corpus.lock import try_lock, writing
from bioqa.errors import OutputError, QuestionError, UsageError
from bioqa.evaluate.journal import parse_line
from bioqa.evaluate.runs import iter_run, open_output, run_lines
from bioqa.outputs import is_stream
from bioqa.rerank.long import Coverage, check_lengths, check_long
from bioqa.types import Article, Question

if TYPE_CHECKING:
    from bioqa.rerank import Reranker

Lookup = Callable[[Sequence[str]], Sequence[Article | None]]
"""Ids to articles, None for those that there are not; ``Index.get_many`` is one."""

_Candidates = tuple[str, list[tuple[str, float]]]
"""A question's id with the (docid, score) of its candidates."""

GROUP = 8
"""Batches of candidates that are scored together, so that those of several questions fill them; what a kill can lose."""

PACKED = 10
"""Times as many pairs are in a batch of the engine gpu, which is measured in tokens."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What of a run is to be reranked.

    ``questions`` holds the text of each question in the run, by the id that it has there. ``pairs`` candidates stand within the
    first ``depth`` of their question, and ``beyond`` are left out after them. ``unasked`` questions of the file are not in the
    run. They are ranked by logit + ``bm25_weight`` × the score in the run. ``digest`` tells one set of candidates, their scores and
    questions from another.
    """

    run: Path
    depth: int
    bm25_weight: float
    questions: Mapping[str, str]
    pairs: int
    beyond: int
    unasked: int
    digest: str


@dataclass(frozen=True, slots=True)
class Reranked:
    """One question's (docid, score) results, best first; how many candidates are not in the corpus; what was read of the others.

    The score is the logit plus what the plan adds of the run's score.
    """

    question: str
    results: list[tuple[str, float]]
    missing: int
    coverage: Coverage


@dataclass(slots=True)
class Totals:
    """What came of a run: candidates that are not in the corpus, questions that have no others, and what was read of the rest."""

    missing: int = 0
    empty: list[str] = field(default_factory=list)
    coverage: Coverage = field(default_factory=Coverage)

    def add(self, one: Reranked) -> None:
        """Count another question."""
        self.missing += one.missing
        self.coverage += one.coverage
        if not one.results:
            self.empty.append(one.question)


def plan_run(run: str | Path, questions: Sequence[Question], depth: int = 100, bm25_weight: float = 0.0) -> Plan:
    """Read a run through, so that whatever is wrong with it is known before anything is scored.

    Candidates will be ranked by logit + ``bm25_weight`` × their score in the run, as ``SearchEngine`` ranks them where the run's
    scores are BM25's.

    Raises:
        QuestionError: the run cannot be read, a line of it is malformed, the lines of a question do not stand together, or a
            question of it is not among ``questions``.
        UsageError: ``depth`` is less than 1, or ``bm25_weight`` less than 0 or not finite.
    """
    if depth < 1:
        raise UsageError(f"The depth must be 1 or more, not {depth}.")
    if not 0 <= bm25_weight < float("inf"):
        raise UsageError(f"The weight of BM25 must be 0 or more, not {bm25_weight:g}.")
    known = {"_".join(question.id.split()): question.body for question in questions}  # as run files write ids
    asked: dict[str, str] = {}
    pairs = beyond = 0
    digest = sha256()
    for id, results in iter_run(run):
        if id not in known:
            raise QuestionError(f"{run}: question {id} is not among the questions given. Name the file with its text.")
        asked[id] = known[id]
        pairs += len(results[:depth])
        beyond += len(results[depth:])
        digest.update(json.dumps([id, known[id], results[:depth]]).encode())
    return Plan(Path(run), depth, bm25_weight, asked, pairs, beyond, len(known) - len(asked), digest.hexdigest())


def rerank_run(
    plan: Plan,
    lookup: Lookup,
    reranker: "Reranker",
    *,
    long: str = "max",
    overlap: int = 0,
    done: Collection[str] = (),
) -> Iterator[Reranked]:
    """Score each question's candidates, in the run's order but for those ``done`` before; equal scores keep the run's order.

    Candidates that ``lookup`` does not find are left out and counted. ``long`` and ``overlap`` are those of ``score_articles``.

    Raises:
        QuestionError: a question leaves too little room for articles; known before anything is scored.
        ModelError: the model fails.
        UsageError: ``long`` or ``overlap`` has no such value.
    """
    check_long(long, overlap)
    check_lengths(reranker, plan.questions.items())
    pairs = reranker.batch_size * (PACKED if reranker.engine == "gpu" else 1)
    for group in _groups(plan, GROUP * pairs, done):
        yield from _rerank(plan, group, lookup, reranker, long=long, overlap=overlap)


def _groups(plan: Plan, size: int, done: Collection[str]) -> Iterator[list[_Candidates]]:
    """Some questions at a time with their candidates: ``size`` of these or a little more."""
    group: list[_Candidates] = []
    for id, results in iter_run(plan.run):
        if id in done:
            continue
        group.append((id, results[: plan.depth]))
        if sum(len(candidates) for _, candidates in group) >= size:
            yield group
            group = []
    if group:
        yield group


def _rerank(
    plan: Plan, group: list[_Candidates], lookup: Lookup, reranker: "Reranker", **how: Any
) -> Iterator[Reranked]:
    """Score some questions' candidates together; ``how`` goes to ``score_questions``."""
    from bioqa.rerank.windows import score_questions

    found = iter(lookup([document for _, candidates in group for document, _ in candidates]))
    articles = [[(*candidate, next(found)) for candidate in candidates] for _, candidates in group]
    there = [[(id, score, article) for id, score, article in own if article is not None] for own in articles]
    asked = [(plan.questions[id], [article for *_, article in own]) for (id, _), own in zip(group, there, strict=True)]
    scored = score_questions(reranker, asked, **how)
    for (id, candidates), own, scores in zip(group, there, scored, strict=True):
        coverage = Coverage()
        coverage.add(scores)
        rows = [
            (document, logit + plan.bm25_weight * score)
            for (document, score, _), logit in zip(own, scores.logits.tolist(), strict=True)
        ]
        yield Reranked(id, sorted(rows, key=lambda row: -row[1]), len(candidates) - len(own), coverage)


def settings_of(plan: Plan, corpus: Path, reranker: "Reranker", long: str, overlap: int) -> dict[str, Any]:
    """Whatever changes a reranked run, by name: what a killed run must agree in with the one that goes on from it.

    Files are told apart by their sizes and times; the batch size and the number of GPUs change nothing.
    """
    return {
        "candidates": plan.digest,
        "weight of BM25": plan.bm25_weight,
        "corpus": _stamp(corpus),
        "reranker": _stamp(reranker.folder),
        "device": reranker.device.partition(":")[0],
        "engine": reranker.engine,
        "maximum length": reranker.max_length,
        "long": long,
        "overlap": overlap,
    }


def _stamp(path: Path) -> str:
    """A digest of the names, sizes and times of a file, or of the files of a folder."""
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    stats = [(str(file.resolve()), file.stat()) for file in files if file.suffix != ".lock"]
    return sha256(json.dumps([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]).encode()).hexdigest()


class Journal:
    """The questions done so far, in a hidden file beside the output; the same command goes on from there after a kill.

    ``done`` are the questions that it holds, and ``changed`` the names of settings that had another value in the file found, which
    was therefore begun anew. For standard output ("-"), a device or a pipe it is a temporary file.

    Raises:
        OutputError: it cannot be written, or another process writes the same output.
    """

    def __init__(self, out: str | Path, settings: Mapping[str, Any]) -> None:
        self._out = out
        self._path = None if is_stream(out) else Path(out).parent / f".{Path(out).name}.rerank"
        self.changed: list[str] = []
        self._file = self._open()
        self.done = [one.question for one in self._read(dict(settings))]

    def _open(self) -> IO[bytes]:
        if self._path is None:
            return TemporaryFile()
        if Path(self._out).is_dir():
            raise OutputError(f"{self._out} cannot be written: it is a folder.")
        with writing(Path(self._out)):
            file = self._path.open("a+b")
        if not try_lock(file):
            file.close()
            raise OutputError(
                f"Another process is reranking into {self._out}. Wait until it ends, or name another file."
            )
        return file

    def _read(self, settings: dict[str, Any]) -> list[Reranked]:
        """The questions in the file that were made with the same settings; what else is in it is cut off."""
        self._file.seek(0)
        found: list[Reranked] = []
        header = parse_line(self._file.readline())
        if header == settings:
            end = self._file.tell()
            for line in self._file:
                record = parse_line(line)
                if record is None:
                    break
                found.append(_reranked(record))
                end += len(line)
            self._file.truncate(end)
            return found
        if header is not None:
            self.changed = [name for name, value in settings.items() if header.get(name) != value]
        self._file.truncate(0)
        self._write(settings)
        return found

    def add(self, one: Reranked) -> None:
        """Keep one question's results."""
        self._write(asdict(one))

    def _write(self, record: dict[str, Any]) -> None:
        with writing(Path(self._out)):
            self._file.seek(0, 2)
            self._file.write(json.dumps(record).encode() + b"\n")
            self._file.flush()

    def finish(self, tag: str) -> Totals:
        """Write the run, whole, from all that was kept, and remove the file.

        Raises:
            UsageError: not one of the candidates is in the corpus; no run is written.
        """
        totals = Totals()
        for one in self:
            totals.add(one)
        if totals.missing and not totals.coverage.scored:
            self._remove()
            raise UsageError(
                f"None of the {totals.missing:,} candidates is in the corpus. Name the index that the run was made from."
            )
        with open_output(self._out) as out:
            for one in self:
                out.writelines(run_lines(one.question, one.results, tag))
        self._remove()
        return totals

    def __iter__(self) -> Iterator[Reranked]:
        """The questions kept, in the run's order."""
        self._file.seek(0)
        self._file.readline()
        for line in self._file:
            yield _reranked(json.loads(line))

    def _remove(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; it stays for the next time unless the run was finished."""
        self._file.close()


def _reranked(record: dict[str, Any]) -> Reranked:
    results = [(document, score) for document, score in record["results"]]
    return Reranked(record["question"], results, record["missing"], Coverage(**record["coverage"]))
