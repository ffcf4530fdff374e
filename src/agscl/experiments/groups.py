"""Runs that belong together: one group for each method with its hyper-parameters, one run for each seed.

Numbers of different settings are never mixed: a mean is over runs that differ in their seed alone, and methods are
compared on the same tasks, trained in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from .codec import method_to_json
from .supervised.experiment import Experiment
from .supervised.result import Result

Values = Mapping[str, object]
"""Settings by name."""


@dataclass(frozen=True)
class Group:
    """The runs of one method with the same hyper-parameters, a run for each seed.

    Attributes:
        label: The method's name, with the hyper-parameters that tell it from another group of its name.
        results: The runs, in the order of their seeds.
    """

    label: str
    results: tuple[Result, ...]

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.results[0].method

    @property
    def options(self) -> dict[str, object]:
        """Hyper-parameters of the method."""
        return options_of(self.results[0].experiment)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs, ascending."""
        return tuple(result.experiment.seed for result in self.results)


def groups(results: Iterable[Result]) -> list[Group]:
    """A group for each method with its hyper-parameters, in the order in which they come.

    Raises:
        ValueError: If runs differ in more than method and seed, or two runs of one seed have different outcomes.
    """
    results = list(results)
    require_same_setting(results)
    found: dict[Experiment, list[Result]] = {}
    for result in results:
        found.setdefault(_without_seed(result.experiment), []).append(result)
    named = [(method_to_json(experiment.method)["name"], options_of(experiment)) for experiment in found]
    return [Group(label, _ordered(label, runs)) for label, runs in zip(labels(named), found.values(), strict=True)]


def require_same_setting(results: Sequence[Result]) -> None:
    """Refuse runs that were not made of the same tasks in the same way.

    Raises:
        ValueError: If settings besides method and seed differ, or two runs of a seed had different data.
    """
    for name, values in _differences([setting_of(result.experiment) for result in results]).items():
        shown = ", ".join(sorted(map(str, values)))
        raise ValueError(f"these runs are of different settings ({name}: {shown}): give those of one setting")
    first: dict[int, Result] = {}
    for result in results:
        other = first.setdefault(result.experiment.seed, result)
        if _as_written(other) != _as_written(result):
            raise ValueError(
                f"the runs of {other.method} and {result.method} with seed {result.experiment.seed} had different "
                "tasks or data (sequence in result.json): they cannot be compared"
            )


def _as_written(result: Result) -> str:
    """What was drawn, as it stands in a folder, whether it was read from one or not."""
    return json.dumps(result.record, sort_keys=True)


def by_preset(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Results by their preset, in the order in which they come."""
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(result.experiment.preset, []).append(result)
    return found


def options_of(experiment: Experiment) -> dict[str, object]:
    """Hyper-parameters of an experiment's method; CPR's strength is one where it is used."""
    options = {name: value for name, value in method_to_json(experiment.method).items() if name != "name"}
    return {**options, "cpr": experiment.cpr} if experiment.cpr else options


def setting_of(experiment: Experiment) -> dict[str, object]:
    """All of an experiment but its method and seed, by name."""
    parts = {"training": asdict(experiment.training), "compute": asdict(experiment.compute)}
    nested = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
    plain = {name: getattr(experiment, name) for name in ("preset", "tasks", "fraction", "width")}
    return {**plain, **nested}


def _without_seed(experiment: Experiment) -> Experiment:
    return replace(experiment, seed=0)


def _ordered(label: str, runs: Sequence[Result]) -> tuple[Result, ...]:
    """One run for each seed; of repeats with the same outcome, the first."""
    by_seed: dict[int, Result] = {}
    for run in runs:
        first = by_seed.setdefault(run.experiment.seed, run)
        if first.accuracy.nan_to_num().tolist() != run.accuracy.nan_to_num().tolist():
            raise ValueError(f"{label} has two runs with seed {run.experiment.seed} that differ: give one of them")
    return tuple(by_seed[seed] for seed in sorted(by_seed))


def labels(named: Sequence[tuple[str, Values]]) -> list[str]:
    """The name of each method, and what tells it from another of its name, given names with hyper-parameters."""
    return [_label(name, options, [other for own, other in named if own == name]) for name, options in named]


def _label(name: str, options: Values, alike: Sequence[Values]) -> str:
    told = [f"{key}={_shown(options[key])}" for key in _differences(alike) if key in options]
    return " ".join([name, *told])


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _differences(values: Sequence[Values]) -> dict[str, set[object]]:
    """The names whose values are not all the same, with the values."""
    names = dict.fromkeys(name for settings in values for name in settings)
    found = {name: {settings.get(name) for settings in values} for name in names}
    return {name: different for name, different in found.items() if len(different) > 1}
