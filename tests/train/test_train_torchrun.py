"""Training with several processes under torchrun."""

import json
import os
import subprocess
import sys

import pytest

from bioqa.train.train_recipe import train_recipe
from tests.support import REPOSITORY


@pytest.mark.slow
def test_two_processes_share_the_batches_and_write_one_model(recipe, tmp_path):
    made = recipe(training={"batch_size": 8, "eval_steps": 5, "save_steps": 5, "best_checkpoint": True})
    (tmp_path / "recipe.toml").write_text(made.to_toml())
    out = tmp_path / "two"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "bioqa"]
    done = subprocess.run(
        [*launch, "train", str(tmp_path / "recipe.toml"), "--out", str(out)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("step 5 of 9: dev loss") == 1
    assert done.stderr.count(f"The model is in {out}") == 1

    one, two = (facts(folder) for folder in (train_recipe(made, tmp_path / "one").folder, out))
    assert [one["processes"], two["processes"]] == [1, 2]
    assert [one["steps"], two["steps"]] == [18, 9]
    assert one["train_pairs"] == two["train_pairs"] == 144
    assert [(step, sorted(measures)) for step, measures in evaluations(two).items()] == [
        (step, sorted(evaluations(one)[10])) for step in (5, 9)
    ]
    kept = evaluations(two)[two["best_step"]]
    dev = json.loads((out / "bioqa.json").read_text())["dev"]
    assert dev["n"] == 60
    assert dev["average_precision"] == pytest.approx(kept["eval_dev_average_precision"], abs=1e-6)
    assert {file.name for file in out.iterdir()} == {file.name for file in (tmp_path / "one").iterdir()}


def facts(folder):
    (stage,) = json.loads((folder / "training.json").read_text())
    return stage


def evaluations(stage):
    return {entry["step"]: entry for entry in stage["log"] if "eval_loss" in entry}
