"""Questions with gold passages → a pairs file, or one a split, with negatives."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from bioqa.errors import PairsError, UsageError
from bioqa.index.reader import Index
from bioqa.pairs.duplicates import THRESHOLD, digest, normalised
from bioqa.pairs.held_out import Excluded, read_excluded
from bioqa.pairs.negatives import Drawer, Drawn, Mining, Negatives, with_share
from bioqa.pairs.pair_file import Pair, PairWriter, open_pairs
from bioqa.pairs.passage_pools import Articles, Collection, sentences_outside
from bioqa.pairs.question_groups import Group, Passage, read_groups
from bioqa.pairs.split import Split, assign, document_keys, gold_keys, split_path, with_related

SEED = 42
PASSAGES = ("snippets", "abstracts", "articles")


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What pairs to build.

    ``passages``: gold snippets, or gold documents as "abstracts", or as "articles" with their titles. ``share`` scales the
    numbers of ``negatives`` so that about this share of the pairs is positive. At most ``max_positives`` gold passages of a
    question are taken. Nothing equal to a question or gold passage of the files ``exclude`` is used; ``threshold`` is that of
    near-duplicates.

    Raises:
        UsageError: a value is out of range.
    """

    passages: Literal["snippets", "abstracts", "articles"] = "snippets"
    negatives: tuple[Negatives, ...] = ()
    share: float | None = None
    max_positives: int | None = None
    split: tuple[Split, ...] = ()
    exclude: tuple[Path, ...] = ()
    threshold: float = THRESHOLD
    seed: int = SEED

    def __post_init__(self) -> None:
        if self.max_positives is not None and self.max_positives < 1:
            raise UsageError(f"The positives of a question must be 1 or more, not {self.max_positives}.")
        if any(one.kind == "sibling" for one in self.negatives):
            raise UsageError("Negatives of the kind sibling are for `bioqa pairs cells`.")

    @property
    def drawn(self) -> list[Negatives]:
        """The negatives to draw, with the numbers that give ``share``."""
        return list(self.negatives) if self.share is None else with_share(self.negatives, self.share)


@dataclass(slots=True)
class Written:
    """What went into one file: questions, pairs of label 1, and all pairs by kind."""

    path: Path
    questions: int = 0
    positives: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        """All pairs."""
        return sum(self.kinds.values())


@dataclass(slots=True)
class BuildReport:
    """The files written, and what was left out: excluded questions and passages, gold documents not in the index, and passages
    that a source gave as negatives but that are much the same as a gold one, come twice or stand in another split.
    """

    files: list[Written] = field(default_factory=list)
    excluded_questions: int = 0
    excluded_passages: int = 0
    missing_documents: int = 0
    given_negatives: int = 0


