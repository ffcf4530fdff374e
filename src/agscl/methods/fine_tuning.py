"""Fine-tuning and joint training, which protect nothing: the baseline that forgets, and the upper bound."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import ClassVar

from agscl.nodes import Expansion

from .method import Expandable, Learned, Memory, Network, RunningTask, StepHooks


@dataclass(frozen=True)
class FineTuning:
    """Learn task after task and protect nothing: the reference of the plasticity measure."""

    name: ClassVar[str] = "fine-tuning"

    def protect(self, network: Network) -> Unprotected:
        """A protection that does nothing."""
        return Unprotected()


@dataclass(frozen=True)
class Joint:
    """Learn each task together with the data of all tasks before: the upper bound, since it keeps old data.

    The protection does nothing; a training loop gives each task's training the data of all tasks so far.
    """

    name: ClassVar[str] = "joint"

    def protect(self, network: Network) -> Unprotected:
        """A protection that does nothing."""
        return Unprotected()


class Unprotected(Expandable):
    """No protection at all."""

    def holding(self, task: RunningTask) -> AbstractContextManager[StepHooks]:
        """Nothing is held."""
        return nullcontext(StepHooks())

    def finish(self, learned: Learned) -> None:
        """Nothing is taken over."""

    def require_intact(self, learned: tuple[int, ...]) -> None:
        """Anything may have changed."""

    def expand(self, network: Network, expansion: Expansion, learned: tuple[int, ...]) -> None:
        """New nodes are learned as all others."""

    def memory(self) -> Memory:
        """Nothing is kept."""
        return Memory(0, 0)
