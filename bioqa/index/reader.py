"""BM25 over a Lucene index on disk, with Anserini's analyzer and bag-of-words query: the scores are Pyserini's."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioqa.errors import IndexStateError, UsageError
from bioqa.index.document import CONTENTS, ID, RAW, analyzer, from_json
from bioqa.index.jvm import cast, java, java_exception
from bioqa.index.manifest import FORMAT, Manifest, SourceEntry, read_format, read_manifest, user_data
from bioqa.index.shard import open_directory
from bioqa.index.writer import has_commit
from bioqa.types import Article, Candidate

K1, B = 0.9, 0.4


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What an index holds: ``size`` in bytes, ``snapshot`` the latest revision date in it, ``created`` in UTC (both ISO 8601)."""

    path: str
    documents: int
    fields: tuple[str, ...]
    sources: tuple[SourceEntry, ...]
    snapshot: str
    created: str
    size: int
    format: int
    version: str


def check_bm25(k1: float, b: float) -> None:
    """Raise UsageError unless k1 ≥ 0 and 0 ≤ b ≤ 1."""
    if not k1 >= 0:
        raise UsageError(f"BM25's k1 must be 0 or more, not {k1}.")
    if not 0 <= b <= 1:
        raise UsageError(f"BM25's b must lie between 0 and 1, not {b}.")


class Index:
    """A Lucene index opened for searching, at the commit that was the latest when it was opened.

    Raises:
        IndexStateError: ``path`` is missing, no index, half built, damaged or of a newer format.
    """

    def __init__(self, path: str | Path, *, k1: float = K1, b: float = B) -> None:
        check_bm25(k1, b)
        self.path = Path(path)
        self._reader, self.manifest = _open(self.path)
        self._searcher = java("org.apache.lucene.search.IndexSearcher")(
            cast("org.apache.lucene.index.IndexReader", self._reader)
        )
        self._searcher.setSimilarity(java("org.apache.lucene.search.similarities.BM25Similarity")(k1, b))
        self._analyzer = analyzer()
        self._queries = java("io.anserini.search.query.BagOfWordsQueryGenerator")()

    def __len__(self) -> int:
        return int(self._reader.numDocs())

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the Lucene reader; the index cannot be searched afterwards."""
        self._reader.close()

    def search(self, question: str, k: int = 10) -> list[Candidate]:
        """The ``k`` articles with the highest BM25 score for the question's words, best first; equal scores in index order."""
        ids, docs, scores = java("bioqa.Bulk").search(self._searcher, self._query(question), k)
        return [Candidate(*hit) for hit in zip(ids.split("\n"), scores, docs, strict=True)] if docs else []

    def _query(self, question: str) -> Any:
        return self._queries.buildQuery(CONTENTS, self._analyzer, question)

    def articles(self, candidates: Sequence[Candidate]) -> list[Article]:
        """The stored articles of candidates that this index returned."""
        stored = self._searcher.storedFields()
        return [from_json(stored.document(candidate.key).get(RAW)) for candidate in candidates]

    def get(self, id: str) -> Article | None:
        """The article with that id, or None."""
        query = java("org.apache.lucene.search.TermQuery")(java("org.apache.lucene.index.Term")(ID, id))
        hits = self._searcher.search(query, 1).scoreDocs
        return from_json(self._searcher.storedFields().document(hits[0].doc).get(RAW)) if hits else None

    def info(self) -> IndexInfo:
        """Documents, fields, sources, dates and size of this commit."""
        fields = java("org.apache.lucene.index.FieldInfos").getIndexedFields(self._reader)
        names = {str(name) for name in fields.toArray()}
        manifest = self.manifest
        return IndexInfo(
            path=str(self.path),
            documents=len(self),
            fields=tuple(sorted(names | {RAW})),
            sources=manifest.sources,
            snapshot=manifest.snapshot,
            created=manifest.created,
            size=sum(file.stat().st_size for file in self.path.iterdir() if file.is_file()),
            format=manifest.format,
            version=manifest.version,
        )


def _open(path: Path) -> tuple[Any, Manifest]:
    if not path.exists():
        raise IndexStateError(f"There is no index at {path}. Build one with `bioqa index build {path} SOURCE…`.")
    if not has_commit(path):
        if path.is_dir() and (any(path.glob("_*")) or (path / "write.lock").exists()):
            raise _half_built(path)
        raise IndexStateError(f"{path} is not an index. Build one with `bioqa index build INDEX SOURCE…`.")
    failure = java_exception()
    try:
        commit = java("bioqa.Bulk").latest(open_directory(path), False)
        data = user_data(commit.getUserData())
        _check_format(path, data)
        complete = java("bioqa.Bulk").latest(open_directory(path), True)
        if complete is None:
            raise _half_built(path)
        reader = java("org.apache.lucene.index.DirectoryReader").open(complete)
        return reader, read_manifest(user_data(complete.getUserData()))
    except failure as problem:
        raise _explain(path, problem) from problem


def _half_built(path: Path) -> IndexStateError:
    return IndexStateError(
        f"{path} is half built: its build has not finished. Run the same `bioqa index build {path} …` again; it goes on "
        "where it was."
    )


def _check_format(path: Path, data: dict[str, str]) -> None:
    found, writer = read_format(data), data.get("bioqa.version", "?")
    if found is None:
        raise IndexStateError(f"{path} is a Lucene index that bioqa did not build. Build one with `bioqa index build`.")
    if found > FORMAT:
        raise IndexStateError(
            f"{path} has index format {found} (written by bioqa {writer}); this bioqa reads format {FORMAT}. Upgrade bioqa."
        )
    if found < FORMAT:
        raise IndexStateError(
            f"{path} has the older index format {found} (written by bioqa {writer}). Build it again with --overwrite."
        )


def _explain(path: Path, problem: Any) -> IndexStateError:
    name = str(getattr(problem, "classname", "")).rpartition(".")[2]
    if name == "IndexFormatTooNewException":
        return IndexStateError(f"{path} was written by a newer Lucene. Upgrade bioqa and pyserini.")
    message = str(getattr(problem, "innermessage", "") or problem)
    return IndexStateError(f"{path} is damaged and cannot be opened ({name}: {message}). Build it again with --overwrite.")
