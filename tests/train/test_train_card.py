"""The model card of a trained model has the sections and the metadata of published cards."""

import json
import re

import pytest


@pytest.fixture
def card(trained):
    return (trained / "README.md").read_text(encoding="utf-8")


def section(card, heading):
    """The text below a heading, up to the next one."""
    assert card.count(f"\n{heading}\n") == 1, heading
    return re.split(r"\n##+ ", card.split(f"\n{heading}\n")[1])[0]


@pytest.mark.parametrize(
    "heading",
    [
        *("## Model Details", "### Model Description", "### Model Sources", "## Usage", "## Evaluation", "### Metrics"),
        *("#### Cross Encoder Classification", "## Decision threshold and calibration", "## Training Details"),
        *("### Training Dataset", "### Evaluation Dataset", "### Data Statistics", "### Training Hyperparameters"),
        *("#### Non-Default Hyperparameters", "#### All Hyperparameters", "### Training Logs", "### Training Time"),
        *("### Training Hardware", "### Framework Versions", "## Recipe", "## Citation", "### BibTeX"),
    ],
)
def test_sections(heading, card):
    assert f"\n{heading}\n" in card


def test_usage_names_the_folder(card):
    usage = section(card, "### Direct Usage (Sentence Transformers)")
    assert 'model = CrossEncoder("model")' in usage
    assert "model.predict(pairs)" in usage
    assert "model.rank(" in usage
    assert "Hub" not in usage


def test_measures_and_threshold(trained, card):
    decision = json.loads((trained / "bioqa.json").read_text())
    assert f"**{round(decision['dev']['average_precision'], 4)}**" in section(card, "#### Cross Encoder Classification")
    text = section(card, "## Decision threshold and calibration")
    assert f"with a score of at least **{decision['threshold']:.4f}** counts as relevant" in text
    assert f"| F1 | {decision['dev']['f1']:.4f} |" in text
    assert f"{decision['ece_before']:.4f} before calibration, {decision['ece_after']:.4f} after" in text
    assert "probability (logistic function of the logit" in text


def test_data_statistics_and_samples(card):
    statistics = section(card, "### Data Statistics")
    assert "| training | 360 | 60 | 33.3% |" in statistics
    assert "| 240 bm25, 120 gold |" in statistics
    assert [statistics.count(f"\n| {use} |") for use in ("training", "dev")] == [4, 4]
    for dataset, rows in (("#### train", "Size: 360 training samples"), ("#### dev", "Size: 120 evaluation samples")):
        text = section(card, dataset)
        assert rows in text
        assert text.count("CFTR") >= 2
        assert "min: " in text
        assert "BinaryCrossEntropyLoss" in text


def test_hyperparameters(card):
    apart = section(card, "#### Non-Default Hyperparameters")
    assert "- `learning_rate`: 0.003" in apart
    assert "weight_decay" not in apart
    assert "- `weight_decay`: 0.0" in section(card, "#### All Hyperparameters")
    assert 'base = "' in section(card, "## Recipe")
    assert "Which passages name CFTR?" in section(card, "## Recipe")


def test_log_with_the_checkpoint_that_was_kept(trained, card):
    log = section(card, "### Training Logs")
    best = json.loads((trained / "training.json").read_text())[0]["best_step"]
    assert "| Epoch" in log
    assert all(title in log for title in ("Step", "Training Loss", "Validation Loss", "dev_average_precision"))
    assert f"**{best}**" in log


def test_a_base_model_that_is_not_on_the_hub_is_named(trained, card):
    base = trained.parent / "base"
    assert f"- **Base model:** `{base}`" in section(card, "### Model Description")


def test_metadata_for_the_hub(card):
    from huggingface_hub import ModelCard

    data = ModelCard(card).data
    assert (data.pipeline_tag, data.library_name, data.language) == ("text-ranking", "sentence-transformers", ["en"])
    assert {"cross-encoder", "reranker", "loss:BinaryCrossEntropyLoss", "dataset_size:360"} <= set(data.tags)
    assert "average_precision" in {result.metric_type for result in data.eval_results}
