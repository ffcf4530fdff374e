"""Everything that the loops of reinforcement learning share: who learns what, under which protection, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from agscl.guard import Guard, protect
from agscl.methods import Method
from agscl.models.actor_critic import ActorCritic

from .events import Sink
from .history import PolicyHistory
from .policy import PLAIN, Arithmetic
from .settings import PPOTraining
from .task import PolicyTask, Shape


class Keeper(Protocol):
    """Keeps what a run needs to go on, and what it leaves behind."""

    def due(self) -> bool:
        """Whether a checkpoint is due after the update that was just made."""

    def save(self, history: PolicyHistory, tensors: Mapping[str, Tensor]) -> None:
        """Take a checkpoint: a record and tensors."""

    def learned(self, task: int) -> None:
        """Take the state right after a task is learned and consolidated."""


class Forgetful:
    """Keeps nothing."""

    def due(self) -> bool:
        """Never."""
        return False

    def save(self, history: PolicyHistory, tensors: Mapping[str, Tensor]) -> None:
        """Do nothing."""

    def learned(self, task: int) -> None:
        """Do nothing."""


NOTHING_KEPT = Forgetful()


@dataclass(frozen=True)
class PolicyLearner:
    """A guarded network that learns tasks one after the other.

    Attributes:
        tasks: In their order.
        shape: What they look like and take.
        network: Changed in place.
        guard: Protects the network.
        training: How each task is learned.
        seed: All else that is random follows from it, but for the initial weights.
        arithmetic: How policies compute.
        isolated: The method answers each task with weights of its own, so that while one is learned no other is
            evaluated.
        sinks: Where events go.
        keeper: Takes checkpoints, and the state after each task.
    """

    tasks: Sequence[PolicyTask]
    shape: Shape
    network: ActorCritic
    guard: Guard
    training: PPOTraining
    seed: int
    arithmetic: Arithmetic = PLAIN
    isolated: bool = False
    sinks: Sequence[Sink] = field(default=())
    keeper: Keeper = NOTHING_KEPT

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def state(self) -> dict[str, Tensor]:
        """Weights and the guard's state, by name."""
        model = {f"model.{name}": tensor for name, tensor in self.network.state_dict().items()}
        return model | {f"guard.{name}": tensor for name, tensor in self.guard.state_dict().items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave; other names are left alone.

        Raises:
            ValueError: If it belongs to another network or method.
        """
        try:
            self.network.load_state_dict(part(state, "model."))
        except RuntimeError as error:
            raise ValueError(f"the state belongs to another network: {' '.join(str(error).split())}") from error
        self.guard.load_state_dict(part(state, "guard."))


def guarded(network: ActorCritic, method: Method, shape: Shape) -> Guard:
    """Protect a network's trunk, with all actors and all critics as heads.

    Raises:
        TraceError: If the trunk cannot be traced; the message says where and what to do.
        ValueError: If the observations do not fit the network, or the method does not.
    """
    example = torch.zeros(2, *shape.observation, device=next(network.parameters()).device)
    return protect(network, method, example_inputs=example, heads=("actors", "critics"))


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
