"""The folder of a training: checkpoints while it runs, the finished model in the end.

    OUT/checkpoints/recipe.toml              settings of the run
    OUT/checkpoints/stage-N/checkpoint-STEP  the trainer's own, to go on from
    OUT/checkpoints/stage-N/model            result of a stage, with facts.json about it
    OUT/…                                    the model, recipe.toml, README.md, bioqa.json, curves.png

The model's files are written beside their place and moved there at the end, config.json last: without it no library takes the
folder for a model.
"""

import json
import shutil
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

from bioqa.errors import OutputError, UsageError
from bioqa.train.recipe import Recipe

RECIPE = "recipe.toml"
FACTS = "facts.json"
LAST = "config.json"


class RunFolder:
    """The folder ``path`` of one training; ``finished`` says that it holds the result of the same recipe."""

    def __init__(self, path: str | Path, recipe: Recipe, *, fresh: bool, writes: bool = True) -> None:
        """Look whether the folder can be taken for this recipe. ``fresh`` forgets an unfinished run; ``writes``: this process may
        write.

        Raises:
            UsageError: it holds a run with other settings, with a checkpoint or a model.
            OutputError: it holds something else.
        """
        self.path = Path(path).expanduser().absolute()
        self.checkpoints = self.path / "checkpoints"
        self.writes = writes
        try:
            self._new = not self.path.exists()
            if not self._new and not self.path.is_dir():
                raise OutputError(f"{self.path} is a file, not a folder. Name a folder for the model.")
            entries = set() if self._new else {entry.name for entry in self.path.iterdir()}
        except OSError as problem:
            raise OutputError(f"{self.path} cannot be read: {problem.strerror or problem}.") from problem
        if entries and not entries & {RECIPE, "checkpoints"}:
            raise OutputError(f"{self.path} is not empty and holds no training of bioqa. Name a new folder.")
        if fresh and writes:
            shutil.rmtree(self.checkpoints, ignore_errors=True)
        begun = any(self.checkpoints.glob("stage-*/checkpoint-*")) or any(self.checkpoints.glob("stage-*/model"))
        self._begun = begun and self._holds(self.checkpoints / RECIPE, recipe)
        self.finished = not fresh and not self._begun and self._holds(self.path / RECIPE, recipe)

    def _holds(self, file: Path, recipe: Recipe) -> bool:
        """Whether the settings in ``file`` are the recipe's; False where there is no file. Raises UsageError for others."""
        try:
            there = tomllib.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as problem:
            raise OutputError(f"{file} cannot be read ({problem}). Give --fresh to train anew.") from None
        changed = _differences(there, recipe.to_dict())
        if changed:
            shown = "; ".join(changed[:3]) + ("; …" if len(changed) > 3 else "")
            raise UsageError(
                f"{self.path} holds a training with other settings ({shown}). Give --fresh to replace it, or another folder."
            )
        return True

    def begin(self, recipe: Recipe) -> None:
        """Write down the settings of a run that begins. Raises OutputError where that cannot be done."""
        if self._begun:
            return
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            part = self.checkpoints / f".{RECIPE}.part"
            part.write_text(recipe.to_toml(), encoding="utf-8")
            part.replace(self.checkpoints / RECIPE)
        except OSError as problem:
            raise OutputError(f"{self.path} cannot be written: {problem.strerror or problem}.") from problem

    def withdraw(self) -> None:
        """Take away what ``begin`` wrote, where nothing has come of it: no checkpoint, no stage's model."""
        if self._begun or any(self.checkpoints.glob("stage-*/*")):
            return
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        if self._new:
            with suppress(OSError):  # it holds something else
                self.path.rmdir()

    def stage(self, number: int) -> Path:
        """The folder of a stage's checkpoints; stages count from 1."""
        return self.checkpoints / f"stage-{number}"

    def result(self, number: int) -> Path:
        """The folder of a stage's model."""
        return self.stage(number) / "model"

    def last_checkpoint(self, number: int) -> Path | None:
        """The latest whole checkpoint of a stage; ones that a kill left half-written are removed."""
        found = None
        for folder in sorted(self.stage(number).glob("checkpoint-*"), key=lambda path: int(path.name[11:])):
            try:
                json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))  # the trainer writes it last
                found = folder
            except (OSError, ValueError):
                if self.writes:
                    shutil.rmtree(folder, ignore_errors=True)
        return found

    def facts(self, number: int) -> dict[str, Any] | None:
        """What a finished stage tells of itself, None where it is not finished."""
        try:
            facts: dict[str, Any] = json.loads((self.result(number) / FACTS).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return facts

    def publish(self, part: Path, *, keep_checkpoints: bool) -> None:
        """Move the files of ``part``, which lies in ``checkpoints``, to their place, and remove the checkpoints."""
        (self.path / LAST).unlink(missing_ok=True)
        for old in self.path.glob("model*.safetensors*"):
            old.unlink()
        for file in sorted(part.iterdir(), key=lambda file: file.name == LAST):
            file.replace(self.path / file.name)
        part.rmdir()
        (self.checkpoints / RECIPE).unlink()
        if not keep_checkpoints:
            shutil.rmtree(self.checkpoints, ignore_errors=True)


def _differences(there: dict[str, Any], here: dict[str, Any], path: str = "") -> list[str]:
    """Settings that differ, as "key = old, now new"."""
    found = []
    for key in {**there, **here}:
        old, new = there.get(key), here.get(key)
        if isinstance(old, list) and isinstance(new, list) and any(isinstance(item, dict) for item in (*old, *new)):
            old, new = ({str(n): item for n, item in enumerate(items, start=1)} for items in (old, new))
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{path}{key}.")
        elif old != new:
            found.append(f"{path}{key} = {_shown(old)}, now {_shown(new)}")
    return found


def _shown(value: Any) -> str:
    return "not set" if value is None else "other" if isinstance(value, dict) else json.dumps(value, ensure_ascii=False)
