"""Articles longer than a reranker reads, scored in windows of whole sentences.

An article that fits is scored as one text (title and abstract). Otherwise each window is the title and as many sentences in a
row as fit, the last sentence of one being the first of the next, and the article's logit is the highest of its windows': it
answers as well as its best part does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bioqa.rerank.sentences import sentences
from bioqa.types import Article

if TYPE_CHECKING:
    from bioqa.rerank.reranker import Reranker


@dataclass(frozen=True, slots=True, eq=False)
class ArticleScores:
    """What a model made of n articles, in the order they were given; arrays of shape (n,).

    ``logits`` and ``probabilities`` (its logistic function) float32; ``windows`` int64, the texts an article was scored in;
    ``truncated`` bool, whether text of it was not read, a sentence being longer than the model's limit.
    """

    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    windows: NDArray[np.int64]
    truncated: NDArray[np.bool_]


def score_articles(reranker: "Reranker", question: str, articles: Sequence[Article]) -> ArticleScores:
    """Score articles for a question, in windows where they are longer than the reranker reads.

    Raises what the reranker raises.
    """
    texts = list(_texts(reranker, question, articles))
    scores = reranker.score_pairs([(question, text) for windows in texts for text in windows])
    counts = np.array([len(windows) for windows in texts], dtype=np.int64)
    starts = np.cumsum(counts) - counts
    if not len(starts):
        return ArticleScores(scores.logits, scores.probabilities, counts, scores.truncated)
    return ArticleScores(
        np.maximum.reduceat(scores.logits, starts),
        np.maximum.reduceat(scores.probabilities, starts),
        counts,
        np.logical_or.reduceat(scores.truncated, starts),
    )


def _texts(reranker: "Reranker", question: str, articles: Sequence[Article]) -> Iterator[list[str]]:
    """The texts that each article is scored in."""
    if reranker.max_length is None:
        yield from ([article.default_text()] for article in articles)
        return
    room = reranker.max_length - reranker.pair_tokens - reranker.count_tokens([question])[0]
    split = [[snippet.text for snippet in sentences(article) if snippet.section == "abstract"] for article in articles]
    counts = iter(
        reranker.count_tokens(
            [text for article, parts in zip(articles, split, strict=True) for text in (article.title, *parts)]
        )
    )
    for article, parts in zip(articles, split, strict=True):
        title = next(counts)
        lengths = [next(counts) for _ in parts]
        if title + sum(lengths) <= room or not parts:
            yield [article.default_text()]
        elif title > room // 2:
            yield [" ".join(parts[begin:end]) for begin, end in windows(lengths, room)]
        else:
            yield [
                "\n".join((article.title, " ".join(parts[begin:end]))) for begin, end in windows(lengths, room - title)
            ]


def windows(lengths: Sequence[int], room: int) -> Iterator[tuple[int, int]]:
    """Runs of sentences (begin, end) whose ``lengths`` add up to ``room`` at most; each sentence is in one at least.

    A run begins with the last sentence of the run before it where that leaves room for another. A sentence longer than ``room``
    is a run by itself.
    """
    begin = 0
    while True:
        end, used = begin + 1, lengths[begin]
        while end < len(lengths) and used + lengths[end] <= room:
            used += lengths[end]
            end += 1
        yield begin, end
        if end == len(lengths):
            return
        overlaps = end - begin > 1 and lengths[end - 1] + lengths[end] <= room
        begin = end - 1 if overlaps else end
