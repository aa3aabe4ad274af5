"""Assign questions to train, dev and test such that near-duplicates and shared gold passages stay in one split."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bioqa.errors import PairsError, UsageError
from bioqa.pairs.duplicates import DEFAULT_JACCARD, connected_sets, near_duplicate_sets, text_digest
from bioqa.pairs.question_groups import QuestionGroup


@dataclass(frozen=True, slots=True)
class Split:
    """A part of the data: its name and its share of the questions."""

    name: str
    share: float


def parse_splits(text: str) -> list[Split]:
    """Parse ``train=0.9,dev=0.1``, separated by commas or spaces.

    Raises:
        UsageError: a part is not NAME=SHARE, a name is duplicated, or the shares do not add up to 1.
    """
    splits = []
    for part in text.replace(",", " ").split():
        name, _, share = part.partition("=")
        try:
            splits.append(Split(name, float(share)))
        except ValueError:
            raise UsageError(f"{part!r} is not NAME=SHARE, such as dev=0.1.") from None
        if not name.replace("-", "").replace("_", "").isalnum() or not splits[-1].share > 0:
            raise UsageError(f"{part!r}: a split needs a name of letters and digits, and a share above 0.")
    if len({split.name for split in splits}) < len(splits):
        raise UsageError(f"The splits {text!r} must have different names.")
    if abs(sum(split.share for split in splits) - 1) > 1e-6:
        raise UsageError(f"The shares of {text!r} must add up to 1.")
    return splits


def split_path(out: Path, split: Split) -> Path:
    """The file of a split: ``pairs.parquet`` → ``pairs-dev.parquet``."""
    return out.with_name(f"{out.stem}-{split.name}{out.suffix}")


def add_related(groups: Sequence[QuestionGroup], jaccard: float = DEFAULT_JACCARD) -> list[QuestionGroup]:
    """The groups with the gold passages of their near-duplicates as ``related``: these answer them as well."""
    found = list(groups)
    for numbers in near_duplicate_sets([group.question for group in groups], jaccard):
        for number in numbers if len(numbers) > 1 else ():
            others = tuple(passage for other in numbers if other != number for passage in groups[other].gold)
            found[number] = replace(groups[number], related=groups[number].related + others)
    return found


def gold_keys(group: QuestionGroup) -> list[bytes | str]:
    """Digests of the gold and given passages."""
    return [text_digest(passage.text) for passage in (*group.gold, *group.negatives)]


def document_keys(group: QuestionGroup) -> list[bytes | str]:
    """Digests of the gold and given passages, and the gold documents."""
    return [*gold_keys(group), *group.documents]


def assign_splits(
    groups: Sequence[QuestionGroup],
    splits: Sequence[Split],
    *,
    jaccard: float,
    seed: int,
    keys: Callable[[QuestionGroup], Iterable[bytes | str]] = lambda group: (),
) -> list[list[QuestionGroup]]:
    """The groups of each split, in their order.

    Near-duplicate questions, and questions that share one of their ``keys``, go to the same split; such sets are assigned at random
    by ``seed``.

    Raises:
        PairsError: a split gets no question.
    """
    sets = connected_sets(len(groups), _links(groups, jaccard, keys))
    random.Random(seed).shuffle(sets)
    target = [split.share * len(groups) for split in splits]
    parts: list[list[int]] = [[] for _ in splits]
    for numbers in sets:
        missing = [wanted - len(part) for wanted, part in zip(target, parts, strict=True)]
        fitting = [i for i in range(len(splits)) if missing[i] >= len(numbers)]
        fitting = fitting or [max(range(len(splits)), key=missing.__getitem__)]
        parts[max(fitting, key=lambda i: missing[i] / splits[i].share)] += numbers
    for split, part in zip(splits, parts, strict=True):
        if not part:
            raise PairsError(
                f"The split {split.name} would be empty: {len(groups):,} questions in {len(sets):,} sets that must stay together. "
                "Provide more questions, or a larger share."
            )
    return [[groups[number] for number in sorted(part)] for part in parts]


def _links(
    groups: Sequence[QuestionGroup], jaccard: float, keys: Callable[[QuestionGroup], Iterable[bytes | str]]
) -> Iterator[tuple[int, int]]:
    """Pairs of positions of groups that must be in the same split."""
    for numbers in near_duplicate_sets([group.question for group in groups], jaccard):
        yield from ((numbers[0], number) for number in numbers)
    first: dict[bytes | str, int] = {}
    for number, group in enumerate(groups):
        for key in keys(group):
            yield first.setdefault(key, number), number
