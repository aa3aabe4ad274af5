"""The options of the first stage: which one, fusion, BM25, filters, query syntax and feedback."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioqa.cli.commands import FirstStageOption, add_options
from bioqa.cli.output import report_missing_fields
from bioqa.errors import IndexStateError, UsageError
from bioqa.index.filters import Filters
from bioqa.retrieve.options import SYNTAXES, SearchOptions

if TYPE_CHECKING:
    from bioqa.index.reader import Index
    from bioqa.retrieve.retriever import Retriever

FUSIONS = ("minmax", "rrf", "wsum")
"""The names in ``retrieve.fusion``, which imports numpy."""


def _option(*names: str, **settings: Any) -> Callable[[Any], Any]:
    return click.option(*names, cls=FirstStageOption, **settings)


_DATE = "YYYY[-MM[-DD]]"
filter_options = add_options(
    _option("--since", metavar=_DATE, default="", help="Only articles published on or after this day, month or year."),
    _option("--until", metavar=_DATE, default="", help="Only articles published on or before this day, month or year."),
    _option(
        "--journal",
        metavar="TITLE",
        multiple=True,
        help="Only this journal, by its title or abbreviation. This and the next five can be repeated: any value matches.",
    ),
    _option(
        "--author",
        metavar="NAME",
        multiple=True,
        help="Only this author: Smith, Smith J, Smith John, or the name of a group.",
    ),
    _option(
        "--mesh", metavar="HEADING", multiple=True, help="Only this MeSH heading: Descriptor or Descriptor/qualifier."
    ),
    _option(
        "--major-topic",
        metavar="HEADING",
        multiple=True,
        help="Only this MeSH heading, where the article is mainly about it.",
    ),
    _option("--type", metavar="TYPE", multiple=True, help="Only this publication type, such as Review."),
    _option(
        "--language", metavar="CODE", multiple=True, help="Only this language, by its three-letter code, such as eng."
    ),
    _option(
        "--mesh-tree",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Also find the headings narrower than those of --mesh and --major-topic, by NLM's descriptor file (descYYYY.xml).",
    ),
    _option("--has-abstract", is_flag=True, help="Only articles with an abstract."),
    _option("--exclude-retracted", is_flag=True, help="No articles that were retracted."),
    _option(
        "--as-of",
        metavar=_DATE,
        default="",
        help="Only citations that had entered PubMed by the end of this day, month or year.",
    ),
)
"""Which articles may be found."""
search_options = add_options(
    filter_options,
    _option(
        "--syntax",
        type=click.Choice(SYNTAXES),
        default="words",
        show_default=True,
        help="How to parse the question: as a bag of words, or as a query in Lucene's syntax.",
    ),
    _option(
        "--title-weight",
        metavar="WEIGHT",
        type=float,
        default=0.0,
        show_default=True,
        help="Add WEIGHT × the BM25 score of the title.",
    ),
    _option("--rm3", is_flag=True, help="Expand the question with RM3: terms of the top articles found."),
    _option("--k1", type=float, default=0.9, show_default=True, help="BM25's term frequency saturation."),
    _option("--b", type=float, default=0.4, show_default=True, help="BM25's length normalisation."),
)
"""The options of the first stage."""

_SEARCH = ("k1", "b", "syntax", "title_weight", "rm3")
_FILTERS = tuple(field.name for field in fields(Filters) if field.name != "narrower")


def take_search_options(given: dict[str, Any]) -> SearchOptions:
    """Remove the options of the first stage from a command's options, and return them as one value.

    Raises:
        UsageError: a value is out of range.
    """
    filters = take_filters(given)
    return SearchOptions(filters=filters, **{name: given.pop(name) for name in _SEARCH})


def take_filters(given: dict[str, Any]) -> Filters:
    """Remove the filters from a command's options, and return them as one value.

    Raises:
        UsageError: a date is malformed, a value is empty, or a heading is not in the file of ``--mesh-tree``.
        SourceError: that file cannot be read.
    """
    path = given.pop("mesh_tree")
    filters = Filters(**{name: given.pop(name) for name in _FILTERS})
    if path is None:
        return filters
    headings = (*filters.mesh, *filters.major_topic)
    if not headings:
        raise UsageError("--mesh-tree needs --mesh or --major-topic: it says which headings are narrower than those.")
    from bioqa.corpus.mesh_tree import read_mesh_tree

    return replace(filters, narrower=read_mesh_tree(path).narrower(headings))


retriever_options = add_options(
    _option(
        "--retriever",
        type=click.Choice(("auto", "bm25", "dense", "hybrid")),
        default="auto",
        show_default=True,
        help="What finds candidates: BM25, vectors, or both, fused; auto: both in an index with vectors.",
    ),
    _option("--fusion", type=click.Choice(FUSIONS), help="How the two are fused.  [default: minmax]"),
    _option(
        "--fusion-weight",
        metavar="WEIGHT",
        type=float,
        help="Share of the vectors in fused scores, 0 to 1.  [default: the index's, else 0.5]",
    ),
)
"""The options of the kind of the first stage."""


@dataclass(frozen=True)
class RetrieverOptions:
    """The values of ``retriever_options``."""

    retriever: str = "bm25"
    fusion: str | None = None
    fusion_weight: float | None = None

    @classmethod
    def take(cls, given: dict[str, Any]) -> "RetrieverOptions":
        """Remove the options of the retriever from a command's options, and return them as one value."""
        return cls(**{one.name: given.pop(one.name) for one in fields(cls)})

    def check_fusion(self, retriever: str, index: object) -> None:
        """Raise UsageError if fusion is asked for but nothing is fused."""
        if retriever != "hybrid" and (self.fusion or self.fusion_weight is not None):
            reason = "the index has no vectors" if self.retriever == "auto" else f"{retriever} is one of them"
            raise UsageError(f"--fusion and --fusion-weight fuse BM25 and vectors of {index}, but {reason}.")


