"""Figure 7: accumulated reward over time (a), and plasticity and stability of each task (b), of reinforcement learning.

Rewards are relative: random actions are 0, fine-tuning is 1, since raw ratios break on scores that are zero or
negative, as in Boxing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from agscl.experiments.groups import Group, by_seed, groups
from agscl.experiments.policies.comparison import REFERENCE, accumulated_over_time, by_task
from agscl.experiments.policies.result import PolicyResult
from agscl.experiments.records import PolicyRun, StoredRun
from agscl.metrics.interval import Range
from agscl.metrics.reinforcement import bootstrap_mean

from .palette import looks
from .selection import require_one_each, table_of
from .style import draw_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from polars import DataFrame

OVER_TIME = "(a) accumulated relative reward"
BY_TASK = "(b) plasticity and stability of each task"


def select(runs: Sequence[StoredRun]) -> list[PolicyRun]:
    """The finished runs of reinforcement learning.

    Raises:
        ValueError: If there is none, fine-tuning of a seed is missing, or a method comes with several settings.
    """
    used = [run for run in runs if isinstance(run, PolicyRun)]
    if not used:
        raise ValueError("this figure needs finished runs of reinforcement learning, such as of cartpole3")
    results, preset = [run.result for run in used], used[0].result.experiment.preset
    seeds = {result.experiment.seed for result in results}
    if missing := sorted(seeds - by_seed(results, REFERENCE).keys()):
        raise ValueError(
            f"rewards are relative to {REFERENCE} of the same seed, and its run with seed {missing[0]} is missing: "
            f"agscl run {preset} --method {REFERENCE} --seed {missing[0]}"
        )
    require_one_each(preset, groups(results))
    return used


def reward_curve(group: Group[PolicyResult], reference: Mapping[int, PolicyResult]) -> dict[int, Range]:
    """Accumulated relative reward by agent steps: mean over the seeds, at every time that all of them have."""
    curves = [accumulated_over_time(result, reference[result.experiment.seed]) for result in group.results]
    times = sorted(set.intersection(*(set(curve) for curve in curves)))
    return {time: bootstrap_mean([curve[time] for curve in curves]) for time in times}


def data(results: Sequence[PolicyResult]) -> DataFrame:
    """A row per method and time for panel (a), a row per method and task for panel (b); means over the seeds."""
    reference = by_seed(results, REFERENCE)
    rows: list[dict[str, object]] = []
    for group in groups(results):
        common = {"method": group.label, "seeds": " ".join(map(str, group.seeds))}
        for time, (mean, low, high) in reward_curve(group, reference).items():
            rows.append({"panel": OVER_TIME, **common, "time": time, "mean": mean, "low": low, "high": high})
        for task in by_task(group, reference):
            values = {"plasticity": task.plasticity.value, "stability": task.stability.value}
            rows.append({"panel": BY_TASK, **common, "name": task.name, **values})
    return table_of(rows).sort("panel", maintain_order=True)


def draw(table: DataFrame, axes: Axes) -> None:
    """Draw one of the two panels."""
    over_time = table["panel"][0] == OVER_TIME
    for method, look in looks(table["method"]).items():
        rows = table.filter(table["method"] == method)
        if over_time:
            draw_line(axes, look, rows["time"] / 1e6, rows["mean"], rows["low"], rows["high"])
        else:
            x, y = rows["plasticity"], rows["stability"]
            axes.plot(x, y, look.marker, label=look.title, color=look.color, linestyle="none")
    axes.set_xlabel("agent steps (millions)" if over_time else "plasticity (1: learned as well as by fine-tuning)")
    axes.set_ylabel("sum over the tasks so far" if over_time else "stability (1: nothing lost)")
