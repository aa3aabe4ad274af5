"""The interfaces of other servers, so that their clients work unchanged.

text-embeddings-inference (POST /rerank, GET /info): https://huggingface.github.io/text-embeddings-inference/
Cohere, Jina and vLLM (POST /v1/rerank, /v2/rerank): https://docs.cohere.com/reference/rerank
Pyserini (GET /v1/{index}/search, /v1/{index}/doc/{docid}): pyserini/server/rest/openapi.yaml
"""

import json
import secrets
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Query, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from starlette.responses import Response

from bioqa.index.document import to_json as stored_json
from bioqa.retrieve.options import SearchOptions
from bioqa.serve.errors import InvalidError, NotReadyError
from bioqa.serve.problems import Json
from bioqa.serve.requests import check_count, check_length, check_number, run, service_of, ticket_of

_ID_FIELDS = ("id", "_id", "docid")
_TEXT_FIELDS = ("body", "content", "contents", "text", "abstract")
"""What ``max_doc_length`` shortens: Pyserini's fields, and the abstract, which stands for them in bioqa's articles."""


class TeiRerank(BaseModel):
    """The body of text-embeddings-inference's POST /rerank."""

    model_config = ConfigDict(extra="forbid")

    query: str
    texts: Annotated[list[str], Field(min_length=1)]
    raw_scores: bool = False
    return_text: bool = False
    truncate: bool | None = None
    truncation_direction: Literal["right", "Right"] = "right"
    top_n: Annotated[int, Field(ge=0)] | None = None  # not text-embeddings-inference's, but LiteLLM sends it


def _as_list(value: Any) -> Any:
    """The documents as a list, a single one too."""
    return [value] if isinstance(value, str) else value


def _as_text(value: Any) -> Any:
    """The text of a document, which may be an object with nothing but a text."""
    return value["text"] if isinstance(value, dict) and value.keys() == {"text"} else value


class Rerank(BaseModel):
    """The body of POST /v1/rerank and /v2/rerank: what Cohere's, Jina's, vLLM's and infinity's clients send."""

    model_config = ConfigDict(extra="forbid")

    query: str
    documents: Annotated[
        list[Annotated[str, BeforeValidator(_as_text)]], Field(min_length=1), BeforeValidator(_as_list)
    ]
    model: str | None = None
    top_n: Annotated[int, Field(ge=0)] | None = None
    return_documents: bool | None = False
    raw_scores: bool | None = False
    # Accepted, and told in meta.warnings that they change nothing.
    max_tokens_per_doc: int | None = None
    max_chunks_per_doc: int | None = None
    rank_fields: list[str] | None = None
    relevant_spans: Any = None
    priority: int | None = None
    truncate_prompt_tokens: int | None = None
    truncation: bool | None = None
    user: str | None = None

    def ignored(self) -> list[str]:
        """The names of fields that were set but change nothing."""
        names = ("max_tokens_per_doc", "max_chunks_per_doc", "relevant_spans", "priority", "truncate_prompt_tokens")
        found = [name for name in (*names, "truncation") if getattr(self, name) is not None]
        return found if self.rank_fields in (None, ["text"]) else [*found, "rank_fields"]


def _kind(value: Any) -> str:
    return "Rerank" if isinstance(value, dict) and "documents" in value else "TeiRerank"


EitherRerank = Annotated[
    Annotated[TeiRerank, Tag("TeiRerank")] | Annotated[Rerank, Tag("Rerank")], Discriminator(_kind)
]
"""What is sent to POST /rerank, which vLLM's and infinity's clients call too."""


class PyseriniSearch(BaseModel):
    """The query parameters of Pyserini's search."""

    model_config = ConfigDict(extra="forbid")

    query: str
    hits: Annotated[int, Field(ge=1)] = 10
    parse: bool = True
    k1: float | None = None
    b: float | None = None
    max_doc_length: Annotated[int, Field(ge=0)] | None = None


