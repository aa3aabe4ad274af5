"""A training recipe: a TOML file of settings, read strictly into frozen dataclasses.

    name = "my-reranker"
    [model]     what is trained           [loss]      the objective
    [data]      pairs files               [training]  optimizer, schedule, checkpoints
    [export]    what is written           [[stage]]   one training after the other

Without ``[[stage]]`` there is one stage. With it, each stage continues from the weights of the one before, with its own learning
rate schedule, and may set its own keys in ``[stage.data]``, ``[stage.loss]``, ``[stage.training]`` and ``[stage.model]``
(``max_length`` and ``freeze`` only); the sections above give the rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import ConfigDict, Field, with_config

from bioqa.errors import UsageError
from bioqa.io.typed_toml import (
    Flag,
    Location,
    Number,
    Tables,
    Text,
    Texts,
    Whole,
    apply_override,
    one_of,
    read_toml,
    validate,
)
from bioqa.rerank.activations import SCALES
from bioqa.train.losses import LOSSES

PRECISIONS = ("fp32", "fp16", "bf16")
SCHEDULES = ("linear", "cosine", "constant_with_warmup")
LEAK_CHECKS = ("all", "questions", "none")
CASES = ("", "cased", "uncased")
CALIBRATIONS = ("platt", "temperature", "none")


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """``base``: a folder, a Hugging Face name, "default" (the built-in reranker) or "package:NAME" (a model folder inside an
    installed Python package). ``max_length``: tokens of a pair in training. ``replace_head``: a head with another number of
    labels is replaced by a fresh one with one label. ``activation``: a key of ``rerank.activations.SCALES``, "" for the base's
    own. ``case``: "cased" if the tokenizer is to keep capitals, "uncased" if it is to lower-case text, "" as the base's files say
    (BERT's default without tokenizer_config.json is to lower-case). ``freeze``: parts of the names of weights that are not trained.
    """

    base: Text = ""
    max_length: Annotated[Whole, Field(ge=8, le=1 << 20)] = 512
    replace_head: Flag = False
    activation: Annotated[Text, one_of(("", *SCALES))] = ""
    case: Annotated[Text, one_of(CASES)] = ""
    freeze: Texts = ()


@dataclass(frozen=True, slots=True)
class DataSettings:
    """``train``, ``dev`` and ``held_out``: files of pairs, as paths from the working directory. Without ``dev`` no threshold is
    chosen. ``question``, ``passage``, ``label``: columns of the files, all three or none. ``max_rows``: number of training
    rows, drawn at random (0: all). ``curriculum``: share of each question's sampled negatives, the hardest, that is left in the
    last epoch (1: all of them in every epoch; see ``curriculum.epoch_rows``). ``leak_check``: refuse to train if "questions" of
    ``dev`` or ``held_out``, or near-duplicates of them, are in ``train``; "all": or passages.
    """

    train: Texts = ()
    dev: Texts = ()
    held_out: Texts = ()
    question: Text = ""
    passage: Text = ""
    label: Text = ""
    max_rows: Annotated[Whole, Field(ge=0)] = 0
    curriculum: Annotated[Number, Field(ge=0.01, le=1.0)] = 1.0
    leak_check: Annotated[Text, one_of(LEAK_CHECKS)] = "all"

    @property
    def columns(self) -> tuple[str, str, str] | None:
        """The names of the columns, or None for the usual ones."""
        return (self.question, self.passage, self.label) if self.question else None


@dataclass(frozen=True, slots=True)
class LossSettings:
    """``name``: a key of ``losses.LOSSES``. ``pos_weight``: weight of a positive against a negative (bce only).
    ``list_size``: passages of a list, one of them relevant (pairwise and listwise losses).
    """

    name: Annotated[Text, one_of(tuple(LOSSES))] = "bce"
    pos_weight: Annotated[Number, Field(ge=1e-6, le=1e6)] = 1.0
    list_size: Annotated[Whole, Field(ge=2, le=1000)] = 8


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """``batch_size``: pairs (or lists) per step and device. ``warmup``: share of all steps. ``eval_steps``: steps between
    evaluations on dev (0: at the end only); ``save_steps``: between checkpoints (0: as ``eval_steps``, else 500).
    ``best_checkpoint``: the result is the checkpoint of highest dev average precision, not the last. ``early_stopping``: stop
    after this many evaluations without improvement (0: never). ``group_by_length``: pairs of similar length share a batch.
    ``workers``: processes that tokenize ahead (-1: some on a GPU, none on CPU). ``keep_checkpoints``: how many
    stay in ``checkpoints`` at the end.
    """

    batch_size: Annotated[Whole, Field(ge=1)] = 16
    eval_batch_size: Annotated[Whole, Field(ge=1)] = 64
    gradient_accumulation: Annotated[Whole, Field(ge=1)] = 1
    learning_rate: Annotated[Number, Field(ge=1e-9, le=1.0)] = 5e-5
    weight_decay: Annotated[Number, Field(ge=0.0, le=1.0)] = 0.0
    warmup: Annotated[Number, Field(ge=0.0, le=0.999)] = 0.0
    schedule: Annotated[Text, one_of(SCHEDULES)] = "linear"
    max_grad_norm: Annotated[Number, Field(ge=0.0)] = 1.0
    epochs: Annotated[Number, Field(ge=0.001, le=1000)] = 1.0
    precision: Annotated[Text, one_of(PRECISIONS)] = "fp32"
    eval_steps: Annotated[Whole, Field(ge=0)] = 0
    save_steps: Annotated[Whole, Field(ge=0)] = 0
    logging_steps: Annotated[Whole, Field(ge=1)] = 50
    best_checkpoint: Flag = False
    early_stopping: Annotated[Whole, Field(ge=0)] = 0
    seed: Annotated[Whole, Field(ge=0, le=2**32 - 1)] = 42
    gradient_checkpointing: Flag = False
    group_by_length: Flag = True
    workers: Annotated[Whole, Field(ge=-1, le=64)] = -1
    keep_checkpoints: Annotated[Whole, Field(ge=0)] = 0


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """``max_length``: tokens of a pair at inference (0: as in training). ``precision``: of the exported weights.
    ``calibration``: how probabilities are fitted to dev.
    """

    max_length: Annotated[Whole, Field(ge=0, le=1 << 20)] = 0
    precision: Annotated[Text, one_of(PRECISIONS)] = "fp32"
    calibration: Annotated[Text, one_of(CALIBRATIONS)] = "platt"


@dataclass(frozen=True, slots=True)
class Stage:
    """One training: its name and all its settings."""

    name: Text = ""
    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    loss: LossSettings = LossSettings()
    training: TrainingSettings = TrainingSettings()


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class RecipeFile:
    """What a recipe file may contain; the sections before ``stage`` are the defaults of each stage."""

    name: Text = ""
    description: Text = ""
    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    loss: LossSettings = LossSettings()
    training: TrainingSettings = TrainingSettings()
    export: ExportSettings = ExportSettings()
    stage: Tables[Stage] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of a training run. Training starts from the first stage's ``model.base``."""

    name: str
    description: str
    stages: tuple[Stage, ...]
    export: ExportSettings

    def to_dict(self) -> dict[str, Any]:
        """Every setting with its value, stage by stage; ``parse_recipe`` makes the same recipe of it."""
        stages: list[dict[str, Any]] = [
            {"name": stage.name} | {section: _section_dict(getattr(stage, section)) for section in STAGE_SECTIONS}
            for stage in self.stages
        ]
        first = {"model": _section_dict(self.stages[0].model), "export": _section_dict(self.export)}
        for number, stage in enumerate(stages):
            model = stage.pop("model")
            if number:
                stage["model"] = {key: model[key] for key in STAGE_MODEL_KEYS}
        return {"name": self.name, "description": self.description, **first, "stage": stages}

    def to_toml(self) -> str:
        """``to_dict`` as TOML."""
        return tomli_w.dumps(self.to_dict())


STAGE_SECTIONS = ("model", "data", "loss", "training")
STAGE_MODEL_KEYS = ("max_length", "freeze")


def _section_dict(section: Any) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(section).items()}


