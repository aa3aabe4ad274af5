"""The official measures of BioASQ task B phase A: documents and snippets against gold.

They agree with the organisers' evaluator (https://github.com/BioASQ/Evaluation-Measures, EvaluatorTask1b) to the last digits, in
what the guidelines say and in what only the program does. Comments mark the latter.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bioqa.bioasq.answers import Answer, Span
from bioqa.corpus.questions import document_id
from bioqa.errors import QuestionError, UsageError

EDITIONS = (5, 8)
LIMIT = 10
"""The most documents, and the most snippets, that a system may return for a question."""
EPSILON = 1e-5


@dataclass(frozen=True, slots=True)
class Scores:
    """The measures of one question, each 0 to 1.

    ``average_precision`` is not a number where it would be 0 / 0: edition 8, and no gold snippet.
    """

    precision: float = 0.0
    recall: float = 0.0
    f1: float = 0.0
    average_precision: float = 0.0


@dataclass(frozen=True, slots=True)
class QuestionScores:
    """The measures of one question for documents and for snippets."""

    id: str
    documents: Scores
    snippets: Scores


@dataclass(frozen=True, slots=True)
class Measures:
    """Means over questions: of precision, recall, F1 and average precision (MAP), and the geometric mean of the last (GMAP)."""

    precision: float
    recall: float
    f1: float
    map: float
    gmap: float


@dataclass(frozen=True, slots=True)
class PhaseA:
    """The measures of a system's file.

    ``questions`` has the values of each question that is both in the gold file and in the system's. ``unanswered`` are the gold
    questions that the system left out, which count nowhere; ``unknown`` are those of the system that are not gold.
    """

    edition: int
    documents: Measures
    snippets: Measures
    questions: tuple[QuestionScores, ...]
    unanswered: tuple[str, ...]
    unknown: tuple[str, ...]


def evaluate_phase_a(gold: Iterable[Answer], system: Iterable[Answer], edition: int = 8) -> PhaseA:
    """Judge a system's answers by the rules of an edition of BioASQ.

    Average precision is the sum, over the relevant answers, of the precision down to each, divided by 10 (``edition`` 5, for BioASQ
    3 to 7) or by the number of gold answers, 10 at most (8, since BioASQ 8). GMAP is exp(mean(ln(AP + 1e-5))). Snippets are
    compared by their characters: overlapping snippets of one list are merged first, and precision and recall are shares of
    characters. All answers count, also those past the tenth.

    Raises:
        UsageError: there is no such edition.
        QuestionError: none of the gold questions is answered.
    """
    if edition not in EDITIONS:
        raise UsageError(f"The edition must be 5 (BioASQ 3 to 7) or 8 (since BioASQ 8), not {edition}.")
    gold, answers = list(gold), {answer.id: answer for answer in system}
    # A gold question that the system left out does not count as 0: it is left out of the means.
    pairs = [(one, answers[one.id]) for one in gold if one.id in answers]
    if not pairs:
        raise QuestionError("No question of the gold file is answered: the files have no question id in common.")
    questions = tuple(_question_scores(one, answer, edition) for one, answer in pairs)
    known = {one.id for one in gold}
    return PhaseA(
        edition=edition,
        documents=_means([question.documents for question in questions]),
        snippets=_means([question.snippets for question in questions]),
        questions=questions,
        unanswered=tuple(one.id for one in gold if one.id not in answers),
        unknown=tuple(id for id in answers if id not in known),
    )


def _question_scores(gold: Answer, answer: Answer, edition: int) -> QuestionScores:
    return QuestionScores(
        id=gold.id,
        # A URL that comes again in a list is dropped, and URLs must agree to the letter: https:// is another document.
        documents=_document_scores(list(dict.fromkeys(gold.documents)), list(dict.fromkeys(answer.documents)), edition),
        snippets=_snippet_scores(_merged(gold.snippets), _merged(answer.snippets), edition),
    )


def _document_scores(gold: Sequence[str], found: Sequence[str], edition: int) -> Scores:
    relevant = set(gold)
    right = ap = 0.0
    for rank, document in enumerate(found, start=1):
        if document in relevant:
            right += 1
            ap += right / rank
    if not right:
        return Scores()
    precision, recall = right / len(found), right / len(gold)
    return Scores(precision, recall, _f1(precision, recall), ap / _most(edition, gold))


def _snippet_scores(gold: Sequence[Span], found: Sequence[Span], edition: int) -> Scores:
    # For precision and recall the ends of two URLs are compared, for average precision the whole URLs.
    overlap = sum(_overlap(snippet, gold, lambda span: document_id(span.document)) for snippet in found)
    size, gold_size = _size(found), _size(gold)
    precision = overlap / size if size else 0.0
    recall = overlap / gold_size if gold_size else 0.0
    return Scores(precision, recall, _f1(precision, recall), _snippet_average_precision(gold, found, edition))


def _snippet_average_precision(gold: Sequence[Span], found: Sequence[Span], edition: int) -> float:
    relevant = {span.document for span in gold}
    overlap, ap = 0, 0.0
    for rank, snippet in enumerate(found, start=1):
        overlap += _overlap(snippet, gold, lambda span: span.document)
        # A snippet counts as relevant if any gold snippet is of its document, whether they overlap or not.
        ap += _divide(overlap, _size(found[:rank])) * (snippet.document in relevant)
    # Without gold snippets this is 0 / 10 in edition 5 and 0 / 0 in edition 8.
    return _divide(ap, _most(edition, gold))


def _most(edition: int, gold: Sequence[object]) -> int:
    """The number of answers that a perfect list would have."""
    return min(LIMIT, len(gold)) if edition >= 8 else LIMIT


def _f1(precision: float, recall: float) -> float:
    return _divide(2 * precision * recall, precision + recall) if precision or recall else 0.0


def _divide(a: float, b: float) -> float:
    """A quotient as Java has it: 0 / 0 is not a number, and x / 0 is infinite."""
    return a / b if b else a * math.inf


def _size(spans: Iterable[Span]) -> int:
    # The end counts as inside, though most files mean it as exclusive; a snippet that ends one before it begins has size 0.
    return sum(span.end - span.begin + 1 for span in spans)


def _section(name: str) -> str:
    """The section's name from its first full stop on: "sections.0" is "0"."""
    return name.partition(".")[2] if "." in name else name


