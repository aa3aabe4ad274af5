"""A training recipe: a TOML file of settings, read strictly into frozen dataclasses.

    name = "my-reranker"
    [model]     what is trained           [loss]      what is minimised
    [data]      pairs files               [training]  how
    [export]    what is written           [[stage]]   one training after the other

Without ``[[stage]]`` there is one stage. With it, each stage goes on from the weights of the one before, with a learning rate
schedule of its own, and may set keys of its own in ``[stage.data]``, ``[stage.loss]``, ``[stage.training]`` and
``[stage.model]`` (``max_length`` and ``freeze`` only); what it does not set stands in the sections above.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import tomli_w

from bioqa.errors import UsageError
from bioqa.io.toml_file import parse_override, read_toml
from bioqa.rerank.activations import SCALES
from bioqa.train.losses import LOSSES

PRECISIONS = ("fp32", "fp16", "bf16")
SCHEDULES = ("linear", "cosine", "constant_with_warmup")
LEAK_CHECKS = ("all", "questions", "none")
CALIBRATIONS = ("platt", "temperature", "none")


def _key(default: Any, *, low: float | None = None, high: float | None = None, of: Sequence[str] = ()) -> Any:
    """A field with the range or the choice of its values; both ends of a range belong to it."""
    return field(default=default, metadata={"low": low, "high": high, "of": tuple(of)})


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """``base``: a folder, a Hugging Face name, "default" (the built-in reranker) or "package:NAME" (a model folder inside an
    installed Python package). ``max_length``: tokens of a pair in training. ``replace_head``: a head with another number of
    labels is replaced by a fresh one with one label. ``activation``: a key of ``rerank.activations.SCALES``, "" for the base's
    own. ``freeze``: parts of the names of weights that are not trained.
    """

    base: str = ""
    max_length: int = _key(512, low=8, high=1 << 20)
    replace_head: bool = False
    activation: str = _key("", of=("", *SCALES))
    freeze: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DataSettings:
    """``train``, ``dev`` and ``held_out``: files of pairs, as paths from the working directory. Without ``dev`` no threshold is
    chosen. ``question``, ``passage``, ``label``: columns of the files, all three or none. ``max_rows``: so many training rows,
    drawn at random (0: all). ``curriculum``: share of each question's drawn negatives that is left in the last epoch, the
    hardest (1: all of them in every epoch; see ``curriculum.epoch_rows``). ``leak_check``: refuse to train where "questions" of
    ``dev`` or ``held_out``, or nearly the same, stand in ``train``; "all": or passages.
    """

    train: tuple[str, ...] = ()
    dev: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    question: str = ""
    passage: str = ""
    label: str = ""
    max_rows: int = _key(0, low=0)
    curriculum: float = _key(1.0, low=0.01, high=1.0)
    leak_check: str = _key("all", of=LEAK_CHECKS)

    @property
    def columns(self) -> tuple[str, str, str] | None:
        """The names of the columns, None where they have their usual ones."""
        return (self.question, self.passage, self.label) if self.question else None


@dataclass(frozen=True, slots=True)
class LossSettings:
    """``name``: a key of ``losses.LOSSES``. ``pos_weight``: weight of a positive against a negative (bce only).
    ``list_size``: passages of a list, one of them relevant (pairwise and listwise losses).
    """

    name: str = _key("bce", of=tuple(LOSSES))
    pos_weight: float = _key(1.0, low=1e-6, high=1e6)
    list_size: int = _key(8, low=2, high=1000)


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """``batch_size``: pairs (or lists) a step and device. ``warmup``: share of all steps. ``eval_steps``: steps between
    evaluations on dev (0: at the end only); ``save_steps``: between checkpoints (0: as ``eval_steps``, else 500).
    ``best_checkpoint``: the result is the checkpoint of highest dev average precision, not the last. ``early_stopping``: end
    after so many evaluations without a better one (0: never). ``group_by_length``: pairs of similar length share a batch.
    ``workers``: processes that tokenize ahead (-1: some on a GPU, none on CPU). ``keep_checkpoints``: so many stay in
    ``checkpoints`` at the end.
    """

    batch_size: int = _key(16, low=1)
    eval_batch_size: int = _key(64, low=1)
    gradient_accumulation: int = _key(1, low=1)
    learning_rate: float = _key(5e-5, low=1e-9, high=1.0)
    weight_decay: float = _key(0.0, low=0.0, high=1.0)
    warmup: float = _key(0.0, low=0.0, high=0.999)
    schedule: str = _key("linear", of=SCHEDULES)
    max_grad_norm: float = _key(1.0, low=0.0)
    epochs: float = _key(1.0, low=0.001, high=1000)
    precision: str = _key("fp32", of=PRECISIONS)
    eval_steps: int = _key(0, low=0)
    save_steps: int = _key(0, low=0)
    logging_steps: int = _key(50, low=1)
    best_checkpoint: bool = False
    early_stopping: int = _key(0, low=0)
    seed: int = _key(42, low=0, high=2**32 - 1)
    gradient_checkpointing: bool = False
    group_by_length: bool = True
    workers: int = _key(-1, low=-1, high=64)
    keep_checkpoints: int = _key(0, low=0)


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """``max_length``: tokens of a pair in use (0: as in training). ``precision``: of the written weights. ``calibration``:
    how probabilities are fitted to dev.
    """

    max_length: int = _key(0, low=0, high=1 << 20)
    precision: str = _key("fp32", of=PRECISIONS)
    calibration: str = _key("platt", of=CALIBRATIONS)


@dataclass(frozen=True, slots=True)
class Stage:
    """One training: its name and all its settings."""

    name: str
    model: ModelSettings
    data: DataSettings
    loss: LossSettings
    training: TrainingSettings


@dataclass(frozen=True, slots=True)
class Recipe:
    """What ``train`` does. The ``model.base`` of the first stage is where it begins."""

    name: str
    description: str
    stages: tuple[Stage, ...]
    export: ExportSettings

    def to_dict(self) -> dict[str, Any]:
        """Every setting with its value, stage by stage: what ``parse_recipe`` makes this recipe of."""
        stages: list[dict[str, Any]] = [
            {"name": stage.name} | {section: _plain(getattr(stage, section)) for section in STAGE_SECTIONS}
            for stage in self.stages
        ]
        first = {"model": _plain(self.stages[0].model), "export": _plain(self.export)}
        for number, stage in enumerate(stages):
            model = stage.pop("model")
            if number:
                stage["model"] = {key: model[key] for key in STAGE_MODEL_KEYS}
        return {"name": self.name, "description": self.description, **first, "stage": stages}

    def to_toml(self) -> str:
        """``to_dict`` as TOML."""
        return tomli_w.dumps(self.to_dict())


SECTIONS = {
    "model": ModelSettings,
    "data": DataSettings,
    "loss": LossSettings,
    "training": TrainingSettings,
    "export": ExportSettings,
}
STAGE_SECTIONS = ("model", "data", "loss", "training")
STAGE_MODEL_KEYS = ("max_length", "freeze")


def _plain(section: Any) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(section).items()}


def read_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a TOML file, with ``overrides`` such as "training.epochs=1" (or "stage.2.training.epochs=1" for one stage).

    An override of a section holds for every stage, whatever they set themselves. Its value is TOML, or text where it is none.

    Raises:
        UsageError: there is no such file, it is not TOML, or has an unknown key or a value out of range; the message names the
            file and the key.
    """
    path = Path(path)
    raw = read_toml(path, f"There is no recipe {path}. Recipes are in benchmarks/recipes of bioqa's repository.")
    _check_names(raw, str(path))
    for override in overrides:
        _override(raw, override)
    return parse_recipe(raw, str(path))


