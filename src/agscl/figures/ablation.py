"""The supplementary's ablations: how one hyper-parameter of AGS-CL changes accuracy, forgetting and free nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from agscl.experiments.groups import Group
from agscl.experiments.records import SupervisedRun
from agscl.experiments.supervised.aggregate import aggregate
from agscl.experiments.supervised.result import Result
from agscl.metrics import MEASURES, mean_interval

from .captions import options_in_words
from .variants import grouped, require_alike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from polars import DataFrame

SHOWN = ("average_accuracy", "forgetting", "sparsity")
"""Measures with a panel each."""


def data_of(option: str) -> Callable[[Sequence[SupervisedRun]], DataFrame]:
    """The table of one hyper-parameter's ablation: one row per preset, measure and value."""
    return partial(_data, option)


def _data(option: str, runs: Sequence[SupervisedRun]) -> DataFrame:
    import polars

    found: dict[str, list[Group[Result]]] = {}
    for results in _alike(option, [run.result for run in runs]):
        for preset, groups in grouped(results).items():
            found.setdefault(preset, []).extend(groups)
    rows = [row for preset, groups in found.items() for row in _preset_rows(preset, option, groups)]
    return polars.DataFrame(rows, infer_schema_length=None).sort("place", maintain_order=True)


def draw(table: DataFrame, axes: Axes) -> None:
    """Draw one measure: a line a preset, with intervals."""
    values = table.sort("order")["value"].unique(maintain_order=True).to_list()
    for number, ((preset,), rows) in enumerate(table.group_by("preset", maintain_order=True)):
        places = [values.index(value) + 0.06 * number for value in rows["value"]]
        color = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00")[number % 5]
        axes.errorbar(
            places, rows["mean"], yerr=rows["half_width"], fmt="osD^v"[number % 5] + "-", color=color,
            elinewidth=0.9, capsize=2.5, label=str(preset),
        )  # fmt: skip
    axes.set_xticks(range(len(values)), values)
    axes.set_xlabel(table["option"][0])
    axes.set_ylabel("%")
    axes.margins(x=0.12, y=0.12)


def _preset_rows(preset: str, option: str, groups: Sequence[Group[Result]]) -> list[dict[str, object]]:
    require_alike(preset, groups, varied=(option,))
    ordered = sorted(groups, key=lambda group: _order(_value(option, group)))
    return [
        {
            "panel": MEASURES[measure].title,
            "place": SHOWN.index(measure),
            "preset": preset,
            "option": option,
            "order": order,
            "value": _word(_value(option, group)),
            "options": options_in_words(group),
            "seeds": " ".join(map(str, group.seeds)),
            **_interval(group, measure),
        }
        for order, group in enumerate(ordered)
        for measure in SHOWN
    ]


def _alike(option: str, results: Sequence[Result]) -> list[list[Result]]:
    """Results that may be grouped together: those of each width apart, if it is the width that is varied."""
    if option != "width":
        return [list(results)]
    widths = dict.fromkeys(result.experiment.width for result in results)
    return [[result for result in results if result.experiment.width == width] for width in widths]


def _value(option: str, group: Group[Result]) -> object:
    return group.results[0].experiment.width if option == "width" else group.options[option]


def _interval(group: Group[Result], measure: str) -> dict[str, float]:
    last = [result.history.tasks[-1].sparsity for result in group.results]
    (row,) = aggregate(group.results)
    values = [value or 0.0 for value in last] if measure == "sparsity" else row.values[measure]
    interval = mean_interval([100 * value for value in values])
    return {"mean": interval.mean, "half_width": interval.half_width}


def _order(value: object) -> tuple[float, str]:
    return (float(value), "") if isinstance(value, int | float) else (0.0, str(value))


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
