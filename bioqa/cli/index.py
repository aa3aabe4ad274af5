"""``bioqa index``: build, update, embed, verify, info, values and tune."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bioqa.cli.commands import Group, complete_file, complete_from
from bioqa.cli.output import echo, human_bytes, note, print_json, progress_bar
from bioqa.cli.tune import bm25_command
from bioqa.errors import IndexStateError, UsageError
from bioqa.index.document import FILTER_FIELDS

if TYPE_CHECKING:
    from bioqa.encode.encoder import Encoder
    from bioqa.index.build import BuildProgress

_UNITS = {"": 1, "m": 1, "mb": 1, "g": 1024, "gb": 1024}


_device = click.option(
    "--device",
    shell_complete=complete_from("auto", "cpu", "cuda", "mps"),
    default="auto",
    show_default=True,
    help="Where vectors are made: cpu, cuda, cuda:N, mps, or several GPUs: cuda:0,cuda:1.",
)


@click.group(name="index", cls=Group, example="bioqa index build indexes/pubmed pubmed/baseline pubmed/updatefiles")
def command() -> None:
    """Build, update, verify, describe and tune a BM25 index, and list its values."""


def _megabytes(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """The MiB of a size such as 4g or 800m."""
    if value is None:
        return None
    digits = value.rstrip("mMgGbB")
    unit = value[len(digits) :].lower()
    if not digits.isdecimal() or unit not in _UNITS:
        raise UsageError(f"--memory must be a size such as 4g or 800m, not {value!r}.")
    return int(digits) * _UNITS[unit]


@command.command(example="bioqa index build indexes/pubmed pubmed/baseline --workers 8 --memory 16g")
@click.argument("index", type=click.Path(path_type=Path))
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, shell_complete=complete_file)
@click.option("--overwrite", is_flag=True, help="Replace an existing index.")
@click.option("--skip-bad", is_flag=True, help="Skip, report and count malformed records instead of aborting.")
@click.option("--workers", metavar="N", type=int, help="Worker processes.  [default: one per core]")
@click.option(
    "--memory",
    metavar="SIZE",
    callback=_megabytes,
    help="Java memory of all workers, such as 4g.  [default: a quarter of the machine's]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def build(
    index: Path,
    sources: tuple[str, ...],
    overwrite: bool,
    skip_bad: bool,
    workers: int | None,
    memory: int | None,
    as_json: bool,
) -> None:
    """Build INDEX from one or more SOURCEs.

    A SOURCE is PubMed XML (.xml, .xml.gz), JSONL, Parquet, a BEIR folder, a folder of these or a glob. A repeated citation
    replaces the earlier one, and DeleteCitation deletes it. A malformed record aborts the build. An interrupted build resumes
    when the same command is given again. With --overwrite, the old index remains searchable until the new one is complete.
    """
    from bioqa.index.build import build_index

    with progress_bar("MB", None) as bar:

        def progress(state: "BuildProgress") -> None:
            bar.total = state.bytes / 1e6
            speed = f"{state.articles:,} citations"
            bar.set_postfix_str(f"{state.sources_done}/{state.sources} files, {speed}", refresh=False)
            bar.update(state.bytes_done / 1e6 - bar.n)

        report = build_index(
            index,
            sources,
            overwrite=overwrite,
            skip_bad=skip_bad,
            workers=workers,
            memory_mb=memory,
            note=note,
            progress=progress,
        )
    if as_json:
        print_json(asdict(report))
        return
    deleted = f", {report.deletions:,} deletions" if report.deletions else ""
    skipped = f", {report.skipped:,} malformed skipped" if skip_bad else ""
    resumed = f" (resumed after {report.resumed:,} sources)" if report.resumed else ""
    echo(
        f"{index}: {report.documents:,} articles ({report.articles:,} read{deleted}{skipped}) in {report.seconds:.1f} s{resumed}"
    )


def _share(context: click.Context, parameter: click.Parameter, value: str) -> float:
    """A share such as 10% or 0.1, as a number from 0 to 1."""
    text = value.strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"{parameter.opts[0]} must be a share between 0% and 100%, not {value!r}.")
    return share


@command.command(example="bioqa index update indexes/pubmed pubmed/updatefiles")
@click.argument("index", type=click.Path(path_type=Path))
@click.argument("files", metavar="FILE...", nargs=-1, required=True, shell_complete=complete_file)
@click.option("--skip-bad", is_flag=True, help="Skip, report and count malformed records instead of aborting.")
@click.option(
    "--compact-above",
    callback=_share,
    default="10%",
    show_default=True,
    metavar="SHARE",
    help="Merge deleted documents away if their share is larger; 0 for always, 100% for never.",
)
@click.option("--no-embed", is_flag=True, help="Make no vectors, in an index that has them.")
@_device
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def update(
    index: Path,
    files: tuple[str, ...],
    skip_bad: bool,
    compact_above: float,
    no_embed: bool,
    device: str,
    as_json: bool,
) -> None:
    """Add update FILEs to INDEX.

    Revisions replace citations, DeleteCitation deletes them, and files that are already in the index are skipped. All changes
    are committed together at the end; until then, searches see the old index. Replaced and deleted documents count in BM25's
    statistics until they are merged away. In an index with vectors, new and revised articles get one too.
    """
    from bioqa.index.update import update_index

    encoder = None if no_embed else _update_encoder(index, device)
    with progress_bar("citations", None) as bar:

        def progress(count: int) -> None:
            bar.update(count)

        report = update_index(
            index,
            files,
            skip_bad=skip_bad,
            compact_above=compact_above,
            encoder=encoder,
            note=note,
            progress=progress,
        )
    if report.without_vector:
        note(f"{report.without_vector:,} articles have no vector. `bioqa index embed {index}` makes them.")
    if as_json:
        print_json(asdict(report))
        return
    known = f", {report.files_known:,} already in the index" if report.files_known else ""
    echo(
        f"{index}: {report.documents:,} articles ({report.documents_before:,} before) after {report.files:,} files{known}: "
        f"{report.articles:,} records, {report.deletions:,} deletions, {report.skipped:,} skipped, in {report.seconds:.1f} s"
    )


def _update_encoder(index: Path, device: str) -> "Encoder | None":
    """The encoder of an index's vectors; None without any, or if they were read from files."""
    from bioqa.index.reader import Index

    with Index(index) as opened:
        vectors = opened.manifest.vectors
    if vectors is None or vectors.source:
        return None
    from bioqa.encode.index_encoder import load_index_encoder

    return load_index_encoder(index, vectors, device=device)


