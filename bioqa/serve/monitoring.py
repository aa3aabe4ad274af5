"""/health, /ready and /metrics; none of them waits for work."""

from fastapi import APIRouter, FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from bioqa.serve.metrics import Metrics
from bioqa.serve.problems import Json, problem
from bioqa.serve.service import Service


def add_monitoring(app: FastAPI) -> None:
    """Add the routes."""
    router = APIRouter(tags=["monitoring"])

    @router.get("/health")
    async def health() -> Response:
        """The process is alive."""
        return Json({"status": "ok"})

    @router.get("/ready")
    async def ready(request: Request) -> Response:
        """The server can take requests: indexes open, reranker loaded, room in the queue, not shutting down."""
        service: Service = request.app.state.service
        reason = service.not_ready()
        return problem(503, "not_ready", reason) if reason else Json({"status": "ready"})

    @router.get("/metrics")
    async def metrics(request: Request) -> Response:
        """The metrics in Prometheus' text format."""
        shown: Metrics = request.app.state.metrics
        shown.read(request.app.state.service)
        return Response(shown.text(), media_type=CONTENT_TYPE_LATEST)

    app.include_router(router)
