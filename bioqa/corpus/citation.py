"""Convert a record of PubMed XML, an lxml element, to an article."""

import re
from collections.abc import Iterator

from bioqa.corpus.abstract import abstract_of
from bioqa.corpus.dates import date_from_parts, date_from_words
from bioqa.corpus.markup import Element, text_of
from bioqa.errors import shown
from bioqa.io.bad_records import MalformedError
from bioqa.types import Article, Author, Link

_NAMES = ("LastName", "ForeName", "Initials", "Suffix", "CollectiveName")
_PMCID = re.compile(r"PMC\d+")
_NO_TITLE = re.compile(r"\[\s*(?:Not Available|In Process Citation)\s*\.?\s*\]\s*\.?", re.IGNORECASE)


def citation_to_article(citation: Element | None, pubmed_data: Element | None) -> Article:
    """The article of a ``MedlineCitation``; ``pubmed_data`` is its PubmedData, if the file has one.

    ``date`` is that of the journal's issue (PubDate), or the electronic one (ArticleDate) if it is more exact: an article in the
    issue of "2020-01" that appeared on "2019-12-15" has that day. ``journal`` is the full title, else ISO's abbreviation, else
    NLM's; ``journal_abbreviation`` is NLM's, else ISO's. ``doi`` is the article's own (ELocationID, else
    PubmedData/ArticleIdList), never one of its references. ``entered`` is the date on which the record was created (in the
    history "entrez", else "pubmed"; DateCreated in files before 2018).

    Raises:
        MalformedError: no citation, no Article element, no PMID or one that is not a number, or an undefined entity in a text.
    """
    children = _children(citation)
    pmid = children.get("PMID")
    article = _children(children.get("Article"))
    identifier = pmid_of(pmid)
    if not article:
        raise MalformedError(f"PMID {identifier} has no Article element with content")
    abstract, sections = abstract_of(article.get("Abstract"))
    print_date, electronic_date = _print_date(article), _electronic_date(children.get("Article"))
    return Article(
        id=identifier,
        title=_title(article.get("ArticleTitle")),
        abstract=abstract,
        sections=sections,
        version=_version(pmid),
        vernacular_title=_title(article.get("VernacularTitle")),
        journal=_journal(article.get("Journal"), children.get("MedlineJournalInfo")),
        date=max(print_date, electronic_date, key=len),  # the print date if both are equally exact
        print_date=print_date,
        electronic_date=electronic_date,
        revised=_date(children.get("DateRevised")),
        mesh=tuple(_mesh(children.get("MeshHeadingList"))),
        keywords=_keywords(citation),
        publication_types=_texts(article.get("PublicationTypeList"), "PublicationType"),
        doi=_doi(children.get("Article"), pubmed_data),
        languages=_texts(children.get("Article"), "Language"),
        entered=_entered(pubmed_data) or _date(children.get("DateCreated")),
        authors=_authors(children.get("Article")),
        journal_abbreviation=_abbreviation(article.get("Journal"), children.get("MedlineJournalInfo")),
        **_issue(article.get("Journal")),
        pages=_pages(article.get("Pagination")),
        pmcid=_pmcid(citation, pubmed_data),
        major_topics=tuple(_major_topics(children.get("MeshHeadingList"))),
        abstract_languages=_other_languages(citation),
        status=text_of(_children(pubmed_data).get("PublicationStatus")),
        links=tuple(_links(children.get("CommentsCorrectionsList"))),
    )


def book_to_article(book_document: Element | None) -> Article:
    """The article of a ``BookDocument``, a chapter or a whole book; ``journal`` is the title of the book.

    ``date`` is the day the chapter was added to the book (ContributionDate), else the book's.

    Raises:
        MalformedError: no PMID or one that is not a number, or an undefined entity in a text.
    """
    children = _children(book_document)
    book = _children(children.get("Book"))
    pmid = children.get("PMID")
    abstract, sections = abstract_of(children.get("Abstract"))
    book_title = text_of(book.get("BookTitle"))
    return Article(
        id=pmid_of(pmid),
        title=_title(children.get("ArticleTitle")) or book_title,
        abstract=abstract,
        sections=sections,
        version=_version(pmid),
        vernacular_title=_title(children.get("VernacularTitle")),
        journal=book_title,
        date=_date(children.get("ContributionDate")) or _date(book.get("PubDate")),
        revised=_date(children.get("DateRevised")),
        keywords=_keywords(book_document),
        publication_types=_texts(book_document, "PublicationType"),
        doi=_doi(children.get("Book"), book_document),
        languages=_texts(book_document, "Language"),
        authors=_authors(book_document) or _authors(children.get("Book")),
        volume=text_of(book.get("Volume")),
        pages=_pages(children.get("Pagination")),
        pmcid=_article_id(book_document, "pmc"),
    )


def pmid_of(pmid: Element | None) -> str:
    """The text of a ``PMID`` element.

    Raises:
        MalformedError: no element, or its text is not a number.
    """
    if pmid is None:
        raise MalformedError("no PMID")
    text = (pmid.text or "").strip()
    if not (text.isascii() and text.isdecimal()):
        raise MalformedError(f"the PMID {text[:100]!r} is not a number")
    return str(text)


def _version(pmid: Element) -> int:
    version = pmid.get("Version", "1").strip()
    if not re.fullmatch("[0-9]{1,9}", version):
        raise MalformedError(f"the Version {shown(version)} of the PMID is not a number of at most nine digits")
    return int(version)


def _children(element: Element | None) -> dict[str, Element]:
    """The first child of each name; one pass is much faster than a find for each."""
    found: dict[str, Element] = {}
    for child in element if element is not None else ():
        found.setdefault(child.tag, child)
    return found


