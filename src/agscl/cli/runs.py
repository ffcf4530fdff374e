"""``agscl runs``: what there is: many run folders as one table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polars import DataFrame

    from .parser import Commands

DESCRIPTION = """List the runs in folders: what was asked, whether it is complete, and what came out."""
SHOWN = ("run", "preset", "method", "options", "seed", "status", "tasks")
"""Columns that are always shown; the measures follow."""

IN_FILES_ONLY = ("learning_accuracy", "backward_transfer")
"""Measures that follow from those shown, nearly."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("runs", help="list recorded runs", description=DESCRIPTION)
    parser.add_argument("folders", metavar="DIR", nargs="*", type=Path, help="where to look (default: runs)")
    parser.add_argument("--preset", metavar="NAME", help="only runs of this preset")
    parser.add_argument("--method", metavar="NAME", help="only runs of this method")
    parser.add_argument("--seed", type=int, metavar="N", help="only runs with this seed")
    parser.add_argument("--status", choices=("complete", "incomplete", "unreadable"), help="only such runs")
    parser.add_argument("--sort", default="run", metavar="COLUMN", help="such as average_accuracy, the highest first")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table, too: .csv, .md or .tex")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; imports what is heavy.

    Raises:
        ValueError: If there is nothing to list, or a column is unknown.
        OSError: If a file cannot be read or written.
    """
    from rich.console import Console

    from agscl.runs.export import check_ending, export
    from agscl.runs.overview import overview

    from .tables import plain_table, show_table

    if arguments.out is not None:
        check_ending(arguments.out)
    table = _sorted(_filtered(overview(arguments.folders or [Path("runs")]), arguments), arguments.sort)
    heads, rows = _cells(table)
    show_table(Console(), plain_table(heads, rows, left=4))
    if arguments.out is not None:
        export(arguments.out, table, heads, rows)
    return 0


def _filtered(table: DataFrame, arguments: argparse.Namespace) -> DataFrame:
    for name in ("preset", "method", "seed", "status"):
        value = getattr(arguments, name)
        if value is not None:
            table = table.filter(table[name] == value)
    if table.is_empty():
        raise ValueError("no run is left by these filters")
    return table


def _sorted(table: DataFrame, column: str) -> DataFrame:
    if column not in table.columns:
        raise ValueError(f"there is no column {column!r}; there are: {', '.join(table.columns)}")
    return table.sort(column, descending=table[column].dtype.is_numeric(), nulls_last=True, maintain_order=True)


def _cells(table: DataFrame) -> tuple[list[str], list[list[str]]]:
    from agscl.metrics import MEASURES

    measures = [name for name in table.columns if table[name].dtype.is_float() and name not in IN_FILES_ONLY]
    shown = [*SHOWN, *measures]
    heads = [MEASURES[name].title if name in MEASURES else name.replace("_", " ") for name in shown]
    return heads, [[_cell(row[name]) for name in shown] for row in table.iter_rows(named=True)]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
