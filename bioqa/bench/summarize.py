"""Runs on a collection → measures, significance, cost, classification and examples."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from bioqa.bench.results import (
    BaselineComparison,
    CollectionResult,
    Example,
    LabelledScores,
    Latency,
    PairClassification,
    RerankCost,
    ShownPassage,
    SystemDetails,
    SystemResult,
)
from bioqa.bench.run_collection import CollectionRuns, RerankRun
from bioqa.bench.suite import Suite, System
from bioqa.evaluate.classification import classification_measures, published_measures
from bioqa.evaluate.measures import measure_runs
from bioqa.evaluate.ranking import mean, means
from bioqa.evaluate.significance import correct_p_values, paired_test
from bioqa.io.trec import RunScores
from bioqa.types import Article

SystemValues = dict[str, dict[str, dict[str, float]]]
"""System → measure → question id → value."""
PASSAGES_SHOWN = 5
"""Passages of each system in an example."""
CHARACTERS_SHOWN = 280


def run_of(runs: CollectionRuns, system: System) -> RunScores:
    """The run of a system."""
    return runs.first[system.first_stage.name].run() if system.reranker is None else rerank_run_of(runs, system).run()


def rerank_run_of(runs: CollectionRuns, system: System) -> RerankRun:
    """The run of a system's reranker with its records."""
    assert system.reranker is not None
    return runs.reranked[system.first_stage.name, system.reranker.name]


def summarize(suite: Suite, runs: CollectionRuns, *, optimistic: bool = False) -> tuple[CollectionResult, SystemValues]:
    """The results of all systems on a collection, and the measures question by question."""
    qrels = runs.collection.qrels
    values = {one.name: measure_runs(qrels, run_of(runs, one), suite.measures) for one in suite.systems}
    comparisons = _comparisons(suite, values)
    systems = [
        _system(suite, runs, one, values[one.name], comparisons.get(one.name, {}), optimistic=optimistic)
        for one in suite.systems
    ]
    collection = runs.collection
    result = CollectionResult(
        name=collection.name,
        definition=collection.definition,
        passages=runs.passages,
        questions=len(collection.questions),
        relevant=sum(len(of) for of in runs.relevant.values()),
        absent=runs.absent,
        qrels=f"qrels/{collection.name}.txt",
        systems=systems,
    )
    return result, values


def _comparisons(suite: Suite, values: SystemValues) -> dict[str, dict[str, BaselineComparison]]:
    """Each system compared with the baseline in each measure, corrected for all these tests."""
    base = values[suite.baseline]
    pairs = [(name, measure) for name in values if name != suite.baseline for measure in suite.measures]
    if not pairs or len(next(iter(base.values()))) < 2:
        return {}
    p_values = [paired_test(base[measure], values[name][measure]) for name, measure in pairs]
    corrected = p_values if suite.correction == "none" else correct_p_values(p_values, suite.correction)
    found: dict[str, dict[str, BaselineComparison]] = {}
    for (name, measure), p, q in zip(pairs, p_values, corrected, strict=True):
        difference = mean(measure, values[name][measure].values()) - mean(measure, base[measure].values())
        found.setdefault(name, {})[measure] = BaselineComparison(round(difference, 6), float(p), float(q))
    return found


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in values.items()}


def _system(
    suite: Suite,
    runs: CollectionRuns,
    system: System,
    values: Mapping[str, Mapping[str, float]],
    comparisons: dict[str, BaselineComparison],
    *,
    optimistic: bool,
) -> SystemResult:
    first = runs.first[system.first_stage.name]
    latency = Latency.of([one.seconds for one in first.records.values()])
    name = f"runs/{runs.collection.name}/{system.file_name}.run"
    if system.reranker is None:
        return SystemResult(system.name, name, _rounded(means(values)), comparisons, latency)
    scored = rerank_run_of(runs, system)
    added = None
    if optimistic:
        added = means(measure_runs(runs.collection.qrels, scored.run(optimistic=True), suite.measures))
    return SystemResult(
        name=system.name,
        run=name,
        measures=_rounded(means(values)),
        comparisons=comparisons,
        first_stage=latency,
        rerank=_cost(scored),
        first_stage_weight=scored.first_stage_weight,
        classification=_classification(scored, runs.relevant)
        if suite.classification and _is_first(runs, scored)
        else None,
        optimistic=_rounded(added) if added is not None else None,
    )


