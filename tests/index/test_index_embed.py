"""Vectors come into an index in one commit, and stay true through updates, deletions, compaction, kills and other encoders."""

import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from bioqa import BM25Retriever, Index
from bioqa.errors import IndexStateError, OutputError, UsageError
from bioqa.index import embed
from bioqa.index.build import build_index
from bioqa.index.embed import embed_index
from bioqa.index.update import compact_index, update_index
from bioqa.index.vector_store import EMBEDDING, VectorStore
from bioqa.index.verify import verify_index
from bioqa.retrieve.dense import DenseRetriever
from tests.index.vector_encoders import TextEncoder
from tests.support import DEMO, REPOSITORY, assert_same_results, pyserini_results, write_jsonl

QUESTIONS = ["Which gene is mutated in Marfan syndrome?", "treatment of patients with cancer", "cell protein"]


@pytest.fixture
def index(tmp_path):
    """The demo baseline, 324 articles, as a file of PubMed's; the update file is beside it."""
    for number in (1, 2):
        shutil.copy(DEMO / f"demo26n000{number}.xml", tmp_path / f"pubmed26n000{number}.xml")
    build_index(tmp_path / "index", [tmp_path / "pubmed26n0001.xml"])
    return tmp_path / "index"


def bm25(path):
    with Index(path) as opened:
        found = BM25Retriever(opened).search_many(QUESTIONS, 100)
        return [[(one.id, one.score) for one in candidates] for candidates in found]


def assert_vectors(path, encoder, missing=()):
    """Every article of the index but the ``missing`` ones is found with its own text's vector, at a cosine of 1."""
    with Index(path) as opened:
        retriever = DenseRetriever(opened, encoder)
        everything = retriever.search(QUESTIONS[0], len(opened) + 5)
        assert len(everything) == len(opened) - len(missing)
        assert opened.info().with_vector == len(everything)
        articles = opened.get_many(sorted(one.id for one in everything))
        for article, found in zip(
            articles, retriever.search_many([one.default_text() for one in articles], 1), strict=True
        ):
            assert (found[0].id, found[0].score) == (article.id, pytest.approx(1, abs=1e-5))
        assert not {one.id for one in everything} & set(missing)
    assert verify_index(path).errors == ()


def test_embedding_changes_nothing_but_adds_vectors(index):
    before, encoder, seen = bm25(index), TextEncoder(), []
    report = embed_index(index, encoder, progress=seen.append)
    assert (report.documents, report.with_vector, report.encoded, report.resumed) == (324, 324, 324, 0)
    assert bm25(index) == before
    assert_vectors(index, encoder)
    assert (seen[0].done, seen[-1].done, seen[-1].total) == (0, 324, 324)
    assert not (index / EMBEDDING).exists()
    with Index(index) as opened:
        assert opened.info().vectors == encoder.info
        assert len(opened.info().sources) == 1


def test_deleted_documents_still_count_in_bm25s_statistics(index, tmp_path):
    update_index(index, [tmp_path / "pubmed26n0002.xml"], compact_above=1)
    with Index(index) as opened:
        deleted = opened.info().deleted
        assert deleted > 20
    before, encoder = bm25(index), TextEncoder()
    embed_index(index, encoder)
    assert bm25(index) == before
    with Index(index) as opened:
        assert (opened.info().deleted, len(opened)) == (deleted, 320)
    assert_vectors(index, encoder)
    compact_index(index)
    assert_vectors(index, encoder)
    with Index(index) as opened:
        assert opened.info().deleted == 0


def test_several_segments_keep_their_documents(index, tmp_path):
    """Each article in a commit of its own makes a segment of its own."""
    for number in range(4):
        write_jsonl(
            tmp_path / f"more{number}.jsonl", [{"id": f"x{number}", "title": f"Gene {number}", "text": "A cell."}]
        )
        update_index(index, [tmp_path / f"more{number}.jsonl"])
    before, encoder = bm25(index), TextEncoder()
    embed_index(index, encoder)
    assert bm25(index) == before
    assert_vectors(index, encoder)


