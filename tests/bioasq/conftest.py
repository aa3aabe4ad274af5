"""A tiny reranker."""

from tiny_models import tiny_reranker  # noqa: F401
