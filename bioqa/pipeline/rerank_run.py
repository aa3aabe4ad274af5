"""A TREC run to rerank: what of it is reranked, and a checkpoint that lets an interrupted run resume."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bioqa.errors import OutputError, QuestionError, UsageError
from bioqa.io.checkpoint import Checkpoint
from bioqa.io.output import is_stream, open_output
from bioqa.io.trec import column, iter_run, run_lines
from bioqa.pipeline.answer import Coverage, Ranked
from bioqa.pipeline.options import PipelineOptions
from bioqa.types import Question

if TYPE_CHECKING:
    from bioqa.rerank.reranker import Reranker


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What of a run is to be reranked.

    ``questions`` holds the text of each question in the run, by the id that it has there. ``pairs`` candidates are within the
    first ``depth`` of their question, and ``beyond`` behind them. ``unasked`` questions of the file are not in the run. ``digest``
    tells one set of candidates, their scores and questions from another.
    """

    run: Path
    depth: int
    questions: Mapping[str, str]
    pairs: int
    beyond: int
    unasked: int
    digest: str


def plan_run(run: str | Path, questions: Sequence[Question], depth: int = 100) -> RunPlan:
    """Read a run through, so that whatever is wrong with it is known before anything is scored.

    Raises:
        QuestionError: the run cannot be read, a line of it is malformed, the lines of a question are not adjacent, or a question
            of it is not among ``questions``.
        UsageError: ``depth`` is less than 1.
    """
    if depth < 1:
        raise UsageError(f"The rerank depth must be 1 or more, not {depth}.")
    known = {column(question.id.strip()): question.body for question in questions}  # as run files write ids
    asked: dict[str, str] = {}
    pairs = beyond = 0
    digest = sha256()
    for id, results in iter_run(run):
        if id not in known:
            raise QuestionError(f"{run}: question {id} is not among the questions given. Name the file with its text.")
        asked[id] = known[id]
        pairs += len(results[:depth])
        beyond += len(results[depth:])
        digest.update(json.dumps([id, known[id], results]).encode())
    return RunPlan(Path(run), depth, asked, pairs, beyond, len(known) - len(asked), digest.hexdigest())


def question_groups(
    plan: RunPlan, size: int, done: Collection[str]
) -> Iterator[list[tuple[str, list[tuple[str, float]]]]]:
    """Some questions at a time with all their (docid, score) candidates: ``size`` to rerank or a little more."""
    group: list[tuple[str, list[tuple[str, float]]]] = []
    for id, results in iter_run(plan.run):
        if id in done:
            continue
        group.append((id, results))
        if sum(len(candidates[: plan.depth]) for _, candidates in group) >= size:
            yield group
            group = []
    if group:
        yield group


@dataclass(slots=True)
class Totals:
    """What came of a run: candidates that are not in the corpus, questions left without any, and how much of the rest was read."""

    missing: int = 0
    empty: list[str] = field(default_factory=list)
    coverage: Coverage = field(default_factory=Coverage)


def run_settings(plan: RunPlan, corpus: Path, reranker: "Reranker", options: PipelineOptions) -> dict[str, Any]:
    """Whatever changes a reranked run, by name: what an interrupted run must share with the one that resumes it.

    Files are told apart by their sizes and times; the batch size and the number of GPUs change nothing.
    """
    return {
        "candidates": plan.digest,
        "rerank depth": plan.depth,
        "first-stage weight": options.first_stage_weight,
        "corpus": _stamp(corpus),
        "reranker": _stamp(reranker.folder),
        "device": reranker.device.partition(":")[0],
        "engine": reranker.engine,
        "maximum length": reranker.max_length,
        "aggregation": options.aggregation,
        "overlap": options.overlap,
    }


def _stamp(path: Path) -> str:
    """A digest of the names, sizes and times of a file, or of the files of a folder."""
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    stats = [(str(file.resolve()), file.stat()) for file in files if file.suffix != ".lock"]
    return sha256(json.dumps([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]).encode()).hexdigest()


class RerankCheckpoint:
    """The questions reranked so far, in a hidden file beside the output; the same command resumes from there after a kill.

    ``done`` are the ids of those that it holds, and ``changed`` the names of settings that differed in the file found, which was
    therefore started over. For standard output ("-"), a device or a pipe it is a temporary file.

    Raises:
        OutputError: it cannot be written, or another process writes the same output.
    """

    def __init__(self, out: str | Path, settings: Mapping[str, Any]) -> None:
        if Path(out).is_dir():
            raise OutputError(f"{out} cannot be written: it is a folder.")
        self._out = out
        self._file = Checkpoint(None if is_stream(out) else Path(out).parent / f".{Path(out).name}.rerank")
        self._file.lock()
        header = self._file.header
        self.changed: list[str] = []
        if header != settings:
            if header is not None:
                self.changed = [name for name, value in settings.items() if header.get(name) != value]
            self._file.start(settings)
        self.done = [str(record["question"]) for record in self._file]

    def add(self, one: Ranked) -> None:
        """Keep one question's results."""
        self._file.append(
            {
                "question": one.question.id,
                "results": one.results,
                "missing": one.missing,
                "coverage": asdict(one.coverage),
            }
        )

    def finish(self, tag: str) -> Totals:
        """Write the run, whole, from all that was kept, and remove the file.

        Raises:
            UsageError: not one of the candidates is in the corpus; no run is written.
        """
        totals = Totals()
        for record in self._file:
            totals.missing += record["missing"]
            totals.coverage += Coverage(**record["coverage"])
            if not record["results"]:
                totals.empty.append(record["question"])
        if totals.missing and not totals.coverage.scored:
            self._file.discard()
            raise UsageError(
                f"None of the {totals.missing:,} candidates is in the corpus. Name the index that the run was made from."
            )
        with open_output(self._out) as out:
            for record in self._file:
                out.writelines(run_lines(record["question"], record["results"], tag))
        self._file.discard()
        return totals

    def __enter__(self) -> "RerankCheckpoint":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; it stays for the next time unless the run was finished."""
        self._file.close()
