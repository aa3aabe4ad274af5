"""A service over the demo index with a tiny reranker, and its application called without a network."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiny_models import one_thread, tiny_reranker  # noqa: F401

pytest.importorskip("fastapi")


@pytest.fixture(scope="package")
def reranker(tiny_reranker: Path):  # noqa: F811
    """A tiny reranker; its folder says what its name is."""
    from bioqa import Reranker

    return Reranker(tiny_reranker, device="cpu")


@pytest.fixture
def client(demo_index: Path, reranker) -> Iterator:
    """A client of the application; ``client.app.state.service`` is the service."""
    from starlette.testclient import TestClient

    from bioqa.serve.app import create_app
    from bioqa.serve.service import Service

    app = create_app(Service.open([f"demo={demo_index}"], reranker))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client
