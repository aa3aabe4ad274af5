"""JSON lines: one article a line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bioqa.corpus.errors import MalformedError, OnBad, reject
from bioqa.corpus.rows import article_of
from bioqa.io.text_files import read_lines
from bioqa.types import Article

BOM = b"\xef\xbb\xbf"


def read_jsonl(path: Path, on_bad: OnBad | None = None) -> Iterator[Article]:
    """Yield the article of each line of a JSON lines file, gzipped or not; blank lines are skipped.

    The fields are those of ``rows.article_of``; Anserini's ``contents`` is taken whole as the text.

    Raises:
        SourceError: the file is missing, empty or truncated.
        RecordError: a line is not UTF-8, not a JSON object, or not a usable record, where ``on_bad`` is None.
    """
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            article = article_of(parse_object(line, first=number == 1))
        except MalformedError as error:
            reject(f"{path}, line {number}: {error}. Correct the line, or skip bad records.", on_bad)
        else:
            yield article


def parse_object(line: bytes, *, first: bool = False) -> dict[str, Any]:
    """Return the JSON object that a line holds; the first line of a file may start with a byte order mark.

    Raises:
        MalformedError: not UTF-8, not JSON, or not an object.
    """
    try:
        record = json.loads((line.removeprefix(BOM) if first else line).decode())
    except UnicodeDecodeError as error:
        raise MalformedError(f"byte {error.start + 1} of it is not UTF-8 (0x{line[error.start]:02x})") from None
    except json.JSONDecodeError as error:
        raise MalformedError(f"it is not JSON: {error.msg} at character {error.colno}") from None
    except (ValueError, RecursionError) as error:  # a number too long, or lists too deep
        raise MalformedError(f"its JSON is out of bounds ({str(error).split(';')[0]})") from None
    if not isinstance(record, dict):
        raise MalformedError(f"it is not a JSON object but {type(record).__name__}")
    return record
