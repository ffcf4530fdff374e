"""Figure 3: does importance mean anything? AOPC as nodes are pruned in order of highest, lowest and random importance.

The score that falls is test accuracy: after the first task on that task, after all tasks as the mean over them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, get_args

import torch

from agscl.experiments.records import SupervisedRun
from agscl.experiments.states import State
from agscl.experiments.supervised.run import LoadedRun, load_run
from agscl.metrics import aopc, mean_interval, prediction_curve, pruning_order
from agscl.metrics.aopc import Order
from agscl.runs.machine import threads
from agscl.training.evaluation import evaluate

from .palette import OTHERS
from .selection import columns, one_each, table_of
from .style import draw_line, fit_to_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from polars import DataFrame

RATIOS = [step / 20 for step in range(11)]
"""Shares of the nodes that are pruned: none to half of them."""

RANDOM_ORDERS = 5
"""Random orders are drawn so many times for each seed, and averaged."""

DASHES = {"highest": "-", "random": ":", "lowest": "--"}
STAGES = {"task 1": OTHERS[0], "all tasks": OTHERS[1]}

Curves = dict[tuple[str, str], list[float]]
"""AOPC over `RATIOS` by stage and order."""


def data(runs: Sequence[SupervisedRun], data_root: Path | None) -> DataFrame:
    """One row per stage, order and share: AOPC over the seeds with half of its 95 % interval.

    Args:
        runs: Finished runs of one method that rates nodes, with the states that they kept.
        data_root: Folder of the data sets; default: the platform's cache folder.

    Raises:
        ValueError: If the runs do not go together, or a state or the data is missing.
    """
    run_of = {id(run.result): run for run in runs}
    rows: list[dict[str, object]] = []
    for preset, entries in one_each(run.result for run in runs).items():
        for group in entries:
            curves = [_curves(run_of[id(result)], data_root) for result in group.results]
            for stage, order in curves[0]:
                for ratio, *shares in zip(RATIOS, *(curve[stage, order] for curve in curves), strict=True):
                    place = {"stage": stage, "order": order, "ratio": ratio}
                    interval = mean_interval([100 * share for share in shares])
                    rows.append({"panel": preset, **columns(group), **place, **interval._asdict()})
    return table_of(rows)


def draw(table: DataFrame, axes: Axes) -> None:
    """Draw one benchmark: a colour a stage, dashes by order."""
    for (stage, order), rows in table.group_by("stage", "order", maintain_order=True):
        mean, half = rows["mean"], rows["half_width"]
        title = f"{stage}, {order} first" if order != "random" else f"{stage}, random"
        look = STAGES[str(stage)]._replace(title=title, dashes=DASHES[str(order)])
        draw_line(axes, look, 100 * rows["ratio"], mean, mean - half, mean + half)
    fit_to_lines(axes, -101, 101)
    axes.set_xlabel("nodes pruned (% of each layer)")
    axes.set_ylabel("AOPC (drop in accuracy, points)")


def _curves(run: SupervisedRun, data_root: Path | None) -> Curves:
    experiment, last = run.result.experiment, len(run.result.history.tasks) - 1
    with threads(experiment.full.threads):
        loaded = load_run(experiment, data_root)
        curves: Curves = {}
        for stage, task in {"task 1": 0, "all tasks": last}.items():
            State.read(run.folder.state_after(task)).restore(loaded.learner.model, loaded.learner.guard)
            curves |= {(stage, order): _aopc(loaded, order, task) for order in get_args(Order)}
    return curves


def _aopc(loaded: LoadedRun, order: Order, last: int) -> list[float]:
    guard, model, repeats = loaded.learner.guard, loaded.learner.model, RANDOM_ORDERS if order == "random" else 1
    generator = torch.Generator().manual_seed(loaded.experiment.seed)
    rankings = [pruning_order(guard.importance, order, generator) for _ in range(repeats)]
    tests = [task.test for task in loaded.sequence.tasks[: last + 1]]

    def accuracy() -> float:
        machine = loaded.learner.machine
        return fmean(evaluate(model, test, task, machine=machine).accuracy for task, test in enumerate(tests))

    curves = [prediction_curve(model, guard.graph.layers, ranking, accuracy, RATIOS) for ranking in rankings]
    return [fmean(values) for values in zip(*map(aopc, curves), strict=True)]
