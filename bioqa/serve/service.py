"""What all faces of the server share: one pipeline over one or more indexes."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from bioqa.errors import BioqaError, UsageError
from bioqa.index.filters import FIELD_NAMES
from bioqa.pipeline.answer import Answer, Ranked
from bioqa.pipeline.options import PipelineOptions
from bioqa.pipeline.pipeline import Pipeline
from bioqa.pipeline.rank_texts import rank_texts
from bioqa.serve.errors import DrainingError, NotFoundError, NotReadyError
from bioqa.serve.rerank_queue import RerankQueue, Ticket
from bioqa.serve.settings import Settings
from bioqa.types import RETRACTED, Article

if TYPE_CHECKING:
    from bioqa.index.reader import IndexInfo
    from bioqa.rerank.reranker import Reranker
    from bioqa.retrieve.bm25 import BM25Retriever

_log = logging.getLogger(__name__)

RESERVED_NAMES = ("articles", "indexes", "rerank", "search")
"""Names that an index cannot have, because paths of the API have them."""


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """An index as the server sees it: its ``name`` in the API, its open commit's ``generation``, and what is in it."""

    name: str
    generation: int
    info: "IndexInfo"


class Service:
    """One pipeline over one or more indexes, for many threads at once. Opened with ``open``, closed with ``close``.

    ``retrievers`` by the names of their indexes; the first is the default. ``options`` apply where a call gives none. Every method
    that searches or reranks takes the ``Ticket`` of its request, and raises what ``RerankQueue.score_pairs`` raises.
    """

    def __init__(
        self,
        retrievers: "Mapping[str, BM25Retriever]",
        reranker: "Reranker | None" = None,
        *,
        settings: Settings | None = None,
        options: PipelineOptions | None = None,
    ) -> None:
        if not retrievers:
            raise UsageError("Name at least one index to serve.")
        self.settings = settings or Settings()
        self.options = options or PipelineOptions()
        self.retrievers = dict(retrievers)
        self.reranker = reranker
        self.started = time.time()
        self.draining = False
        self.queue = RerankQueue(reranker, self.settings.queue_tokens, self.settings.batch_tokens) if reranker else None
        self._closing = ExitStack()
        self._stop = threading.Event()
        self._refresher: threading.Thread | None = None

    @classmethod
    def open(
        cls,
        indexes: Sequence[str | Path],
        reranker: "Reranker | None" = None,
        *,
        settings: Settings | None = None,
        options: PipelineOptions | None = None,
    ) -> "Service":
        """A service over the indexes at these paths, each "PATH" or "NAME=PATH"; without NAME, the folder's name is used.

        Raises:
            UsageError: two indexes have the same name, or a name cannot be used.
            IndexStateError: an index cannot be opened.
        """
        from bioqa.index.reader import Index
        from bioqa.retrieve.bm25 import BM25Retriever

        paths = index_names(indexes)
        with ExitStack() as closing:
            opened = {name: closing.enter_context(Index(path)) for name, path in paths.items()}
            service = cls(
                {name: BM25Retriever(index) for name, index in opened.items()},
                reranker,
                settings=settings,
                options=options,
            )
            service._closing = closing.pop_all()
        return service

    def start(self) -> None:
        """Score a pair, so that the first request does not wait for that and the speed is known, and watch for new commits."""
        if self.queue is not None:
            words = "What is the function of this protein? " * 40
            self.queue.score_pairs(Ticket(600), [("What is it?", words)] * 8)
        self._refresher = threading.Thread(target=self._watch, name="bioqa-refresh", daemon=True)
        self._refresher.start()

    def close(self) -> None:
        """Finish what waits for the reranker, and close the indexes."""
        self._stop.set()
        if self._refresher is not None:
            self._refresher.join()
        if self.queue is not None:
            self.queue.close()
        self._closing.close()

    def __enter__(self) -> "Service":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ticket(self, seconds: float | None = None, *, wait: bool = False) -> Ticket:
        """A ticket for one request, with ``seconds`` (None: the setting) until its deadline.

        Raises:
            DrainingError: the server is shutting down.
        """
        if self.draining:
            raise DrainingError("The server is shutting down. Try again in a few seconds.", retry_after=5)
        seconds = self.settings.timeout if seconds is None else min(seconds, self.settings.max_timeout)
        return Ticket(seconds, wait=wait)

    @property
    def default_index(self) -> str:
        """The name of the index that is searched if none is named."""
        return next(iter(self.retrievers))

    def retriever(self, index: str | None = None) -> "BM25Retriever":
        """The retriever of an index (None: the default one).

        Raises:
            NotFoundError: there is no such index.
        """
        found = self.retrievers.get(self.default_index if index is None else index)
        if found is None:
            raise NotFoundError(f"There is no index {index!r}. There are: {', '.join(self.retrievers)}.", field="index")
        return found

    def pipeline(self, ticket: Ticket, index: str | None = None, *, rerank: bool = True) -> Pipeline:
        """The pipeline of one request; without a reranker if ``rerank`` is False or the server has none."""
        queued = cast("Reranker", self.queue.for_ticket(ticket)) if self.queue is not None and rerank else None
        return Pipeline(self.retriever(index), queued, self.options)

    def search(
        self,
        question: str,
        options: PipelineOptions | None = None,
        *,
        index: str | None = None,
        rerank: bool = True,
        ticket: Ticket | None = None,
    ) -> Answer:
        """The answer to a question, with the seconds in the queue as the timing "queue".

        Raises what ``Pipeline.answer`` raises, and NotFoundError if there is no such index.
        """
        ticket = ticket or self.ticket()
        ticket.check()
        if rerank and self.queue is not None:
            self.queue.check_room(ticket)
        answer = self.pipeline(ticket, index, rerank=rerank).answer(question, options)
        return self._named(answer, index, ticket)

    def articles(self, ids: Sequence[str], *, index: str | None = None) -> list[Article | None]:
        """The articles with these ids, None for each that is not in the index."""
        return self.retriever(index).get_many(ids)

    def article(self, id: str, *, index: str | None = None) -> Article:
        """The article with this id. Raises NotFoundError if it is not in the index."""
        [found] = self.articles([id], index=index)
        if found is None:
            raise NotFoundError(f"The index {index or self.default_index} has no article {id!r}.", field="pmid")
        return found

    def similar(
        self,
        id: str,
        options: PipelineOptions | None = None,
        *,
        index: str | None = None,
        rerank: bool = True,
        ticket: Ticket | None = None,
    ) -> Answer:
        """The articles most similar to one. Raises what ``search`` raises, and NotFoundError if the article is not in the index."""
        ticket = ticket or self.ticket()
        ticket.check()
        if rerank and self.queue is not None:
            self.queue.check_room(ticket)
        article = self.article(id, index=index)
        answer = self.pipeline(ticket, index, rerank=rerank).similar(article, options)
        return self._named(answer, index, ticket)

    def rank_texts(
        self, query: str, texts: Sequence[str], *, aggregation: str = "maxp", ticket: Ticket | None = None
    ) -> Ranked:
        """The texts best first, as ``pipeline.rank_texts``. Raises NotReadyError if the server has no reranker."""
        if self.queue is None:
            raise NotReadyError("This server has no reranker: it was started with --no-rerank.")
        ticket = ticket or self.ticket()
        self.queue.check_room(ticket)
        reranker = cast("Reranker", self.queue.for_ticket(ticket))
        return rank_texts(reranker, query, texts, aggregation=aggregation)

    def indexes(self) -> list[IndexStatus]:
        """Every index that is served."""
        return [
            IndexStatus(name, one.index.commit.generation, one.index.info()) for name, one in self.retrievers.items()
        ]

    def refresh(self) -> list[str]:
        """Move on to newer commits, and return the names of the indexes that have one. One that cannot be opened is logged."""
        moved = []
        for name, retriever in self.retrievers.items():
            try:
                if retriever.index.refresh():
                    moved.append(name)
            except BioqaError as problem:
                _log.warning(f"The index {name} stays at generation {retriever.index.commit.generation}: {problem}")
        return moved

    def not_ready(self) -> str:
        """Why the server should get no requests at present, "" if it should."""
        if self.draining:
            return "The server is shutting down."
        if self.queue is not None and self.queue.full:
            return f"The queue is full: {self.queue.tokens:,} tokens wait for the reranker."
        return ""

    def _watch(self) -> None:
        while not self._stop.wait(self.settings.refresh):
            self.refresh()

    def _named(self, answer: Answer, index: str | None, ticket: Ticket) -> Answer:
        snapshot = replace(answer.index, name=index or self.default_index)
        return replace(answer, index=snapshot, timings={**answer.timings, "queue": ticket.queue_seconds})


