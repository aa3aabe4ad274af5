"""``bioqa index``: build and info."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bioqa.cli.output import human_bytes, note, progress_bar

if TYPE_CHECKING:
    from bioqa.errors import RecordError
    from bioqa.index.writer import BuildProgress

MAX_SHOWN_BAD = 20


@click.group(name="index")
def command() -> None:
    """Build a BM25 index from abstract dumps; tell what one holds."""


@command.command()
@click.argument("index", type=click.Path(path_type=Path))
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--overwrite", is_flag=True, help="Replace an index that is there already.")
@click.option("--skip-bad", is_flag=True, help="Skip malformed records, report them and count them.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def build(index: Path, sources: tuple[str, ...], overwrite: bool, skip_bad: bool, as_json: bool) -> None:
    """Build INDEX from each SOURCE: PubMed XML (.xml, .xml.gz), JSONL, Parquet, a BEIR folder, a folder of these or a glob.

    Later sources win: a citation that comes again replaces the earlier one, and DeleteCitation drops it. The index is there
    whole when the command ends, or not at all.
    """
    from bioqa.index import build_index

    bad = 0

    def on_bad(problem: "RecordError") -> None:
        nonlocal bad
        bad += 1
        if bad <= MAX_SHOWN_BAD:
            note(f"Skipped: {problem}")
        elif bad == MAX_SHOWN_BAD + 1:
            note("Further skipped records are counted only.")

    with progress_bar("citations", None) as bar:

        def progress(state: "BuildProgress") -> None:
            bar.set_postfix_str(f"{state.sources_done}/{state.sources} sources", refresh=False)
            bar.update(state.articles - bar.n)

        report = build_index(
            index, sources, overwrite=overwrite, on_bad=on_bad if skip_bad else None, progress=progress
        )
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    skipped = f", {report.skipped:,} malformed skipped" if skip_bad else ""
    deleted = f", {report.deletions:,} deletions" if report.deletions else ""
    click.echo(
        f"{index}: {report.documents:,} articles ({report.articles:,} read{deleted}{skipped}) in {report.seconds:.1f} s"
    )


@command.command()
@click.argument("index", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(index: Path, as_json: bool) -> None:
    """Tell what INDEX holds: documents, fields, sources, snapshot date, size."""
    from bioqa.index import Index

    with Index(index) as opened:
        facts = opened.info()
    if as_json:
        click.echo(json.dumps(asdict(facts), ensure_ascii=False, indent=1))
        return
    rows = {
        "Index": facts.path,
        "Documents": f"{facts.documents:,}",
        "Fields": ", ".join(facts.fields),
        "Snapshot": f"{facts.snapshot or 'not known'} (latest revision date of a citation)",
        "Built": f"{facts.created} by bioqa {facts.version}, index format {facts.format}",
        "Size": human_bytes(facts.size),
        "Sources": f"{len(facts.sources):,}",
    }
    for name, value in rows.items():
        click.echo(f"{name:<10} {value}")
    for entry in facts.sources:
        deletions = f", {entry.deletions:,} deletions" if entry.deletions else ""
        skipped = f", {entry.skipped:,} skipped" if entry.skipped else ""
        click.echo(
            f"  {entry.path}  {entry.articles:,} articles{deletions}{skipped}, {human_bytes(entry.size)}, md5 {entry.md5}"
        )