class PyseriniDocument(BaseModel):
    """The query parameters of Pyserini's documents."""

    model_config = ConfigDict(extra="forbid")

    parse: bool = True
    max_doc_length: Annotated[int, Field(ge=0)] | None = None


def add_borrowed_api(app: FastAPI) -> None:
    """Add the routes. Those of an index come last, as they match many paths."""
    router = APIRouter()

    @router.post("/rerank", tags=["text-embeddings-inference"])
    async def tei_rerank(request: Request, asked: EitherRerank) -> Response:
        """Score texts for a query, best first; with "documents" in place of "texts", the same as /v1/rerank."""
        if isinstance(asked, Rerank):
            return await _rerank(request, asked, "1")
        return await _tei_rerank(request, asked)

    @router.get("/info", tags=["text-embeddings-inference"])
    async def tei_info(request: Request) -> Response:
        """The model and the limits."""
        return _tei_info(request)

    @router.post("/v1/rerank", tags=["Cohere, Jina, vLLM"])
    async def rerank_v1(request: Request, asked: Rerank) -> Response:
        """Rank documents for a query; long ones are read in windows of whole sentences."""
        return await _rerank(request, asked, "1")

    @router.post("/v2/rerank", tags=["Cohere, Jina, vLLM"])
    async def rerank_v2(request: Request, asked: Rerank) -> Response:
        """The same."""
        return await _rerank(request, asked, "2")

    @router.get("/v1/{index}/search", tags=["Pyserini"])
    async def pyserini_search(request: Request, index: str, asked: Annotated[PyseriniSearch, Query()]) -> Response:
        """BM25's list, with the articles as they are stored."""
        return await _pyserini_search(request, index, asked)

    @router.get("/v1/{index}/doc/{docid}", tags=["Pyserini"])
    async def pyserini_document(
        request: Request, index: str, docid: str, asked: Annotated[PyseriniDocument, Query()]
    ) -> Response:
        """An article as it is stored."""
        service = service_of(request)
        article = await run(request, ticket_of(request), lambda: service.article(docid, index=index))
        doc = document(stored_json(article), parse=asked.parse, max_length=asked.max_doc_length)
        return Json({"api": "v1", "index": index, "docid": docid, "doc": doc})

    app.include_router(router)


async def _tei_rerank(request: Request, asked: TeiRerank) -> Response:
    started = time.perf_counter()
    service, ticket = service_of(request), ticket_of(request, asked.query)
    _check_texts(request, asked.query, "texts", asked.texts)
    ranked = await run(
        request,
        ticket,
        lambda: service.rank_texts(asked.query, asked.texts, aggregation="truncate", ticket=ticket),
        slow=True,
    )
    if asked.truncate is False and ranked.coverage.truncated:
        raise InvalidError(
            f"{ranked.coverage.truncated:,} of the texts are longer than the reranker reads, and truncate is false.",
            field="texts",
        )
    results = [
        {
            "index": int(one.id),
            "score": one.logit if asked.raw_scores else one.probability,
            **({"text": asked.texts[int(one.id)]} if asked.return_text else {}),
        }
        for one in ranked.candidates[: asked.top_n or None]
    ]
    total = 1000 * (time.perf_counter() - started)
    queued = 1000 * ticket.queue_seconds
    assert service.reranker is not None
    headers = {
        "x-compute-type": "cpu" if service.reranker.device == "cpu" else "gpu",
        "x-compute-characters": str(len(asked.query) + sum(map(len, asked.texts))),
        "x-compute-tokens": str(ticket.tokens),
        "x-total-time": f"{total:.0f}",
        "x-queue-time": f"{queued:.0f}",
        "x-inference-time": f"{max(0.0, total - queued):.0f}",
    }
    return Json(results, headers=headers)


