"""Citations for reference managers, text processors and spreadsheets: RIS, NBIB, BibTeX, CSL-JSON, CSV, TSV and Markdown.

RIS          https://en.wikipedia.org/wiki/RIS_(file_format), tags of 2011; written by rispy
NBIB         PubMed's MEDLINE format, https://www.nlm.nih.gov/bsd/mms/medlineelements.html
BibTeX       http://tug.ctan.org/info/bibtex/tamethebeast/ttb_en.pdf; UTF-8, what LaTeX would interpret is escaped
CSL-JSON     https://github.com/citation-style-language/schema, csl-data.json
"""

import json
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from urllib.parse import quote

from bioqa.corpus.markup import collapse
from bioqa.io.tables import Cell, csv_line, latex_text, neutral
from bioqa.types import Article, Author, Hit, Question

FORMATS = ("ris", "nbib", "bibtex", "csl-json", "csv", "tsv", "markdown")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_BREAKS = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029]")
_RANGE = re.compile(r"([^\W\d_]*)(\d+)-(\d+)\b")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~&])")
_WIDTH = 82
_NBIB_LINKS = {
    "CommentIn": "CIN",
    "CommentOn": "CON",
    "CorrectedandRepublishedIn": "CRI",
    "CorrectedandRepublishedFrom": "CRF",
    "AssociatedDataset": "DDIN",
    "AssociatedPublication": "DRIN",
    "ErratumIn": "EIN",
    "ErratumFor": "EFR",
    "ExpressionOfConcernIn": "ECI",
    "ExpressionOfConcernFor": "ECF",
    "OriginalReportIn": "ORI",
    "RepublishedIn": "RPI",
    "RepublishedFrom": "RPF",
    "RetractedandRepublishedIn": "RRI",
    "RetractedandRepublishedFrom": "RRF",
    "RetractionIn": "RIN",
    "RetractionOf": "ROF",
    "SummaryForPatientsIn": "SPIN",
    "UpdateIn": "UIN",
    "UpdateOf": "UOF",
}
"""Type of a link → its tag in NBIB."""
COLUMNS = (
    "id", "title", "authors", "journal", "journal_abbreviation", "date", "volume", "issue", "pages", "doi", "pmcid", "url",
    "publication_types", "languages", "mesh", "major_topics", "keywords", "entered", "revised", "status", "marks", "notices",
    "abstract",
)  # fmt: skip
"""The columns of CSV and TSV; several values are separated by "; "."""
HIT_COLUMNS = ("question", "rank", "score", "probability")


def format_citations(articles: Iterable[Article], citation_format: str) -> Iterator[str]:
    """The articles in one of ``FORMATS``, as pieces of one text."""
    return _WRITERS[citation_format](articles)


def format_hits(answers: Iterable[tuple[Question, Sequence[Hit]]], citation_format: str) -> Iterator[str]:
    """The hits of questions in one of ``FORMATS``, as pieces of one text.

    CSV and TSV begin with ``HIT_COLUMNS``, Markdown has a list for each question. The others have each article once.
    """
    if citation_format in ("csv", "tsv"):
        return _table(
            (
                ((question.id, hit.rank, hit.score, hit.probability), hit.article)
                for question, hits in answers
                for hit in hits
            ),
            (*HIT_COLUMNS, *COLUMNS),
            citation_format,
        )
    if citation_format == "markdown":
        return _markdown_answers(answers)
    return format_citations(_once(hit.article for _, hits in answers for hit in hits), citation_format)


def byline(article: Article, most: int) -> str:
    """The first ``most`` authors: "Smith JA, Doe R, et al."."""
    names = [str(author) for author in article.authors[:most]]
    return ", ".join([*names, "et al."] if len(article.authors) > most else names)


def source_line(article: Article) -> str:
    """Where an article appeared: "N Engl J Med. 2019 Mar 4;380(10):181-5"."""
    journal = (article.journal_abbreviation or article.journal).rstrip(".")
    issue = f"({article.issue})" if article.issue else ""
    place = article.volume + issue + (f":{article.pages}" if article.pages else "")
    when = ";".join(filter(None, (_spelled(article.date), place)))
    return ". ".join(filter(None, (journal, when)))


def standing(article: Article) -> list[str]:
    """What notices say of an article: "Retracted (PMID 123)"."""
    return [
        f"{mark.capitalize()} (PMID {', '.join(notices)})" if notices else mark.capitalize()
        for mark, notices in article.marks.items()
    ]