BM25_ONLY = RetrieverOptions()


@contextmanager
def open_retriever(
    index: Path | None, corpus: Path | None, options: SearchOptions, chosen: RetrieverOptions = BM25_ONLY
) -> "Iterator[Retriever]":
    """A retriever over the index at a path, or else over a corpus file in memory.

    Raises:
        UsageError: the in-memory search does not support an option.
        IndexStateError: the index cannot be opened, or has no vectors for the retriever chosen.
        ModelError: the encoder of the vectors cannot be loaded.
    """
    if index is not None:
        from bioqa.index.reader import Index

        with Index(index) as opened:
            yield _over_index(opened, options, chosen)
        return
    if chosen.retriever in ("dense", "hybrid") or chosen.fusion or chosen.fusion_weight is not None:
        raise UsageError(
            "--retriever, --fusion and --fusion-weight need an index with vectors: a --corpus is searched in memory by BM25."
        )
    from bioqa.corpus.read_source import read_source
    from bioqa.corpus.sources import expand_sources
    from bioqa.retrieve.memory import MemoryRetriever, check_options

    assert corpus is not None
    check_options(options)
    yield MemoryRetriever(
        (record for source in expand_sources([corpus]) for record in read_source(source)), corpus.name
    )


def _over_index(index: "Index", options: SearchOptions, chosen: RetrieverOptions) -> "Retriever":
    """The chosen retriever; "auto" fuses if the index has vectors, except for questions in Lucene's syntax."""
    from bioqa.retrieve.bm25 import BM25Retriever

    vectors, kind = index.manifest.vectors, chosen.retriever
    if kind == "auto":
        kind = "hybrid" if vectors is not None and options.syntax == "words" else "bm25"
    chosen.check_fusion(kind, index.path)
    if kind == "bm25":
        return BM25Retriever(index)
    if vectors is None:
        raise IndexStateError(f"{index.path} has no vectors. Make them with `bioqa index embed {index.path}`.")
    from bioqa.encode.index_encoder import load_index_encoder
    from bioqa.retrieve.dense import DenseRetriever
    from bioqa.retrieve.fusion import HybridRetriever

    # One question is encoded in milliseconds on a CPU; a GPU takes seconds to start.
    dense = DenseRetriever(index, load_index_encoder(index.path, vectors, device="cpu"))
    if kind == "dense":
        return dense
    return HybridRetriever(BM25Retriever(index), dense, chosen.fusion or "minmax", chosen.fusion_weight)


def report_filters(retriever: "Retriever", options: SearchOptions) -> None:
    """Report how many articles of the whole index the filters excluded only because a field is missing."""
    missing = retriever.missing_field_counts(None, options)
    report_missing_fields(missing, retriever.unknown_filter_values(options), all_articles=True)
