"""Build pairs from articles alone: title → abstract, and a sentence of the abstract → the rest of it."""

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
from bioqa.pairs.build_pairs import SEED, PairCounts, PairsReport, write_group
from bioqa.pairs.duplicates import DEFAULT_JACCARD, normalize
from bioqa.pairs.held_out import HeldOut, read_held_out
from bioqa.pairs.negatives import Mining, NegativeSampler, NegativeSpec
from bioqa.pairs.pair_file import open_pairs
from bioqa.pairs.passage_pools import ArticlePool, abstract_text
from bioqa.pairs.question_groups import Passage, QuestionGroup
from bioqa.types import Article

ASKED = ("title", "sentence")
MIN_WORDS = 4
"""Words that a title or sentence must have to serve as a question."""
MIN_ABSTRACT = 200
"""Characters that an abstract, or the rest of one, must have."""


@dataclass(frozen=True, slots=True)
class TitleOptions:
    """Which pairs to build: ``asked`` is "title", "sentence" or both; ``limit`` is the maximum number of articles (None: all).

    ``jaccard`` is the similarity from which a title is a near-duplicate of a question of the files ``exclude``.

    Raises:
        UsageError: a value is out of range.
    """

    asked: tuple[str, ...] = ASKED
    negatives: tuple[NegativeSpec, ...] = ()
    limit: int | None = None
    exclude: tuple[Path, ...] = ()
    jaccard: float = DEFAULT_JACCARD
    seed: int = SEED

    def __post_init__(self) -> None:
        if not self.asked or not set(self.asked) <= set(ASKED):
            raise UsageError(f"Ask for title or sentence, not {', '.join(self.asked) or 'nothing'}.")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"The limit of articles must be 1 or more, not {self.limit}.")
        if any(spec.kind not in ("bm25", "random") for spec in self.negatives):
            raise UsageError("Negatives of abstracts are of the kinds bm25 and random.")


def build_title_pairs(
    sources: Sequence[str | Path],
    index: Index,
    out: str | Path,
    options: TitleOptions | None = None,
    *,
    mining: Mining | None = None,
    provenance: Mapping[str, Any] | None = None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> PairsReport:
    """Write a pair for the title of each article and for a random sentence of its abstract, with negatives from ``index``.

    The passage is the abstract, without the sentence that is the question. Articles without a title or abstract are skipped, and
    so is what matches a question, gold document or gold passage of the files to exclude. Memory does not grow with the sources.
    ``progress`` gets the number of questions done, and None, as their total is unknown.

    Raises:
        SourceError: a source cannot be read.
        PairsError: a file to exclude cannot be used.
        OutputError: ``out`` cannot be written.
    """
    options = options or TitleOptions()
    report = PairsReport(files=[PairCounts(Path(out))])
    excluded = read_held_out(options.exclude, options.jaccard, by_document=True)
    groups = _groups(_articles(sources, excluded, report, options.limit), options, excluded, report)
    sampler = NegativeSampler(
        ArticlePool(index, titles=False),
        options.negatives,
        seed=options.seed,
        held_out=[excluded],
        mining=mining,
    )
    with open_pairs([out], provenance, [*sources, *options.exclude]) as [writer]:
        for done, (group, sampled) in enumerate(sampler.sample(groups), start=1):
            negatives = [one for one in sampled if not _has_title(index, one.passage.document_id, group.question)]
            write_group(writer, report.files[0], group, negatives)
            progress(done, None)
    return report


def _has_title(index: Index, id: str, title: str) -> bool:
    """Whether an article has that title. Its abstract answers it as well: reviews are updated under the same title."""
    article = index.get(id)
    return article is not None and normalize(article.title) == normalize(title)


def _articles(
    sources: Sequence[str | Path], excluded: HeldOut, report: PairsReport, limit: int | None
) -> Iterator[Article]:
    """The first ``limit`` articles that have an abstract and are not excluded."""
    count = 0
    for source in expand_sources(sources):
        for record in read_source(source):
            if count == limit:
                return
            if not isinstance(record, Article) or len(record.abstract) < MIN_ABSTRACT:
                continue
            if excluded.has_passage(Passage(abstract_text(record), record.id)):
                report.excluded_passages += 1
                continue
            count += 1
            yield record


def _groups(
    articles: Iterator[Article], options: TitleOptions, excluded: HeldOut, report: PairsReport
) -> Iterator[QuestionGroup]:
    for article in articles:
        title = article.title.strip().strip("[]")
        if excluded.has_question(title):  # its sentences would answer that question too
            report.excluded_questions += 1
            continue
        if "title" in options.asked and len(title.split()) >= MIN_WORDS:
            passage = Passage(abstract_text(article), article.id)
            yield QuestionGroup(f"{article.id}-title", title, (passage,), documents=(article.id,))
        if "sentence" in options.asked:
            yield from _sentence_group(article, random.Random(f"{options.seed} {article.id} sentence"))


def _sentence_group(article: Article, rng: random.Random) -> Iterator[QuestionGroup]:
    found = [s for s in sentences(article) if s.section == "abstract" and len(s.text.split()) >= MIN_WORDS]
    if not found:
        return
    asked = rng.choice(found)
    before, after = article.abstract[: asked.begin].rstrip(), article.abstract[asked.end :].lstrip()
    rest = f"{before} {after}".strip()
    if len(rest) >= MIN_ABSTRACT:
        passage = Passage(rest, article.id)
        yield QuestionGroup(f"{article.id}-sentence", asked.text, (passage,), documents=(article.id,))
