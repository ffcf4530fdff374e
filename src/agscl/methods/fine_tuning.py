"""Fine-tuning: no protection, the baseline that forgets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .method import Learned, Memory, Network, Protection


@dataclass(frozen=True)
class FineTuning:
    """Learn task after task and protect nothing: the reference of the plasticity measure."""

    name: ClassVar[str] = "fine-tuning"

    def protect(self, network: Network) -> Unprotected:
        """A protection that does nothing."""
        return Unprotected()


class Unprotected(Protection):
    """No protection at all."""

    def require_expandable(self, learned: tuple[int, ...]) -> None:
        """New nodes are welcome."""

    def finish(self, learned: Learned) -> None:
        """Nothing is taken over."""

    def memory(self) -> Memory:
        """Nothing is kept."""
        return Memory(0, 0)
