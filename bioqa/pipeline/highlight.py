"""Answer sentences: the sentences of retrieved articles that answer a question best."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bioqa.corpus.sentences import sentences
from bioqa.types import Article, Snippet

if TYPE_CHECKING:
    from bioqa.rerank.reranker import Reranker

STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a an and are as at be by can do does did for from has have how if in into is it its list many most no not of on or
        such that the their then there these they this to was were what when where which who whom whose why will with""",
    )
)
"""Lucene's English stop words, and the words that make a sentence a question."""

OVERLAP_WEIGHT, POSITION_WEIGHT = 6.0, 2.0
"""What a sentence's logit gains if it has all the words of the question, and loses if it is the last of its abstract. Chosen for
the default reranker by hit rate and F1 on the BioASQ train and dev splits, with a look at the demo (``benchmarks/answers.py``).
"""


def best_sentences(
    reranker: "Reranker | None",
    question: str,
    articles: Sequence[Article],
    per_article: int = 2,
) -> list[tuple[Snippet, ...]]:
    """The ``per_article`` best sentences of each article for the question, best first; the articles keep their order.

    Candidates are the sentences of the abstract, or the title of an article without one. All candidates are scored in one call of
    the reranker, each after its article's title, and ordered by logit + ``OVERLAP_WEIGHT`` × ``overlap`` - ``POSITION_WEIGHT`` ×
    position (0: first sentence, 1: last). Without a reranker they are ordered by ``overlap``, and their probability is None. Ties
    keep the order of the text. An article without text has no sentences.

    Raises:
        QuestionError: the question leaves the reranker too few tokens for a sentence.
        ModelError: the reranker failed.
    """
    if not per_article:
        return [() for _ in articles]
    candidates = [_candidates(article) for article in articles]
    flat = [snippet for snippets in candidates for snippet in snippets]
    titles = [article.title for article, snippets in zip(articles, candidates, strict=True) for _ in snippets]
    scores = overlap(question, [snippet.text for snippet in flat])
    if reranker is not None:
        positions = [at / max(len(snippets) - 1, 1) for snippets in candidates for at in range(len(snippets))]
        pairs = [(question, _in_context(t, s)) for t, s in zip(titles, flat, strict=True)]
        scored = reranker.score_pairs(pairs, whole_questions=True)
        terms = zip(scored.logits.tolist(), scores, positions, strict=True)
        scores = [logit + OVERLAP_WEIGHT * share - POSITION_WEIGHT * position for logit, share, position in terms]
        flat = [replace(s, probability=p) for s, p in zip(flat, scored.probabilities.tolist(), strict=True)]
    best = []
    start = 0
    for snippets in candidates:
        own = range(start, start + len(snippets))
        best.append(tuple(flat[i] for i in sorted(own, key=scores.__getitem__, reverse=True)[:per_article]))
        start += len(snippets)
    return best


def _in_context(title: str, snippet: Snippet) -> str:
    """The sentence as the reranker reads it: after the title, because "It is caused by …" says little by itself."""
    return snippet.text if snippet.section == "title" or not title else f"{title}\n{snippet.text}"


def _candidates(article: Article) -> list[Snippet]:
    found = sentences(article)
    return [snippet for snippet in found if snippet.section == "abstract"] or found


def overlap(question: str, texts: Sequence[str]) -> list[float]:
    """The share (0 to 1) of the question's distinct words that occur in each text, ignoring case and stop words."""
    asked = _words(question)
    return [len(asked & _words(text)) / max(len(asked), 1) for text in texts]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold())) - STOP_WORDS
