"""The official measures of BioASQ task B, phase A, for documents and snippets.

They equal those of the organisers' evaluator (https://github.com/BioASQ/Evaluation-Measures, EvaluatorTask1b), including what only
the program does and the guidelines do not say; comments mark that.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bioqa.bioasq.phase_a_file import PhaseAAnswer, Span
from bioqa.corpus.questions import document_id
from bioqa.errors import QuestionError, UsageError

EDITIONS = range(1, 15)
"""The editions of BioASQ."""
LIMIT = 10
"""The maximum number of documents, and of snippets, per question in a submission."""
EPSILON = 1e-5


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """The measures of one question's documents or snippets, each 0 to 1.

    ``average_precision`` is NaN where it would be 0 / 0: without gold snippets, but for editions 3 to 7.
    """

    precision: float = 0.0
    recall: float = 0.0
    f1: float = 0.0
    average_precision: float = 0.0


@dataclass(frozen=True, slots=True)
class QuestionScores:
    """The measures of one question, of its documents and of its snippets."""

    id: str
    documents: AnswerScores
    snippets: AnswerScores


@dataclass(frozen=True, slots=True)
class MeanScores:
    """Means over questions of precision, recall, F1 and average precision (MAP), and the geometric mean of the last (GMAP).

    The means over no question are NaN.
    """

    precision: float
    recall: float
    f1: float
    map: float
    gmap: float


@dataclass(frozen=True, slots=True)
class PhaseAScores:
    """The measures of a submission.

    ``questions`` has the values of each question that is both in the gold file and in the submission. ``unanswered`` are the ids
    of the gold questions missing from the submission, ``unknown`` those of the questions that are not gold; both are ignored.
    ``without_documents`` and ``without_snippets`` are the ids of the questions that were left out of the means of documents, or
    of snippets, because the gold file has none for them.
    """

    edition: int
    documents: MeanScores
    snippets: MeanScores
    questions: tuple[QuestionScores, ...]
    unanswered: tuple[str, ...]
    unknown: tuple[str, ...]
    without_documents: tuple[str, ...] = ()
    without_snippets: tuple[str, ...] = ()


def score_phase_a(
    gold: Iterable[PhaseAAnswer], system: Iterable[PhaseAAnswer], edition: int = EDITIONS[-1]
) -> PhaseAScores:
    """Score a system's answers by the rules of an edition of BioASQ, 1 to 14.

    Average precision is the sum of the precision at each relevant answer, divided by the number of gold answers (``edition`` 1 and
    2), by 10 (3 to 7) or by the number of gold answers, 10 at most (since 8). GMAP is exp(mean(ln(AP + 1e-5))). Snippets are
    compared by characters: overlapping snippets of a list are merged first, and precision and recall are shares of characters. All
    answers count, including those after the tenth. Since edition 9, questions without gold documents are left out of the means of
    documents, and questions without gold snippets out of those of snippets.

    A snippet whose place is unknown counts as one character that no other snippet shares.

    Raises:
        UsageError: there is no such edition.
        QuestionError: none of the gold questions is answered.
    """
    if edition not in EDITIONS:
        raise UsageError(f"The edition of BioASQ must be {EDITIONS[0]} to {EDITIONS[-1]}, not {edition}.")
    gold, answers = list(gold), {answer.id: answer for answer in system}
    # An unanswered gold question does not count as 0: it is excluded from the means.
    pairs = [(one, answers[one.id]) for one in gold if one.id in answers]
    if not pairs:
        raise QuestionError("No question of the gold file is answered: the files have no question id in common.")
    questions = tuple(_question_scores(one, answer, edition) for one, answer in pairs)
    known = {one.id for one in gold}
    without_documents = {one.id for one, _ in pairs if edition >= 9 and not one.documents}
    without_snippets = {one.id for one, _ in pairs if edition >= 9 and not one.snippets}
    return PhaseAScores(
        edition=edition,
        documents=_means([question.documents for question in questions if question.id not in without_documents]),
        snippets=_means([question.snippets for question in questions if question.id not in without_snippets]),
        questions=questions,
        unanswered=tuple(one.id for one in gold if one.id not in answers),
        unknown=tuple(id for id in answers if id not in known),
        without_documents=tuple(one.id for one in gold if one.id in without_documents),
        without_snippets=tuple(one.id for one in gold if one.id in without_snippets),
    )


def _question_scores(gold: PhaseAAnswer, answer: PhaseAAnswer, edition: int) -> QuestionScores:
    return QuestionScores(
        id=gold.id,
        # Repeated URLs are dropped, and URLs must be identical: with https:// it is another document.
        documents=_document_scores(list(dict.fromkeys(gold.documents)), list(dict.fromkeys(answer.documents)), edition),
        snippets=_snippet_scores(_merged(gold.snippets), _merged(answer.snippets), edition),
    )


def _document_scores(gold: Sequence[str], found: Sequence[str], edition: int) -> AnswerScores:
    relevant = set(gold)
    right = ap = 0.0
    for rank, document in enumerate(found, start=1):
        if document in relevant:
            right += 1
            ap += right / rank
    if not right:
        return AnswerScores()
    precision, recall = right / len(found), right / len(gold)
    return AnswerScores(precision, recall, _f1(precision, recall), ap / _divisor(edition, gold))


def _snippet_scores(gold: Sequence[Span], found: Sequence[Span], edition: int) -> AnswerScores:
    # Precision and recall compare the ends of two URLs, average precision the whole URLs.
    overlap = sum(_overlap(snippet, gold, lambda span: document_id(span.document)) for snippet in found)
    size, gold_size = _size(found), _size(gold)
    precision = overlap / size if size else 0.0
    recall = overlap / gold_size if gold_size else 0.0
    return AnswerScores(precision, recall, _f1(precision, recall), _snippet_average_precision(gold, found, edition))


def _snippet_average_precision(gold: Sequence[Span], found: Sequence[Span], edition: int) -> float:
    relevant = {span.document for span in gold}
    overlap, ap = 0, 0.0
    for rank, snippet in enumerate(found, start=1):
        overlap += _overlap(snippet, gold, lambda span: span.document)
        # A snippet is relevant if any gold snippet is in its document, whether they overlap or not.
        ap += _divide(overlap, _size(found[:rank])) * (snippet.document in relevant)
    # Without gold snippets this is 0 / 10 in editions 3 to 7, else 0 / 0.
    return _divide(ap, _divisor(edition, gold))


def _divisor(edition: int, gold: Sequence[object]) -> int:
    """What average precision is divided by."""
    if edition >= 8:
        return min(LIMIT, len(gold))
    return LIMIT if edition >= 3 else len(gold)


def _f1(precision: float, recall: float) -> float:
    return _divide(2 * precision * recall, precision + recall) if precision or recall else 0.0


def _divide(a: float, b: float) -> float:
    """The quotient as in Java: 0 / 0 is NaN, and x / 0 is infinite."""
    return a / b if b else a * math.inf


def _size(spans: Iterable[Span]) -> int:
    # The end is inclusive, although most files mean it as exclusive; a snippet with end = begin - 1 has size 0.
    return sum(span.end - span.begin + 1 for span in spans)


def _section(name: str) -> str:
    """The name after its first full stop: "sections.0" is "0"."""
    return name.partition(".")[2] if "." in name else name


def _same_sections(one: Span, other: Span) -> bool:
    return _section(one.begin_section) == _section(other.begin_section) and _section(one.end_section) == _section(
        other.end_section
    )


def _disjoint(one: Span, other: Span) -> bool:
    return one.begin > other.end or one.end < other.begin


def _overlap(snippet: Span, gold: Iterable[Span], document: Callable[[Span], str]) -> int:
    """The number of characters of a system's snippet that are in gold snippets."""
    # The evaluator reads a snippet without a place as the first character of section "". That two such snippets share it, which
    # says nothing of their texts, is the only thing that is not followed here.
    if not snippet.is_known:
        return 0
    # "sections.0" in a submission matches "abstract" in a gold file, but not vice versa.
    is_first = _section(snippet.begin_section) == "0"
    return sum(
        min(snippet.end, other.end) - max(snippet.begin, other.begin) + 1
        for other in gold
        if document(snippet) == document(other)
        and (_same_sections(snippet, other) or (is_first and _section(other.begin_section) == "abstract"))
        and not _disjoint(snippet, other)
    )


def _merged(spans: Iterable[Span]) -> list[Span]:
    """The spans, with overlapping ones merged at the place of the first of them."""
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


def _means(scores: Sequence[AnswerScores]) -> MeanScores:
    return MeanScores(
        precision=_mean([one.precision for one in scores]),
        recall=_mean([one.recall for one in scores]),
        f1=_mean([one.f1 for one in scores]),
        map=_mean([one.average_precision for one in scores]),
        gmap=_gmap([one.average_precision for one in scores]),
    )


def _mean(values: Sequence[float]) -> float:
    # NaN counts as 0.
    if not values:
        return math.nan
    return sum(0.0 if math.isnan(value) else value for value in values) / len(values)


def _gmap(values: Sequence[float]) -> float:
    # NaN counts as 1 here; if all are NaN, or there are none, the result is 0.
    total = sum(math.log(value + EPSILON) for value in values if not math.isnan(value))
    return math.exp(total / len(values)) if total else 0.0
