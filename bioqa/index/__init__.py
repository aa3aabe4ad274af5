"""The first stage: a Lucene index on disk, and an in-memory BM25 engine for small files."""

from bioqa.index.filters import Filters, LeftOut
from bioqa.index.memory import MemoryIndex
from bioqa.index.reader import Index, IndexInfo
from bioqa.index.writer import BuildReport, build_index

__all__ = ["BuildReport", "Filters", "Index", "IndexInfo", "LeftOut", "MemoryIndex", "build_index"]
