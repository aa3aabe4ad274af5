"""Build pairs files from questions with gold passages, with negatives, optionally one file per split."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from bioqa.errors import PairsError, UsageError
from bioqa.index.reader import Index
from bioqa.pairs.duplicates import DEFAULT_JACCARD, normalize
from bioqa.pairs.held_out import HeldOut, read_held_out
from bioqa.pairs.negatives import (
    Mining,
    Negative,
    NegativeKind,
    NegativeSampler,
    NegativeSpec,
    SentenceNegatives,
    scale_to_share,
)
from bioqa.pairs.pair_file import Pair, PairWriter, open_pairs
from bioqa.pairs.passage_pools import ArticlePool, PassagePool, Pool
from bioqa.pairs.question_groups import Passage, QuestionGroup, read_groups
from bioqa.pairs.split import Split, add_related, assign_splits, document_keys, gold_keys, split_path

SEED = 42
PASSAGES = ("snippets", "abstracts", "articles")
KINDS = ("bm25", "random", "sentence")


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Which pairs to build.

    ``passages``: gold snippets, or gold documents as "abstracts", or as "articles" with their titles. ``share`` scales the numbers
    of ``negatives`` so that about this share of the pairs is positive. ``max_positives`` limits the gold passages of a question.
    Questions and passages of the files ``exclude`` are not used. ``jaccard`` is the similarity from which two questions are
    near-duplicates.

    Raises:
        UsageError: a value is out of range.
    """

    passages: Literal["snippets", "abstracts", "articles"] = "snippets"
    negatives: tuple[NegativeSpec, ...] = ()
    share: float | None = None
    max_positives: int | None = None
    split: tuple[Split, ...] = ()
    exclude: tuple[Path, ...] = ()
    jaccard: float = DEFAULT_JACCARD
    seed: int = SEED

    def __post_init__(self) -> None:
        if self.passages not in PASSAGES:
            raise UsageError(f"The passages must be one of {', '.join(PASSAGES)}, not {self.passages!r}.")
        if self.max_positives is not None and self.max_positives < 1:
            raise UsageError(f"The maximum number of positives must be 1 or more, not {self.max_positives}.")
        if not self.kinds <= set(KINDS):
            raise UsageError(
                "Negatives of questions are of the kinds bm25, random and sentence; sibling is for `bioqa pairs cells`."
            )

    @property
    def kinds(self) -> set[str]:
        """The kinds of negatives to sample."""
        return {spec.kind for spec in self.negatives}

    @property
    def scaled_negatives(self) -> Sequence[NegativeSpec]:
        """The negatives to sample, with the numbers that give ``share``."""
        return self.negatives if self.share is None else scale_to_share(self.negatives, self.share)


@dataclass(slots=True)
class PairCounts:
    """What one file contains: questions, pairs with label 1, and all pairs by kind."""

    path: Path
    questions: int = 0
    positives: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        """All pairs."""
        return self.kinds.total()


@dataclass(slots=True)
class PairsReport:
    """The files written, and what was dropped: excluded questions and passages, gold documents that are not in the index, and
    negatives given by a source that match a gold passage, are duplicates, or are in another split.
    """

    files: list[PairCounts] = field(default_factory=list)
    excluded_questions: int = 0
    excluded_passages: int = 0
    missing_documents: int = 0
    dropped_negatives: int = 0


