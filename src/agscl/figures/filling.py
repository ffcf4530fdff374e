"""How nodes fill up: after each task, how much of each layer the tasks so far have taken, and what is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from agscl.experiments.records import StoredRun, SupervisedRun

from .selection import columns, finished, groups_by_preset, table_of
from .style import task_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from polars import DataFrame

FREE, DEAD = "free", "dead"
"""States of a node that no task needs."""

NAMED = 12
"""Most tasks that the legend and the axis name one by one."""

LOOKS: Mapping[str, Mapping[str, Any]] = {
    FREE: {"color": "#e3e6ea"},
    DEAD: {"color": "#a1a8b2", "hatch": "....", "edgecolor": "white", "linewidth": 0},
}


def select(runs: Sequence[StoredRun]) -> list[SupervisedRun]:
    """The finished runs that rate nodes, of one method and its settings.

    Raises:
        ValueError: If there is none, or there are several methods or settings.
    """
    rated = [run for run in finished(runs) if run.nodes is not None and len(run.nodes)]
    if not rated:
        raise ValueError("this figure needs runs of a method that rates nodes, such as ags-cl")
    found = {f"{name} {e.label}" for name, all_of in groups_by_preset(r.result for r in rated).items() for e in all_of}
    if len(found) > 1:
        raise ValueError(f"this figure is of one method, and these runs are of {', '.join(sorted(found))}")
    return rated


def data(runs: Sequence[SupervisedRun]) -> DataFrame:
    """One row per layer, task and state: mean share of the layer's nodes over the seeds, in percent.

    The state of a node is the number of the task, from 1, that first needed it; "free" or "dead" if none has.
    """
    ((group,),) = groups_by_preset(run.result for run in runs).values()
    counted = [list(_counts(run)) for run in runs]
    tasks = runs[0].result.names
    rows = []
    for layer in dict.fromkeys(layer for layer, *_ in counted[0]):
        for after in range(1, len(tasks) + 1):
            shares = [share for count in counted for name, at, share in count if (name, at) == (layer, after)]
            for state in (*map(str, range(1, after + 1)), FREE, DEAD):
                mean = fmean(share.get(state, 0.0) for share in shares)
                rows.append({"panel": layer, **columns(group), "after": after, "state": state, "mean": mean})
    return table_of(rows)


def _counts(run: SupervisedRun) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Layer, number of tasks learned, and the share of the layer's nodes in each state, in percent."""
    assert run.nodes is not None
    for (layer,), table in run.nodes.sort("after", "node", maintain_order=True).group_by("layer", maintain_order=True):
        first: dict[int, str] = {}
        for after, ((_,), rows) in enumerate(table.group_by("after", maintain_order=True), 1):
            states = dict(zip(rows["node"], rows["state"], strict=True))
            first |= {node: str(after) for node, state in states.items() if state == "frozen" and node not in first}
            counted = Counter(first[node] if state == "frozen" else state for node, state in states.items())
            yield str(layer), after, {state: 100 * number / len(rows) for state, number in counted.items()}


def draw(table: DataFrame, axes: Axes) -> None:
    """Draw one layer: a bar after each task, its oldest nodes at the bottom, what is left on top."""
    from matplotlib import colormaps

    last = int(table["after"].max())  # type: ignore[arg-type]
    bottom = dict.fromkeys(range(1, last + 1), 0.0)
    for state in (*map(str, range(1, last + 1)), FREE, DEAD):
        rows = table.filter(table["state"] == state)
        places, shares = rows["after"].to_list(), rows["mean"].to_list()
        task = state not in LOOKS
        look = LOOKS.get(state) or {"color": colormaps["viridis"]((int(state) - 1) / max(last - 1, 1))}
        named = not task or (int(state) - 1) % -(-last // NAMED) == 0
        label = (f"needed since task {state}" if task else state) if named else None
        axes.bar(places, shares, bottom=[bottom[place] for place in places], width=0.86, label=label, **look)
        bottom |= {place: bottom[place] + share for place, share in zip(places, shares, strict=True)}
    task_axis(axes, last)
    if last <= NAMED:
        axes.set_xticks(range(1, last + 1))
    axes.set_xlim(0.4, last + 0.6)
    axes.set_ylim(0, 100)
    axes.set_ylabel("nodes of the layer (%)")
    axes.grid(visible=False)
