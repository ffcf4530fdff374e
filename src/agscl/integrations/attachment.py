"""An `attach` block that one hook of a trainer opens and another one closes."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any

from agscl.guard import Guard


class Attachment:
    """A guard's `attach` block, for libraries that call hooks where a loop has a `with` statement.

    Args:
        guard: The guard.
        same_task: Whether training may go on with a task that was trained before and is not consolidated.
    """

    def __init__(self, guard: Guard, *, same_task: bool = False) -> None:
        self.guard = guard
        self.steps_per_epoch = 0
        self._same_task = same_task
        self._block: ExitStack | None = None

    @property
    def is_open(self) -> bool:
        """Whether a task is being learned in it."""
        return self._block is not None

    def open(self, optimizers: Any, steps_per_epoch: int) -> None:
        """Attach the guard; a block that an interrupted training has left open is closed first.

        Args:
            optimizers: The optimizer or optimizers.
            steps_per_epoch: Optimizer steps in an epoch.

        Raises:
            ValueError: If the last training of this task was not followed by `Guard.consolidate`, or the guard refuses.
        """
        begun_anew = self.is_open
        self.close()
        guard = self.guard
        if guard.attached:
            raise ValueError(
                "the guard is attached already: by a loop around this trainer, or by a training that failed; leave "
                "that attach() block, or call close() on the GuardCallback of the failed one"
            )
        if guard.unconsolidated and not (self._same_task or begun_anew):
            raise ValueError(
                f"task {guard.task} was trained and not consolidated: call guard.consolidate(loader, predict) after "
                "each training, or train the same task on with GuardCallback(guard, same_task=True)"
            )
        with ExitStack() as block:
            block.enter_context(guard.attach(optimizers, steps_per_epoch=steps_per_epoch))
            self._block, self.steps_per_epoch = block.pop_all(), steps_per_epoch

    def close(self) -> None:
        """Leave the block, if it is open."""
        block, self._block = self._block, None
        if block is not None:
            block.close()


def steps_in_epoch(batches: float, accumulated: int, max_steps: int) -> int:
    """Optimizer steps in one pass over the data, or in the whole training if that is shorter.

    Args:
        batches: Batches of one process in an epoch; `inf` if nobody knows.
        accumulated: Over how many batches gradients are added up; what is left at the end of an epoch is a step.
        max_steps: Most steps of the training; not above 0 if there is no such limit.

    Raises:
        ValueError: If both are unknown.

    >>> steps_in_epoch(10, 4, -1), steps_in_epoch(10, 1, 6), steps_in_epoch(float("inf"), 4, 6)
    (3, 6, 6)
    """
    if math.isfinite(batches):
        steps = math.ceil(batches / accumulated)
        return min(steps, max_steps) if max_steps > 0 else steps
    if max_steps <= 0:
        raise ValueError(
            "how many steps an epoch has cannot be found: the data has no length and the training no largest number "
            "of steps; give GuardCallback(guard, steps_per_epoch=...)"
        )
    return max_steps
