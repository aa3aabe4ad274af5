"""bioqa: biomedical question answering over PubMed with BM25, cross-encoder reranking and answer sentences.

Public names are imported on first use, so ``import bioqa`` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bioqa.corpus.questions import read_questions
    from bioqa.corpus.read_source import read_source
    from bioqa.corpus.sources import expand_sources
    from bioqa.encode.encoder import Encoder
    from bioqa.errors import BioqaError
    from bioqa.index.build import build_index
    from bioqa.index.embed import embed_index
    from bioqa.index.filters import Filters
    from bioqa.index.reader import Index
    from bioqa.pipeline.answer import Answer
    from bioqa.pipeline.options import PipelineOptions
    from bioqa.pipeline.pipeline import Pipeline
    from bioqa.rerank.reranker import Reranker
    from bioqa.retrieve.bm25 import BM25Retriever
    from bioqa.retrieve.dense import DenseRetriever
    from bioqa.retrieve.fusion import HybridRetriever
    from bioqa.retrieve.memory import MemoryRetriever
    from bioqa.retrieve.options import SearchOptions
    from bioqa.types import Article, Candidate, Candidates, Deletion, Hit, Question, Section, Snippet

__version__ = "0.1.0"

_HOME = {
    "Answer": "bioqa.pipeline.answer",
    "Article": "bioqa.types",
    "BM25Retriever": "bioqa.retrieve.bm25",
    "BioqaError": "bioqa.errors",
    "Candidate": "bioqa.types",
    "Candidates": "bioqa.types",
    "Deletion": "bioqa.types",
    "DenseRetriever": "bioqa.retrieve.dense",
    "Encoder": "bioqa.encode.encoder",
    "Filters": "bioqa.index.filters",
    "Hit": "bioqa.types",
    "HybridRetriever": "bioqa.retrieve.fusion",
    "Index": "bioqa.index.reader",
    "MemoryRetriever": "bioqa.retrieve.memory",
    "Pipeline": "bioqa.pipeline.pipeline",
    "PipelineOptions": "bioqa.pipeline.options",
    "Question": "bioqa.types",
    "Reranker": "bioqa.rerank.reranker",
    "SearchOptions": "bioqa.retrieve.options",
    "Section": "bioqa.types",
    "Snippet": "bioqa.types",
    "build_index": "bioqa.index.build",
    "embed_index": "bioqa.index.embed",
    "expand_sources": "bioqa.corpus.sources",
    "read_questions": "bioqa.corpus.questions",
    "read_source": "bioqa.corpus.read_source",
}

__all__ = [
    "Answer",
    "Article",
    "BM25Retriever",
    "BioqaError",
    "Candidate",
    "Candidates",
    "Deletion",
    "DenseRetriever",
    "Encoder",
    "Filters",
    "Hit",
    "HybridRetriever",
    "Index",
    "MemoryRetriever",
    "Pipeline",
    "PipelineOptions",
    "Question",
    "Reranker",
    "SearchOptions",
    "Section",
    "Snippet",
    "__version__",
    "build_index",
    "embed_index",
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