@command.command(example="bioqa index embed indexes/pubmed --device cuda:0,cuda:1")
@click.argument("index", type=click.Path(path_type=Path))
@click.option(
    "--model",
    metavar="MODEL",
    shell_complete=complete_file,
    help="Bi-encoder: a Hugging Face name or a local folder.  [default: the index's, else bge-small-en-v1.5]",
)
@click.option(
    "--pooling",
    metavar="NAME",
    help="cls, mean or max, for a model that sentence-transformers did not save.  [default: the model's]",
)
@click.option(
    "--vectors",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Take the vectors from MedCPT's files in DIR; --model is their query encoder.",
)
@_device
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def embed(
    index: Path, model: str | None, pooling: str | None, vectors: Path | None, device: str, as_json: bool
) -> None:
    """Give every article of INDEX a vector, for dense and hybrid search.

    The vector is that of the first 512 tokens of title and abstract. Articles that have one of the same model keep it. All vectors
    are committed together at the end; until then, searches see the old index. An interrupted run resumes when the same command is
    given again.
    """
    from bioqa.encode.encoder import Encoder
    from bioqa.encode.vector_files import VectorFiles
    from bioqa.index.embed import EmbedProgress, embed_index
    from bioqa.index.reader import Index

    with Index(index) as opened:
        found = opened.manifest.vectors
    if model is None and vectors is None and found is not None and found.source:
        raise UsageError(
            f"The vectors of {index} were read from {found.source}. Name it with --vectors, or another encoder with --model."
        )
    max_length = None
    if model is None and found is not None:
        model, pooling, max_length = found.model, pooling or found.pooling, found.max_length
    encoder = Encoder(model, device=device, pooling=pooling, max_length=max_length)
    with progress_bar("articles", None) as bar:

        def progress(state: EmbedProgress) -> None:
            bar.total = state.total
            bar.update(state.done - bar.n)

        report = embed_index(index, VectorFiles(vectors, encoder) if vectors else encoder, progress=progress)
    if as_json:
        print_json(asdict(report))
        return
    resumed = f" ({report.resumed:,} of them before)" if report.resumed else ""
    echo(
        f"{index}: {report.with_vector:,} of {report.documents:,} articles have a vector of {encoder.label}; "
        f"{report.encoded + report.resumed:,} encoded{resumed} in {report.seconds:.1f} s"
    )


