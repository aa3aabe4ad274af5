"""A fine-tuned reranker of BERT-base's size (12 layers, 768 wide), for machines without access to pretrained weights of that size.

    python -m benchmarks.grown_bert_base

The default reranker is grown and then trained further. Each channel is doubled, its outgoing weights split at random between the
two copies so that they diverge (Net2Net, Chen and others, 2016), and each layer is followed by a new one that at first passes its
input on. The grown model scores almost like the small one. It is then fine-tuned on BioASQ question-snippet pairs
(`make default-reranker` creates build/pairs), for about a quarter of an hour on 2 CPU cores; interrupted runs resume. The folder is
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
"""Width of a head of the small model: the distance between a channel and its copy, which are in one head of the grown model."""


def doubled(size: int) -> Any:
    """For each channel of the grown model, the index of the small model's channel that it copies: int64 (2 · size,)."""
    import torch

    wide = torch.arange(2 * size)
    return wide // (2 * BLOCK) * BLOCK + wide % BLOCK


def widened(name: str, small: Any) -> Any:
    """A weight of twice the width, in and out, that computes the same for doubled channels."""
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
    # Attention sums twice as many products, and divides them by the square root of twice the head's width.
    return wide / math.sqrt(2) if ".query." in name else wide


def grow(small: str, folder: Path) -> None:
    """Grow the model in the folder ``small`` and save it with its tokenizer to ``folder``."""
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
    """The folder of the fine-tuned model, created on the first call."""
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
    parser.add_argument("--pairs", type=int, default=PAIRS, help="Number of pairs to train on.")
    print(tuned(parser.parse_args().pairs))


if __name__ == "__main__":
    main()
