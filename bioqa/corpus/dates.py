"""Publication dates with their known precision: "2019", "2019-03", "2019-03-04" or ""."""

import calendar
import re

_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_MONTH_OF_NAME = {
    name[:length]: number for number, name in enumerate(_MONTHS, start=1) for length in range(3, len(name) + 1)
}
_YEAR = re.compile(r"(?<!\d)(1[5-9][0-9]{2}|2[01][0-9]{2})(?!\d)")
_DAY_WORD_DAY = re.compile(
    r"(?:(?<!\d)([0-9]{1,2})(?:st|nd|rd|th)?(?:-[0-9]{1,2})?[\s-]+)?([A-Za-z]{3,})\.?(?:\s+([0-9]{1,2})(?!\d))?"
)
_NUMERIC = re.compile(
    r"\s*(\d{4})(?:([-/.]?)(\d{2})(?:\2(\d{2}))?|[-/.](\d{1,2})(?:[-/.](\d{1,2}))?)?(?!\d)(?:[T ]\d\d:.*)?\s*$"
)


def date_from_parts(year: str, month: str = "", day: str = "") -> str:
    """A date from a year, a month (number or English name, also abbreviated) and a day; invalid parts are dropped."""
    year = year.strip()
    if not _YEAR.fullmatch(year):
        return ""
    month_number = month_number_of(month)
    if not month_number:
        return year
    date = f"{year}-{month_number:02d}"
    number = _small_number(day)
    return f"{date}-{number:02d}" if 1 <= number <= calendar.monthrange(int(year), month_number)[1] else date


def date_from_words(text: str) -> str:
    """The earliest date in a MedlineDate, with its known precision.

    "2019 Jan-Feb" → "2019-01"; "1998 Dec-1999 Jan" → "1998-12"; "2000 Dec 23-30" → "2000-12-23"; "15 Mar 2004" →
    "2004-03-15"; "Spring 2000" → "2000". Source: https://www.nlm.nih.gov/bsd/licensee/elements_descriptions.html#medlinedate
    """
    year = _YEAR.search(text)
    if not year:
        return ""
    for word in _DAY_WORD_DAY.finditer(text):
        if month_number_of(word[2]):
            return date_from_parts(year[0], word[2], word[1] or word[3] or "")
    return year[0]


def date_from_text(text: str) -> str:
    """A date as written in data files: "2019", "2019-03-04", "2019/3/4", "20190304", a timestamp or words; "" without a year."""
    numeric = _NUMERIC.match(text)
    if not numeric:
        return date_from_words(text)
    return date_from_parts(numeric[1], numeric[3] or numeric[5] or "", numeric[4] or numeric[6] or "")


def month_number_of(month: str) -> int:
    """1 to 12 for the number or English name of a month ("3", "03", "Mar", "March"), 0 for anything else."""
    number = _small_number(month)
    return number if 1 <= number <= 12 else _MONTH_OF_NAME.get(month.strip().lower(), 0)


def _small_number(text: str) -> int:
    """The number of one or two digits in the text, else 0."""
    text = text.strip()
    return int(text) if len(text) <= 2 and text.isascii() and text.isdecimal() else 0
