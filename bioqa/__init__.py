"""bioqa: biomedical question answering retrieval. PubMed → BM25 index → cross-encoder reranking → answer sentences.

The public names are loaded on first use, so that ``import bioqa`` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bioqa.bioasq.questions import read_questions
    from bioqa.corpus import expand_sources, read_source
    from bioqa.errors import BioqaError
    from bioqa.index import Filters, Index, MemoryIndex, build_index
    from bioqa.rerank import Reranker
    from bioqa.search import SearchEngine
    from bioqa.types import Article, Candidate, Candidates, Deletion, Hit, Question, Section, Snippet

__version__ = "0.1.0"

_HOME = {
    "Article": "bioqa.types",
    "BioqaError": "bioqa.errors",
    "Candidate": "bioqa.types",
    "Candidates": "bioqa.types",
    "Deletion": "bioqa.types",
    "Filters": "bioqa.index",
    "Hit": "bioqa.types",
    "Index": "bioqa.index",
    "MemoryIndex": "bioqa.index",
    "Question": "bioqa.types",
    "Reranker": "bioqa.rerank",
    "SearchEngine": "bioqa.search",
    "Section": "bioqa.types",
    "Snippet": "bioqa.types",
    "build_index": "bioqa.index",
    "expand_sources": "bioqa.corpus",
    "read_questions": "bioqa.bioasq.questions",
    "read_source": "bioqa.corpus",
}

__all__ = [
    "Article",
    "BioqaError",
    "Candidate",
    "Candidates",
    "Deletion",
    "Filters",
    "Hit",
    "Index",
    "MemoryIndex",
    "Question",
    "Reranker",
    "SearchEngine",
    "Section",
    "Snippet",
    "__version__",
    "build_index",
    "expand_sources",
    "read_questions",
    "read_source",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'bioqa' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
