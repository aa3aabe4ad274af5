"""Published vectors of articles: NCBI's MedCPT files, embeds_chunk_I.npy (float32, N × 768) beside pmids_chunk_I.json (N PMIDs).

Source: https://ftp.ncbi.nlm.nih.gov/pub/lu/MedCPT/pubmed_embeddings/
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioqa.encode.encoder import Encoder
from bioqa.errors import SourceError
from bioqa.index.manifest import VectorInfo
from bioqa.types import Article

VECTORS, IDS = "embeds_chunk_", "pmids_chunk_"


class VectorFiles:
    """The vectors in a folder, memory-mapped, as what ``index.embed.embed_index`` takes for an encoder.

    ``encoder`` encodes the questions that are compared with them, by their inner product as they are.

    Raises:
        SourceError: the folder has no such files, one is missing or malformed, or their vectors have another dimension than the
            encoder's.
    """

    def __init__(self, folder: str | Path, encoder: Encoder) -> None:
        self.folder = Path(folder)
        self._encoder = encoder
        paths = sorted(self.folder.glob(f"{VECTORS}*.npy")) if self.folder.is_dir() else []
        if not paths:
            raise SourceError(f"{self.folder} has no files {VECTORS}0.npy, {VECTORS}1.npy and so on. Check the path.")
        self._files = [self._open(path) for path in paths]
        self._rows: dict[str, tuple[int, int]] = {}
        for number, path in enumerate(paths):
            self._read_ids(number, path.with_name(f"{IDS}{path.stem.removeprefix(VECTORS)}.json"))

    def _open(self, path: Path) -> NDArray[np.float32]:
        try:
            vectors: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as problem:
            raise SourceError(f"{path} cannot be read as a .npy file ({problem}). Fetch it again.") from problem
        if vectors.ndim != 2 or vectors.shape[1] != self._encoder.dimension or vectors.dtype.kind != "f":
            raise SourceError(
                f"{path} has {vectors.dtype} of shape {vectors.shape}, but {self._encoder.name} makes vectors of "
                f"{self._encoder.dimension} dimensions. Name the query encoder that belongs to the files with --model."
            )
        return vectors

    def _read_ids(self, number: int, path: Path) -> None:
        try:
            ids: Any = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise SourceError(f"{path} is missing: it names the articles of the vectors beside it.") from None
        except (OSError, ValueError) as problem:
            raise SourceError(f"{path} cannot be read as JSON ({problem}). Fetch it again.") from problem
        if not isinstance(ids, list) or len(ids) != len(self._files[number]):
            rows = len(self._files[number])
            raise SourceError(f"{path} is not a list of {rows:,} PMIDs, as many as the file beside it has vectors.")
        self._rows.update((str(id), (number, row)) for row, id in enumerate(ids))

    @property
    def info(self) -> VectorInfo:
        """How the vectors were made."""
        return replace(self._encoder.info, similarity="dot", source=str(self.folder.resolve()))

    def encode_articles(self, articles: Sequence[Article]) -> NDArray[np.float32]:
        """The vectors of n articles: float32 (n, dimension), not numbers for those that the files lack."""
        vectors = np.full((len(articles), self._encoder.dimension), np.nan, dtype=np.float32)
        for at, article in enumerate(articles):
            if found := self._rows.get(article.id):
                number, row = found
                vectors[at] = self._files[number][row]
        return vectors
