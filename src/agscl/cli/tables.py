"""Results as tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agscl.experiments import Result
from agscl.experiments.supervised.comparison import compare

WIDE = 10_000
"""More columns than any table has."""

NOTHING = "-"
"""Shown where a value was not measured or has no meaning."""


def show(console: Console, results: Sequence[Result]) -> None:
    """Show accuracy matrices if they fit the width, measures, and what became of each task."""
    experiment = results[0].experiment
    console.print(f"\n{experiment.preset}, seed {experiment.seed} (one run of each method)", highlight=False)
    console.print(f"{results[0].scale_in_words()}\n", highlight=False)
    for result in results:
        matrix = _matrix(result)
        if _width(console, matrix) <= console.width:
            console.print(matrix)
    console.print(_measures(results))
    for result in results:
        show_table(console, _tasks(result))


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
        console.width = max(80, _width(console, table))
    console.print(table)


def _width(console: Console, table: Table) -> int:
    """Columns that a table takes if it may."""
    return console.measure(table, options=console.options.update(width=WIDE)).maximum


def _matrix(result: Result) -> Table:
    tasks = result.history.tasks
    table = Table(title=f"{result.method}: accuracy (%) on each task", title_justify="left")
    numbers = [str(number) for number in range(1, len(tasks) + 1)]
    for head in ("after", *numbers):
        table.add_column(head, justify="right")
    for number, task in zip(numbers, tasks, strict=True):
        measured = [_percent(value) for value in task.accuracy]
        table.add_row(number, *measured, *[""] * (len(tasks) - len(measured)))
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


def _tasks(result: Result) -> Table:
    """Accuracy on each task, and the nodes right after it."""
    tasks = result.history.tasks
    table = Table(title=f"{result.method}: tasks (%)", title_justify="left")
    table.add_column("task", no_wrap=True)
    for head in ("learned", "at the end", "sparsity", "used capacity", "epochs"):
        table.add_column(head, justify="right")
    for number, (task, last) in enumerate(zip(tasks, tasks[-1].accuracy, strict=True), 1):
        values = map(_percent, (task.accuracy[-1], last, task.sparsity, task.used_capacity))
        table.add_row(f"{number}  {task.name}", *values, str(task.epochs))
    return table


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.1f}"
