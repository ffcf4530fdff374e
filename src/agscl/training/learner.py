"""Everything that the loops of training share: who learns, under which protection, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from agscl.guard import Guard
from agscl.models import MultiHead
from agscl.runs.checkpointer import Checkpointer
from agscl.runs.events import Logger
from agscl.runs.machine import PLAIN, Machine

from .events import Event
from .history import SequenceProgress
from .settings import Training


@dataclass(frozen=True)
class Learner:
    """A guarded model that learns tasks one after the other.

    Attributes:
        model: Changed in place.
        guard: Protects the model.
        training: Settings of each task's training.
        generator: Draws the order of the training examples, and nothing else.
        loggers: Where events go.
        joint: Each task is trained together with the data of all tasks before it.
        machine: Where and how it computes; the model is there already.
        live: Compute with the live nodes only, see `Guard.attach`.
        checkpointer: Saves and resumes it; `None` for a run that is not saved.
    """

    model: MultiHead
    guard: Guard
    training: Training
    generator: torch.Generator
    loggers: Sequence[Logger[Event]] = field(default=())
    joint: bool = False
    machine: Machine = PLAIN
    live: bool = False
    checkpointer: Checkpointer[SequenceProgress] | None = None
