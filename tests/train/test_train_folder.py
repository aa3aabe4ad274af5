"""The folder of a training run: damaged files are told, complete ones kept, and no temporary folder follows a link."""

import json
from pathlib import Path

import pytest

from bioqa.errors import OutputError
from bioqa.io.output import new_folder
from bioqa.train.recipe import Recipe, parse_recipe
from bioqa.train.training_folder import TrainingFolder


@pytest.fixture
def recipe() -> Recipe:
    return parse_recipe({"model": {"base": "base"}, "data": {"train": "train.parquet"}})


@pytest.fixture
def run(tmp_path: Path, recipe: Recipe) -> Path:
    """A run with the model of its stage and two checkpoints."""
    for name in ("checkpoint-5", "checkpoint-10", "model"):
        (tmp_path / "checkpoints" / "stage-1" / name).mkdir(parents=True)
    for step in (5, 10):
        (tmp_path / f"checkpoints/stage-1/checkpoint-{step}/trainer_state.json").write_text("{}")
    (tmp_path / "checkpoints" / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": ' + "[" * 100_000, '{"steps": ' + "9" * 5000 + "}"])
def test_a_damaged_summary_is_told(run, recipe, text):
    (run / "checkpoints/stage-1/model/summary.json").write_text(text)
    with pytest.raises(OutputError, match=r"summary\.json .*Remove it to train this stage again"):
        TrainingFolder(run, recipe, fresh=False).stage_summary(1)


@pytest.mark.parametrize("text", ["=", "name = " + "9" * 5000, "name = " + "[" * 100_000])
def test_a_damaged_recipe_is_told_without_the_advice_to_train_afresh(run, recipe, text):
    (run / "checkpoints" / "recipe.toml").write_text(text)
    with pytest.raises(OutputError, match=r"recipe\.toml cannot be read .*Restore it, or name another folder\.$"):
        TrainingFolder(run, recipe, fresh=False)


@pytest.mark.parametrize("text", ["", "{", '{"log": ' + "[" * 100_000])
def test_an_incomplete_checkpoint_is_removed_and_other_folders_are_left_alone(run, recipe, text):
    stage = run / "checkpoints" / "stage-1"
    (stage / "checkpoint-10" / "trainer_state.json").write_text(text)
    (stage / "checkpoint-mine").mkdir()
    assert TrainingFolder(run, recipe, fresh=False).last_checkpoint(1) == stage / "checkpoint-5"
    assert not (stage / "checkpoint-10").exists()
    assert (stage / "checkpoint-mine").exists()


def test_a_checkpoint_that_cannot_be_read_now_is_kept(run, recipe, monkeypatch):
    def fail(*arguments: object, **settings: object) -> str:
        raise OSError(5, "Input/output error")

    folder = TrainingFolder(run, recipe, fresh=False)
    monkeypatch.setattr(Path, "read_text", fail)
    with pytest.raises(OutputError, match=r"trainer_state\.json cannot be read: Input/output error"):
        folder.last_checkpoint(1)
    assert (run / "checkpoints" / "stage-1" / "checkpoint-10").exists()


def test_a_new_folder_has_no_guessable_name_and_follows_no_link(tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("kept")
    names = set()
    for name in (".model.part", ".model.0.part"):
        (tmp_path / name).symlink_to(victim)
    for _ in range(3):
        with new_folder(tmp_path / "model") as part:
            names.add(part.name)
            (part / "file").write_text("new")
    assert len(names) == 3
    assert not any((tmp_path / name).exists() for name in names)
    assert (victim / "file").read_text() == "kept"
    killed = tmp_path / ".model.0123456789abcdef.part"
    killed.mkdir()
    (killed / "weights").write_text(json.dumps(0))
    with new_folder(tmp_path / "model") as part:
        part.replace(tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".model.0.part", ".model.part", "model", "victim"]


@pytest.mark.parametrize(
    "names",
    [
        ["recipe.toml", "model.safetensors"],
        ["recipe.toml"],
        ["checkpoints/optimizer.pt", "model.safetensors"],
        ["checkpoints/recipe.toml", "model.safetensors"],
        ["checkpoints/recipe.toml", "model-00001-of-00002.safetensors"],
        ["checkpoints/recipe.toml", "config.json"],
    ],
)
@pytest.mark.parametrize("fresh", [False, True])
def test_a_users_own_files_are_refused_before_training(tmp_path, recipe, names, fresh):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(recipe.to_toml())
    with pytest.raises(OutputError, match=r"not from a training|does not contain a bioqa training run"):
        TrainingFolder(tmp_path, recipe, fresh=fresh)
    assert all((tmp_path / name).exists() for name in names)


def finished_part(run: Path) -> Path:
    part = run / "checkpoints" / "finished"
    part.mkdir()
    for name in ("training.json", "recipe.toml", "model.safetensors", "tokenizer.json", "config.json"):
        (part / name).write_text("new")
    return part


def test_only_what_a_training_wrote_is_replaced(run, recipe):
    names = ("training.json", "recipe.toml", "model.safetensors", "model-00001-of-00002.safetensors")
    mine = ("model_backup.safetensors", "model.safetensors.bak", "notes.txt")
    for name in (*names, *mine):
        (run / name).write_text(recipe.to_toml() if name == "recipe.toml" else "old")
    TrainingFolder(run, recipe, fresh=False).publish(finished_part(run), keep_checkpoints=False)
    assert all((run / name).read_text() == "old" for name in mine)
    assert (run / "model.safetensors").read_text() == "new"
    assert not (run / "model-00001-of-00002.safetensors").exists()


def test_a_file_that_came_during_the_training_is_kept_and_the_run_too(run, recipe):
    folder = TrainingFolder(run, recipe, fresh=False)
    (run / "tokenizer.json").write_text("mine")
    with pytest.raises(OutputError, match=r"tokenizer\.json is not from a training.*Move it away"):
        folder.publish(finished_part(run), keep_checkpoints=False)
    assert (run / "tokenizer.json").read_text() == "mine"
    assert (run / "checkpoints" / "stage-1" / "model").exists()
    assert not (run / "config.json").exists()


def test_a_publication_that_was_killed_can_be_continued(run, recipe, monkeypatch):
    usual = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if self.name == "model.safetensors":
            raise KeyboardInterrupt
        return usual(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        TrainingFolder(run, recipe, fresh=False).publish(finished_part(run), keep_checkpoints=False)
    monkeypatch.undo()
    again = TrainingFolder(run, recipe, fresh=False)
    assert not again.finished
    (run / "checkpoints" / "finished").rename(run / "checkpoints" / "left")
    again.publish(finished_part(run), keep_checkpoints=False)
    assert (run / "config.json").exists()
