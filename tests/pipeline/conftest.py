"""Tiny models of every architecture."""

from tests.rerank.conftest import plain, question  # noqa: F401
from tests.tiny_models import one_thread, tiny_reranker  # noqa: F401
