"""``bioqa train``: a recipe and pairs files → a reranker."""

import os
from pathlib import Path

import click

from bioqa.cli.output import note


@click.command(name="train")
@click.argument("recipe", metavar="RECIPE.toml", type=click.Path(path_type=Path))
@click.option(
    "--out", metavar="FOLDER", type=click.Path(path_type=Path), help="Folder for the model.  [default: models/RECIPE]"
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a key, such as training.epochs=1.")
@click.option(
    "--resume/--fresh", default=True, show_default=True, help="Go on with an interrupted training, or begin anew."
)
def command(recipe: Path, out: Path | None, overrides: tuple[str, ...], resume: bool) -> None:
    """Train a reranker by RECIPE.toml and write it to FOLDER, with its model card, settings, curves and threshold.

    The same command goes on with a training that was interrupted. On several GPUs: torchrun --nproc-per-node N -m bioqa train …
    """
    from bioqa.train.recipe import read_recipe
    from bioqa.train.train_recipe import train_recipe

    out = out or Path("models") / recipe.stem
    trained = train_recipe(read_recipe(recipe, overrides), out, fresh=not resume, progress=True)
    if os.environ.get("RANK", "0") == "0":
        already = "" if trained.new else " already (--fresh trains it anew)"
        note(f"The model is in {trained.folder}{already}; its README.md is the model card.")
