"""Negatives of a question: a class for each kind proposes candidates, ``GoldFilter`` rejects those that may be relevant.

``NegativeSampler`` ties them together. Each question has its own random generator, so that its negatives do not depend on other
questions; only random passages come from a supply that all questions share.
"""

import math
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Protocol

from bioqa.corpus.sentences import sentences
from bioqa.errors import UsageError
from bioqa.pairs.duplicates import normalize
from bioqa.pairs.held_out import HeldOut
from bioqa.pairs.passage_pools import Pool
from bioqa.pairs.question_groups import Passage, QuestionGroup
from bioqa.types import Article, Candidate

if TYPE_CHECKING:
    from bioqa.index.reader import Index
    from bioqa.rerank.reranker import Reranker

BATCH = 256
"""Questions searched at a time."""
MARGIN = 100
"""Candidates retrieved beyond the last rank needed, to make up for gold ones among them."""
RANDOM_SUPPLY = 64
"""Random passages read at a time."""
_SPEC = re.compile(r"(?P<kind>[a-z0-9]+):(?P<number>\d{0,9}\.?\d{1,9})(?::(?P<first>\d{1,9})-(?P<last>\d{1,9}))?")


@dataclass(frozen=True, slots=True)
class NegativeSpec:
    """How many negatives of one kind to sample: ``number`` per positive (fractions are met on average).

    ``kind`` is "bm25", "random", "sentence" or "sibling". Those of kind "bm25" come from the ranks ``first`` to ``last``, counted
    from 1 without the gold passages.
    """

    kind: str
    number: float
    first: int = 1
    last: int = 100


def parse_negatives(text: str) -> NegativeSpec:
    """Parse ``KIND:NUMBER`` or ``bm25:NUMBER:FROM-TO``.

    Raises:
        UsageError: the text is neither.
    """
    match = _SPEC.fullmatch(text.strip())
    if (
        match is None
        or match["kind"] not in ("bm25", "random", "sentence", "sibling")
        or (match["first"] and match["kind"] != "bm25")
    ):
        raise UsageError(
            f"{text!r} does not specify negatives. Write bm25:NUMBER, bm25:NUMBER:FROM-TO, random:NUMBER, sentence:NUMBER or "
            "sibling:NUMBER."
        )
    spec = NegativeSpec(match["kind"], float(match["number"]))
    if match["first"]:
        spec = NegativeSpec(match["kind"], float(match["number"]), int(match["first"]), int(match["last"]))
    if not 1 <= spec.first <= spec.last:
        raise UsageError(f"{text!r}: ranks count from 1, and FROM must not exceed TO.")
    return spec


def scale_to_share(specs: Sequence[NegativeSpec], share: float) -> list[NegativeSpec]:
    """The numbers scaled by one factor so that about ``share`` of the pairs is positive.

    Raises:
        UsageError: ``share`` is not between 0 and 1, or there are no negatives to scale.
    """
    total = sum(spec.number for spec in specs)
    if not 0 < share < 1:
        raise UsageError(f"The share of positives must be between 0 and 1, not {share}.")
    if not total:
        raise UsageError("A share of positives requires negatives: choose their kinds with --negatives.")
    scale = (1 - share) / share / total
    return [NegativeSpec(spec.kind, spec.number * scale, spec.first, spec.last) for spec in specs]


@dataclass(frozen=True, slots=True)
class Mining:
    """Hard-negative mining: of the "bm25" candidates take those that ``reranker`` scores highest, instead of random ones.

    Candidates scored above the quantile ``skip_above`` of the question's gold passages are skipped as likely unjudged positives
    (None: none are skipped).

    Raises:
        UsageError: ``skip_above`` is not between 0 and 1.
    """

    reranker: "Reranker"
    skip_above: float | None = None

    def __post_init__(self) -> None:
        if self.skip_above is not None and not 0 <= self.skip_above <= 1:
            raise UsageError(f"The quantile of gold scores must be between 0 and 1, not {self.skip_above}.")


class Negative(NamedTuple):
    """A negative passage with its kind and rank (0 if the kind has no ranks)."""

    passage: Passage
    kind: str
    rank: int = 0


class GoldFilter:
    """Decides which passages can be negatives of a group.

    Rejected are passages without text, those whose text equals, contains or is part of a gold one, those that overlap gold in a
    document of ``pool`` or are from a gold document that ``pool`` excludes, those in ``held_out``, and those added with ``use``.
    """

    def __init__(self, group: QuestionGroup, pool: Pool, held_out: Sequence[HeldOut] = ()) -> None:
        gold = (*group.gold, *group.related)
        self._pool = pool
        self._held_out = held_out
        self._documents = pool.gold_documents(group)
        self._texts = {f" {normalize(passage.text)} " for passage in gold}
        self._used: set[str] = set()
        self._spans: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for passage in gold:
            for place in pool.places(passage):
                if place.end > place.begin:
                    self._spans[place.document_id, place.section].append((place.begin, place.end))

    def allowed(self, passage: Passage) -> bool:
        """Whether the passage can be a negative."""
        text = normalize(passage.text)
        return (
            bool(text)
            and text not in self._used
            and passage.document_id not in self._documents
            and not any(f" {text} " in gold or gold in f" {text} " for gold in self._texts)
            and not self._overlaps_gold(passage)
            and not any(held_out.has_passage(passage) for held_out in self._held_out)
        )

    def _overlaps_gold(self, passage: Passage) -> bool:
        return any(
            place.begin < end and begin < place.end
            for place in self._pool.places(passage)
            for begin, end in self._spans.get((place.document_id, place.section), ())
        )

    def use(self, passage: Passage) -> None:
        """Reject this text from now on, as it is a negative already."""
        self._used.add(normalize(passage.text))


