"""Expand files, folders and globs to a list of corpus sources with their formats."""

import glob
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

from bioqa.arguments import check_items, check_path
from bioqa.corpus.beir import BEIR_CORPUS_FILES, beir_corpus_file
from bioqa.corpus.rows import ID_FIELDS
from bioqa.errors import SourceError, UsageError
from bioqa.io.json_text import parse_json
from bioqa.io.tabular import row_group_sizes
from bioqa.io.text_files import GZIP_MAGIC, empty_error, missing_error, read_head, read_start, source_errors

Format = Literal["pubmed", "jsonl", "beir", "parquet"]

FORMAT_HELP = (
    "Supported are PubMed XML (.xml, .xml.gz), JSON lines (.jsonl, .jsonl.gz), Parquet (.parquet) and BEIR folders"
)

_FORMAT_OF_SUFFIX: dict[str, Format] = {
    ".xml": "pubmed",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_PUBMED = re.compile(r"pubmed(\d\d)n(\d{4})\.xml")


PART_BYTES = 32_000_000
"""About what a part of a large file has."""


class Part(NamedTuple):
    """A part of a large file: its number from 0, and its bytes (JSON lines) or row groups (Parquet) from ``begin`` to ``end``."""

    number: int
    begin: int
    end: int
    bytes: int


class Source(NamedTuple):
    """A corpus file or a BEIR folder, its format, and which part of it is meant (None: all)."""

    path: Path
    format: Format
    part: Part | None = None

    @property
    def file(self) -> Path:
        """The file with the articles: ``corpus.jsonl`` of a BEIR folder, otherwise the path itself."""
        return beir_corpus_file(self.path) if self.format == "beir" else self.path


def expand_sources(sources: Sequence[str | Path]) -> list[Source]:
    """The sources to read, in the order given.

    A folder stands for the corpus files in it (not in its subfolders), in natural order of their names: PubMed files must be loaded
    in numerical order. Hidden files, ``.md5`` files and files in other formats are skipped. A folder with ``corpus.jsonl`` or
    ``corpus.jsonl.gz`` is one BEIR source. A glob stands for its matches, in natural order; an existing path is never a glob. A
    source named twice is read once, at its first position.

    Raises:
        SourceError: a path or the target of a link does not exist, a glob matches nothing, a folder has no corpus files, a file is
            empty, or neither name nor content says its format.
        UsageError: no source is given, or one is no path.
    """
    if isinstance(sources, str | os.PathLike):
        sources = [sources]
    paths = [check_path("A source", named) for named in check_items("sources", sources, str, os.PathLike)]
    if not paths:
        raise UsageError("No corpus was given. Name a file, a folder or a glob.")
    found: dict[Path, Source] = {}
    for named in paths:
        for path in _matches(named):
            for source in _expand_path(path):
                found.setdefault(source.path.resolve(), source)
    if not found:
        raise SourceError(f"No corpus files among {', '.join(map(str, paths))}: only checksum files. {FORMAT_HELP}.")
    return list(found.values())


def split_source(source: Source) -> list[Source]:
    """The parts of a large file that can be read from the middle, JSON lines or Parquet; any other source by itself.

    The parts depend on the file alone, so that a build that resumes finds the same ones.
    """
    file = source.file
    if source.format in ("jsonl", "beir") and read_start(file, 2) != GZIP_MAGIC:
        size = file.stat().st_size
        borders = [*range(0, size, PART_BYTES), size]
        if len(borders) > 2 and borders[-1] - borders[-2] < PART_BYTES // 2:
            del borders[-2]
        spans = [(begin, end, end - begin) for begin, end in pairwise(borders)]
    elif source.format == "parquet":
        spans = _row_group_spans(file)
    else:
        return [source]
    if len(spans) < 2:
        return [source]
    return [source._replace(part=Part(number, *span)) for number, span in enumerate(spans)]


def _row_group_spans(file: Path) -> list[tuple[int, int, int]]:
    """Runs of row groups of ``PART_BYTES`` or more, and their bytes."""
    spans: list[tuple[int, int, int]] = []
    begin = size = 0
    groups = row_group_sizes(file)
    for number, more in enumerate(groups, start=1):
        size += more
        if size >= PART_BYTES or number == len(groups):
            spans.append((begin, number, size))
            begin, size = number, 0
    return spans


def natural_key(path: Path) -> list[tuple[int, int | str]]:
    """A sort key that compares numbers in a path as numbers: n2 before n10."""
    parts = re.split(r"(\d+)", str(path))
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def _matches(named: Path) -> list[Path]:
    path = named.expanduser()
    if os.path.exists(path) or not glob.has_magic(str(path)):  # noqa: PTH110 - False for impossible names
        return [path]
    matches = sorted(map(Path, glob.glob(str(path), recursive=True)), key=natural_key)  # noqa: PTH207
    if not matches:
        raise SourceError(f"No file matches {named}. Check the pattern and the folder it starts from.")
    return matches


def _expand_path(path: Path) -> Iterator[Source]:
    with source_errors(path):
        size = path.stat().st_size
    if path.is_dir():
        yield from _expand_folder(path)
    elif not path.is_file():
        raise SourceError(f"{path} is neither a file nor a folder. Write its content to a file first.")
    elif not size:
        raise empty_error(path)
    elif path.suffix != ".md5":
        yield Source(path, _format_by_name(path) or _format_by_content(path))


def _expand_folder(folder: Path) -> Iterator[Source]:
    with source_errors(folder):
        entries = sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=natural_key)
    for path in entries:
        if path.is_symlink() and not path.exists() and (_format_by_name(path) or _is_json(path)):
            raise missing_error(path)
    files = [p for p in entries if p.is_file()]
    if any(p.name in BEIR_CORPUS_FILES for p in files):
        yield Source(folder, "beir")
        return
    found = [source for file in files for source in _file_of_folder(file)]
    if not found:
        folders = [p.name for p in entries if p.is_dir()]
        hint = f" Its subfolders are not searched; name them: {', '.join(folders[:5])}." if folders else ""
        raise SourceError(f"{folder} has no corpus files. {FORMAT_HELP}.{hint}")
    yield from found