def _once(articles: Iterable[Article]) -> Iterator[Article]:
    seen: set[str] = set()
    for article in articles:
        if article.id not in seen:
            seen.add(article.id)
            yield article


def _line(text: str) -> str:
    """The text on one line."""
    return collapse(_BREAKS.sub(" ", text))


def _spelled(date: str) -> str:
    """A date as NLM writes it: "2019 Mar 4"."""
    year, *rest = date.split("-")
    month = [_MONTHS[int(rest[0]) - 1]] if rest else []
    return " ".join([year, *month, *(str(int(day)) for day in rest[1:])])


def _title(article: Article) -> str:
    return _line(article.title or article.vernacular_title)


def _abstract(article: Article) -> str:
    """The abstract, with a space between its parts."""
    return _line(" ".join(article.abstract[part.begin : part.end] for part in article.sections) or article.abstract)


def _full_pages(pages: str) -> str:
    """Pages with the last one in full: "181-5" → "181-185", "S12-8" → "S12-S18"."""

    def full(match: re.Match[str]) -> str:
        prefix, first, last = match.groups()
        return (
            f"{prefix}{first}-{prefix}{first[: len(first) - len(last)]}{last}" if len(last) <= len(first) else match[0]
        )

    return _RANGE.sub(full, _line(pages))


def _subjects(article: Article) -> list[str]:
    return [_line(subject) for subject in dict.fromkeys((*article.mesh, *article.keywords))]


def _notes(article: Article) -> list[str]:
    original = article.vernacular_title if article.title else ""
    return [*standing(article), *([f"Original title: {_line(original)}"] if original else [])]


def _ris(articles: Iterable[Article]) -> Iterator[str]:
    from rispy import RisWriter, dumps

    class Writer(RisWriter):  # type: ignore[misc]
        def set_header(self, count: int) -> str:
            return ""

    for article in articles:
        first, _, last = re.split("[,;]", _full_pages(article.pages))[0].partition("-")
        year, *rest = article.date.split("-")
        values = {
            "type_of_reference": "JOUR",
            "id": _line(article.id),
            "title": _title(article),
            "authors": [_line(_inverted(author)) for author in article.authors],
            "secondary_title": _line(article.journal),
            "alternate_title2": _line(article.journal_abbreviation),
            "year": year,
            "date": "/".join([year, *rest, "", "", ""][:4]) if rest else "",
            "volume": _line(article.volume),
            "number": _line(article.issue),
            "start_page": first.strip(),
            "end_page": last.strip(),
            "doi": _line(article.doi),
            "accession_number": article.id if article.url else "",
            "custom2": _line(article.pmcid),
            "language": ", ".join(article.languages),
            "abstract": _abstract(article),
            "keywords": _subjects(article),
            "notes": _notes(article),
            "urls": [article.url] if article.url else [],
            "name_of_database": "PubMed" if article.url else "",
        }
        yield dumps([{name: value for name, value in values.items() if value}], implementation=Writer) + "\n"


def _inverted(author: Author) -> str:
    """The name as RIS writes it: "Smith, John A, Jr"."""
    return ", ".join(filter(None, (author.last, author.fore or author.initials, author.suffix))) or author.collective


def _nbib(articles: Iterable[Article]) -> Iterator[str]:
    for article in articles:
        lines = (f"{tag:<4}- {text}" for tag, value in _nbib_fields(article) if (text := _wrapped(tag, value)))
        yield "\n".join([*lines, "", ""])


