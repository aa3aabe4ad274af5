"""bioqa.json of a model folder: the threshold, calibration and first-stage weight, all chosen on dev data.

    {"threshold": 0.43, "calibration": {"method": "platt", "a": 1.2, "b": -0.3}, "first_stage_weight": 0.1,
     "first_stage_weights": {"minmax": 4.0}, …}

``threshold`` is on the scale of the model's own scores (``Reranker.score``, ``Hit.reranker_score``), not of probabilities; the
calibrated probability (``Reranker.probabilities``, ``Hit.probability``) is σ(a·logit + b); candidates are ranked by logit +
first_stage_weight · first-stage score (``Hit.score``), if that is BM25's; "first_stage_weights" has the factors of other scores, by
``Retriever.scale``. Each may be missing, and other keys are kept as they are.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bioqa.errors import ModelError
from bioqa.io.json_text import parse_json
from bioqa.io.output import replacing

SETTINGS_FILE = "bioqa.json"


@dataclass(frozen=True, slots=True)
class Calibration:
    """Probability = σ(``a``·logit + ``b``); ``method`` is how the two were fitted ("none" if they were not)."""

    method: str = "none"
    a: float = 1.0
    b: float = 0.0


UNCALIBRATED = Calibration()


@dataclass(frozen=True, slots=True)
class RerankerSettings:
    """``threshold``: pairs with at least this score, on the model's own scale, count as relevant; None if none was chosen.
    ``first_stage_weight``: the factor by which BM25's score is multiplied before it is added to the logit; ``first_stage_weights``:
    those of other first stages' scores, by their ``Retriever.scale``.
    """

    threshold: float | None = None
    calibration: Calibration = UNCALIBRATED
    first_stage_weight: float = 0.0
    first_stage_weights: Mapping[str, float] = field(default_factory=dict)


DEFAULTS = RerankerSettings()


def read_settings(folder: Path) -> RerankerSettings:
    """The settings in a model folder's bioqa.json, the defaults without one. Raises ModelError if the file is damaged."""
    path = folder / SETTINGS_FILE
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        threshold, calibration = content.get("threshold"), content.get("calibration") or {}
        return RerankerSettings(
            None if threshold is None else _number(threshold),
            Calibration(str(calibration["method"]), _number(calibration["a"]), _number(calibration["b"]))
            if calibration
            else UNCALIBRATED,
            _number(content.get("first_stage_weight", 0.0)),
            {str(scale): _number(one) for scale, one in (content.get("first_stage_weights") or {}).items()},
        )
    except FileNotFoundError:
        return DEFAULTS
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(
            f"{path} is damaged ({error}): it should contain a threshold and a calibration. Train the model again, or delete "
            "the file to use neither."
        ) from error


def update_settings(folder: Path, **values: Any) -> None:
    """Set keys of a model folder's bioqa.json, which need not exist; the other keys stay as they are.

    Raises:
        ModelError: the file is damaged; it is not changed.
        OutputError: it cannot be written.
    """
    read_settings(folder)
    path = folder / SETTINGS_FILE
    content = parse_json(path.read_text(encoding="utf-8")) if path.exists() else {}
    with replacing(path) as part:
        part.write_text(json.dumps(content | values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a number")
    return float(value)
