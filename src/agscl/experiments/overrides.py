"""What a command or a caller changes about a preset: how much of it runs, and on what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agscl.runs.machine import AUTOMATIC, Compute


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
