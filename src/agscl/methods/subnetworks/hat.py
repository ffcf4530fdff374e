"""HAT: hard attention to the task, Serra, Suris, Miron and Karatzoglou (ICML 2018), on any traced model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from agscl.methods.freezing import freeze, freeze_statistics, keep_buffers
from agscl.methods.masks import frozen_between, frozen_channels
from agscl.methods.method import (
    Expandable,
    Learned,
    Memory,
    Network,
    RunningTask,
    Step,
    StepHooks,
    Usage,
    check_range,
    restored,
)
from agscl.methods.space import LogUniform, Space
from agscl.nodes import Expansion
from agscl.nodes.surgery.replaced import replace_tensors_in_forward
from agscl.processes import from_first

from .gates import NodePlaces, gated_layers, used_by_any
from .kept import TaskTensors, add_parameters, grow_parameters, tasks_in

PREFIX = "hat_embedding"
"""What the names of the task embedding's parameters begin with, one a layer."""

LARGEST_EMBEDDING = 6.0
"""Embeddings are kept within this distance of zero, where gates can still change; section 2.5 of the paper."""

LARGEST_EXPONENT = 50.0
"""Where cosh is cut off in the compensation of gradients, as in the official code."""


@dataclass(frozen=True)
class HAT:
    r"""Hard attention to the task: every node has a gate :math:`a = \sigma(s e)` with a learned embedding e.

    A gate multiplies all that leaves its node; a residual stream, which every task uses, has none. Over each epoch s
    rises from ``1 / smax`` to ``smax`` (equation 3), and the embedding's gradient is made up for it (equation 5). The
    regularizer (equation 6) weighs the gates of nodes that no earlier task uses by the free capacity. Weights between
    two nodes that earlier tasks use get no gradient (equation 2, with the hard gates).

    Once a task is learned its gates are 0 or 1 and kept, one truth value a node: ``guard.use_task(i)`` before task i is
    answered. Then its outputs stay what they were, bit for bit. Norm layers of used nodes keep their statistics.

    Gates multiply what leaves a node in the forward pass, also where the user has frozen the weight behind it
    (``requires_grad=False``): that changes what a task computes, and no weight.

    The embedding is a parameter of the model: make the optimizer after ``protect``.

    Attributes:
        gamma: Strength of the regularizer (c in the paper).
        smax: Steepest gate while training.
    """

    name: ClassVar[str] = "hat"
    space: ClassVar[Space] = {"gamma": LogUniform(0.1, 2.5), "smax": LogUniform(25.0, 800.0)}  # the paper's ranges
    gamma: float = 0.75
    smax: float = 400.0

    def __post_init__(self) -> None:
        check_range("gamma", self.gamma, low=0, high=torch.finfo(torch.float32).max)
        check_range("smax", self.smax, low=1, high=torch.finfo(torch.float32).max)

    def protect(self, network: Network) -> HardAttention:
        """A protection of the network; the model gets the embedding as parameters.

        Raises:
            ValueError: If it has one already.
        """
        return HardAttention(self, network)

    def scale(self, step: int, steps_per_epoch: int) -> float:
        """The annealed s of a step, equation (3)."""
        if steps_per_epoch == 1:
            return self.smax
        done = (step % steps_per_epoch) / (steps_per_epoch - 1)
        return 1 / self.smax + (self.smax - 1 / self.smax) * done