def _wrapped(tag: str, value: str) -> str:
    """The value on one line, or wrapped if readers join the lines of that field."""
    value = _line(value)
    if tag not in ("TI", "TT", "JT", "AB"):
        return value
    lines = textwrap.wrap(value, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n      ".join(lines)


def _nbib_fields(article: Article) -> Iterator[tuple[str, str]]:
    yield "PMID", article.id
    yield "LR", article.revised.replace("-", "")
    yield "VI", article.volume
    yield "IP", article.issue
    yield "DP", _spelled(article.print_date or article.date) if article.date or article.print_date else ""
    yield "TI", article.title or article.vernacular_title
    yield "PG", article.pages
    yield "LID", f"{article.doi} [doi]" if article.doi else ""
    yield "AB", _abstract(article)
    for author in article.authors:
        if author.collective and not author.last:
            yield "CN", author.collective
        else:
            yield "FAU", " ".join(filter(None, (_inverted(author._replace(suffix="")), author.suffix)))
            yield "AU", str(author)
    yield from (("LA", language) for language in article.languages)
    yield from (("PT", kind) for kind in article.publication_types)
    yield "DEP", article.electronic_date.replace("-", "")
    yield "TA", article.journal_abbreviation
    yield "JT", article.journal
    yield "TT", article.vernacular_title if article.title else ""
    yield from (
        (_NBIB_LINKS[link.type], _link_text(link.source, link.id)) for link in article.links if link.type in _NBIB_LINKS
    )
    yield "PMC", article.pmcid
    yield from (("MH", heading) for heading in _headings(article))
    yield from (("OT", keyword) for keyword in article.keywords)
    yield from (("GN", note) for note in standing(article))
    yield "EDAT", f"{article.entered.replace('-', '/')} 00:00" if article.entered else ""
    yield "AID", f"{article.doi} [doi]" if article.doi else ""
    yield "PST", article.status
    yield "SO", source_line(article)


def _link_text(source: str, pmid: str) -> str:
    return ". ".join(filter(None, (source.rstrip("."), f"PMID: {pmid}" if pmid else "")))


def _headings(article: Article) -> Iterator[str]:
    """MeSH headings with their qualifiers, major ones with a star: "Asthma/*drug therapy/genetics"."""
    major = set(article.major_topics)
    qualified: dict[str, list[str]] = {}
    for heading in article.mesh:
        descriptor, _, qualifier = heading.partition("/")
        qualified.setdefault(descriptor, []).extend([qualifier] if qualifier else [])
    for descriptor, qualifiers in qualified.items():
        starred = [f"*{one}" if f"{descriptor}/{one}" in major else one for one in qualifiers]
        alone = descriptor in major and not any(one.startswith("*") for one in starred)
        yield "/".join([f"*{descriptor}" if alone else descriptor, *starred])


def _bibtex(articles: Iterable[Article]) -> Iterator[str]:
    used: set[str] = set()
    for number, article in enumerate(articles):
        year, *rest = article.date.split("-")
        fields = {
            "title": f"{{{_latex(_title(article))}}}"
            if _title(article)
            else "",  # styles keep the case of what is in braces
            "author": " and ".join(map(_bibtex_name, article.authors)),
            "journal": _latex(_line(article.journal)),
            "volume": _latex(_line(article.volume)),
            "number": _latex(_line(article.issue)),
            "pages": _latex(_full_pages(article.pages)).replace("-", "--"),
            "year": year,
            "doi": _verbatim(article.doi),
            "pmid": article.id if article.url else "",
            "pmcid": _latex(_line(article.pmcid)),
            "url": article.url,
            "abstract": _latex(_abstract(article)),
            "keywords": _latex("; ".join(_subjects(article))),
            "language": ", ".join(article.languages),
            "note": _latex("; ".join(_notes(article))),
        }
        lines = [f"  {name} = {{{value}}}" for name, value in fields.items() if value]
        lines += [f"  month = {_MONTHS[int(rest[0]) - 1].lower()}"] if rest else []
        text = ",\n".join([f"@{'article' if article.journal else 'misc'}{{{_key(article, used)}", *lines])
        yield "\n" * bool(number) + text + "\n}\n"


def _key(article: Article, used: set[str]) -> str:
    """A key that no other entry has; BibTeX ignores the case of keys."""
    base = re.sub("[^A-Za-z0-9.:-]+", "-", f"pmid{article.id}" if article.url else article.id).strip("-") or "article"
    key, number = base, 1
    while key.lower() in used:
        number += 1
        key = f"{base}-{number}"
    used.add(key.lower())
    return key


def _latex(text: str) -> str:
    r"""The text for LaTeX. BibTeX counts braces also after a backslash, so that ``\{`` needs another spelling."""
    return latex_text(text).replace(r"\{", r"\textbraceleft{}").replace(r"\}", r"\textbraceright{}")


def _verbatim(text: str) -> str:
    """An address or identifier, which LaTeX prints as it stands."""
    return _line(text).replace("{", "%7B").replace("}", "%7D").replace("\\", "%5C")


def _bibtex_name(author: Author) -> str:
    if author.collective and not author.last:
        return f"{{{_latex(_line(author.collective))}}}"
    parts = (author.last, author.suffix, author.fore or author.initials)
    return ", ".join(_name_part(_line(part)) for part in parts if part)


def _name_part(part: str) -> str:
    """A part of a name, in braces if BibTeX would take it apart."""
    text = _latex(part)
    return f"{{{text}}}" if "," in part or re.search(r"\band\b", part, re.IGNORECASE) else text


def _csl_json(articles: Iterable[Article]) -> Iterator[str]:
    separator = "["
    for article in articles:
        yield f"{separator}\n  {json.dumps(_csl_item(article), ensure_ascii=False)}"
        separator = ","
    yield "[]\n" if separator == "[" else "\n]\n"


def _csl_item(article: Article) -> dict[str, object]:
    values: dict[str, object] = {
        "id": article.id,
        "type": "article-journal",
        "title": article.title or article.vernacular_title,
        "original-title": article.vernacular_title if article.title else "",
        "author": list(map(_csl_name, article.authors)),
        "container-title": article.journal,
        "container-title-short": article.journal_abbreviation,
        "issued": _csl_date(article.date),
        "volume": article.volume,
        "issue": article.issue,
        "page": _full_pages(article.pages),
        "DOI": article.doi,
        "PMID": article.id if article.url else "",
        "PMCID": article.pmcid,
        "URL": article.url,
        "language": ", ".join(article.languages),
        "genre": "; ".join(article.publication_types),
        "keyword": "; ".join(_subjects(article)),
        "abstract": _abstract(article),
        "note": "; ".join(standing(article)),
    }
    return {name: value for name, value in values.items() if value}


def _csl_name(author: Author) -> dict[str, str]:
    if author.collective and not author.last:
        return {"literal": author.collective}
    values = {"family": author.last, "given": author.fore or author.initials, "suffix": author.suffix}
    return {name: value for name, value in values.items() if value}


def _csl_date(date: str) -> dict[str, list[list[int]]]:
    return {"date-parts": [[int(part) for part in date.split("-")]]} if date else {}


def _csv(articles: Iterable[Article]) -> Iterator[str]:
    return _table((((), article) for article in articles), COLUMNS, "csv")


def _tsv(articles: Iterable[Article]) -> Iterator[str]:
    return _table((((), article) for article in articles), COLUMNS, "tsv")


def _table(rows: Iterable[tuple[tuple[Cell, ...], Article]], names: Sequence[str], table_format: str) -> Iterator[str]:
    line = csv_line if table_format == "csv" else _tsv_line
    yield line(names)
    for before, article in rows:
        yield line([neutral(cell) for cell in (*before, *map(_cell(article), COLUMNS))])


def _tsv_line(cells: Sequence[Cell]) -> str:
    return "\t".join(_line(str(cell)) for cell in cells) + "\n"


def _cell(article: Article) -> Callable[[str], Cell]:
    """Column → its cell."""

    def cell(name: str) -> Cell:
        if name == "marks":
            return "; ".join(article.marks)
        if name == "notices":
            return "; ".join(notice for notices in article.marks.values() for notice in notices)
        if name == "abstract":
            return _abstract(article)
        value = getattr(article, name)
        return "; ".join(map(str, value)) if isinstance(value, tuple) else value

    return cell


def _markdown(articles: Iterable[Article]) -> Iterator[str]:
    for number, article in enumerate(articles, start=1):
        title = _escaped(_title(article) or "(no title)")
        link = f"[{title}]({article.url})" if article.url else title
        doi = _line(article.doi)
        parts = (
            _escaped(_line(byline(article, 6))),
            link,
            _escaped(_line(source_line(article))),
            f"doi:[{_escaped(doi)}](https://doi.org/{quote(doi, safe='/')})" if doi else "",
            f"PMID: {article.id}" if article.url else _escaped(_line(article.id)),
            *(f"**{_escaped(text)}**" for text in standing(article)),
        )
        yield f"{number}. {' '.join(part if part.endswith('.') else f'{part}.' for part in parts if part)}\n"


def _markdown_answers(answers: Iterable[tuple[Question, Sequence[Hit]]]) -> Iterator[str]:
    for number, (question, hits) in enumerate(answers):
        yield "\n" * bool(number) + f"## {_escaped(_line(question.body))}\n\n"
        yield from _markdown(hit.article for hit in hits)


def _escaped(text: str) -> str:
    """The text for Markdown."""
    return _MARKDOWN.sub(r"\\\1", text)


_WRITERS: dict[str, Callable[[Iterable[Article]], Iterator[str]]] = {
    "ris": _ris,
    "nbib": _nbib,
    "bibtex": _bibtex,
    "csl-json": _csl_json,
    "csv": _csv,
    "tsv": _tsv,
    "markdown": _markdown,
}
