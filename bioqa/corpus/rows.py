"""A row of a JSON lines or Parquet corpus to an article."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from bioqa.corpus.check_article import checked
from bioqa.corpus.dates import date_from_text
from bioqa.corpus.markup import collapse
from bioqa.errors import shown
from bioqa.io.bad_records import MalformedError
from bioqa.types import Article, Author, Link

_NAME = re.compile(r"(.+) ([A-Z]{1,4})")
ID_FIELDS = ("id", "_id", "pmid", "docid")
TEXT_FIELDS = ("text", "contents", "abstract")
DATE_FIELDS = ("date", "year")
LANGUAGE_FIELDS = ("languages", "language")
FIELDS = (
    *ID_FIELDS,
    "title",
    *TEXT_FIELDS,
    *DATE_FIELDS,
    *LANGUAGE_FIELDS,
    "journal",
    "doi",
    "mesh",
    "keywords",
    "publication_types",
    "authors",
    "journal_abbreviation",
    "volume",
    "issue",
    "pages",
    "pmcid",
    "entered",
    "revised",
    "print_date",
    "electronic_date",
    "vernacular_title",
    "major_topics",
    "abstract_languages",
    "status",
    "links",
)


def row_to_article(row: Mapping[str, object]) -> Article:
    """The article of a row; if several fields mean the same, the first with a value counts.

    ``id`` (also ``_id``, ``pmid``, ``docid``) is text or a whole number. ``text`` (also ``contents``, ``abstract``) and ``title``
    are kept unchanged. All other fields of ``Article`` but the sections are optional: texts and numbers as they are, dates also as
    ``year`` (for ``date``); ``mesh``, ``major_topics``, ``keywords``, ``publication_types``, ``abstract_languages`` and
    ``languages`` or ``language`` as lists, or as one text separated by semicolons. ``authors`` likewise, each a name such as
    "Smith JA" or "Smith, John A", or an object with ``last``, ``fore``, ``initials``, ``suffix``, ``collective`` or ``name``;
    ``links`` as objects with ``type``, ``id``, ``source``. None and NaN count as missing; a date without a year counts as unknown;
    other fields are ignored.

    Raises:
        MalformedError: no id, neither text nor title, a value of the wrong type, or as for ``check_article.checked``.
    """
    if not any(name in row for name in (*TEXT_FIELDS, "title")):
        raise MalformedError(f"neither text nor title (looked for {', '.join(TEXT_FIELDS)}, title)")
    article = Article(
        id=_id(row),
        title=_text(row, ("title",)),
        abstract=_text(row, TEXT_FIELDS),
        date=_date(row, DATE_FIELDS),
        doi=_text(row, ("doi",)).strip(),
        languages=_texts(row, LANGUAGE_FIELDS),
        authors=tuple(filter(any, map(_author, _items(row, "authors")))),
        links=tuple(map(_link, _items(row, "links"))),
        journal=_collapsed(row, "journal"),
        journal_abbreviation=_collapsed(row, "journal_abbreviation"),
        volume=_collapsed(row, "volume"),
        issue=_collapsed(row, "issue"),
        pages=_collapsed(row, "pages"),
        pmcid=_collapsed(row, "pmcid"),
        status=_collapsed(row, "status"),
        vernacular_title=_collapsed(row, "vernacular_title"),
        entered=_date(row, ("entered",)),
        revised=_date(row, ("revised",)),
        print_date=_date(row, ("print_date",)),
        electronic_date=_date(row, ("electronic_date",)),
        mesh=_texts(row, ("mesh",)),
        keywords=_texts(row, ("keywords",)),
        publication_types=_texts(row, ("publication_types",)),
        major_topics=_texts(row, ("major_topics",)),
        abstract_languages=_texts(row, ("abstract_languages",)),
    )
    return checked(article)


def _first(row: Mapping[str, object], names: Iterable[str]) -> tuple[str, object]:
    for name in names:
        value = row.get(name)
        if value is not None and not (isinstance(value, float) and math.isnan(value)):
            return name, value
    return "", None


def _id(row: Mapping[str, object]) -> str:
    name, value = _first(row, ID_FIELDS)
    if value is None:
        raise MalformedError(f"no id (looked for {', '.join(ID_FIELDS)})")
    number = _whole_number(value)
    if number is not None:
        return str(number)
    text = _checked(name, value).strip()
    if not text:
        raise MalformedError(f"{name} is empty")
    return text


def _whole_number(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():  # pandas writes whole numbers beside missing ones as floats
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(row: Mapping[str, object], names: Iterable[str]) -> str:
    name, value = _first(row, names)
    return "" if value is None else _checked(name, value)


def _checked(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise MalformedError(f"{name} is not text but {type(value).__name__}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise MalformedError(f"{name} has half of a surrogate pair (\\ud800 to \\udfff)") from None
    return value


def _collapsed(row: Mapping[str, object], name: str) -> str:
    """A text, or a number such as a volume, with white space collapsed."""
    number = _whole_number(row.get(name))
    return str(number) if number is not None else collapse(_text(row, (name,)))


def _texts(row: Mapping[str, object], names: Iterable[str]) -> tuple[str, ...]:
    name, value = _first(row, names)
    texts = (collapse(_text({name: item}, (name,))) for item in _list(name, value))
    return tuple(text for text in texts if text)


def _items(row: Mapping[str, object], name: str) -> list[Any]:
    """The values of a list: texts and objects, without missing ones."""
    items = [item for item in _list(name, _first(row, (name,))[1]) if item is not None]
    for item in items:
        if not isinstance(item, Mapping):
            _checked(name, item)
    return items


def _list(name: str, value: object) -> Sequence[object]:
    if value is None:
        return ()
    if isinstance(value, str):
        return _checked(name, value).split(";")
    if not isinstance(value, list | tuple):
        raise MalformedError(f"{name} is neither a list nor text but {type(value).__name__}")
    return value


def _author(author: Mapping[str, object] | str) -> Author:
    """An author given as an object, or as a name: "Smith JA", "Smith, John A"; one without initials is a group."""
    if isinstance(author, Mapping):
        parts = Author(**{name: collapse(_text(author, (name,))) for name in Author._fields})
        return parts if any(parts) else _author(_text(author, ("name",)))
    name = collapse(author)
    last, comma, fore = name.partition(",")
    if comma:
        return Author(last.strip(), fore.strip(), "".join(part[0] for part in re.split(r"[\s.-]+", fore) if part))
    initialed = _NAME.fullmatch(name)
    return Author(initialed[1], "", initialed[2]) if initialed else Author(collective=name)


def _link(link: Mapping[str, object] | str) -> Link:
    if not isinstance(link, Mapping):
        raise MalformedError(f"links has a text ({shown(link)}), not an object with type and id")
    number = _whole_number(link.get("id"))
    id = str(number) if number is not None else _text(link, ("id",)).strip()
    type, source = (collapse(_text(link, (name,))) for name in ("type", "source"))
    if not type:
        raise MalformedError("a link has no type")
    return Link(type, id, source)


def _date(row: Mapping[str, object], names: Iterable[str]) -> str:
    name, value = _first(row, names)
    if value is None:
        return ""
    if isinstance(value, date):  # a Parquet date or timestamp
        return value.isoformat()[:10]
    number = _whole_number(value)
    return date_from_text(str(number) if number is not None else _checked(name, value))
