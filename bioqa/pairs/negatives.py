"""Negatives of a question: BM25's best without gold, random passages, neighbours of the gold ones, or the hardest for a model."""

import math
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from bioqa.errors import UsageError
from bioqa.pairs.duplicates import normalised
from bioqa.pairs.passage_pools import Pool
from bioqa.pairs.question_groups import Group, Passage
from bioqa.types import Candidate

if TYPE_CHECKING:
    from bioqa.rerank.reranker import Reranker

BATCH = 256
"""Questions searched at a time."""
MARGIN = 100
"""Candidates retrieved beyond the last rank that is wanted, to make up for gold ones among them."""
RESERVE = 64
"""Random passages fetched at a time."""
NEIGHBOURS = ("sentence", "sibling")
_SPEC = re.compile(r"(?P<kind>[a-z0-9]+):(?P<number>\d*\.?\d+)(?::(?P<first>\d+)-(?P<last>\d+))?")


@dataclass(frozen=True, slots=True)
class Negatives:
    """How many negatives of one kind: ``number`` for each positive (a fraction is met on average).

    "bm25" ones are drawn evenly from the ranks ``first`` to ``last``, counted from 1 without the gold ones.
    """

    kind: str
    number: float
    first: int = 1
    last: int = 100


def parse_negatives(text: str) -> Negatives:
    """``KIND:NUMBER`` or ``bm25:NUMBER:FROM-TO``.

    Raises:
        UsageError: the text is neither.
    """
    match = _SPEC.fullmatch(text.strip())
    if match is None or match["kind"] not in ("bm25", "random", *NEIGHBOURS) or (match["first"] and text[0] != "b"):
        raise UsageError(
            f"{text!r} is no kind of negatives. Write bm25:NUMBER, bm25:NUMBER:FROM-TO, random:NUMBER, sentence:NUMBER or "
            "sibling:NUMBER."
        )
    negatives = Negatives(match["kind"], float(match["number"]))
    if match["first"]:
        negatives = Negatives(match["kind"], float(match["number"]), int(match["first"]), int(match["last"]))
    if not 1 <= negatives.first <= negatives.last:
        raise UsageError(f"{text!r}: ranks count from 1, and the first must not be beyond the last.")
    return negatives


def with_share(negatives: Sequence[Negatives], share: float) -> list[Negatives]:
    """The numbers scaled together so that about ``share`` of the pairs is positive.

    Raises:
        UsageError: ``share`` does not lie between 0 and 1, or there are no negatives to scale.
    """
    total = sum(one.number for one in negatives)
    if not 0 < share < 1:
        raise UsageError(f"The share of positives must lie between 0 and 1, not {share}.")
    if not total:
        raise UsageError("A share of positives needs negatives: name their kinds with --negatives.")
    scale = (1 - share) / share / total
    return [Negatives(one.kind, one.number * scale, one.first, one.last) for one in negatives]


@dataclass(frozen=True, slots=True)
class Mining:
    """Choose "bm25" negatives by a model: the highest scored of their range of ranks, not evenly.

    Those scored above the quantile ``skip_above`` of the question's gold passages are taken for unjudged answers and left out
    (None: none are).

    Raises:
        UsageError: ``skip_above`` does not lie between 0 and 1.
    """

    reranker: "Reranker"
    skip_above: float | None = None

    def __post_init__(self) -> None:
        if self.skip_above is not None and not 0 <= self.skip_above <= 1:
            raise UsageError(f"The quantile of gold scores must lie between 0 and 1, not {self.skip_above}.")


class Drawn(NamedTuple):
    """A negative: its passage, kind and rank (0 where it has none)."""

    passage: Passage
    kind: str
    rank: int


class Forbidden:
    """What may not be a negative of a group.

    These are texts that equal, contain or are contained in a gold one, places that overlap gold, and all of ``documents``.
    ``spans`` gives all places that have a passage's text.
    """

    def __init__(
        self,
        group: Group,
        spans: Callable[[Passage], Iterable[Passage]] = lambda passage: (passage,),
        documents: Iterable[str] = (),
    ) -> None:
        self._documents = set(documents)
        gold = (*group.gold, *group.related)
        self._texts = {f" {normalised(passage.text)} " for passage in gold}
        self._spans = spans
        self._places: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for passage in gold:
            for place in spans(passage):
                if place.end > place.begin:
                    self._places[place.document_id, place.section].append((place.begin, place.end))

    def has(self, passage: Passage) -> bool:
        """Whether the passage may not be a negative; one without text never may."""
        if passage.document_id in self._documents:
            return True
        text = f" {normalised(passage.text)} "
        if not text.strip() or any(text in gold or gold in text for gold in self._texts):
            return True
        return any(
            place.begin < end and begin < place.end
            for place in self._spans(passage)
            for begin, end in self._places.get((place.document_id, place.section), ())
        )


class _Task(NamedTuple):
    """What is drawn for: a group, its BM25 candidates, the source of chance, and what takes a passage if it may be used."""

    group: Group
    candidates: Sequence[Candidate]
    rng: random.Random
    take: Callable[[Passage], bool]

    def first(self, wanted: int, passages: Iterable[Passage]) -> Iterator[Passage]:
        """The first ``wanted`` passages that may be used."""
        for passage in passages:
            if not wanted:
                return
            if self.take(passage):
                wanted -= 1
                yield passage


