"""What a command changes about a preset: how much of it runs, on what, and where the data is."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from agscl.experiments import Experiment, preset_named
from agscl.methods import AnyMethod
from agscl.runs.machine import AUTOMATIC
from agscl.training import Compute


@dataclass(frozen=True)
class Scale:
    """What was asked for on the command line.

    Attributes:
        epochs: Most epochs for each task; `None` leaves it to the preset.
        tasks: Only the first so many tasks; `None` for all.
        fraction: Share of the training and validation examples.
        data_root: Folder of the data sets; `None` for the platform's cache.
        compute: Device, precision and layout.
        steps: Agent steps for each task of reinforcement learning; `None` leaves it to the preset.
        on_divergence: What happens when training diverges: ``stop`` or ``restore``.
        width: What all widths of the network are multiplied with.
    """

    epochs: int | None = None
    tasks: int | None = None
    fraction: float = 1.0
    data_root: Path | None = None
    compute: Compute = AUTOMATIC
    on_divergence: Literal["stop", "restore"] = "stop"
    steps: int | None = None
    width: float = 1.0

    def experiment(self, preset: str, method: AnyMethod, seed: int) -> Experiment:
        """The preset with a method, so scaled.

        Raises:
            ValueError: If something is unknown or out of range.
        """
        if self.steps is not None:
            raise ValueError("--steps is for reinforcement learning; here there are --epochs and --fraction")
        training = preset_named(preset).training
        training = training if self.epochs is None else training.with_epochs(self.epochs)
        return Experiment(
            preset=preset,
            method=method,
            training=replace(training, on_divergence=self.on_divergence),
            seed=seed,
            tasks=self.tasks,
            fraction=self.fraction,
            compute=self.compute,
            width=self.width,
        )


def scale_from(arguments: argparse.Namespace) -> Scale:
    """What the options of `agscl.cli.run.add_scale` say.

    Raises:
        ValueError: If a value means nothing.
    """
    compute = Compute(
        device=arguments.device,
        precision=arguments.precision,
        channels_last=arguments.channels_last,
        compile=arguments.compile,
        live=arguments.live,
    )
    return Scale(
        epochs=arguments.epochs,
        tasks=arguments.tasks,
        fraction=arguments.fraction,
        data_root=arguments.data_root,
        compute=compute,
        on_divergence=arguments.on_divergence,
        steps=arguments.steps,
        width=arguments.width,
    )
