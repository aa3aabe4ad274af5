"""The ASGI application: all faces of one service."""

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from bioqa.serve.borrowed_api import add_borrowed_api
from bioqa.serve.gate import Gate, open_log
from bioqa.serve.keys import Keys
from bioqa.serve.mcp_server import create_mcp_server, http_routes
from bioqa.serve.metrics import Metrics
from bioqa.serve.monitoring import add_monitoring
from bioqa.serve.own_api import add_own_api
from bioqa.serve.page import add_page
from bioqa.serve.problems import add_error_handlers
from bioqa.serve.service import Service
from bioqa.serve.work import Work


def create_app(service: Service) -> FastAPI:
    """The application over a service, which it starts and, when it ends, closes.

    ``app.state.service`` and ``app.state.work`` are for handlers (``requests.service_of``, ``work_of``).

    Raises:
        UsageError: the file of keys cannot be read.
        OutputError: the request log cannot be written.
    """
    settings = service.settings
    work = Work(settings)
    metrics = Metrics()
    keys = Keys.read(settings.keys) if settings.keys is not None else None
    log = open_log(settings.log)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if log not in (None, sys.stderr):
                stack.callback(log.close)
            stack.callback(metrics.close)
            stack.callback(service.close)
            stack.callback(work.close)
            service.start()
            await stack.enter_async_context(mcp_server.session_manager.run())
            yield

    mcp_server = create_mcp_server(service)
    app = FastAPI(
        title="bioqa",
        summary="Biomedical question answering retrieval over PubMed",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages load scripts from a CDN
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.service = service
    app.state.work = work
    app.state.metrics = metrics
    if service.queue is not None:
        service.queue.observe = metrics.observe_batch
    add_error_handlers(app)
    add_monitoring(app)
    add_own_api(app)
    add_borrowed_api(app)
    add_page(app)
    app.router.routes.extend(http_routes(mcp_server))
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.add_middleware(Gate, service=service, keys=keys, metrics=metrics, log=log)
    return app
