"""All measures of a run: those of ``ranking``, and BioASQ's mean average precision."""

from collections.abc import Mapping, Sequence

from bioqa.bioasq.official_measures import LIMIT, score_phase_a
from bioqa.bioasq.phase_a_file import PhaseAAnswer
from bioqa.errors import UsageError
from bioqa.evaluate import ranking
from bioqa.io.trec import Qrels, RunScores

BIOASQ_MAP = "bioasq-map@10"
"""BioASQ's average precision of documents since edition 8: the first 10 results, over min(relevant, 10)."""

COMPILING = "Compiling the measures (once per installation, about half a minute) …"


def check_measures(names: Sequence[str]) -> None:
    """Raise UsageError for a name that is not a measure."""
    for name in names:
        if _is_bioasq(name):
            continue
        if name.lower().startswith("bioasq"):
            raise UsageError(f"Unknown measure {name!r}. BioASQ's measure is {BIOASQ_MAP}.")
        ranking.parse_measure(name)


def measure_runs(qrels: Qrels, run: RunScores, measures: Sequence[str]) -> dict[str, dict[str, float]]:
    """Measure → question id → value as in ``ranking.evaluate_run``, for every question in the qrels.

    Raises:
        UsageError: an unknown measure.
        QuestionError: as for ``ranking.evaluate_run``.
    """
    check_measures(measures)
    found = ranking.evaluate_run(qrels, run, [name for name in measures if not _is_bioasq(name)])
    return {name: _bioasq(qrels, run) if _is_bioasq(name) else found[name] for name in measures}


def _is_bioasq(name: str) -> bool:
    return name.strip().lower() == BIOASQ_MAP


def _bioasq(qrels: Qrels, run: RunScores) -> dict[str, float]:
    """The official evaluator's average precision of each question; it looks at the order of a list, not at scores."""
    gold = [
        PhaseAAnswer(id, tuple(name for name, grade in grades.items() if grade > 0)) for id, grades in qrels.items()
    ]
    system = [PhaseAAnswer(id, _first(run.get(id, {}))) for id in qrels]
    scores = score_phase_a(gold, system).questions
    return {one.id: one.documents.average_precision for one in scores}


def _first(scores: Mapping[str, float]) -> tuple[str, ...]:
    return tuple(sorted(scores, key=lambda name: -scores[name])[:LIMIT])
