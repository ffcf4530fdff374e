"""Figures 4 and 5: average accuracy over the tasks so far, after each task, for each method on each benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agscl.experiments.supervised.result import Result
from agscl.metrics import Interval, average_accuracy_so_far, mean_interval

from .palette import looks
from .selection import columns, one_each, table_of
from .style import draw_line, fit_to_lines, task_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from polars import DataFrame


def average_accuracy_curve(results: Sequence[Result]) -> list[Interval]:
    """Average accuracy over the tasks so far, after each task: mean over the seeds, in percent."""
    curves = [average_accuracy_so_far(result.accuracy) for result in results]
    return [mean_interval([100 * value for value in values]) for values in zip(*curves, strict=True)]


def data(results: Sequence[Result]) -> DataFrame:
    """One row per method and task: mean over the seeds and half the width of its 95 % interval, in percent.

    Raises:
        ValueError: If runs of a preset differ in more than method and seed.
    """
    return table_of(
        {"panel": preset, "method": group.label, **columns(group), "after": after, **interval._asdict()}
        for preset, entries in one_each(results).items()
        for group in entries
        for after, interval in enumerate(average_accuracy_curve(group.results), 1)
    )


def draw(table: DataFrame, axes: Axes) -> None:
    """Draw one benchmark: a line a method, the best at the end first in the legend."""
    ends = table.unique("method", keep="last", maintain_order=True)
    look_of = looks(ends["method"])
    for method in ends.sort("mean", descending=True)["method"]:
        rows, look = table.filter(table["method"] == method), look_of[method]
        thick = {"linewidth": 2.2, "zorder": 3} if method.startswith("ags-cl") else {}
        mean, half = rows["mean"], rows["half_width"]
        draw_line(axes, look, rows["after"], mean, mean - half, mean + half, **thick)
    fit_to_lines(axes, -1, 101)
    axes.set_ylabel("average accuracy (%)")
    task_axis(axes, int(table["after"].max()))  # type: ignore[arg-type]
