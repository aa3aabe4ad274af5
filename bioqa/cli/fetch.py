"""``bioqa fetch``: download PubMed's files from NLM's server."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bioqa.cli.commands import Group
from bioqa.cli.output import echo, human_bytes, note, note_above, print_json, progress_bar

if TYPE_CHECKING:
    from bioqa.fetch.pubmed import FetchProgress, FetchReport

MAX_SHOWN_FAILED = 10


@click.group(name="fetch", cls=Group, example="bioqa fetch pubmed --updates --into pubmed")
def command() -> None:
    """Download PubMed's baseline and update files."""


@command.command(example="bioqa fetch pubmed --baseline --updates --into pubmed")
@click.option("--baseline", is_flag=True, help="Download the yearly baseline into DIR/baseline.")
@click.option("--updates", is_flag=True, help="Download the daily update files into DIR/updatefiles.")
@click.option("--into", metavar="DIR", type=click.Path(path_type=Path), required=True, help="Folder for the files.")
@click.option("--files", metavar="WHICH", help="Only these files, comma-separated: 1-20, 1300-, 7 or 'pubmed26n00*'.")
@click.option(
    "--base-url",
    metavar="URL",
    envvar="BIOQA_PUBMED_URL",
    default="https://ftp.ncbi.nlm.nih.gov/pubmed/",
    show_default=True,
    show_envvar=True,
    help="Server folder with baseline/ and updatefiles/.",
)
@click.option("--jobs", type=click.IntRange(1, 16), default=4, show_default=True, help="Files downloaded at a time.")
@click.option("--retries", type=click.IntRange(0), default=5, show_default=True, help="Retries per file.")
@click.option(
    "--timeout",
    type=float,
    default=60.0,
    show_default=True,
    help="Seconds of silence after which a connection is given up, and for its headers. Less than 1,000 bytes a second is silence.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def pubmed(
    *,
    baseline: bool,
    updates: bool,
    into: Path,
    files: str | None,
    base_url: str,
    jobs: int,
    retries: int,
    timeout: float,
    as_json: bool,
) -> None:
    """Download PubMed's --baseline, --updates or both.

    Every file is checked against its MD5 checksum. Existing files are skipped; an interrupted download resumes when the same
    command is given again. The data comes courtesy of the U.S. National Library of Medicine; a copy may not be the most current
    that NLM has. The result names the snapshot: the latest file on the server.
    """
    from bioqa.errors import SourceError
    from bioqa.fetch.pubmed import fetch_pubmed

    with progress_bar("bytes", None) as bar:
        bar.unit_scale = True

        def progress(state: "FetchProgress") -> None:
            bar.set_postfix_str(f"{state.files_done:,}/{state.files:,} files", refresh=False)
            bar.total = state.bytes
            bar.update(state.bytes_done - bar.n)

        report = fetch_pubmed(
            into,
            baseline=baseline,
            updates=updates,
            files=files,
            base_url=base_url,
            jobs=jobs,
            retries=retries,
            timeout=timeout,
            progress=progress,
            note=lambda text: note_above(bar, text),
        )
    _print_report(report, as_json)
    if report.failed:
        raise SourceError(_failure(report))


def _print_report(report: "FetchReport", as_json: bool) -> None:
    """Print the result to standard output, and a warning about stray files to standard error."""
    if as_json:
        print_json(asdict(report))
    else:
        date = f" of {report.snapshot_date}" if report.snapshot_date else ""
        echo(
            f"{report.into}: {_files(report.fetched)} downloaded ({human_bytes(report.bytes)}), {report.skipped:,} skipped "
            f"(already there) in {report.seconds:.1f} s; snapshot {report.snapshot}{date}"
        )
    if report.unlisted:
        note(
            f"{report.into} also contains {_files(len(report.unlisted))} that the server no longer lists, the first "
            f"{report.unlisted[0]}. Remove them before you build an index: an older year's updates would replace newer citations."
        )


def _files(number: int) -> str:
    return f"{number:,} file{'s' * (number != 1)}"


def _failure(report: "FetchReport") -> str:
    """An error message that names the failed files."""
    total = report.fetched + report.skipped + len(report.failed)
    shown = ", ".join(f"{failure.name} ({failure.reason})" for failure in report.failed[:MAX_SHOWN_FAILED])
    more = f" and {len(report.failed) - MAX_SHOWN_FAILED:,} more" if len(report.failed) > MAX_SHOWN_FAILED else ""
    return (
        f"{len(report.failed):,} of {_files(total)} could not be downloaded: {shown}{more}. "
        "Run the same command again to resume."
    )
