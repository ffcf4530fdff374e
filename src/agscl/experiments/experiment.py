"""A run as a value: equal experiments are equal runs, and JSON holds all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import ConfigDict, PlainSerializer, PlainValidator, TypeAdapter, ValidationError

from agscl.methods import AnyMethod
from agscl.training import Training

from .methods import explain, method_from_json, method_to_json
from .presets import preset_named


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What is run: tasks and network by the preset's name, method, training, seed.

    Attributes:
        preset: Name of the preset.
        method: The method with its hyper-parameters.
        training: How each task is trained.
        seed: Draws the tasks, the initial weights, the order of the examples, and all else.
    """

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid", "strict": True}

    preset: str
    method: Annotated[AnyMethod, PlainValidator(method_from_json), PlainSerializer(method_to_json)]
    training: Training
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse unknown presets and seeds that cannot be used."""
        preset_named(self.preset)
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")

    def to_json(self) -> bytes:
        """The experiment as JSON; equal experiments give equal bytes."""
        return TypeAdapter(Experiment).dump_json(self, indent=2) + b"\n"

    @classmethod
    def from_json(cls, text: bytes | str) -> Experiment:
        """An experiment from what `to_json` made.

        Raises:
            ValueError: If a key is unknown or missing, or a value is of the wrong type or out of its range.
        """
        try:
            return TypeAdapter(Experiment).validate_json(text)
        except ValidationError as error:
            raise ValueError(explain(error, "experiment", cls)) from error
