"""A run as a value: equal experiments are equal runs, and JSON holds all of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import ConfigDict, PlainSerializer, PlainValidator, ValidationError

from agscl.benchmarks.options import LoadOptions
from agscl.experiments.codec import adapter, explain, method_from_json, method_to_json
from agscl.methods import AnyMethod
from agscl.runs.machine import AUTOMATIC, Compute
from agscl.training import Training

from .presets import preset_named


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What is run: tasks and network by the preset's name, method, training, seed.

    Attributes:
        preset: Name of the preset.
        method: The method with its hyper-parameters.
        training: How each task is trained.
        seed: Draws the tasks, the initial weights, the order of the examples, and all else.
        tasks: Only the first so many tasks of the drawn order; `None` for all.
        compute: Device, precision and layout; they change the last digits of the results.
        cpr: Strength of the entropy term that `agscl.CPR` adds to the method.
        fraction: Share of each class's training and validation examples that is used; tests stay whole.
        width: What all widths of the preset's network are multiplied with; for ablations.
    """

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid", "strict": True}

    preset: str
    method: Annotated[AnyMethod, PlainValidator(method_from_json), PlainSerializer(method_to_json)]
    training: Training
    seed: int = 0
    tasks: int | None = None
    fraction: float = 1.0
    cpr: float = 0.0
    compute: Compute = AUTOMATIC
    width: float = 1.0

    def __post_init__(self) -> None:
        """Refuse unknown presets, and seeds and scales that cannot be used."""
        preset_named(self.preset)
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

    def to_json(self) -> bytes:
        """The experiment as JSON; equal experiments give equal bytes."""
        typed = self.from_json(adapter(Experiment).dump_json(self))  # where a float belongs, 1 becomes 1.0
        return adapter(Experiment).dump_json(typed, indent=2) + b"\n"

    @classmethod
    def from_json(cls, text: bytes | str) -> Experiment:
        """An experiment from what `to_json` made.

        Raises:
            ValueError: If a key is unknown or missing, or a value is of the wrong type or out of its range.
        """
        try:
            return adapter(Experiment).validate_json(text)
        except ValidationError as error:
            raise ValueError(explain(error, "experiment", cls)) from error
