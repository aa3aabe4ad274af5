"""bioqa's own API: search, batches of searches, articles, indexes."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request
from starlette.responses import Response

from bioqa.pipeline.answer import Answer
from bioqa.serve.errors import TooLargeError
from bioqa.serve.problems import Json
from bioqa.serve.rerank_queue import Ticket
from bioqa.serve.schemas import SearchBody, SearchQuery
from bioqa.serve.service import Service, warnings
from bioqa.serve.settings import Settings
from bioqa.serve.work import Work


def add_own_api(app: FastAPI) -> None:
    """Add the routes."""
    router = APIRouter(tags=["search"])

    @router.get("/v1/search")
    async def search_permalink(request: Request, asked: Annotated[SearchQuery, Query()]) -> Response:
        """The same as POST /v1/search, as a link."""
        return await _search(request, asked.body())

    @router.post("/v1/search")
    async def search(request: Request, asked: SearchBody) -> Response:
        """Ranked articles with answer sentences."""
        return await _search(request, asked)

    @router.get("/v1/articles/{pmid}")
    async def article(request: Request, pmid: str, index: str | None = None) -> Response:
        """One article."""
        service, work = services(request)
        ticket = request_ticket(request)
        found = await work.run(lambda: service.article(pmid, index=index), ticket=ticket)
        return Json(found.to_dict())

    @router.get("/v1/indexes")
    async def indexes(request: Request) -> Response:
        """The indexes that are served."""
        service, work = services(request)
        found = await work.run(service.indexes, ticket=request_ticket(request))
        return Json({"default": service.default_index, "indexes": [asdict(one) for one in found]})

    app.include_router(router)


def services(request: Request) -> tuple[Service, Work]:
    """The service and its threads."""
    return request.app.state.service, request.app.state.work


def request_ticket(request: Request) -> Ticket:
    """A ticket for the request, with the seconds of its header X-Request-Timeout if it has one.

    Raises:
        TooLargeError: the header is no number of seconds above 0.
    """
    service: Service = request.app.state.service
    header = request.headers.get("x-request-timeout")
    return service.ticket(float(header) if header else None)


async def _search(request: Request, asked: SearchBody) -> Response:
    service, work = services(request)
    ticket = request_ticket(request)
    check_search(asked, service.settings)
    slow = asked.rerank and service.queue is not None

    def run() -> dict[str, Any]:
        options = asked.pipeline_options(asked.filters.filters(), service.options)
        answer = service.search(asked.question, options, index=asked.index, rerank=asked.rerank, ticket=ticket)
        return answer_record(answer)

    return Json(await work.run(run, ticket=ticket, slow=slow, receive=request.receive))


def check_search(asked: SearchBody, settings: Settings) -> None:
    """Raise TooLargeError if a search exceeds a limit."""
    if len(asked.question) > settings.max_question:
        raise TooLargeError(
            f"The question has {len(asked.question):,} characters; the limit max_question is {settings.max_question:,}.",
            field="question",
        )
    if asked.offset + asked.top > settings.max_results:
        raise TooLargeError(
            f"offset and top ask for {asked.offset + asked.top:,} results; the limit max_results is {settings.max_results:,}.",
            field="top",
        )


def answer_record(answer: Answer) -> dict[str, Any]:
    """An answer as the API returns it."""
    return {**answer.to_dict(), "warnings": warnings(answer)}