def read_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a TOML file, with ``overrides`` such as "training.epochs=1" (or "stage.2.training.epochs=1" for one stage).

    An override of a section applies to every stage, whatever the stages set themselves. Its value is TOML, or text if it is not
    TOML.

    Raises:
        UsageError: there is no such file, it is not TOML, or it has an unknown key or a value out of range; the message names the
            file and the key.
    """
    path = Path(path)
    raw = read_toml(path, f"There is no recipe {path}. Recipes are in benchmarks/recipes of bioqa's repository.")
    overridden: dict[Location, str] = {}
    for override in overrides:
        for place in apply_override(raw, override, RecipeFile, example="training.epochs=1"):
            overridden[place] = override
            if place[0] != "stage":
                _drop_from_stages(raw, place)
    return parse_recipe(raw, str(path), overridden)


def _drop_from_stages(raw: Mapping[str, Any], place: Location) -> None:
    """Remove from the stages what an override sets for all of them."""
    section, *key = place
    for stage in raw.get("stage", []):
        if key and isinstance(stage, dict) and isinstance(stage.get(section), dict):
            stage[section].pop(key[0], None)


def parse_recipe(
    raw: Mapping[str, Any], where: str = "The recipe", overridden: Mapping[Location, str] | None = None
) -> Recipe:
    """The recipe in the content of a TOML file.

    ``where`` names the file in errors; ``overridden`` are the --set texts by the places they set.

    Raises:
        UsageError: as ``read_recipe``.
    """
    content = validate(RecipeFile, _with_defaults(raw, where), where, overridden)
    several = len(content.stage) > 1
    stages = []
    for number, stage in enumerate(content.stage, start=1):
        _check_stage(stage, where, f"stage.{number}." if several else "")
        stages.append(replace(stage, name=stage.name or f"stage {number}"))
    return Recipe(content.name or Path(where).stem, content.description, tuple(stages), content.export)


def _with_defaults(raw: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The content with at least one stage, and in each stage what the sections above it give."""
    stages = raw.get("stage") or [{}]
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        return dict(raw)  # ``validate`` reports it
    filled = []
    for number, stage in enumerate(stages, start=1):
        for key in stage.get("model", {}):
            if key not in STAGE_MODEL_KEYS and key in ModelSettings.__dataclass_fields__:
                raise UsageError(f"{where}: stage.{number}.model.{key} cannot be set; set it in [model].")
        sections = {name: _merged(raw.get(name, {}), stage.get(name, {})) for name in STAGE_SECTIONS}
        filled.append(stage | sections)
    return {**raw, "stage": filled}


