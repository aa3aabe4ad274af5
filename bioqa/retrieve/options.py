"""The options of one search, a value passed with the question."""

from dataclasses import dataclass, field

from bioqa.arguments import check_fields
from bioqa.errors import UsageError
from bioqa.index.filters import Filters

K1, B = 0.9, 0.4
"""Anserini's defaults."""
MAX_WEIGHT = 1_000_000_000
"""Maximum of k1 and of the title weight: Lucene computes with 32-bit floats, which far larger ones overflow."""
SYNTAXES = ("words", "lucene")


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """Options of a first-stage search. The defaults are Anserini's BM25 with a bag of words.

    ``k1`` and ``b`` are BM25's. ``filters`` restrict which articles may be found. ``title_weight`` × the BM25 score of the title
    is added to that of title and abstract. ``syntax`` "words" reads the question as a bag of words, "lucene" as a query for
    Lucene's classic parser: phrases, AND, OR, NOT, parentheses, wildcards, ``field:value``, ``date:[2019 TO 2021-06]``. ``rm3``
    expands the question with terms of the top articles (Anserini's RM3).

    Raises:
        UsageError: an option is out of range or of the wrong type, or RM3 is combined with Lucene's syntax.
    """

    k1: float = K1
    b: float = B
    filters: Filters = field(default_factory=Filters)
    title_weight: float = 0.0
    syntax: str = "words"
    rm3: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 <= self.k1 < float("inf"):
            raise UsageError(f"BM25's k1 must be finite and at least 0, not {self.k1}.")
        if not 0 <= self.b <= 1:
            raise UsageError(f"BM25's b must be between 0 and 1, not {self.b}.")
        if self.syntax not in SYNTAXES:
            raise UsageError(f"Unknown query syntax {self.syntax!r}. Choose {' or '.join(SYNTAXES)}.")
        if not 0 <= self.title_weight < float("inf"):
            raise UsageError(f"The title weight must be finite and at least 0, not {self.title_weight}.")
        if max(self.k1, self.title_weight) > MAX_WEIGHT:
            raise UsageError(
                f"BM25's k1 and the title weight must be at most {MAX_WEIGHT:,}, not {max(self.k1, self.title_weight):g}."
            )
        if self.rm3 and self.syntax != "words":
            raise UsageError("RM3 expands bag-of-words questions and cannot be combined with Lucene's query syntax.")
