"""What `Guard.verify` finds: of every learned task whether it answers as it did when it was learned."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

_SHOWN = 3
"""How many layers, and nodes of a layer, a line names."""


@dataclass(frozen=True)
class TaskCheck:
    """One task's answers to the example inputs, compared with those right after it was learned.

    Attributes:
        task: Number of the task.
        identical: Whether they are the same, bit for bit.
        deviation: The largest difference between them; ``inf`` if they are no numbers or of another shape.
        nodes: By layer, the nodes of which something that comes in has changed since: where the method freezes nodes,
            of those that were frozen, and else only if the answers differ.
        parameters: Parameters of the task's head, and of what all nodes share, that have changed since.
    """

    task: int
    identical: bool
    deviation: float
    nodes: dict[str, tuple[int, ...]]
    parameters: tuple[str, ...]

    @property
    def moved(self) -> str:
        """What has changed, for a line: ``fc1[0, 2], heads.0.weight``; empty if nothing has."""
        layers = [f"{name}[{_few(list(map(str, numbers)))}]" for name, numbers in self.nodes.items()]
        return _few([*layers, *self.parameters])


@dataclass(frozen=True)
class Verification:
    """All learned tasks. ``print(verification)`` shows it readably.

    Attributes:
        tasks: The tasks, in the order in which they were learned.
        unknown: Numbers of learned tasks that nothing is known of: the guard's state is older than the probe.
        computed_anew: Numbers of tasks whose answers differ by rounding alone, while their weights are the same, on
            another machine or in other settings; from now on they are compared with these.
    """

    tasks: tuple[TaskCheck, ...]
    unknown: tuple[int, ...] = ()
    computed_anew: tuple[int, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether every task that something is known of answers as it did, bit for bit."""
        return all(check.identical for check in self.tasks)

    def require_still(self, *, frozen: bool) -> None:
        """Refuse tasks that do not answer as they did.

        Args:
            frozen: Whether the nodes that were looked at are frozen: then they must not have moved either.

        Raises:
            ValueError: If there is one; the message names tasks, nodes and parameters.
        """
        if self.computed_anew:
            warnings.warn(
                f"the answers of {_tasks(self.computed_anew)} differ in their last bits, with the same weights, on "
                "this machine or in these settings; from now on they are compared with these",
                stacklevel=4,
            )
        broken = [check for check in self.tasks if not check.identical or (frozen and check.moved)]
        if broken:
            moved = next((check.moved for check in broken if check.moved), "") if frozen else ""
            raise ValueError(
                "weights or running statistics that earlier tasks rely on were changed outside attach(), or within by "
                f"something else than the guarded step: {_tasks([check.task for check in broken])} off by up to "
                f"{max(check.deviation for check in broken):.3g}, moved: {moved or 'no frozen node'}; load the weights "
                "that belong to this guard's state, or protect the model anew"
            )

    def __str__(self) -> str:
        lines = []
        for check in self.tasks:
            told = "identical" if check.identical else f"differs by up to {check.deviation:.3g}"
            anew = " (rounding of another machine or setting)" if check.task in self.computed_anew else ""
            lines.append(f"task {check.task}: {told}{anew}{f'; moved: {check.moved}' if check.moved else ''}")
        return "\n".join([*lines, *(f"task {task}: nothing was recorded" for task in self.unknown)])


def _tasks(numbers: Sequence[int]) -> str:
    return f"task{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"


def _few(parts: list[str]) -> str:
    more = len(parts) - _SHOWN
    return ", ".join(parts[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
