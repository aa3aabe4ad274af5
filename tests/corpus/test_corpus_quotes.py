"""Quotations are found where they are; those that are not there are told apart, with what comes nearest."""

import pytest

from bioqa.corpus.quotes import CheckedQuote, check_quote
from bioqa.errors import UsageError
from bioqa.types import Article, Section

TITLE = "Statins and “low-density” lipoprotein"
METHODS = "METHODS: We gave 0.5 mg of drug A to 112 patients (mean age, 61 years)."
RESULTS = "RESULTS: The change was -3.2% (p < 0.05) in Sjögren's syndrome – a 10⁵-fold difference. It was safe."
ABSTRACT = METHODS + RESULTS
ARTICLE = Article(
    "7",
    TITLE,
    ABSTRACT,
    (
        Section("METHODS", "METHODS", 0, 9, len(METHODS)),
        Section("RESULTS", "RESULTS", len(METHODS), len(METHODS) + 9, len(ABSTRACT)),
    ),
)


def place(checked: CheckedQuote) -> str:
    """The text at the place that was found, which is as the offsets say."""
    assert checked.place is not None
    source = {"title": TITLE, "abstract": ABSTRACT}[checked.place.section]
    assert source[checked.place.begin : checked.place.end] == checked.place.text
    return checked.place.text


@pytest.mark.parametrize("text", [TITLE, METHODS, "p < 0.05", " It was safe. ", "112 patients", ABSTRACT])
def test_a_quotation_as_it_stands(text):
    checked = check_quote(ARTICLE, text)
    assert (checked.match, checked.occurrences, checked.variations, checked.similarity) == ("exact", 1, (), 1.0)
    assert place(checked) == text.strip()
    assert checked.differences == ()


@pytest.mark.parametrize(
    ("text", "variations", "found"),
    [
        ("We gave\n 0.5  mg", ("white space",), "We gave 0.5 mg"),
        ("61 years). RESULTS: The change", ("white space",), "61 years).RESULTS: The change"),
        ('Statins and "low-density"', ("quotation marks",), "Statins and “low-density”"),
        ("Sjögren’s syndrome - a", ("quotation marks", "hyphens and dashes"), "Sjögren's syndrome – a"),
        ("Sjo\u0308gren's", ("character forms",), "Sjögren's"),
        ("change was −3.2%", ("hyphens and dashes",), "change was -3.2%"),
        ("it was SAFE", ("capital letters",), "It was safe"),
        ("mean age 61 years", ("punctuation",), "mean age, 61 years"),
        ("“We gave 0.5 mg”", ("punctuation",), "We gave 0.5 mg"),
        ("mean Age 61 years", ("capital letters", "punctuation"), "mean age, 61 years"),
    ],
)
def test_a_quotation_in_other_typography(text, variations, found):
    checked = check_quote(ARTICLE, text)
    assert (checked.match, checked.variations, checked.similarity) == ("variant", variations, 1.0)
    assert place(checked) == found


@pytest.mark.parametrize(
    ("text", "similarity", "differences"),
    [
        ("We gave 5 mg of drug A", 6 / 7, [("5", "0.5")]),
        ("12 patients", 1 / 2, [("12", "112")]),
        ("The change was 3.2%", 4 / 5, [("3.2", "-3.2")]),
        ("p > 0.05", 2 / 3, [(">", "<")]),
        ("a 105-fold difference", 3 / 4, [("105", "10⁵")]),
        ("We gave 0.5 mg of the drug A", 7 / 8, [("the", "")]),
        ("We gave mg of drug A", 6 / 7, [("", "0.5")]),
        ("It was not safe.", 3 / 4, [("not", "")]),
    ],
)
def test_a_quotation_with_other_words(text, similarity, differences):
    checked = check_quote(ARTICLE, text)
    assert (checked.match, checked.occurrences) == ("none", 0)
    assert checked.similarity == pytest.approx(similarity, abs=0.001)
    assert [tuple(one) for one in checked.differences] == differences
    assert place(checked).endswith(".")  # whole sentences


def test_a_quotation_that_is_not_there_at_all():
    checked = check_quote(ARTICLE, "Bevacizumab improves vision")
    assert checked.match == "none"
    assert checked.similarity < 0.3
    assert place(checked)


def test_places_are_counted():
    article = Article("7", "Aspirin", "Aspirin helps. Aspirin helps. Aspirins help.")
    checked = check_quote(article, "Aspirin")
    assert (checked.occurrences, checked.place.section) == (3, "title")
    assert check_quote(article, "aspirin helps").occurrences == 2


def test_an_article_without_text():
    assert check_quote(Article("7", "", ""), "Aspirin") == CheckedQuote("none", None, similarity=0.0)


@pytest.mark.parametrize(("text", "message"), [(" … ", "no word"), ("", "no word"), ("a" * 5001, "5,001")])
def test_bad_quotations(text, message):
    with pytest.raises(UsageError, match=message):
        check_quote(ARTICLE, text)


def test_any_passage_is_found_and_any_changed_number_is_not():
    words = ABSTRACT.split(" ")
    for begin in range(len(words)):
        for end in range(begin + 1, len(words) + 1):
            text = " ".join(words[begin:end])
            if not any(character.isalnum() for character in text):
                continue
            assert check_quote(ARTICLE, text).match == "exact", text
            for number in ("0.5", "112", "61", "3.2", "0.05"):
                if number in text:
                    assert check_quote(ARTICLE, text.replace(number, number + "7")).match == "none", (text, number)
