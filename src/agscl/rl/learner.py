"""Everything that the loops of reinforcement learning share: who learns what, under which protection, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from agscl.guard import Guard, protect
from agscl.methods import Method
from agscl.models.actor_critic import ActorCritic
from agscl.runs.checkpointer import Checkpointer
from agscl.runs.events import Logger
from agscl.runs.machine import PLAIN, Machine
from agscl.tensors import prefixed

from .history import PolicyEvent, PolicyHistory
from .settings import PPOTraining
from .task import PolicyTask, Shape


@dataclass(frozen=True)
class PolicyLearner:
    """A guarded network that learns tasks one after the other.

    Attributes:
        tasks: In their order.
        shape: What they look like and take.
        model: The network; changed in place.
        guard: Protects the model.
        training: How each task is learned.
        seed: All else that is random follows from it, but for the initial weights.
        machine: Where and how policies compute; the model is there already.
        loggers: Where events go.
        checkpointer: Saves and resumes it; `None` for a run that is not saved.
    """

    tasks: Sequence[PolicyTask]
    shape: Shape
    model: ActorCritic
    guard: Guard
    training: PPOTraining
    seed: int
    machine: Machine = PLAIN
    loggers: Sequence[Logger[PolicyEvent]] = field(default=())
    checkpointer: Checkpointer[PolicyHistory] | None = None

    def state(self) -> dict[str, Tensor]:
        """Weights and the guard's state, by name."""
        return prefixed(model=self.model.state_dict(), guard=self.guard.state_dict())


def guarded(network: ActorCritic, method: Method, shape: Shape) -> Guard:
    """Protect a network's trunk, with all actors and all critics as heads; raises as `agscl.protect` does."""
    example = torch.zeros(2, *shape.observation, device=next(network.parameters()).device)
    return protect(network, method, example_inputs=example, heads=("actors", "critics"))
