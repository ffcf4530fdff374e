"""The chosen values of every method, as a file that `agscl run` and `agscl compare` take: ``--tuned best.json``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict

from agscl.experiments import Overrides, experiment_of
from agscl.experiments.codec import JsonMethod, adapter, read_json
from agscl.experiments.kind import AnyExperiment
from agscl.experiments.supervised.own import OwnData
from agscl.methods import AnyMethod

from .plan import Plan
from .trial import Trial, best_of

FORMAT = 1
"""Of the file."""


@dataclass(frozen=True, kw_only=True)
class Best:
    """The values that a sweep chose, and on what.

    Attributes:
        label: How they were chosen.
        tuned_on: What they were chosen on: a preset's name, or the digest of own data.
        reported_on: What they were chosen for, likewise.
        seeds: Seeds that they were chosen on.
        test_seed: Draws the test examples, so that none of them was learned while values were chosen.
        methods: The methods by name.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    format: int = FORMAT
    label: str
    tuned_on: str
    reported_on: str
    seeds: tuple[int, ...]
    test_seed: int | None
    methods: dict[str, JsonMethod]

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise ValueError(f"it is of format {self.format}, this version of agscl reads {FORMAT}")
        if wrong := [name for name, method in self.methods.items() if method.name != name]:
            raise ValueError(f"its {wrong[0]!r} is another method, {self.methods[wrong[0]].name!r}")

    @classmethod
    def of(cls, plan: Plan, trials: Mapping[str, Iterable[Trial]]) -> Best:
        """The best of the trials of each method; a method of which none completed is left out."""
        chosen: dict[str, AnyMethod] = {}
        for method in plan.sweep.methods:
            if (best := best_of(list(trials[method.name]))) is not None:
                chosen[method.name] = method.method(best.values)
        return cls(
            label=plan.label,
            tuned_on=data_of(plan.sweep.asked_for_tuning),
            reported_on=data_of(plan.sweep.asked),
            seeds=tuple(seed for seed, _ in plan.draws.tuned),
            test_seed=plan.draws.test_seed,
            methods=chosen,
        )

    def to_json(self) -> bytes:
        """The content of the file."""
        return adapter(Best).dump_json(self, indent=2) + b"\n"

    @classmethod
    def read(cls, path: Path) -> Best:
        """The values in a file.

        Raises:
            ValueError: If it is something else.
            OSError: If it cannot be read.
        """
        return read_json(cls, path.read_bytes(), str(path))

    def experiments(
        self, asked: str | OwnData, methods: Iterable[AnyMethod], seeds: Collection[int], overrides: Overrides
    ) -> list[AnyExperiment]:
        """Every method with every seed, no test example among those that values were chosen by.

        Args:
            asked: A preset's name, or own data.
            methods: Those of these values, and others, which do not count as tuned.
            seeds: Of the runs.
            overrides: What is changed about the preset.

        Raises:
            ValueError: If a seed is one that values were chosen on, which would flatter them, or a method has other
                values than these.
        """
        data = data_of(asked)
        if used := sorted(set(seeds) & set(self.seeds)) if data == self.tuned_on else []:
            raise ValueError(f"seed {used[0]} is one that these values were chosen on (--tuned): take another")
        if overrides.test_seed is None and data in (self.tuned_on, self.reported_on):
            overrides = replace(overrides, test_seed=self.test_seed)
        experiments = []
        for method in methods:
            tuned = self.methods.get(method.name)
            if tuned not in (None, method):
                raise ValueError(f"--tuned has the values of {method.name}: leave its options out")
            own = overrides if tuned is None else replace(overrides, tuning=self.label)
            experiments += [experiment_of(asked, method, seed, own) for seed in seeds]
        return experiments


def data_of(asked: str | OwnData) -> str:
    """What tells data apart: the name of a preset, or the digest of own data."""
    return f"own:{asked.data}" if isinstance(asked, OwnData) else asked
