"""Reranking a TREC run: the plan, and the checkpoint from which an interrupted run resumes."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bioqa.errors import OutputError, QuestionError, UsageError
from bioqa.io.checkpoint import Checkpoint, stamp
from bioqa.io.output import is_stream, open_output
from bioqa.io.trec import iter_run, run_lines
from bioqa.pipeline.answer import Coverage, Ranked
from bioqa.pipeline.options import PipelineOptions, check_rerank_depth
from bioqa.types import Question

if TYPE_CHECKING:
    from bioqa.rerank.reranker import Reranker


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What to rerank of a run.

    ``questions`` maps each question id in the run to its text. Of each question the first ``depth`` candidates are reranked,
    ``pairs`` in all; ``not_reranked`` candidates follow them. ``without_results`` is the number of given questions that are not in
    the run. ``digest`` identifies the candidates, their scores and the questions.
    """

    run: Path
    depth: int
    questions: Mapping[str, str]
    pairs: int
    not_reranked: int
    without_results: int
    digest: str


def plan_run(run: str | Path, questions: Sequence[Question], depth: int = 100) -> RunPlan:
    """Read and check a whole run before anything is scored.

    Raises:
        QuestionError: the run cannot be read, a line is malformed, the lines of a question are not adjacent, or a question is not
            among ``questions``.
        UsageError: ``depth`` is less than 1.
    """
    check_rerank_depth(depth)
    known = {question.id.strip(): question.body for question in questions}
    asked: dict[str, str] = {}
    pairs = not_reranked = 0
    digest = sha256()
    for id, results in iter_run(run):
        if id not in known:
            raise QuestionError(f"{run}: question {id} is not in the question file.")
        asked[id] = known[id]
        pairs += len(results[:depth])
        not_reranked += len(results[depth:])
        digest.update(json.dumps([id, known[id], results]).encode())
    return RunPlan(Path(run), depth, asked, pairs, not_reranked, len(known) - len(asked), digest.hexdigest())


def question_groups(
    plan: RunPlan, size: int, done: Collection[str]
) -> Iterator[list[tuple[str, list[tuple[str, float]]]]]:
    """Groups of (question id, its (docid, score) candidates), each with ``size`` candidates to rerank or slightly more."""
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
class RerankReport:
    """The number of candidates missing from the corpus, the ids of questions left without candidates, and how much was read."""

    missing: int = 0
    empty: list[str] = field(default_factory=list)
    coverage: Coverage = field(default_factory=Coverage)


def run_settings(plan: RunPlan, corpus: Path, reranker: "Reranker", options: PipelineOptions) -> dict[str, Any]:
    """The settings that change a reranked run, by name; an interrupted run resumes only if they are the same.

    Files are identified by name, size and modification time. The batch size and the number of GPUs do not matter.
    """
    return {
        "candidates": plan.digest,
        "rerank depth": plan.depth,
        "first-stage weight": options.first_stage_weight,
        "corpus": stamp(corpus),
        "reranker": stamp(reranker.folder),
        "device": reranker.device.partition(":")[0],
        "engine": reranker.engine,
        "maximum length": reranker.max_length,
        "aggregation": options.aggregation,
        "overlap": options.overlap,
    }


class RerankCheckpoint:
    """The questions reranked so far, in a hidden file beside the output, from which the same command resumes after a kill.

    ``done`` are the ids of these questions. ``changed`` names the settings that differ from those of an earlier, unfinished run,
    whose results were dropped. For standard output ("-"), a device or a pipe the file is a temporary one.

    Raises:
        OutputError: the file cannot be written, or another process is writing the same output.
    """

    def __init__(self, out: str | Path, settings: Mapping[str, Any]) -> None:
        self._out = out
        self._file = Checkpoint(_checkpoint_path(out))
        self.changed = self._file.resume(settings)
        self.done = {str(record["question"]) for record in self._file}

    def add(self, one: Ranked) -> None:
        """Add the results of one question."""
        self._file.append(
            {
                "question": one.question.id,
                "results": one.results,
                "missing": one.missing,
                "coverage": asdict(one.coverage),
            }
        )

    def finish(self, tag: str) -> RerankReport:
        """Write the run, and remove the checkpoint.

        Raises:
            UsageError: none of the candidates is in the corpus; no run is written.
            OutputError: the run cannot be written.
        """
        report = RerankReport()
        for record in self._file:
            report.missing += record["missing"]
            report.coverage += Coverage(**record["coverage"])
            if not record["results"]:
                report.empty.append(record["question"])
        if report.missing and not report.coverage.scored:
            self._file.discard()
            raise UsageError(
                f"None of the {report.missing:,} candidates is in the corpus. Name the index that the run was made from."
            )
        with open_output(self._out) as out:
            for record in self._file:
                out.writelines(run_lines(record["question"], record["results"], tag))
        self._file.discard()
        return report

    def __enter__(self) -> "RerankCheckpoint":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; unless the run was finished, it is kept."""
        self._file.close()


def _checkpoint_path(out: str | Path) -> Path | None:
    if is_stream(out):
        return None
    out = Path(out)
    if out.is_dir():
        raise OutputError(f"{out} cannot be written: it is a folder.")
    if not out.parent.is_dir():
        raise OutputError(f"{out} cannot be written: there is no folder {out.parent}.")
    return out.parent / f".{out.name}.rerank"
