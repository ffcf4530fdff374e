"""Everything that the loops of reinforcement learning share: who learns what, under which protection, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from agscl.guard import Guard, protect
from agscl.methods import Method
from agscl.models.actor_critic import ActorCritic
from agscl.runs.checkpointer import Checkpointer
from agscl.runs.events import Logger
from agscl.runs.machine import PLAIN, Machine
from agscl.runs.tensors import prefixed, under

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
        isolated: The method answers each task with weights of its own, so that while one is learned no other is
            evaluated.
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
    isolated: bool = False
    loggers: Sequence[Logger[PolicyEvent]] = field(default=())
    checkpointer: Checkpointer[PolicyHistory] | None = None

    def state(self) -> dict[str, Tensor]:
        """Weights and the guard's state, by name."""
        return prefixed(model=self.model.state_dict(), guard=self.guard.state_dict())

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` gave; other names are left alone.

        Raises:
            ValueError: If it belongs to another network or method.
        """
        try:
            self.model.load_state_dict(under("model", state))
        except RuntimeError as error:
            raise ValueError(f"the state belongs to another network: {' '.join(str(error).split())}") from error
        self.guard.load_state_dict(under("guard", state))


def guarded(network: ActorCritic, method: Method, shape: Shape) -> Guard:
    """Protect a network's trunk, with all actors and all critics as heads.

    Raises:
        TraceError: If the trunk cannot be traced; the message says where and what to do.
        ValueError: If the observations do not fit the network, or the method does not.
    """
    example = torch.zeros(2, *shape.observation, device=next(network.parameters()).device)
    return protect(network, method, example_inputs=example, heads=("actors", "critics"))
