"""Fixtures of the training tests."""

from tiny_models import tiny_reranker

__all__ = ["tiny_reranker"]
