"""Dates are kept at the precision that the source knows."""

import pytest

from bioqa.corpus.dates import date_from_parts, date_from_text, date_from_words


@pytest.mark.parametrize(
    ("parts", "date"),
    [
        (("2019", "Mar", "4"), "2019-03-04"),
        (("2019", "03", "04"), "2019-03-04"),
        (("2019", "September", ""), "2019-09"),
        (("2019", "Sept", ""), "2019-09"),
        (("2019", "", "4"), "2019"),
        (("2020", "Feb", "29"), "2020-02-29"),
        (("2019", "Feb", "29"), "2019-02"),
        (("2019", "13", "1"), "2019"),
        (("2019", "Spring", ""), "2019"),
        (("19", "Mar", "4"), ""),
        (("", "Mar", "4"), ""),
        (("2019", "9" * 5000, "4"), "2019"),
        (("2019", "Mar", "9" * 5000), "2019-03"),
        (("20\uff11\uff19", "Mar", "4"), ""),
    ],
)
def test_parts_that_are_not_valid_are_dropped(parts: tuple[str, str, str], date: str) -> None:
    assert date_from_parts(*parts) == date


@pytest.mark.parametrize(
    ("words", "date"),
    [
        ("2019 Jan-Feb", "2019-01"),
        ("2017 Mar - Apr", "2017-03"),
        ("2019 May/June", "2019-05"),
        ("1998 Dec-1999 Jan", "1998-12"),
        ("2000 Dec 23-30", "2000-12-23"),
        ("2000 Dec 30-2001 Jan 6", "2000-12-30"),
        ("Spring 2000", "2000"),
        ("2000 Spring", "2000"),
        ("1944-1945", "1944"),
        ("Dec 1998", "1998-12"),
        ("15 Mar 2004", "2004-03-15"),
        ("15-Mar-2004", "2004-03-15"),
        ("2004 15 Mar", "2004-03-15"),
        ("1st March 2004", "2004-03-01"),
        ("23-30 Dec 2000", "2000-12-23"),
        ("28 Dec 1998-3 Jan 1999", "1998-12-28"),
        ("31 Feb 2004", "2004-02"),
        ("no year", ""),
        ("", ""),
    ],
)
def test_the_earliest_date_that_free_text_names_counts(words: str, date: str) -> None:
    assert date_from_words(words) == date


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2019", "2019"),
        ("2019-03", "2019-03"),
        ("2019-03-04", "2019-03-04"),
        ("2019/3/4", "2019-03-04"),
        ("20190304", "2019-03-04"),
        ("2019-03-04T10:11:12Z", "2019-03-04"),
        ("2019-03-04 10:11:12", "2019-03-04"),
        ("2019 Mar 4", "2019-03-04"),
        ("2019-2020", "2019"),
        ("unknown", ""),
    ],
)
def test_dates_of_data_files_are_read_in_the_usual_notations(text: str, date: str) -> None:
    assert date_from_text(text) == date


def test_numbers_of_thousands_of_digits_are_no_month_or_day():
    assert date_from_parts("2019", "9" * 5000, "1") == "2019"
    assert date_from_parts("2019", "3", "9" * 5000) == "2019-03"
