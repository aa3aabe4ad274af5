"""Cross-encoder reranking: score passages for a question, rank them, and pick the sentences that answer it.

Importing this package loads neither torch, transformers nor numpy; they load when a name below is first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bioqa.rerank.answers import best_sentences
    from bioqa.rerank.reranker import Reranker, Scores

__all__ = ["Reranker", "Scores", "best_sentences"]

_HOME = {"Reranker": "reranker", "Scores": "reranker", "best_sentences": "answers"}


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
