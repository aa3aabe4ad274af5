"""Texts that are the same, or nearly: normal form, near-duplicate questions, groups of them.

Two questions are near-duplicates where the Jaccard similarity of their sets of stemmed words, common words left out, is
``THRESHOLD`` or more. All such pairs are found, by prefix filtering (Chaudhuri et al., ICDE 2006; Bayardo et al., WWW 2007).
"""

import hashlib
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from bioqa.errors import UsageError
from bioqa.retrieve.memory import STOP_WORDS

THRESHOLD = 0.75
"""Between the BioASQ editions 1-8, 9 and 10-11 it finds ten pairs of questions, all on one matter; 0.6 would find 88, most of them
one pattern with different names ("Describe the mechanism of action of …").
"""
_WORD = re.compile(r"\w+")
_QUESTION_WORDS = """
am any been can could did do does doing done give had has have how i list may me might must name please should than us was we were
what when where which who whom whose why would you
"""
_COMMON = STOP_WORDS | set(_QUESTION_WORDS.split())
_FIELDED = re.compile(r"\w+: (.*?); \w+: ")


def normalised(text: str) -> str:
    """The words of a text in lower case, apart by single blanks: case, punctuation and forms of characters do not count.

    A text without words is itself, so that only its like equals it.
    """
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold())) or text.strip()


def digest(text: str) -> bytes:
    """A digest of the normal form, to keep many texts in little memory."""
    return hashlib.blake2b(normalised(text).encode("utf-8", "replace"), digest_size=16).digest()


@cache
def _stemmer() -> Any:
    from Stemmer import Stemmer

    return Stemmer("porter")


def words(question: str) -> frozenset[str]:
    """The stemmed words that a question is compared by.

    Of a question of the form "name: value; name: value" (``cells``) only the first value counts, the rest being much the same in
    all. Where only common words are left, they count.
    """
    fielded = _FIELDED.match(question)
    found = normalised(fielded.group(1) if fielded else question).split()
    return frozenset(_stemmer().stemWords([word for word in found if word not in _COMMON] or found))


class NearDuplicates:
    """Finds which of ``questions`` are near-duplicates of a question: those of Jaccard similarity ``threshold`` or more.

    Raises:
        UsageError: ``threshold`` does not lie above 0 and up to 1.
    """

    def __init__(self, questions: Sequence[str], threshold: float = THRESHOLD) -> None:
        if not 0 < threshold <= 1:
            raise UsageError(f"The threshold of near-duplicates must lie above 0 and up to 1, not {threshold}.")
        self.threshold = threshold
        self._sets = [words(question) for question in questions]
        self._frequency = Counter(word for found in self._sets for word in found)
        self._postings: dict[str, list[int]] = defaultdict(list)
        for number, found in enumerate(self._sets):
            for word in self._prefix(found):
                self._postings[word].append(number)

    def _prefix(self, found: frozenset[str]) -> list[str]:
        """The rarest words of a set, so many that similar sets must share one of them."""
        order = sorted(found, key=lambda word: (self._frequency[word], word))
        return order[: len(order) - math.ceil(self.threshold * len(order) - 1e-9) + 1]

    def find(self, question: str) -> list[int]:
        """The numbers of the near-duplicates of ``question``, in order."""
        mine = words(question)
        near = {number for word in self._prefix(mine) for number in self._postings.get(word, ())}
        return sorted(number for number in near if _jaccard(mine, self._sets[number]) >= self.threshold - 1e-9)


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    common = len(a & b)
    return common / (len(a) + len(b) - common)


class Union:
    """Disjoint sets of the numbers below ``size``, joined by ``join``."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def find(self, number: int) -> int:
        """The least number of the set that holds ``number``."""
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def join(self, a: int, b: int) -> None:
        """Make one set of the two that hold ``a`` and ``b``."""
        a, b = self.find(a), self.find(b)
        self._parent[max(a, b)] = min(a, b)

    def sets(self) -> list[list[int]]:
        """The sets, each in order, by their least numbers."""
        found: dict[int, list[int]] = defaultdict(list)
        for number in range(len(self._parent)):
            found[self.find(number)].append(number)
        return list(found.values())


def near_groups(questions: Sequence[str], threshold: float = THRESHOLD) -> list[list[int]]:
    """The numbers of ``questions`` in groups: near-duplicates, and near-duplicates of those, are in one."""
    union = Union(len(questions))
    index = NearDuplicates(questions, threshold)
    for number, question in enumerate(questions):
        for other in index.find(question):
            union.join(number, other)
    return union.sets()


def digests(texts: Iterable[str]) -> set[bytes]:
    """The digests of all texts."""
    return {digest(text) for text in texts}
