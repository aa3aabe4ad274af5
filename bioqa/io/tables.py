"""Tables of results as CSV, Markdown and LaTeX."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

Cell = str | int | float | None

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "−": "$-$",
}  # fmt: skip


_FORMULA_START = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, and the format of its numbers: a format specification, or "p" for p-values."""

    name: str
    format: str = ""

    def text(self, cell: Cell) -> str:
        """The cell as shown."""
        if cell is None:
            return ""
        if not isinstance(cell, float) or not self.format:
            return str(cell)
        if self.format == "p":
            return "<0.0001" if cell < 0.0001 else f"{cell:.4f}"
        return f"{cell:{self.format}}"

    @property
    def numeric(self) -> bool:
        """Whether it is a column of numbers, which are right-aligned."""
        return bool(self.format)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of results; each row has a cell for every column."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]

    def texts(self) -> list[list[str]]:
        """The rows as shown."""
        return [[column.text(cell) for column, cell in zip(self.columns, row, strict=True)] for row in self.rows]


def as_csv(table: Table) -> str:
    """CSV with a header; numbers in full precision. Text that a spreadsheet would run as a formula begins with "'"."""
    rows = [[column.name for column in table.columns], *table.rows]
    return "".join(csv_line([neutral(cell) for cell in row]) for row in rows)


def csv_line(cells: Sequence[Cell]) -> str:
    """A line of CSV with its line end."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)  # with "\n", a "\r" in a cell would not be quoted
    return line.getvalue().removesuffix("\r\n") + "\n"


def neutral(cell: Cell) -> Cell:
    """The cell, not run as a formula in a spreadsheet (https://owasp.org/www-community/attacks/CSV_Injection)."""
    if isinstance(cell, str) and cell.startswith(_FORMULA_START) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return "" if cell is None else cell


def as_markdown(table: Table) -> str:
    """A GitHub-flavoured Markdown table."""
    rule = ["---:" if column.numeric else "---" for column in table.columns]
    names = [column.name for column in table.columns]
    return "".join(
        f"| {' | '.join(text.replace('|', chr(92) + '|') for text in row)} |\n" for row in [names, rule, *table.texts()]
    )


def as_latex(table: Table) -> str:
    r"""A LaTeX tabular in the style of the booktabs package."""
    places = "".join("r" if column.numeric else "l" for column in table.columns)
    head = _latex_row([column.name for column in table.columns])
    body = "".join(_latex_row(row) for row in table.texts())
    return (
        "% needs \\usepackage{booktabs}\n"
        f"\\begin{{tabular}}{{{places}}}\n\\toprule\n{head}\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n"
    )


def _latex_row(cells: Sequence[str]) -> str:
    return f"{' & '.join(map(latex_text, cells))} \\\\\n"


def latex_text(text: str) -> str:
    """The text for LaTeX, with what it would interpret escaped."""
    return "".join(_LATEX.get(character, character) for character in text)
