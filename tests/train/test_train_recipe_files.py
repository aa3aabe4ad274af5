"""Recipes are read strictly: what is unknown or out of range is named, with the file."""

import tomllib

import pytest

from bioqa.errors import UsageError
from bioqa.io.typed_toml import known_keys
from bioqa.train.recipe import RecipeFile, parse_recipe, read_recipe
from tests.train.training_files import RECIPES

GOOD = """
[model]
base = "base"
[data]
train = "train.parquet"
dev = "dev.parquet"
"""


def read(tmp_path, text, *overrides):
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return read_recipe(path, overrides)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[training]\nlerning_rate = 1e-4",
            "unknown key training.lerning_rate; the closest known key is training.learning_rate.",
        ),
        ("[model]\nbatch_size = 3", "unknown key model.batch_size; the closest known key is training.batch_size."),
        ("[trainign]\nepochs = 3", "unknown key trainign; the closest known key is training."),
        ("epochs = 3", "unknown key epochs; the closest known key is training.epochs."),
        ("[training]\nepochs = 0", "training.epochs must be between 0.001 and 1000, not 0."),
        ("[training]\nepochs = 'three'", "training.epochs must be a number, not 'three'."),
        ("[training]\nbatch_size = 2.5", "training.batch_size must be a whole number, not 2.5."),
        ("[training]\nbatch_size = true", "training.batch_size must be a whole number, not True."),
        ("[training]\nlearning_rate = nan", "training.learning_rate must be between 1e-09 and 1, not nan."),
        ("[model]\nmax_length = 2000000", "model.max_length must be between 8 and 1048576, not 2000000."),
        ("[training]\nwarmup = 500", "training.warmup must be between 0 and 0.999, not 500."),
        ("[training]\nprecision = 'fp61'", "must be one of 'fp32', 'fp16', 'bf16', not 'fp61'. Did you mean 'fp16'?"),
        ("[loss]\nname = 'bpr'", "loss.name must be one of 'bce', 'mse', 'ranknet'"),
        ("[loss]\npos_weight = -1", "loss.pos_weight must be between 1e-06 and 1000000, not -1."),
        ("[model]\nfreeze = [1]", "model.freeze must be a list of texts, not [1]."),
        ("[model]\nreplace_head = 1", "model.replace_head must be true or false, not 1."),
        ("training = 3", "training is a section; write [training]"),
        ("[data]\nquestion = 'q'", "data must set all of question, passage and label, or none of them."),
        ("[training]\nearly_stopping = 2", "early_stopping need data.dev and training.eval_steps."),
        ("[training]\nearly_stopping = 2\neval_steps = 5", "early_stopping needs training.best_checkpoint = true."),
        (
            "[training]\nbest_checkpoint = true\neval_steps = 4\nsave_steps = 6",
            "save_steps must be a multiple of eval_steps",
        ),
        (
            "[data]\ncurriculum = 0.5\n[training]\nepochs = 1.5",
            "data.curriculum needs a whole number of training.epochs.",
        ),
        (
            "[[stage]]\n[stage.training]\nepoch = 1",
            "unknown key stage.1.training.epoch; the closest known key is stage.1.training.epochs.",
        ),
        ("[[stage]]\n[stage.model]\nbase = 'b'", "stage.1.model.base cannot be set; set it in [model]."),
        ("[[stage]]\n[stage.export]\nmax_length = 9", "unknown key stage.1.export; the closest known key is export."),
        ("[stage]\nname = 'one'", "write each stage as [[stage]]."),
    ],
)
def test_bad_recipes(text, message):
    raw = {"model": {"base": "base"}, "data": {"train": "train.parquet", "dev": "dev.parquet"}}
    for key, value in tomllib.loads(text).items():
        raw[key] = raw.get(key, {}) | value if isinstance(value, dict) else value
    with pytest.raises(UsageError) as caught:
        parse_recipe(raw, "recipe.toml")
    assert str(caught.value).startswith("recipe.toml: ")
    assert message in str(caught.value)


def test_a_file_that_is_not_toml_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"recipe.toml is not TOML: .*line 1"):
        read(tmp_path, "[training\nepochs = 1")


