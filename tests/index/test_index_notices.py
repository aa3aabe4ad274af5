"""Notices of retractions, corrections and concerns mark the articles that they are about, also before those are re-issued."""

import random

import pytest

from bioqa import BM25Retriever, Deletion, Index, MemoryRetriever, SearchOptions
from bioqa.corpus.pubmed import read_pubmed
from bioqa.index.build import build_index
from bioqa.index.filters import Filters
from bioqa.index.update import update_index
from bioqa.types import Link
from tests.support import write_jsonl

KEPT = SearchOptions(filters=Filters(exclude_retracted=True))


def citation(pmid, title="Asthma trial", links=(), types=()):
    corrections = "".join(
        f'<CommentsCorrections RefType="{kind}"><RefSource>J Demo. 2020;1(2):3</RefSource><PMID>{id}</PMID></CommentsCorrections>'
        for kind, id in links
    )
    listed = f"<CommentsCorrectionsList>{corrections}</CommentsCorrectionsList>" if links else ""
    kinds = "".join(f"<PublicationType>{kind}</PublicationType>" for kind in types)
    return (
        f"<PubmedArticle><MedlineCitation><PMID>{pmid}</PMID><Article><Journal><JournalIssue><Volume>7</Volume><Issue>2</Issue>"
        f"<PubDate><Year>2021</Year><Month>Mar</Month></PubDate></JournalIssue><ISOAbbreviation>J Demo</ISOAbbreviation></Journal>"
        f"<ArticleTitle>{title}</ArticleTitle><Pagination><MedlinePgn>9</MedlinePgn></Pagination><PublicationTypeList>{kinds}"
        f"</PublicationTypeList></Article><MedlineJournalInfo><MedlineTA>J Demo</MedlineTA></MedlineJournalInfo>{listed}"
        "</MedlineCitation></PubmedArticle>"
    )


def deletion(*pmids):
    return f"<DeleteCitation>{''.join(f'<PMID>{pmid}</PMID>' for pmid in pmids)}</DeleteCitation>"


class Corpus:
    """An index, and the files that it was made from."""

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "index"
        self.files = []

    def add(self, *records):
        file = self.folder / f"pubmed26n{len(self.files) + 1:04}.xml"
        file.write_text(f"<PubmedArticleSet>{''.join(records)}</PubmedArticleSet>")
        if self.files:
            update_index(self.path, [file], compact_above=1.0)
        else:
            build_index(self.path, [file])
        self.files.append(file)

    def marks(self, pmid):
        """The same in the index, however it is asked, and in memory."""
        memory = MemoryRetriever(record for file in self.files for record in read_pubmed(file))
        with Index(self.path) as index:
            article = index.get(pmid)
            retriever = BM25Retriever(index)
            found = {one.id: one for one in retriever.articles(retriever.search("asthma", 100))}
        assert found[pmid] == article == memory.get(pmid)
        assert article.to_dict()["marks"] == {mark: list(ids) for mark, ids in article.marks.items()}
        return article.marks

    def kept(self, question="asthma", **options):
        with Index(self.path) as index:
            filters = Filters(exclude_retracted=True)
            return set(BM25Retriever(index).search(question, 100, SearchOptions(filters=filters, **options)).ids)


@pytest.fixture
def corpus(tmp_path):
    made = Corpus(tmp_path)
    made.add(*(citation(pmid) for pmid in (1, 2, 12, 3)), citation(4, types=["Retracted Publication"]))
    return made


def test_a_notice_marks_an_article_that_was_not_reissued(corpus):
    assert corpus.marks("1") == {}
    assert corpus.kept() == {"1", "2", "3", "12"}
    corpus.add(citation(20, "Retraction of an asthma trial", [("RetractionOf", 1)]))
    assert corpus.marks("1") == {"retracted": ("20",)}
    assert corpus.marks("2") == corpus.marks("12") == {}
    assert corpus.marks("4") == {"retracted": ()}
    assert corpus.kept() == {"2", "3", "12", "20"}
    with Index(corpus.path) as index:
        assert index.get("1").links == (Link("RetractionIn", "20", "J Demo. 2021 Mar;7(2):9"),)
        assert index.get("20").marks == {}


def test_the_articles_own_record_has_each_notice_once(corpus):
    corpus.add(citation(20, "Retraction", [("RetractionOf", 1)]))
    corpus.add(citation(1, links=[("RetractionIn", 20)], types=["Retracted Publication"]))
    assert corpus.marks("1") == {"retracted": ("20",)}
    with Index(corpus.path) as index:
        assert index.get("1").links == (Link("RetractionIn", "20", "J Demo. 2020;1(2):3"),)
    assert "1" not in corpus.kept()


