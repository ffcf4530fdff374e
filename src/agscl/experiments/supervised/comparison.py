"""Runs of several methods and seeds as one table: every measure with its interval, and tests on the same seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agscl.experiments.groups import by_seed, groups, measured_in_all
from agscl.metrics import (
    Difference,
    Interval,
    Range,
    intransigence,
    iqm_interval,
    mean_interval,
    paired_difference,
    plasticity,
)

from .result import Result

REFERENCE = "fine-tuning"
"""The method whose accuracy on each new task is what plasticity compares with."""

UPPER_BOUND = "joint"
"""The method whose accuracy on each task, learned with all before it, is what intransigence compares with."""

COSTS = ("regularization_bytes", "memory_bytes", "seconds")
"""Measures of what a method takes, not of how well it learns."""


@dataclass(frozen=True)
class Row:
    """One method over its seeds.

    Attributes:
        method: The method's name, with the hyper-parameters that tell it from another row of its name.
        seeds: Seeds of its finished runs, ascending.
        values: Each measure of each run by name; only measures that all its runs have.
    """

    method: str
    seeds: tuple[int, ...]
    values: Mapping[str, Sequence[float]]

    @property
    def measures(self) -> dict[str, Interval]:
        """Mean and 95 % t interval of each measure by name."""
        return {name: mean_interval(values) for name, values in self.values.items()}

    @property
    def robust(self) -> dict[str, Range]:
        """Interquartile mean and 95 % bootstrap interval of each measure by name."""
        return {name: iqm_interval(values) for name, values in self.values.items()}

    def against(self, other: Row, measure: str) -> Difference | None:
        """This method minus another in one measure, on the seeds that both have; `None` if there are none."""
        both = [seed for seed in self.seeds if seed in other.seeds]
        if not both or measure not in self.values or measure not in other.values:
            return None
        own, theirs = (dict(zip(row.seeds, row.values[measure], strict=True)) for row in (self, other))
        return paired_difference([own[seed] for seed in both], [theirs[seed] for seed in both])


def aggregate(results: Sequence[Result]) -> list[Row]:
    """A row for each method with its hyper-parameters, in the order in which they come.

    Plasticity compares each run with fine-tuning of the same seed, intransigence with joint training of the same
    seed; a measure is left out where a run that it needs is missing.

    Raises:
        ValueError: If runs differ in more than method and seed, or two runs of one seed have different outcomes.
    """
    free, joint = by_seed(results, REFERENCE), by_seed(results, UPPER_BOUND)
    rows = []
    for group in groups(results):
        runs = []
        for result in group.results:
            measures, seed, tasks = result.measures(), result.experiment.seed, result.history.tasks
            if seed in free:
                measures["plasticity"] = plasticity(result.accuracy, free[seed].accuracy)
            if seed in joint:
                measures["intransigence"] = intransigence(result.accuracy, joint[seed].accuracy).mean().item()
            costs = (tasks[-1].regularization_bytes, tasks[-1].memory_bytes, sum(task.seconds for task in tasks))
            runs.append({**measures, **dict(zip(COSTS, map(float, costs), strict=True))})
        rows.append(Row(group.label, group.seeds, measured_in_all(runs)))
    return rows


def compare(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Measures of one run of each method by label, costs left out."""
    rows = aggregate(results)
    return {row.method: {name: row.values[name][0] for name in row.values if name not in COSTS} for row in rows}