def test_missing_required_settings_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"model.base is not set. Set it there or with --set model.base=…"):
        read(tmp_path, "[data]\ntrain = 'x'")
    with pytest.raises(UsageError, match=r"data.train is not set"):
        read(tmp_path, "[model]\nbase = 'x'")
    with pytest.raises(UsageError, match=r"There is no recipe .*nothing.toml"):
        read_recipe(tmp_path / "nothing.toml")


def test_overrides_take_precedence(tmp_path):
    text = GOOD + "[training]\nepochs = 3\n[[stage]]\n[[stage]]\n[stage.training]\nepochs = 5\nprecision = 'fp16'\n"
    first, second = read(tmp_path, text).stages
    assert (first.training.epochs, second.training.epochs, second.training.precision) == (3, 5, "fp16")
    first, second = read(
        tmp_path, text, "training.precision=fp32", "training.epochs=0.5", "data.dev=a b.parquet"
    ).stages
    assert (first.training.epochs, second.training.epochs, second.training.precision) == (0.5, 0.5, "fp32")
    assert second.data.dev == ("a b.parquet",)
    first, second = read(tmp_path, text, "stage.1.training.epochs=9", 'model.freeze=["a", "b"]').stages
    assert (first.training.epochs, second.training.epochs, second.model.freeze) == (9, 5, ("a", "b"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs", "--set training.epochs: write it as key=value"),
        (
            "training.epoch=3",
            "--set training.epoch=3: unknown key training.epoch; the closest known key is training.epochs.",
        ),
        ("training.epochs=many", "--set training.epochs=many: training.epochs must be a number, not 'many'."),
        ("training=3", "--set training=3: training is a section; write [training] and its keys below."),
        (
            "stage.2.training.epochs=1",
            "--set stage.2.training.epochs=1: the file has no [[stage]].",
        ),
    ],
)
def test_bad_overrides(override, message, tmp_path):
    with pytest.raises(UsageError) as caught:
        read(tmp_path, GOOD, override)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stage.3.training.epochs=1", "there is no stage '3'. There are warm up, 2."),
        ("stage.².training.epochs=1", "there is no stage '²'. There are warm up, 2."),
        ("stage.2.training.epochs=0", "stage.2.training.epochs must be between 0.001 and 1000, not 0."),
        (
            "stage.1.training.epoch=2",
            "unknown key stage.warm up.training.epoch; the closest known key is stage.warm up.training.epochs.",
        ),
        ("stage.warm up.loss.name=bcee", "stage.warm up.loss.name must be one of 'bce', "),
    ],
)
def test_bad_overrides_of_a_stage_name_it(override, message, tmp_path):
    with pytest.raises(UsageError) as caught:
        read(tmp_path, GOOD + "[[stage]]\nname = 'warm up'\n[[stage]]\n", override)
    assert str(caught.value).startswith(f"--set {override}: ")
    assert message in str(caught.value)


def test_an_override_can_name_a_stage(tmp_path):
    text = GOOD + "[[stage]]\nname = 'warm up'\n[[stage]]\n"
    first, second = read(tmp_path, text, "stage.warm up.training.epochs=3", "stage.2.training.epochs=4").stages
    assert (first.training.epochs, second.training.epochs) == (3, 4)
    first, second = read(tmp_path, text, "stage.2.training.epochs=4", "training.epochs=5").stages
    assert (first.training.epochs, second.training.epochs) == (5, 5)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_resolved_recipe_is_equal_to_the_recipe(path, tmp_path):
    recipe = read_recipe(path)
    text = recipe.to_toml()
    assert read(tmp_path, text) == recipe
    sections = {"data", "loss", "training", "model", "export"}
    keys = {key for key in known_keys(RecipeFile) if key.partition(".")[0] in sections and "." in key}
    assert all(f"\n{key.partition('.')[2]} = " in text for key in keys)


def test_a_recipe_without_stages_has_one():
    recipe = parse_recipe({"model": {"base": "b"}, "data": {"train": ["x", "y"]}})
    assert [stage.name for stage in recipe.stages] == ["stage 1"]
    assert recipe.stages[0].data.train == ("x", "y")
