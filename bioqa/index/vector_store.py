"""Vectors on disk while an index is being embedded, so that an interrupted run resumes: files in a folder inside the index.

``header.json`` says with what they were made; ``orders`` has the position of each article in the corpus, int64; ``vectors`` has a
row of float32 for each, both in the machine's byte order. Rows that a kill left incomplete are dropped.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioqa.io.output import RESUME_HINT, output_errors, replacing

EMBEDDING = "embedding"
"""The folder inside an index."""


class VectorStore:
    """The vectors in a folder, which is created if missing. The caller keeps other processes out of it.

    If the folder's vectors were made with another ``header``, they are dropped; only "sources" may have grown since.

    Raises:
        OutputError: the folder cannot be written.
    """

    def __init__(self, folder: Path, header: Mapping[str, Any], dimension: int) -> None:
        self.vectors = folder / "vectors"
        self.orders = folder / "orders"
        self._header = folder / "header.json"
        self._row = 4 * dimension
        self.header = dict(header)
        with output_errors(folder, RESUME_HINT):
            folder.mkdir(parents=True, exist_ok=True)
            count = self._complete_rows() if _continues(self._read_header(), header) else 0
            for path, size in ((self.orders, 8), (self.vectors, self._row)):
                path.touch()
                os.truncate(path, count * size)
            self._known: NDArray[np.int64] = np.sort(np.fromfile(self.orders, dtype=np.int64))
        with replacing(self._header) as part:
            part.write_text(json.dumps(header), encoding="utf-8")

    def _read_header(self) -> Any:
        try:
            return json.loads(self._header.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _complete_rows(self) -> int:
        sizes = [(path.stat().st_size if path.is_file() else 0) for path in (self.orders, self.vectors)]
        return min(sizes[0] // 8, sizes[1] // self._row)

    def __len__(self) -> int:
        return len(self._known)

    def has(self, orders: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which articles have a row, by their positions in the corpus: bool, same shape."""
        if not len(self._known):
            return np.zeros(orders.shape, dtype=np.bool_)
        at = np.searchsorted(self._known, orders).clip(max=len(self._known) - 1)
        return np.asarray(self._known[at] == orders)

    def add(self, orders: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Add the rows of n articles: int64 (n,), float32 (n, dimension). Raises OutputError if they cannot be written."""
        with output_errors(self.vectors, RESUME_HINT):
            for path, values in ((self.vectors, vectors.astype(np.float32)), (self.orders, orders.astype(np.int64))):
                with path.open("ab") as file:
                    file.write(values.tobytes())
                    file.flush()
                    os.fsync(file.fileno())
        self._known = np.sort(np.concatenate([self._known, orders]))


def _continues(found: Any, header: Mapping[str, Any]) -> bool:
    """Whether rows written with the header ``found`` belong to a run with this one."""
    if not isinstance(found, dict) or found.keys() != header.keys():
        return False
    same = all(found[name] == value for name, value in header.items() if name != "sources")
    return same and all(source in header["sources"] for source in found["sources"])
