"""Results as tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agscl.experiments import Result, compare

WIDE = 10_000
"""More columns than any table has."""

NOTHING = "-"
"""Shown where a value was not measured or has no meaning."""


def show(console: Console, results: Sequence[Result]) -> None:
    """Show accuracy matrices, measures, and sparsity and used capacity for each task."""
    experiment = results[0].experiment
    console.print(f"\n{experiment.preset}, seed {experiment.seed} (one run of each method)", highlight=False)
    console.print(f"{results[0].scale_in_words()}\n", highlight=False)
    for result in results:
        console.print(_matrix(result))
    console.print(_measures(results))
    for result in results:
        console.print(_capacity(result))


def plain_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> Table:
    """A table of cells; the first so many columns are aligned to the left, the others to the right."""
    table = Table(title_justify="left")
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def show_table(console: Console, table: Table) -> None:
    """Print a table, as wide as its cells where no terminal sets the width."""
    if not console.is_terminal:
        console.width = WIDE
        console.width = max(80, console.measure(table).maximum)
    console.print(table)


def _matrix(result: Result) -> Table:
    tasks = result.history.tasks
    table = Table(title=f"{result.method}: accuracy (%) on each task", title_justify="left")
    table.add_column("after learning")
    for number in range(1, len(tasks) + 1):
        table.add_column(f"task {number}", justify="right")
    for number, task in enumerate(tasks, 1):
        measured = [_percent(value) for value in task.accuracy]
        table.add_row(f"{number}  {task.name}", *measured, *[""] * (len(tasks) - len(measured)))
    return table


def _measures(results: Sequence[Result]) -> Table:
    table = Table(title="measures (fractions of 1)", title_justify="left")
    table.add_column("")
    compared = compare(results)
    for method in compared:
        table.add_column(method, justify="right")
    for name in next(iter(compared.values())):
        table.add_row(name.replace("_", " "), *(f"{measures[name]:.3f}" for measures in compared.values()))
    return table


def _capacity(result: Result) -> Table:
    table = Table(title=f"{result.method}: nodes (%)", title_justify="left")
    table.add_column("after learning")
    table.add_column("sparsity", justify="right")
    table.add_column("used capacity", justify="right")
    table.add_column("epochs", justify="right")
    for number, task in enumerate(result.history.tasks, 1):
        values = (_percent(task.sparsity), _percent(task.used_capacity), str(task.epochs))
        table.add_row(f"{number}  {task.name}", *values)
    return table


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.1f}"
