"""Search options: filters, title weight, Lucene's syntax, RM3; explanations, batches of questions, threads within a search."""

from dataclasses import replace

import pytest

from bioqa import BM25Retriever, Index, SearchOptions, build_index, read_questions
from bioqa.corpus.read_source import read_source
from bioqa.corpus.sources import expand_sources
from bioqa.errors import QuestionError, UsageError
from bioqa.index.document import index_analyzer, to_row
from bioqa.index.filters import Filters
from bioqa.index.jvm import cast, java
from bioqa.index.manifest import Manifest
from bioqa.index.shard import open_shard
from bioqa.index.writer import commit
from bioqa.types import Article
from tests.support import DEMO, assert_same_results, pyserini_results

QUESTION = "asthma treatment"
ARTICLES = {
    "1": Article("1", "Asthma", "Steroids as treatment.", journal="The Lancet", date="2019", mesh=("Asthma",), languages=("eng",)),
    "2": Article(
        "2", "Inhalers", "Asthma treatment in children.", journal="Thorax", date="2019-03", mesh=("Asthma", "Asthma/drug therapy"),
        publication_types=("Review", "Journal Article"), languages=("eng", "fre"),
    ),
    "3": Article("3", "Cough", "No asthma was found.", journal="Thorax", date="2019-03-31", mesh=("Cough",), languages=("ger",)),
    "4": Article("4", "Asthma in 2026", "New biologics for asthma treatment.", journal="Thorax", date="2026-01-05"),
    "5": Article("5", "Undated", "Asthma notes."),
}  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """An index of the five articles above, made from PubMed XML."""
    folder = tmp_path_factory.mktemp("filters")
    (folder / "five.xml").write_text(
        f"<PubmedArticleSet>{''.join(map(_citation, ARTICLES.values()))}</PubmedArticleSet>", encoding="utf-8"
    )
    build_index(folder / "index", [folder / "five.xml"])
    return folder / "index"


def _citation(article: Article) -> str:
    date = "".join(
        f"<{name}>{part}</{name}>"
        for name, part in zip(("Year", "Month", "Day"), article.date.split("-"), strict=False)
        if part
    )
    headings: dict[str, list[str]] = {}
    for value in article.mesh:
        descriptor, _, qualifier = value.partition("/")
        headings.setdefault(descriptor, []).extend([qualifier] if qualifier else [])
    mesh = "".join(
        f"<MeshHeading><DescriptorName>{name}</DescriptorName>{''.join(f'<QualifierName>{q}</QualifierName>' for q in qualifiers)}"
        "</MeshHeading>"
        for name, qualifiers in headings.items()
    )
    languages = "".join(f"<Language>{value}</Language>" for value in article.languages)
    types = "".join(f"<PublicationType>{value}</PublicationType>" for value in article.publication_types)
    return (
        f"<PubmedArticle><MedlineCitation><PMID>{article.id}</PMID><Article><Journal><JournalIssue><PubDate>{date}</PubDate>"
        f"</JournalIssue><Title>{article.journal}</Title></Journal><ArticleTitle>{article.title}</ArticleTitle><Abstract>"
        f"<AbstractText>{article.abstract}</AbstractText></Abstract>{languages}"
        f"<PublicationTypeList>{types}</PublicationTypeList></Article><MeshHeadingList>{mesh}</MeshHeadingList></MedlineCitation>"
        "</PubmedArticle>"
    )


def search(path, question=QUESTION, k=100, **options):
    with Index(path) as index:
        return BM25Retriever(index).search(question, k, SearchOptions(**options))


def found(path, question=QUESTION, **options):
    return set(search(path, question, **options).ids)


def test_the_index_contains_the_articles_above(path):
    with Index(path) as index:
        expected = {id: replace(article, print_date=article.date) for id, article in ARTICLES.items()}
        assert {id: index.get(id) for id in ARTICLES} == expected


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (Filters(), "12345"),
        (Filters(since="2019"), "1234"),
        (Filters(since="2019-01-01"), "1234"),
        (Filters(since="2019-01-02"), "234"),
        (Filters(since="2019-03"), "234"),
        (Filters(since="2019-03-02"), "34"),
        (Filters(until="2019-02"), "1"),
        (Filters(until="2019-03"), "123"),
        (Filters(until="2019-03-30"), "12"),
        (Filters(since="2019-03-31", until="2019-03-31"), "3"),
        (Filters(until="2026"), "1234"),
        (Filters(journal=("thorax",)), "234"),
        (Filters(journal=("THE LANCET", "Thorax")), "1234"),
        (Filters(journal=("Lancet",)), ""),
        (Filters(mesh=("asthma",)), "12"),
        (Filters(mesh=("Asthma/Drug Therapy",)), "2"),
        (Filters(mesh=("Asthma", "cough")), "123"),
        (Filters(type=("review",)), "2"),
        (Filters(language=("fre", "ger")), "23"),
        (Filters(journal=("Thorax",), mesh=("Asthma",)), "2"),
        (Filters(since="2019-03", language=("eng",)), "2"),
    ],
    ids=str,
)  # fmt: skip
def test_filters_keep_what_matches_all_fields_and_any_value_of_each(path, filters, ids):
    assert found(path, filters=filters) == set(ids)


