"""How much of a preset a command runs, and where the data is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agscl.experiments import Experiment, preset_named
from agscl.methods import AnyMethod


@dataclass(frozen=True)
class Scale:
    """What was asked for on the command line.

    Attributes:
        epochs: Most epochs for each task; `None` leaves it to the preset.
        tasks: Only the first so many tasks; `None` for all.
        fraction: Share of the training and validation examples.
        data_root: Folder of the data sets; `None` for the platform's cache.
    """

    epochs: int | None = None
    tasks: int | None = None
    fraction: float = 1.0
    data_root: Path | None = None

    def experiment(self, preset: str, method: AnyMethod, seed: int) -> Experiment:
        """The preset with a method, so scaled.

        Raises:
            ValueError: If something is unknown or out of range.
        """
        training = preset_named(preset).training
        training = training if self.epochs is None else training.with_epochs(self.epochs)
        return Experiment(
            preset=preset, method=method, training=training, seed=seed, tasks=self.tasks, fraction=self.fraction
        )
