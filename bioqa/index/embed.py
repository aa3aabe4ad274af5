"""Give the articles of an index vectors: they are encoded once, and appear in one commit.

Encoded vectors are kept in a folder inside the index (``vector_store``) until the commit, so an interrupted run resumes. The commit
has the same documents with one field more (``java/VectorWriter.java``); until then, searches see the index as it was.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioqa.errors import IndexStateError, UsageError
from bioqa.index.article_encoder import ArticleEncoder, encoded, same_vectors
from bioqa.index.java_errors import java_errors
from bioqa.index.jvm import cast, java, java_lock
from bioqa.index.manifest import Manifest, VectorInfo
from bioqa.index.reader import Index
from bioqa.index.vector_store import EMBEDDING, VectorStore
from bioqa.index.writer import RAM_BUFFER_MB, commit, complete_manifest, open_writer
from bioqa.io.locks import locked

BATCH = 512
"""Articles encoded at a time; a killed run loses at most one such batch."""
BLOCK = 1 << 16
"""Documents whose positions are read at a time."""


@dataclass(frozen=True, slots=True)
class EmbedReport:
    """The result of embedding an index: its articles, those with a vector, those encoded now and by earlier, interrupted runs, and
    seconds.
    """

    documents: int
    with_vector: int
    encoded: int
    resumed: int
    seconds: float


@dataclass(frozen=True, slots=True)
class EmbedProgress:
    """Progress: articles done, those of earlier runs included, and in total."""

    done: int
    total: int


def embed_index(
    path: str | Path, encoder: ArticleEncoder, *, progress: Callable[[EmbedProgress], None] | None = None
) -> EmbedReport:
    """Give every article of the index at ``path`` a vector made by ``encoder``.

    Articles that have a vector of this encoder keep it; those of another encoder are replaced. An interrupted run resumes. Scores
    of BM25 do not change.

    Raises:
        IndexStateError: there is no finished index, or another program is writing it.
        OutputError: the index cannot be written, or another process is embedding it.
        UsageError: the vectors have more dimensions than Lucene supports.
        ModelError: the encoder failed.
    """
    started = time.monotonic()
    path, info = Path(path), encoder.info
    with Index(path):  # raises for what is not an index, before anything is written
        pass
    with locked(path / EMBEDDING, "embedding"):
        with Index(path) as index:
            store = VectorStore(path / EMBEDDING, _header(info, index.manifest), info.dimension)
            resumed = len(store)
            _encode(index, encoder, store, progress)
        with open_writer(path, create=False, ram_mb=RAM_BUFFER_MB) as writer:
            manifest = complete_manifest(path)
            with Index(path) as index:
                _check_sources(store, manifest, path)
                _encode(index, encoder, store, progress)  # what an update has added meanwhile
                if len(store) or not same_vectors(manifest.vectors, info):
                    _write(writer, index, store, info, manifest)
                    commit(writer, replace(manifest, vectors=_keep_weight(info, manifest)))
        shutil.rmtree(path / EMBEDDING, ignore_errors=True)
    with Index(path) as index:
        return EmbedReport(
            len(index), index.info().with_vector, len(store) - resumed, resumed, time.monotonic() - started
        )


def _header(info: VectorInfo, manifest: Manifest) -> dict[str, Any]:
    """What must be the same for a run to resume: the encoder, and the sources by whose order articles are known."""
    return {**asdict(info), "sources": [[entry.order, entry.md5] for entry in manifest.sources]}


def _check_sources(store: VectorStore, manifest: Manifest, path: Path) -> None:
    """Raise IndexStateError if the index was built anew since its articles were encoded."""
    known = [[entry.order, entry.md5] for entry in manifest.sources]
    if not all(source in known for source in store.header["sources"]):
        raise IndexStateError(f"{path} was built anew while its articles were encoded. Give the command again.")


def _keep_weight(info: VectorInfo, manifest: Manifest) -> VectorInfo:
    """``info`` with the fusion weight that was chosen for the same vectors."""
    old = manifest.vectors
    return replace(info, fusion_weight=old.fusion_weight) if old is not None and same_vectors(old, info) else info


def _encode(
    index: Index, encoder: ArticleEncoder, store: VectorStore, progress: Callable[[EmbedProgress], None] | None
) -> None:
    """Encode the articles of an open index that lack a vector of this encoder and are not in the store."""
    keep = same_vectors(index.manifest.vectors, encoder.info)
    total = len(index) - (index.info().with_vector if keep else 0)
    done = len(store)
    if progress:
        progress(EmbedProgress(done, total))
    for keys, orders in _batches(index, store, keep):
        articles = index.articles(keys.tolist())
        vectors = encoded(encoder, articles)
        found = np.isfinite(vectors).all(axis=1)
        store.add(orders[found], vectors[found])
        done += len(articles)
        if progress:
            progress(EmbedProgress(done, total))


def _batches(index: Index, store: VectorStore, keep: bool) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(Lucene document numbers, positions in the corpus) of ``BATCH`` articles that must be encoded."""
    reader = index.commit.reader
    with java_lock:
        documents = int(reader.maxDoc())
    keys = orders = np.zeros(0, dtype=np.int64)
    for begin in range(0, documents, BLOCK):
        end = min(begin + BLOCK, documents)
        with java_errors(index.path):
            found = java("bioqa.VectorWriter").orders(
                cast("org.apache.lucene.index.IndexReader", reader), begin, end, keep
            )
        block = np.frombuffer(bytes(found.tostring()), dtype=np.int64)
        wanted = np.flatnonzero((block >= 0) & ~store.has(block))
        keys, orders = np.concatenate([keys, wanted + begin]), np.concatenate([orders, block[wanted]])
        while len(keys) >= BATCH or (end == documents and len(keys)):
            yield keys[:BATCH], orders[:BATCH]
            keys, orders = keys[BATCH:], orders[BATCH:]


def _write(writer: Any, index: Index, store: VectorStore, info: VectorInfo, manifest: Manifest) -> None:
    keep = same_vectors(manifest.vectors, info)
    if not len(store) and not keep:
        raise UsageError(f"No article of {index.path} has a vector in {info.source or info.model}. Check the path.")
    files = str(store.vectors.absolute()), str(store.orders.absolute())
    with java_errors(index.path, writing=True):
        java("bioqa.VectorWriter").write(writer, index.commit.reader, *files, info.dimension, info.similarity, keep)