def parse_recipe(raw: Mapping[str, Any], where: str = "The recipe") -> Recipe:
    """The recipe of settings as TOML holds them; ``where`` names them in errors (see ``read_recipe``)."""
    _check_names(raw, where)
    stages = raw.get("stage") or [{}]
    built = tuple(_stage(raw, stage, number, len(stages), where) for number, stage in enumerate(stages, start=1))
    name = _value(where, "name", raw.get("name", Path(where).stem), str, {})
    description = _value(where, "description", raw.get("description", ""), str, {})
    return Recipe(name, description, built, _section(ExportSettings, raw.get("export", {}), where, "export"))


def _stage(raw: Mapping[str, Any], own: Mapping[str, Any], number: int, count: int, where: str) -> Stage:
    at = f"stage.{number}." if count > 1 else ""
    sections = {
        name: _section(SECTIONS[name], {**raw.get(name, {}), **own.get(name, {})}, where, at + name)
        for name in STAGE_SECTIONS
    }
    stage = Stage(name=_value(where, at + "name", own.get("name", f"stage {number}"), str, {}), **sections)
    _check_stage(stage, where, at)
    return stage


def _check_stage(stage: Stage, where: str, at: str) -> None:
    """Refuse settings that exclude each other."""
    data, training = stage.data, stage.training
    for key, missing in (("model.base", not stage.model.base), ("data.train", not data.train)):
        if missing:
            raise UsageError(f"{where}: {key} is not set. Set it there or with --set {key}=….")
    if any((data.question, data.passage, data.label)) and not all((data.question, data.passage, data.label)):
        raise UsageError(f"{where}: {at}data names some columns; set question, passage and label, or none of them.")
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


