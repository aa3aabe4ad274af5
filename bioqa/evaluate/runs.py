"""TREC run files: ``qid Q0 docid rank score tag``, one line a result (https://trec.nist.gov)."""

import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from bioqa.errors import OutputError


def _column(text: str) -> str:
    return re.sub(r"\s+", "_", text)


def run_lines(question_id: str, results: Iterable[tuple[str, float]], tag: str) -> Iterator[str]:
    """The lines of one question for (docid, score) results in rank order; white space, which parts columns, becomes "_"."""
    for rank, (docid, score) in enumerate(results, start=1):
        yield f"{_column(question_id)} Q0 {_column(docid)} {rank} {score:.6f} {_column(tag)}\n"


@contextmanager
def open_output(path: str | Path) -> Iterator[TextIO]:
    """A text file that appears at ``path`` whole at the end of the block, or not at all; "-" is standard output.

    Raises:
        OutputError: the file cannot be written; known before the block runs.
    """
    if str(path) == "-":
        yield sys.stdout
        return
    target = Path(path)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        if target.is_dir():
            raise IsADirectoryError(None, "is a folder", str(target))
        file = part.open("w", encoding="utf-8")
    except OSError as problem:
        raise OutputError(f"{target} cannot be written: {problem.strerror or problem}.") from problem
    try:
        with file:
            yield file
        part.replace(target)
    except OSError as problem:
        if isinstance(problem, BrokenPipeError):
            raise
        raise OutputError(f"{target} cannot be written: {problem.strerror or problem}.") from problem
    finally:
        part.unlink(missing_ok=True)
