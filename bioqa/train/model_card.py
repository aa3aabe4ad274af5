"""The model card: sentence-transformers' own, filled from the facts of all stages, with what it lacks put in."""

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioqa.pairs.pair_statistics import describe_pairs
from bioqa.rerank.activations import SCALES
from bioqa.train.datasets import make_examples, shape
from bioqa.train.export import Finished, Judgement
from bioqa.train.losses import make_loss
from bioqa.train.recipe import Recipe
from bioqa.train.stage import DEV, METRIC

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder


LONGEST = 300
"""Characters of a text in a table."""


def write_card(path: Path, finished: Finished) -> None:
    """Write the card of a finished model."""
    _fill(finished)
    text = _library_card(finished.model)
    text = text.replace("# Download from the \U0001f917 Hub\n", "").replace("cross_encoder_model_id", finished.name)
    text = _named_base(text, finished.recipe.stages[0].model.base)
    text = _before(text, "## Training Details", _decision(finished.model, finished.judgement))
    text = _before(text, "### Training Hyperparameters", _statistics(finished))
    text = _before(text, "### Framework Versions", _hardware(finished.facts))
    text = _before(text, "## Citation", _recipe(finished.recipe))
    path.write_text(text, encoding="utf-8")


def _fill(finished: Finished) -> None:
    """Give the library's card what its trainer would have given it, had one process run all stages."""
    data, stage, facts = finished.model.model_card_data, finished.recipe.stages[-1], finished.facts
    loss = make_loss(stage.loss, finished.model)
    data.model_name = finished.recipe.name
    base = finished.recipe.stages[0].model.base
    if re.fullmatch(r"[\w.-]+/[\w.-]+", base) and not Path(base).exists():
        data.base_model = base
    data.add_tags("generated_from_trainer")
    data.set_losses([loss])
    train = make_examples(finished.train, stage).dataset
    data.train_datasets = data.extract_dataset_metadata(train, [{"name": _names(stage.data.train)}], loss, "train")
    shown = train
    if finished.dev is not None:
        shown = shape(finished.dev, stage)
        data.eval_datasets = data.extract_dataset_metadata(shown, [{"name": _names(stage.data.dev)}], loss, "eval")
    data.set_widget_examples(shown)
    settings = facts[-1]["hyperparameters"]
    data.all_hyperparameters = settings
    data.non_default_hyperparameters = {key: settings[key] for key in facts[-1]["non_default"]}
    if finished.judgement is not None:
        _set_measures(finished.model, finished.judgement, stage.training.eval_batch_size)
    data.training_logs = [
        row for number, one in enumerate(facts, start=1) for row in _log_rows(one, number, len(facts))
    ]
    if facts[-1]["best_step"] is not None and len(facts) == 1:
        data.set_best_model_step(facts[-1]["best_step"])
    data._training_start_time = time.time() - sum(one["seconds"] for one in facts)


def _set_measures(model: "CrossEncoder", judgement: Judgement, batch_size: int) -> None:
    """The measures of the published cards, under the name of the evaluator that they agree with."""
    from sentence_transformers.cross_encoder.evaluation import CrossEncoderClassificationEvaluator

    judge = CrossEncoderClassificationEvaluator([], [], name=DEV, batch_size=batch_size, write_csv=False)
    judge.primary_metric = f"{DEV}_average_precision"
    measures = {f"{DEV}_{name}": value for name, value in judgement.published._asdict().items()}
    model.model_card_data.set_evaluation_metrics(judge, measures)


def _names(files: Sequence[str]) -> str:
    return ", ".join(Path(file).stem for file in files)


def _log_rows(facts: dict[str, Any], number: int, stages: int) -> list[dict[str, Any]]:
    """The training log as the library's table has it; with several stages each row names its own."""
    names = {"loss": "Training Loss", "eval_loss": "Validation Loss", METRIC: METRIC.removeprefix("eval_")}
    rows: dict[int, dict[str, Any]] = {}
    for entry in facts["log"]:
        found = {title: entry[key] for key, title in names.items() if key in entry}
        if found:
            row = rows.setdefault(entry["step"], {"Epoch": entry["epoch"], "Step": entry["step"]})
            row |= found | ({"Stage": number} if stages > 1 else {})
    return [rows[step] for step in sorted(rows)]


def _library_card(model: "CrossEncoder") -> str:
    from sentence_transformers.base.model_card import generate_model_card

    text: str = generate_model_card(model)
    return text


UNKNOWN_BASE = "<!-- - **Base model:** [Unknown](https://huggingface.co/unknown) -->"


def _named_base(text: str, base: str) -> str:
    """The card with the base model's folder or package, where it is no model of the hub and the library hides the line."""
    return text.replace(UNKNOWN_BASE, f"- **Base model:** `{base}`")


