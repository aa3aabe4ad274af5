"""``bioqa index embed``, and searches in an index with vectors."""

import json
import re
import shutil

import pytest

from bioqa import Encoder, Index
from bioqa.index.build import build_index
from tests.support import DEMO
from tests.tiny_models import build_encoder, edit_json, one_thread, tiny_reranker  # noqa: F401

QUESTION = "Which gene is mutated in Marfan syndrome?"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return build_encoder(tmp_path_factory.mktemp("encoder") / "tiny", pooling="mean")


@pytest.fixture
def plain(tmp_path):
    """The demo baseline without vectors, as a file of PubMed's; the update file is beside it."""
    for number in (1, 2):
        shutil.copy(DEMO / f"demo26n000{number}.xml", tmp_path / f"pubmed26n000{number}.xml")
    build_index(tmp_path / "index", [tmp_path / "pubmed26n0001.xml"])
    return tmp_path / "index"


@pytest.fixture
def embedded(plain, model, bioqa):
    done = bioqa("index", "embed", plain, "--model", model)
    assert done.code == 0
    assert "324 of 324 articles have a vector of" in done.out
    assert "(cpu-int8 on cpu); 324 encoded in" in done.out
    return plain


def hits(done):
    return json.loads(done.out)["hits"]


def test_info_shows_vectors(embedded, plain, model, bioqa):
    shown = bioqa("index", "info", embedded).out
    assert f"Vectors    324 of 324 articles, 32 dimensions by {model}" in shown
    facts = json.loads(bioqa("index", "info", embedded, "--json").out)
    assert (facts["with_vector"], facts["vectors"]["dimension"]) == (324, 32)


def test_info_of_an_index_without_vectors_shows_none(plain, bioqa):
    assert "Vectors" not in bioqa("index", "info", plain).out
    assert json.loads(bioqa("index", "info", plain, "--json").out)["vectors"] is None


def test_a_search_fuses_where_there_are_vectors(embedded, bioqa):
    found = hits(bioqa("search", embedded, QUESTION, "--no-rerank", "--json"))
    assert any({"bm25", "dense"} <= hit["first_stage"].keys() for hit in found)
    assert 0 < found[-1]["score"] <= found[0]["score"] <= 1
    shown = bioqa("search", embedded, QUESTION, "--no-rerank", "--top", 3)
    assert shown.code == 0
    assert re.search(r"fused 0\.\d\d · BM25 rank \d+, dense rank \d+\n", shown.out)
    assert shown.err == ""


def test_each_retriever_can_be_chosen(embedded, plain, bioqa):
    results = {
        name: hits(bioqa("search", embedded, QUESTION, "--no-rerank", "--json", "--retriever", name))
        for name in ("bm25", "dense", "hybrid", "auto")
    }
    assert results["hybrid"] == results["auto"]
    assert "first_stage" not in results["bm25"][0] | results["dense"][0]
    assert all(-1 <= hit["score"] <= 1 for hit in results["dense"])
    assert results["bm25"][0]["score"] > 2
    all_words = hits(bioqa("search", embedded, QUESTION, "--no-rerank", "--json", "--fusion-weight", 0))
    assert all_words[0]["id"] == results["bm25"][0]["id"]
    ranks = hits(bioqa("search", embedded, QUESTION, "--no-rerank", "--json", "--fusion", "rrf"))
    assert ranks[0]["score"] < 2 / 60


def test_words_alone_where_there_are_no_vectors_and_for_lucenes_syntax(plain, model, bioqa):
    before = hits(bioqa("search", plain, QUESTION, "--no-rerank", "--json"))
    assert bioqa("index", "embed", plain, "--model", model).code == 0
    assert hits(bioqa("search", plain, QUESTION, "--no-rerank", "--json", "--retriever", "bm25")) == before
    lucene = bioqa("search", plain, "marfan AND gene", "--syntax", "lucene", "--no-rerank", "--json")
    assert lucene.code == 0
    assert "first_stage" not in hits(lucene)[0]


