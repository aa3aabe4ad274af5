"""A suite's results as one HTML page that needs nothing beside it: no script, no font, no picture from elsewhere."""

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from bioqa.bench import charts
from bioqa.bench.results import (
    CollectionResult,
    Comparison,
    Details,
    Example,
    ShownPassage,
    SuiteResult,
    SystemResult,
)

NOTES = (
    "Only what the first stage retrieved is ranked and reranked. Relevant passages that it missed are never added; they lower "
    "every measure of a system, as they do for a person who searches. A reranked list holds the candidates that were reranked, "
    "no others.",
    "Questions without a relevant passage are left out; a question without results counts 0. Ties are broken as trec_eval breaks "
    "them. bioqa’s own run files and qrels beside this page give the same figures with `bioqa eval`.",
    "bioasq-map@10 is BioASQ’s mean average precision: the first 10 results, divided by 10 or by the relevant passages where these "
    "are fewer.",
    "Differences are from the baseline, p-values from a paired two-sided t-test over questions, corrected for all comparisons with "
    "the baseline on the collection.",
    "Latency is wall time for one question at a time; reranking includes reading the candidates’ texts, and excludes loading the "
    "model. Systems that differ by the weight of BM25 alone share scores and times.",
)
_HEADS = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "average_precision": "average precision",
    "roc_auc": "ROC-AUC",
    "mcc": "MCC",
    "calibration_error": "calibration error",
}


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The single values in nested dictionaries and lists, with dotted names; an entry of a list goes by its "name"."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
        for number, inner in enumerate(value, start=1):
            yield from flat(inner, f"{name}.{inner.get('name', number)}")
    else:
        yield name, value


def page(result: SuiteResult, details: Mapping[str, Mapping[str, Details]]) -> str:
    """The page; ``details`` by the names of collection and system."""
    machine = result.environment
    style = resources.files("bioqa.evaluate").joinpath("report.css").read_text(encoding="utf-8")
    limit = f" Only the first {result.questions:,} questions of each collection." if result.questions else ""
    links = "".join(f'<li><a href="#{escape(one.name)}">{escape(one.name)}</a></li>' for one in result.collections)
    body = [
        f"<h1>{escape(result.suite)}</h1>",
        f"<p>{escape(result.description)}{limit}</p>" if result.description or limit else "",
        f'<p class="small">Baseline: {escape(result.baseline)}. Made {_when(result.made)} with bioqa '
        f"{escape(str(machine['packages']['bioqa']))} on {escape(str(machine['processor']))}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB.</p>",
        f'<nav aria-label="Sections"><ul>{links}<li><a href="#reading">How to read this</a></li>'
        '<li><a href="#settings">Settings and environment</a></li></ul></nav>',
        _summary(result),
        *(_collection(result, one, details[one.name]) for one in result.collections),
        '<h2 id="reading">How to read this</h2><ul>',
        *(f"<li>{escape(note)}</li>" for note in NOTES),
        "</ul>",
        '<h2 id="settings">Settings and environment</h2>',
        f"<h3>Settings</h3><pre>{escape(_lines(result.settings))}</pre>",
        f"<h3>Environment</h3><pre>{escape(_lines(machine))}</pre>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(result.suite)}: benchmark</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _when(moment: str) -> str:
    """An ISO 8601 time in UTC as "2026-11-21 09:40 UTC"."""
    return escape(moment[:16].replace("T", " ") + " UTC")


def _summary(result: SuiteResult) -> str:
    """The first measure of every system on every collection, where there are several."""
    if len(result.collections) < 2:
        return ""
    names = [system.name for system in result.collections[0].systems]
    measure = next(iter(result.collections[0].systems[0].measures))
    rows = []
    for place, name in enumerate(names):
        cells = []
        for one in result.collections:
            best = max(system.measures[measure] for system in one.systems)
            system = one.systems[place]
            cells.append(_measured(system.measures[measure], best, system.comparisons.get(measure)))
        rows.append([escape(name), *cells])
    return _table(escape(measure), ["System", *(escape(one.name) for one in result.collections)], rows)


def _lines(values: Mapping[str, Any]) -> str:
    shown = ((name, value) for name, value in flat(values) if value not in (None, "", [], ()))
    return "\n".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in shown)