def _texts(element: Element | None, tag: str) -> tuple[str, ...]:
    if element is None:
        return ()
    return tuple(text for text in map(text_of, element.iterchildren(tag)) if text)


def _title(element: Element | None) -> str:
    """The text of a title; "" for what NLM writes in place of one."""
    text = text_of(element)
    return "" if _NO_TITLE.fullmatch(text) else text


def _journal(journal: Element | None, medline_journal: Element | None) -> str:
    names = _children(journal)
    text = text_of(names.get("Title")) or text_of(names.get("ISOAbbreviation"))
    return text or text_of(_children(medline_journal).get("MedlineTA"))


def _print_date(article: dict[str, Element]) -> str:
    """The date of the issue; issues of electronic journals have one too."""
    issue = _children(_children(article.get("Journal")).get("JournalIssue"))
    return _date(issue.get("PubDate"))


def _electronic_date(article: Element | None) -> str:
    """The most exact ArticleDate; the DTD knows only electronic ones."""
    dates = article.iterchildren("ArticleDate") if article is not None else ()
    return max(map(_date, dates), key=len, default="")


def _date(element: Element | None) -> str:
    parts = {tag: text_of(child) for tag, child in _children(element).items()}
    if "MedlineDate" in parts:
        return date_from_words(parts["MedlineDate"])
    year = parts.get("Year", "")
    if "Season" in parts:  # "Spring" adds nothing, but NLM also writes "Jul-Aug" here
        return date_from_words(f"{year} {parts['Season']}")
    return date_from_parts(year, parts.get("Month", ""), parts.get("Day", ""))


def _mesh(headings: Element | None) -> Iterator[str]:
    for heading in headings if headings is not None else ():
        descriptor = ""
        for name in heading:
            if name.tag == "DescriptorName":
                descriptor = text_of(name)
                yield descriptor
            elif name.tag == "QualifierName":
                yield f"{descriptor}/{text_of(name)}"


def _major_topics(headings: Element | None) -> Iterator[str]:
    for heading in headings if headings is not None else ():
        names = [(name.tag, text_of(name), name.get("MajorTopicYN") == "Y") for name in heading]
        descriptor = next((text for tag, text, _ in names if tag == "DescriptorName"), "")
        if any(major for _, _, major in names):
            yield descriptor
        yield from (f"{descriptor}/{text}" for tag, text, major in names if tag == "QualifierName" and major)


def _keywords(record: Element) -> tuple[str, ...]:
    return tuple(text for keywords in record.iterchildren("KeywordList") for text in _texts(keywords, "Keyword"))


def _doi(article: Element | None, pubmed_data: Element | None) -> str:
    for location in article.iterchildren("ELocationID") if article is not None else ():
        if location.get("EIdType") == "doi" and location.get("ValidYN") != "N":
            return text_of(location)
    return _article_id(pubmed_data, "doi")


def _article_id(record: Element | None, kind: str) -> str:
    """The identifier of a record's own ArticleIdList; those of its references are deeper."""
    for ids in record.iterchildren("ArticleIdList") if record is not None else ():
        for article_id in ids.iterchildren("ArticleId"):
            if article_id.get("IdType") == kind:
                return text_of(article_id)
    return ""


def _pmcid(citation: Element, pubmed_data: Element | None) -> str:
    """The id in PubMed Central ("PMC4677453"); files without PubmedData have it among the other ids."""
    others = (text_of(other) for other in citation.iterchildren("OtherID"))
    return _article_id(pubmed_data, "pmc") or next((text for text in others if _PMCID.fullmatch(text)), "")


def _entered(pubmed_data: Element | None) -> str:
    dates = {date.get("PubStatus"): date for date in _children(pubmed_data).get("History", ())}
    return _date(dates.get("entrez")) or _date(dates.get("pubmed"))


def _authors(record: Element | None) -> tuple[Author, ...]:
    """The authors in their order; editors of a book, and names that NLM has marked as wrong, are none."""
    lists = record.iterchildren("AuthorList") if record is not None else ()
    authors = (
        _author(one) for found in lists if found.get("Type") != "editors" for one in found.iterchildren("Author")
    )
    return tuple(filter(any, authors))


def _author(author: Element) -> Author:
    if author.get("ValidYN") == "N":
        return Author()
    parts = {child.tag: child for child in author.iterchildren(*_NAMES)}
    return Author(*[text_of(parts[tag]) if tag in parts else "" for tag in _NAMES])


def _abbreviation(journal: Element | None, medline_journal: Element | None) -> str:
    return text_of(_children(medline_journal).get("MedlineTA")) or text_of(_children(journal).get("ISOAbbreviation"))


def _issue(journal: Element | None) -> dict[str, str]:
    issue = _children(_children(journal).get("JournalIssue"))
    return {"volume": text_of(issue.get("Volume")), "issue": text_of(issue.get("Issue"))}


def _pages(pagination: Element | None) -> str:
    """The pages as MEDLINE shortens them ("181-5"), else the first and the last."""
    pages = _children(pagination)
    whole = "-".join(filter(None, (text_of(pages.get("StartPage")), text_of(pages.get("EndPage")))))
    return text_of(pages.get("MedlinePgn")) or whole


def _other_languages(citation: Element) -> tuple[str, ...]:
    languages = (abstract.get("Language", "").strip() for abstract in citation.iterchildren("OtherAbstract"))
    return tuple(dict.fromkeys(filter(None, languages)))


def _links(links: Element | None) -> Iterator[Link]:
    for link in links if links is not None else ():
        parts = _children(link)
        if link.get("RefType") and link.get("RefType") != "Cites":  # references, in files before 2018
            yield Link(link.get("RefType"), text_of(parts.get("PMID")), text_of(parts.get("RefSource")))
