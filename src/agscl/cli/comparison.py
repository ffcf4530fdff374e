"""Methods side by side: a row a method, a column a measure, each with its interval; to the terminal and to a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from agscl.experiments.supervised.aggregate import Row
from agscl.metrics import Interval, Range
from agscl.runs.export import check_ending, export

from .tables import NOTHING, plain_table, show_table

if TYPE_CHECKING:
    from polars import DataFrame

PERCENTAGES = {
    "average_accuracy": "accuracy %",
    "forgetting": "forgetting %",
    "plasticity": "plasticity %",
    "stability": "stability %",
}
COSTS = {"regularization_bytes": "regularization bytes", "memory_bytes": "memory bytes", "seconds": "seconds"}
COMPARED = "average_accuracy"
"""The measure that methods are tested in."""

STATISTICS = {
    "mean": "mean ± 95 % interval",
    "iqm": "interquartile mean [95 % bootstrap interval]",
}


@dataclass(frozen=True)
class View:
    """How a comparison is shown.

    Attributes:
        statistic: Mean with a t interval, or interquartile mean with a bootstrap interval.
        baseline: The row that the others are tested against on the same seeds; `None` tests nothing.
        export: A file that the table is written to as well; `None` writes none.
    """

    statistic: Literal["mean", "iqm"] = "mean"
    baseline: str | None = None
    export: Path | None = None

    def __post_init__(self) -> None:
        """Refuse a file name that says no format."""
        if self.export is not None:
            check_ending(self.export)


def show_comparison(console: Console, title: str, rows: Sequence[Row], view: View) -> None:
    """Show rows as a table, and write it where the view says.

    Raises:
        ValueError: If there is no row of the baseline's name.
        OSError: If the file cannot be written.
    """
    baseline = _row_named(rows, view.baseline) if view.baseline is not None else None
    heads, cells = _cells(rows, view, baseline)
    table = plain_table(heads, cells, left=1)
    table.title = title
    show_table(console, table)
    if baseline is not None:
        explained = "mean difference in accuracy (points) on the seeds that both have, its 95 % t interval, p of the"
        text = f"{_tested(baseline)}: {explained} sign-flip test (never below 2 / 2^seeds)"
        console.print(text, highlight=False, soft_wrap=True, markup=False)
    if view.export is not None:
        export(view.export, _numbers(rows, view, baseline), heads, cells)


def _cells(rows: Sequence[Row], view: View, baseline: Row | None) -> tuple[list[str], list[list[str]]]:
    cell = _CELLS[view.statistic]
    heads = ["method", "seeds", *PERCENTAGES.values(), *COSTS.values()]
    cells = [
        [
            row.method,
            str(len(row.seeds)),
            *(cell(row, name, 100, 1) for name in PERCENTAGES),
            *(cell(row, name, 1, 0) for name in COSTS),
        ]
        for row in rows
    ]
    if baseline is None:
        return heads, cells
    tests = [_difference(row, baseline) for row in rows]
    return [*heads[:3], _tested(baseline), *heads[3:]], [
        [*own[:3], test, *own[3:]] for own, test in zip(cells, tests, strict=True)
    ]


def _tested(baseline: Row) -> str:
    return f"against {baseline.method}"


def _mean(row: Row, name: str, factor: float, digits: int) -> str:
    if name not in row.values:
        return NOTHING
    return _with_half_width(row.measures[name], factor, digits)


def _with_half_width(interval: Interval, factor: float, digits: int) -> str:
    mean, half = factor * interval.mean, factor * interval.half_width
    shown = f"{mean:,.{digits}f}"
    return shown if math.isnan(half) or half == 0 else f"{shown} ± {half:,.{digits}f}"


def _iqm(row: Row, name: str, factor: float, digits: int) -> str:
    if name not in row.values:
        return NOTHING
    found = Range(*(factor * value for value in row.robust[name]))
    shown = f"{found.value:,.{digits}f}"
    if math.isnan(found.low) or found.low == found.high:
        return shown
    return f"{shown} [{found.low:,.{digits}f}, {found.high:,.{digits}f}]"


_CELLS: Mapping[str, Callable[[Row, str, float, int], str]] = {"mean": _mean, "iqm": _iqm}


def _difference(row: Row, baseline: Row) -> str:
    found = row.against(baseline, COMPARED)
    if row is baseline or found is None:
        return NOTHING
    sign = "+" if found.interval.mean >= 0 else ""
    p_value = "" if math.isnan(found.p_value) else f" (p={found.p_value:.2g})"
    return f"{sign}{_with_half_width(found.interval, 100, 1)}{p_value}"


def _row_named(rows: Sequence[Row], name: str) -> Row:
    found = next((row for row in rows if row.method == name), None)
    if found is None:
        raise ValueError(
            f"there is no row {name!r} to compare with; there are: {', '.join(row.method for row in rows)}"
        )
    return found


def _numbers(rows: Sequence[Row], view: View, baseline: Row | None) -> DataFrame:
    """All digits: value and ends of its interval for each measure that any row has."""
    import polars

    return polars.DataFrame([_record(row, view, baseline) for row in rows], infer_schema_length=None)


def _record(row: Row, view: View, baseline: Row | None) -> dict[str, object]:
    record: dict[str, object] = {"method": row.method, "seeds": " ".join(map(str, row.seeds))}
    for name in row.values:
        value, low, high = row.robust[name] if view.statistic == "iqm" else _ends(row.measures[name])
        record |= {name: value, f"{name}_low": low, f"{name}_high": high}
    tested = None if baseline is None or row is baseline else row.against(baseline, COMPARED)
    if tested is not None:
        value, low, high = _ends(tested.interval)
        record |= {"difference": value, "difference_low": low, "difference_high": high, "p_value": tested.p_value}
    return record


def _ends(interval: Interval) -> Range:
    return Range(interval.mean, interval.mean - interval.half_width, interval.mean + interval.half_width)
