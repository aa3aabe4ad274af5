"""Relevance judgements in the formats of TREC and BEIR, or from the gold documents of BioASQ questions."""

from pathlib import Path

from bioqa.corpus.beir import read_beir_qrels
from bioqa.corpus.questions import read_questions
from bioqa.errors import QuestionError, SourceError
from bioqa.io.trec import Qrels, read_trec_qrels, significant_lines


def read_qrels(path: str | Path) -> Qrels:
    """The relevance judgements of a file, plain or gzipped, with the queries in the file's order.

    The formats are TREC's ``qid 0 docid rel``, BEIR's tab-separated ``query-id corpus-id score`` with its header, and a BioASQ
    question file, whose gold documents have relevance 1 and whose questions without any are skipped.

    Raises:
        QuestionError: the file is missing, empty or in none of the formats, a relevance is not an integer, or a query has the
            same document twice; the message names the file and the line or question.
    """
    path = Path(path)
    first = next((line for _, line in significant_lines(path)), "")
    if first.lstrip().startswith(("{", "[")):
        return _bioasq_qrels(path)
    if first.count("\t") == 2:
        return _beir_qrels(path)
    return read_trec_qrels(path)


def _beir_qrels(path: Path) -> Qrels:
    try:
        return read_beir_qrels(path)
    except SourceError as problem:
        raise QuestionError(str(problem)) from None


def _bioasq_qrels(path: Path) -> Qrels:
    qrels = {
        question.id: dict.fromkeys(question.documents, 1) for question in read_questions(path) if question.documents
    }
    if not qrels:
        raise QuestionError(f"{path} has no question with gold documents.")
    return qrels
