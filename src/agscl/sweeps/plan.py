"""A sweep as a value: which methods, by which protocol, on which seeds; and the runs that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, get_args

from pydantic import ConfigDict

from agscl.experiments import Experiment, Overrides, experiment_of, method_from_options
from agscl.experiments.codec import adapter, method_class, method_from_json, method_options, read_json
from agscl.experiments.kind import AnyPreset, check_seed
from agscl.experiments.kinds import Choice, preset_named
from agscl.experiments.overrides import OWN_DATA
from agscl.experiments.supervised.own import OwnData
from agscl.experiments.supervised.presets import Preset
from agscl.experiments.words import seeds as seeds_in_words
from agscl.methods import AnyMethod
from agscl.methods.space import Space, space_of

Protocol = Literal["first-task", "transfer", "whole-sequence"]
"""On what values are chosen: the first tasks, another benchmark or another order, or all tasks as they are reported."""

PROTOCOLS: tuple[str, ...] = get_args(Protocol)

FIRST_TASKS = 3
"""Tasks that ``first-task`` chooses by, where nothing else is asked for: as many as in Chaudhry et al. (2019)."""

_STRICT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True)
class Searched:
    """A method whose values are searched.

    Attributes:
        name: Of the method.
        fixed: Options that are not searched, as JSON has them.
        ranges: Those that are, described, by name; empty if there is nothing to search.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: str
    fixed: dict[str, Any]
    ranges: dict[str, dict[str, Any]]

    @property
    def space(self) -> Space:
        """The ranges, the strength of the protection first."""
        return {name: found for name, found in space_of(method_class(self.name)).items() if name in self.ranges}

    def method(self, values: Mapping[str, object]) -> AnyMethod:
        """The method with values for the options that are searched."""
        return method_from_json({"name": self.name, **self.fixed, **values})

    @classmethod
    def of(cls, name: str, options: Mapping[str, str], tuned: Mapping[str, AnyMethod]) -> Searched:
        """A method of that name.

        Args:
            name: Of the method.
            options: Those that are given, and so not searched, as text.
            tuned: Methods by name, for what is neither given nor searched.

        Raises:
            ValueError: If there is no such method or option, it has no search space, or one that it refuses itself.
        """
        space = {option: found for option, found in space_of(method_class(name)).items() if option not in options}
        first, last = (
            method_from_options(name, {**{o: str(found.ends[end]) for o, found in space.items()}, **options}, tuned)
            for end in (0, 1)
        )
        assert type(first) is type(last)
        fixed = {option: value for option, value in method_options(first).items() if option not in space}
        return cls(name, fixed, {option: found.described() for option, found in space.items()})


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What is asked for: equal sweeps try the same values.

    Attributes:
        preset: Name of the preset, or of own data.
        own: Own data in place of a preset.
        overrides: What is changed about it, the same for every run.
        protocol: On what values are chosen.
        tune_tasks: Of ``first-task``: how many tasks they are chosen by.
        tune_on: Of ``transfer``: the preset that they are chosen on; `None` is the same in other orders.
        methods: What is compared.
        trials: How many sets of values are tried of every method that has something to search.
        tune_seeds: How many seeds each of them is tried on.
        report_seeds: How many seeds the chosen values are reported on.
        seed: Draws what is tried.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    preset: str
    own: OwnData | None = None
    overrides: Overrides
    protocol: Protocol
    tune_tasks: int | None = None
    tune_on: str | None = None
    methods: tuple[Searched, ...]
    trials: int
    tune_seeds: int
    report_seeds: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"--protocol must be one of {', '.join(PROTOCOLS)}, not {self.protocol!r}")
        for name in ("trials", "tune_seeds", "report_seeds"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}")
        if self.tune_tasks is not None and (self.protocol != "first-task" or self.tune_tasks < 1):
            raise ValueError("--tune-tasks is the number of tasks of --protocol first-task, at least 1")
        if self.tune_on is not None and self.protocol != "transfer":
            raise ValueError("--tune-on names the preset of --protocol transfer")
        check_seed(self.seed)
        if not self.methods:
            raise ValueError("a sweep needs a method: name some with --methods")

    @property
    def asked(self) -> str | OwnData:
        """What is learned, as `agscl.experiments.experiment_of` takes it."""
        return self.preset if self.own is None else self.own

    @property
    def asked_for_tuning(self) -> str | OwnData:
        """What values are chosen on."""
        return self.asked if self.tune_on is None else self.tune_on

    def trials_of(self, method: Searched) -> int:
        """How many sets of values are tried: one where there is nothing to search."""
        return self.trials if method.ranges else 1

    def whole(self, method: AnyMethod, seed: int) -> Experiment:
        """All tasks of what is reported, with the test examples as the overrides have them."""
        return _supervised(self.asked, method, seed, self.overrides)

    def whole_for_tuning(self, method: AnyMethod, seed: int) -> Experiment:
        """All tasks of what values are chosen on."""
        if self.tune_on is None:
            return self.whole(method, seed)
        of_own: dict[str, Any] = {name: getattr(Overrides(), name) for name in OWN_DATA}
        tasks = self.overrides.tasks if self.own is None else None  # of own data: how many it is cut into
        return _supervised(self.tune_on, method, seed, replace(self.overrides, tasks=tasks, **of_own))


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The seeds of a sweep, chosen when it began.

    Attributes:
        tuned: Seed of each run that values are chosen by, and what draws its order of tasks, if not the seed.
        reported: Seeds of the report, none of which is among the first, nor is its order.
        test_seed: Draws the test examples, one draw for all runs; `None` where the data has its own.
        tasks: Number of tasks that are reported.
        tune_tasks: Number of tasks that values are chosen by.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    tuned: tuple[tuple[int, int | None], ...]
    reported: tuple[int, ...]
    test_seed: int | None
    tasks: int
    tune_tasks: int


