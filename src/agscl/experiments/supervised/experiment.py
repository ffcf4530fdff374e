"""The configuration of a supervised run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict

from agscl.benchmarks.options import LoadOptions
from agscl.experiments.codec import JsonMethod
from agscl.experiments.kind import AnyExperiment
from agscl.experiments.overrides import AS_PUBLISHED, Overrides
from agscl.methods import AnyMethod
from agscl.runs.machine import AUTOMATIC, Compute
from agscl.training import Training

from .presets import supervised_preset


@dataclass(frozen=True, kw_only=True)
class Experiment(AnyExperiment):
    """Tasks and network by the preset's name, method, training, seed.

    Attributes:
        training: How each task is trained.
        tasks: Only the first n tasks of the drawn order; `None` for all.
        cpr: Strength of the entropy term that `agscl.CPR` adds to the method.
        fraction: Share of each class's training and validation examples that is used; tests stay whole.
        width: What all widths of the preset's network are multiplied with; for ablations.
    """

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid", "strict": True}
    not_settings: ClassVar[frozenset[str]] = frozenset({"method", "seed", "cpr"})

    preset: str
    method: JsonMethod
    training: Training
    seed: int = 0
    tasks: int | None = None
    fraction: float = 1.0
    cpr: float = 0.0
    compute: Compute = AUTOMATIC
    width: float = 1.0

    def __post_init__(self) -> None:
        supervised_preset(self.preset)
        self.load_options()
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if not 0 <= self.cpr < float("inf"):
            raise ValueError(f"cpr must be finite and not negative, got {self.cpr}")
        if not 0 < self.width < float("inf"):
            raise ValueError(f"width must be finite and above 0, got {self.width}")

    def load_options(self, data_root: Path | None = None) -> LoadOptions:
        """How much of the preset's data is loaded, and from where (default: the platform's cache folder)."""
        return LoadOptions(tasks=self.tasks, fraction=self.fraction, data_root=data_root)

    @property
    def added_options(self) -> dict[str, object]:
        """CPR's strength, where it is used."""
        return {"cpr": self.cpr} if self.cpr else {}

    @property
    def overrides(self) -> Overrides:
        """What is changed about the preset, other training settings than epochs and ``on_divergence`` aside."""
        epochs = self.training.epochs
        return Overrides(
            epochs=None if epochs == supervised_preset(self.preset).training.epochs else epochs,
            on_divergence=self.training.on_divergence,
            cpr=self.cpr,
            tasks=self.tasks,
            fraction=self.fraction,
            width=self.width,
            compute=self.compute,
        )

    @classmethod
    def of_preset(cls, preset: str, method: AnyMethod, seed: int, overrides: Overrides = AS_PUBLISHED) -> Experiment:
        """The preset with a method, scaled; raises as `AnyExperiment.of_preset` does."""
        if overrides.steps is not None:
            raise ValueError("--steps is for reinforcement learning; here there are --epochs and --fraction")
        training = supervised_preset(preset).training
        training = training if overrides.epochs is None else training.with_epochs(overrides.epochs)
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
        )
