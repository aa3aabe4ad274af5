"""The first stage: a Lucene index on disk, and an in-memory BM25 engine for small files.

The names below are loaded on first use, so that a search does not pay for what builds an index.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bioqa.index.build import BuildReport, build_index
    from bioqa.index.filters import Filters, LeftOut
    from bioqa.index.memory import MemoryIndex
    from bioqa.index.reader import Index, IndexInfo

__all__ = ["BuildReport", "Filters", "Index", "IndexInfo", "LeftOut", "MemoryIndex", "build_index"]

_HOME = {
    "BuildReport": "build",
    "Filters": "filters",
    "Index": "reader",
    "IndexInfo": "reader",
    "LeftOut": "filters",
    "MemoryIndex": "memory",
    "build_index": "build",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