@dataclass(frozen=True, slots=True)
class Target:
    """What negatives are sampled for: a group, its BM25 candidates, its random generator and its filter."""

    group: QuestionGroup
    candidates: Sequence[Candidate]
    rng: random.Random
    filter: GoldFilter

    def take(self, candidates: Iterator[Negative], number: int) -> list[Negative]:
        """The first ``number`` candidates that are allowed; no further candidate is read."""
        found: list[Negative] = []
        while len(found) < number and (candidate := next(candidates, None)):
            if self.filter.allowed(candidate.passage):
                self.filter.use(candidate.passage)
                found.append(candidate)
        return found


class NegativeKind(Protocol):
    """A kind of negatives."""

    def candidates(self, target: Target, number: int) -> Iterator[Negative]:
        """Candidates for ``number`` negatives of a group, in the order in which to take them."""
        ...


class GivenNegatives:
    """The negatives that the source of the question gives."""

    def candidates(self, target: Target, number: int) -> Iterator[Negative]:
        """All of them, in the order of the source."""
        return (Negative(passage, "given") for passage in target.group.negatives)


class BM25Negatives:
    """Passages from a range of BM25 ranks, counted without gold, in random order."""

    def __init__(self, pool: Pool, first: int, last: int) -> None:
        self._pool = pool
        self._first = first
        self._last = last

    def candidates(self, target: Target, number: int) -> Iterator[Negative]:
        """The candidates of these ranks, shuffled."""
        ranked = self.ranked(target)
        target.rng.shuffle(ranked)
        return self._read(ranked, number)

    def ranked(self, target: Target) -> list[tuple[int, Candidate]]:
        """The candidates of these ranks with their ranks, best first."""
        gold = self._pool.gold_ids(target.group)
        found = [candidate for candidate in target.candidates if candidate.id not in gold]
        found.sort(key=lambda candidate: (-candidate.score, candidate.id))
        return list(enumerate(found, start=1))[self._first - 1 : self._last]

    def _read(self, ranked: Sequence[tuple[int, Candidate]], size: int) -> Iterator[Negative]:
        """Read the passages, ``size`` at a time: reading takes time, and most are not needed."""
        for start in range(0, len(ranked), size or 1):
            chunk = ranked[start : start + size]
            passages = self._pool.passages([candidate for _, candidate in chunk])
            for (rank, _), passage in zip(chunk, passages, strict=True):
                yield Negative(passage, "bm25", rank)


class MinedNegatives:
    """The passages from a range of BM25 ranks that a reranker scores highest."""

    def __init__(self, pool: Pool, first: int, last: int, mining: Mining) -> None:
        self._pool = pool
        self._bm25 = BM25Negatives(pool, first, last)
        self._mining = mining

    def candidates(self, target: Target, number: int) -> Iterator[Negative]:
        """The allowed ones, highest score first; their ranks count from 1."""
        allowed = (passage for passage in self._hardest_first(target) if target.filter.allowed(passage))
        return (Negative(passage, "mined", rank) for rank, passage in enumerate(allowed, start=1))

    def _hardest_first(self, target: Target) -> Iterator[Passage]:
        import numpy as np

        candidates = [candidate for _, candidate in self._bm25.ranked(target)]
        passages = [passage for passage in self._pool.passages(candidates) if passage.text]
        gold = target.group.gold
        pairs = [(target.group.question, passage.text) for passage in (*gold, *passages)]
        logits = self._mining.reranker.score_pairs(pairs).logits
        gold_scores, scores = logits[: len(gold)], logits[len(gold) :]
        skip_above = math.inf
        if self._mining.skip_above is not None and gold:
            skip_above = float(np.quantile(gold_scores, self._mining.skip_above))
        yield from (passages[i] for i in np.argsort(-scores, kind="stable") if scores[i] <= skip_above)


class RandomNegatives:
    """Passages of the pool at random."""

    def __init__(self, pool: Pool, rng: random.Random) -> None:
        self._pool = pool
        self._rng = rng
        self._supply: list[Passage] = []

    def candidates(self, target: Target, number: int) -> Iterator[Negative]:
        """At most 4 × ``number``: a small pool may not have that many allowed passages."""
        for _ in range(4 * number):
            if not self._supply:
                self._supply = self._pool.sample(RANDOM_SUPPLY, self._rng)
            if not self._supply:
                return
            yield Negative(self._supply.pop(), "random")


