"""What the user names (files, folders, globs) to a list of sources, each with its format."""

import glob
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from bioqa.corpus.beir import BEIR_CORPUS_FILES, beir_corpus_file
from bioqa.corpus.rows import ID_FIELDS
from bioqa.errors import SourceError, UsageError
from bioqa.io.text_files import empty_error, read_head, source_errors

Format = Literal["pubmed", "jsonl", "beir", "parquet"]

FORMAT_HELP = (
    "Known are PubMed XML (.xml, .xml.gz), JSON lines (.jsonl, .jsonl.gz), Parquet (.parquet) and BEIR folders"
)

_FORMAT_OF_SUFFIX: dict[str, Format] = {
    ".xml": "pubmed",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_PUBMED = re.compile(r"pubmed(\d\d)n(\d{4})\.xml")


class Source(NamedTuple):
    """One corpus file, or one BEIR folder, and its format."""

    path: Path
    format: Format

    @property
    def file(self) -> Path:
        """The file that holds the articles: ``corpus.jsonl`` of a BEIR folder, else the path itself."""
        return beir_corpus_file(self.path) if self.format == "beir" else self.path


def expand_sources(sources: Sequence[str | Path]) -> list[Source]:
    """Turn files, folders and globs into the list of sources to read, in the order given.

    A folder stands for the corpus files in it (not in its subfolders), in natural order of their names, so that
    PubMed files come in the numerical order in which they must be loaded; hidden files, ``.md5`` files and files of
    other kinds are left out. A folder that holds ``corpus.jsonl`` or ``corpus.jsonl.gz`` is one BEIR source. A glob
    stands for what it matches, in natural order; a path that exists is never taken for a glob. What is named twice is
    read once, at its first place.

    Raises:
        SourceError: a path does not exist, a glob matches nothing, a folder holds no corpus file, a file is empty, or
            its format is told neither by its name nor by its content.
        UsageError: no source is given.
    """
    if isinstance(sources, str | Path):
        sources = [sources]
    if not sources:
        raise UsageError("No corpus was given. Name a file, a folder or a glob.")
    found: dict[Path, Source] = {}
    for named in sources:
        for path in _matches(named):
            for source in _expand_path(path):
                found.setdefault(source.path.resolve(), source)
    if not found:
        raise SourceError(f"No corpus file among {', '.join(map(str, sources))}: only checksum files. {FORMAT_HELP}.")
    return list(found.values())


def natural_key(path: Path) -> list[tuple[int, int | str]]:
    """Return a sort key in which the numbers of a path count as numbers: n2 before n10."""
    parts = re.split(r"(\d+)", str(path))
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def _matches(named: str | Path) -> list[Path]:
    path = Path(named).expanduser()
    if path.exists() or not glob.has_magic(str(path)):
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
    files = [p for p in entries if p.is_file()]
    if any(p.name in BEIR_CORPUS_FILES for p in files):
        yield Source(folder, "beir")
        return
    found = [source for file in files for source in _file_of_folder(file)]
    if not found:
        folders = [p.name for p in entries if p.is_dir()]
        hint = f" Its subfolders are not searched; name them: {', '.join(folders[:5])}." if folders else ""
        raise SourceError(f"{folder} holds no corpus file. {FORMAT_HELP}.{hint}")
    yield from found


def _file_of_folder(file: Path) -> Iterator[Source]:
    """Yield the source that a file found in a folder is, or nothing where it is not a corpus file."""
    file_format = _format_by_name(file)
    if not file_format and _is_json(file):  # a folder may hold other JSON, so its content decides
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
        raise SourceError(f"{path} is one JSON array. Write one record a line: jq -c '.[]' {path.name} > corpus.jsonl")
    if _is_json_lines(head):
        return "jsonl"
    raise SourceError(f"{path} is of no known corpus format. {FORMAT_HELP}.")


def _is_json_lines(head: bytes) -> bool:
    """Say whether the first line is a JSON object with an id; a line longer than ``head`` is taken for one."""
    line, end, _ = head.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")
    if not line.startswith(b"{"):
        return False
    try:
        record = json.loads(line)
    except ValueError:
        return not end and len(head) >= 1 << 16
    return any(name in record for name in ID_FIELDS)


def pubmed_number(path: str | Path) -> tuple[int, int] | None:
    """(year, number) of a PubMed file name, "pubmed26n1335.xml.gz" → (26, 1335); None for other names."""
    match = _PUBMED.match(Path(path).name)
    return (int(match.group(1)), int(match.group(2))) if match else None


def gaps(paths: Sequence[str | Path]) -> list[str]:
    """The names missing between the lowest and the highest number of each year, as "pubmed26n1336" or "pubmed26n1336–1340"."""
    missing = []
    numbers = sorted(number for number in map(pubmed_number, paths) if number)
    for (year, before), (same, after) in itertools.pairwise(numbers):
        if year == same and after > before + 1:
            first, last = before + 1, after - 1
            missing.append(f"pubmed{year:02}n{first:04}" + (f"–{last:04}" if last > first else ""))
    return missing