def test_the_mark_goes_with_the_notice(corpus):
    corpus.add(citation(20, "Retraction", [("RetractionOf", 1), ("RetractionOf", 2)]))
    assert corpus.kept() == {"3", "12"}
    corpus.add(citation(20, "Retraction", [("RetractionOf", 2)]))
    assert (corpus.marks("1"), corpus.marks("2")) == ({}, {"retracted": ("20",)})
    assert corpus.kept() == {"1", "3", "12"}
    corpus.add(deletion(20))
    assert (corpus.marks("1"), corpus.marks("2")) == ({}, {})
    assert corpus.kept() == {"1", "2", "3", "12"}


def test_the_article_alone_may_withdraw_its_mark(corpus):
    corpus.add(citation(4))
    assert corpus.marks("4") == {}
    assert corpus.kept() == {"1", "2", "3", "4", "12"}


def test_every_kind_of_notice_and_several(corpus):
    corpus.add(
        citation(30, "Erratum", [("ErratumFor", 1), ("ErratumFor", 2), ("CommentOn", 3)]),
        citation(31, "Concern", [("ExpressionOfConcernFor", 1)]),
        citation(32, "Second erratum", [("ErratumFor", 1)]),
        citation(33, "Asthma trial again", [("RetractedandRepublishedFrom", 2)]),
        citation(34, "Asthma trial corrected", [("CorrectedandRepublishedFrom", 12)]),
    )
    assert corpus.marks("1") == {"expression of concern": ("31",), "corrected": ("30", "32")}
    assert corpus.marks("2") == {"retracted": ("33",), "corrected": ("30",)}
    assert corpus.marks("12") == {"corrected": ("34",)}
    assert corpus.marks("3") == {}
    assert corpus.kept() == {"1", "3", "12", "33", "34"}


def test_an_open_index_keeps_its_marks_until_it_is_refreshed(corpus):
    with Index(corpus.path) as index:
        retriever = BM25Retriever(index)
        assert len(retriever.search("asthma", 100, KEPT)) == 4
        corpus.add(citation(20, "Retraction", [("RetractionOf", 1)]))
        before = retriever.search("asthma", 100, KEPT)
        assert {"1"} <= set(before.ids)
        assert index.refresh()
        assert "1" not in retriever.search("asthma", 100, KEPT).ids
        assert all(not article.marks for article in retriever.articles(before))
        assert index.get("1").marks


@pytest.mark.parametrize("options", [{"rm3": True}, {"title_weight": 1.0}, {"syntax": "lucene"}], ids=str)
def test_excluding_retracted_articles_goes_with_every_option(corpus, options):
    corpus.add(citation(20, "Retraction", [("RetractionOf", 1)]))
    assert corpus.kept(**options) == {"2", "3", "12"}
    assert corpus.kept("trial OR lost OR retraction", **options) == {"2", "3", "12", "20"}


def test_excluding_them_changes_no_score(corpus):
    corpus.add(citation(20, "Retraction", [("RetractionOf", 1)]))
    with Index(corpus.path, threads=2) as index:
        retriever = BM25Retriever(index)
        scores = dict(zip((found := retriever.search("asthma", 9)).ids, found.scores, strict=True))
        [kept, again] = retriever.search_many(["asthma", "asthma"], 9, KEPT)
        assert dict(zip(kept.ids, kept.scores, strict=True)) == {id: scores[id] for id in ("2", "3", "12")}
        assert kept == again
        counted = retriever.missing_field_counts("asthma", SearchOptions(filters=Filters(mesh=("x",))))
        assert counted == [("mesh", 5)]
        counted = retriever.missing_field_counts(
            "asthma", SearchOptions(filters=Filters(mesh=("x",), exclude_retracted=True))
        )
        assert counted == [("mesh", 3)]


def test_ids_are_told_apart_by_case(tmp_path):
    rows = [{"id": "Doc", "text": "asthma"}, {"id": "doc", "text": "asthma"}]
    notice = {"id": "N", "text": "notice", "links": [{"type": "RetractionOf", "id": "Doc"}]}
    write_jsonl(tmp_path / "corpus.jsonl", [*rows, notice])
    build_index(tmp_path / "index", [tmp_path / "corpus.jsonl"])
    with Index(tmp_path / "index") as index:
        assert (index.get("Doc").marks, index.get("doc").marks) == ({"retracted": ("N",)}, {})
        assert BM25Retriever(index).search("asthma", 9, KEPT).ids == ["doc"]


def test_a_deleted_notice_marks_nothing_in_memory():
    from bioqa import Article

    article, notice = Article("1", "Asthma", ""), Article("2", "Notice", "", links=(Link("ErratumFor", "1"),))
    assert MemoryRetriever([notice, article]).get("1").marks == {"corrected": ("2",)}
    assert MemoryRetriever([notice, article, Deletion("2")]).get("1").marks == {}


def test_the_demo_s_correction_is_known_from_the_notice_only(demo_index):
    with Index(demo_index) as index:
        found = {article.id: article.marks for article in index.sample(len(index), random.Random(1)) if article.marks}
    assert found == {"99000301": {"retracted": ("99000407",)}, "99000284": {"corrected": ("99000408",)}}
