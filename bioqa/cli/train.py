"""``bioqa train``: a recipe and training pairs → a reranker."""

import os
from pathlib import Path

import click

from bioqa.cli.commands import Command
from bioqa.cli.output import note


@click.command(
    name="train",
    cls=Command,
    example="bioqa train recipe.toml --out models/mine --set training.epochs=1\n"
    "torchrun --nproc-per-node 4 -m bioqa train recipe.toml",
)
@click.argument("recipe", metavar="RECIPE.toml", type=click.Path(path_type=Path))
@click.option(
    "--out", metavar="FOLDER", type=click.Path(path_type=Path), help="Folder for the model.  [default: models/RECIPE]"
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the recipe, such as training.epochs=1. Can be repeated.",
)
@click.option(
    "--resume/--fresh", default=True, show_default=True, help="Resume an interrupted training, or start over."
)
def command(recipe: Path, out: Path | None, overrides: tuple[str, ...], resume: bool) -> None:
    """Train a reranker from RECIPE.toml.

    The model folder has the weights, settings (threshold, calibration, first-stage weight), curves and a model card. An
    interrupted training resumes when the same command is given again.
    """
    from bioqa.train.recipe import read_recipe
    from bioqa.train.train_recipe import train_recipe

    out = out or Path("models") / recipe.stem
    trained = train_recipe(read_recipe(recipe, overrides), out, fresh=not resume, progress=True)
    if os.environ.get("RANK", "0") == "0":
        already = "" if trained.new else " already (--fresh trains it again)"
        note(f"The model is in {trained.folder}{already}; its README.md is the model card.")
