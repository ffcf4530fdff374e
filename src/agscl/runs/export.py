"""Tables as text for other programs: CSV with all digits, Markdown and LaTeX as they are to be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .files import write_bytes

if TYPE_CHECKING:
    from polars import DataFrame

_LATEX = {
    **{symbol: f"\\{symbol}" for symbol in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "µ": r"$\mu$",
}
FORMULA = r"^[=+\-@\t\r]"
"""What a spreadsheet takes for the beginning of a formula."""
ENDINGS = (".csv", ".md", ".tex")

Rows = Sequence[Sequence[str]]


def export(path: Path, numbers: DataFrame, heads: Sequence[str], rows: Rows, notes: Sequence[str] = ()) -> None:
    """Write a table in the format that the file's ending names.

    Args:
        path: Ends in ``.csv``, ``.md`` or ``.tex``.
        numbers: The table with all its digits, for CSV, which has no notes.
        heads: Heads of the columns as they are to be read.
        rows: Cells as they are to be read.
        notes: What the numbers are of, line by line.

    Raises:
        ValueError: If the ending is another.
        OSError: If the file cannot be written.
    """
    check_ending(path)
    if path.suffix == ".csv":
        text = plain_texts(numbers).write_csv()
    else:
        text = (markdown if path.suffix == ".md" else latex)(heads, rows, notes)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, text.encode())


def plain_texts(table: DataFrame) -> DataFrame:
    """A table whose texts no spreadsheet takes for formulas: an apostrophe stands before those that begin like one."""
    import polars

    texts = polars.col(polars.String)
    return table.with_columns(polars.when(texts.str.contains(FORMULA)).then("'" + texts).otherwise(texts).name.keep())


def check_ending(path: Path) -> None:
    """Refuse a file name that says no format, with a `ValueError`."""
    if path.suffix not in ENDINGS:
        raise ValueError(f"{path} ends in none of {', '.join(ENDINGS)}, which say how a table is written")


def markdown(heads: Sequence[str], rows: Rows, notes: Sequence[str] = ()) -> str:
    """A pipe table, the first column to the left, the others to the right; below it a paragraph for each note."""
    rule = ["---", *["---:"] * (len(heads) - 1)]
    lines = [heads, rule, *rows]
    table = "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
    return table + "".join(f"\n{note}\n" for note in notes)


def latex(heads: Sequence[str], rows: Rows, notes: Sequence[str] = ()) -> str:
    """A ``tabular`` with the rules of the booktabs package; above it a comment for each note."""
    comments = [f"% {note}" for note in notes]
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}", r"\toprule", _latex_row(heads), r"\midrule"]
    return "\n".join([*comments, *lines, *map(_latex_row, rows), r"\bottomrule", r"\end{tabular}", ""])


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join("".join(_LATEX.get(letter, letter) for letter in cell) for cell in cells) + r" \\"
