"""Training runs: their output, resuming after a kill, stages, losses, and failures."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file

from bioqa.errors import LeakError, ModelError, OutputError, PairsError, TrainingError, UsageError
from bioqa.pairs.pair_file import TEACHER_SCORE, write_pairs
from bioqa.pairs.read_pairs import read_pairs
from bioqa.train.datasets import labels, read_train, to_examples
from bioqa.train.losses import LOSSES, make_loss
from bioqa.train.train_recipe import train_recipe
from tests.support import REPOSITORY
from tests.tiny_models import build
from tests.train.training_files import pairs

PNG = b"\x89PNG\r\n"
FILES = {
    "reliability.png",
    "README.md",
    "bioqa.json",
    "config.json",
    "curves.png",
    "model.safetensors",
    "recipe.toml",
    "training.json",
}


def weights(folder):
    return load_file(folder / "model.safetensors")


def log(folder):
    return [entry for stage in json.loads((folder / "training.json").read_text()) for entry in stage["log"]]


def test_training_learns_and_keeps_the_best_checkpoint(trained):
    entries = log(trained)
    precision = [entry["eval_dev_average_precision"] for entry in entries if "eval_dev_average_precision" in entry]
    assert len(precision) == 6
    assert max(precision) > 0.75
    assert max(precision) > precision[0] + 0.1
    decision = json.loads((trained / "bioqa.json").read_text())
    assert decision["dev"]["average_precision"] == pytest.approx(max(precision), abs=1e-6)
    assert {file.name for file in trained.iterdir()} >= FILES
    assert not (trained / "checkpoints").exists()
    assert (trained / "curves.png").read_bytes().startswith(PNG)


@pytest.mark.slow
def test_a_killed_training_resumes(recipe, data, tmp_path, monkeypatch):
    made = recipe(training={"batch_size": 8, "epochs": 3, "eval_steps": 5, "best_checkpoint": True})  # 54 steps
    whole = train_recipe(made, tmp_path / "whole").folder
    (tmp_path / "recipe.toml").write_text(made.to_toml())
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "bioqa", "train", str(tmp_path / "recipe.toml"), "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    state = out / "checkpoints" / "stage-1" / "checkpoint-25" / "trainer_state.json"  # in the second epoch
    while not state.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (out / "config.json").exists()
    last = max(int(path.parent.name.rpartition("-")[2]) for path in out.glob("checkpoints/stage-1/checkpoint-*/*.json"))
    torn = out / "checkpoints" / "stage-1" / "checkpoint-50"
    torn.mkdir()  # a kill while a checkpoint is written leaves it like this
    (torn / "trainer_state.json").write_text('{"global_step": 50')

    from bioqa.train.pair_trainer import PairTrainer

    steps = []
    monkeypatch.setattr(PairTrainer, "training_step", _counted(PairTrainer.training_step, steps))
    train_recipe(made, out)
    assert len(steps) == 54 - last
    for name, weight in weights(whole).items():
        np.testing.assert_allclose(weights(out)[name].numpy(), weight.numpy(), atol=1e-6, err_msg=name)
    curve = [(entry["step"], entry["eval_loss"]) for entry in log(whole) if "eval_loss" in entry]
    assert [
        (entry["step"], pytest.approx(entry["eval_loss"], abs=1e-5)) for entry in log(out) if "eval_loss" in entry
    ] == curve
    assert not (out / "checkpoints").exists()


def test_a_failed_export_is_repeated_without_training(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("bioqa.train.export.save_reliability", lambda path, evaluation: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train_recipe(recipe(), tmp_path / "model")
    assert [entry.name for entry in (tmp_path / "model").iterdir()] == ["checkpoints"]
    monkeypatch.undo()
    monkeypatch.setattr("bioqa.train.train_stage.train_stage", None)
    assert train_recipe(recipe(), tmp_path / "model").new
    assert {file.name for file in (tmp_path / "model").iterdir()} >= FILES


def _counted(step, steps):
    def counted(trainer, *arguments, **options):
        steps.append(trainer.state.global_step)
        return step(trainer, *arguments, **options)

    return counted


def test_another_run_is_not_overwritten_without_fresh(recipe, tmp_path):
    out = tmp_path / "model"
    assert train_recipe(recipe(), out).new
    before = weights(out)
    assert not train_recipe(recipe(), out).new
    changed = recipe(training={"learning_rate": 1e-3})
    with pytest.raises(UsageError, match=r"other settings \(stage.1.training.learning_rate = 0.003, now 0.001\)"):
        train_recipe(changed, out)
    assert train_recipe(changed, out, fresh=True).new
    assert any((weight != before[name]).any() for name, weight in weights(out).items())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not empty and does not contain a bioqa training run"):
        train_recipe(recipe(), tmp_path / "other", fresh=True)
    assert [file.name for file in (tmp_path / "other").iterdir()] == ["letter.txt"]
    with pytest.raises(OutputError, match="cannot be read: File name too long"):
        train_recipe(recipe(), tmp_path / ("a" * 300))


def test_stages_follow_each_other(recipe, tmp_path, monkeypatch):
    second = {
        "name": "hard",
        "training": {"epochs": 2, "batch_size": 24},
        "model": {"max_length": 32},
        "loss": {"name": "ranknet"},
    }
    made = recipe(stage=[{"name": "first"}, second])
    from bioqa.train import train_stage

    started_from = []
    monkeypatch.setattr(train_stage, "load_base_model", _noted(train_stage.load_base_model, started_from))
    out = train_recipe(made, tmp_path / "model").folder
    assert started_from == [None, out / "checkpoints" / "stage-1" / "model"]
    facts = json.loads((out / "training.json").read_text())
    assert [(one["stage"], one["steps"]) for one in facts] == [("first", 9), ("hard", 4)]
    card = (out / "README.md").read_text()
    assert "| Stage |" in card
    assert "RankNetLoss" in card
    assert json.loads((out / "bioqa.json").read_text())["trained_on_tokens"] == 32


def _noted(load, started_from):
    def noted(settings, folder):
        started_from.append(folder)
        return load(settings, folder)

    return noted


@pytest.mark.parametrize("loss", sorted(set(LOSSES) - {"bce"}))
def test_every_loss_trains(loss, recipe, tmp_path):
    data: dict[str, str] = {}
    if LOSSES[loss].teacher:
        scored = tmp_path / "scored.parquet"
        table = read_pairs(recipe().stages[0].data.train[0])
        pq.write_table(table.append_column(TEACHER_SCORE, pa.array(4 * labels(table) - 2)), scored)
        data = {"train": str(scored)}
    made = recipe(data=data, loss={"name": loss, "list_size": 4}, training={"batch_size": 12, "eval_steps": 4})
    out = train_recipe(made, tmp_path / "model").folder
    losses = [entry["loss"] for entry in log(out) if "loss" in entry]
    assert losses
    assert np.isfinite(losses).all()
    assert LOSSES[loss].class_name in (out / "README.md").read_text()


@pytest.mark.parametrize("loss", ["margin_mse", "teacher_mse", "teacher_listnet"])
def test_distillation_without_teacher_scores_is_refused(loss, recipe, tmp_path):
    with pytest.raises(PairsError, match=f"the loss {loss} learns from teacher scores.*bioqa pairs score"):
        train_recipe(recipe(loss={"name": loss}), tmp_path / "model")
    assert not (tmp_path / "model" / "config.json").exists()


def test_infonce_is_the_cross_entropy_of_the_relevant_passage(tmp_path):
    import torch
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(build(tmp_path / "model")), device="cpu")
    questions = ["what causes asthma", "which gene"]
    passages = [["asthma is common", "fever", "a gene"], ["a gene is mutated", "asthma"]]
    labels = [torch.tensor([0.0, -torch.inf, -torch.inf]), torch.tensor([0.0, -torch.inf])]  # the logarithms of 1 and 0
    model.eval()
    loss = make_loss("infonce", model)([questions, passages], labels)
    expected = []
    for question, texts in zip(questions, passages, strict=True):
        logits = model.predict([(question, text) for text in texts], activation_fn=torch.nn.Identity())
        expected.append(float(np.log(np.exp(logits).sum()) - logits[0]))
    assert loss.item() == pytest.approx(np.mean(expected), abs=1e-5)


def test_the_lists_of_infonce_have_logarithms_as_labels(recipe):
    stage = recipe(loss={"name": "infonce", "list_size": 4}).stages[0]
    first = to_examples(read_train(stage), stage)[0]
    assert first["labels"] == [0.0, -np.inf, -np.inf, -np.inf]


def test_a_curriculum_narrows_to_the_hardest_negatives(recipe, tmp_path, monkeypatch):
    from bioqa.train.pair_trainer import PairTrainer

    seen = []
    monkeypatch.setattr(PairTrainer, "compute_loss", _recorded(PairTrainer.compute_loss, seen))
    out = train_recipe(
        recipe(data={"curriculum": 0.25}, training={"epochs": 2, "batch_size": 8}), tmp_path / "model"
    ).folder
    # 24 questions with 2 positives each, and 4 negatives in the first epoch, 1 in the last.
    assert [len(seen), sum(seen[:18]), sum(seen[18:])] == [27, 24 * 6, 24 * 3]
    assert json.loads((out / "training.json").read_text())[0]["steps"] == 27


def _recorded(compute_loss, seen):
    def recorded(trainer, model, inputs, *arguments, **options):
        if model.training:
            seen.append(len(inputs["question"]))
        return compute_loss(trainer, model, inputs, *arguments, **options)

    return recorded


def test_early_stopping(recipe, tmp_path):
    settings = {"learning_rate": 1e-9, "epochs": 20, "eval_steps": 2, "best_checkpoint": True, "early_stopping": 2}
    out = train_recipe(recipe(training=settings), tmp_path / "model").folder
    facts = json.loads((out / "training.json").read_text())[0]
    assert facts["steps"] == facts["best_step"] + 4 < 20


@pytest.mark.slow
def test_gradient_checkpointing_and_workers_give_the_same_weights(recipe, tmp_path):
    settings = {"batch_size": 8, "max_grad_norm": 0.0}
    plain = weights(train_recipe(recipe(training=settings), tmp_path / "plain").folder)
    for name, other in (("checkpointed", {"gradient_checkpointing": True}), ("workers", {"workers": 2})):
        made = weights(train_recipe(recipe(training=settings | other), tmp_path / name).folder)
        for key, weight in plain.items():
            np.testing.assert_allclose(made[key].numpy(), weight.numpy(), atol=1e-5, err_msg=f"{name} {key}")


def test_a_diverging_training_writes_no_model(recipe, data, tmp_path):
    base = shutil.copytree(data / "base", tmp_path / "base")
    broken = load_file(base / "model.safetensors")
    broken["encoder.layer.1.output.dense.bias"][0] = float("inf")
    save_file(broken, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        TrainingError,
        match=r"the loss is not finite from step 1 of 9. Try a lower training.learning_rate \(now 0.003",
    ):
        train_recipe(recipe(model={"base": str(base)}), tmp_path / "model")
    assert [entry.name for entry in (tmp_path / "model").iterdir()] == ["checkpoints"]
    assert not list((tmp_path / "model").rglob("*.safetensors"))


def test_a_training_without_dev_pairs(recipe, tmp_path):
    out = train_recipe(recipe(data={"dev": ""}), tmp_path / "model").folder
    decision = json.loads((out / "bioqa.json").read_text())
    assert decision == {
        "threshold": None,
        "calibration": None,
        "first_stage_weight": 0.0,
        "first_stage_weight_chosen_by": "base model: there are no dev pairs",
        "trained_on_tokens": 64,
    }
    assert "None: there were no dev pairs" in (out / "README.md").read_text()


@pytest.mark.parametrize("name", ["train", "dev"])
def test_pairs_of_a_single_class(name, recipe, tmp_path):
    path = tmp_path / "one.parquet"
    write_pairs(path, [pair for pair in pairs(5) if pair.label])
    with pytest.raises(
        PairsError, match=rf"one.parquet: no negative pair among 10 \({name}\). Both classes are needed."
    ):
        train_recipe(recipe(data={name: str(path)}), tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ({"base": "no/such-model"}, ModelError, "The base model no/such-model cannot be loaded"),
        (
            {"base": "./no-such-model"},
            ModelError,
            "There is no base model folder ./no-such-model. Check the path",
        ),
        ({"base": "package:no_such_package"}, ModelError, "The Python package no_such_package is not installed."),
        ({"base": "package:click"}, ModelError, "The Python package click contains no model."),
        ({"max_length": 65}, UsageError, "model.max_length is 65, but .* reads at most 64 tokens."),
        (
            {"freeze": ["encoder.layers"]},
            UsageError,
            "model.freeze: no weight of the base model has 'encoder.layers' in its name.",
        ),
    ],
)
def test_unusable_base_models(model, error, message, recipe, tmp_path):
    with pytest.raises(error, match=message):
        train_recipe(recipe(model=model), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_an_empty_output_folder_stays_if_the_base_model_is_unusable(recipe, tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(ModelError):
        train_recipe(recipe(model={"base": "./none"}), tmp_path / "model")
    assert not list((tmp_path / "model").iterdir())


def test_an_interrupted_training_resumes(recipe, tmp_path, monkeypatch):
    from bioqa.train.pair_trainer import PairTrainer

    made = recipe(training={"batch_size": 24, "save_steps": 2})  # 6 steps
    step = PairTrainer.training_step

    def interrupt(trainer, *arguments, **options):
        if trainer.state.global_step == 3:
            raise KeyboardInterrupt
        return step(trainer, *arguments, **options)

    monkeypatch.setattr(PairTrainer, "training_step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_recipe(made, tmp_path / "model")
    assert [entry.name for entry in (tmp_path / "model").iterdir()] == ["checkpoints"]
    steps = []
    monkeypatch.setattr(PairTrainer, "training_step", _counted(step, steps))
    assert train_recipe(made, tmp_path / "model").new
    assert steps == [2, 3, 4, 5]


def test_columns_by_name(recipe, data, tmp_path):
    import pyarrow.parquet as pq

    table = pq.read_table(data / "train.parquet").select(["question", "passage", "label"])
    pq.write_table(table.rename_columns(["left", "right", "same"]), tmp_path / "own.parquet")
    columns = {"question": "left", "passage": "right", "label": "same", "dev": ""}
    files = {"train": str(tmp_path / "own.parquet"), **columns}
    dev = str(shutil.copy(tmp_path / "own.parquet", tmp_path / "dev.parquet"))
    with pytest.raises(UsageError, match=r"data.leak_check needs pairs files, not files with other columns"):
        train_recipe(recipe(data={**files, "dev": dev}), tmp_path / "model")
    out = train_recipe(recipe(data=files), tmp_path / "model").folder
    assert "| training | 144 | 24 | 33.3% |" in (out / "README.md").read_text()


def test_a_bi_encoder_as_base(recipe, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    words = Transformer(str(build(tmp_path / "plain", head="")))
    SentenceTransformer(modules=[words, Pooling(32)], device="cpu").save(
        str(tmp_path / "base"), create_model_card=False
    )
    out = train_recipe(recipe(model={"base": str(tmp_path / "base")}), tmp_path / "model").folder
    assert json.loads((Path(out) / "config.json").read_text())["architectures"] == ["BertForSequenceClassification"]


def test_leaks_into_training_are_refused(recipe, data, tmp_path):
    path = tmp_path / "test.parquet"
    write_pairs(path, [*pairs(3, seed=9), *pairs(2, seed=1)])
    with pytest.raises(LeakError, match=r"data.held_out and data.train both name .*train.parquet"):
        train_recipe(recipe(data={"held_out": str(data / "train.parquet")}), tmp_path / "model")
    with pytest.raises(LeakError, match=r"2 question\(s\) of .*test.parquet in .*train.parquet; 12 passage\(s\) of"):
        train_recipe(recipe(data={"held_out": str(path)}), tmp_path / "model")
    assert train_recipe(recipe(data={"held_out": str(path), "leak_check": "none"}), tmp_path / "other").new


@pytest.mark.parametrize("name", ["train", "dev"])
def test_contradicting_labels_are_refused_before_training(name, recipe, tmp_path):
    path = tmp_path / "doubtful.parquet"
    made = pairs(5, seed=9)
    write_pairs(path, [*made, made[0]._replace(label=0.0)])
    with pytest.raises(PairsError, match=r"doubtful.parquet, row 1 and .*doubtful.parquet, row 31: the same question"):
        train_recipe(recipe(data={name: str(path)}), tmp_path / "model")
    assert not (tmp_path / "model").exists()
