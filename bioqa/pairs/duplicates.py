"""Equal and nearly equal texts: a normal form, near-duplicate questions, and sets of them.

Two questions are near-duplicates if the Jaccard similarity of their sets of stemmed words, without common words, is
``DEFAULT_JACCARD`` or more. Prefix filtering finds all such pairs (Chaudhuri et al., ICDE 2006; Bayardo et al., WWW 2007).
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
from bioqa.retrieve.analyze import STOP_WORDS

DEFAULT_JACCARD = 0.75
"""Between the BioASQ editions 1-8, 9 and 10-11 it finds ten pairs of questions, all on the same subject; 0.6 would find 88, most of
them one pattern with different names ("Describe the mechanism of action of …").
"""
_WORD = re.compile(r"\w+")
_QUESTION_WORDS = """
am any been can could did do does doing done give had has have how i list may me might must name please should than us was we were
what when where which who whom whose why would you
"""
_COMMON = STOP_WORDS | set(_QUESTION_WORDS.split())
_LABELED = re.compile(r"\w+: (.*?); \w+: ")


def normalize(text: str) -> str:
    """The words of a text in lower case, separated by single spaces, without punctuation and in Unicode's form NFKC.

    A text without words is returned as it is, stripped.
    """
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold())) or text.strip()


def text_digest(text: str) -> bytes:
    """A 16-byte digest of the normal form, to compare many texts in little memory."""
    return hashlib.blake2b(normalize(text).encode("utf-8", "replace"), digest_size=16).digest()


@cache
def _stemmer() -> Any:
    from Stemmer import Stemmer

    return Stemmer("porter")


def stemmed_words(question: str) -> frozenset[str]:
    """The stemmed words by which a question is compared: all but common ones, or those if there are no others.

    If the question has the form "name: value; name: value" (see ``cell_ontology``), only its first value counts: the others are
    much the same in all questions.
    """
    labeled = _LABELED.match(question)
    words = normalize(labeled.group(1) if labeled else question).split()
    return frozenset(_stemmer().stemWords([word for word in words if word not in _COMMON] or words))


class NearDuplicates:
    """Finds the near-duplicates of a question among ``questions``: those with a Jaccard similarity of ``jaccard`` or more.

    Raises:
        UsageError: ``jaccard`` is not above 0 and at most 1.
    """

    def __init__(self, questions: Sequence[str], jaccard: float = DEFAULT_JACCARD) -> None:
        if not 0 < jaccard <= 1:
            raise UsageError(f"The Jaccard similarity of near-duplicates must be above 0 and at most 1, not {jaccard}.")
        self.jaccard = jaccard
        self._sets = [stemmed_words(question) for question in questions]
        self._frequency = Counter(word for words in self._sets for word in words)
        self._postings: dict[str, list[int]] = defaultdict(list)
        for number, words in enumerate(self._sets):
            for word in self._prefix(words):
                self._postings[word].append(number)

    def _prefix(self, words: frozenset[str]) -> list[str]:
        """The rarest words of a set, enough of them that every similar set contains at least one."""
        order = sorted(words, key=lambda word: (self._frequency[word], word))
        return order[: len(order) - math.ceil(self.jaccard * len(order) - 1e-9) + 1]

    def find(self, question: str) -> list[int]:
        """The positions of the near-duplicates of ``question`` in the list of questions, ascending."""
        words = stemmed_words(question)
        similar = {number for word in self._prefix(words) for number in self._postings.get(word, ())}
        return sorted(number for number in similar if _jaccard(words, self._sets[number]) >= self.jaccard - 1e-9)


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    common = len(a & b)
    return common / (len(a) + len(b) - common)


def connected_sets(size: int, edges: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The connected components of a graph of the nodes 0 to ``size`` - 1, each ascending, in order of their smallest nodes."""
    if not size:
        return []
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.array(list(edges), dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(ends.shape[1], dtype=bool), (ends[0], ends[1])), shape=(size, size))
    found: dict[int, list[int]] = defaultdict(list)
    for node, component in enumerate(connected_components(graph, directed=False)[1].tolist()):
        found[component].append(node)
    return list(found.values())


def near_duplicate_sets(questions: Sequence[str], jaccard: float = DEFAULT_JACCARD) -> list[list[int]]:
    """The positions of ``questions`` in sets: near-duplicates share a set, as do near-duplicates of near-duplicates."""
    index = NearDuplicates(questions, jaccard)
    edges = ((number, other) for number, question in enumerate(questions) for other in index.find(question))
    return connected_sets(len(questions), edges)
