"""A fresh model for each task: what could be learned of a task without any other."""

from __future__ import annotations

from dataclasses import dataclass

from .fine_tuning import Unprotected
from .method import Network


@dataclass(frozen=True)
class SingleTask:
    """Learn each task alone with a fresh model: a reference of the plasticity measure beside fine-tuning.

    The protection does nothing; a training loop begins every task with the first model's initial weights.
    """

    def protect(self, network: Network) -> Unprotected:
        """A protection that does nothing."""
        return Unprotected()