@dataclass(frozen=True)
class Plan:
    """A sweep with its seeds: all of its runs follow from it."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    sweep: Sweep
    draws: Draws

    def tuning(self, method: AnyMethod, number: int) -> Experiment:
        """The run of a trial on one of the tuning seeds, which looks at no test example."""
        seed, order_seed = self.draws.tuned[number]
        experiment = self.sweep.whole_for_tuning(method, seed)
        tasks = self.draws.tune_tasks if self.sweep.protocol == "first-task" else experiment.tasks
        return replace(
            experiment,
            tasks=tasks,
            test_seed=self.draws.test_seed,
            order_seed=order_seed if order_seed is not None else experiment.order_seed,
            evaluated_on="validation",
        )

    def report(self, method: AnyMethod, seed: int) -> Experiment:
        """A run of the report."""
        return replace(self.sweep.whole(method, seed), test_seed=self.draws.test_seed, tuning=self.label)

    @property
    def label(self) -> str:
        """How values were chosen, for the title of every table that stands on it."""
        sweep, draws = self.sweep, self.draws
        tasks = f"the first {draws.tune_tasks} of {draws.tasks} tasks" if draws.tasks > 1 else "the only task"
        where = {
            "first-task": f"on {tasks}",
            "transfer": f"on {sweep.tune_on}" if sweep.tune_on else "on other orders of the tasks",
            "whole-sequence": "on the whole sequence that is reported: optimistic",
        }
        tuned = seeds_in_words(seed for seed, _ in draws.tuned)
        return f"{sweep.protocol} (values chosen {where[sweep.protocol]}, by validation accuracy, {tuned})"

    def to_json(self) -> bytes:
        """The plan as JSON; equal plans give equal bytes."""
        return adapter(Plan).dump_json(self, indent=2) + b"\n"

    @classmethod
    def from_json(cls, text: bytes) -> Plan:
        """A plan from what `to_json` made.

        Raises:
            ValueError: If it is something else.
        """
        return read_json(cls, text, "plan.json")


def sweep_of(
    choice: Choice, overrides: Overrides, names: Sequence[str], options: Mapping[str, Mapping[str, str]], **asked: Any
) -> Sweep:
    """A sweep over methods.

    Args:
        choice: What is learned.
        overrides: What is changed about it.
        names: Of the methods.
        options: Of each method, those that are given and so not searched.
        asked: The other fields of `Sweep`.

    Raises:
        ValueError: If something is unknown, out of range, or cannot be searched.
    """
    require_validation(choice.preset, choice.name)
    if asked.get("tune_on") is not None:
        require_validation(preset_named(asked["tune_on"]), asked["tune_on"])
    methods = tuple(Searched.of(name, options.get(name, {}), choice.preset.tuned) for name in names)
    own = choice.asked if isinstance(choice.asked, OwnData) else None
    sweep = Sweep(preset=choice.name, own=own, overrides=overrides, methods=methods, **asked)
    for method in sweep.methods:  # refuses what does not fit before anything begins
        first = method.method({option: found.ends[0] for option, found in method.space.items()})
        sweep.whole(first, 0)
        sweep.whole_for_tuning(first, 0)
    return sweep


def require_validation(preset: AnyPreset, name: str) -> None:
    """Refuse, with a `ValueError`, what has no validation examples to choose by."""
    if not isinstance(preset, Preset):
        raise ValueError(f"{name}: a sweep chooses by accuracy on validation examples, and policies have none")


def differences(one: Sweep, other: Sweep) -> list[str]:
    """Names of what two sweeps differ in."""
    return [field.name for field in fields(one) if getattr(one, field.name) != getattr(other, field.name)]


def _supervised(asked: str | OwnData, method: AnyMethod, seed: int, overrides: Overrides) -> Experiment:
    experiment = experiment_of(asked, method, seed, overrides)
    if not isinstance(experiment, Experiment):
        raise ValueError(f"{asked}: a sweep chooses by accuracy on validation examples, and policies have none")
    return experiment