def test_filters_change_no_score(path):
    scores = {candidate.id: candidate.score for candidate in search(path)}
    filtered = search(path, filters=Filters(journal=("Thorax",)))
    assert len(filtered) == 3
    assert all(candidate.score == scores[candidate.id] for candidate in filtered)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"since": "19"}, "'19' is not a date. Write YYYY"),
        ({"until": "2019-13"}, "no month 13"),
        ({"since": "2019-02-29"}, "28 days"),
        ({"since": "2019-3"}, "is not a date"),
        ({"since": "2020", "until": "2019-12"}, "The start date 2020 is after the end date 2019-12"),
        ({"mesh": (" ",)}, "mesh filter is empty"),
        ({"mesh": ("\ud800",)}, "mesh filter has half a character"),
        ({"mesh": "Asthma"}, r"mesh must be a list of values, each text, not 'Asthma' \(str\)"),
    ],
)
def test_invalid_filters_are_refused(filters, message):
    with pytest.raises(UsageError, match=message):
        Filters(**filters)


@pytest.mark.parametrize(
    ("filters", "question", "counts"),
    [
        (Filters(mesh=("Asthma",), journal=("Thorax",)), "asthma", [("mesh", 1)]),
        (Filters(mesh=("Asthma",), journal=("Thorax",)), "cough", []),
        (Filters(mesh=("Asthma",), journal=("Thorax",)), None, [("mesh", 1)]),
        (Filters(since="2000", mesh=("Asthma",)), "asthma", [("mesh", 1)]),
        (Filters(since="2000"), "asthma", [("date", 1)]),
        (Filters(), "asthma", []),
    ],
)
def test_articles_excluded_for_lack_of_the_field_are_counted(path, filters, question, counts):
    with Index(path) as index:
        assert BM25Retriever(index).missing_field_counts(question, SearchOptions(filters=filters)) == counts


def test_filter_values_that_no_article_has_are_reported(path):
    options = SearchOptions(filters=Filters(journal=("Thorax", "Gut"), language=("eng",)))
    with Index(path) as index:
        assert BM25Retriever(index).unknown_filter_values(options) == [("journal", "gut", "")]


def test_the_title_weight_adds_a_multiple_of_the_titles_score(path):
    title = {c.id: c.score for c in search(path, "title:asthma", syntax="lucene")}
    plain = {c.id: c.score for c in search(path, "asthma")}
    for syntax in ("words", "lucene"):
        weighted = {c.id: c.score for c in search(path, "asthma", title_weight=2.5, syntax=syntax)}
        assert set(title) == {"1", "4"}
        assert weighted == pytest.approx({id: score + 2.5 * title.get(id, 0) for id, score in plain.items()})


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ('"asthma treatment"', "24"),
        ("asthma AND NOT treatment", "35"),
        ("+steroids asthma", "1"),
        ("(steroids OR biologics) AND asthma", "14"),
        ("title:inhaler", "2"),
        ("steroi*", "1"),
        ("STEROI*", "1"),
        ("biologx~1", "4"),
        ('journal:"the LANCET"', "1"),
        ("journal:Thorax AND mesh:asthma", "2"),
        ('mesh:"asthma/drug therapy"', "2"),
        ("mesh:asth*", "12"),
        ("language:fre OR type:review", "2"),
        ("date:[2019-03 TO 2025]", "23"),
        ("date:{2019 TO 2026]", "4"),
        ("date:[20190331 TO *]", "34"),
        ("date:2019-03", "23"),
        ("asthma AND lacks:mesh", "45"),
        ("id:3", "3"),
        ("the", ""),
        ("asthma AND (NOT treatment)", "35"),
        ("asthma AND ((NOT treatment) AND (NOT cough))", "5"),
        ("steroids OR (NOT asthma)", "1"),
        ("(NOT treatment) AND (-cough)", "5"),
        ("NOT treatment", "35"),
        ("-treatment -cough", "5"),
        ("NOT (NOT treatment)", "124"),
        ("NOT date:[2019 TO 2026]", "5"),
        ("NOT the", "12345"),
        ("asthma AND (NOT the)", "12345"),
        ("*:*", "12345"),
        ("*:* AND NOT lacks:mesh", "123"),
        ("date:2020-02-29", ""),
        ("asthma treatment", "12345"),
    ],
)
def test_lucenes_syntax_finds_what_it_says(path, query, ids):
    assert found(path, query, syntax="lucene") == set(ids)


