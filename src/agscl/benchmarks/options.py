"""The options that every benchmark shares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from .task import JSON


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """Scale, split, augmentation, device and folder of a benchmark.

    Attributes:
        tasks: Keep only the first tasks of the drawn order, this many.
        fraction: Share of each class's training and validation examples that is used; tests stay whole.
        validation: Share of each class's training examples set aside for validation.
        augment: Random crops and mirrored images while training.
        device: Where batches are delivered.
        data_root: Folder of the data sets; default: the platform's cache folder.
        test_seed: Draws which examples are for testing, where the data has no test examples of its own; `None` leaves
            it to the seed that draws all else.
        stream: Read images from the disk batch by batch instead of holding them on the device; by default
            this is done with data sets larger than 1 GiB.
    """

    tasks: int | None = None
    fraction: float = 1.0
    validation: float = 0.1
    augment: bool = False
    device: str = "cpu"
    data_root: Path | None = None
    test_seed: int | None = None
    stream: bool | None = None

    def __post_init__(self) -> None:
        if self.tasks is not None and self.tasks < 1:
            raise ValueError(f"tasks must be at least 1, got {self.tasks}")
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction must be in (0, 1], got {self.fraction}")
        try:
            torch.device(self.device)
        except RuntimeError as error:
            raise ValueError(f"no device is called {self.device!r}: {error}") from error
        if not 0 < self.validation < 1:
            raise ValueError(f"validation must be in (0, 1), got {self.validation}")

    def seed_of_tests(self, seed: int) -> int:
        """What draws the test examples, where the seed draws all else.

        Example:
            >>> LoadOptions().seed_of_tests(3), LoadOptions(test_seed=0).seed_of_tests(3)
            (3, 0)
        """
        return seed if self.test_seed is None else self.test_seed

    def scaled_down(self, num_tasks: int) -> dict[str, JSON]:
        """How much of a benchmark is used, for the run's record.

        Example:
            >>> LoadOptions(tasks=3).scaled_down(10)
            {'tasks': 3, 'tasks_in_full': 10, 'fraction': 1.0, 'scaled_down': True}
        """
        used = min(self.tasks or num_tasks, num_tasks)
        return {
            "tasks": used,
            "tasks_in_full": num_tasks,
            "fraction": self.fraction,
            "scaled_down": used < num_tasks or self.fraction < 1,
        }
