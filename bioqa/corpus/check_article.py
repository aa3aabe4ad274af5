"""What an article of any format must satisfy to be indexed and written to run files."""

import unicodedata

from bioqa.io.bad_records import MalformedError
from bioqa.types import Article

MAX_TERM_BYTES = 32_766
"""Lucene's limit for an exact value, such as an id or a journal, in UTF-8."""

_LINE_ENDS = {"Cc", "Zl", "Zp"}
"""Unicode's categories of control characters, line separators and paragraph separators."""


def checked(article: Article) -> Article:
    """The article itself.

    Raises:
        MalformedError: the id has a control character or a line separator, or the id or a value to filter by has more than
            ``MAX_TERM_BYTES``.
    """
    if not article.id.isprintable() and any(unicodedata.category(character) in _LINE_ENDS for character in article.id):
        raise MalformedError(f"the id {article.id[:100]!r} has a control character or a line separator")
    _check_length("id", article.id)
    _check_length("journal", article.journal)
    for name, values in (
        ("MeSH heading", article.mesh),
        ("publication type", article.publication_types),
        ("language", article.languages),
        ("major topic", article.major_topics),
        ("author", map(" ".join, article.authors)),
        ("link", map(" ".join, article.links)),
        ("journal", (article.journal_abbreviation,)),
        ("PMCID", (article.pmcid,)),
        ("DOI", (article.doi,)),
    ):
        for value in values:
            _check_length(name, value)
    return article


def _check_length(name: str, value: str) -> None:
    if len(value) * 4 > MAX_TERM_BYTES:  # a character has at most 4 bytes in UTF-8, also in lower case
        size = max(len(value.encode()), len(value.lower().encode()))
        if size > MAX_TERM_BYTES:
            limit = f"Lucene's limit is {MAX_TERM_BYTES:,}"
            raise MalformedError(f"the {name} {value[:40]!r}… has {size:,} bytes in UTF-8; {limit}")
