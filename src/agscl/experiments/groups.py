"""Runs that belong together: one group for each method with its hyper-parameters, one run for each seed.

Numbers of different settings are never mixed: a mean is over runs that differ in their seed alone, and methods are
compared on the same tasks, trained in the same way. The same holds for runs of every kind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Generic, TypeVar

from agscl.runs.checkpointer import THEN
from agscl.runs.overview import COMPUTED_WITH

from .kind import AnyResult
from .words import seeds as seeds_in_words
from .words import value_of_option

R = TypeVar("R", bound=AnyResult)

Values = Mapping[str, object]
"""Settings by name."""


@dataclass(frozen=True)
class Group(Generic[R]):
    """The runs of one method with the same hyper-parameters, a run for each seed.

    Attributes:
        label: The method's name, with the hyper-parameters that tell it from another group of its name.
        results: The runs, in the order of their seeds.
    """

    label: str
    results: tuple[R, ...]

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.results[0].method

    @property
    def options(self) -> dict[str, object]:
        """Hyper-parameters of the method."""
        return self.results[0].experiment.options

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs, ascending."""
        return tuple(result.experiment.seed for result in self.results)


def groups(results: Iterable[R]) -> list[Group[R]]:
    """A group for each method with its hyper-parameters, in the order in which they come.

    Raises:
        ValueError: If runs differ in more than method and seed, or two runs of one seed have different outcomes.
    """
    results = list(results)
    require_same_setting(results)
    by_method = _sorted_by(lambda result: _as_json([result.method, result.experiment.options]), results)
    labels = _labels([(runs[0].method, runs[0].experiment.options) for runs in by_method.values()])
    return [Group(label, _ordered(label, runs)) for label, runs in zip(labels, by_method.values(), strict=True)]


def require_same_setting(results: Sequence[AnyResult]) -> None:
    """Refuse runs that were not made of the same tasks in the same way.

    Raises:
        ValueError: If settings besides method and seed differ, or two runs of a seed had different data.
    """
    for name, values in _differences([result.experiment.setting() for result in results]).items():
        shown = ", ".join(sorted(map(str, values)))
        raise ValueError(f"these runs are of different settings ({name}: {shown}): give those of one setting")
    first: dict[int, AnyResult] = {}
    for result in results:
        other = first.setdefault(result.experiment.seed, result)
        if other.drawn() != result.drawn():
            raise ValueError(
                f"the runs of {other.method} and {result.method} with seed {result.experiment.seed} had different "
                "tasks or data (sequence in result.json): they cannot be compared"
            )


def environments(results: Iterable[AnyResult]) -> list[str]:
    """A note for each thing in which the environments of runs differ, such as their torch; none where all are alike."""
    results = list(results)
    notes = []
    for name in COMPUTED_WITH:
        found: dict[str, list[AnyResult]] = {}
        for result in results:
            found.setdefault(result.environment.get(name, "not recorded"), []).append(result)
        if len(found) > 1:
            parts = "; ".join(f"{value}: {_runs_in_words(runs)}" for value, runs in found.items())
            notes.append(
                f"NOTE: these runs are of different {name} ({parts}), so that their numbers may differ by more"
            )
    for result in results:
        parts = "; ".join(f"{name} {value}" for name, value in result.environment.items() if THEN in value)
        if parts:
            notes.append(f"NOTE: {_runs_in_words([result])} was resumed in another environment ({parts})")
    return notes


def environment_in_words(results: Iterable[AnyResult]) -> str:
    """What of the environment of runs may change their numbers; of several, all that there are."""
    found = [{f"{name} {result.environment.get(name, 'not recorded')}" for result in results} for name in COMPUTED_WITH]
    return "; ".join(" | ".join(sorted(values)) for values in found)


def _runs_in_words(runs: Sequence[AnyResult]) -> str:
    """Methods with their seeds."""
    of_method: dict[str, list[int]] = {}
    for run in runs:
        of_method.setdefault(run.method, []).append(run.experiment.seed)
    return ", ".join(f"{method} {seeds_in_words(seeds)}" for method, seeds in of_method.items())


def by_setting(results: Iterable[R]) -> list[list[R]]:
    """Results that may be compared with each other, in the order in which they come."""
    return list(_sorted_by(lambda result: _as_json(result.experiment.setting()), results).values())


def by_preset(results: Iterable[R]) -> dict[str, list[R]]:
    """Results by their preset, in the order in which they come."""
    return _sorted_by(lambda result: result.experiment.preset, results)


def by_seed(results: Iterable[R], method: str) -> dict[int, R]:
    """The runs of a method by their seeds: what others are compared with."""
    return {result.experiment.seed: result for result in results if result.method == method}


def measured_in_all(runs: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """The values of each measure that all of the runs have, by name.

    >>> measured_in_all([{"accuracy": 0.5, "plasticity": 1.0}, {"accuracy": 0.7}])
    {'accuracy': [0.5, 0.7]}
    """
    names = runs[0] if runs else {}
    return {name: [run[name] for run in runs] for name in names if all(name in run for run in runs)}


def _sorted_by(key: Callable[[R], str], results: Iterable[R]) -> dict[str, list[R]]:
    found: dict[str, list[R]] = {}
    for result in results:
        found.setdefault(key(result), []).append(result)
    return found


def _as_json(values: object) -> str:
    return json.dumps(values, sort_keys=True, default=asdict)  # parts of a setting may be dataclasses


def _ordered(label: str, runs: Sequence[R]) -> tuple[R, ...]:
    """One run for each seed; of repeats with the same outcome, the first."""
    seeds: dict[int, R] = {}
    for run in runs:
        first = seeds.setdefault(run.experiment.seed, run)
        if first.outcome() != run.outcome():
            raise ValueError(f"{label} has two runs with seed {run.experiment.seed} that differ: give one of them")
    return tuple(seeds[seed] for seed in sorted(seeds))


def _labels(named: Sequence[tuple[str, Values]]) -> list[str]:
    """The name of each method, and the hyper-parameters that tell it from another of its name."""
    labels = []
    for name, options in named:
        differing = _differences([other for own, other in named if own == name])
        labels.append(
            " ".join([name, *(f"{key}={value_of_option(options[key])}" for key in differing if key in options)])
        )
    return labels


def _differences(values: Sequence[Values]) -> dict[str, set[object]]:
    """The names whose values are not all the same, with the values."""
    names = dict.fromkeys(name for settings in values for name in settings)
    found = {name: {settings.get(name) for settings in values} for name in names}
    return {name: different for name, different in found.items() if len(different) > 1}