def _merged(default: Any, own: Any) -> Any:
    return {**default, **own} if isinstance(default, dict) and isinstance(own, dict) else own


def _check_stage(stage: Stage, where: str, at: str) -> None:
    """Refuse settings that exclude each other."""
    data, training = stage.data, stage.training
    for key, missing in (("model.base", not stage.model.base), ("data.train", not data.train)):
        if missing:
            raise UsageError(f"{where}: {key} is not set. Set it there or with --set {key}=….")
    if any((data.question, data.passage, data.label)) and not all((data.question, data.passage, data.label)):
        raise UsageError(f"{where}: {at}data must set all of question, passage and label, or none of them.")
    if (training.best_checkpoint or training.early_stopping) and not (data.dev and training.eval_steps):
        raise UsageError(
            f"{where}: {at}training.best_checkpoint and early_stopping need data.dev and training.eval_steps."
        )
    if training.early_stopping and not training.best_checkpoint:
        raise UsageError(f"{where}: {at}training.early_stopping needs training.best_checkpoint = true.")
    if training.best_checkpoint and training.save_steps % training.eval_steps:
        raise UsageError(f"{where}: {at}training.save_steps must be a multiple of eval_steps with best_checkpoint.")
    if data.curriculum < 1 and training.epochs != int(training.epochs):
        raise UsageError(f"{where}: {at}data.curriculum needs a whole number of training.epochs.")
