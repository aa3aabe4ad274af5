"""Scores for articles, those longer than the reranker reads in windows of whole sentences.

An article that fits beside the question is scored as one text, title and abstract. Otherwise each window is the title and as many
consecutive sentences as fit, and the logits of the windows are aggregated (``options.AGGREGATIONS``). The question is never
truncated.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bioqa.corpus.sentences import sentences
from bioqa.pipeline.answer import Coverage
from bioqa.pipeline.options import check_windows
from bioqa.types import Article, Snippet

if TYPE_CHECKING:
    from bioqa.rerank.reranker import Reranker, Scores


@dataclass(frozen=True, slots=True, eq=False)
class ArticleScores:
    """The scores of n articles, in the order they were given; arrays of shape (n,).

    ``logits`` and ``probabilities`` (calibrated logits): float32. ``windows``: int64, the number of texts in which an article was
    scored. ``characters``: int64, the length of its text. ``unread``: int64, how many of these characters the model did not
    read: truncated, after the first window under "firstp", or at the end of a sentence longer than a window.
    """

    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    windows: NDArray[np.int64]
    characters: NDArray[np.int64]
    unread: NDArray[np.int64]

    @property
    def coverage(self) -> Coverage:
        """How much of the articles was read."""
        return Coverage(
            scored=len(self.logits),
            split=int((self.windows > 1).sum()),
            truncated=int(self.truncated.sum()),
            characters=int(self.characters.sum()),
            unread=int(self.unread.sum()),
        )

    @property
    def truncated(self) -> NDArray[np.bool_]:
        """Whether each article was not read to the end; bool, shape (n,)."""
        return self.unread > 0


class _Parts(NamedTuple):
    """The windows scored of an article, and the number of characters that are in none."""

    windows: list[str]
    skipped: int = 0


def score_articles(
    reranker: "Reranker", question: str, articles: Sequence[Article], *, aggregation: str = "maxp", overlap: int = 0
) -> ArticleScores:
    """Score articles for a question, long ones by ``aggregation`` (a key of ``options.AGGREGATIONS``).

    Adjacent windows share ``overlap`` sentences where these leave room for another. The default is none: on the demo questions
    an overlap of one took a quarter more time and ranked no better.

    Raises:
        QuestionError: the question leaves too few tokens for articles.
        ModelError: the model failed.
        UsageError: there is no such aggregation, or ``overlap`` is less than 0.
    """
    return score_questions(reranker, [(question, articles)], aggregation=aggregation, overlap=overlap)[0]


def score_questions(
    reranker: "Reranker",
    asked: Sequence[tuple[str, Sequence[Article]]],
    *,
    aggregation: str = "maxp",
    overlap: int = 0,
) -> list[ArticleScores]:
    """The scores of ``score_articles`` for each (question, articles), with all pairs batched together."""
    check_windows(aggregation, overlap)
    parts = [list(_parts(reranker, question, articles, aggregation, overlap)) for question, articles in asked]
    pairs = [
        (question, window)
        for (question, _), own in zip(asked, parts, strict=True)
        for part in own
        for window in part.windows
    ]
    scores = reranker.score_pairs(pairs, whole_questions=True)
    found = []
    start = 0
    for (_, articles), own in zip(asked, parts, strict=True):
        found.append(_aggregated(reranker, scores, start, articles, own, mean=aggregation == "meanp"))
        start += sum(len(part.windows) for part in own)
    return found


def _aggregated(
    reranker: "Reranker",
    scores: "Scores",
    start: int,
    articles: Sequence[Article],
    parts: Sequence[_Parts],
    *,
    mean: bool,
) -> ArticleScores:
    """The scores of articles from those of their windows, the first of which is at ``start``."""
    counts = np.array([len(part.windows) for part in parts], dtype=np.int64)
    unread = np.array([part.skipped for part in parts], dtype=np.int64)
    logits = np.zeros(len(parts), dtype=np.float32)
    for place, count in enumerate(counts):
        own = scores.logits[start : start + count]
        logits[place] = own.mean() if mean else own.max()
        unread[place] += scores.unread[start : start + count].sum()
        start += int(count)
    characters = np.array([len(article.default_text()) for article in articles], dtype=np.int64)
    return ArticleScores(logits, reranker.calibrate(logits), counts, characters, unread)


def _parts(
    reranker: "Reranker", question: str, articles: Sequence[Article], aggregation: str, overlap: int
) -> Iterator[_Parts]:
    """The windows of each article."""
    room = reranker.max_passage_tokens(question)
    texts = [article.default_text() for article in articles]
    if room is None or aggregation == "truncate":
        yield from (_Parts([text]) for text in texts)
        return
    fits = [length <= room for length in reranker.count_tokens(texts)]
    too_long = [article for article, fit in zip(articles, fits, strict=True) if not fit]
    made = _split(reranker, too_long, room, overlap)
    for text, fit in zip(texts, fits, strict=True):
        if fit:
            yield _Parts([text])
        else:
            yield _first(next(made), text) if aggregation == "firstp" else _Parts(next(made))


def _first(made: list[str], text: str) -> _Parts:
    """Only the first of an article's windows."""
    return _Parts(made[:1], max(0, len(text) - len(made[0])) if len(made) > 1 else 0)


def _split(reranker: "Reranker", articles: Sequence[Article], room: int, overlap: int) -> Iterator[list[str]]:
    """The windows of articles that do not fit, each of ``room`` tokens at most, except for a sentence longer than that."""
    found = [sentences(article) for article in articles]
    counts = iter(reranker.count_tokens([snippet.text for own in found for snippet in own]))
    for article, own in zip(articles, found, strict=True):
        yield _windows(article, own, [next(counts) for _ in own], room, overlap)


def _windows(article: Article, found: list[Snippet], lengths: list[int], room: int, overlap: int) -> list[str]:
    """The windows of an article, from its title and sentences and their lengths in tokens."""
    head = ""
    if found and found[0].section == "title" and lengths[0] <= room // 2:  # a longer title counts as a sentence
        head = f"{article.title}\n"
        room -= lengths[0]
        found, lengths = found[1:], lengths[1:]
    if not found:
        return [article.default_text()]
    return [
        head + " ".join(snippet.text for snippet in found[begin:end]) for begin, end in windows(lengths, room, overlap)
    ]


def windows(lengths: Sequence[int], room: int, overlap: int = 0) -> Iterator[tuple[int, int]]:
    """Ranges (begin, end) of sentences whose ``lengths`` sum to ``room`` at most; they cover every sentence.

    Each range begins with the last ``overlap`` sentences of the previous one, or as many of them as leave room for another. A
    sentence longer than ``room`` is a range of its own.
    """
    begin = end = 0
    while end < len(lengths):
        begin = max(begin, end - overlap)
        while begin < end and sum(lengths[begin : end + 1]) > room:
            begin += 1
        used = sum(lengths[begin : end + 1])
        end += 1
        while end < len(lengths) and used + lengths[end] <= room:
            used += lengths[end]
            end += 1
        yield begin, end
