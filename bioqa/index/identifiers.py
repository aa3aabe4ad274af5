"""What people paste to name an article: a PMID, a PubMed or PMC address, a DOI, a PMCID."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from bioqa.errors import UsageError
from bioqa.index.document import ID
from bioqa.index.reader import Index
from bioqa.types import Article

MAX_SENTENCES = 20
_SITE = r"(?:https?://)?(?:www\.|m\.)?"
_END = r"/?(?:[?#].*)?"
_PMID = re.compile(
    rf"""(?:pmid|pubmed)\s*:?\s*([0-9]+)
    |{_SITE}pubmed\.ncbi\.nlm\.nih\.gov/([0-9]+){_END}
    |{_SITE}ncbi\.nlm\.nih\.gov/(?:m/)?pubmed/([0-9]+){_END}
    |{_SITE}europepmc\.org/(?:article|abstract)/med/([0-9]+){_END}""",
    re.IGNORECASE | re.VERBOSE,
)
_PMCID = re.compile(
    rf"""(?:pmcid\s*:?\s*)?(PMC[0-9]+)
    |{_SITE}(?:pmc\.)?ncbi\.nlm\.nih\.gov/(?:pmc/)?articles/(PMC[0-9]+)(?:/.*|{_END})
    |{_SITE}europepmc\.org/articles?/(?:PMC/)?(PMC[0-9]+){_END}""",
    re.IGNORECASE | re.VERBOSE,
)
_DOI = re.compile(r"(?:doi\s*:?\s*|(?:https?://)?(?:dx\.|www\.)?doi\.org/)?(10\.[0-9]{4,9}/\S+)", re.IGNORECASE)
_LABEL = re.compile(r"(?:pmid|pubmed|pmcid|doi)\s*:?", re.IGNORECASE)


class Named(NamedTuple):
    """What an identifier names: none, one, or several articles (some DOIs are those of several citations)."""

    identifier: str
    articles: tuple[Article, ...]


def find_articles(index: Index, identifiers: Sequence[str]) -> list[Named]:
    """The articles that identifiers name, in their order.

    An identifier that is an article's id as it stands names that article. Otherwise it is read as a PMID ("PMID: 123", an address
    in PubMed), a PMCID ("PMC123", an address in PMC) or a DOI ("doi:10.1000/x", an address at doi.org).
    """
    cleaned = [identifier.strip() for identifier in identifiers]
    found: list[tuple[Article, ...]] = [(article,) if article else () for article in index.get_many(cleaned)]
    wanted: dict[str, dict[int, str]] = {}
    for number, identifier in enumerate(cleaned):
        if not found[number]:
            for field, value in _meanings(identifier):
                wanted.setdefault(field, {})[number] = value
    for field, values in wanted.items():
        for number, articles in zip(values, index.with_values(field, list(values.values())), strict=True):
            found[number] = tuple(articles)
    return [Named(*one) for one in zip(cleaned, found, strict=True)]


def find_article(index: Index, identifier: str) -> Article:
    """The one article that an identifier names.

    Raises:
        UsageError: it names none, or several.
    """
    [(_, articles)] = find_articles(index, [identifier])
    if len(articles) > 1:
        ids = ", ".join(article.id for article in articles)
        raise UsageError(f"{identifier} belongs to {len(articles)} articles ({ids}). Name one by its PMID.")
    if not articles:
        raise not_found(index, [identifier])
    return articles[0]


def not_found(index: Index, identifiers: Sequence[str]) -> UsageError:
    """The error for identifiers that name no article, with a sentence for each of the first ``MAX_SENTENCES``."""
    sentences = [f"{index.path} has no article {identifier}." for identifier in identifiers[:MAX_SENTENCES]]
    more = len(identifiers) - len(sentences)
    return UsageError("\n".join([*sentences, f"… and {more:,} more."] if more else sentences))


def join_labels(words: Iterable[str]) -> Iterator[str]:
    """The words of a command line, with a label and what follows as one: "PMID:", "123" → "PMID: 123"."""
    label = ""
    for word in words:
        if not label and _LABEL.fullmatch(word.strip()):
            label = word.strip()
            continue
        yield f"{label} {word}" if label else word
        label = ""
    if label:
        yield label


def _meanings(identifier: str) -> Iterator[tuple[str, str]]:
    """The (field, value) of the index that an identifier can mean."""
    text = identifier.rstrip(" .,;")
    pmid, pmcid = _PMID.fullmatch(text), _PMCID.fullmatch(text)
    if pmid or (text.isascii() and text.isdecimal()):
        yield ID, _matched(pmid) if pmid else text
    elif pmcid:
        yield "pmcid", _matched(pmcid).lower()
    elif doi := _DOI.fullmatch(unquote(text) if "doi.org/" in text.lower() else text):
        yield "doi", doi.group(1).lower()


def _matched(match: "re.Match[str]") -> str:
    return next(group for group in match.groups() if group)