def build_pairs(
    sources: Sequence[str | Path],
    out: str | Path,
    options: BuildOptions | None = None,
    *,
    index: Index | None = None,
    mining: Mining | None = None,
    provenance: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> PairsReport:
    """Write the pairs of all questions of ``sources`` (see ``read_groups``) to ``out``, or to one file per split beside it.

    Negatives are sampled from the passages of the same split, or from ``index`` if passages are abstracts or articles; ``mining``
    chooses the BM25 negatives by a model. No two splits share a question, a near-duplicate or a passage. ``provenance`` goes into
    the files' metadata; ``progress`` gets the number of questions done and their total.

    Raises:
        PairsError, QuestionError: a source cannot be used, nothing of it remains, or a split would be empty.
        UsageError: the options are incompatible.
        OutputError: a file cannot be written.
    """
    options = options or BuildOptions()
    _check(options, index, mining)
    builder = _Builder(options, index, mining)
    groups = add_related(builder.usable(read_groups(sources)), options.jaccard)
    parts = [groups]
    if options.split:
        keys = gold_keys if options.passages == "snippets" else document_keys
        parts = assign_splits(groups, options.split, jaccard=options.jaccard, seed=options.seed, keys=keys)
    paths = [split_path(Path(out), split) for split in options.split] or [Path(out)]
    builder.report.files = [PairCounts(path) for path in paths]
    done = 0
    with open_pairs(paths, provenance, [*sources, *options.exclude]) as writers:
        # Small splits first: what they use is not available to larger ones, which have more to choose from.
        for number in sorted(range(len(parts)), key=lambda number: len(parts[number])):
            others = [group for i, part in enumerate(parts) if i != number for group in part]
            for group, negatives in builder.sample(parts[number], others):
                write_group(writers[number], builder.report.files[number], group, negatives)
                done += 1
                progress(done, len(groups))
    return builder.report


def _check(options: BuildOptions, index: Index | None, mining: Mining | None) -> None:
    if index is None and options.passages != "snippets":
        raise UsageError(f"Pairs with {options.passages} require an index of the articles: --index INDEX.")
    if index is None and "sentence" in options.kinds:
        raise UsageError("Negatives from the same document require an index of the articles: --index INDEX.")
    if "sentence" in options.kinds and options.passages != "snippets":
        raise UsageError("Sentences of the same document can be negatives only if the passages are snippets.")
    if mining is not None and "bm25" not in options.kinds:
        raise UsageError("A model chooses among BM25 candidates: mining requires negatives bm25:NUMBER:FROM-TO.")


class _Builder:
    """Selects gold passages and samples negatives, and keeps track of what was used or dropped."""

    def __init__(self, options: BuildOptions, index: Index | None, mining: Mining | None) -> None:
        self.report = PairsReport()
        self._options = options
        self._mining = mining
        self._by_document = options.passages != "snippets"
        self._excluded = read_held_out(options.exclude, options.jaccard, by_document=self._by_document)
        self._earlier_splits: list[HeldOut] = []
        self._articles = ArticlePool(index, titles=options.passages == "articles") if index else None
        self._kinds: dict[str, NegativeKind] = {"sentence": SentenceNegatives(index)} if index else {}

    def usable(self, groups: Sequence[QuestionGroup]) -> list[QuestionGroup]:
        """The groups with gold passages of the kind wanted, without what is excluded.

        Raises:
            PairsError: none remains.
        """
        found = []
        for group in groups:
            if self._excluded.has_question(group.question):
                self.report.excluded_questions += 1
                continue
            gold = self._without_excluded(self._gold(group))
            given = self._without_excluded(group.negatives)
            if gold or given:
                distinct = {normalize(passage.text): passage for passage in reversed(gold)}
                found.append(replace(group, gold=tuple(reversed(distinct.values())), negatives=tuple(given)))
        if not found:
            raise PairsError(
                f"No question with a gold passage remains: {self.report.excluded_questions:,} questions and "
                f"{self.report.excluded_passages:,} passages were excluded, and {self.report.missing_documents:,} gold documents "
                "are not in the index."
            )
        return found

    def _gold(self, group: QuestionGroup) -> Sequence[Passage]:
        """The gold snippets or documents of a group."""
        if not self._by_document:
            return group.gold
        assert self._articles is not None
        found = [self._articles.get(id) for id in group.documents]
        self.report.missing_documents += found.count(None)
        return [passage for passage in found if passage]

    def _without_excluded(self, passages: Sequence[Passage]) -> list[Passage]:
        kept = [passage for passage in passages if not self._excluded.has_passage(passage)]
        self.report.excluded_passages += len(passages) - len(kept)
        return kept

    def sample(
        self, groups: Sequence[QuestionGroup], others: Sequence[QuestionGroup]
    ) -> Iterator[tuple[QuestionGroup, list[Negative]]]:
        """The groups of a split with their negatives, none of them from ``others`` or used by a split sampled before."""
        options = self._options
        other_splits = HeldOut(others, options.jaccard, by_document=self._by_document)
        used = HeldOut()
        with ExitStack() as stack:
            sampler = NegativeSampler(
                self._pool(groups, stack),
                options.scaled_negatives,
                seed=options.seed,
                kinds=self._kinds,
                held_out=(self._excluded, other_splits, *self._earlier_splits),
                mining=self._mining,
                fill=options.share is not None,
            )
            for group, negatives in sampler.sample(
                limit_positives(group, options.max_positives, options.seed) for group in groups
            ):
                self.report.dropped_negatives += len(group.negatives) - sum(one.kind == "given" for one in negatives)
                if options.split:
                    used.add_passages(one.passage for one in negatives)
                yield group, negatives
        self._earlier_splits.append(used)

    def _pool(self, groups: Sequence[QuestionGroup], stack: ExitStack) -> Pool:
        """The articles of the index, or the passages of these groups."""
        if self._by_document and self._articles:
            return self._articles
        passages = (passage for group in groups for passage in (*group.gold, *group.negatives))
        return stack.enter_context(PassagePool(passages))


def limit_positives(group: QuestionGroup, most: int | None, seed: int) -> QuestionGroup:
    """The group with at most ``most`` gold passages, chosen at random; the others become ``related``."""
    if most is None or len(group.gold) <= most:
        return group
    chosen = set(random.Random(f"{seed} {group.id} gold").sample(range(len(group.gold)), most))
    rest = tuple(passage for i, passage in enumerate(group.gold) if i not in chosen)
    gold = tuple(passage for i, passage in enumerate(group.gold) if i in chosen)
    return replace(group, gold=gold, related=group.related + rest)


def write_group(writer: PairWriter, counts: PairCounts, group: QuestionGroup, negatives: Sequence[Negative]) -> None:
    """Write the pairs of one question, gold first, and count them."""
    pairs = [Pair(group.question, p.text, 1.0, group.id, p.document_id, group.kind) for p in group.gold]
    pairs += [Pair(group.question, p.text, 0.0, group.id, p.document_id, kind, rank) for p, kind, rank in negatives]
    writer.write(pairs)
    counts.questions += 1
    counts.positives += len(group.gold)
    counts.kinds.update(pair.kind for pair in pairs)
