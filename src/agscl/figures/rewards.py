"""Figure 7: accumulated reward over time (a), and plasticity and stability of each task (b), of reinforcement learning.

Rewards are relative: random actions are 0, fine-tuning is 1, since raw ratios break on scores that are zero or
negative, as in Boxing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agscl.experiments.groups import Group, by_seed, groups
from agscl.experiments.policies.comparison import (
    REFERENCE,
    accumulated_over_time,
    by_task,
    not_measured,
)
from agscl.experiments.policies.result import PolicyResult
from agscl.experiments.records import PolicyRun, StoredRun
from agscl.metrics.reinforcement import bootstrap_mean

from .captions import seeds_in_words
from .style import look_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from polars import DataFrame

OVER_TIME = "(a) accumulated relative reward"
BY_TASK = "(b) plasticity and stability of each task"
MILLION = 1e6


def select(runs: Sequence[StoredRun]) -> Sequence[PolicyResult]:
    """The finished runs of reinforcement learning.

    Raises:
        ValueError: If there is none, fine-tuning of a seed is missing, or a method comes with several settings.
    """
    results = [run.result for run in runs if isinstance(run, PolicyRun)]
    if not results:
        raise ValueError("this figure needs finished runs of reinforcement learning, such as of cartpole3")
    seeds = {result.experiment.seed for result in results}
    if missing := sorted(seeds - by_seed(results, REFERENCE).keys()):
        preset = results[0].experiment.preset
        raise ValueError(
            f"rewards are relative to {REFERENCE} of the same seed, and its run with seed {missing[0]} is missing: "
            f"agscl run {preset} --method {REFERENCE} --seed {missing[0]}"
        )
    for group in groups(results):
        if group.label != group.method:
            raise ValueError(f"{group.method} comes with several settings: give runs of one of them")
    return results


def data(results: Sequence[PolicyResult], data_root: Path | None = None) -> DataFrame:
    """A row per method and time for panel (a), a row per method and task for panel (b); means over the seeds.

    Raises:
        ValueError: If runs differ in more than method and seed.
    """
    import polars

    reference, found = by_seed(results, REFERENCE), groups(results)
    rows = [row for group in found for row in (*_over_time(group, reference), *_by_task(group, reference))]
    table = polars.DataFrame(rows, infer_schema_length=None)
    return table.sort("panel", maintain_order=True)


def draw(table: DataFrame, axes: Axes) -> None:
    """Draw one of the two panels."""
    (_draw_over_time if table["panel"][0] == OVER_TIME else _draw_by_task)(table, axes)


def standing(results: Sequence[PolicyResult]) -> list[str]:
    """Lines that say which runs, seeds and settings these are."""
    scale, asked = results[0].scale(), results[0].experiment
    down = "scaled down, a smoke test" if scale["scaled_down"] else "in full"
    frames = f" of {scale['frames_per_step']} frames" if scale["frames_per_step"] != 1 else ""
    steps = f"{scale['tasks']} tasks of {results[0].history.tasks[0].steps:,} agent steps{frames}"
    methods = "; ".join(f"{group.label} ({seeds_in_words(group.seeds)})" for group in groups(results))
    return [f"{asked.preset} {down}: {steps}. {methods}.", *not_measured(results)]


def _over_time(group: Group[PolicyResult], reference: Mapping[int, PolicyResult]) -> Iterator[dict[str, object]]:
    curves = [accumulated_over_time(result, reference[result.experiment.seed]) for result in group.results]
    for time in sorted(set.intersection(*(set(curve) for curve in curves))):
        mean, low, high = bootstrap_mean([curve[time] for curve in curves])
        yield {**_common(group, OVER_TIME), "time": time, "mean": mean, "low": low, "high": high}


def _by_task(group: Group[PolicyResult], reference: Mapping[int, PolicyResult]) -> Iterator[dict[str, object]]:
    for task in by_task(group, reference):
        values = {"plasticity": task.plasticity.value, "stability": task.stability.value}
        yield {**_common(group, BY_TASK), "name": task.name, **values}


def _common(group: Group[PolicyResult], panel: str) -> dict[str, object]:
    return {"panel": panel, "method": group.label, "seeds": " ".join(map(str, group.seeds))}


def _draw_over_time(table: DataFrame, axes: Axes) -> None:
    for method in table["method"].unique(maintain_order=True):
        rows, look = table.filter(table["method"] == method), look_of(method)
        times = rows["time"] / MILLION
        axes.plot(times, rows["mean"], label=look.title, color=look.color, marker=look.marker, linestyle=look.dashes)
        if not rows["low"].is_nan().all():
            axes.fill_between(times, rows["low"], rows["high"], color=look.color, alpha=0.13, linewidth=0)
    axes.set_xlabel("agent steps (millions)")
    axes.set_ylabel("sum over the tasks so far")


def _draw_by_task(table: DataFrame, axes: Axes) -> None:
    for method in table["method"].unique(maintain_order=True):
        rows, look = table.filter(table["method"] == method), look_of(method)
        axes.plot(
            rows["plasticity"], rows["stability"], look.marker, label=look.title, color=look.color, linestyle="none"
        )
    axes.set_xlabel("plasticity (1: learned as well as by fine-tuning)")
    axes.set_ylabel("stability (1: nothing lost)")
