"""The output folder of a training run: checkpoints while it runs, the model at the end.

    OUT/checkpoints/recipe.toml              settings of the run
    OUT/checkpoints/stage-N/checkpoint-STEP  checkpoints of the trainer
    OUT/checkpoints/stage-N/model            model of a finished stage, with summary.json
    OUT/…                                    the model, recipe.toml, README.md, bioqa.json, curves.png

The files of the model are written inside ``checkpoints`` and moved at the end: training.json first, by which later runs know that
the others are a training's and may be replaced; config.json last, as no library takes the folder for a model without it.
"""

import json
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bioqa.errors import OutputError, UsageError
from bioqa.io.json_text import parse_json
from bioqa.io.output import output_errors, replacing
from bioqa.io.typed_toml import parse_toml
from bioqa.train.recipe import Recipe

RECIPE_FILE = "recipe.toml"
SUMMARY_FILE = "summary.json"
FIRST_FILE, LAST_FILE = "training.json", "config.json"
_WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors(\.index\.json)?")


class TrainingFolder:
    """The folder ``path`` of one training run; ``finished`` if it already has the model of the same recipe."""

    def __init__(self, path: str | Path, recipe: Recipe, *, fresh: bool, writes: bool = True) -> None:
        """Check that the folder can be used for this recipe. ``fresh`` discards an unfinished run; ``writes``: this process may
        write.

        Raises:
            UsageError: it contains a run with other settings, with a checkpoint or a model.
            OutputError: it contains something else, or a file in the place of the model's that is not from a training.
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
        self._trained = FIRST_FILE in entries
        if entries and not self._trained and not self._is_unfinished_run():
            raise OutputError(f"{self.path} is not empty and does not contain a bioqa training run. Name a new folder.")
        self._check_foreign(name for name in entries if name in (RECIPE_FILE, LAST_FILE) or _WEIGHTS.fullmatch(name))
        if fresh and writes:
            shutil.rmtree(self.checkpoints, ignore_errors=True)
        begun = any(self.checkpoints.glob("stage-*/checkpoint-*")) or any(self.checkpoints.glob("stage-*/model"))
        self._begun = begun and self._matches(self.checkpoints / RECIPE_FILE, recipe)
        self.finished = (
            not fresh and not self._begun and self._trained and self._matches(self.path / RECIPE_FILE, recipe)
        )

    def _is_unfinished_run(self) -> bool:
        """Whether ``checkpoints`` is a training's: it has a recipe, or was just made."""
        return self.checkpoints.is_dir() and (
            (self.checkpoints / RECIPE_FILE).exists() or all(path.name[0] == "." for path in self.checkpoints.iterdir())
        )

    def _check_foreign(self, names: Iterable[str]) -> None:
        """Raise OutputError if there are any ``names`` in the folder, unless a training wrote them."""
        found = sorted(names)
        if found and not self._trained:
            raise OutputError(
                f"{self.path / found[0]} is not from a training, which would replace it. Move it away and run the same command "
                "again, or name another folder."
            )

    def _matches(self, file: Path, recipe: Recipe) -> bool:
        """Whether the settings in ``file`` are the recipe's; False if there is no file. Raises UsageError if they differ."""
        try:
            found = parse_toml(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as problem:
            raise OutputError(f"{file} cannot be read ({problem}). Restore it, or name another folder.") from None
        changed = _differences(found, recipe.to_dict())
        if changed:
            shown = "; ".join(changed[:3]) + ("; …" if len(changed) > 3 else "")
            raise UsageError(
                f"{self.path} contains a training run with other settings ({shown}). Use --fresh to replace it, or name another "
                "folder."
            )
        return True

    def begin(self, recipe: Recipe) -> None:
        """Record the settings of a new run. Raises OutputError if they cannot be written."""
        if self._begun:
            return
        with output_errors(self.path):
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        with replacing(self.checkpoints / RECIPE_FILE) as part:
            part.write_text(recipe.to_toml(), encoding="utf-8")

    def withdraw(self) -> None:
        """Undo ``begin``, unless there is a checkpoint or a model of a stage by now."""
        if self._begun or any(self.checkpoints.glob("stage-*/*")):
            return
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        if self._new:
            with suppress(OSError):  # not empty
                self.path.rmdir()

    def stage(self, number: int) -> Path:
        """The folder of a stage's checkpoints; stages count from 1."""
        return self.checkpoints / f"stage-{number}"

    def stage_model(self, number: int) -> Path:
        """The folder of a stage's model."""
        return self.stage(number) / "model"

    def last_checkpoint(self, number: int) -> Path | None:
        """The latest complete checkpoint of a stage; incomplete ones, as a kill leaves them, are removed."""
        found = None
        folders = [path for path in self.stage(number).glob("checkpoint-*") if re.fullmatch("[0-9]+", path.name[11:])]
        for folder in sorted(folders, key=lambda path: int(path.name[11:])):
            file = folder / "trainer_state.json"
            try:
                parse_json(file.read_text(encoding="utf-8"))  # the trainer writes it last
                found = folder
            except OSError as problem:
                if not isinstance(problem, FileNotFoundError):
                    raise OutputError(f"{file} cannot be read: {problem.strerror or problem}.") from None
                if self.writes:
                    shutil.rmtree(folder, ignore_errors=True)
            except ValueError:
                if self.writes:
                    shutil.rmtree(folder, ignore_errors=True)
        return found

    def stage_summary(self, number: int) -> dict[str, Any] | None:
        """The summary of a finished stage (see ``train_stage.train_stage``), None if it is not finished.

        Raises:
            OutputError: it is damaged.
        """
        file = self.stage_model(number) / SUMMARY_FILE
        try:
            summary = parse_json(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as problem:
            raise OutputError(f"{file} cannot be read ({problem}). Remove it to train this stage again.") from None
        if not isinstance(summary, dict):
            raise OutputError(f"{file} is damaged: it is not a JSON object. Remove it to train this stage again.")
        return summary

    def publish(self, part: Path, *, keep_checkpoints: bool) -> None:
        """Move the files of ``part``, a folder in ``checkpoints``, to their place, and remove the checkpoints.

        Raises:
            OutputError: a file in their place is not from a training; the run can be continued.
        """
        files = sorted(part.iterdir(), key=lambda file: (file.name != FIRST_FILE, file.name == LAST_FILE))
        self._check_foreign(file.name for file in files if (self.path / file.name).exists())
        (self.path / LAST_FILE).unlink(missing_ok=True)
        for old in [path for path in self.path.iterdir() if _WEIGHTS.fullmatch(path.name)]:
            old.unlink()
        for file in files:
            file.replace(self.path / file.name)
        part.rmdir()
        (self.checkpoints / RECIPE_FILE).unlink()
        if not keep_checkpoints:
            shutil.rmtree(self.checkpoints, ignore_errors=True)


def _differences(before: dict[str, Any], now: dict[str, Any], path: str = "") -> list[str]:
    """Settings that differ, as "key = old, now new"."""
    found = []
    for key in {**before, **now}:
        old, new = before.get(key), now.get(key)
        if isinstance(old, list) and isinstance(new, list) and any(isinstance(item, dict) for item in (*old, *new)):
            old, new = ({str(n): item for n, item in enumerate(items, start=1)} for items in (old, new))
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{path}{key}.")
        elif old != new:
            found.append(f"{path}{key} = {_shown(old)}, now {_shown(new)}")
    return found


def _shown(value: Any) -> str:
    return "not set" if value is None else "…" if isinstance(value, dict) else json.dumps(value, ensure_ascii=False)