@command.command(example="bioqa index compact indexes/pubmed")
@click.argument("index", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def compact(index: Path, as_json: bool) -> None:
    """Merge the deleted documents of INDEX away.

    Scores then equal those of an index built anew from the same articles. Searches see the old index until the end.
    """
    from bioqa.index.update import compact_index

    report = compact_index(index)
    if as_json:
        print_json(asdict(report))
    else:
        echo(f"{index}: {report.documents:,} articles, {report.deleted:,} deleted documents merged away.")


@command.command(example="bioqa index verify indexes/demo")
@click.argument("index", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(index: Path, as_json: bool) -> None:
    """Check every byte of INDEX and its counts.

    The exit code is 0 only if the index is intact.
    """
    from bioqa.index.verify import verify_index

    report = verify_index(index)
    if as_json:
        print_json(asdict(report))
    else:
        for warning in report.warnings:
            echo(f"Warning: {warning}")
        for error in report.errors:
            echo(f"Error: {error}")
        if not report.errors:
            echo(f"{index}: intact, {report.documents:,} articles")
    if report.errors:
        raise IndexStateError(f"{index} is damaged. Build it again with --overwrite, or restore a copy.")


@command.command(example="bioqa index info indexes/demo")
@click.argument("index", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(index: Path, as_json: bool) -> None:
    """Show the documents, fields, sources, date and size of INDEX."""
    from bioqa.index.reader import Index

    with Index(index) as opened:
        facts = opened.info()
    if as_json:
        print_json(asdict(facts), indent=1)
        return
    rows = {
        "Index": facts.path,
        "Documents": f"{facts.documents:,}",
        "Deleted": f"{facts.deleted:,} ({facts.deleted / max(facts.documents + facts.deleted, 1):.1%} of all, until compacted)",
        "Fields": ", ".join(facts.fields),
        "Snapshot": f"{facts.snapshot or 'unknown'} (latest revision date of a citation)",
        "Entered": f"{facts.first_entered} to {facts.last_entered} (when its citations entered PubMed)"
        if facts.first_entered
        else "unknown (no citation has the date of entry into PubMed)",
        "Built": f"{facts.created} by bioqa {facts.version}, index format {facts.format}",
        "Size": human_bytes(facts.size),
        "Sources": f"{len(facts.sources):,}",
    }
    if facts.vectors is not None:
        rows["Vectors"] = (
            f"{facts.with_vector:,} of {facts.documents:,} articles, {facts.vectors.dimension} dimensions by {facts.vectors.model}"
        )
    for name, value in rows.items():
        echo(f"{name:<10} {value}")
    for entry in facts.sources:
        deletions = f", {entry.deletions:,} deletions" if entry.deletions else ""
        skipped = f", {entry.skipped:,} skipped" if entry.skipped else ""
        echo(
            f"  {entry.path}  {entry.articles:,} articles{deletions}{skipped}, {human_bytes(entry.size)}, md5 {entry.md5}"
        )


@command.command(example="bioqa index values indexes/demo mesh --prefix diab")
@click.argument("index", type=click.Path(path_type=Path))
@click.argument("field", type=click.Choice([name.replace("_", "-") for name in FILTER_FIELDS]))
@click.option("--prefix", metavar="TEXT", default="", help="Only values that begin with TEXT, ignoring case.")
@click.option(
    "--top", metavar="N", type=click.IntRange(min=1), default=20, show_default=True, help="The N most frequent values."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def values(index: Path, field: str, prefix: str, top: int, as_json: bool) -> None:
    """List the values of FIELD and their numbers of articles.

    These are the values that the filters of `bioqa search` accept: --journal, --mesh and so on.
    """
    from bioqa.index.reader import Index

    with Index(index) as opened:
        found = opened.values(field.replace("-", "_"), prefix, top + 1)
    found, more = found[:top], len(found) > top
    if as_json:
        print_json([{"value": value, "articles": count} for value, count in found])
        return
    width = max((len(f"{count:,}") for _, count in found), default=0)
    for value, count in found:
        echo(f"{count:>{width},}  {value}")
    if not found:
        begins = f" that begins with {prefix!r}" if prefix else ""
        note(f"No article in {index} has a value of {field}{begins}.")
    if more:
        note(f"There are more values: --top shows more than {top:,}.")


command.add_command(bm25_command)
