"""Figures 4 and 5: average accuracy over the tasks so far, after each task, for each method on each benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agscl.experiments.groups import Group
from agscl.experiments.records import SupervisedRun
from agscl.experiments.supervised.result import Result
from agscl.metrics import average_accuracy_so_far, mean_interval

from .captions import one_each, options_in_words
from .style import fit_to_lines, look_of, marks, task_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from polars import DataFrame


def data(runs: Sequence[SupervisedRun]) -> DataFrame:
    """One row per method and task: mean over the seeds and half the width of its 95 % interval, in percent.

    Raises:
        ValueError: If runs of a preset differ in more than method and seed.
    """
    import polars

    found = one_each(run.result for run in runs)
    return polars.DataFrame(
        [row for preset, groups in found.items() for group in groups for row in _rows(preset, group)],
        infer_schema_length=None,
    )


def draw(table: DataFrame, axes: Axes) -> None:
    """Draw one benchmark: a line a method, the best at the end first in the legend."""
    import polars

    ends = table.group_by("method").agg(polars.col("mean").last())
    for label in ends.sort("mean", descending=True)["method"]:
        _draw_method(table.filter(polars.col("method") == label), axes)
    fit_to_lines(axes, -1, 101)
    axes.set_ylabel("average accuracy (%)")
    task_axis(axes, int(table["after"].max()))  # type: ignore[arg-type]


def _draw_method(rows: DataFrame, axes: Axes) -> None:
    label = rows["method"][0]
    look, steps, mean, half = look_of(label), rows["after"], rows["mean"], rows["half_width"]
    (line,) = axes.plot(steps, mean, label=look.title, color=look.color, marker=look.marker, linestyle=look.dashes)
    line.set_markevery(marks(len(rows)))
    if label.startswith("ags-cl"):
        line.set(linewidth=2.2, zorder=3)
    if not half.is_nan().all():
        axes.fill_between(steps, mean - half, mean + half, color=look.color, alpha=0.13, linewidth=0)


def _rows(preset: str, group: Group[Result]) -> list[dict[str, object]]:
    curves = [average_accuracy_so_far(result.accuracy) for result in group.results]
    intervals = [mean_interval([100 * value for value in values]) for values in zip(*curves, strict=True)]
    common = {"panel": preset, "method": group.label, "options": options_in_words(group)}
    seeds = " ".join(map(str, group.seeds))
    return [
        {**common, "seeds": seeds, "after": after, "mean": interval.mean, "half_width": interval.half_width}
        for after, interval in enumerate(intervals, 1)
    ]
