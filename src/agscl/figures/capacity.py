"""Figure 6(b): how many nodes are free and how many in use after each task, with and without re-initialisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agscl.experiments.supervised.result import Result
from agscl.metrics import MEASURES, Interval, mean_interval

from .palette import OTHERS
from .selection import columns, groups_by_preset, require_alike, table_of
from .style import draw_line, task_axis
from .tradeoff import FULL, WITHOUT_BOTH, variant_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from polars import DataFrame

SHARES = ("sparsity", "used_capacity")
"""Measures that are drawn."""


def share_curve(results: Sequence[Result], measure: str) -> dict[int, Interval]:
    """A measure after each task for which every run has it, by the number of tasks learned: in percent of the nodes.

    Used capacity has none after the first task, and methods that do not rate nodes have none at all.
    """
    after = enumerate(zip(*(result.history.tasks for result in results), strict=True), 1)
    shares = {number: [getattr(task, measure) for task in tasks] for number, tasks in after}
    return {n: mean_interval([100 * value for value in values]) for n, values in shares.items() if None not in values}


def data(results: Sequence[Result]) -> DataFrame:
    """One row per variant, measure and task: mean over the seeds and half its 95 % interval, in percent of the nodes.

    Raises:
        ValueError: If runs of a preset differ in more than seed and re-initialisation.
    """
    rows = []
    for preset, entries in groups_by_preset(results).items():
        compared = [group for group in entries if variant_of(group) in (FULL, WITHOUT_BOTH)]
        require_alike(preset, compared, varied=("cut",))
        rows += [
            {"panel": preset, "variant": variant_of(group), **columns(group)}
            | {"measure": MEASURES[measure].title, "after": after, **interval._asdict()}
            for group in compared
            for measure in SHARES
            for after, interval in share_curve(group.results, measure).items()
        ]
    return table_of(rows)


def draw(table: DataFrame, axes: Axes) -> None:
    """Draw one benchmark: solid with re-initialisation, dashed without."""
    look_of = {MEASURES[measure].title: look for measure, look in zip(SHARES, OTHERS, strict=False)}
    for (measure, variant), rows in table.group_by("measure", "variant", maintain_order=True):
        full, look, mean, half = variant == FULL, look_of[str(measure)], rows["mean"], rows["half_width"]
        look = look._replace(title=f"{measure} {'' if full else variant}".rstrip(), dashes="-" if full else "--")
        filling = look.color if full else "white"
        draw_line(axes, look, rows["after"], mean, mean - half, mean + half, markerfacecolor=filling)
    axes.set_ylabel("share of the nodes (%)")
    axes.set_ylim(-3, 103)
    task_axis(axes, int(table["after"].max()))  # type: ignore[arg-type]