def _before(text: str, heading: str, section: str) -> str:
    """``text`` with ``section`` before the line ``heading``."""
    if not section:
        return text
    at = text.find(f"\n{heading}\n")
    if at < 0:
        return f"{text.rstrip()}\n\n{section}"
    return f"{text[:at].rstrip()}\n\n{section.rstrip()}\n{text[at:]}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _decision(model: "CrossEncoder", judgement: Judgement | None) -> str:
    scale = SCALES.get(type(model.activation_fn).__name__, type(model.activation_fn).__name__)
    if judgement is None:
        return f"## Decision threshold and calibration\n\nNone: there were no dev pairs. Scores are on this scale: {scale}.\n"
    measures, calibration = judgement.measures, judgement.calibration
    share = measures.positives / measures.n
    rows = [
        [name, f"{getattr(measures, key):.4f}"]
        for name, key in (
            ("accuracy", "accuracy"),
            ("precision", "precision"),
            ("recall", "recall"),
            ("F1", "f1"),
            ("average precision", "average_precision"),
            ("ROC-AUC", "roc_auc"),
            ("MCC", "mcc"),
            ("calibration error", "calibration_error"),
        )
    ]
    counts = [
        [str(measures.true_positives), str(measures.false_positives)],
        [str(measures.false_negatives), str(measures.true_negatives)],
    ]
    how = (
        f"probability = σ({calibration.a:.4g} · logit {calibration.b:+.4g}) ({calibration.method.capitalize()} scaling), which "
        "`bioqa.Reranker.probabilities` gives"
        if calibration.method != "none"
        else "none was fitted; `bioqa.Reranker.probabilities` gives σ(logit)"
    )
    return f"""## Decision threshold and calibration

Scores are on this scale: {scale}. A pair whose score is at least **{measures.threshold:.4f}** counts as relevant. That
threshold has the highest F1 on the {measures.n:,} dev pairs ({share:.1%} relevant), so these figures of the same pairs flatter;
other data must be judged at this threshold, not at their own best:

{_table(["at the frozen threshold", "dev"], rows)}

{_table(["", "relevant", "not relevant"], [["said relevant", *counts[0]], ["said not relevant", *counts[1]]])}

Calibration: {how}. Expected calibration error on dev: {judgement.ece_before:.4f} before, {measures.calibration_error:.4f} after,
the latter by fits to other questions than those judged.

![Reliability on dev, before and after calibration](reliability.png)

The table under Evaluation is in the way of published cards: each measure at the threshold that is best on the evaluated pairs.
"""


def _statistics(finished: Finished) -> str:
    """All rows of the last stage's files, where the library looks at the first hundred."""
    rows, samples = [], []
    for use, table in (("training", finished.train), ("dev", finished.dev)):
        if table is not None:
            found = describe_pairs(table.to_batches())
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in found.kinds.items())
            spans = [f"{one.min:,} / {one.mean:,.0f} / {one.max:,}" for one in (found.question, found.passage)]
            rows.append([use, f"{found.rows:,}", f"{found.questions:,}", f"{found.positive_share:.1%}", *spans, kinds])
            samples += [[use, *map(_cell, (one.question, one.passage)), f"{one.label:g}"] for one in found.samples]
    spans = [f"{column}, characters (min / mean / max)" for column in ("question", "passage")]
    title = "### Data Statistics" + (f" (stage {stages})" if (stages := len(finished.recipe.stages)) > 1 else "")
    about = _table(["pairs", "rows", "questions", "relevant", *spans, "kinds"], rows)
    return f"{title}\n\n{about}\n\n{_table(['pairs', 'question', 'passage', 'label'], samples)}\n"


def _cell(text: str) -> str:
    """A text that fits in a cell of a table."""
    text = " ".join(text.split()).replace("|", "\\|")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _hardware(facts: Sequence[dict[str, Any]]) -> str:
    last = facts[-1]
    where = f"{os.cpu_count()} CPU cores" if last["device"] == "CPU" else last["device"]
    stages = "" if len(facts) == 1 else f", {len(facts)} stages"
    steps = sum(one["steps"] for one in facts)
    return f"### Training Hardware\n- **Device:** {where}, {last['processes']} process(es)\n- **Steps:** {steps:,}{stages}\n"


def _recipe(recipe: Recipe) -> str:
    about = f"{recipe.description.strip()}\n\n" if recipe.description.strip() else ""
    return f"""## Recipe

{about}Trained by `bioqa train recipe.toml`, with all its settings:

```toml
{recipe.to_toml().strip()}
```

![Loss and dev average precision over the steps](curves.png)
"""