def test_pyserini_opens_an_index_with_vectors(index):
    embed_index(index, TextEncoder())
    for ours, theirs in zip(bm25(index), pyserini_results(index, QUESTIONS), strict=True):
        assert_same_results(ours[:10], theirs)


def test_the_same_encoder_makes_only_what_is_missing(index):
    embed_index(index, TextEncoder())
    again = TextEncoder()
    report = embed_index(index, again)
    assert (report.encoded, again.encoded, report.with_vector) == (0, 0, 324)


def test_another_encoder_replaces_all_vectors(index):
    embed_index(index, TextEncoder())
    other = TextEncoder("other", dimension=24, similarity="dot")
    report = embed_index(index, other)
    assert (report.encoded, report.with_vector) == (324, 324)
    assert_vectors(index, other)
    with Index(index) as opened, pytest.raises(IndexStateError, match="made by other, which is not the same as made"):
        DenseRetriever(opened, TextEncoder())


def test_an_update_encodes_what_it_adds(index, tmp_path):
    encoder = TextEncoder()
    embed_index(index, encoder)
    encoder.encoded = 0
    report = update_index(index, [tmp_path / "pubmed26n0002.xml"], encoder=encoder)
    assert (report.without_vector, encoder.encoded) == (0, 27)
    assert_vectors(index, encoder)


def test_an_update_without_the_encoder_counts_what_is_missing_and_embedding_adds_it(index, tmp_path):
    encoder = TextEncoder()
    embed_index(index, encoder)
    report = update_index(index, [tmp_path / "pubmed26n0002.xml"])
    assert report.without_vector > 10
    with Index(index) as opened:
        info = opened.info()
        assert info.with_vector == 320 - report.without_vector
    encoder.encoded = 0
    again = embed_index(index, encoder)
    assert (again.encoded, encoder.encoded) == (report.without_vector,) * 2
    assert_vectors(index, encoder)


def test_an_update_with_another_encoder_is_refused(index, tmp_path):
    embed_index(index, TextEncoder())
    with pytest.raises(UsageError, match="were not made by other"):
        update_index(index, [tmp_path / "pubmed26n0002.xml"], encoder=TextEncoder("other"))
    with Index(index) as opened:
        assert len(opened) == 324


def test_a_build_in_its_place_has_no_vectors(index, tmp_path):
    embed_index(index, TextEncoder())
    (index / EMBEDDING).mkdir()  # as after a kill
    build_index(index, [tmp_path / "pubmed26n0002.xml"], overwrite=True)
    with Index(index) as opened:
        assert opened.manifest.vectors is None
        with pytest.raises(IndexStateError, match="has no vectors"):
            DenseRetriever(opened, TextEncoder())


def test_articles_without_a_vector_stay_without(index):
    with Index(index) as opened:
        missing = [one.id for one in BM25Retriever(opened).search("patients", 30)]
    partial = TextEncoder(without=missing, source="files")
    report = embed_index(index, partial)
    assert (report.with_vector, report.documents) == (294, 324)
    assert_vectors(index, partial, missing)


def test_vectors_for_none_of_the_articles_are_a_mistake(index):
    encoder = TextEncoder(source="elsewhere")
    encoder.encode_articles = lambda articles: np.full((len(articles), 16), np.nan, np.float32)
    with pytest.raises(UsageError, match=r"No article of .* has a vector in elsewhere"):
        embed_index(index, encoder)
    with Index(index) as opened:
        assert opened.manifest.vectors is None


@pytest.mark.parametrize("dimension", [1025, 4096])
def test_more_dimensions_than_lucene_supports_are_refused(dimension, index):
    with pytest.raises(UsageError, match=f"{dimension:,} dimensions, but an index can have at most 1,024"):
        embed_index(index, TextEncoder(dimension=dimension))


