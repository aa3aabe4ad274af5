"""A tiny reranker."""

from tests.tiny_models import tiny_reranker  # noqa: F401
