"""The tiny reranker, for the tests that score pairs."""

from tests.tiny_models import tiny_reranker  # noqa: F401
