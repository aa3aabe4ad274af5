"""Small pairs files and recipes for tests of training."""

import random
from pathlib import Path

from bioqa.pairs.pair_file import Pair, write_pairs
from tests.tiny_models import WORDS

RECIPES = Path(__file__).resolve().parents[2] / "benchmarks" / "recipes"


def pairs(questions: int, seed: int = 0) -> list[Pair]:
    """Two relevant and four other passages per question; "CFTR" is in all relevant passages and in few others."""
    rng = random.Random(seed)
    other = [word for word in WORDS if word != "CFTR"]
    made = []
    for number in range(questions):
        question = f"{' '.join(rng.sample(other, 6))} {seed} {number}?"
        for position in range(6):
            relevant = position < 2
            words = rng.choices(other, k=rng.randint(4, 24))
            if relevant or rng.random() < 0.05:
                words.insert(rng.randint(0, len(words)), "CFTR CFTR")
            kind, rank = ("gold", 0) if relevant else ("bm25", position - 1)
            made.append(
                Pair(question, " ".join(words), float(relevant), f"{seed}-{number}", str(len(made)), kind, rank)
            )
    return made


def write(path: Path, questions: int, seed: int = 0) -> Path:
    """A pairs file with six pairs per question."""
    write_pairs(path, pairs(questions, seed))
    return path