def test_a_reranker_is_told_what_it_got(embedded, tiny_reranker, bioqa):  # noqa: F811
    done = bioqa("search", embedded, QUESTION, "--reranker", tiny_reranker, "--top", 3, "--first-stage-weight", 2)
    assert done.code == 0
    assert "Reranked 50 fused candidates with" in done.err
    assert "ranked by logit + 2 × fused" in done.err


def test_a_run_is_tagged_with_its_first_stage(embedded, tmp_path, bioqa):
    questions = tmp_path / "questions.tsv"
    questions.write_text(f"q1\t{QUESTION}\n")
    for name, tag in (("auto", "hybrid"), ("dense", "dense"), ("bm25", "bm25")):
        done = bioqa("search", embedded, "--questions", questions, "--no-rerank", "--run", "-", "--retriever", name)
        assert done.out.splitlines()[0].endswith(f" {tag}")


def test_explanations_show_both(embedded, bioqa):
    done = bioqa("search", embedded, QUESTION, "--no-rerank", "--explain", "--top", 1)
    assert "= minmax of 0.5 × BM25 and 0.5 × dense" in done.out
    assert "inner product of the vectors" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--retriever", "dense"], "has no vectors. Make them with `bioqa index embed"),
        (["--retriever", "hybrid"], "has no vectors. Make them with `bioqa index embed"),
        (["--fusion", "rrf"], "but the index has no vectors"),
        (["--retriever", "bm25", "--fusion-weight", "0.3"], "but bm25 is one of them"),
    ],
)
def test_vectors_that_are_not_there_are_an_error(arguments, message, plain, bioqa):
    done = bioqa("search", plain, QUESTION, "--no-rerank", *arguments)
    assert done.code != 0
    assert message in done.err


def test_a_corpus_in_memory_has_no_vectors(corpus, bioqa):
    done = bioqa("search", "--corpus", corpus, QUESTION, "--no-rerank", "--retriever", "hybrid")
    assert done.code == 2
    assert "need an index with vectors" in done.err


def test_a_fusion_weight_out_of_range_is_refused(embedded, bioqa):
    done = bioqa("search", embedded, QUESTION, "--no-rerank", "--fusion-weight", "1.5")
    assert done.code == 2
    assert "must be between 0 and 1" in done.err


def test_updates_embed_unless_told_not_to(embedded, tmp_path, bioqa):
    shutil.copytree(embedded, tmp_path / "copy")
    update = tmp_path / "pubmed26n0002.xml"
    assert "have no vector" not in bioqa("index", "update", embedded, update).err
    done = bioqa("index", "update", tmp_path / "copy", update, "--no-embed")
    assert "articles have no vector. `bioqa index embed" in done.err
    assert "320 of 320 articles, 32 dimensions" in bioqa("index", "info", embedded).out
    assert "320 of 320 articles, 32 dimensions" not in bioqa("index", "info", tmp_path / "copy").out
    again = json.loads(bioqa("index", "embed", tmp_path / "copy", "--json").out)  # with the same model
    assert again["with_vector"] == 320
    assert again["encoded"] > 0
    assert bioqa("index", "verify", embedded).code == bioqa("index", "verify", tmp_path / "copy").code == 0


def test_an_encoder_that_has_changed_is_noticed(plain, model, tmp_path, bioqa):
    own = shutil.copytree(model, tmp_path / "own")
    assert bioqa("index", "embed", plain, "--model", own).code == 0
    edit_json(own / "config_sentence_transformers.json", prompts={"query": "what are "})
    done = bioqa("search", plain, QUESTION, "--no-rerank")
    assert done.code != 0
    assert "has changed since the vectors of" in done.err
    assert bioqa("search", plain, QUESTION, "--no-rerank", "--retriever", "bm25").code == 0


def test_the_default_model_is_the_one_in_the_package(tmp_path, corpus, bioqa):
    build_index(tmp_path / "small", [corpus])
    assert bioqa("index", "embed", tmp_path / "small").code == 0
    with Index(tmp_path / "small") as index:
        assert (index.manifest.vectors.model, index.manifest.vectors.digest) == ("default", Encoder().digest)
    found = hits(
        bioqa(
            "search", tmp_path / "small", "Which drugs reduce lipids?", "--no-rerank", "--json", "--retriever", "dense"
        )
    )
    assert found[0]["title"] == "Statins"