def build_pairs(
    sources: Sequence[str | Path],
    out: str | Path,
    options: BuildOptions | None = None,
    *,
    index: Index | None = None,
    mining: Mining | None = None,
    made: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> BuildReport:
    """Write the pairs of all questions of ``sources`` (see ``groups.read_groups``) to ``out``, or to one file a split beside it.

    Negatives are drawn from the passages of the same split, or from ``index`` where passages are abstracts or articles; ``mining``
    chooses BM25 negatives by a model. No question (nor a near-duplicate) and no passage stands in two splits. ``made`` goes into
    the files' metadata; ``progress`` is told of the questions done and their number.

    Raises:
        PairsError, QuestionError: a source cannot be used, nothing is left of it, or a split would be empty.
        UsageError: the options do not go together.
        OutputError: a file cannot be written.
    """
    options = options or BuildOptions()
    _check(options, index, mining)
    build = _Build(options, index, mining)
    groups = with_related(build.usable(read_groups(sources)), options.threshold)
    parts = [groups]
    if options.split:
        keys = gold_keys if options.passages == "snippets" else document_keys
        parts = assign(groups, options.split, threshold=options.threshold, seed=options.seed, keys=keys)
    paths = [split_path(Path(out), split) for split in options.split] or [Path(out)]
    build.report.files = [Written(path) for path in paths]
    done = 0
    with open_pairs(paths, made, [*sources, *options.exclude]) as writers:
        # Small splits first: what they use is barred from the larger ones, which can do without.
        for number in sorted(range(len(parts)), key=lambda number: len(parts[number])):
            others = [group for i, part in enumerate(parts) if i != number for group in part]
            for group, drawn in build.draw(parts[number], Excluded(others, options.threshold)):
                write_group(writers[number], build.report.files[number], group, drawn)
                done += 1
                progress(done, len(groups))
    return build.report


def _check(options: BuildOptions, index: Index | None, mining: Mining | None) -> None:
    kinds = {one.kind for one in options.negatives}
    if options.passages not in PASSAGES:
        raise UsageError(f"Passages are {', '.join(PASSAGES)}, not {options.passages!r}.")
    if index is None and options.passages != "snippets":
        raise UsageError(f"Pairs with {options.passages} need an index that holds the articles: --index INDEX.")
    if index is None and "sentence" in kinds:
        raise UsageError("Negatives from the same document need an index that holds the articles: --index INDEX.")
    if "sentence" in kinds and options.passages != "snippets":
        raise UsageError("Sentences of the same document can be negatives of snippets only.")
    if mining is not None and "bm25" not in kinds:
        raise UsageError("A model chooses among BM25 candidates: mining needs negatives bm25:NUMBER:FROM-TO.")


class _Build:
    """The state of a build: what must stay out, what was used, what was left out."""

    def __init__(self, options: BuildOptions, index: Index | None, mining: Mining | None) -> None:
        self.options = options
        self.index = index
        self.mining = mining
        self.report = BuildReport()
        self.excluded = read_excluded(options.exclude, options.threshold)
        self.articles = Articles(index, titles=options.passages == "articles") if index else None
        self.used: set[bytes] = set()

    def usable(self, groups: Sequence[Group]) -> list[Group]:
        """The groups with the gold passages wanted, without what is excluded.

        Raises:
            PairsError: none is left.
        """
        found = []
        for group in groups:
            if self.excluded.has_question(group.question):
                self.report.excluded_questions += 1
                continue
            gold = [passage for passage in self._gold(group) if not self._is_excluded(passage)]
            given = tuple(passage for passage in group.negatives if not self._is_excluded(passage))
            if gold or given:
                distinct = {normalised(passage.text): passage for passage in reversed(gold)}
                found.append(replace(group, gold=tuple(reversed(distinct.values())), negatives=given))
        if not found:
            raise PairsError(
                f"No question is left with a gold passage ({self.report.excluded_questions:,} questions and "
                f"{self.report.excluded_passages:,} passages are excluded, {self.report.missing_documents:,} gold documents are "
                "not in the index)."
            )
        return found

    def _gold(self, group: Group) -> Iterator[Passage]:
        if self.options.passages == "snippets":
            yield from group.gold
            return
        assert self.articles is not None
        for id in group.documents:
            article = self.articles.index.get(id)
            text = self.articles.text(article) if article else ""
            if text:
                yield Passage(text, id)
            else:
                self.report.missing_documents += 1

    def _is_excluded(self, passage: Passage) -> bool:
        by_document = self.options.passages != "snippets" and self.excluded.has_document(passage.document_id)
        found = by_document or self.excluded.has_passage(passage)
        self.report.excluded_passages += found
        return found

    def draw(self, groups: Sequence[Group], others: Excluded) -> Iterator[tuple[Group, list[Drawn]]]:
        """The groups of a split with their negatives; nothing of ``others`` or of a split drawn before is used."""
        by_document = self.options.passages != "snippets"

        def barred(passage: Passage) -> bool:
            if by_document and any(kept.has_document(passage.document_id) for kept in (self.excluded, others)):
                return True
            return any(kept.has_passage(passage) for kept in (self.excluded, others)) or (
                bool(self.used) and digest(passage.text) in self.used
            )

        seed, negatives = self.options.seed, self.options.drawn
        drawn_here: set[bytes] = set()
        with ExitStack() as stack:
            collection = Collection(passage for group in groups for passage in (*group.gold, *group.negatives))
            if not by_document and any(one.kind == "bm25" for one in negatives):
                stack.enter_context(collection.indexed())
            drawer = Drawer(
                self.articles if by_document and self.articles else collection,
                negatives,
                seed=seed,
                neighbours=self._sentences,
                barred=barred,
                spans=collection.places,
                mining=self.mining,
                fill=self.options.share is not None,
            )
            for group, drawn in drawer.draw(fewer(group, self.options.max_positives, seed) for group in groups):
                self.report.given_negatives += len(group.negatives) - sum(one.kind == "given" for one in drawn)
                if self.options.split:
                    drawn_here.update(digest(one.passage.text) for one in drawn)
                yield group, drawn
        self.used |= drawn_here

    def _sentences(self, kind: str, group: Group) -> list[Passage]:
        return sentences_outside(self.index, group) if self.index else []


def fewer(group: Group, most: int | None, seed: int) -> Group:
    """The group with at most ``most`` gold passages, drawn by ``seed``; the others are still no negatives."""
    if most is None or len(group.gold) <= most:
        return group
    chosen = set(random.Random(f"{seed} {group.id} gold").sample(range(len(group.gold)), most))
    rest = tuple(passage for i, passage in enumerate(group.gold) if i not in chosen)
    gold = tuple(passage for i, passage in enumerate(group.gold) if i in chosen)
    return replace(group, gold=gold, related=group.related + rest)


def write_group(writer: PairWriter, written: Written, group: Group, drawn: Sequence[Drawn]) -> None:
    """Write the pairs of one question, gold first, and count them."""
    pairs = [Pair(group.question, p.text, 1.0, group.id, p.document_id, group.kind) for p in group.gold]
    pairs += [Pair(group.question, p.text, 0.0, group.id, p.document_id, kind, rank) for p, kind, rank in drawn]
    writer.write(pairs)
    written.questions += 1
    written.positives += len(group.gold)
    written.kinds.update(pair.kind for pair in pairs)
