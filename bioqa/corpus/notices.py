"""Links from articles to the notices about them: a notice appears before the article's own record is re-issued."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bioqa.corpus.citation_formats import source_line
from bioqa.types import Article, Link


def with_notices(articles: Sequence[Article], notices: Iterable[Article]) -> list[Article]:
    """The articles, each with the links to notices about it that its own record lacks."""
    by_id: dict[str, dict[tuple[str, str], Link]] = {}
    for notice in notices:
        for id, kind in notice.links_back():
            by_id.setdefault(id, {})[kind, notice.id] = Link(kind, notice.id, source_line(notice))
    return [_with_links(article, by_id[article.id]) if article.id in by_id else article for article in articles]


def _with_links(article: Article, found: dict[tuple[str, str], Link]) -> Article:
    own = {(link.type, link.id) for link in article.links}
    more = [link for key, link in found.items() if key not in own]
    return replace(article, links=(*article.links, *more)) if more else article
