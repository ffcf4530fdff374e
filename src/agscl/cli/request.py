"""What was asked of ``agscl run``, whatever the kind of the preset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agscl.experiments import Preset, method_from_options
from agscl.experiments.policies.presets import PolicyPreset
from agscl.methods import AnyMethod
from agscl.runs.checkpointer import EVERY, Every

from .scale import Scale


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line.

    Attributes:
        preset: Name of the preset.
        method: Name of the one method to run; `None` runs all that the preset compares.
        options: Hyper-parameters of the method, as text.
        seed: Draws everything random.
        out: The run folder; `None` makes a new one under ``runs``.
        scale: How much of the preset to run, and where the data is.
        cpr: Strength of CPR's entropy term.
        resume: Go on where a run in the folder stopped.
        every: How often a checkpoint is written.
        tensorboard: Whether curves for TensorBoard are written too.
    """

    preset: str
    method: str | None
    options: Mapping[str, str]
    seed: int
    out: Path | None
    scale: Scale
    cpr: float = 0.0
    resume: bool = False
    every: Every = EVERY
    tensorboard: bool = False


def asked_methods(request: Request, preset: Preset | PolicyPreset) -> Sequence[AnyMethod]:
    """The one method that is named, or all that the preset compares.

    Raises:
        ValueError: If the method or an option of it is unknown, or an option has no method.
    """
    if request.method is not None:
        return [method_from_options(request.method, request.options, preset.tuned)]
    if request.options:
        raise ValueError(f"option {next(iter(request.options))!r} belongs to a method: name it with --method")
    return list(preset.methods.values())
