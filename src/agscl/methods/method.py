"""What a method is: hyper-parameters that know how to protect a network, and what the protection does and keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from agscl.nodes import Expansion, NodeGraph, Slice

from .average import WeightAverage

Predict = Callable[[Any], Tensor]
"""Maps a batch to the outputs of the task that was just learned."""

Forward = Callable[[Any], Any]
"""Maps a batch to the outputs of all heads."""


@dataclass(frozen=True)
class Network:
    """A model with its node graph.

    Attributes:
        model: The model.
        graph: Its nodes.
        parameters: Its trainable tensors by name, the model's own, not copies.
    """

    model: nn.Module
    graph: NodeGraph
    parameters: Mapping[str, nn.Parameter]

    @property
    def buffers(self) -> dict[str, Tensor]:
        """Its other state by name, the model's own as they are now: `model.to()` and `double()` replace them."""
        return dict(self.model.named_buffers())

    @property
    def state(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, the model's own tensors."""
        return {**self.parameters, **self.buffers}

    @property
    def common(self) -> dict[str, nn.Parameter]:
        """Those of the parameters in common that learn: not what the user has frozen (`requires_grad`)."""
        return {name: parameter for name, parameter in self.in_common.items() if parameter.requires_grad}

    @property
    def in_common(self) -> dict[str, nn.Parameter]:
        """Parameters that tasks have in common, by name: all but those of heads that serve one task each."""
        own = {name for head in self.graph.heads if head.tasks for name in head.parameters}
        return {name: parameter for name, parameter in self.parameters.items() if name not in own}

    def trained(self, pieces: Iterable[Slice]) -> tuple[Slice, ...]:
        """Those of the slices whose tensor learns: not the parameters that the user has frozen (`requires_grad`)."""
        fixed = {name for name, parameter in self.parameters.items() if not parameter.requires_grad}
        return tuple(piece for piece in pieces if piece.parameter not in fixed)

    def zeros(self) -> dict[str, Tensor]:
        """Zeros for every parameter that tasks have in common, by name."""
        return {name: torch.zeros_like(p, requires_grad=False) for name, p in self.common.items()}


@dataclass(frozen=True)
class RunningTask:
    """A task while it is learned: what a protection may know about it.

    Attributes:
        optimizers: The optimizers whose steps are guarded, unwrapped; no parameter is in two of them.
        task: Number of the task, from 0.
        learned: Numbers of the tasks learned before.
        steps_per_epoch: Optimizer steps in an epoch.
        first_step: Steps of this task taken before, if it is resumed in the middle.
        wrapped: Whether an optimizer is wrapped in another, which may move parameters as well.
    """

    optimizers: tuple[Optimizer, ...]
    task: int
    learned: tuple[int, ...]
    steps_per_epoch: int
    first_step: int = 0
    wrapped: bool = False

    @property
    def groups(self) -> list[dict[str, Any]]:
        """The parameter groups of all optimizers, as they are now."""
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def forget(self, parameters: Iterable[nn.Parameter]) -> None:
        """Let the optimizers forget what they remember of parameters that begin anew, such as momentum."""
        for parameter in parameters:
            for optimizer in self.optimizers:
                optimizer.state.pop(parameter, None)

    def require_held(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Refuse, with a `ValueError` that names one, optimizers without a method's own parameters."""
        held = {id(p) for group in self.groups for p in group["params"]}
        for name, parameter in parameters.items():
            if id(parameter) not in held:
                raise ValueError(
                    f"the optimizer does not hold {name!r}, which the method learns; "
                    "make it from model.parameters() after protect()"
                )

    def rates(self, parameters: Mapping[str, nn.Parameter]) -> dict[str, float]:
        """The current learning rate of every parameter that an optimizer holds, by name."""
        by_id = {id(p): group["lr"] for group in self.groups for p in group["params"]}
        return {name: float(by_id[id(p)]) for name, p in parameters.items() if id(p) in by_id}


@dataclass(frozen=True)
class Step:
    """One optimizer step; with several optimizers, a step of each of them.

    Attributes:
        number: How many steps of this task came before it.
        scale: What a gradient scaler has multiplied the gradients with, and will divide by inside the step.
    """

    number: int
    scale: float | Tensor = 1.0


def _nothing(*_: object) -> None:
    pass


@dataclass(frozen=True)
class StepHooks:
    """What a protection does around the optimizer steps of one task; nothing by default.

    With several optimizers the first two are called for each of them, with the gradients of its parameters alone in
    sight, and the others once all have stepped, or one of them is about to step again.

    Attributes:
        before_step: Changes the gradients; they hold the task's gradient alone when it is called.
        after_step: Changes the weights.
        after_epoch: Changes the weights after the last step of an epoch.
        after_all: Changes the weights once all optimizers have stepped.
    """

    before_step: Callable[[Step], None] = _nothing
    after_step: Callable[[Step], None] = _nothing
    after_epoch: Callable[[], None] = _nothing
    after_all: Callable[[Step], None] = _nothing


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


@dataclass(frozen=True)
class Usage:
    """What learned tasks take of a network, for `agscl.Guard.capacity`.

    Attributes:
        taken: Which nodes a learned task needs: by layer, bool, shape ``(num_nodes,)``. For a weight-wise method which
            weights: by parameter name, bool, of its shape.
        unit: What is counted, "nodes" or "weights".
        uses: Of a method that gives each task its part, by task and layer (or parameter) which of them it uses, as
            `taken`; tasks in the order in which they were learned.
        idle: Layers none of whose nodes acted on the data of the task learned last.
        unfinished: Why the task learned last takes more than it should, as the end of a sentence about it; or nothing.
        relief: What makes a task take less, such as "a larger mu".
        revival: What keeps a layer from dying, such as "a smaller mu".
    """

    taken: Mapping[str, Tensor]
    unit: Literal["nodes", "weights"] = "nodes"
    uses: Mapping[int, Mapping[str, Tensor]] = field(default_factory=dict)
    idle: Collection[str] = ()
    unfinished: str = ""
    relief: str = "a sparser method"
    revival: str = "a less sparse method"


class LossTerm(ABC):
    """A term that the loop adds to its loss, for methods that need the loss itself."""

    @abstractmethod
    def applies(self, task: RunningTask | None) -> bool:
        """Whether there is a term while this task is learned; `None` stands for no task."""

    @abstractmethod
    def value(self, network: Network, task: RunningTask, batch: Any, forward: Forward) -> Tensor:
        """The term for a batch while a task is learned, shape ``()``.

        Raises:
            ValueError: If the outputs are not those of all heads.
        """


class Protection(ABC):
    """What a method does to one network while a task is learned, and what it keeps between tasks.

    For each task the guard enters `holding` and calls its hooks around the steps; once the task is over it calls
    `finish`.

    Attributes:
        loss_terms: What the loop adds to its loss; a method around another, such as CPR, appends its own.
        average: Of the weights over the last steps, if the protection keeps one.
        rounds: Whether `finish` may see outputs computed in bfloat16, as it asks for gradients alone and not for zeros.
    """

    rounds: ClassVar[bool] = False
    loss_terms: tuple[LossTerm, ...] = ()
    average: WeightAverage | None = None

    @property
    def unsettled(self) -> bool:
        """Whether what the task in progress computes with is still being cut, so that no weights are kept as best."""
        return False

    @abstractmethod
    def holding(self, task: RunningTask) -> AbstractContextManager[StepHooks]:
        """Hold still what must not change while a task is learned, and restore the model's forward and training after.

        Raises:
            ValueError: If the network is not as the protection left it, or the optimizer lacks a method's parameters.
        """

    @abstractmethod
    def finish(self, learned: Learned) -> None:
        """Take over what was learned. Either all of it happens or an error is raised and nothing has changed.

        Raises:
            ValueError: If there is no data, labels are needed and missing, what was learned is not finite, or
                frozen weights have changed.
        """

    @property
    def exact(self) -> bool:
        """Whether learned tasks answer with the same bits for ever; the guard then stops where one does not."""
        return False

    @property
    def by_task(self) -> bool:
        """Whether a learned task is answered with weights or nodes of its own, and so only after `use_task`."""
        return False

    def use_task(self, task: int) -> None:
        """Get the model ready to answer for a task, learned or about to be.

        Raises:
            ValueError: If the protection knows nothing of the task.
        """

    def penalty(self) -> Tensor | None:
        """The penalty's current value, for a log; `None` if the method has none."""
        return None

    def importance(self) -> dict[str, Tensor]:
        """Importance of every node by layer, each of shape ``(num_nodes,)``; empty for weight-wise methods."""
        return {}

    def usage(self) -> Usage | None:
        """What learned tasks take of the network; `None` for a method without a notion of capacity."""
        return None

    def unpenalised_nodes(self) -> dict[str, Tensor]:
        """Nodes that the protection keeps at zero if they are: by layer, bool; empty if it may move any."""
        return {}

    def frozen_nodes(self) -> dict[str, Tensor]:
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


class Expandable(Protection):
    """A protection of a network that can get new nodes."""

    def require_intact(self, learned: tuple[int, ...]) -> None:
        """Refuse a network that is not as the protection left it.

        Raises:
            ValueError: If frozen weights have changed.
        """

    def show_all(self) -> None:
        """Answer with all nodes, whatever task `use_task` has chosen."""

    @abstractmethod
    def expand(self, network: Network, expansion: Expansion, learned: tuple[int, ...]) -> None:
        """Take over a network with new nodes, of which no task has learned anything yet.

        Args:
            network: The network in its new shape; parameters that the method has added are as they were.
            expansion: How it grew.
            learned: Numbers of the tasks learned.
        """


class Method(Protocol):
    """Hyper-parameters, as a frozen dataclass, that protect a network from forgetting."""

    def protect(self, network: Network) -> Protection:
        """A protection of the network, with nothing learned yet.

        Raises:
            ValueError: If the method does not fit the network.
        """
        ...


def num_bytes(tensors: Iterable[Tensor]) -> int:
    """Size of tensors in bytes.

    >>> num_bytes([torch.zeros(3), torch.zeros(2, dtype=torch.bool)])
    14
    """
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def check_range(name: str, value: float, *, low: float, high: float = float("inf"), open_low: bool = False) -> None:
    """Refuse a hyper-parameter outside its range.

    Raises:
        ValueError: If the value is NaN or out of range.

    >>> check_range("lam", 0.5, low=0)
    >>> check_range("rho", 1.5, low=0, high=1)
    Traceback (most recent call last):
    ValueError: rho must be in [0, 1], not 1.5
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


def restored(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of saved tensors in the order, of the dtype and on the device of those that they replace.

    Raises:
        ValueError: If they do not fit, as `same_shapes` says.
    """
    same_shapes(found, expected)
    return {name: found[name].to(tensor, copy=True) for name, tensor in expected.items()}
