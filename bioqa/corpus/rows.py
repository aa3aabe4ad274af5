"""A row of a JSON lines or Parquet corpus to an article."""

import math
from collections.abc import Iterable, Mapping
from datetime import date

from bioqa.corpus.check_article import checked
from bioqa.corpus.dates import date_from_text
from bioqa.corpus.markup import collapse
from bioqa.io.bad_records import MalformedError
from bioqa.types import Article

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
)


def row_to_article(row: Mapping[str, object]) -> Article:
    """The article of a row; if several fields mean the same, the first with a value counts.

    ``id`` (also ``_id``, ``pmid``, ``docid``) is text or a whole number. ``text`` (also ``contents``, ``abstract``) and ``title``
    are kept unchanged. Optional: ``date`` or ``year``, ``journal``, ``doi``; ``mesh``, ``keywords``, ``publication_types`` and
    ``languages`` or ``language`` as lists, or as one text separated by semicolons. None and NaN count as missing; a date without a
    year counts as unknown; other fields are ignored.

    Raises:
        MalformedError: no id, neither text nor title, a value of the wrong type, or as for ``check_article.checked``.
    """
    if not any(name in row for name in (*TEXT_FIELDS, "title")):
        raise MalformedError(f"neither text nor title (looked for {', '.join(TEXT_FIELDS)}, title)")
    article = Article(
        id=_id(row),
        title=_text(row, ("title",)),
        abstract=_text(row, TEXT_FIELDS),
        journal=collapse(_text(row, ("journal",))),
        date=_date(row),
        mesh=_texts(row, ("mesh",)),
        keywords=_texts(row, ("keywords",)),
        publication_types=_texts(row, ("publication_types",)),
        doi=_text(row, ("doi",)).strip(),
        languages=_texts(row, LANGUAGE_FIELDS),
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


def _texts(row: Mapping[str, object], names: Iterable[str]) -> tuple[str, ...]:
    name, value = _first(row, names)
    if value is None:
        return ()
    if isinstance(value, str):
        value = _checked(name, value).split(";")
    if not isinstance(value, list | tuple):
        raise MalformedError(f"{name} is neither a list nor text but {type(value).__name__}")
    texts = (collapse(_text({name: item}, (name,))) for item in value)
    return tuple(text for text in texts if text)


def _date(row: Mapping[str, object]) -> str:
    name, value = _first(row, DATE_FIELDS)
    if value is None:
        return ""
    if isinstance(value, date):  # a Parquet date or timestamp
        return value.isoformat()[:10]
    number = _whole_number(value)
    return date_from_text(str(number) if number is not None else _checked(name, value))