@pytest.mark.parametrize("title_weight", [0.0, 2.0])
def test_brackets_around_a_negation_change_no_score(path, title_weight):
    bare = search(path, "asthma -treatment", syntax="lucene", title_weight=title_weight)
    assert search(path, "asthma AND (NOT treatment)", syntax="lucene", title_weight=title_weight) == bare
    assert len(bare) == 2


def test_every_article_is_a_query_of_its_own(path):
    assert {candidate.score for candidate in search(path, "*:*", syntax="lucene")} == {1.0}
    assert found(path, "*:*", syntax="lucene", title_weight=1.0) == set("12345")
    assert found(path, "*:*", syntax="lucene", filters=Filters(journal=("Thorax",))) == set("234")


def test_words_in_lucenes_syntax_score_as_words(path):
    assert search(path, syntax="lucene") == search(path)


@pytest.mark.parametrize(
    ("query", "column", "reason"),
    [
        ("asthma AND (", 13, "expected a word"),
        ("asthma)", 7, r"unexpected \)"),
        ("asthma AND OR cough", 12, "unexpected OR"),
        ('β-blockers 𝛽 "heart', 14, "unclosed quotation mark"),
        ("asthma *gen", 8, "cannot start with"),
        ("asthma gene~4", 8, "must be 1 or 2"),
        ("asthma writer:smith", 8, "unknown field writer; the fields are contents, title"),
        ("date:soon", 6, "soon is not a date"),
        ("date:[2019-1 TO 2020]", 7, "2019-1 is not a date"),
        ("asthma^high", 8, "unexpected character"),
        ("asthma /[/", 8, "end-of-string"),
        ("asthma mesh:*", 13, "cannot start with"),
        ("*:asthma", 1, r"unknown field \*"),
        ("asthma date:2019*", 13, r"2019\* is not a date"),
        ("date:20?9", 6, "is not a date"),
        ("date:*", 6, r"\* is not a date"),
        ("date:2019~1", 6, "2019~ is not a date"),
        ("date:/2019/", 6, "/2019/ is not a date"),
        ("date:2019-13", 6, "2019-13 is not a date: there is no month 13"),
        ("date:20191301", 6, "there is no month 13"),
        ("date:[2019 TO 2019-02-29]", 15, "2019-02-29 is not a date: that month has 28 days"),
        ("date:2019-04-00", 6, "that month has 30 days"),
        (r"date:2019\-13", 1, "there is no month 13"),
        ("date:[2020 TO 2019-12]", 7, "the start date 2020 is after the end date 2019-12"),
        ("(" * 20_000, 1, "nested too deeply"),
    ],
)
def test_an_invalid_query_is_refused_with_the_column_of_the_error(path, query, column, reason):
    with Index(path) as index:
        for method in (BM25Retriever(index).search, BM25Retriever(index).check_question):
            with pytest.raises(QuestionError, match=rf"column {column} .*{reason}"):
                method(query, options=SearchOptions(syntax="lucene"))


