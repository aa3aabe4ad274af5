"""A fine-tuned reranker of BERT-base's size (12 layers, 768 wide) where no pretrained weights of that size can be had.

    python -m benchmarks.grown_bert_base

The default reranker is grown and trained on: each channel is doubled, its outgoing weights split at random between the two so that
they learn apart (Net2Net, Chen and others, 2016), and after each layer comes one that at first passes its input on. The grown model
scores nearly as the small one does. Then it is fine-tuned on BioASQ question-snippet pairs (`make default-reranker` says how
build/pairs is made), about a quarter of an hour on 2 CPU cores; a killed run goes on. The folder is
``build/benchmarks/models/bert-base-tuned``.
"""

import argparse
import math
import re
from pathlib import Path
from typing import Any

from benchmarks.machine import DATA

TUNED = DATA / "models" / "bert-base-tuned"
PAIRS = 3200
BLOCK = 32
"""Width of a head of the small model: a channel and its double stand so far apart, within one head of the grown model."""


def doubled(size: int) -> Any:
    """For each channel of the grown model, the channel of the small one that it comes from: shape (2 size,)."""
    import torch

    wide = torch.arange(2 * size)
    return wide // (2 * BLOCK) * BLOCK + wide % BLOCK


def widened(name: str, small: Any) -> Any:
    """A weight of twice the width, in and out, that computes the same of doubled channels."""
    import torch

    if small.dim() == 1:
        wide = small if name == "classifier.bias" else small[doubled(len(small))]
    elif "embeddings" in name:
        wide = small[:, doubled(small.shape[1])]
    else:
        rows = small if name == "classifier.weight" else small[doubled(len(small))]
        source = doubled(small.shape[1])
        share = 0.3 * (2 * torch.rand(rows.shape) - 1)
        sign = torch.where(torch.arange(len(source)) // BLOCK % 2 == 0, 1.0, -1.0)
        wide = rows[:, source] * (0.5 + sign * share[:, source])
    # Twice as many products under a root of twice the head's width.
    return wide / math.sqrt(2) if ".query." in name else wide


def grow(small: str, folder: Path) -> None:
    """Save the grown model with its tokenizer."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    start = BertForSequenceClassification.from_pretrained(small, dtype=torch.float32)
    sizes = start.config.to_dict()
    for key in ("hidden_size", "intermediate_size", "num_hidden_layers"):
        sizes[key] *= 2
    model = BertForSequenceClassification(BertConfig(**sizes)).float()
    weights = {
        re.sub(r"layer\.(\d+)", lambda found: f"layer.{2 * int(found[1])}", name): widened(name, value)
        for name, value in start.state_dict().items()
    }
    with torch.no_grad():
        model.load_state_dict(weights, strict=False)
        for before, after in zip(model.bert.encoder.layer[::2], model.bert.encoder.layer[1::2], strict=True):
            norm = before.output.LayerNorm
            spread = (norm.weight.square().mean() + norm.bias.var(correction=0)).sqrt()
            for part in (after.attention.output, after.output):
                part.dense.weight.mul_(0.1)
                part.LayerNorm.weight.fill_(spread)
                part.LayerNorm.bias.fill_(norm.bias.mean())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(small).save_pretrained(folder)


def tuned(pairs: int = PAIRS) -> Path:
    """The folder of the fine-tuned model, made on the first call."""
    from bioqa.rerank.model_folder.resolve import DEFAULT_FOLDER
    from bioqa.train.recipe import parse_recipe
    from bioqa.train.train_recipe import train_recipe

    grown = TUNED.with_name("bert-base-grown")
    if not (grown / "model.safetensors").is_file():
        grow(str(DEFAULT_FOLDER), grown)
    recipe = {
        "name": "bert-base-tuned",
        "model": {"base": str(grown), "max_length": 160, "freeze": ["embeddings.word_embeddings"]},
        "data": {"train": "build/pairs/snippets-train.parquet", "max_rows": pairs},
        "training": {
            "batch_size": 32,
            "learning_rate": 5e-5,
            "warmup": 0.1,
            "precision": "bf16",
            "save_steps": 25,
            "logging_steps": 10,
        },
        "export": {"max_length": 192},
    }
    return train_recipe(parse_recipe(recipe, "bert-base-tuned"), TUNED, progress=True).folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="to train on")
    print(tuned(parser.parse_args().pairs))


if __name__ == "__main__":
    main()
