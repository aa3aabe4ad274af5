"""Articles as their own questions: title → abstract, and a sentence of the abstract → the rest of it."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioqa.corpus.read_source import read_source
from bioqa.corpus.sentences import sentences
from bioqa.corpus.sources import expand_sources
from bioqa.errors import UsageError
from bioqa.index.reader import Index
from bioqa.pairs.build_pairs import SEED, BuildReport, Written, write_group
from bioqa.pairs.duplicates import THRESHOLD
from bioqa.pairs.held_out import Excluded, read_excluded
from bioqa.pairs.negatives import Drawer, Mining, Negatives
from bioqa.pairs.pair_file import open_pairs
from bioqa.pairs.passage_pools import Articles, abstract_text
from bioqa.pairs.question_groups import Group, Passage
from bioqa.types import Article

ASKED = ("title", "sentence")
LEAST_WORDS = 4
"""Words that a title or sentence needs to stand for a question."""
LEAST_ABSTRACT = 200
"""Characters that an abstract, or the rest of one, needs."""


@dataclass(frozen=True, slots=True)
class TitleOptions:
    """What pairs to build: ``asked`` "title", "sentence" or both; at most ``articles`` articles are taken (None: all).

    Raises:
        UsageError: a value is out of range.
    """

    asked: tuple[str, ...] = ASKED
    negatives: tuple[Negatives, ...] = ()
    articles: int | None = None
    exclude: tuple[Path, ...] = ()
    threshold: float = THRESHOLD
    seed: int = SEED

    def __post_init__(self) -> None:
        if not self.asked or not set(self.asked) <= set(ASKED):
            raise UsageError(f"What is asked is title or sentence, not {', '.join(self.asked) or 'nothing'}.")
        if self.articles is not None and self.articles < 1:
            raise UsageError(f"The number of articles must be 1 or more, not {self.articles}.")
        if any(one.kind not in ("bm25", "random") for one in self.negatives):
            raise UsageError("Negatives of abstracts are of the kinds bm25 and random.")


def build_titles(
    sources: Sequence[str | Path],
    index: Index,
    out: str | Path,
    options: TitleOptions | None = None,
    *,
    mining: Mining | None = None,
    made: Mapping[str, Any] | None = None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> BuildReport:
    """Write a pair for each article's title, or a random sentence of its abstract, with negatives from ``index``.

    The passage is the abstract, less the sentence asked. Articles without abstract or title, and what equals a question, gold
    document or gold passage of the files to exclude, are left out. Memory does not grow with the sources. ``progress`` is told of
    the questions done; their number is not known.

    Raises:
        SourceError: a source cannot be read.
        PairsError: a file to exclude cannot be used.
        OutputError: ``out`` cannot be written.
    """
    options = options or TitleOptions()
    report = BuildReport(files=[Written(Path(out))])
    excluded = read_excluded(options.exclude, options.threshold)
    groups = _groups(_articles(sources, excluded, report, options.articles), options, excluded, report)
    drawer = Drawer(
        Articles(index, titles=False),
        options.negatives,
        seed=options.seed,
        barred=lambda passage: excluded.has_document(passage.document_id) or excluded.has_passage(passage),
        mining=mining,
    )
    with open_pairs([out], made, [*sources, *options.exclude]) as [writer]:
        for done, (group, drawn) in enumerate(drawer.draw(groups), start=1):
            write_group(writer, report.files[0], group, drawn)
            progress(done, None)
    return report


def _articles(
    sources: Sequence[str | Path], excluded: Excluded, report: BuildReport, most: int | None
) -> Iterator[Article]:
    """The articles with an abstract that may be used, ``most`` of them."""
    count = 0
    for source in expand_sources(sources):
        for record in read_source(source):
            if count == most:
                return
            if not isinstance(record, Article) or len(record.abstract) < LEAST_ABSTRACT:
                continue
            if excluded.has_document(record.id) or excluded.has_passage(Passage(abstract_text(record))):
                report.excluded_passages += 1
                continue
            count += 1
            yield record


def _groups(
    articles: Iterator[Article], options: TitleOptions, excluded: Excluded, report: BuildReport
) -> Iterator[Group]:
    for article in articles:
        title = article.title.strip().strip("[]")
        if excluded.has_question(title):  # its sentences would answer that question too
            report.excluded_questions += 1
            continue
        if "title" in options.asked and len(title.split()) >= LEAST_WORDS:
            passage = Passage(abstract_text(article), article.id)
            yield Group(f"{article.id}-title", title, (passage,), documents=(article.id,))
        if "sentence" in options.asked:
            yield from _sentence_group(article, random.Random(f"{options.seed} {article.id} sentence"))


def _sentence_group(article: Article, rng: random.Random) -> Iterator[Group]:
    found = [s for s in sentences(article) if s.section == "abstract" and len(s.text.split()) >= LEAST_WORDS]
    if not found:
        return
    asked = rng.choice(found)
    before, after = article.abstract[: asked.begin].rstrip(), article.abstract[asked.end :].lstrip()
    rest = f"{before} {after}".strip()
    if len(rest) >= LEAST_ABSTRACT:
        yield Group(f"{article.id}-sentence", asked.text, (Passage(rest, article.id),), documents=(article.id,))
