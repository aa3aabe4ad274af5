"""Text → tokens in Python, as the analyzers of an index make them: words, lower case, folded forms, no stop words, Porter stems."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from bioqa.index.folding import forms

# Lucene's English stop words (EnglishAnalyzer.ENGLISH_STOP_WORDS_SET), which Anserini's analyzer removes.
_STOP_WORDS = """
a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to was will with
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
MAX_LENGTH = 255
"""Lucene's StandardTokenizer cuts longer words."""
_SYLLABLE = re.compile("[aeiou][^aeiou]|(?<=[^aeiouy])y[^aeiouy]")
"""A vowel and a consonant, in Porter's sense: his measure m is above 0."""
_POSSESSIVES = ("'s", "’s", "＇s")


class Analyzed(NamedTuple):
    """The tokens of a text, and its length in words without stop words: folded forms beside a word do not count."""

    tokens: list[str]
    length: int


def _words() -> Any:
    """The pattern of a word in Lucene's StandardTokenizer: the word boundaries of Unicode's UAX #29.

    Unlike Unicode since version 15.1, Lucene's version 12.1 has the colon among the marks inside words ("a:b").
    """
    import regex

    after = r"[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]*"
    quote = rf"(?:\p{{WB=Single_Quote}}{after}|\p{{WB=Double_Quote}}{after}(?=\p{{WB=Hebrew_Letter}}))"
    letter = rf"(?:\p{{WB=ALetter}}{after}|\p{{WB=Hebrew_Letter}}{after}{quote}?)"
    number = rf"\p{{WB=Numeric}}{after}"
    katakana = rf"\p{{WB=Katakana}}{after}"
    joiner = rf"(?:\p{{WB=ExtendNumLet}}{after})"
    in_word = rf"[\p{{WB=MidLetter}}:\p{{WB=MidNumLet}}\p{{WB=Single_Quote}}]{after}"
    in_number = rf"[\p{{WB=MidNum}}\p{{WB=MidNumLet}}\p{{WB=Single_Quote}}]{after}"
    numbers = rf"{number}(?:(?:{joiner}*|{in_number}){number})*"
    letters = rf"{letter}(?:(?:{joiner}*|{in_word}){letter})*"
    part = rf"(?:{katakana}(?:{joiner}*{katakana})*|(?:{numbers}|{letters})+)"
    word = rf"{joiner}*{part}(?:{joiner}+{part})*{joiner}*"
    single = rf"[\p{{Han}}\p{{Hiragana}}]{after}"
    emoji = rf"\p{{Extended_Pictographic}}{after}(?:(?<=\u200d)\p{{Extended_Pictographic}}{after})*"
    flag = r"\p{Regional_Indicator}{2}"
    keycap = r"[#*]\ufe0f?\u20e3"
    complex = rf"(?:\p{{Line_Break=Complex_Context}}{after})+"
    return regex.compile("|".join((word, single, emoji, flag, keycap, complex)), regex.VERSION1)


def _stemmer() -> Callable[[list[str]], list[str]]:
    """Porter's stemmer as Martin Porter revised it (https://tartarus.org/martin/PorterStemmer/), which is Lucene's.

    PyStemmer's is the one published in 1980. The revision leaves words of two letters alone and knows two more endings.
    """
    from Stemmer import Stemmer

    published = Stemmer("porter")

    def stem(words: list[str]) -> list[str]:
        stems: list[str] = published.stemWords(words)
        for at, found in enumerate(stems):
            if len(words[at]) <= 2:
                stems[at] = words[at]
            elif found.endswith(("bli", "logi")) and not words[at].endswith("e"):
                ending, revised = ("bli", "ble") if found.endswith("bli") else ("logi", "log")
                before = found.removesuffix(ending)
                if _SYLLABLE.search(before):
                    stems[at] = published.stemWord(before + revised)
        return stems

    return stem


def analyzer() -> Callable[[str, bool], Analyzed]:
    """A function of a text and whether it is an article's: then words stay beside their folded forms, else those replace them."""
    stem = _stemmer()
    pattern = _words()

    def analyze(text: str, keep: bool) -> Analyzed:
        kept: list[str] = []
        length = 0
        for found in pattern.findall(text):
            for word in _cut(pattern, found):
                lower = word.lower() if word.isascii() else "".join(letter.lower()[0] for letter in word)
                if lower.endswith(_POSSESSIVES):
                    lower = lower[:-2]
                if lower.isascii():
                    if lower not in STOP_WORDS:
                        kept.append(lower)
                        length += 1
                    continue
                folded = forms(lower)
                if keep and folded[0] != lower:
                    folded.insert(0, lower)
                kept += [form for form in folded if form not in STOP_WORDS]
                length += folded[0] not in STOP_WORDS
        return Analyzed(stem(kept), length)

    return analyze


def _cut(pattern: Any, word: str) -> list[str]:
    """The words that Lucene's tokenizer, which sees ``MAX_LENGTH`` characters at a time, finds in a word."""
    if len(word) <= MAX_LENGTH:
        return [word]
    pieces = []
    at = 0
    while found := pattern.search(word, at):
        found = pattern.match(word, found.start(), found.start() + MAX_LENGTH)
        pieces.append(found.group())
        at = found.end()
    return pieces
