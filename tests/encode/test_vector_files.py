"""Published vectors of articles are read as NCBI writes them, and faulty files are refused."""

import json

import numpy as np
import pytest

from bioqa import Article, DenseRetriever, Encoder, Index, embed_index
from bioqa.encode.vector_files import VectorFiles
from bioqa.errors import SourceError
from bioqa.index.build import build_index
from tests.support import write_jsonl
from tests.tiny_models import build


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A plain BERT folder, as MedCPT's query encoder is: 32 dimensions, the first token's."""
    return Encoder(build(tmp_path_factory.mktemp("query") / "encoder", head=""), pooling="cls", device="cpu")


@pytest.fixture
def files(tmp_path):
    """Vectors of the articles 1 to 4 in two chunks, not of length 1."""
    folder = tmp_path / "vectors"
    folder.mkdir()
    vectors = np.random.default_rng(0).normal(size=(4, 32)).astype(np.float32) * 3
    for chunk, ids in enumerate((["1", "2", "3"], ["4"])):
        np.save(folder / f"embeds_chunk_{chunk}.npy", vectors[[int(id) - 1 for id in ids]])
        (folder / f"pmids_chunk_{chunk}.json").write_text(json.dumps(ids))
    return folder, vectors


def article(id):
    return Article(id, f"Title {id}", "")


def test_vectors_are_found_by_pmid(files, encoder):
    folder, vectors = files
    found = VectorFiles(folder, encoder).encode_articles([article("4"), article("7"), article("2")])
    assert found[0].tolist() == vectors[3].tolist()
    assert np.isnan(found[1]).all()
    assert found[2].tolist() == vectors[1].tolist()


def test_an_index_takes_them_as_they_are(files, encoder, tmp_path):
    folder, vectors = files
    write_jsonl(tmp_path / "c.jsonl", [{"id": str(n), "title": f"Title {n}", "text": ""} for n in range(1, 6)])
    build_index(tmp_path / "index", [tmp_path / "c.jsonl"])
    report = embed_index(tmp_path / "index", VectorFiles(folder, encoder))
    assert (report.with_vector, report.documents) == (4, 5)
    with Index(tmp_path / "index") as index:
        info = index.info()
        assert (info.vectors.similarity, info.vectors.pooling) == ("dot", "cls")
        assert info.vectors.source == str(folder)
        found = {one.id: one.score for one in DenseRetriever(index, encoder).search("malaria", 9)}
    expected = vectors @ encoder.encode_query("malaria")
    assert found == {str(n + 1): pytest.approx(float(score), abs=1e-4) for n, score in enumerate(expected)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: [path.unlink() for path in folder.glob("*.npy")], "has no files embeds_chunk_0.npy"),
        (lambda folder: (folder / "pmids_chunk_1.json").unlink(), "pmids_chunk_1.json is missing"),
        (lambda folder: (folder / "pmids_chunk_1.json").write_text('["4", "5"]'), "not a list of 1 PMIDs"),
        (lambda folder: (folder / "pmids_chunk_1.json").write_text("[4"), "cannot be read as JSON"),
        (lambda folder: (folder / "embeds_chunk_0.npy").write_bytes(b"x"), "cannot be read as a .npy file"),
        (
            lambda folder: np.save(folder / "embeds_chunk_0.npy", np.ones((3, 768), np.float32)),
            "vectors of 32 dimensions",
        ),
        (lambda folder: np.save(folder / "embeds_chunk_0.npy", np.array([object()])), "cannot be read as a .npy file"),
    ],
)
def test_faulty_files_are_refused(change, message, files, encoder):
    change(files[0])
    with pytest.raises(SourceError, match=message):
        VectorFiles(files[0], encoder)