def test_a_question_with_characters_of_lucenes_syntax_is_only_words_by_default(path):
    assert found(path, 'asthma AND ("treatment" author: [') == set("12345")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"syntax": "sql"}, "Unknown query syntax 'sql'"),
        ({"title_weight": -1.0}, "title weight"),
        ({"title_weight": float("nan")}, "title weight"),
        ({"title_weight": 3e38}, "must be at most 1,000,000,000, not 3e"),
        ({"k1": 1e300}, "must be at most 1,000,000,000, not 1e"),
        ({"rm3": True, "syntax": "lucene"}, "RM3"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        SearchOptions(**options)


def test_an_index_needs_a_thread(path):
    with pytest.raises(UsageError, match="threads must be at least 1"):
        Index(path, threads=0)


def test_an_explanation_ends_in_the_score_that_the_search_gave(path):
    for options in ({}, {"title_weight": 2.0}, {"rm3": True}, {"filters": Filters(journal=("Thorax",))}):
        with Index(path) as index:
            retriever = BM25Retriever(index)
            candidates = retriever.search(QUESTION, 10, SearchOptions(**options))
            assert len(candidates) > 1
            for candidate in candidates:
                text = retriever.explain(QUESTION, candidate, SearchOptions(**options))
                assert float(text.split(" = ")[0]) == pytest.approx(candidate.score, rel=1e-5)
                assert "weight(contents:asthma" in text


@pytest.mark.parametrize(
    "options", [{}, {"rm3": True}, {"title_weight": 1.0, "filters": Filters(since="2020")}], ids=str
)
def test_many_questions_at_a_time_get_what_each_gets_alone(demo_index, options):
    questions = [question.body for question in read_questions(DEMO / "questions.json")] + ["the of and"]
    asked = SearchOptions(**options)
    with Index(demo_index) as index:
        retriever = BM25Retriever(index)
        many = retriever.search_many(questions, 20, asked)
        assert many == [retriever.search(question, 20, asked) for question in questions]
        assert many[-1] == []
        assert retriever.search_many([], 5, asked) == []


def test_threads_over_many_segments_find_the_same(tmp_path):
    """Lucene gives a thread five segments, so the index must have more."""
    articles = list(read_source(expand_sources([DEMO / "demo26n0001.xml"])[0]))
    with open_shard(tmp_path / "index", 16) as writer:
        for position in range(0, len(articles), 20):
            rows = [value for article in articles[position : position + 20] for value in to_row(article)]
            java("bioqa.DocumentWriter").add(writer, rows, position)
            commit(writer, Manifest(documents=len(articles), state="complete"))
    questions = [question.body for question in read_questions(DEMO / "questions.json")]
    with Index(tmp_path / "index", threads=1) as one, Index(tmp_path / "index", threads=3) as three:
        assert len(three.searcher(three.commit, 0.9, 0.4).getSlices()) > 2
        for k in (1, 10, 400):
            for question in questions:
                assert BM25Retriever(three).search(question, k) == BM25Retriever(one).search(question, k)


def test_more_words_than_lucenes_usual_limit_are_searched(path):
    question = " ".join(f"word{n}-{n}x asthma{n}" for n in range(500)) + " asthma"
    assert found(path, question, title_weight=1.0) == set("12345")


def _with_vectors(index: Index, folder) -> None:
    """Write the index's articles again with term vectors of contents, which Anserini takes feedback terms from."""
    directory = java("org.apache.lucene.store.FSDirectory").open(java("java.nio.file.Paths").get(str(folder)))
    writer = java("org.apache.lucene.index.IndexWriter")(
        directory, java("org.apache.lucene.index.IndexWriterConfig")(index_analyzer())
    )
    kind = java("org.apache.lucene.document.FieldType")(java("org.apache.lucene.document.TextField").TYPE_NOT_STORED)
    kind.setStoreTermVectors(True)
    for article in index.articles(range(len(index))):
        document = java("org.apache.lucene.document.Document")()
        text = cast("java.lang.CharSequence", java("java.lang.String")(article.searchable_text()))
        store = java("org.apache.lucene.document.Field$Store")
        document.add(java("org.apache.lucene.document.StringField")("id", article.id, store.YES))
        document.add(
            java("org.apache.lucene.document.BinaryDocValuesField")(
                "id", java("org.apache.lucene.util.BytesRef")(article.id.encode())
            )
        )
        document.add(java("org.apache.lucene.document.Field")("contents", text, kind))
        writer.addDocument(document)
    writer.close()


@pytest.mark.slow
def test_rm3_gives_pyserinis_documents_and_scores(tmp_path):
    build_index(tmp_path / "index", [DEMO / "demo26n0001.xml"])  # without deletions, which change counts of terms
    questions = [question.body for question in read_questions(DEMO / "questions.json")]
    with Index(tmp_path / "index") as index:
        _with_vectors(index, tmp_path / "vectors")
        ours = BM25Retriever(index).search_many(questions, 10, SearchOptions(rm3=True))
    theirs = pyserini_results(tmp_path / "vectors", questions, rm3=True)
    for own, expected in zip(ours, theirs, strict=True):
        assert_same_results([(hit.id, hit.score) for hit in own], expected)
