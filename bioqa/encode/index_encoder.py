"""Load the encoder with which an index's vectors were made."""

from pathlib import Path

from bioqa.encode.encoder import Encoder
from bioqa.errors import IndexStateError
from bioqa.index.manifest import VectorInfo


def load_index_encoder(index: Path, vectors: VectorInfo, *, device: str = "auto") -> Encoder:
    """The encoder of the questions for the index at ``index``, of which ``vectors`` is the manifest's.

    Raises:
        ModelError: it is not found, or not usable.
        IndexStateError: its files have changed since.
    """
    encoder = Encoder(vectors.model, device=device, pooling=vectors.pooling, max_length=vectors.max_length)
    if encoder.digest != vectors.digest:
        raise IndexStateError(
            f"The encoder {vectors.model} has changed since the vectors of {index} were made. Restore it, search with --retriever "
            f"bm25, or make the vectors again with `bioqa index embed {index}`."
        )
    return encoder
