"""Figure 6(b): how many nodes are free and how many in use after each task, with and without re-initialisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agscl.experiments.groups import Group
from agscl.experiments.records import SupervisedRun
from agscl.experiments.supervised.result import Result
from agscl.metrics import mean_interval
from agscl.training import TaskFinished

from .captions import options_in_words
from .style import marks, task_axis
from .variants import FULL, WITHOUT_BOTH, ags_cl, grouped, require_alike, variant_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from polars import DataFrame

COLORS = {"sparsity": "#0072b2", "used capacity": "#d55e00"}
MARKERS = {"sparsity": "o", "used capacity": "s"}


def data(runs: Sequence[SupervisedRun]) -> DataFrame:
    """One row per variant, measure and task: mean over the seeds and half its 95 % interval, in percent of the nodes.

    Raises:
        ValueError: If runs of a preset differ in more than seed and re-initialisation.
    """
    import polars

    rows = [
        row
        for preset, groups in grouped(run.result for run in runs).items()
        for group in _compared(preset, groups)
        for row in _rows(preset, group)
    ]
    return polars.DataFrame(rows, infer_schema_length=None)


def draw(table: DataFrame, axes: Axes) -> None:
    """Draw one benchmark: solid with re-initialisation, dashed without."""
    for (measure, variant), rows in table.group_by("measure", "variant", maintain_order=True):
        _draw_line(rows, str(measure), str(variant), axes)
    axes.set_ylabel("share of the nodes (%)")
    axes.set_ylim(-3, 103)
    task_axis(axes, int(table["after"].max()))  # type: ignore[arg-type]


def _draw_line(rows: DataFrame, measure: str, variant: str, axes: Axes) -> None:
    steps, mean, half = rows["after"], rows["mean"], rows["half_width"]
    full = variant == FULL
    label = f"{measure}{'' if full else ' ' + variant}"
    axes.plot(
        steps, mean, label=label, color=COLORS[measure], marker=MARKERS[measure], markevery=marks(len(rows)),
        linestyle="-" if full else "--", markerfacecolor=COLORS[measure] if full else "white",
    )  # fmt: skip
    if not half.is_nan().all():
        axes.fill_between(steps, mean - half, mean + half, color=COLORS[measure], alpha=0.13, linewidth=0)


def _compared(preset: str, groups: Sequence[Group[Result]]) -> list[Group[Result]]:
    found = [group for group in groups if (own := ags_cl(group)) and variant_of(own) in (FULL, WITHOUT_BOTH)]
    require_alike(preset, found, varied=("cut",))
    return found


def _rows(preset: str, group: Group[Result]) -> list[dict[str, object]]:
    method = ags_cl(group)
    variant = FULL if method is None else variant_of(method)
    common = {"panel": preset, "variant": variant, "options": options_in_words(group)}
    seeds = " ".join(map(str, group.seeds))
    steps = list(enumerate(zip(*(result.history.tasks for result in group.results), strict=True), 1))
    return [
        {**common, "seeds": seeds, "measure": measure, "after": after, **_interval(values)}
        for measure in COLORS
        for after, tasks in steps
        if (values := _measured(tasks, measure))
    ]


def _measured(tasks: Sequence[TaskFinished], measure: str) -> list[float]:
    """In percent; nothing where it is not defined, as used capacity is not for the first task."""
    values = [getattr(task, measure.replace(" ", "_")) for task in tasks]
    return [100 * value for value in values if value is not None]


def _interval(values: Sequence[float]) -> dict[str, float]:
    interval = mean_interval(values)
    return {"mean": interval.mean, "half_width": interval.half_width}
