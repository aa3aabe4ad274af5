"""BM25 over a Lucene index on disk, with Anserini's analyzer and bag-of-words query: the scores are Pyserini's."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioqa.errors import IndexStateError, UsageError
from bioqa.index.document import CONTENTS, FORMAT, ID, RAW, analyzer, from_json
from bioqa.index.jvm import cast, java, java_exception
from bioqa.index.writer import SourceEntry, has_commit
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
        self._reader, self._user_data = _open(self.path)
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
        query = self._queries.buildQuery(CONTENTS, self._analyzer, question)
        hits = [(hit.doc, hit.score) for hit in self._searcher.search(query, k).scoreDocs]
        ids = self._ids([doc for doc, _ in hits])
        return [Candidate(ids[doc], score, doc) for doc, score in hits]

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
        data = self._user_data
        return IndexInfo(
            path=str(self.path),
            documents=len(self),
            fields=tuple(sorted(names | {RAW})),
            sources=tuple(SourceEntry(**entry) for entry in json.loads(data["bioqa.sources"])),
            snapshot=data["bioqa.snapshot"],
            created=data["bioqa.created"],
            size=sum(file.stat().st_size for file in self.path.iterdir() if file.is_file()),
            format=int(data["bioqa.format"]),
            version=data["bioqa.version"],
        )

    def _ids(self, docs: list[int]) -> dict[int, str]:
        """Ids from doc values, which are read forwards only."""
        if not docs:
            return {}
        values = java("org.apache.lucene.index.MultiDocValues").getBinaryValues(self._reader, ID)
        ids = {}
        for doc in sorted(docs):
            values.advance(doc)
            ids[doc] = str(values.binaryValue().utf8ToString())
        return ids


def _open(path: Path) -> tuple[Any, dict[str, str]]:
    if not path.exists():
        raise IndexStateError(f"There is no index at {path}. Build one with `bioqa index build {path} SOURCE…`.")
    if not path.is_dir() or not any(path.iterdir()):
        raise IndexStateError(f"{path} is not an index. Build one with `bioqa index build INDEX SOURCE…`.")
    if not has_commit(path):
        if any(path.glob("_*")) or (path / "write.lock").exists():
            raise IndexStateError(
                f"{path} is half built: its build has not finished. Run `bioqa index build {path} …` again."
            )
        raise IndexStateError(f"{path} is not an index. Build one with `bioqa index build INDEX SOURCE…`.")
    reader = _open_lucene(path)
    data = {str(key): str(value) for key, value in _entries(reader.getIndexCommit().getUserData())}
    problem = ""
    if "bioqa.format" not in data:
        problem = f"{path} is a Lucene index that bioqa did not build. Build one with `bioqa index build`."
    elif int(data["bioqa.format"]) > FORMAT:
        problem = (
            f"{path} has index format {data['bioqa.format']} (written by bioqa {data.get('bioqa.version', '?')}); this "
            f"bioqa reads up to format {FORMAT}. Upgrade bioqa."
        )
    if problem:
        reader.close()
        raise IndexStateError(problem)
    return reader, data


def _open_lucene(path: Path) -> Any:
    failure = java_exception()
    try:
        directory = java("org.apache.lucene.store.FSDirectory").open(
            java("java.nio.file.Paths").get(str(path.absolute()))
        )
        return java("org.apache.lucene.index.DirectoryReader").open(directory)
    except failure as problem:
        name = str(getattr(problem, "classname", "")).rpartition(".")[2]
        if name == "IndexFormatTooNewException":
            raise IndexStateError(f"{path} was written by a newer Lucene. Upgrade bioqa and pyserini.") from problem
        message = str(getattr(problem, "innermessage", "") or problem)
        raise IndexStateError(
            f"{path} is damaged and cannot be opened ({name}: {message}). Build it again with --overwrite."
        ) from problem


def _entries(java_map: Any) -> list[tuple[Any, Any]]:
    return [(entry.getKey(), entry.getValue()) for entry in java_map.entrySet().toArray()]
