"""Tiny encoders, and texts to encode with them."""

from tests.tiny_models import one_thread  # noqa: F401
