"""Tables of results in a format of the user's choice: what ``bioqa eval`` and ``bioqa classify`` write."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioqa.cli.commands import complete_file
from bioqa.cli.output import console, print_json, print_table

if TYPE_CHECKING:
    from bioqa.io.tables import Table

RESULT_OPTIONS = (
    click.option(
        "--format",
        "table_format",
        type=click.Choice(["table", "json", "csv", "latex", "markdown"]),
        default="table",
        show_default=True,
        help="Format of the result.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Same as --format json."),
    click.option(
        "--out",
        metavar="FILE",
        shell_complete=complete_file,
        default="-",
        help="Write the result to this file.  [default: standard output]",
    ),
)


def write_result(
    tables: Sequence["Table"], record: dict[str, Any], table_format: str, out: str, inputs: Sequence[Path]
) -> None:
    """Write ``tables``, or ``record`` with the format "json", to the file ``out`` ("-": standard output).

    Raises:
        OutputError: the file cannot be written, or is one of ``inputs``.
    """
    from bioqa.io.output import open_output
    from bioqa.io.tables import as_csv, as_latex, as_markdown
    from bioqa.io.terminal import printable_json

    if out == "-" and table_format == "table":
        for table in tables:
            print_table(console(), table)
        return
    if out == "-" and table_format == "json":
        print_json(record)
        return
    if table_format == "json":
        text = f"{printable_json(record)}\n"
    else:
        write = {"csv": as_csv, "latex": as_latex, "markdown": as_markdown, "table": _plain_text}[table_format]
        text = "\n".join(write(table) for table in tables)
    with open_output(out, inputs) as file:
        file.write(text)


def _plain_text(table: "Table") -> str:
    text = io.StringIO()
    print_table(console(text), table)
    return text.getvalue()