def _collection(result: SuiteResult, one: CollectionResult, details: Mapping[str, Details]) -> str:
    absent = f" {one.absent:,} of the relevant passages are not in the collection." if one.absent else ""
    parts = [
        f'<section aria-labelledby="{escape(one.name)}"><h2 id="{escape(one.name)}">{escape(one.name)}</h2>',
        f"<p>{escape(one.definition)}</p>",
        f'<p class="small">{one.questions:,} questions, {one.passages:,} passages, {one.relevant:,} relevant.{absent}</p>',
        _ranking(result, one),
        _costs(one),
        _optimistic(one),
        _classification(one, result.settings["negatives"]),
        _charts(result, one, details),
        _examples(result, one, details),
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], text: Sequence[int] = ()) -> str:
    """A table of cells that are HTML already; the first cell of a row is its heading, ``text`` are columns of words."""
    kinds = ['class="text"' if place in text else "" for place in range(len(heads))]
    head = "".join(f'<th scope="col" {kind}>{cell}</th>' for cell, kind in zip(heads, kinds, strict=True))
    lines = []
    for row in rows:
        cells = "".join(f"<td {kind}>{cell}</td>" for cell, kind in zip(row[1:], kinds[1:], strict=True))
        lines.append(f'<tr><th scope="row">{row[0]}</th>{cells}</tr>')
    return (
        f'<div class="scroll"><table><caption>{caption}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def p_text(p: float) -> str:
    """A p-value as "p < 0.001" or "p = 0.012"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _ranking(result: SuiteResult, one: CollectionResult) -> str:
    measures = list(one.systems[0].measures)
    best = {measure: max(system.measures[measure] for system in one.systems) for measure in measures}
    rows = [
        [
            _name(result, system),
            *(
                _measured(system.measures[measure], best[measure], system.comparisons.get(measure))
                for measure in measures
            ),
        ]
        for system in one.systems
    ]
    correction = result.settings.get("correction", "none")
    corrected = "not corrected" if correction == "none" else f"corrected ({correction})"
    return _table(
        f"Means over {one.questions:,} questions; below, the difference from {escape(result.baseline)} and p, {corrected}.",
        ["System", *map(escape, measures)],
        rows,
    )


def _name(result: SuiteResult, system: SystemResult) -> str:
    remarks = []
    if system.name == result.baseline:
        remarks.append("baseline")
    if system.first_stage_weight:
        remarks.append(f"logit + {system.first_stage_weight:g} × BM25")
    return escape(system.name) + (f" <small>{escape(', '.join(remarks))}</small>" if remarks else "")


def _measured(value: float, best: float, comparison: Comparison | None) -> str:
    kind = ' class="best"' if value >= best else ""
    text = f"<span{kind}>{value:.4f}</span>"
    if comparison is None:
        return text
    direction = "gain" if comparison.difference > 0 else "loss" if comparison.difference < 0 else "muted"
    return (
        text
        + f'<small><span class="{direction}">{_signed(comparison.difference)}</span> {p_text(comparison.corrected)}</small>'
    )


def _signed(difference: float) -> str:
    return f"{difference:+.4f}".replace("-", "−")


def _costs(one: CollectionResult) -> str:
    rows = []
    for system in one.systems:
        first, cost = system.first_stage, system.rerank
        row = [escape(system.name), f"{first.p50_ms:.1f}", f"{first.p95_ms:.1f}"]
        if cost is None:
            rows.append([*row, "–", "–", "–", "–", "–"])
            continue
        share = f"{cost.cut:,} of {cost.candidates:,}"
        rows.append(
            [
                *row,
                f"{cost.latency.p50_ms:,.0f}",
                f"{cost.latency.p95_ms:,.0f}",
                f"{cost.candidates_per_second:,.0f}<small>{cost.texts_per_second:,.0f} texts</small>",
                share,
                _setting(cost.setting, cost.made),
            ]
        )
    heads = [
        "System",
        "first stage, median (ms)",
        "95% (ms)",
        "reranking, median (ms)",
        "95% (ms)",
        "candidates per second",
        "candidates cut",
        "reranked on",
    ]
    return "<h3>Time</h3>" + _table(
        "Milliseconds per question. A candidate is cut where text of it was not read.", heads, rows, text=(7,)
    )


def _setting(setting: Mapping[str, Any], made: str) -> str:
    length = f", {setting['max_length']} tokens" if setting.get("max_length") else ""
    return (
        f"{escape(str(setting['device']))}, {escape(str(setting['dtype']))}<small>engine {escape(str(setting['engine']))}, "
        f"batch {setting['batch_size']}{length}</small><small>{escape(made)}</small>"
    )


def _optimistic(one: CollectionResult) -> str:
    shown = [system for system in one.systems if system.optimistic is not None]
    if not shown:
        return ""
    measures = list(shown[0].measures)
    rows = [[escape(one.name), *(f"{(one.optimistic or {})[measure]:.4f}" for measure in measures)] for one in shown]
    table = _table("Not comparable with the table above.", ["System", *map(escape, measures)], rows)
    return (
        '<h3>Optimistic</h3><div class="warning"><p>With the relevant passages that the first stage missed added to the '
        "candidates, as sentence-transformers’ CrossEncoderRerankingEvaluator does by default. No search gives these results; "
        f"they are here to compare with figures published that way.</p>{table}</div>"
    )


def _classification(one: CollectionResult, negatives: int) -> str:
    found = [(system, system.classification) for system in one.systems if system.classification is not None]
    if not found:
        return ""
    rows = []
    for system, result in found:
        name, published = escape(system.name), result.published
        origin = f"frozen, {_figure(result.threshold)}<small>{escape(result.origin)}</small>"
        rows.append([name, origin, *_figures(result.frozen)])
        origin = f"best for F1, {_figure(published['f1_threshold'])}"
        origin += f"<small>for accuracy, {_figure(published['accuracy_threshold'])}</small>"
        rows.append([name, origin, *_figures(published)])
    result = found[0][1]
    note = (
        "Relevant passages against hard negatives: the first stage’s best that are not relevant, and neither contain a relevant "
        "one nor are contained in one. The threshold is on the model’s own score: frozen is one that was chosen before, on other "
        "data; published model cards take what is best on the very pairs that they report, which flatters. The calibration error "
        f"is of probabilities that are {_calibrated(result.calibration)}."
    )
    caption = (
        f"{result.positives:,} relevant pairs and {result.negatives:,} others: {negatives} to each relevant one, or all candidates "
        "where these are fewer."
    )
    return f"<h3>Relevant or not</h3><p>{note}</p>" + _table(
        caption, ["System", "threshold", *_HEADS.values()], rows, text=(1,)
    )


def _calibrated(method: str) -> str:
    return "not calibrated" if method == "none" else f"calibrated ({escape(method)})"


def _figures(values: Mapping[str, Any]) -> list[str]:
    return [_figure(values.get(key)) for key in _HEADS]


def _figure(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else "–"


def _charts(result: SuiteResult, one: CollectionResult, details: Mapping[str, Details]) -> str:
    measure = next(iter(one.systems[0].measures))
    figures = []
    for system in one.systems:
        own = details[system.name]
        if own.differences:
            better = sum(value > 1e-9 for value in own.differences)
            worse = sum(value < -1e-9 for value in own.differences)
            text = f"{system.name} against {result.baseline}: {better:,} questions better, {worse:,} worse, "
            figures.append(
                _chart(
                    charts.gains(own.differences, measure), f"{text}{len(own.differences) - better - worse:,} equal."
                )
            )
        if own.candidates is not None:
            figures.append(
                _chart(
                    charts.distribution(own.candidates),
                    f"{system.name}: probabilities of the reranked candidates, relevant or not.",
                )
            )
        if system.classification is not None and own.pairs is not None:
            threshold = system.classification.threshold
            figures.append(
                _chart(
                    charts.precision_recall(own.pairs, threshold),
                    f"{system.name}: precision and recall of the pairs in the table.",
                )
            )
            figures.append(
                _chart(charts.reliability(own.pairs), f"{system.name}: reliability on the pairs in the table.")
            )
    return f'<h3>Charts</h3><div class="charts">{"".join(figures)}</div>' if figures else ""


def _chart(uri: str, text: str) -> str:
    return f'<figure><img src="{uri}" alt="{escape(text)}"><figcaption>{escape(text)}</figcaption></figure>'


def _examples(result: SuiteResult, one: CollectionResult, details: Mapping[str, Details]) -> str:
    measure = next(iter(one.systems[0].measures))
    parts = []
    for system in one.systems:
        own = details[system.name]
        for title, examples in (("gains most", own.best), ("loses most", own.worst)):
            if examples:
                parts.append(f"<h3>Where {escape(system.name)} {title}</h3>")
                parts += [_example(result.baseline, system.name, measure, example) for example in examples]
    return "\n".join(parts)


def _example(baseline: str, system: str, measure: str, example: Example) -> str:
    sides = (
        (baseline, example.baseline, example.baseline_passages),
        (system, example.system, example.system_passages),
    )
    columns = "".join(
        f"<div><h4>{escape(name)} <small>{escape(measure)} {value:.4f}</small></h4><ol>{''.join(map(_passage, shown))}</ol></div>"
        for name, value, shown in sides
    )
    difference = example.system - example.baseline
    kind = "gain" if difference > 0 else "loss"
    plural = "" if example.relevant == 1 else "s"
    return (
        f'<article class="example"><h4>{escape(example.question)} <small><span class="{kind}">{_signed(difference)}</span>, '
        f'{example.relevant:,} relevant passage{plural}</small></h4><div class="sides">{columns}</div></article>'
    )


def _passage(passage: ShownPassage) -> str:
    title = f"<b>{escape(passage.title)}</b>" if passage.title else ""
    tag = '<span class="tag">relevant</span> ' if passage.gold else ""
    kind = ' class="gold"' if passage.gold else ""
    return f"<li{kind}>{tag}<small>{escape(passage.id)}</small> {title}{escape(passage.text)}</li>"
