"""The ASGI application: all faces of one service."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from bioqa.serve.monitoring import add_monitoring
from bioqa.serve.own_api import add_own_api
from bioqa.serve.page import add_page
from bioqa.serve.problems import add_error_handlers
from bioqa.serve.service import Service
from bioqa.serve.settings import Settings
from bioqa.serve.work import Work


def create_app(service: Service, settings: Settings | None = None) -> FastAPI:
    """The application over an open service, which it starts and, when it ends, closes.

    ``app.state.service`` and ``app.state.work`` are for handlers, which read them from ``request.app.state``.
    """
    settings = settings or service.settings
    work = Work(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.callback(service.close)
            stack.callback(work.close)
            service.start()
            yield

    app = FastAPI(
        title="bioqa",
        summary="Biomedical question answering retrieval over PubMed",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.state.work = work
    add_error_handlers(app)
    add_monitoring(app)
    add_own_api(app)
    add_page(app)
    return app