def _cost(scored: RerankRun) -> RerankCost:
    records = list(scored.records.values())
    seconds = sum(one.seconds for one in records)
    candidates, texts = sum(len(one.passages) for one in records), sum(one.texts for one in records)
    return RerankCost(
        latency=Latency.of([one.seconds for one in records]),
        candidates=candidates,
        texts=texts,
        cut=sum(one.cut for one in records),
        candidates_per_second=round(candidates / seconds, 1) if seconds else 0.0,
        texts_per_second=round(texts / seconds, 1) if seconds else 0.0,
        made=scored.made,
        setting=scored.facts,
    )


def _is_first(runs: CollectionRuns, scored: RerankRun) -> bool:
    """Whether no earlier system has the same logits; systems that differ only in the first-stage weight classify the same."""
    return next(one for one in runs.reranked.values() if one.key == scored.key) is scored


def _pairs(scored: RerankRun, relevant: Mapping[str, set[str]]) -> tuple[LabelledScores, float, str]:
    """The pairs to classify, the threshold and its origin; probability 0.5 if the model has no threshold."""
    pairs, threshold = scored.pairs(relevant), scored.settings.threshold
    if threshold is not None:
        return pairs, threshold, "from the model"
    return replace(pairs, scores=pairs.probabilities), 0.5, "the model has none"


def _classification(scored: RerankRun, relevant: Mapping[str, set[str]]) -> PairClassification | None:
    """Gold passages against hard negatives; None if one of the two is missing."""
    pairs, threshold, origin = _pairs(scored, relevant)
    positives = int(pairs.labels.sum())
    if not 0 < positives < len(pairs.labels):
        return None
    return PairClassification(
        positives=positives,
        negatives=len(pairs.labels) - positives,
        threshold=threshold,
        origin=origin,
        calibration=scored.settings.calibration.method,
        frozen=asdict(
            classification_measures(pairs.labels, pairs.scores, threshold, probabilities=pairs.probabilities)
        ),
        published=published_measures(pairs.labels, pairs.scores)._asdict(),
    )


def system_details(
    suite: Suite, runs: CollectionRuns, values: SystemValues, articles: Callable[[Iterable[str]], dict[str, Article]]
) -> dict[str, SystemDetails]:
    """The details of each system; ``articles`` looks up articles by id."""
    measure = suite.measures[0]
    base = values[suite.baseline][measure]
    baseline = next(one for one in suite.systems if one.name == suite.baseline)
    found = {}
    for system in suite.systems:
        own = values[system.name][measure]
        differences = {id: own[id] - base[id] for id in base}
        order = sorted((id for id in base if abs(differences[id]) > 1e-9), key=lambda id: differences[id])
        worst = [id for id in order if differences[id] < 0][: suite.examples]
        best = [id for id in reversed(order) if differences[id] > 0][: suite.examples]
        example = _Examples(runs, (run_of(runs, baseline), run_of(runs, system)), (base, own), articles)
        scored = rerank_run_of(runs, system) if system.reranker is not None else None
        if scored is not None and not _is_first(runs, scored):
            scored = None
        found[system.name] = SystemDetails(
            differences=list(differences.values()) if system.name != suite.baseline else [],
            candidates=scored.candidates(runs.relevant) if scored else None,
            pairs=_pairs(scored, runs.relevant)[0] if scored and suite.classification else None,
            best=example.make(best),
            worst=example.make(worst),
        )
    return found


@dataclass(frozen=True, slots=True)
class _Examples:
    """Makes examples from the runs of the baseline and of a system, and both systems' values of a measure."""

    collection: CollectionRuns
    runs: tuple[RunScores, RunScores]
    values: tuple[Mapping[str, float], Mapping[str, float]]
    articles: Callable[[Iterable[str]], dict[str, Article]]

    def make(self, ids: Sequence[str]) -> list[Example]:
        """An example for each of these questions."""
        return [self._example(id) for id in ids]

    def _example(self, id: str) -> Example:
        first = [list(run[id])[:PASSAGES_SHOWN] for run in self.runs]
        known = self.articles({name for names in first for name in names})
        relevant = self.collection.relevant[id]
        shown = [[_passage(known[name], name in relevant) for name in names] for names in first]
        return Example(
            question=next(one.body for one in self.collection.collection.questions if one.id == id),
            baseline=self.values[0][id],
            system=self.values[1][id],
            relevant=len(relevant),
            baseline_passages=shown[0],
            system_passages=shown[1],
        )


def _passage(article: Article, gold: bool) -> ShownPassage:
    text = replace(article, title="").default_text().replace("\n", " ")
    if len(text) > CHARACTERS_SHOWN:
        text = text[:CHARACTERS_SHOWN].rsplit(" ", 1)[0] + " …"
    return ShownPassage(article.id, article.title, text, gold)