def _tei_info(request: Request) -> Response:
    from bioqa import __version__

    service = service_of(request)
    reranker, settings = service.reranker, service.settings
    if reranker is None:
        raise NotReadyError("This server has no reranker: it was started with --no-rerank.")
    label = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    return Json(
        {
            "model_id": reranker.name,
            "model_sha": None,
            "model_dtype": {"exact": "float32", "cpu-int8": "int8"}.get(reranker.engine, "float16"),
            "model_type": {"reranker": label},
            "max_concurrent_requests": settings.max_requests,
            "max_input_length": reranker.max_length or settings.queue_tokens,
            "max_batch_tokens": settings.batch_tokens,
            "max_batch_requests": None,
            "max_client_batch_size": settings.max_documents,
            "auto_truncate": True,
            "tokenization_workers": settings.rerank_threads,
            "version": __version__,
            "sha": None,
            "docker_label": None,
        }
    )


async def _rerank(request: Request, asked: Rerank, version: str) -> Response:
    service, ticket = service_of(request), ticket_of(request, asked.query)
    texts = asked.documents
    _check_texts(request, asked.query, "documents", texts)
    ranked = await run(request, ticket, lambda: service.rank_texts(asked.query, texts, ticket=ticket), slow=True)
    results = [
        {
            "index": int(one.id),
            "relevance_score": one.logit if asked.raw_scores else one.probability,
            **({"document": {"text": texts[int(one.id)]}} if asked.return_documents else {}),
        }
        for one in ranked.candidates[: asked.top_n or None]
    ]
    assert service.reranker is not None
    warnings = [f"{name} changes nothing here." for name in asked.ignored()]
    usage = {"prompt_tokens": ticket.tokens, "total_tokens": ticket.tokens}
    meta = {
        "api_version": {"version": version},
        "billed_units": {"search_units": 0},
        "tokens": {"input_tokens": ticket.tokens},
        **({"warnings": warnings} if warnings else {}),
    }
    return Json(
        {
            "id": f"rerank-{secrets.token_hex(16)}",
            "object": "list",
            "model": service.reranker.name,
            "results": results,
            "usage": usage,
            "meta": meta,
            "truncation": {"passages_split": ranked.coverage.split, "characters_not_read": ranked.coverage.unread},
        }
    )


def _check_texts(request: Request, query: str, field: str, texts: list[str]) -> None:
    limits = service_of(request).settings
    check_length("query", query, limits.max_question, "max_question")
    check_count(field, texts, limits.max_documents, "max_documents")
    for place, text in enumerate(texts):
        check_length(f"{field}.{place}", text, limits.max_document, "max_document")


async def _pyserini_search(request: Request, index: str, asked: PyseriniSearch) -> Response:
    service, ticket = service_of(request), ticket_of(request, asked.query)
    limits = service.settings
    if (asked.k1 is None) != (asked.b is None):
        raise InvalidError("k1 and b must be given together.", field="b" if asked.b is None else "k1")
    check_length("query", asked.query, limits.max_question, "max_question")
    check_number("hits", asked.hits, limits.max_results, "max_results")
    options = SearchOptions() if asked.k1 is None or asked.b is None else SearchOptions(k1=asked.k1, b=asked.b)

    def search() -> list[dict[str, Any]]:
        retriever = service.retriever(index)
        found = retriever.search(asked.query, asked.hits, options)
        return [
            {
                "docid": candidate.id,
                "score": candidate.score,
                "rank": rank,
                "doc": document(stored, parse=asked.parse, max_length=asked.max_doc_length),
            }
            for rank, (candidate, stored) in enumerate(zip(found, retriever.stored(found), strict=True), start=1)
        ]

    candidates = await run(request, ticket, search)
    return Json({"api": "v1", "index": index, "query": {"text": asked.query}, "candidates": candidates})


def document(stored: str, *, parse: bool, max_length: int | None) -> Any:
    """A stored article as Pyserini returns it: its JSON text, or if ``parse`` the object without the id, numbers as text."""
    if not parse:
        return stored if max_length is None else stored[:max_length]
    parsed = {
        name: value if isinstance(value, dict | list) else str(value)
        for name, value in json.loads(stored).items()
        if name not in _ID_FIELDS
    }
    if max_length is not None:
        parsed |= {name: parsed[name][:max_length] for name in _TEXT_FIELDS if isinstance(parsed.get(name), str)}
    return parsed
