"""The model card: sentence-transformers' card data and the results of the run, rendered with ``model_card.md.jinja``."""

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioqa.pairs.pair_statistics import describe_pairs
from bioqa.rerank.activations import SCALES
from bioqa.train.datasets import make_training_data, to_examples
from bioqa.train.losses import make_loss
from bioqa.train.training_result import DEV, DEV_METRIC, DevEvaluation, TrainingResult

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

TEMPLATE = Path(__file__).with_name("model_card.md.jinja")
MAX_CELL = 300
"""Maximum number of characters of a text in a table."""


def write_card(path: Path, result: TrainingResult) -> None:
    """Write the card of a trained model to ``path``."""
    from huggingface_hub import ModelCard

    data = _card_data(result)
    activation = type(result.model.activation_fn).__name__
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        folder_name=result.name,
        base=result.recipe.stages[0].model.base,
        examples=data.usage_examples,
        score_scale=SCALES.get(activation, activation),
        dev=result.dev_evaluation,
        weight=result.weight,
        statistics=_statistics(result),
        stages=result.stages,
        cpu_cores=os.cpu_count(),
        recipe=result.recipe,
    )
    path.write_text(f"{card.content.strip()}\n", encoding="utf-8")


def _card_data(result: TrainingResult) -> Any:
    """The library's card data, filled as its trainer would if one process had run all stages."""
    data, stage, stages = result.model.model_card_data, result.recipe.stages[-1], result.stages
    loss = make_loss(stage.loss.name, result.model, pos_weight=stage.loss.pos_weight)
    data.model_name = result.recipe.name
    base = result.recipe.stages[0].model.base
    if re.fullmatch(r"[\w.-]+/[\w.-]+", base) and not Path(base).exists():
        data.base_model = base
    data.add_tags("generated_from_trainer")
    data.set_losses([loss])
    train = make_training_data(result.train, stage).dataset
    data.train_datasets = data.extract_dataset_metadata(train, [{"name": _stems(stage.data.train)}], loss, "train")
    examples = train
    if result.dev is not None:
        examples = to_examples(result.dev, stage)
        data.eval_datasets = data.extract_dataset_metadata(examples, [{"name": _stems(stage.data.dev)}], loss, "eval")
    data.set_widget_examples(examples)
    settings = stages[-1]["hyperparameters"]
    data.all_hyperparameters = settings
    data.non_default_hyperparameters = {key: settings[key] for key in stages[-1]["non_default"]}
    if result.dev_evaluation is not None:
        _set_measures(result.model, result.dev_evaluation, stage.training.eval_batch_size)
    data.training_logs = [
        row for number, summary in enumerate(stages, start=1) for row in _log_rows(summary, number, len(stages))
    ]
    if stages[-1]["best_step"] is not None and len(stages) == 1:
        data.set_best_model_step(stages[-1]["best_step"])
    data._training_start_time = time.time() - sum(summary["seconds"] for summary in stages)
    return data


def _set_measures(model: "CrossEncoder", evaluation: DevEvaluation, batch_size: int) -> None:
    """Report the published measures under the name of the library's evaluator, which they equal."""
    from sentence_transformers.cross_encoder.evaluation import CrossEncoderClassificationEvaluator

    evaluator = CrossEncoderClassificationEvaluator([], [], name=DEV, batch_size=batch_size, write_csv=False)
    evaluator.primary_metric = f"{DEV}_average_precision"
    measures = {f"{DEV}_{name}": value for name, value in evaluation.published._asdict().items()}
    model.model_card_data.set_evaluation_metrics(evaluator, measures)


def _stems(files: Sequence[str]) -> str:
    return ", ".join(Path(file).stem for file in files)


def _log_rows(summary: dict[str, Any], number: int, stages: int) -> list[dict[str, Any]]:
    """The rows of a stage in the library's table of training logs; with several stages, each row has the stage's number."""
    titles = {"loss": "Training Loss", "eval_loss": "Validation Loss", DEV_METRIC: DEV_METRIC.removeprefix("eval_")}
    rows: dict[int, dict[str, Any]] = {}
    for entry in summary["log"]:
        found = {title: entry[key] for key, title in titles.items() if key in entry}
        if found:
            row = rows.setdefault(entry["step"], {"Epoch": entry["epoch"], "Step": entry["step"]})
            row |= found | ({"Stage": number} if stages > 1 else {})
    return [rows[step] for step in sorted(rows)]


def _statistics(result: TrainingResult) -> list[dict[str, Any]]:
    """Statistics of all pairs of the last stage; the library's own tables cover the first hundred only."""
    found = []
    for use, table in (("training", result.train), ("dev", result.dev)):
        if table is not None:
            pairs = describe_pairs(table.to_batches())
            samples = [(_cell(one.question), _cell(one.passage), one.label) for one in pairs.samples]
            found.append({"use": use, "pairs": pairs, "samples": samples})
    return found


def _cell(text: str) -> str:
    """A text that fits in a table cell."""
    text = " ".join(text.split()).replace("|", "\\|")
    return text if len(text) <= MAX_CELL else f"{text[: MAX_CELL - 1]}…"
