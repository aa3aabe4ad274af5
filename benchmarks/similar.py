"""Similar articles: how many of those that ``Pipeline.similar`` lists belong together by two kinds of judgement.

    python -m benchmarks.similar

**BioASQ.** Two articles are similar if experts named both for one question. The queries are the gold articles with a title among
the 175,166 ``abstracts`` that have at least one such partner there. The number of terms and the weight of the title in
``bioqa.index.query`` were chosen on these queries, without a reranker.

**MeSH.** Over the articles of ``pubmed-xml`` with MeSH headings, ``--queries`` of them at random (seed 0): the mean Jaccard
coefficient of the descriptors of an article and those of each of the ten that are most similar. In "text only" the query has no
headings, so that what finds the articles is not what judges them.

Baselines: plain BM25 with the title as the question, and articles at random. The abstracts are indexed once, in
``build/benchmarks``. With ``--rerank-depth 0`` nothing is reranked. The result goes to ``benchmarks/results/similar.json``.
"""

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.machine import DATA, RESULTS, environment, shared_data, write_result
from bioqa import (
    Article,
    BM25Retriever,
    Index,
    Pipeline,
    PipelineOptions,
    Reranker,
    build_index,
    expand_sources,
    read_questions,
    read_source,
)
from bioqa.errors import SourceError
from bioqa.evaluate.ranking import evaluate_run, means

MEASURES = ("nDCG@10", "R@10", "R@100")
TOP = 10
Ranking = Mapping[str, float]
Search = Callable[[Article], Ranking]


def opened(path: Path, sources: Sequence[Path]) -> Index:
    """The index of the sources at the path, built if it is not there."""
    if not path.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        build_index(path, sources)
    return Index(path)


def systems(index: Index, reranker: Reranker | None, depth: int, top: int) -> dict[str, Search]:
    """Name → what finds the articles for one, without itself."""
    retriever = BM25Retriever(index)
    rng = random.Random(0)

    def by_title(article: Article) -> Ranking:
        found = retriever.search(article.title, top + 1)
        return {one.id: one.score for one in found if one.id != article.id}

    def at_random(article: Article) -> Ranking:
        return {one.id: 1 / rank for rank, one in enumerate(index.sample(top, rng), start=1) if one.id != article.id}

    def similar(pipeline: Pipeline) -> Search:
        return lambda article: {hit.article.id: -hit.rank for hit in pipeline.similar(article).hits}

    options = PipelineOptions(top=top, sentences=0)
    found = {"random": at_random, "BM25 of the title": by_title, "similar": similar(Pipeline(retriever, None, options))}
    if reranker is not None:
        found["similar, reranked"] = similar(Pipeline(retriever, reranker, replace(options, rerank_depth=depth)))
    return found


def gold_partners(index: Index, data: Path) -> tuple[list[Article], dict[str, dict[str, int]]]:
    """The gold articles with a title that have partners in the index, and the partners of each."""
    partners: dict[str, dict[str, int]] = defaultdict(dict)
    for split in ("train", "dev", "test"):
        for question in read_questions(data / "bioasq" / f"{split}.json.gz"):
            found = [article.id for article in index.get_many(question.documents) if article is not None]
            for one, other in permutations(dict.fromkeys(found), 2):
                partners[one][other] = 1
    articles = [article for article in index.get_many(sorted(partners)) if article is not None and article.title]
    return articles, {article.id: partners[article.id] for article in articles}


def judged(articles: Iterable[Article], partners: dict[str, dict[str, int]], searches: Mapping[str, Search]) -> Any:
    """The measures of each system on BioASQ's articles."""
    articles = list(articles)
    results = {}
    for name, search in searches.items():
        run = {article.id: dict(search(article)) for article in articles}
        results[name] = {
            measure: round(value, 4) for measure, value in means(evaluate_run(partners, run, MEASURES)).items()
        }
    return {"queries": len(articles), "pairs": sum(map(len, partners.values())), "systems": results}


def with_headings(folder: Path) -> list[Article]:
    """The latest records of all readable files of a folder that have a title and MeSH headings."""
    articles: dict[str, Article] = {}
    for source in expand_sources([path for path in sorted(folder.iterdir()) if path.is_dir()]):
        try:
            articles.update((record.id, record) for record in read_source(source) if isinstance(record, Article))
        except SourceError:
            continue  # results of other services
    return [article for article in articles.values() if article.mesh and article.title]


def descriptors(article: Article) -> set[str]:
    """The descriptors of an article, without their qualifiers."""
    return {heading for heading in article.mesh if "/" not in heading}


def jaccard(article: Article, others: Sequence[Article]) -> float:
    """The mean Jaccard coefficient of the article's descriptors and those of each other, 0 for those that are missing."""
    own = descriptors(article)
    return sum(len(own & descriptors(one)) / len(own | descriptors(one)) for one in others) / TOP


def shared_headings(
    articles: Sequence[Article], index: Index, searches: Mapping[str, Search], *, text_only: bool = False
) -> dict[str, float]:
    """The mean Jaccard coefficient of each system's ten articles; ``text_only``: searched without the article's headings."""

    def value(search: Search, article: Article) -> float:
        found = search(replace(article, mesh=()) if text_only else article)
        return jaccard(article, [one for one in index.get_many(list(found)[:TOP]) if one is not None])

    return {name: round(fmean(value(search, one) for one in articles), 4) for name, search in searches.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=300, help="Articles of pubmed-xml.  [default: 300]")
    parser.add_argument("--rerank-depth", type=int, default=50, help="[default: 50]")
    parser.add_argument("--out", type=Path, default=RESULTS / "similar.json")
    options = parser.parse_args()
    data = shared_data()
    reranker = Reranker() if options.rerank_depth else None
    with opened(DATA / "similar-abstracts", sorted((data / "abstracts").glob("*.jsonl.gz"))) as index:
        articles, partners = gold_partners(index, data)
        bioasq = judged(articles, partners, systems(index, reranker, options.rerank_depth, 100))
        bioasq["articles"] = len(index)
    pool = with_headings(data / "pubmed-xml")
    lines = DATA / "similar-headings.jsonl"
    records = ({"id": one.id, "title": one.title, "text": one.abstract, "mesh": one.mesh} for one in pool)
    lines.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
    folder = DATA / "similar-headings"
    build_index(folder, [lines], overwrite=True)
    with Index(folder) as index:
        chosen = random.Random(0).sample(pool, min(options.queries, len(pool)))
        searches = systems(index, reranker, options.rerank_depth, TOP)
        mesh = {
            "articles": len(index),
            "queries": len(chosen),
            "jaccard@10": shared_headings(chosen, index, searches),
            "jaccard@10, text only": shared_headings(chosen, index, searches, text_only=True),
        }
    write_result(
        options.out,
        {
            "what": "similar articles by two kinds of judgement",
            "environment": environment(),
            "bioasq": bioasq,
            "mesh": mesh,
        },
    )


if __name__ == "__main__":
    main()
