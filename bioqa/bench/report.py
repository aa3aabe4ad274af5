"""A suite's results as one self-contained HTML page: no external scripts, fonts or images."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from bioqa.bench import charts
from bioqa.bench.results import CollectionResult, SuiteResult, SystemDetails, SystemResult, flatten
from bioqa.evaluate.significance import format_p_value

CLASSIFICATION_HEADS = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "average_precision": "average precision",
    "roc_auc": "ROC-AUC",
    "mcc": "MCC",
    "calibration_error": "calibration error",
}


class Chart(NamedTuple):
    """A chart on the page: its data URI and its caption."""

    uri: str
    caption: str


def render_report(result: SuiteResult, details: Mapping[str, Mapping[str, SystemDetails]]) -> str:
    """The page; ``details`` by the names of collection and system."""
    environment = Environment(
        loader=PackageLoader("bioqa.bench", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "count": lambda number: f"{number:,}",
        "figure": lambda value: f"{value:.4f}" if isinstance(value, int | float) else "–",
        "p_value": format_p_value,
        "settings": _settings_text,
        "signed": lambda difference: f"{difference:+.4f}".replace("-", "−"),
        "utc": lambda moment: f"{moment[:16].replace('T', ' ')} UTC",
    }
    collections = [
        {
            "result": one,
            "best": {name: max(system.measures[name] for system in one.systems) for name in one.systems[0].measures},
            "charts": list(_charts(result, one, details[one.name])),
            "details": details[one.name],
        }
        for one in result.collections
    ]
    return environment.get_template("report.html.jinja").render(
        result=result,
        collections=collections,
        measures=list(result.collections[0].systems[0].measures),
        heads=CLASSIFICATION_HEADS,
    )


def _settings_text(values: Mapping[str, Any]) -> str:
    """Nested settings as lines "name = value", without empty ones."""
    shown = ((name, value) for name, value in flatten(values) if value not in (None, "", [], ()))
    return "\n".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in shown)


def _charts(result: SuiteResult, collection: CollectionResult, details: Mapping[str, SystemDetails]) -> Iterator[Chart]:
    measure = next(iter(collection.systems[0].measures))
    for system in collection.systems:
        yield from _system_charts(result.baseline, measure, system, details[system.name])


def _system_charts(baseline: str, measure: str, system: SystemResult, own: SystemDetails) -> Iterator[Chart]:
    if own.differences:
        better = sum(value > 1e-9 for value in own.differences)
        worse = sum(value < -1e-9 for value in own.differences)
        equal = len(own.differences) - better - worse
        caption = f"{system.name} against {baseline}: {better:,} questions better, {worse:,} worse, {equal:,} equal."
        yield Chart(charts.difference_chart(own.differences, measure), caption)
    if own.candidates is not None:
        caption = f"{system.name}: probabilities of the reranked candidates, relevant or not."
        yield Chart(charts.probability_chart(own.candidates), caption)
    if system.classification is not None and own.pairs is not None:
        caption = f"{system.name}: precision and recall of the pairs in the table."
        yield Chart(charts.precision_recall_chart(own.pairs, system.classification.threshold), caption)
        caption = f"{system.name}: reliability on the pairs in the table."
        yield Chart(charts.reliability_chart(own.pairs), caption)
