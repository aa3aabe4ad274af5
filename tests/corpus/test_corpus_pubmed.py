"""Every element of a PubMed record, on small records."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bioqa.corpus.read_source import read_source
from bioqa.corpus.sources import Source
from bioqa.io.text_files import CHUNK_BYTES
from bioqa.types import Article, Deletion, Section
from tests.corpus.corpus_files import citation, pubmed_set, read, write

ReadOne = Callable[[str], Article]
MML = 'xmlns:mml="http://www.w3.org/1998/Math/MathML"'


def with_abstract(*parts: str) -> str:
    return citation(f"<ArticleTitle>T</ArticleTitle><Abstract>{''.join(parts)}</Abstract>")


def with_title(title: str) -> str:
    return citation(f"<ArticleTitle>{title}</ArticleTitle>")


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("The role of <i>TP53</i> in vitamin D<sub>3</sub>", "The role of TP53 in vitamin D3"),
        ("<b><i>In vivo</i></b>: 10<sup>-3</sup> <u>m</u>", "In vivo: 10-3 m"),
        ("a<i>b</i>c <i>d</i>e", "abc de"),
        ("<i>a</i> <i>b</i>", "a b"),
        ("\n      Indented\n      text\t here\r\n   ", "Indented text here"),
        ("one  two&#10;three&#9;four&#13;", "one two three four"),
        ("10\u00a0mg\u2009=\u2009x", "10\u00a0mg\u2009=\u2009x"),
        ("5 &lt; 6 &amp; 7 &gt; 6 &#945;&#x3b2; &quot;q&quot;", '5 < 6 & 7 > 6 αβ "q"'),
        ("<![CDATA[5 < 6]]> x", "5 < 6 x"),
        ("be<!-- a comment -->fore <?pi x?>after", "before after"),
        ("", ""),
    ],
)
def test_words_of_a_text_are_neither_lost_nor_joined(read_one: ReadOne, markup: str, text: str) -> None:
    article = read_one(
        citation(f"<ArticleTitle>{markup}</ArticleTitle><Abstract><AbstractText>{markup}</AbstractText></Abstract>")
    )
    assert article.title == text
    assert article.abstract == text


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ("<mml:mi>a</mml:mi><mml:mo>=</mml:mo><mml:mn>2</mml:mn>", "x (a = 2) y"),
        ("\n <mml:mrow>\n <mml:mi>a</mml:mi> </mml:mrow>\n", "x (a) y"),
        (
            "<mml:mfrac><mml:mi>a</mml:mi><mml:mi>b</mml:mi></mml:mfrac><mml:mtext> </mml:mtext><mml:mi>MRI</mml:mi>",
            "x (a b MRI) y",
        ),
        (
            "<mml:semantics><mml:mi>a</mml:mi><mml:annotation>\\alpha</mml:annotation>"
            "<mml:annotation-xml><mml:ci>a</mml:ci></mml:annotation-xml></mml:semantics>",
            "x (a) y",
        ),
        (
            "<mml:mmultiscripts><mml:mi>He</mml:mi><mml:mn>2</mml:mn><mml:none/><mml:mprescripts/><mml:none/><mml:mn>3</mml:mn>"
            "</mml:mmultiscripts>",
            "x (3 He 2) y",
        ),
        ("", "x () y"),
    ],
)
def test_the_words_of_a_formula_stay_apart_in_reading_order(read_one: ReadOne, formula: str, text: str) -> None:
    article = read_one(with_abstract(f"<AbstractText>x (<mml:math {MML}>{formula}</mml:math>) y</AbstractText>"))
    assert article.abstract == text


def test_a_display_formula_separates_the_words_around_it(read_one: ReadOne) -> None:
    formula = f"<DispFormula><mml:math {MML}><mml:mi>a</mml:mi></mml:math></DispFormula>"
    assert read_one(with_abstract(f"<AbstractText>where{formula}holds</AbstractText>")).abstract == "where a holds"


def test_labelled_parts_are_joined_without_a_separator_and_marked_as_sections(read_one: ReadOne) -> None:
    article = read_one(
        with_abstract(
            '<AbstractText Label="BACKGROUND" NlmCategory="OBJECTIVE">\n  Of <i>trials</i>.\n</AbstractText>\n',
            '<AbstractText Label="DESIGN AND METHODS">We did.</AbstractText>',
        )
    )
    assert article.abstract == "BACKGROUND: Of trials.DESIGN AND METHODS: We did."
    assert article.sections == (
        Section("BACKGROUND", "OBJECTIVE", 0, 12, 22),
        Section("DESIGN AND METHODS", "", 22, 42, 49),
    )
    assert article.default_text() == "T\nBACKGROUND: Of trials.\nDESIGN AND METHODS: We did."


def test_one_part_without_a_label_has_no_sections(read_one: ReadOne) -> None:
    article = read_one(with_abstract("<AbstractText>Text.</AbstractText>"))
    assert (article.abstract, article.sections) == ("Text.", ())


def test_one_part_with_a_label_is_a_section(read_one: ReadOne) -> None:
    article = read_one(with_abstract('<AbstractText Label="AIM">Text.</AbstractText>'))
    assert (article.abstract, article.sections) == ("AIM: Text.", (Section("AIM", "", 0, 5, 10),))


def test_several_parts_without_labels_are_sections_without_a_label(read_one: ReadOne) -> None:
    article = read_one(
        with_abstract("<AbstractText>One.</AbstractText><AbstractText/>", '<AbstractText Label=" ">Two.</AbstractText>')
    )
    assert article.abstract == "One.Two."
    assert article.sections == (Section("", "", 0, 0, 4), Section("", "", 4, 4, 8))
    assert article.default_text() == "T\nOne.\nTwo."


def test_a_label_without_text_stays_only_if_a_part_follows(read_one: ReadOne) -> None:
    article = read_one(
        with_abstract(
            '<AbstractText Label="CLINICALTRIALS"/><AbstractText Label="GOV ID">NCT1.</AbstractText>',
            '<AbstractText Label="FUNDING"> </AbstractText>',
        )
    )
    assert article.abstract == "CLINICALTRIALS: GOV ID: NCT1."
    assert [section.label for section in article.sections] == ["CLINICALTRIALS", "GOV ID"]
    assert read_one(with_abstract('<AbstractText Label="AIM"/>')).abstract == ""


def test_copyright_and_other_abstracts_are_not_the_abstract(read_one: ReadOne) -> None:
    other = '<OtherAbstract Type="Publisher" Language="fre"><AbstractText>Un résumé.</AbstractText></OtherAbstract>'
    article = "<Abstract><AbstractText>Text.</AbstractText><CopyrightInformation>© X</CopyrightInformation></Abstract>"
    assert read_one(citation(article, more=other)).abstract == "Text."
    assert read_one(citation(more=other)).abstract == ""


def test_the_pmid_is_the_citations_own_with_its_version(read_one: ReadOne) -> None:
    comment = '<CommentsCorrections><PMID Version="7">99</PMID></CommentsCorrections>'
    own = f'<CommentsCorrectionsList>{comment}</CommentsCorrectionsList><PMID Version="3">12</PMID>'
    article = read_one(citation(pmid=own))
    assert (article.id, article.version) == ("12", 3)
    assert read_one(citation()).version == 1


@pytest.mark.parametrize(
    ("issue", "date"),
    [
        ("<PubDate><Year>2019</Year><Month>Mar</Month><Day>4</Day></PubDate>", "2019-03-04"),
        ("<PubDate><Year>2019</Year></PubDate>", "2019"),
        ("<PubDate><MedlineDate>1998 Dec-1999 Jan</MedlineDate></PubDate>", "1998-12"),
        ("<PubDate><Year>2003</Year><Season>Fall</Season></PubDate>", "2003"),
        ("<PubDate><Year>2020</Year><Season>Jul-Aug</Season></PubDate>", "2020-07"),
        ("", "2018"),
    ],
)
def test_the_publication_date_is_the_issues_unless_the_electronic_one_is_more_exact(
    read_one: ReadOne, issue: str, date: str
) -> None:
    electronic = "<ArticleDate><Year>2018</Year></ArticleDate>"
    article = read_one(citation(f"<Journal><JournalIssue>{issue}</JournalIssue></Journal>{electronic}"))
    assert article.date == date


def test_the_journal_is_its_title_or_else_an_abbreviation(read_one: ReadOne) -> None:
    info = "<MedlineJournalInfo><MedlineTA>J T</MedlineTA></MedlineJournalInfo>"
    names = "<Title>Journal of Tests</Title><ISOAbbreviation>J. Tests</ISOAbbreviation>"
    assert read_one(citation(f"<Journal>{names}</Journal>", more=info)).journal == "Journal of Tests"
    assert (
        read_one(citation("<Journal><ISOAbbreviation>J. Tests</ISOAbbreviation></Journal>", more=info)).journal
        == "J. Tests"
    )
    assert read_one(citation(more=info)).journal == "J T"


def test_the_doi_is_never_one_of_the_references(read_one: ReadOne) -> None:
    def ids(doi: str) -> str:
        pubmed = '<ArticleId IdType="pubmed">1</ArticleId>'
        return f'<ArticleIdList>{pubmed}<ArticleId IdType="doi">{doi}</ArticleId></ArticleIdList>'

    own, reference = ids("10.1/own"), f"<ReferenceList><Reference>{ids('10.1/other')}</Reference></ReferenceList>"
    pii = '<ELocationID EIdType="pii">S1</ELocationID>'
    location = pii + '<ELocationID EIdType="doi" ValidYN="{}">10.1/location</ELocationID>'
    assert read_one(citation(location.format("Y"), data=own)).doi == "10.1/location"
    assert read_one(citation(location.format("N"), data=reference + own)).doi == "10.1/own"
    assert read_one(citation(data=reference)).doi == ""


def test_every_other_field_is_read(read_one: ReadOne) -> None:
    article = read_one(
        citation(
            """<ArticleTitle>[Title].</ArticleTitle><Language>fre</Language><Language>eng</Language>
            <PublicationTypeList>
              <PublicationType>Review</PublicationType><PublicationType>Journal Article</PublicationType>
            </PublicationTypeList>
            <VernacularTitle>Le <i>titre</i>.</VernacularTitle>""",
            more="""<DateRevised><Year>2020</Year><Month>01</Month><Day>09</Day></DateRevised>
            <MeshHeadingList>
              <MeshHeading>
                <DescriptorName>Neoplasms</DescriptorName>
                <QualifierName>genetics</QualifierName><QualifierName>therapy</QualifierName>
              </MeshHeading>
              <MeshHeading><DescriptorName>Humans</DescriptorName></MeshHeading>
            </MeshHeadingList>
            <KeywordList><Keyword>
              <i>E. coli</i>
            </Keyword><Keyword/></KeywordList>
            <KeywordList><Keyword>b</Keyword></KeywordList>""",
        )
    )
    assert article == Article(
        id="1",
        title="[Title].",
        abstract="",
        vernacular_title="Le titre.",
        revised="2020-01-09",
        mesh=("Neoplasms", "Neoplasms/genetics", "Neoplasms/therapy", "Humans"),
        keywords=("E. coli", "b"),
        publication_types=("Review", "Journal Article"),
        languages=("fre", "eng"),
    )


def test_a_book_chapter_is_an_article_of_its_book(read_one: ReadOne) -> None:
    book = """<Book><BookTitle book="gene">GeneReviews<sup>®</sup></BookTitle><PubDate><Year>1993</Year></PubDate>
        <ELocationID EIdType="doi">10.1/book</ELocationID></Book>"""
    chapter = """<ArticleTitle><i>CFTR</i> disorders</ArticleTitle><Language>eng</Language>
        <PublicationType>Review</PublicationType>
        <Abstract><AbstractText Label="MANAGEMENT">Treat.</AbstractText></Abstract>
        <KeywordList><Keyword>CFTR</Keyword></KeywordList>"""
    added = "<ContributionDate><Year>2006</Year><Month>2</Month><Day>15</Day></ContributionDate>"

    def record(content: str) -> str:
        return (
            f'<PubmedBookArticle><BookDocument><PMID Version="2">20</PMID>{content}</BookDocument></PubmedBookArticle>'
        )

    assert read_one(record(book + chapter + added)) == Article(
        id="20",
        version=2,
        title="CFTR disorders",
        abstract="MANAGEMENT: Treat.",
        sections=(Section("MANAGEMENT", "", 0, 12, 18),),
        journal="GeneReviews®",
        date="2006-02-15",
        keywords=("CFTR",),
        publication_types=("Review",),
        doi="10.1/book",
        languages=("eng",),
    )
    whole_book = read_one(record(book))
    assert (whole_book.title, whole_book.date) == ("GeneReviews®", "1993")


def test_records_come_in_the_order_of_the_file_with_deletions_last(tmp_path: Path) -> None:
    deletions = "<DeleteCitation>\n<PMID Version='1'>8</PMID>\n<PMID>9</PMID></DeleteCitation>"
    records = read(write(tmp_path / "a.xml", pubmed_set(citation(pmid="<PMID>2</PMID>"), citation(), deletions)))
    assert [record.id for record in records] == ["2", "1", "8", "9"]
    assert records[2:] == [Deletion("8"), Deletion("9")]


@pytest.mark.parametrize(
    ("document", "ids"),
    [
        ("<MedlineCitationSet>{0}{0}</MedlineCitationSet>", ["1", "1"]),
        ("<PubmedArticle>{0}</PubmedArticle>", ["1"]),
        ("{0}", ["1"]),
        ("<BookDocumentSet><BookDocument><PMID>5</PMID></BookDocument></BookDocumentSet>", ["5"]),
        ("<PubmedArticleSet></PubmedArticleSet>", []),
        ("<PubmedArticleSet/>", []),
    ],
)
def test_older_sets_and_single_records_are_read_too(tmp_path: Path, document: str, ids: list[str]) -> None:
    medline = "<MedlineCitation><PMID>1</PMID><Article><ArticleTitle>T</ArticleTitle></Article></MedlineCitation>"
    assert [record.id for record in read(write(tmp_path / "a.xml", document.format(medline)))] == ids


@pytest.mark.parametrize("name", ["a.xml", "a.xml.gz"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_the_encoding_is_the_one_that_the_file_declares(tmp_path: Path, name: str, encoding: str) -> None:
    text = pubmed_set(with_title("Café"), doctype=f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>')
    (article,) = read(write(tmp_path / name, text.encode(encoding)))
    assert isinstance(article, Article)
    assert article.title == "Café"


def test_records_that_straddle_the_chunks_of_a_file_are_read_whole(tmp_path: Path) -> None:
    titles = [f"Title {i} {'é' * (i % 97)}" for i in range(8000)]
    path = write(tmp_path / "a.xml", pubmed_set(*map(with_title, titles)))
    assert path.stat().st_size > 5 * CHUNK_BYTES
    assert [record.title for record in read(path) if isinstance(record, Article)] == [title.strip() for title in titles]


def test_memory_does_not_grow_with_the_number_of_records(tmp_path: Path) -> None:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("resident memory is read from /proc")
    record = with_abstract(f"<AbstractText>{'word ' * 400}</AbstractText><x>{'<y>z</y>' * 200}</x>")
    path = write(tmp_path / "a.xml.gz", pubmed_set(*[record] * 8000))
    records = read_source(Source(path, "pubmed"))
    pages = [int(statm.read_text().split()[1]) for number, _ in enumerate(records) if number % 1000 == 999]
    assert len(pages) == 8
    assert (pages[-1] - pages[0]) * 4096 < 16 << 20, "each thousand of these records is a tree of more than 20 MB"


def with_dates(issue: str, *electronic: str) -> str:
    dates = "".join(f'<ArticleDate DateType="Electronic">{date}</ArticleDate>' for date in electronic)
    journal = f"<Journal><JournalIssue><PubDate>{issue}</PubDate></JournalIssue></Journal>"
    return citation(f"{journal}<ArticleTitle>T</ArticleTitle>{dates}")


DECEMBER_15 = "<Year>2019</Year><Month>12</Month><Day>15</Day>"


@pytest.mark.parametrize(
    ("issue", "electronic", "dates"),
    [
        ("<Year>2019</Year>", [DECEMBER_15], ("2019-12-15", "2019", "2019-12-15")),
        ("<Year>2020</Year><Month>Jan</Month>", [DECEMBER_15], ("2019-12-15", "2020-01", "2019-12-15")),
        ("<MedlineDate>2020 Jan-Feb</MedlineDate>", [DECEMBER_15], ("2019-12-15", "2020-01", "2019-12-15")),
        ("<MedlineDate>15 Mar 2004</MedlineDate>", [], ("2004-03-15", "2004-03-15", "")),
        ("<Year>2020</Year><Month>Jan</Month><Day>3</Day>", [DECEMBER_15], ("2020-01-03", "2020-01-03", "2019-12-15")),
        ("<Year>2020</Year>", ["<Year>2019</Year>"], ("2020", "2020", "2019")),
        (
            "<Year>2020</Year><Month>Jan</Month>",
            ["<Year>2019</Year>", DECEMBER_15],
            ("2019-12-15", "2020-01", "2019-12-15"),
        ),
        ("", [DECEMBER_15], ("2019-12-15", "", "2019-12-15")),
        ("<Year>2020</Year>", [], ("2020", "2020", "")),
    ],
)
def test_the_more_exact_of_print_and_electronic_date_counts(
    read_one: ReadOne, issue: str, electronic: list[str], dates: tuple[str, str, str]
) -> None:
    article = read_one(with_dates(issue, *electronic))
    assert (article.date, article.print_date, article.electronic_date) == dates


@pytest.mark.parametrize("title", ["[Not Available].", "[Not Available]", "[not available.]", "[In Process Citation]"])
def test_what_stands_in_place_of_a_title_is_none(read_one: ReadOne, title: str) -> None:
    vernacular = "<VernacularTitle>Le titre.</VernacularTitle>"
    article = read_one(citation(f"<ArticleTitle>{title}</ArticleTitle>{vernacular}"))
    assert (article.title, article.default_text()) == ("", "Le titre.")
    assert (article.titles(), article.searchable_text()) == ("Le titre.", "Le titre.")
    assert read_one(with_title(f"{title} and more")).title == f"{title} and more"
    assert (
        read_one(citation(f"<ArticleTitle>T</ArticleTitle><VernacularTitle>{title}</VernacularTitle>")).titles() == "T"
    )


def test_the_vernacular_title_is_indexed_beside_the_title(read_one: ReadOne) -> None:
    abstract = "<Abstract><AbstractText>Text.</AbstractText></Abstract>"
    article = read_one(
        citation(f"<ArticleTitle>[T].</ArticleTitle>{abstract}<VernacularTitle>Le titre.</VernacularTitle>")
    )
    assert article.default_text() == "[T].\nText."
    assert article.titles() == "[T].\nLe titre."
    assert article.searchable_text() == "[T].\nText.\nLe titre."
