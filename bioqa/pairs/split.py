"""Questions to train, dev and test such that near-duplicates and shared gold passages stay on one side."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bioqa.errors import PairsError, UsageError
from bioqa.pairs.duplicates import THRESHOLD, Union, digest, near_groups
from bioqa.pairs.question_groups import Group


@dataclass(frozen=True, slots=True)
class Split:
    """A part of the data: its name and its share of the questions."""

    name: str
    share: float


def parse_splits(text: str) -> list[Split]:
    """``train=0.9,dev=0.1``, apart by commas or blanks.

    Raises:
        UsageError: a part is no NAME=SHARE, a name comes twice, or the shares do not add up to 1.
    """
    splits = []
    for part in text.replace(",", " ").split():
        name, _, share = part.partition("=")
        try:
            splits.append(Split(name, float(share)))
        except ValueError:
            raise UsageError(f"{part!r} is no NAME=SHARE, such as dev=0.1.") from None
        if not name.replace("-", "").replace("_", "").isalnum() or not splits[-1].share > 0:
            raise UsageError(f"{part!r}: a split needs a name of letters and digits, and a share above 0.")
    if len({split.name for split in splits}) < len(splits):
        raise UsageError(f"The splits {text!r} must have names that differ.")
    if abs(sum(split.share for split in splits) - 1) > 1e-6:
        raise UsageError(f"The shares of {text!r} must add up to 1.")
    return splits


def split_path(out: Path, split: Split) -> Path:
    """The file of a split: ``pairs.parquet`` → ``pairs-dev.parquet``."""
    return out.with_name(f"{out.stem}-{split.name}{out.suffix}")


def with_related(groups: Sequence[Group], threshold: float = THRESHOLD) -> list[Group]:
    """The groups, each told of the gold passages of its near-duplicates, which answer it as well."""
    found = list(groups)
    for numbers in near_groups([group.question for group in groups], threshold):
        for number in numbers if len(numbers) > 1 else ():
            others = tuple(passage for other in numbers if other != number for passage in groups[other].gold)
            found[number] = replace(groups[number], related=groups[number].related + others)
    return found


def gold_keys(group: Group) -> Iterable[bytes | str]:
    """Digests of the gold and given passages."""
    return [digest(passage.text) for passage in (*group.gold, *group.negatives)]


def document_keys(group: Group) -> Iterable[bytes | str]:
    """Digests of the gold and given passages, and the gold documents."""
    return [*gold_keys(group), *group.documents]


def assign(
    groups: Sequence[Group],
    splits: Sequence[Split],
    *,
    threshold: float,
    seed: int,
    keys: Callable[[Group], Iterable[bytes | str]] = lambda group: (),
) -> list[list[Group]]:
    """The groups of each split, in their order.

    Near-duplicate questions (``threshold``), and questions that have one of their ``keys`` in common, go to the same split; such
    sets are dealt out at random by ``seed``.

    Raises:
        PairsError: a split gets no question.
    """
    sets = _bound(groups, threshold, keys)
    random.Random(seed).shuffle(sets)
    target = [split.share * len(groups) for split in splits]
    parts: list[list[int]] = [[] for _ in splits]
    for numbers in sets:
        lack = [wanted - len(part) for wanted, part in zip(target, parts, strict=True)]
        room = [i for i in range(len(splits)) if lack[i] >= len(numbers)] or [
            max(range(len(splits)), key=lack.__getitem__)
        ]
        parts[max(room, key=lambda i: lack[i] / splits[i].share)] += numbers
    for split, part in zip(splits, parts, strict=True):
        if not part:
            raise PairsError(
                f"The split {split.name} would be empty: {len(groups):,} questions, in {len(sets):,} sets that have to stay "
                "together. Give more questions, or a larger share."
            )
    return [[groups[number] for number in sorted(part)] for part in parts]


def _bound(
    groups: Sequence[Group], threshold: float, keys: Callable[[Group], Iterable[bytes | str]]
) -> list[list[int]]:
    """The numbers of the groups in sets that must not be parted."""
    union = Union(len(groups))
    for near in near_groups([group.question for group in groups], threshold):
        for number in near:
            union.join(near[0], number)
    first: dict[bytes | str, int] = {}
    for number, group in enumerate(groups):
        for key in keys(group):
            union.join(first.setdefault(key, number), number)
    return union.sets()
