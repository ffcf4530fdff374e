"""What a command or a caller changes about a preset: how much of it runs, and on what; and the command that does."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Literal

from agscl.runs.machine import AUTOMATIC, Compute

from .codec import INFINITY, method_options

if TYPE_CHECKING:
    from .kind import AnyExperiment


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """The same for every kind of run; a kind refuses what means nothing to it.

    Attributes:
        epochs: Most epochs for each task; `None` leaves it to the preset.
        steps: Agent steps for each task of reinforcement learning; `None` leaves it to the preset.
        on_divergence: What happens when training diverges: ``stop`` or ``restore``.
        cpr: Strength of CPR's entropy term.
        tasks: Only the first n tasks; `None` for all.
        fraction: Share of the training and validation examples.
        width: What all widths of the network are multiplied with.
        compute: Device, precision and layout.
    """

    epochs: int | None = None
    steps: int | None = None
    on_divergence: Literal["stop", "restore"] = "stop"
    cpr: float = 0.0
    tasks: int | None = None
    fraction: float = 1.0
    width: float = 1.0
    compute: Compute = AUTOMATIC


AS_PUBLISHED = Overrides()
"""The preset in full."""


def command(experiment: AnyExperiment) -> str | None:
    """The `agscl run` command of an experiment, ready for a shell; `None` if only Python code can ask for it."""
    overrides = experiment.overrides
    if experiment.of_preset(experiment.preset, experiment.method, experiment.seed, overrides) != experiment:
        return None
    options = method_options(experiment.method).items()
    method = [f"--method.{name}={'inf' if value == INFINITY else value}" for name, value in options]
    words = ["agscl", "run", experiment.preset, "--method", experiment.method_name, *method]
    return shlex.join([*words, *_changed(overrides, AS_PUBLISHED), f"--seed={experiment.seed}"])


def _changed(values: object, defaults: object) -> Iterator[str]:
    """Options for values that are not the default; a switch has no value."""
    for field in fields(values):  # type: ignore[arg-type] # overrides, and the parts of them that are dataclasses
        value, default = getattr(values, field.name), getattr(defaults, field.name)
        if is_dataclass(value):
            yield from _changed(value, default)
        elif value != default:
            flag = f"--{field.name.replace('_', '-')}"
            yield flag if value is True else f"{flag}={value}"
