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
        test_seed: Draws which examples are for testing, where the data has no test examples of its own; `None`: as the
            seed does.
        order_seed: Draws the order of the tasks anew; `None` leaves it to the benchmark.
        tuning: How a sweep chose the method's values, for every table that they stand in; `None` if none did.
        task_file: Of own data: file that names the classes of each task; ``tasks`` is the number of tasks there.
        network: Of own data: name of the network.
        image_size: Of own data: side to which images are scaled.
        augment: Of own data: shift and mirror training images at random.
        batch_size: Of own data: examples in a training batch.
        learning_rate: Of own data: at the start of each task.
    """

    epochs: int | None = None
    steps: int | None = None
    on_divergence: Literal["stop", "restore"] = "stop"
    cpr: float = 0.0
    tasks: int | None = None
    fraction: float = 1.0
    width: float = 1.0
    compute: Compute = AUTOMATIC
    test_seed: int | None = None
    order_seed: int | None = None
    tuning: str | None = None
    task_file: str | None = None
    network: str | None = None
    image_size: int | None = None
    augment: bool = False
    batch_size: int | None = None
    learning_rate: float | None = None

    def require_preset(self) -> None:
        """Refuse, with a `ValueError`, what is for own data alone: a preset has settings of its own."""
        for name in OWN_DATA:
            if getattr(self, name) not in (None, False):
                raise ValueError(f"--{name.replace('_', '-')} is for own data (folder:PATH, npz:FILE, csv:FILE)")


OWN_DATA = ("task_file", "network", "image_size", "augment", "batch_size", "learning_rate")
"""Fields that mean something to own data only."""

AS_PUBLISHED = Overrides()
"""The preset in full."""