def _check_names(raw: Mapping[str, Any], where: str) -> None:
    """Refuse keys that are not known, sections that are none, and stages that set what belongs to the whole."""
    for key, value in raw.items():
        if key not in ("name", "description", "stage"):
            _check_section(key, value, where, "")
    stages = raw.get("stage", [])
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise UsageError(f"{where}: write each stage as [[stage]].")
    for number, stage in enumerate(stages, start=1):
        for key, value in stage.items():
            if key == "name":
                continue
            if key == "export":
                raise UsageError(f"{where}: stage.{number}.export cannot be set; [export] is for the last stage.")
            _check_section(key, value, where, f"stage.{number}.")
            for name in value if key == "model" else ():
                if name not in STAGE_MODEL_KEYS:
                    raise UsageError(f"{where}: stage.{number}.model.{name} cannot be set; set it in [model].")


def _check_section(key: str, value: Any, where: str, at: str) -> None:
    if key not in SECTIONS:
        raise UsageError(f"{where}: unknown key {at}{key}{_closest(key)}")
    if not isinstance(value, dict):
        raise UsageError(f"{where}: {at}{key} is a section; write [{key}] and its keys below.")
    for name in value:
        if name not in {f.name for f in fields(SECTIONS[key])}:
            raise UsageError(f"{where}: unknown key {at}{key}.{name}{_closest(name, key)}")


def known_keys() -> Iterator[str]:
    """Every key of a recipe, dotted."""
    yield from ("name", "description")
    for section, settings in SECTIONS.items():
        for key in fields(settings):
            yield f"{section}.{key.name}"


def _closest(name: str, section: str = "") -> str:
    """The end of the sentence about an unknown key."""
    known = list(known_keys())
    near = get_close_matches(f"{section}.{name}", known, 1, 0.6) if section else get_close_matches(name, SECTIONS, 1)
    same = [key for key in known if key.rpartition(".")[2] == name]
    found = (same or near)[:1]
    return f"; the closest known key is {found[0]}." if found else f". Known keys: {', '.join(SECTIONS)}, name, stage."


def _section(settings: type, given: Mapping[str, Any], where: str, at: str) -> Any:
    values = {}
    for key in fields(settings):
        if key.name in given:
            values[key.name] = _value(where, f"{at}.{key.name}", given[key.name], key.type, key.metadata)
    return settings(**values)


def _value(where: str, key: str, value: Any, kind: Any, limits: Mapping[str, Any]) -> Any:
    """The value of a key, checked and of its kind."""
    if kind == tuple[str, ...]:
        values = [value] if isinstance(value, str) else value
        if isinstance(values, list) and all(isinstance(item, str) for item in values):
            return tuple(item for item in values if item)
    elif kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}.get(kind, "a list of texts")
    if type(value) is not kind:
        raise UsageError(f"{where}: {key} must be {words}, not {value!r}.")
    low, high, of = (limits.get(name) for name in ("low", "high", "of"))
    if of and value not in of:
        near = get_close_matches(value, of, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"{where}: {key} must be one of {', '.join(map(repr, of))}, not {value!r}.{hint}")
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        span = f"from {low:.12g} to {high:.12g}" if high is not None else f"{low:.12g} or more"
        raise UsageError(f"{where}: {key} must be {words} {span}, not {value!r}.")
    return value


def _override(raw: dict[str, Any], text: str) -> None:
    """Set a dotted key of ``raw`` to a value."""
    parts, value = parse_override(text, "training.epochs=1")
    if parts[0] == "stage":
        _override_stage(raw, parts[1:], value, text)
        return
    nested: Any = value
    for part in reversed(parts):
        nested = {part: nested}
    _check_names(nested, f"--set {text}")
    if len(parts) == 1:
        raw[parts[0]] = value
        return
    section, name = parts[0], ".".join(parts[1:])
    raw.setdefault(section, {})[name] = value
    for stage in raw.get("stage", []):
        stage.get(section, {}).pop(name, None)


def _override_stage(raw: dict[str, Any], parts: list[str], value: Any, text: str) -> None:
    stages = raw.get("stage", [])
    if len(parts) != 3 or not parts[0].isdecimal() or not 1 <= int(parts[0]) <= len(stages):
        raise UsageError(
            f"--set {text}: write it as stage.N.section.key=value; the recipe has {len(stages) or 'no'} stages."
        )
    number, section, name = parts
    _check_names({"stage": [{}] * (int(number) - 1) + [{section: {name: value}}]}, f"--set {text}")
    stages[int(number) - 1].setdefault(section, {})[name] = value
