"""Tiny models of every architecture, and texts to score with them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tiny_models import build, one_thread, tiny_reranker  # noqa: F401

QUESTION = "Which gene is mutated in cystic fibrosis?"
PASSAGES = [
    "The CFTR gene is mutated in cystic fibrosis.",
    "Malaria is caused by Plasmodium parasites, which are transmitted by mosquitoes. " * 8,
    "",
    "Aspirin inhibits inflammation and pain",
    "Drugs used to treat children: α, é, 日本 and 𝒳.",
    "the protein of the cell " * 30,
    "The CFTR gene is mutated in cystic fibrosis.",
]


@pytest.fixture
def question() -> str:
    return QUESTION


@pytest.fixture
def passages() -> list[str]:
    """Seven passages: two much longer than the models' 64 tokens, one empty, the first and the last equal."""
    return list(PASSAGES)


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model in plain transformers layout, by the name of its architecture; must not be changed."""
    folder = tmp_path_factory.mktemp("models")

    def get(architecture: str) -> Path:
        path = folder / architecture
        return path if path.is_dir() else build(path, architecture)

    return get
