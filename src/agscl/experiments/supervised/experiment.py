"""The configuration of a supervised run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict

from agscl.benchmarks.options import LoadOptions
from agscl.experiments.codec import JsonMethod
from agscl.experiments.kind import AnyExperiment, check_seed
from agscl.experiments.overrides import AS_PUBLISHED, Overrides
from agscl.methods import AnyMethod
from agscl.runs.machine import AUTOMATIC, Compute
from agscl.training import Training

from .own import OwnData
from .presets import Preset, supervised_preset


@dataclass(frozen=True, kw_only=True)
class Experiment(AnyExperiment):
    """Tasks and network by the preset's name, method, training, seed.

    Attributes:
        training: How each task is trained.
        tasks: Only the first n tasks of the drawn order; `None` for all.
        cpr: Strength of the entropy term that `agscl.CPR` adds to the method.
        fraction: Share of each class's training and validation examples that is used; tests stay whole.
        width: What all widths of the preset's network are multiplied with; for ablations.
        own: Own data in place of a preset, which then bears its name.
        test_seed: Draws which examples are for testing, where the data has no test examples of its own; `None`: as the
            seed does.
        order_seed: Draws the order of the tasks anew; `None` leaves it to the benchmark.
        evaluated_on: Examples that the run is evaluated on. On ``validation`` no test example is ever looked at, and
            the folder holds numbers alone, no weights: for choosing hyper-parameters.
        tuning: How a sweep chose the method's values; `None` if none did.
    """

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid", "strict": True}
    not_settings: ClassVar[frozenset[str]] = frozenset({"method", "seed", "cpr", "tuning"})

    preset: str
    method: JsonMethod
    training: Training
    seed: int = 0
    tasks: int | None = None
    fraction: float = 1.0
    cpr: float = 0.0
    compute: Compute = AUTOMATIC
    width: float = 1.0
    own: OwnData | None = None
    test_seed: int | None = None
    order_seed: int | None = None
    evaluated_on: Literal["test", "validation"] = "test"
    tuning: str | None = None

    def __post_init__(self) -> None:
        if self.own is None:
            supervised_preset(self.preset)
        self.load_options()
        for seed in (self.seed, self.test_seed, self.order_seed):
            check_seed(seed or 0)
        if self.evaluated_on not in ("test", "validation"):
            raise ValueError(f"evaluated_on must be 'test' or 'validation', not {self.evaluated_on!r}")
        if not 0 <= self.cpr < float("inf"):
            raise ValueError(f"cpr must be finite and not negative, got {self.cpr}")
        if not 0 < self.width < float("inf"):
            raise ValueError(f"width must be finite and above 0, got {self.width}")

    @property
    def full(self) -> Preset:
        """The preset, or the own data in its place."""
        return supervised_preset(self.preset) if self.own is None else self.own.preset

    @property
    def asked_for(self) -> str:
        """What asks for the preset on a command line."""
        return self.preset if self.own is None else self.own.source

    def load_options(self, data_root: Path | None = None) -> LoadOptions:
        """How much of the preset's data is loaded, and from where (default: the platform's cache folder)."""
        return LoadOptions(tasks=self.tasks, fraction=self.fraction, data_root=data_root, test_seed=self.test_seed)

    @property
    def keeps_states(self) -> bool:
        """Whether the run keeps weights and the guard's state."""
        return self.evaluated_on == "test"

    @property
    def added_options(self) -> dict[str, object]:
        """CPR's strength, where it is used."""
        return {"cpr": self.cpr} if self.cpr else {}

    @property
    def overrides(self) -> Overrides:
        """What is changed about the preset, other training settings than epochs and ``on_divergence`` aside."""
        full, own = self.full.training, self.training
        changed: dict[str, Any] = {"tasks": self.tasks}
        if self.own is not None:
            trained = {name: getattr(own, name) for name in ("batch_size", "learning_rate")}
            changed = self.own.changes() | {n: value for n, value in trained.items() if value != getattr(full, n)}
        return Overrides(
            epochs=None if own.epochs == full.epochs else own.epochs,
            on_divergence=own.on_divergence,
            cpr=self.cpr,
            fraction=self.fraction,
            width=self.width,
            compute=self.compute,
            test_seed=self.test_seed,
            order_seed=self.order_seed,
            tuning=self.tuning,
            **changed,
        )

    def again(self, overrides: Overrides) -> Experiment:
        """The same preset or own data, method and seed with other overrides; raises as `of_preset` does."""
        if self.own is None:
            return self.of_preset(self.preset, self.method, self.seed, overrides)
        return self.of_own(self.own, self.method, self.seed, overrides)

    @classmethod
    def of_own(cls, own: OwnData, method: AnyMethod, seed: int, overrides: Overrides = AS_PUBLISHED) -> Experiment:
        """Own data with a method, trained as the overrides say; raises as `AnyExperiment.of_preset` does."""
        plain = replace(overrides, tasks=None)
        training = own.preset.training.with_epochs(overrides.epochs or own.preset.training.epochs)
        given = {name: getattr(overrides, name) for name in ("batch_size", "learning_rate")}
        changed = {name: value for name, value in given.items() if value is not None}
        return cls._of(own.name, method, seed, plain, replace(training, **changed), own)

    @classmethod
    def of_preset(cls, preset: str, method: AnyMethod, seed: int, overrides: Overrides = AS_PUBLISHED) -> Experiment:
        """The preset with a method, scaled; raises as `AnyExperiment.of_preset` does."""
        overrides.require_preset()
        training = supervised_preset(preset).training
        training = training if overrides.epochs is None else training.with_epochs(overrides.epochs)
        return cls._of(preset, method, seed, overrides, training)

    @classmethod
    def _of(
        cls,
        preset: str,
        method: AnyMethod,
        seed: int,
        overrides: Overrides,
        training: Training,
        own: OwnData | None = None,
    ) -> Experiment:
        if overrides.steps is not None:
            raise ValueError("--steps is for reinforcement learning; here there are --epochs and --fraction")
        return cls(
            preset=preset,
            method=method,
            training=replace(training, on_divergence=overrides.on_divergence),
            seed=seed,
            tasks=overrides.tasks,
            fraction=overrides.fraction,
            cpr=overrides.cpr,
            compute=overrides.compute,
            width=overrides.width,
            own=own,
            test_seed=overrides.test_seed,
            order_seed=overrides.order_seed,
            tuning=overrides.tuning,
        )
