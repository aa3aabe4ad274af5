"""Articles longer than a reranker reads: the ways to score them, and how much of them was read."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from bioqa.errors import QuestionError, UsageError

if TYPE_CHECKING:
    from bioqa.rerank.reranker import Reranker
    from bioqa.rerank.windows import ArticleScores

LONG = {
    "max": "the highest logit of its windows: it answers as well as its best part does",
    "first": "the logit of its first window, which is all that is read",
    "mean": "the mean logit of its windows",
    "cut": "the logit of as much of its text as fits, up to the token",
}
"""Name → what the logit of an article that does not fit is. The first two are MaxP and FirstP of Dai and Callan (SIGIR 2019); their
SumP, which longer articles gain by, is a mean here."""


def check_long(long: str, overlap: int) -> None:
    """Raise UsageError unless ``long`` is one of ``LONG`` and ``overlap`` 0 or more."""
    if long not in LONG:
        raise UsageError(f"Long articles are scored by {', '.join(LONG)}, not {long!r}.")
    if overlap < 0:
        raise UsageError(f"Windows must overlap by 0 or more sentences, not {overlap}.")


def check_lengths(reranker: "Reranker", questions: Iterable[tuple[str, str]]) -> None:
    """Raise QuestionError, with its id, for the first (id, question) that leaves the reranker too little room for articles."""
    for id, question in questions:
        try:
            reranker.passage_tokens(question)
        except QuestionError as problem:
            raise QuestionError(f"Question {id}: {problem}") from None


@dataclass(slots=True)
class Coverage:
    """How much of the articles scored so far was read.

    ``scored`` articles; of them, ``split`` were read in more than one window and ``cut`` not to the end. They have so many
    ``characters`` of text, ``unread`` ones among them.
    """

    scored: int = 0
    split: int = 0
    cut: int = 0
    characters: int = 0
    unread: int = 0

    def __add__(self, other: "Coverage") -> "Coverage":
        """Both together."""
        return Coverage(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    def add(self, scores: "ArticleScores") -> None:
        """Count some more articles."""
        self.scored += len(scores.logits)
        self.split += int((scores.windows > 1).sum())
        self.cut += int(scores.truncated.sum())
        self.characters += int(scores.characters.sum())
        self.unread += int(scores.unread.sum())
