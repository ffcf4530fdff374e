"""What a method is: hyper-parameters that know how to protect a network, and the protection's hooks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from agscl.nodes import Expansion, NodeGraph

Predict = Callable[[Any], Tensor]
"""Maps a batch to the outputs of the task that was just learned."""


@dataclass(frozen=True)
class Network:
    """A model with its node graph.

    Attributes:
        model: The model.
        graph: Its nodes.
        parameters: Its trainable tensors by name, the live ones.
        buffers: Its other state by name, the live ones.
    """

    model: nn.Module
    graph: NodeGraph
    parameters: Mapping[str, nn.Parameter]
    buffers: Mapping[str, Tensor]

    @property
    def state(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, the live tensors."""
        return {**self.parameters, **self.buffers}

    @property
    def common(self) -> dict[str, nn.Parameter]:
        """Parameters that tasks have in common, by name: all but those of heads that serve one task each."""
        own = {name for head in self.graph.heads if head.tasks for name in head.parameters}
        return {name: p for name, p in self.parameters.items() if name not in own and p.requires_grad}


@dataclass(frozen=True)
class Training:
    """The learning of one task: what a protection may know about it.

    Attributes:
        optimizer: The optimizer whose steps are guarded.
        task: Number of the task, from 0.
        learned: Numbers of the tasks learned before.
        steps_per_epoch: Optimizer steps in an epoch.
        first_step: Steps of this task taken before, when a saved state goes on in the middle of it.
    """

    optimizer: Optimizer
    task: int
    learned: tuple[int, ...]
    steps_per_epoch: int
    first_step: int = 0

    def require_held(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Refuse an optimizer without a method's own parameters.

        Raises:
            ValueError: If one is missing; the message names it.
        """
        held = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        for name, parameter in parameters.items():
            if id(parameter) not in held:
                raise ValueError(
                    f"the optimizer does not hold {name!r}, which the method learns; "
                    "make it from model.parameters() after protect()"
                )

    def rates(self, parameters: Mapping[str, nn.Parameter]) -> dict[str, float]:
        """The present learning rate of every parameter that the optimizer holds, by name."""
        by_id = {id(p): group["lr"] for group in self.optimizer.param_groups for p in group["params"]}
        return {name: float(by_id[id(p)]) for name, p in parameters.items() if id(p) in by_id}


@dataclass(frozen=True)
class Step:
    """One optimizer step.

    Attributes:
        number: How many steps of this task came before it.
        scale: What a gradient scaler has multiplied the gradients with, and will divide by inside the step.
    """

    number: int
    scale: float | Tensor = 1.0


@dataclass(frozen=True)
class Learned:
    """A task that was just learned, with its data.

    Attributes:
        tasks: Numbers of all tasks learned, from 0, this one last.
        batches: The training data, iterated as often as needed.
        predict: The model's outputs for the task.
    """

    tasks: tuple[int, ...]
    batches: Iterable[Any]
    predict: Predict

    @property
    def task(self) -> int:
        """Number of the task that was just learned."""
        return self.tasks[-1]


@dataclass(frozen=True)
class Memory:
    """Bytes that a protection keeps between tasks.

    Attributes:
        regularization: Regularization parameters alone, as figure 6(a) of Jung et al. (2020) counts them.
        total: All of it, copies of weights included.
    """

    regularization: int
    total: int


class Protection(ABC):
    """What a method does to one network. The guard calls it; by default nothing happens.

    Order: `begin`, then for every step `before_step` and `after_step`, after every epoch's last step `after_epoch`,
    then `end`, and `finish` once the task is over.
    """

    def begin(self, training: Training) -> None:
        """Prepare for the steps of one task.

        Raises:
            ValueError: If the network is not as the protection left it.
        """

    def before_step(self, step: Step) -> None:
        """Change the gradients; they hold the task's gradient alone when this is called."""

    def after_step(self, step: Step) -> None:
        """Change the weights."""

    def after_epoch(self) -> None:
        """Change the weights, once an epoch."""

    def end(self) -> None:
        """Undo what `begin` prepared."""

    @property
    def has_extra_loss(self) -> bool:
        """Whether `extra_loss` may give a term, so that a loop should compute the outputs of all heads."""
        return False

    def extra_loss(self, batch: Any, forward: Callable[[Any], Any]) -> Tensor | None:
        """A loss term for the loop to add; `forward` maps the batch to the outputs of all heads."""
        return None

    @abstractmethod
    def finish(self, learned: Learned) -> None:
        """Take over what was learned. Either all of it happens or an error is raised and nothing has changed."""

    def use_task(self, task: int) -> None:
        """Get the model ready to answer for a task, learned or about to be.

        Raises:
            ValueError: If the protection knows nothing of the task.
        """

    def penalty(self) -> Tensor | None:
        """The penalty's present value, for a log; `None` if the method has none."""
        return None

    def importance(self) -> dict[str, Tensor]:
        """Importance of every node by layer, each of shape ``(num_nodes,)``; empty for weight-wise methods."""
        return {}

    def require_expandable(self, learned: tuple[int, ...]) -> None:
        """Refuse new nodes where `expand` is missing, or the network is not as the protection left it.

        Raises:
            ValueError: If there can be none.
        """
        raise ValueError(f"{type(self).__name__} cannot take new nodes; AGS-CL and fine-tuning can")

    def expand(self, network: Network, expansion: Expansion, learned: tuple[int, ...]) -> None:
        """Take over a network with new nodes, of which no task has learned anything yet.

        Args:
            network: The network in its new shape.
            expansion: How it grew.
            learned: Numbers of the tasks learned.
        """

    def left_alone(self) -> dict[str, Tensor]:
        """Nodes that the protection keeps at zero if they are: by layer, bool; empty if it may move any."""
        return {}

    def frozen(self) -> dict[str, Tensor]:
        """Nodes of which nothing that comes in moves in the next task: by layer, bool; empty if there are none."""
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """The whole state, to be saved."""
        return {}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a state that `tensors` gave; the guard has checked the names.

        Raises:
            ValueError: If a tensor does not fit.
        """

    @abstractmethod
    def memory(self) -> Memory:
        """What is kept from one task to the next."""


class Method(Protocol):
    """Hyper-parameters, as a frozen dataclass, that protect a network from forgetting."""

    def protect(self, network: Network) -> Protection:
        """A protection of the network, with nothing learned yet."""
        ...


def num_bytes(tensors: Iterable[Tensor]) -> int:
    """Size of tensors in bytes."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def check_range(name: str, value: float, *, low: float, high: float = float("inf"), open_low: bool = False) -> None:
    """Refuse a hyper-parameter outside its range.

    Raises:
        ValueError: If the value is NaN or out of range.
    """
    if not (low < value if open_low else low <= value) or not value <= high:
        bracket = "(" if open_low else "["
        upper = "inf)" if high == float("inf") else f"{high:g}]"
        raise ValueError(f"{name} must be in {bracket}{low:g}, {upper}, not {value}")


def same_shapes(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Refuse tensors that do not fit.

    Raises:
        ValueError: If a name is missing or new, or a shape differs.
    """
    if found.keys() != expected.keys():
        odd = min(found.keys() ^ expected.keys())
        raise ValueError(f"the state does not belong to this guard: {odd!r} is missing or unknown")
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            shapes = f"{tuple(found[name].shape)}, expected {tuple(tensor.shape)}"
            raise ValueError(f"the state does not belong to this guard: {name!r} has shape {shapes}")
