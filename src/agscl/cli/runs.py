"""``agscl runs``: many run folders as one table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from agscl.benchmarks.own.source import is_own
from agscl.experiments.supervised.own import own_name
from agscl.experiments.words import NOTHING
from agscl.runs.export import check_ending, export
from agscl.runs.overview import overview

from .console import Output, table
from .text import printable, title

if TYPE_CHECKING:
    from polars import DataFrame

SHOWN = ("run", "preset", "method", "options", "seed", "status", "tasks")
"""Columns that are always shown; the measures follow."""

IN_FILES_ONLY = ("learning_accuracy", "backward_transfer")
"""Measures that follow from those shown, nearly."""


def run(arguments: argparse.Namespace) -> int:
    """Show the table, and write it where the arguments say; returns 0."""
    if arguments.out is not None:
        check_ending(arguments.out)
    runs = overview(arguments.folders or [Path("runs")])
    for name in ("preset", "method", "seed", "status"):
        value = getattr(arguments, name)
        value = own_name(value) if name == "preset" and value is not None and is_own(value) else value
        runs = runs if value is None else runs.filter(runs[name] == value)
    if runs.is_empty():
        raise ValueError("no run is left by these filters")
    if arguments.sort not in runs.columns:
        raise ValueError(f"there is no column {arguments.sort!r}; there are: {', '.join(runs.columns)}")
    highest_first = runs[arguments.sort].dtype.is_numeric()
    runs = runs.sort(arguments.sort, descending=highest_first, nulls_last=True, maintain_order=True)
    measures = [name for name in runs.columns if runs[name].dtype.is_float() and name not in IN_FILES_ONLY]
    heads, rows = _cells(runs, [*SHOWN, *measures])
    if arguments.json:
        Output().data(list(runs.iter_rows(named=True)))
    else:
        Output().show(table(heads, rows, left=4))
    if arguments.out is not None:
        export(arguments.out, runs, *_cells(runs, [*SHOWN, "scale", *measures, "environment"]))
    return 0


def _cells(runs: DataFrame, columns: list[str]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows as they are to be read."""

    def cell(value: object) -> str:
        if value is None:
            return NOTHING
        return printable(f"{value:.4g}" if isinstance(value, float) else str(value))

    return list(map(title, columns)), [[cell(row[name]) for name in columns] for row in runs.iter_rows(named=True)]