def index_names(indexes: Sequence[str | Path]) -> dict[str, Path]:
    """Name → path of indexes given as "PATH" or "NAME=PATH".

    Raises:
        UsageError: a name is empty, has a slash, is one of ``RESERVED_NAMES``, or is given twice.
    """
    found: dict[str, Path] = {}
    for given in indexes:
        name, equals, path = str(given).partition("=")
        if not equals or Path(str(given)).exists():
            path, name = str(given), Path(str(given)).resolve().name
        if not name or "/" in name or name in RESERVED_NAMES:
            raise UsageError(f"An index cannot be served as {name!r}. Give it another name: NAME={path}.")
        if name in found:
            raise UsageError(f"Two indexes are named {name}. Give one another name: NAME={path}.")
        found[name] = Path(path)
    return found


def warnings(answer: Answer) -> list[str]:
    """What a reader of the answer should know: retracted hits, unknown filter values, articles that a filter cannot judge."""
    found = []
    for hit in answer.hits:
        marks = hit.article.marks
        if RETRACTED in marks:
            found.append(f"{hit.article.id} (rank {hit.rank}) is retracted.")
        else:
            found += [f"{hit.article.id} (rank {hit.rank}): {mark}." for mark in marks if mark != "corrected"]
    found += map(str, answer.unknown_filter_values)
    for field, articles in answer.missing_fields:
        newest = "; the newest articles often have none yet" if field in ("mesh", "major_topic") else ""
        found.append(f"The filter left out {articles:,} matching articles that have no {FIELD_NAMES[field]}{newest}.")
    if answer.coverage.truncated:
        were = "was" if answer.coverage.truncated == 1 else "were"
        found.append(
            f"{answer.coverage.truncated:,} of {answer.coverage.scored:,} reranked articles {were} not read to the end."
        )
    return found
