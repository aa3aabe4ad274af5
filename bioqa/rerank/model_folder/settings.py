"""bioqa.json of a model folder: the decision threshold, the calibration and the weight of BM25 that were chosen on dev data.

    {"threshold": 0.43, "calibration": {"method": "platt", "a": 1.2, "b": -0.3}, "first_stage_weight": 0.1, …}

``threshold`` is on the scale of the model's own scores; the calibrated probability is σ(a·logit + b); articles are ranked by
logit + first_stage_weight · BM25. Each may be missing.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioqa.errors import ModelError

FILE = "bioqa.json"


@dataclass(frozen=True, slots=True)
class Calibration:
    """Probability = σ(``a``·logit + ``b``); ``method`` says how the two were fitted ("none": they were not)."""

    method: str = "none"
    a: float = 1.0
    b: float = 0.0


UNCALIBRATED = Calibration()


@dataclass(frozen=True, slots=True)
class RerankerSettings:
    """``threshold``: a pair whose score is at least this counts as relevant; None where none was chosen.
    ``first_stage_weight``: what the first-stage score is multiplied by before it is added to the logit.
    """

    threshold: float | None = None
    calibration: Calibration = UNCALIBRATED
    first_stage_weight: float = 0.0


DEFAULTS = RerankerSettings()


def read_settings(folder: Path) -> RerankerSettings:
    """What bioqa.json of a model folder says, the defaults where there is none. Raises ModelError where it is damaged."""
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        threshold, calibration = content.get("threshold"), content.get("calibration") or {}
        return RerankerSettings(
            None if threshold is None else _number(threshold),
            Calibration(str(calibration["method"]), _number(calibration["a"]), _number(calibration["b"]))
            if calibration
            else UNCALIBRATED,
            _number(content.get("first_stage_weight", 0.0)),
        )
    except FileNotFoundError:
        return DEFAULTS
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(
            f"{path} is damaged ({error}): it should hold a threshold and a calibration. Train the model again, or delete the "
            "file to do without both."
        ) from error


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)