class Drawer:
    """Draws the negatives of groups from a pool.

    ``neighbours`` gives, for "sentence" or "sibling", the passages near a group's gold. ``barred`` tells of passages that may
    not be used at all. ``spans`` gives all places that have a passage's text. With ``fill`` random passages make up for
    negatives of other kinds that a group has too few of. The same ``seed`` gives the same negatives.
    """

    def __init__(
        self,
        pool: Pool,
        negatives: Sequence[Negatives],
        *,
        seed: int,
        neighbours: Callable[[str, Group], Sequence[Passage]] | None = None,
        barred: Callable[[Passage], bool] = lambda passage: False,
        spans: Callable[[Passage], Iterable[Passage]] = lambda passage: (passage,),
        mining: Mining | None = None,
        fill: bool = False,
    ) -> None:
        self._pool = pool
        self._fill = fill
        self._negatives = negatives
        self._seed = seed
        self._neighbours = neighbours
        self._barred = barred
        self._spans = spans
        self._mining = mining
        self._reserve: list[Passage] = []
        self._random = random.Random(f"{seed} random passages")
        self._depth = max((one.last for one in negatives if one.kind == "bm25"), default=0)

    def draw(self, groups: Iterable[Group]) -> Iterator[tuple[Group, list[Drawn]]]:
        """For each group its negatives; those given by its source come first, less those that are forbidden."""
        for batch in _batches(groups):
            found: Sequence[Sequence[Candidate]] = [()] * len(batch)
            if self._depth:
                found = self._pool.search([group.question for group in batch], self._depth + MARGIN)
            for group, candidates in zip(batch, found, strict=True):
                yield group, self._draw(group, candidates)

    def _draw(self, group: Group, candidates: Sequence[Candidate]) -> list[Drawn]:
        rng = random.Random(f"{self._seed} {group.id} {group.question}")
        forbidden = Forbidden(group, self._spans, self._pool.gold_documents(group))
        taken: set[str] = set()

        def take(passage: Passage) -> bool:
            """Whether the passage can be used; none can be used twice."""
            key = normalised(passage.text)
            if key in taken or forbidden.has(passage) or self._barred(passage):
                return False
            taken.add(key)
            return True

        task = _Task(group, candidates, rng, take)
        drawn = [Drawn(passage, "given", 0) for passage in group.negatives if take(passage)]
        missing = 0
        for one in sorted(self._negatives, key=lambda one: one.kind == "random"):  # random ones make up for the others
            wanted = _rounded(one.number * len(group.gold), rng)
            if one.kind == "random":
                drawn += self._at_random(task, wanted + (missing if self._fill else 0))
                continue
            found = self._bm25(task, one, wanted) if one.kind == "bm25" else self._near(task, one.kind, wanted)
            missing += wanted - len(found)
            drawn += found
        return drawn

    def _near(self, task: _Task, kind: str, wanted: int) -> list[Drawn]:
        near = list(self._neighbours(kind, task.group)) if self._neighbours else []
        task.rng.shuffle(near)
        return [Drawn(passage, kind, 0) for passage in task.first(wanted, near)]

    def _at_random(self, task: _Task, wanted: int) -> Iterator[Drawn]:
        for _ in range(4 * wanted):  # a small pool may not have so many
            if not wanted:
                return
            if not self._reserve:
                self._reserve = self._pool.sample(RESERVE, self._random)
            if not self._reserve:
                return
            passage = self._reserve.pop()
            if task.take(passage):
                wanted -= 1
                yield Drawn(passage, "random", 0)

    def _bm25(self, task: _Task, one: Negatives, wanted: int) -> list[Drawn]:
        gold = self._pool.gold_ids(task.group)
        ranked = [candidate for candidate in task.candidates if candidate.id not in gold]
        ranked.sort(key=lambda candidate: (-candidate.score, candidate.id))
        chosen = list(enumerate(ranked, start=1))[one.first - 1 : one.last]
        if self._mining is not None:
            return self._mined(self._mining, task, [candidate for _, candidate in chosen], wanted)
        task.rng.shuffle(chosen)
        drawn: list[Drawn] = []
        while len(drawn) < wanted and chosen:  # reading a text takes time: no more than needed
            part, chosen = chosen[: wanted - len(drawn)], chosen[wanted - len(drawn) :]
            passages = self._pool.passages([candidate for _, candidate in part])
            drawn += [Drawn(p, "bm25", rank) for (rank, _), p in zip(part, passages, strict=True) if task.take(p)]
        return drawn

    def _mined(self, mining: Mining, task: _Task, candidates: Sequence[Candidate], wanted: int) -> list[Drawn]:
        import numpy as np

        gold = task.group.gold
        passages = [passage for passage in self._pool.passages(candidates) if passage.text]
        pairs = [(task.group.question, passage.text) for passage in (*gold, *passages)]
        logits = mining.reranker.score_pairs(pairs).logits
        scores = logits[len(gold) :]
        most = math.inf
        if mining.skip_above is not None and gold:
            most = float(np.quantile(logits[: len(gold)], mining.skip_above))
        hardest = [passages[i] for i in np.argsort(-scores, kind="stable") if scores[i] <= most]
        return [Drawn(passage, "mined", rank) for rank, passage in enumerate(task.first(wanted, hardest), start=1)]


def _batches(groups: Iterable[Group]) -> Iterator[list[Group]]:
    left = iter(groups)
    while batch := list(islice(left, BATCH)):
        yield batch


def _rounded(number: float, rng: random.Random) -> int:
    """``number`` rounded up or down at random, so that the mean over many is kept."""
    return math.floor(number) + (rng.random() < number % 1)
