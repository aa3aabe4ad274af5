"""Relevance judgements in the formats of TREC and BEIR, or from the gold documents of BioASQ questions."""

from pathlib import Path

from bioqa.corpus.beir import read_beir_qrels
from bioqa.corpus.questions import check_ids, document_id, question_id, question_records, read_json
from bioqa.errors import QuestionError, SourceError
from bioqa.io.trec import Qrels, read_trec_qrels, significant_lines


def read_qrels(path: str | Path) -> Qrels:
    """The relevance judgements of a file, plain or gzipped, with the queries in the file's order.

    The formats are TREC's ``qid 0 docid rel``, BEIR's tab-separated ``query-id corpus-id score`` with its header, and a BioASQ
    question file, whose gold documents have relevance 1 and whose questions without any are skipped; of its questions, only ids
    and documents are read.

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
    gold = [
        (question_id(path, where, record.get("id")), record["documents"])
        for where, record in question_records(path, read_json(path))
    ]
    check_ids(path, (id for id, _ in gold))
    qrels = {id: dict.fromkeys(map(document_id, urls), 1) for id, urls in gold if urls}
    if not qrels:
        raise QuestionError(f"{path} has no question with gold documents.")
    return qrels