def test_1024_dimensions_are_supported(index):
    encoder = TextEncoder(dimension=1024)
    embed_index(index, encoder)
    assert_vectors(index, encoder)


def test_what_is_not_an_index_is_left_alone(tmp_path):
    with pytest.raises(IndexStateError, match="There is no index"):
        embed_index(tmp_path / "nothing", TextEncoder())
    assert not (tmp_path / "nothing").exists()


def test_only_one_process_embeds_at_a_time(index):
    from bioqa.io.locks import locked

    with locked(index / EMBEDDING, "embedding"), pytest.raises(OutputError, match="Another embedding is running"):
        embed_index(index, TextEncoder())


def test_an_interrupted_run_resumes(index, monkeypatch):
    monkeypatch.setattr(embed, "BATCH", 50)
    before = bm25(index)

    class Failing(TextEncoder):
        def encode_articles(self, articles):
            if self.encoded >= 150:
                raise KeyboardInterrupt
            return super().encode_articles(articles)

    with pytest.raises(KeyboardInterrupt):
        embed_index(index, Failing())
    with Index(index) as opened:
        assert opened.manifest.vectors is None
    assert bm25(index) == before
    with (index / EMBEDDING / "vectors").open("ab") as file:
        file.write(b"half a row")  # as after a kill in the middle of a write
    encoder = TextEncoder()
    report = embed_index(index, encoder)
    assert (report.resumed, report.encoded, encoder.encoded) == (150, 174, 174)
    assert_vectors(index, encoder)


def test_a_run_with_another_encoder_starts_over(index):
    store = VectorStore(index / EMBEDDING, embed._header(TextEncoder("other").info, Index(index).manifest), 16)
    store.add(np.arange(5), np.ones((5, 16), np.float32))
    encoder = TextEncoder()
    assert embed_index(index, encoder).resumed == 0
    assert_vectors(index, encoder)


def test_articles_that_an_update_adds_meanwhile_are_encoded_too(index, tmp_path):
    class Updating(TextEncoder):
        def encode_articles(self, articles):
            if not self.encoded:
                update_index(index, [tmp_path / "pubmed26n0002.xml"])
            return super().encode_articles(articles)

    encoder = Updating()
    report = embed_index(index, encoder)
    assert (report.documents, report.with_vector) == (320, 320)
    assert_vectors(index, encoder)


def test_a_build_meanwhile_is_noticed(index, tmp_path):
    class Building(TextEncoder):
        def encode_articles(self, articles):
            if not self.encoded:
                write_jsonl(tmp_path / "other.jsonl", [{"id": "1", "title": "A", "text": "B."}])
                build_index(index, [tmp_path / "other.jsonl"], overwrite=True)
            return super().encode_articles(articles)

    with pytest.raises(IndexStateError, match="built anew while its articles were encoded"):
        embed_index(index, Building())
    encoder = TextEncoder()
    assert embed_index(index, encoder).with_vector == 1


_EMBED = """
import sys, time
from bioqa.index import embed
from tests.index.vector_encoders import TextEncoder

class Slow(TextEncoder):
    def encode_articles(self, articles):
        time.sleep(0.02)
        return super().encode_articles(articles)

embed.BATCH = 20
print("started", flush=True)
embed.embed_index(sys.argv[1], Slow())
"""


@pytest.mark.slow
def test_a_killed_run_loses_nothing(index):
    before = bm25(index)
    for delay in (0.1, 0.25, 0.4, 0.55, 0.7, 0.9, 1.2):
        process = subprocess.Popen(
            [sys.executable, "-c", _EMBED, str(index)], stdout=subprocess.PIPE, cwd=REPOSITORY, text=True
        )
        assert process.stdout.readline() == "started\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert bm25(index) == before
        assert verify_index(index).errors == ()
    encoder = TextEncoder()
    report = embed_index(index, encoder)
    assert report.resumed + report.encoded in (324, 0)  # 0: the last one was done before it was killed
    assert_vectors(index, encoder)
    assert bm25(index) == before
