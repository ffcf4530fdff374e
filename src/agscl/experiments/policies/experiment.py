"""A run of reinforcement learning as a value: equal experiments are equal runs, and JSON holds all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import ConfigDict, PlainSerializer, PlainValidator, ValidationError

from agscl.experiments.codec import adapter, explain, method_from_json, method_to_json, name_of
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
class PolicyExperiment:
    """What is run: tasks and network by the preset's name, method, training, seed.

    Attributes:
        preset: Name of the preset.
        method: The method with its hyper-parameters.
        training: How each task is learned and evaluated.
        seed: All that is random follows from it.
        tasks: Only the first so many tasks; `None` for all.
        compute: Device and precision.
    """

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid", "strict": True}

    preset: str
    method: Annotated[AnyMethod, PlainValidator(method_from_json), PlainSerializer(method_to_json)]
    training: PPOTraining
    seed: int = 0
    tasks: int | None = None
    compute: Compute = AUTOMATIC

    def __post_init__(self) -> None:
        """Refuse unknown presets, methods that cannot be used, and seeds and scales out of range."""
        policy_preset(self.preset)
        if (name := name_of(self.method)) in UNSUITED:
            raise ValueError(f"{name} cannot protect a policy: {UNSUITED[name]}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if self.tasks is not None and self.tasks < 1:
            raise ValueError(f"tasks must be at least 1, got {self.tasks}")
        if self.compute.compile or self.compute.precision == "fp16":
            raise ValueError("reinforcement learning runs without --compile, in fp32 or bf16")

    @property
    def full(self) -> PolicyPreset:
        """The preset."""
        return policy_preset(self.preset)

    def to_json(self) -> bytes:
        """The experiment as JSON; equal experiments give equal bytes."""
        typed = self.from_json(adapter(PolicyExperiment).dump_json(self))  # where a float belongs, 1 becomes 1.0
        return adapter(PolicyExperiment).dump_json(typed, indent=2) + b"\n"

    @classmethod
    def from_json(cls, text: bytes | str) -> PolicyExperiment:
        """An experiment from what `to_json` made.

        Raises:
            ValueError: If a key is unknown or missing, or a value is of the wrong type or out of its range.
        """
        try:
            return adapter(PolicyExperiment).validate_json(text)
        except ValidationError as error:
            raise ValueError(explain(error, "experiment", cls)) from error