def _same_sections(one: Span, other: Span) -> bool:
    return _section(one.begin_section) == _section(other.begin_section) and _section(one.end_section) == _section(
        other.end_section
    )


def _disjoint(one: Span, other: Span) -> bool:
    return one.begin > other.end or one.end < other.begin


def _overlap(snippet: Span, gold: Iterable[Span], document: Callable[[Span], str]) -> int:
    """How many characters of a system's snippet are in gold snippets."""
    # "sections.0" in a system's file is the abstract of a gold file, but not the other way round.
    is_first = _section(snippet.begin_section) == "0"
    return sum(
        min(snippet.end, other.end) - max(snippet.begin, other.begin) + 1
        for other in gold
        if document(snippet) == document(other)
        and (_same_sections(snippet, other) or (is_first and _section(other.begin_section) == "abstract"))
        and not _disjoint(snippet, other)
    )


def _merged(spans: Iterable[Span]) -> list[Span]:
    """The spans with those that overlap made one, which stands where the first of them stood."""
    merged, rest = [], list(spans)
    while rest:
        span, place = rest.pop(0), 0
        while place < len(rest):
            other = rest[place]
            if span.document != other.document or not _same_sections(span, other) or _disjoint(span, other):
                place += 1
                continue
            span = span._replace(begin=min(span.begin, other.begin), end=max(span.end, other.end))
            del rest[place]
            place = 0
        merged.append(span)
    return merged


def _means(scores: Sequence[Scores]) -> Measures:
    return Measures(
        precision=_mean([one.precision for one in scores]),
        recall=_mean([one.recall for one in scores]),
        f1=_mean([one.f1 for one in scores]),
        map=_mean([one.average_precision for one in scores]),
        gmap=_gmap([one.average_precision for one in scores]),
    )


def _mean(values: Sequence[float]) -> float:
    # What is not a number counts as 0.
    return sum(0.0 if math.isnan(value) else value for value in values) / len(values)


def _gmap(values: Sequence[float]) -> float:
    # What is not a number counts as 1 here; where all are so, the result is 0.
    total = sum(math.log(value + EPSILON) for value in values if not math.isnan(value))
    return math.exp(total / len(values)) if total else 0.0
