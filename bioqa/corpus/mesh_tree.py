"""The tree of MeSH headings, from NLM's descriptor file (https://nlmpubs.nlm.nih.gov/projects/mesh/MESH_FILES/xmlmesh/).

Format: https://www.nlm.nih.gov/mesh/xml_data_elements.html
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bioqa.corpus.markup import text_of
from bioqa.corpus.xml_records import xml_records
from bioqa.errors import SourceError, UsageError
from bioqa.io.bad_records import MalformedError

_RECORDS_OF_ROOT = {"DescriptorRecordSet": ("DescriptorRecord",)}


class MeshTree:
    """The descriptors of MeSH with the headings narrower than each.

    ``numbers`` has the tree numbers ("C08.127.108") of each descriptor, ``entry_terms`` the descriptor that each synonym stands
    for. ``name`` is what error messages call the tree.
    """

    def __init__(
        self, numbers: Mapping[str, Sequence[str]], entry_terms: Mapping[str, str], name: str = "MeSH"
    ) -> None:
        self._numbers = numbers
        self._entry_terms = {term.lower(): descriptor for term, descriptor in entry_terms.items()}
        self._name = name
        self._descriptors = {descriptor.lower(): descriptor for descriptor in numbers}
        # With a full stop at the end, the numbers below one follow it: "C08." < "C08.127." < "C080."
        self._places = sorted((f"{number}.", descriptor) for descriptor, found in numbers.items() for number in found)

    def __len__(self) -> int:
        return len(self._numbers)

    def narrower(self, headings: Iterable[str]) -> tuple[tuple[str, ...], ...]:
        """For each heading, its descriptor and the narrower ones below it, sorted: what ``Filters.narrower`` takes.

        A heading is a descriptor or "Descriptor/qualifier", in any case.

        Raises:
            UsageError: a heading is not in the tree.
        """
        return tuple(self._below(descriptor) for descriptor in dict.fromkeys(map(self._descriptor, headings)))

    def _descriptor(self, heading: str) -> str:
        name = heading.strip().lower()
        found = self._descriptors.get(name) or self._descriptors.get(name.partition("/")[0].rstrip())
        if found is not None:
            return found
        synonym = self._entry_terms.get(name) or self._entry_terms.get(name.partition("/")[0].rstrip())
        hint = f"It stands for {synonym!r}: filter on that." if synonym else self._nearest(name)
        raise UsageError(f"{self._name} has no MeSH heading {heading.strip()!r}. {hint}")

    def _nearest(self, name: str) -> str:
        from difflib import get_close_matches

        near = get_close_matches(name.partition("/")[0], self._descriptors, n=1)
        return f"The nearest is {self._descriptors[near[0]]!r}." if near else "Check its spelling."

    def _below(self, descriptor: str) -> tuple[str, ...]:
        found = set()
        for number in self._numbers[descriptor]:
            at = bisect_left(self._places, (f"{number}.", ""))
            while at < len(self._places) and self._places[at][0].startswith(f"{number}."):
                found.add(self._places[at][1])
                at += 1
        return (descriptor, *sorted(found - {descriptor}))


def read_mesh_tree(path: Path) -> MeshTree:
    """Read NLM's descriptor file, such as desc2026.xml or desc2026.gz.

    Raises:
        SourceError: the file is missing, not NLM's XML of descriptors, invalid or truncated, or has no descriptors.
    """

    def unknown_root(root: str) -> None:
        raise SourceError(
            f"{path} is not NLM's file of MeSH descriptors: its root element is {root}, not DescriptorRecordSet. Download "
            "descYYYY.xml from https://www.nlm.nih.gov/databases/download/mesh.html."
        )

    numbers: dict[str, list[str]] = {}
    entry_terms: dict[str, str] = {}
    for record in xml_records(path, _RECORDS_OF_ROOT, unknown_root):
        try:
            name = text_of(record.find("DescriptorName/String"))
            places = [text_of(one) for one in record.iterfind("TreeNumberList/TreeNumber")]
            terms = [text_of(one) for one in record.iterfind("ConceptList/Concept/TermList/Term/String")]
            if not name:
                raise MalformedError("a descriptor has no name")
        except MalformedError as error:
            raise SourceError(f"{path}, line {record.sourceline}: {error}. Download the file again.") from None
        numbers[name] = [place for place in places if place]
        for term in terms:
            entry_terms.setdefault(term, name)
    if not numbers:
        raise SourceError(f"{path} has no MeSH descriptors. Check the file.")
    return MeshTree(numbers, entry_terms, path.name)
