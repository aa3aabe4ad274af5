"""The web page: rendered here, whole without JavaScript, and from this server only."""

import gzip
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import cache, wraps
from importlib.resources import files
from typing import Any, TypeVar

from fastapi import APIRouter, FastAPI, Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from bioqa import __version__
from bioqa.corpus.citation_formats import FORMATS, byline, format_citations, format_hits, source_line
from bioqa.corpus.questions import check_question
from bioqa.errors import BioqaError, QuestionError
from bioqa.pipeline.answer import Answer
from bioqa.pipeline.highlight import best_sentences
from bioqa.pipeline.options import PipelineOptions
from bioqa.serve import page_views
from bioqa.serve.errors import InvalidError, NotFoundError, ServeError, status_and_code
from bioqa.serve.page_query import VALUES, PageQuery
from bioqa.serve.requests import check_count, check_length, check_number, run, service_of, ticket_of, work_of
from bioqa.serve.rerank_queue import Ticket
from bioqa.serve.service import Service, warnings
from bioqa.types import Article

ASSETS = {
    "style.css": "text/css",
    "page.js": "text/javascript",
    "htmx.min.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
"""File in ``assets`` → its media type."""
FACETS = ("year", "type", "journal", "mesh", "author", "language")
FACET_VALUES = 6
SIMILAR = 5
EXAMPLES = (
    "Which gene is mutated in Marfan syndrome?",
    "How does metformin lower blood glucose?",
    "Which drugs prevent stroke in atrial fibrillation?",
    "What causes sickle cell disease?",
)
FORMAT_NAMES = {
    "ris": ("RIS (Zotero, EndNote, Mendeley)", "ris", "application/x-research-info-systems"),
    "nbib": ("NBIB (PubMed)", "nbib", "application/nbib"),
    "bibtex": ("BibTeX", "bib", "application/x-bibtex"),
    "csl-json": ("CSL-JSON", "json", "application/vnd.citationstyles.csl+json"),
    "csv": ("CSV (spreadsheet)", "csv", "text/csv"),
    "tsv": ("TSV", "tsv", "text/tab-separated-values"),
    "markdown": ("Markdown", "md", "text/markdown"),
}
"""Citation format → its name, file extension and media type."""
assert tuple(FORMAT_NAMES) == FORMATS
LATER = "<!--later-->"
"""Where in a rendered page the part belongs that is sent later; templates escape it in any text."""

_Result = TypeVar("_Result")
Handler = Callable[..., Awaitable[Response]]


@cache
def asset(name: str) -> bytes:
    """The content of a file in ``assets``."""
    return (files("bioqa.serve") / "assets" / name).read_bytes()


@cache
def compressed(name: str) -> bytes:
    """The content of a file in ``assets``, with gzip."""
    return gzip.compress(asset(name), mtime=0)


@cache
def asset_path(name: str) -> str:
    """The path of a file in ``assets``, with a part of its hash: another content has another path."""
    return f"/assets/{name}?v={hashlib.sha256(asset(name)).hexdigest()[:12]}"


@cache
def templates() -> Environment:
    """The templates; everything in them is escaped."""
    environment = Environment(
        loader=PackageLoader("bioqa.serve"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals |= {
        "asset_path": asset_path,
        "byline": byline,
        "facet_names": page_views.FACET_NAMES,
        "format_names": FORMAT_NAMES,
        "later": LATER,
        "source_line": source_line,
        "version": __version__,
        "views": page_views,
    }
    environment.filters["number"] = lambda value: f"{value:,}"
    return environment


def render(name: str, **values: Any) -> str:
    """A template with these values."""
    return templates().get_template(name).render(values)


def add_page(app: FastAPI) -> None:
    """Add the pages, and answer browsers that ask for something that is not there with a page."""
    router = APIRouter(include_in_schema=False)
    routes: dict[str, Handler] = {
        "/": start,
        "/search": search,
        "/export": export,
        "/article": find_article,
        "/article/{id}": article,
        "/article/{id}/similar": similar,
        "/about": about,
        "/assets/{name}": send_asset,
    }
    for path, handler in routes.items():
        router.add_api_route(path, _with_error_pages(handler), methods=["GET", "HEAD"], response_model=None)
    app.include_router(router)
    others = app.exception_handlers[HTTPException]

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 404 and "text/html" in request.headers.get("accept", ""):
            return error_page(request, NotFoundError(f"There is nothing at {request.url.path}."))
        response: Response = await others(request, error)  # type: ignore[misc]
        return response

    app.add_exception_handler(HTTPException, on_http)


def _with_error_pages(handler: Handler) -> Handler:
    @wraps(handler)
    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except BioqaError as error:
            return error_page(request, error)

    answered.__annotations__ = {"request": Request, "return": Response}
    return answered


def error_page(request: Request, error: BioqaError) -> Response:
    """A page that says what is wrong and what to do; a sentence in place of a part of a page."""
    status, code = status_and_code(error)
    retry_after = error.retry_after if isinstance(error, ServeError) else None
    query = _lenient(request)
    name = "error_part.html.jinja" if _wants_part(request) else "error.html.jinja"
    page = render(
        name, error=str(error), code=code, status=status, query=query, retry_after=retry_after, **_common(request)
    )
    headers = {"retry-after": str(retry_after)} if retry_after is not None else None
    return HTMLResponse(page, status, headers)


def _lenient(request: Request) -> PageQuery:
    """The state in the address, or as much of it as is right."""
    try:
        return PageQuery.read(request.query_params)
    except BioqaError:
        return PageQuery(question=request.query_params.get("q", ""))


def _common(request: Request) -> dict[str, Any]:
    """What every page shows."""
    service = service_of(request)
    return {"indexes": list(service.retrievers), "has_reranker": service.queue is not None}


def _wants_part(request: Request) -> bool:
    """Whether htmx asks, for a part of a page."""
    return request.headers.get("hx-request") == "true"


async def start(request: Request) -> Response:
    """The search box, with examples and what is searched."""
    service = service_of(request)
    found = await run(request, ticket_of(request), service.indexes)
    return HTMLResponse(
        render("start.html.jinja", query=PageQuery(), examples=EXAMPLES, statuses=found, **_common(request))
    )


async def about(request: Request) -> Response:
    """The indexes, the reranker, and how to use the page."""
    service = service_of(request)
    found = await run(request, ticket_of(request), service.indexes)
    values = {"statuses": found, "options": service.options, "reranker": service.reranker}
    return HTMLResponse(render("about.html.jinja", query=PageQuery(), **values, **_common(request)))


async def search(request: Request) -> Response:
    """The results of a search: at once in the first stage's order, and in the reranked order as soon as there is one."""
    service = service_of(request)
    query = PageQuery.read(request.query_params)
    if not query.question:
        return RedirectResponse("/", 303)
    _check(query, service)
    reranked = query.rerank and service.queue is not None
    ticket = ticket_of(request, query.question)
    limit = service.settings.max_results
    values: dict[str, Any] = {"query": query, "reranked": reranked, "limit": limit, **_common(request)}

    def first() -> str:
        if reranked and service.queue is not None:
            service.queue.check_room(ticket)
        sentences = 0 if reranked else service.options.sentences
        explain = query.explain and not reranked
        found = _answer(
            service,
            query,
            ticket,
            rerank=False,
            facets=FACETS,
            facet_values=FACET_VALUES,
            sentences=sentences,
            explain=explain,
        )
        total, unfiltered = _counts(service, query, found)
        pipeline = service.pipeline(ticket, query.index or None, rerank=reranked)
        depth = pipeline.resolve_options(query.pipeline_options(service.options)).rerank_depth or 0
        bars = page_views.histogram(found.facets["year"])
        values.update(first=found, total=total, hidden=unfiltered - total, depth=min(depth, total), bars=bars)
        return render("results.html.jinja", **values)

    def second() -> str:
        found = _answer(service, query, ticket, rerank=True, sentences=service.options.sentences, explain=query.explain)
        return _list(request, found, values)

    before, _, after = (await run(request, ticket, first)).partition(LATER)
    if not reranked or not values["first"].hits:
        return HTMLResponse(before + _list(request, values["first"], values) + after)

    async def pieces() -> AsyncIterator[str]:
        yield before
        try:
            yield await work_of(request).run(second, ticket=ticket, slow=True)
        except BioqaError as error:
            yield render("error_part.html.jinja", error=str(error), **values)
        yield after

    return StreamingResponse(pieces(), media_type="text/html")


def _answer(service: Service, query: PageQuery, ticket: Ticket, *, rerank: bool, **changes: Any) -> Answer:
    options = query.pipeline_options(service.options, **changes)
    return service.search(query.question, options, index=query.index or None, rerank=rerank, ticket=ticket)


def _counts(service: Service, query: PageQuery, answer: Answer) -> tuple[int, int]:
    """The number of articles that match, with and without the filters."""
    retriever = service.retriever(query.index or None)
    search = answer.options.search
    total = retriever.count(query.question, search)
    filters = type(search.filters)()
    return total, retriever.count(query.question, replace(search, filters=filters)) if query.filters else total


def _list(request: Request, answer: Answer, values: dict[str, Any]) -> str:
    """The list of results, with all that follows it."""
    query: PageQuery = values["query"]
    base = str(request.base_url).rstrip("/")
    record = page_views.search_record(query, answer, values["total"], base + query.address())
    hits = page_views.sorted_hits(answer.hits, query.sort)
    notes = [text for text in warnings(answer) if "(rank " not in text]
    return render("list.html.jinja", answer=answer, hits=hits, record=record, notes=notes, **values)


def _check(query: PageQuery, service: Service) -> None:
    """Raise TooLargeError if a search exceeds a limit."""
    limits = service.settings
    check_length("The question", query.question, limits.max_question, "max_question")
    check_number("The last result of the page", query.offset + query.top, limits.max_results, "max_results")
    for name in VALUES:
        check_count(name, getattr(query.filters, name), limits.max_values, "max_values")


async def find_article(request: Request) -> Response:
    """Go to the page of the article with the PMID in the address."""
    id = request.query_params.get("pmid", "").strip()
    return RedirectResponse(page_views.article_path(id) if id else "/", 303)


async def article(request: Request) -> Response:
    """An article, with the sentences marked that answer the question in the address, if there is one."""
    service = service_of(request)
    query = PageQuery.read(request.query_params)
    _check(query, service)
    ticket = ticket_of(request, query.question)
    id, index = request.path_params["id"], query.index or None
    found = await run(request, ticket, lambda: service.article(id, index=index))
    values: dict[str, Any] = {"snippets": (), "problem": ""}

    def marked() -> dict[str, Any]:
        reranker = service.pipeline(ticket, index).reranker
        question = check_question(query.question)
        [snippets] = best_sentences(reranker, question, [found], per_article=max(service.options.sentences, 1))
        return {"snippets": snippets, "problem": ""}

    if query.question:
        try:
            values = await run(request, ticket, marked, slow=service.queue is not None)
        except BioqaError as error:
            values["problem"] = str(error)
    return HTMLResponse(render("article.html.jinja", article=found, query=query, **values, **_common(request)))


async def similar(request: Request) -> Response:
    """The articles most similar to one, as a page, or as the part of a page that htmx asks for."""
    service = service_of(request)
    query = PageQuery.read(request.query_params)
    ticket = ticket_of(request, query.question)
    id, index = request.path_params["id"], query.index or None
    part = _wants_part(request)

    def found() -> tuple[Article, Answer]:
        source = service.article(id, index=index)
        options = PipelineOptions(top=SIMILAR if part else query.top, sentences=0)
        try:
            return source, service.similar(id, options, index=index, ticket=ticket)
        except QuestionError:  # the title is too long a question for the reranker
            return source, service.similar(id, options, index=index, rerank=False, ticket=ticket)

    source, answer = await run(request, ticket, found, slow=service.queue is not None)
    name = "similar_part.html.jinja" if part else "similar.html.jinja"
    page = render(name, article=source, hits=answer.hits, query=query, **_common(request))
    return HTMLResponse(page, headers={"vary": "HX-Request"})


async def export(request: Request) -> Response:
    """The chosen articles, or all results of a search, in a citation format.

    "All" are the best, as many as the limit ``max_results`` allows.
    """
    service = service_of(request)
    given = request.query_params
    query = PageQuery.read(given)
    citation_format = given.get("format") or FORMATS[0]
    if citation_format not in FORMATS:
        raise InvalidError(f"format must be one of {', '.join(FORMATS)}, not {citation_format!r}.")
    ids = list(dict.fromkeys(given.getlist("id")))
    ticket = ticket_of(request, query.question)
    if given.get("which") == "all" and query.question:
        _check(query, service)
        text = await run(request, ticket, lambda: _export_all(service, query, ticket, citation_format), slow=True)
    elif ids:
        check_count("The choice of articles", ids, service.settings.max_ids, "max_ids")
        text = await run(request, ticket, lambda: _export_ids(service, ids, query.index or None, citation_format))
    else:
        raise InvalidError("No article is chosen. Go back, tick the boxes before the articles, and export again.")
    _, extension, media_type = FORMAT_NAMES[citation_format]
    name = f"bioqa.{extension}"
    return Response(text, media_type=media_type, headers={"content-disposition": f'attachment; filename="{name}"'})


def _export_all(service: Service, query: PageQuery, ticket: Ticket, citation_format: str) -> str:
    pipeline = service.pipeline(ticket, query.index or None, rerank=query.rerank)
    shown = pipeline.resolve_options(query.pipeline_options(service.options))
    everything = replace(query, top=service.settings.max_results, page=1)
    changes = {"sentences": 0, "rerank_depth": shown.rerank_depth}
    answer = _answer(service, everything, ticket, rerank=query.rerank, **changes)
    hits = page_views.sorted_hits(answer.hits, query.sort)
    return "".join(format_hits([(replace(answer.question, id=query.question), hits)], citation_format))


def _export_ids(service: Service, ids: list[str], index: str | None, citation_format: str) -> str:
    articles = [one for one in service.articles(ids, index=index) if one is not None]
    if not articles:
        raise NotFoundError(f"None of the chosen articles is in the index: {', '.join(ids[:5])}.")
    return "".join(format_citations(articles, citation_format))


async def send_asset(request: Request) -> Response:
    """A file of the page. Its address changes with its content, so that a browser may keep it for good."""
    name = request.path_params["name"]
    if name not in ASSETS:
        raise NotFoundError(f"There is nothing at {request.url.path}.")
    headers = {"cache-control": "public, max-age=31536000, immutable", "vary": "Accept-Encoding"}
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(asset(name), media_type=ASSETS[name], headers=headers)
    return Response(compressed(name), media_type=ASSETS[name], headers={**headers, "content-encoding": "gzip"})
