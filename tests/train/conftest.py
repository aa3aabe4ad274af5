"""Tiny base models, pairs files and recipes for training them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bioqa.train.recipe import Recipe, parse_recipe
from bioqa.train.train_recipe import train_recipe
from tests.tiny_models import build, on_one_thread, one_thread  # noqa: F401
from tests.train.training_files import write


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.parquet, dev.parquet (small) and a BERT without a head in base."""
    folder = tmp_path_factory.mktemp("training")
    write(folder / "train.parquet", 24, seed=1)
    write(folder / "dev.parquet", 10, seed=2)
    build(folder / "base", head="")
    return folder


@pytest.fixture
def recipe(data: Path) -> Callable[..., Recipe]:
    """A recipe that trains the BERT on the small files; keyword arguments are sections of settings."""

    def make(**sections: dict[str, object]) -> Recipe:
        raw: dict[str, dict[str, object]] = {
            "model": {"base": str(data / "base"), "max_length": 64},
            "data": {"train": str(data / "train.parquet"), "dev": str(data / "dev.parquet")},
            "training": {"learning_rate": 3e-3, "logging_steps": 2},
        }
        for name, section in sections.items():
            raw[name] = {**raw.get(name, {}), **section} if isinstance(section, dict) else section
        return parse_recipe(raw)

    return make


@pytest.fixture(scope="package")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model trained until it separates relevant passages from others."""
    folder = tmp_path_factory.mktemp("trained")
    raw = {
        "name": "cftr",
        "description": "Which passages name CFTR?",
        "model": {"base": str(build(folder / "base", head="")), "max_length": 64},
        "data": {
            "train": str(write(folder / "train.parquet", 60, seed=3)),
            "dev": str(write(folder / "dev.parquet", 20, seed=4)),
        },
        "training": {
            "learning_rate": 3e-3,
            "epochs": 6,
            "eval_steps": 23,
            "best_checkpoint": True,
            "logging_steps": 20,
        },
    }
    with on_one_thread():  # only tests are so by themselves
        return train_recipe(parse_recipe(raw), folder / "model").folder
