"""Articles longer than a reranker reads, scored in windows of whole sentences.

An article that fits is scored as one text (title and abstract). Otherwise each window is the title and as many sentences in a
row as fit, and the article's logit is the highest of its windows': it answers as well as its best part does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bioqa.rerank.sentences import sentences
from bioqa.types import Article, Snippet

if TYPE_CHECKING:
    from bioqa.rerank.reranker import Reranker


@dataclass(frozen=True, slots=True, eq=False)
class ArticleScores:
    """What a model made of n articles, in the order they were given; arrays of shape (n,).

    ``logits`` and ``probabilities`` (its logistic function) float32; ``windows`` int64, the texts an article was scored in;
    ``truncated`` bool, whether text of it was not read, a sentence being longer than the model's limit. ``best`` holds, for each
    article, the sentences of its best window.
    """

    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    windows: NDArray[np.int64]
    truncated: NDArray[np.bool_]
    best: list[tuple[Snippet, ...]]


class Window(NamedTuple):
    """One text that an article is scored in, and the sentences of the abstract that it holds."""

    text: str
    sentences: tuple[Snippet, ...]


def score_articles(reranker: "Reranker", question: str, articles: Sequence[Article]) -> ArticleScores:
    """Score articles for a question, in windows where they are longer than the reranker reads.

    Raises what the reranker raises.
    """
    parts = list(_windows(reranker, question, articles))
    scores = reranker.score_pairs([(question, window.text) for windows in parts for window in windows])
    counts = np.array([len(windows) for windows in parts], dtype=np.int64)
    starts = np.cumsum(counts) - counts
    if not len(starts):
        return ArticleScores(scores.logits, scores.probabilities, counts, scores.truncated, [])
    places = [
        start + int(scores.logits[start : start + count].argmax()) for start, count in zip(starts, counts, strict=True)
    ]
    best = [windows[place - start].sentences for windows, place, start in zip(parts, places, starts, strict=True)]
    truncated = np.logical_or.reduceat(scores.truncated, starts)
    return ArticleScores(scores.logits[places], scores.probabilities[places], counts, truncated, best)


def _windows(reranker: "Reranker", question: str, articles: Sequence[Article]) -> Iterator[list[Window]]:
    """The texts that each article is scored in."""
    split = [tuple(s for s in sentences(article) if s.section == "abstract") for article in articles]
    if reranker.max_length is None:
        yield from ([Window(article.default_text(), parts)] for article, parts in zip(articles, split, strict=True))
        return
    room = reranker.max_length - reranker.pair_tokens - reranker.count_tokens([question])[0]
    texts = [
        text
        for article, parts in zip(articles, split, strict=True)
        for text in (article.title, *(s.text for s in parts))
    ]
    counts = iter(reranker.count_tokens(texts))
    for article, parts in zip(articles, split, strict=True):
        title = next(counts)
        lengths = [next(counts) for _ in parts]
        if title + sum(lengths) <= room or not parts:
            yield [Window(article.default_text(), parts)]
            continue
        with_title = title <= room // 2  # a title that leaves little room for sentences is left out
        head = f"{article.title}\n" if with_title and article.title else ""
        yield [
            Window(head + " ".join(s.text for s in parts[begin:end]), parts[begin:end])
            for begin, end in windows(lengths, room - title if with_title else room)
        ]


def windows(lengths: Sequence[int], room: int) -> Iterator[tuple[int, int]]:
    """Runs of sentences (begin, end) whose ``lengths`` add up to ``room`` at most; each sentence is in one of them.

    A sentence longer than ``room`` is a run by itself. On the demo questions, runs that overlapped by a sentence cost a quarter
    more time and ranked no better.
    """
    begin = used = 0
    for place, length in enumerate(lengths):
        if place > begin and used + length > room:
            yield begin, place
            begin, used = place, 0
        used += length
    if len(lengths):
        yield begin, len(lengths)
