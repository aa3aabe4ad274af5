"""Folded forms of words: without accents, ligatures and compatibility forms, with Greek letters spelled out.

``java/Folding.java`` does the same with these tables, for Lucene's analyzers.
"""

import re
import unicodedata

_LATIN = "ßss æae œoe øo đd ðd þth łl ħh ıi ŧt ŋn ĸq əa ɛe ɔo ɓb ɗd ɖd ƙk ƴy ƒf"
_IN_WORDS = {"’": "'", "ʼ": "'", "·": "", "\xad": "", "\u2060": "", "\ufeff": ""}
LETTERS = {pair[0]: pair[1:] for pair in _LATIN.split()} | _IN_WORDS
"""Letters of Latin alphabets that Unicode does not decompose, as Lucene's ASCIIFoldingFilter has them; and apostrophes, the Catalan
point, the soft hyphen and invisible joiners inside words."""
_NAMES = """
alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma sigma tau upsilon phi chi psi omega
"""
GREEK = dict(zip("αβγδεζηθικλμνξοπρςστυφχψω", _NAMES.split(), strict=True))
"""The names of the Greek letters."""
MAX_SYMBOLS = 2
"""A longer run of Greek letters is a Greek word, which keeps its letters."""
_ACCENTS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")
_GREEK_RUN = re.compile(f"([{''.join(GREEK)}]+)")


def forms(token: str) -> list[str]:
    """The folded forms of a word in lower case.

    The first is the whole word: "sjögren" → ["sjogren"], "α" → ["alpha"], "ﬁn" → ["fin"]. If a Greek letter stands inside it, its
    parts follow, each from a Greek letter to the next: "tnfα" → ["tnfalpha", "tnf", "alpha"]. Other scripts keep their letters and
    marks.
    """
    if token.isascii():
        return [token]
    plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", token))
    parts = [""]
    for run in _GREEK_RUN.split("".join(letter.lower() for letter in plain)):
        if run and run[0] in GREEK and len(run) <= MAX_SYMBOLS:
            for letter in run:
                parts = [*parts, GREEK[letter]] if parts[-1] else [GREEK[letter]]
        else:
            parts[-1] += "".join(LETTERS.get(letter, letter) for letter in run)
    parts = [unicodedata.normalize("NFC", part) for part in parts]
    return ["".join(parts), *parts] if len(parts) > 1 else parts


def fold(text: str) -> str:
    """A text with each of its words folded as a whole."""
    return text if text.isascii() else " ".join(forms(word.lower())[0] for word in text.split(" "))


def table(names: dict[str, str]) -> str:
    """A table as lines of a letter, a space and what stands for it, for Java."""
    return "\n".join(f"{letter} {name}" for letter, name in names.items())
