"""Services over the demo index with a tiny reranker, called without a network or on the loopback interface."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import one_thread, tiny_reranker  # noqa: F401

pytest.importorskip("fastapi")


@pytest.fixture(scope="package")
def reranker(tiny_reranker: Path) -> Any:  # noqa: F811
    from bioqa import Reranker

    return Reranker(tiny_reranker, device="cpu")


class GatedReranker:
    """A reranker that computes only while ``gate`` is set; ``batches`` are the numbers of pairs that it was given."""

    def __init__(self, reranker: Any) -> None:
        self._reranker = reranker
        self.gate = threading.Event()
        self.batches: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reranker, name)

    def score_encoded(self, encoded: Any) -> Any:
        self.batches.append(len(encoded))
        assert self.gate.wait(30)
        return self._reranker.score_encoded(encoded)


@pytest.fixture
def gated(reranker: Any) -> Iterator[GatedReranker]:
    made = GatedReranker(reranker)
    yield made
    made.gate.set()


@pytest.fixture
def make_client(demo_index: Path) -> Iterator[Callable[..., Any]]:
    """Make a client of an application over the demo index, from a reranker (or None) and settings."""
    from starlette.testclient import TestClient

    from bioqa.serve.app import create_app
    from bioqa.serve.service import Service
    from bioqa.serve.settings import Settings

    with ExitStack() as closing:

        def make(reranker: Any = None, *, base_url: str = "http://127.0.0.1", **settings: Any) -> Any:
            app = create_app(Service.open([f"demo={demo_index}"], reranker, settings=Settings(**settings)))
            return closing.enter_context(TestClient(app, base_url=base_url))

        yield make


@pytest.fixture
def client(make_client: Callable[..., Any], reranker: Any) -> Any:
    """A client of the application; ``client.app.state.service`` is the service."""
    return make_client(reranker)


@contextmanager
def serving(service: Any) -> Iterator[str]:
    """The address of a server on the loopback interface, in this process."""
    from bioqa.serve.app import create_app
    from bioqa.serve.server import Server, config_of, listen, url
    from bioqa.serve.settings import Settings

    with listen(Settings(port=0)) as listener:
        started = threading.Event()
        server = Server(config_of(create_app(service), service.settings), service, started.set)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            assert started.wait(30)
            yield url("127.0.0.1", listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def address(demo_index: Path, reranker: Any) -> Iterator[str]:
    """The address of a server over the demo index."""
    from bioqa.serve.service import Service

    with serving(Service.open([f"demo={demo_index}"], reranker)) as found:
        yield found
