"""Joint training on the data of all tasks so far: the upper bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .fine_tuning import Unprotected
from .method import Network


@dataclass(frozen=True)
class Joint:
    """Learn each task together with the data of all tasks before: the upper bound, since it keeps old data.

    The protection does nothing; a training loop gives each task's training the data of all tasks so far.
    """

    name: ClassVar[str] = "joint"

    def protect(self, network: Network) -> Unprotected:
        """A protection that does nothing."""
        return Unprotected()
