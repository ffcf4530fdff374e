"""Runs of several methods and seeds as one table: every measure with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agscl.metrics import plasticity
from agscl.metrics.interval import Interval, mean_interval

from .comparison import REFERENCE
from .result import Result


@dataclass(frozen=True)
class Row:
    """One method over its seeds.

    Attributes:
        method: Name of the method.
        seeds: Seeds of its finished runs.
        measures: Mean and interval of each measure by name.
    """

    method: str
    seeds: tuple[int, ...]
    measures: Mapping[str, Interval]


def aggregate(results: Sequence[Result]) -> list[Row]:
    """A row for each method, in the order in which the methods come.

    Plasticity compares each run with fine-tuning of the same seed; it is left out where that run is missing.
    """
    reference = {r.experiment.seed: r for r in results if r.method == REFERENCE}
    return [
        _row(method, [r for r in results if r.method == method], reference)
        for method in dict.fromkeys(result.method for result in results)
    ]


def _row(method: str, results: Sequence[Result], reference: Mapping[int, Result]) -> Row:
    values: dict[str, list[float]] = {}
    for result in results:
        for name, value in _measures(result, reference.get(result.experiment.seed)).items():
            values.setdefault(name, []).append(value)
    complete = {name: mean_interval(v) for name, v in values.items() if len(v) == len(results)}
    return Row(method, tuple(r.experiment.seed for r in results), complete)


def _measures(result: Result, reference: Result | None) -> dict[str, float]:
    last = result.history.tasks[-1]
    compared = {} if reference is None else {"plasticity": plasticity(result.accuracy, reference.accuracy)}
    costs = {
        "regularization_bytes": float(last.regularization_bytes),
        "memory_bytes": float(last.memory_bytes),
        "seconds": sum(task.seconds for task in result.history.tasks),
    }
    return {**result.measures(), **compared, **costs}
