"""bioqa's own API: search, batches of searches, articles and those similar to them, indexes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, replace
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request
from starlette.responses import Response, StreamingResponse

from bioqa.errors import BioqaError
from bioqa.pipeline.answer import Answer
from bioqa.serve.errors import ServeError, status_and_code
from bioqa.serve.problems import Json, to_json
from bioqa.serve.requests import check_count, check_length, check_number, run, service_of, ticket_of, work_of
from bioqa.serve.rerank_queue import Ticket
from bioqa.serve.schemas import BatchBody, FilterFields, SearchBody, SearchFields, SearchQuery, SimilarQuery
from bioqa.serve.service import warnings
from bioqa.serve.settings import Settings
from bioqa.serve.work import watching

BATCH_CONCURRENCY = 8
"""Questions of one batch in work at a time."""
EVENT_STREAM = "text/event-stream"


def add_own_api(app: FastAPI) -> None:
    """Add the routes."""
    router = APIRouter(tags=["search"])

    @router.get("/v1/search")
    async def search_permalink(request: Request, asked: Annotated[SearchQuery, Query()]) -> Response:
        """The same as POST /v1/search, as a link."""
        return await _search(request, asked.body())

    @router.post("/v1/search")
    async def search(request: Request, asked: SearchBody) -> Response:
        """Ranked articles with answer sentences; as an event stream, first BM25's list, then the reranked one."""
        return await _search(request, asked)

    @router.post("/v1/search/batch")
    async def search_batch(request: Request, asked: BatchBody) -> Response:
        """Several questions with the same options, answered or refused together."""
        return await _batch(request, asked)

    @router.get("/v1/articles/{pmid}")
    async def article(request: Request, pmid: str, index: str | None = None) -> Response:
        """One article."""
        service = service_of(request)
        found = await run(request, ticket_of(request), lambda: service.article(pmid, index=index))
        return Json(found.to_dict())

    @router.get("/v1/articles/{pmid}/similar")
    async def similar(request: Request, pmid: str, asked: Annotated[SimilarQuery, Query()]) -> Response:
        """The articles most similar to one."""
        service, ticket = service_of(request), ticket_of(request)
        check_search(asked, asked, service.settings)

        def answer() -> dict[str, Any]:
            options = asked.pipeline_options(asked.filters(), service.options)
            found = service.similar(pmid, options, index=asked.index, rerank=asked.rerank, ticket=ticket)
            return record(found, asked.max_chars)

        return Json(await run(request, ticket, answer, slow=asked.rerank and service.queue is not None))

    @router.get("/v1/indexes")
    async def indexes(request: Request) -> Response:
        """The indexes that are served."""
        service = service_of(request)
        found = await run(request, ticket_of(request), service.indexes)
        return Json({"default": service.default_index, "indexes": [asdict(one) for one in found]})

    app.include_router(router)


async def _search(request: Request, asked: SearchBody) -> Response:
    service = service_of(request)
    ticket = ticket_of(request, asked.question)
    check_length("question", asked.question, service.settings.max_question, "max_question")
    check_search(asked, asked.filters, service.settings)
    options = asked.pipeline_options(asked.filters_in_force(), service.options)

    def answer(*, rerank: bool) -> dict[str, Any]:
        chosen = options if rerank else replace(options, rerank_depth=None)
        found = service.search(asked.question, chosen, index=asked.index, rerank=rerank, ticket=ticket)
        return record(found, asked.max_chars)

    slow = asked.rerank and service.queue is not None
    if EVENT_STREAM in request.headers.get("accept", ""):
        steps = {"first_stage": lambda: answer(rerank=False)} if slow else {}
        steps["answer"] = lambda: answer(rerank=asked.rerank)
        return StreamingResponse(
            _events(request, {name: (step, slow and name == "answer") for name, step in steps.items()}, ticket),
            media_type=EVENT_STREAM,
        )
    return Json(await run(request, ticket, lambda: answer(rerank=asked.rerank), slow=slow))


async def _events(
    request: Request, steps: dict[str, tuple[Callable[[], dict[str, Any]], bool]], ticket: Ticket
) -> AsyncIterator[bytes]:
    """Each step's result as an event of its name; an event "error" if one fails."""
    for name, (step, slow) in steps.items():
        try:
            yield event(name, await work_of(request).run(step, ticket=ticket, slow=slow))
        except BioqaError as error:
            yield event("error", {"code": status_and_code(error)[1], "message": str(error)})
            return


def event(name: str, content: Any) -> bytes:
    """A server-sent event."""
    return b"event: " + name.encode() + b"\ndata: " + to_json(content) + b"\n\n"


async def _batch(request: Request, asked: BatchBody) -> Response:
    service = service_of(request)
    limits = service.settings
    ticket = ticket_of(request)
    check_count("questions", asked.questions, limits.max_batch, "max_batch")
    for place, question in enumerate(asked.questions):
        check_length(f"questions.{place}", question, limits.max_question, "max_question")
    check_search(asked, asked.filters, limits)
    options = asked.pipeline_options(asked.filters_in_force(), service.options)
    slow = asked.rerank and service.queue is not None
    room = asyncio.Semaphore(BATCH_CONCURRENCY)

    async def one(place: int, question: str) -> dict[str, Any]:
        def answer() -> dict[str, Any]:
            found = service.search(question, options, index=asked.index, rerank=asked.rerank, ticket=ticket)
            return record(found, asked.max_chars)

        async with room:
            try:
                return await work_of(request).run(answer, ticket=ticket, slow=slow)
            except ServeError:
                raise
            except BioqaError as error:  # a question that cannot be answered does not take the others with it
                return {
                    "question": question,
                    "error": {"code": status_and_code(error)[1], "message": str(error), "field": f"questions.{place}"},
                }

    tasks = [asyncio.ensure_future(one(place, question)) for place, question in enumerate(asked.questions)]
    try:
        async with watching(ticket, request.receive):
            return Json({"answers": await asyncio.gather(*tasks)})
    except BaseException:
        ticket.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def check_search(asked: SearchFields, filters: FilterFields, limits: Settings) -> None:
    """Raise TooLargeError if a search exceeds a limit."""
    check_number("offset + top", asked.offset + asked.top, limits.max_results, "max_results")
    check_number("rerank_depth", asked.rerank_depth or 0, limits.max_results, "max_results")
    check_number("facet_values", asked.facet_values, limits.max_results, "max_results")
    check_number("sentences", asked.sentences, limits.max_sentences, "max_sentences")
    for name in FilterFields.model_fields:
        values = getattr(filters, name)
        if isinstance(values, list):
            check_count(name, values, limits.max_values, "max_values")


def record(answer: Answer, max_chars: int | None = None) -> dict[str, Any]:
    """An answer as the API returns it; with ``max_chars``, without the hits that do not fit, whose ids are "deferred"."""
    made = {**answer.to_dict(), "warnings": warnings(answer)}
    if max_chars is not None:
        kept, left = [], max_chars
        for hit in made["hits"]:
            left -= len(to_json(hit).decode())
            if left < 0:
                break
            kept.append(hit)
        made["deferred"] = [hit["id"] for hit in made["hits"][len(kept) :]]
        made["hits"] = kept
    return made
