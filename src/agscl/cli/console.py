"""The console of every command. Names come from people's files: nothing in a text is markup, emoji code or escape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json
from rich.console import Console
from rich.progress import Progress, ProgressColumn, TextColumn
from rich.table import Table

from .text import printable

NARROWEST = 80
"""Columns of a table's lines where no terminal sets the width, at least."""

WIDEST = 10_000
"""More columns than any table has."""


class Output(Console):
    """Standard output, or standard error, for text and tables that mean what they say."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def say(self, text: str) -> None:
        """Write one line; a terminal wraps it, a pipe gets it whole."""
        self.print(printable(text), soft_wrap=True)

    def data(self, value: object) -> None:
        """Write a value as JSON, for other programs; what is not finite is null."""
        self.file.write(to_json(value, indent=2, inf_nan_mode="null").decode() + "\n")

    def show(self, table: Table) -> None:
        """Write a table, as wide as its cells where no terminal sets the width."""
        width = self.width
        if not self.is_terminal:
            self.width = max(NARROWEST, self.columns_of(table))
        self.print(table)
        self.width = width

    def columns_of(self, table: Table) -> int:
        """Columns that a table takes if it may."""
        return self.measure(table, options=self.options.update(width=WIDEST)).maximum

    def on_broken_pipe(self) -> None:
        """Leave it to `agscl.cli.main` to end the command quietly."""
        self.quiet = True
        raise BrokenPipeError


def table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", left: int = 1, whole: bool = False
) -> Table:
    """A table of cells.

    Args:
        heads: Heads of the columns.
        rows: The cells of each row.
        title: Above it.
        left: How many columns, from the first, are aligned to the left; the others are to the right.
        whole: Whether the first column is never folded.
    """
    grid = Table(title=printable(title) or None, title_justify="left")
    for column, head in enumerate(heads):
        grid.add_column(
            printable(head),
            justify="left" if column < left else "right",
            overflow="fold",
            no_wrap=whole and column == 0,
        )
    for row in rows:
        grid.add_row(*map(printable, row))
    return grid


def bars(output: Output, *columns: str | ProgressColumn, transient: bool = False) -> Progress:
    """Bars that move in a terminal and are nowhere else.

    Args:
        output: Where they are.
        columns: What is shown of each bar; a text is a template such as ``{task.description}``.
        transient: Whether they go when all is done.
    """
    shown = [TextColumn(column, markup=False) if isinstance(column, str) else column for column in columns]
    return Progress(*shown, console=output, transient=transient, disable=not output.is_terminal)
