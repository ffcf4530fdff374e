"""The configuration of a run of reinforcement learning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from pydantic import ConfigDict

from agscl.experiments.codec import JsonMethod, name_of
from agscl.experiments.kind import AnyExperiment, check_seed
from agscl.experiments.overrides import AS_PUBLISHED, Overrides
from agscl.methods import AnyMethod
from agscl.rl.settings import PPOTraining
from agscl.runs.machine import AUTOMATIC
from agscl.training import Compute

from .presets import PolicyPreset, policy_preset

UNSUITED = {
    "hat": "its gates are soft while it learns and hard while it acts, so that PPO's ratios mean nothing",
    "lwf": "its term belongs into the loss, which Stable-Baselines3 does not open",
    "joint": "it needs the data of earlier tasks, which a policy makes anew",
}
"""Methods that cannot be used here, and why."""


@dataclass(frozen=True, kw_only=True)
class PolicyExperiment(AnyExperiment):
    """Tasks and network by the preset's name, method, training, seed.

    Attributes:
        training: How each task is learned and evaluated.
        tasks: Only the first n tasks; `None` for all.
    """

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid", "strict": True}

    preset: str
    method: JsonMethod
    training: PPOTraining
    seed: int = 0
    tasks: int | None = None
    compute: Compute = AUTOMATIC

    def __post_init__(self) -> None:
        policy_preset(self.preset)
        if (name := name_of(self.method)) in UNSUITED:
            raise ValueError(f"{name} cannot protect a policy: {UNSUITED[name]}")
        check_seed(self.seed)
        if self.tasks is not None and self.tasks < 1:
            raise ValueError(f"tasks must be at least 1, got {self.tasks}")
        if self.compute.compile or self.compute.precision == "fp16":
            raise ValueError("reinforcement learning runs without --compile, in fp32 or bf16")

    @property
    def full(self) -> PolicyPreset:
        """The preset."""
        return policy_preset(self.preset)

    @property
    def asked_for(self) -> str:
        """What asks for the preset on a command line."""
        return self.preset

    @property
    def keeps_states(self) -> bool:
        """Every run of policies keeps its weights."""
        return True

    def again(self, overrides: Overrides) -> PolicyExperiment:
        """The same preset, method and seed with other overrides; raises as `of_preset` does."""
        return self.of_preset(self.preset, self.method, self.seed, overrides)

    @property
    def overrides(self) -> Overrides:
        """What is changed about the preset, other training settings than steps aside."""
        steps = self.training.steps
        return Overrides(
            steps=None if steps == self.full.training.steps else steps, tasks=self.tasks, compute=self.compute
        )

    @classmethod
    def of_preset(
        cls, preset: str, method: AnyMethod, seed: int, overrides: Overrides = AS_PUBLISHED
    ) -> PolicyExperiment:
        """The preset with a method, scaled; raises as `AnyExperiment.of_preset` does."""
        overrides.require_preset()
        if overrides.test_seed is not None or overrides.order_seed is not None:
            raise ValueError("--test-seed and --order-seed are for data sets: policies have no test examples")
        if overrides.tuning is not None:
            raise ValueError("--tuned is for data sets: sweeps choose no values for policies")
        if overrides.cpr:
            raise ValueError("--cpr adds a term to the loss, which Stable-Baselines3 does not open")
        if overrides.epochs is not None or overrides.fraction != 1 or overrides.width != 1:
            raise ValueError(
                "--epochs, --fraction and --width are for data sets; reinforcement learning is scaled with --steps"
            )
        training = policy_preset(preset).training
        training = training if overrides.steps is None else replace(training, steps=overrides.steps)
        return cls(
            preset=preset, method=method, training=training, seed=seed, tasks=overrides.tasks, compute=overrides.compute
        )
