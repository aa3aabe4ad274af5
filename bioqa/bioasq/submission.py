"""Questions → a submission to BioASQ task B, phase A: the best documents and snippets for each."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any, TextIO

from bioqa.bioasq.official_measures import LIMIT
from bioqa.corpus.questions import TYPES, document_url, is_pmid
from bioqa.errors import QuestionError, UsageError
from bioqa.pipeline.answer import Coverage
from bioqa.pipeline.pipeline import Pipeline
from bioqa.types import Hit, Question


@dataclass(frozen=True, slots=True)
class SubmissionReport:
    """The ids of the questions that match no article, and how much of the reranked articles was read.

    ``marked`` has the submitted articles that do not stand as they are: mark (see ``Article.marks``) → PMID → PMIDs of the notices.
    """

    empty: list[str]
    coverage: Coverage
    marked: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)


def write_submission(
    out: TextIO, pipeline: Pipeline, questions: Sequence[Question], advance: Callable[[], object] = lambda: None
) -> SubmissionReport:
    """Answer the questions one by one and write the submission to ``out``.

    Each question gets its 10 best documents and the 10 most probable of their answer sentences. The pipeline's option
    ``sentences`` limits these per document: 10 gave a higher snippet F1 on the demo questions than 2. ``advance`` is called after
    each question.

    Raises:
        QuestionError: a question has no type (checked before anything is searched), or cannot be answered.
        UsageError: an article's id is not a PMID.
    """
    for question in questions:
        if question.type not in TYPES:
            has = f"the type {question.type!r}" if question.type else "no type"
            raise QuestionError(
                f"Question {question.id} has {has}. A submission needs one of {', '.join(TYPES)}: use a question file in "
                "BioASQ's JSON format."
            )
    empty = []
    marked: dict[str, dict[str, tuple[str, ...]]] = {}
    coverage = Coverage()
    options = replace(pipeline.options, top=LIMIT)
    out.write('{"questions": [')
    for number, question in enumerate(questions):
        answer = pipeline.answer(question, options)
        coverage += answer.coverage
        if not answer.hits:
            empty.append(question.id)
        for hit in answer.hits:
            for mark, notices in hit.article.marks.items():
                marked.setdefault(mark, {})[hit.article.id] = notices
        out.write(",\n" if number else "\n")
        json.dump(submission_record(question, answer.hits), out, ensure_ascii=False)
        advance()
    out.write("\n]}\n")
    return SubmissionReport(empty, coverage, marked)


def submission_record(question: Question, hits: Iterable[Hit]) -> dict[str, Any]:
    """A question of a submission as a JSON object: the first 10 hits, and the 10 most probable of their snippets, best first.

    Snippets without a probability: the best of each hit, then the second best of each, and so on.

    Raises:
        UsageError: an article's id is not a PMID.
        ValueError: a snippet's offsets are wrong.
    """
    hits = list(hits)[:LIMIT]
    for hit in hits:
        if not is_pmid(hit.article.id):
            raise UsageError(
                f"BioASQ identifies articles by PMID, and {hit.article.id!r} is not a PMID. Search an index of PubMed."
            )
    ranks = zip_longest(*(hit.snippets for hit in hits))
    snippets = sorted((s for rank in ranks for s in rank if s), key=lambda s: -(s.probability or 0.0))[:LIMIT]
    articles = {hit.article.id: hit.article for hit in hits}
    for snippet in snippets:
        article = articles[snippet.document]
        section = article.title if snippet.section == "title" else article.abstract
        if section[snippet.begin : snippet.end] != snippet.text:
            raise ValueError(
                f"The offsets of {snippet.text!r} in the {snippet.section} of {snippet.document} are wrong."
            )
    return {
        "id": question.id,
        "body": question.body,
        "type": question.type,
        "documents": [document_url(hit.article.id) for hit in hits],
        "snippets": [replace(snippet, probability=None).to_dict() for snippet in snippets],
    }