def _file_of_folder(file: Path) -> Iterator[Source]:
    """Yield a file of a folder as a source, or nothing if it is not a corpus file."""
    file_format = _format_by_name(file)
    if not file_format and _is_json(file):  # a folder may contain other JSON, so the content decides
        file_format = "jsonl" if file.stat().st_size and _is_json_lines(read_head(file)) else None
    if file_format:
        if not file.stat().st_size:
            raise empty_error(file)
        yield Source(file, file_format)


def _format_by_name(path: Path) -> Format | None:
    return _FORMAT_OF_SUFFIX.get(Path(path.name.lower().removesuffix(".gz")).suffix)


def _is_json(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith(".json")


def _format_by_content(path: Path) -> Format:
    head = read_head(path)
    if head.startswith(b"PAR1"):
        return "parquet"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<"):
        return "pubmed"
    if text.startswith(b"["):
        raise SourceError(f"{path} is a JSON array. Write one record per line: jq -c '.[]' {path.name} > corpus.jsonl")
    if _is_json_lines(head):
        return "jsonl"
    raise SourceError(f"{path} is not in a known corpus format. {FORMAT_HELP}.")


def _is_json_lines(head: bytes) -> bool:
    """Whether the first line is a JSON object with an id; a line longer than ``head`` counts as one."""
    line, end, _ = head.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")
    if not line.startswith(b"{"):
        return False
    try:
        record = parse_json(line.decode())
    except ValueError:
        return not end and len(head) >= 1 << 16
    return any(name in record for name in ID_FIELDS)


def pubmed_number(path: str | Path) -> tuple[int, int] | None:
    """The (year, number) of a PubMed file name: (26, 1335) for "pubmed26n1335.xml.gz"; None for other names."""
    match = _PUBMED.match(Path(path).name)
    return (int(match.group(1)), int(match.group(2))) if match else None


def gaps(paths: Sequence[str | Path]) -> list[str]:
    """Missing names between the lowest and the highest number of each year: "pubmed26n1336" or "pubmed26n1336–1340"."""
    missing = []
    numbers = sorted(number for number in map(pubmed_number, paths) if number)
    for (year, before), (same, after) in itertools.pairwise(numbers):
        if year == same and after > before + 1:
            first, last = before + 1, after - 1
            missing.append(f"pubmed{year:02}n{first:04}" + (f"–{last:04}" if last > first else ""))
    return missing