class HardAttention(Expandable):
    """HAT on one network. It keeps each learned task's gates."""

    def __init__(self, method: HAT, network: Network) -> None:
        self._method = method
        like = next(iter(network.parameters.values())).detach()
        first = (torch.randn_like(like.new_empty(layer.num_nodes)) for layer in gated_layers(network.graph))
        self._added = add_parameters(network.model, PREFIX, first)
        self._look_at(network)
        self._gates = TaskTensors("gate")
        self._drawn = torch.tensor(True)
        self._scale: float | None = None
        replace_tensors_in_forward(network.model, sorted(self._places.names), self._gated, network.graph.users)

    def _look_at(self, network: Network) -> None:
        """Take over a network and the embedding that it has."""
        layers = gated_layers(network.graph)
        self._network, self._places = network, NodePlaces(network.graph, network.state)
        self._embedding = {layer.name: p for layer, p in zip(layers, self._added.values(), strict=True)}

    @contextmanager
    def holding(self, task: RunningTask) -> Iterator[StepHooks]:
        """Draw the task's embedding and freeze what earlier tasks use; gates are soft within the context."""
        task.require_held(self._added)
        self._draw(task)
        network, used, gamma = self._network, self._used(), self._method.gamma
        free = {name: (~mask).to(self._embedding[name].dtype) for name, mask in used.items()}
        capacity = max(sum(float(mask.sum()) for mask in free.values()), 1.0)
        masks = frozen_between(network, self._taken()) if task.learned else {}
        channels = frozen_channels(network, self._taken(), task.learned)
        statistics = freeze_statistics(network.model, channels)
        with keep_buffers(network, task), freeze(network, task, masks) as held, statistics:

            def before_step(step: Step) -> None:
                for name, embedding in self._embedding.items():
                    if embedding.grad is not None and self._scale is not None:
                        pull = regularizer_gradient(embedding.detach(), self._scale, gamma, capacity)
                        embedding.grad += pull * free[name] * step.scale
                        embedding.grad *= compensation(embedding.detach(), self._scale, self._method.smax)
                held.before_step(step)

            def after_step(step: Step) -> None:
                held.after_step(step)
                for embedding in self._embedding.values():
                    embedding.clamp_(-LARGEST_EMBEDDING, LARGEST_EMBEDDING)

            def after_all(step: Step) -> None:
                self._scale = self._method.scale(step.number + 1, task.steps_per_epoch)

            self._gates.shown, self._scale = {}, self._method.scale(task.first_step, task.steps_per_epoch)
            try:
                yield StepHooks(before_step, after_step, after_all=after_all)
            finally:
                self._scale = None

    def _draw(self, task: RunningTask) -> None:
        if not self._drawn:
            for embedding in self._embedding.values():
                nn.init.normal_(embedding)
            from_first(self._embedding)
            task.forget(self._embedding.values())
            self._drawn = torch.tensor(True)

    def finish(self, learned: Learned) -> None:
        """Keep the task's gates."""
        self._gates.keep(learned.task, self._hard())
        self._drawn = torch.tensor(False)

    @property
    def exact(self) -> bool:
        """Each task has a network of its own."""
        return True

    @property
    def by_task(self) -> bool:
        """It is: each task has a part of its own."""
        return True

    def use_task(self, task: int) -> None:
        """Answer with a learned task's gates, or go on with the current ones."""
        self._gates.show(task, self._network)

    def expand(self, network: Network, expansion: Expansion, learned: tuple[int, ...]) -> None:
        """New nodes have gates of their own, drawn as the others were; those of learned tasks are shut."""
        grown = {name: expansion.of_nodes(name, e.detach(), 0.0) for name, e in self._embedding.items()}
        new = grown[expansion.layer][-expansion.num_new :]
        from_first({"new": new.copy_(torch.randn_like(new))})
        grow_parameters(network.model, self._added, grown.values())
        self._look_at(network)
        self._gates.grow(lambda name, gate: expansion.of_nodes(name, gate, False))

    def penalty(self) -> Tensor:
        """The regularizer (6) of the current gates, shape ``()``, times its strength."""
        used, scale = self._used(), self._scale or self._method.smax
        kept = sum(float((torch.sigmoid(scale * e.detach()) * ~used[n]).sum()) for n, e in self._embedding.items())
        free = sum(int((~mask).sum()) for mask in used.values())
        return torch.tensor(self._method.gamma * kept / max(free, 1), dtype=torch.float64)

    def usage(self) -> Usage:
        """Nodes whose gate is open for a learned task are taken."""
        uses = self._gates.kept
        last = uses[list(uses)[-1]] if uses else {}
        idle = [name for name, gate in last.items() if not gate.any()]
        return Usage(self._taken(), uses=uses, idle=idle, relief="a larger gamma", revival="a smaller gamma")

    def tensors(self) -> dict[str, Tensor]:
        """The gates of each learned task by layer, and whether the embedding is that of a task in progress."""
        return {**self._gates.tensors(), "drawn": self._drawn}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a saved state."""
        tasks = sorted(tasks_in(tensors, "gate"))
        state = restored(tensors, {**self._gates.blank(tasks, self._hard()), "drawn": self._drawn})
        self._gates.load(state, tasks)
        self._drawn = state["drawn"]

    def memory(self) -> Memory:
        """The gates of the learned tasks."""
        size = self._gates.num_bytes()
        return Memory(size, size)

    def _gated(self, name: str, module: nn.Module, own: Tensor) -> Tensor:
        """A tensor times the gates of nodes that it leaves while training; else without nodes whose gate is shut."""
        if self._gates.shown:
            return self._places.switched_off(name, own, self._gates.shown)
        if module.training and self._scale is not None:
            layers = {place.layer for place in self._places.leaving.get(name, ())}
            soft = {layer: torch.sigmoid(self._scale * self._embedding[layer]) for layer in layers}
            return self._places.scaled(name, own, soft)
        return self._places.switched_off(name, own, self._hard())

    def _hard(self) -> dict[str, Tensor]:
        """The current gates, by layer."""
        return {name: embedding.detach() > 0 for name, embedding in self._embedding.items()}

    def _taken(self) -> dict[str, Tensor]:
        """By layer, which nodes an earlier task uses; every task uses the streams, which have no gate."""
        learned = torch.tensor([bool(self._gates.kept)], device=next(iter(self._embedding.values())).device)
        return self._used() | {layer.name: learned for layer in self._network.graph.streams}

    def _used(self) -> dict[str, Tensor]:
        """By layer with gates, which nodes an earlier task uses."""
        return used_by_any(self._gates.kept.values(), self._embedding)


def regularizer_gradient(embedding: Tensor, scale: float, gamma: float, capacity: float) -> Tensor:
    """Derivative of equation (6) by the embedding of free nodes.

    Args:
        embedding: Shape ``(num_nodes,)``.
        scale: The annealed s.
        gamma: Strength.
        capacity: Number of free nodes in the network.

    >>> regularizer_gradient(torch.zeros(2), scale=4.0, gamma=2.0, capacity=4.0)
    tensor([0.5000, 0.5000])
    """
    gate = torch.sigmoid(scale * embedding)
    return (gamma * scale / capacity) * gate * (1 - gate)


def compensation(embedding: Tensor, scale: float, smax: float) -> Tensor:
    """The factor of equation (5) that makes up for the annealed gate in the embedding's gradient.

    >>> compensation(torch.zeros(2), scale=0.5, smax=10.0)
    tensor([20., 20.])
    """
    annealed = torch.cosh((scale * embedding).clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT)) + 1
    return (smax / scale) * annealed / (torch.cosh(embedding) + 1)
