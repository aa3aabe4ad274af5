"""Rank texts that no index has, as rerank services do."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bioqa.pipeline.answer import Ranked
from bioqa.pipeline.combine import rank
from bioqa.pipeline.windows import score_articles
from bioqa.types import Article, Question

if TYPE_CHECKING:
    from bioqa.rerank.reranker import Reranker


def rank_texts(reranker: "Reranker", question: str, texts: Sequence[str], *, aggregation: str = "maxp") -> Ranked:
    """The texts best first; the id of each candidate is its index in ``texts``, and equal logits keep their order.

    Raises what ``score_articles`` raises.
    """
    articles = [Article(str(place), "", text) for place, text in enumerate(texts)]
    scores = score_articles(reranker, question, articles, aggregation=aggregation)
    candidates = rank(
        [(article.id, 0.0) for article in articles], scores.logits.tolist(), scores.probabilities.tolist()
    )
    return Ranked(Question("query", question), candidates, scores.coverage, windows=int(scores.windows.sum()))
