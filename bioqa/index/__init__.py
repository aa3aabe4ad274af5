"""The first stage: a Lucene index on disk, and an in-memory BM25 engine for small files."""

from bioqa.index.build import BuildReport, build_index
from bioqa.index.filters import Filters, LeftOut
from bioqa.index.memory import MemoryIndex
from bioqa.index.reader import Index, IndexInfo

__all__ = ["BuildReport", "Filters", "Index", "IndexInfo", "LeftOut", "MemoryIndex", "build_index"]