class SentenceNegatives:
    """Sentences of the gold documents that do not overlap gold passages, in random order."""

    def __init__(self, index: "Index") -> None:
        self._index = index

    def candidates(self, target: Target, number: int) -> Iterator[Negative]:
        """The sentences outside gold, shuffled."""
        found = list(self._sentences(target.group))
        target.rng.shuffle(found)
        return (Negative(passage, "sentence") for passage in found)

    def _sentences(self, group: QuestionGroup) -> Iterator[Passage]:
        texts = [passage.text for passage in (*group.gold, *group.related)]
        for id in dict.fromkeys(passage.document_id for passage in group.gold if passage.document_id):
            article = self._index.get(id)
            if article is None:
                continue
            spans = {name: _find_all(texts, text) for name, text in _sections(article)}
            for one in sentences(article):
                if not any(one.begin < end and begin < one.end for begin, end in spans[one.section]):
                    yield Passage(one.text, id, one.section, one.begin, one.end)


def _sections(article: Article) -> list[tuple[str, str]]:
    return [("title", article.title), ("abstract", article.abstract)]


def _find_all(texts: Iterable[str], text: str) -> list[tuple[int, int]]:
    """The first (begin, end) of each of ``texts`` in ``text``: the offsets in a question file may be those of another version."""
    found = ((text.find(one), len(one)) for one in texts)
    return [(begin, begin + length) for begin, length in found if begin >= 0]


class SiblingNegatives:
    """Terms that share a parent with a gold term, in random order; ``siblings`` has those of each term by id."""

    def __init__(self, siblings: Mapping[str, Sequence[Passage]]) -> None:
        self._siblings = siblings

    def candidates(self, target: Target, number: int) -> Iterator[Negative]:
        """The siblings of the gold terms, shuffled."""
        found = [passage for term in target.group.documents for passage in self._siblings[term]]
        target.rng.shuffle(found)
        return (Negative(passage, "sibling") for passage in found)


class NegativeSampler:
    """Samples the negatives of groups; the same ``seed`` gives the same negatives.

    "bm25" and "random" negatives come from ``pool``; ``kinds`` has further kinds by name. With ``mining`` the "bm25" ones are
    mined. With ``fill`` random passages make up for a lack of other kinds. No passage of ``held_out`` is used.
    """

    def __init__(
        self,
        pool: Pool,
        specs: Sequence[NegativeSpec],
        *,
        seed: int,
        kinds: Mapping[str, NegativeKind] | None = None,
        held_out: Sequence[HeldOut] = (),
        mining: Mining | None = None,
        fill: bool = False,
    ) -> None:
        self._pool = pool
        self._seed = seed
        self._held_out = held_out
        self._fill = fill
        random_kind = RandomNegatives(pool, random.Random(f"{seed} random passages"))
        known: dict[str, NegativeKind] = {"random": random_kind, **(kinds or {})}
        self._kinds: list[tuple[NegativeSpec, NegativeKind]] = []
        for spec in sorted(specs, key=lambda spec: spec.kind == "random"):  # random ones make up for the others
            if spec.kind != "bm25":
                kind = known[spec.kind]
            elif mining is None:
                kind = BM25Negatives(pool, spec.first, spec.last)
            else:
                kind = MinedNegatives(pool, spec.first, spec.last, mining)
            self._kinds.append((spec, kind))
        self._depth = max((spec.last for spec in specs if spec.kind == "bm25"), default=0)

    def sample(self, groups: Iterable[QuestionGroup]) -> Iterator[tuple[QuestionGroup, list[Negative]]]:
        """Each group with its negatives, those given by its source first."""
        remaining = iter(groups)
        while batch := list(islice(remaining, BATCH)):
            found: Sequence[Sequence[Candidate]] = [()] * len(batch)
            if self._depth:
                found = self._pool.search([group.question for group in batch], self._depth + MARGIN)
            for group, candidates in zip(batch, found, strict=True):
                rng = random.Random(f"{self._seed} {group.id} {group.question}")
                gold_filter = GoldFilter(group, self._pool, self._held_out)
                yield group, self._sample(Target(group, candidates, rng, gold_filter))

    def _sample(self, target: Target) -> list[Negative]:
        group = target.group
        negatives = target.take(GivenNegatives().candidates(target, len(group.negatives)), len(group.negatives))
        missing = 0
        for spec, kind in self._kinds:
            number = _round(spec.number * len(group.gold), target.rng)
            if spec.kind == "random" and self._fill:
                number += missing
            found = target.take(kind.candidates(target, number), number)
            if spec.kind != "random":
                missing += number - len(found)
            negatives += found
        return negatives


def _round(number: float, rng: random.Random) -> int:
    """``number`` rounded up or down at random, so that the mean over many numbers is kept."""
    return math.floor(number) + (rng.random() < number % 1)
