"""The listings and .md5 files of NLM's server, and selections among its files."""

import math
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import NamedTuple

from bioqa.errors import UsageError

_NAME = r"pubmed\d{2}n\d{4,6}\.xml\.gz"
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class RemoteFile(NamedTuple):
    """A file of a listing, with the listing's rounded ``size`` in bytes and its ``date`` as text; 0 and "" if it has none."""

    folder: str
    name: str
    size: int
    date: str

    @property
    def key(self) -> str:
        """Folder and name: "baseline/pubmed26n0001.xml.gz"."""
        return f"{self.folder}/{self.name}"

    @property
    def max_bytes(self) -> int:
        """The most that the file may have: twice the listing's size, as it may have been replaced since, or 1 GiB."""
        return min(2 * self.size + (1 << 20), 1 << 34) if self.size else 1 << 30

    @property
    def order(self) -> tuple[int, int]:
        """Year and number, the order in which PubMed files must be loaded."""
        year, number = re.findall(r"\d+", self.name)[:2]
        return int(year), int(number)


def parse_listing(html: str, folder: str) -> list[RemoteFile]:
    """The PubMed files linked on the index page of a folder, in numerical order, with date and size if the page has them."""
    found = {}
    for piece in html.split("href=")[1:]:
        link = re.match(rf"[\"']?(?:[^\"'>\s]*/)?({_NAME})[\"'\s>]", piece)
        if link:
            text = re.sub(r"<[^<>]*>", " ", piece)
            details = re.search(
                r"(\d{4}-\d\d-\d\d|\d\d-[A-Z][a-z]{2}-\d{4}) [\d:]+\s+(\d{1,12}(?:\.\d+)?)(?!\d)\s*([KMG]?)", text
            )
            date, size, unit = details.groups() if details else ("", "0", "")
            found[link[1]] = RemoteFile(folder, link[1], int(float(size) * _UNITS[unit]), date)
    return sorted(found.values(), key=lambda file: file.order)


def parse_md5(text: str) -> str | None:
    """The checksum in a .md5 file, "MD5(name)= hex" or "hex  name", in lower case; None if there is none."""
    found = re.search(r"(?<!\w)[0-9a-fA-F]{32}(?!\w)", text)
    return found[0].lower() if found else None


def file_filter(selection: str | None) -> Callable[[RemoteFile], bool]:
    """A predicate for "1-20", "1300-", "7", "pubmed26n00*" or a comma-separated list of these; None selects every file.

    Raises:
        UsageError: the selection is invalid.
    """
    ranges, patterns = [], []
    for item in [] if selection is None else selection.replace(" ", "").split(","):
        first, dash, last = item.partition("-")
        if re.fullmatch(r"[0-9]+(-[0-9]*)?|-[0-9]+", item):
            ranges.append((int(first or 0), int(last) if last else math.inf if dash else int(first)))
        elif re.search(r"[*?]|^pubmed", item):
            patterns += [item, f"{item}.xml.gz"]
        else:
            raise UsageError(
                f"Invalid selection of files {selection!r}. Give numbers (1-20, 1300-, 7) or names (pubmed26n00*)."
            )

    def wanted(file: RemoteFile) -> bool:
        in_range = any(first <= file.order[1] <= last for first, last in ranges)
        return selection is None or in_range or any(fnmatchcase(file.name, pattern) for pattern in patterns)

    return wanted
