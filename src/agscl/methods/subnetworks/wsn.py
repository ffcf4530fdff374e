"""WSN: winning subnetworks, Kang et al., "Forget-free continual learning with winning subnetworks" (ICML 2022)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from agscl.methods.freezing import freeze
from agscl.methods.method import (
    Expandable,
    Learned,
    Memory,
    Network,
    RunningTask,
    StepHooks,
    Usage,
    check_range,
    restored,
)
from agscl.methods.space import LogUniform, Space
from agscl.nodes import Expansion
from agscl.nodes.surgery.replaced import replace_tensors_in_forward
from agscl.processes import from_first

from .kept import TaskTensors, add_parameters, grow_parameters, require_no_ignored, tasks_in
from .weight_masks import WeightMasks, best

PREFIX = "wsn_scores"
"""What the names of the scores' parameters begin with, one a masked weight."""


@dataclass(frozen=True)
class WSN:
    """Winning subnetworks: each task computes with the best share of every layer's weights, chosen by learned scores.

    Weights and scores are learned together, the scores by straight-through gradients (equations 3 and 4, Algorithm 1);
    weights that an earlier task computes with are frozen exactly. Each task keeps a binary mask, one bit a weight;
    ``guard.use_task(i)`` before task i is answered. Then its outputs stay what they were, bit for bit.

    Biases, norm layers and a head that tasks share are small: each task keeps its own, statistics included. What the
    user has frozen (``requires_grad=False``) before ``protect`` has no scores: all tasks compute with it, unmasked, and
    it stays frozen once one of them is learned.

    The scores are parameters of the model: make the optimizer after ``protect``.

    Attributes:
        c: Share of each layer's weights that a task computes with.
    """

    name: ClassVar[str] = "wsn"
    space: ClassVar[Space] = {"c": LogUniform(0.03, 0.7)}  # the paper's range
    c: float = 0.5

    def __post_init__(self) -> None:
        check_range("c", self.c, low=0, high=1, open_low=True)

    def protect(self, network: Network) -> WinningSubnetworks:
        """A protection of the network; the model gets the scores as parameters.

        Raises:
            ValueError: If it has some already.
        """
        require_no_ignored(network)
        return WinningSubnetworks(self, network)


class WinningSubnetworks(Expandable):
    """WSN on one network. It keeps each learned task's mask, and its own small tensors."""

    def __init__(self, method: WSN, network: Network) -> None:
        self._method, self._network = method, network
        heads = network.graph.head_parameters
        weights = {n: p.detach() for n, p in network.common.items() if p.ndim > 1 and n not in heads}
        first = (_drawn(weight) for weight in weights.values())
        self._added = add_parameters(network.model, PREFIX, first)
        self._scores = dict(zip(weights, self._added.values(), strict=True))
        self._names = [name for name in {**network.common, **network.buffers} if name not in weights]
        self._fixed = [name for name in network.in_common if name not in network.common]
        self._small, self._masks = TaskTensors("kept"), WeightMasks(self._scores)
        replace_tensors_in_forward(network.model, [*self._scores, *self._names], self._chosen, network.graph.users)

    @contextmanager
    def holding(self, task: RunningTask) -> Iterator[StepHooks]:
        """Freeze what earlier tasks compute with."""
        task.require_held(self._added)
        fixed = {name: torch.ones_like(self._network.parameters[name], dtype=torch.bool) for name in self._fixed}
        with freeze(self._network, task, {**self._masks.taken(), **(fixed if task.learned else {})}) as held:
            self._masks.hide()
            self._small.shown = {}
            yield held

    def finish(self, learned: Learned) -> None:
        """Keep the task's mask and its small tensors."""
        masks = {name: best(scores.detach(), self._method.c) for name, scores in self._scores.items()}
        self._masks.keep(learned.task, masks)
        self._small.keep(learned.task, self._own())

    @property
    def exact(self) -> bool:
        """Each task has a network of its own."""
        return True

    @property
    def by_task(self) -> bool:
        """It is: each task has a part of its own."""
        return True

    def use_task(self, task: int) -> None:
        """Answer with a learned task's subnetwork, or go on with the current one."""
        self._masks.show(task, self._network)
        self._small.show(task, self._network)

    def expand(self, network: Network, expansion: Expansion, learned: tuple[int, ...]) -> None:
        """New weights have scores of their own, drawn as the others were; no learned task computes with them."""
        self._small.grow(expansion.grown)
        drawn = {n: _drawn(network.parameters[n]) for n in self._scores if n in expansion.places}
        from_first(drawn)
        scores = [expansion.grown(name, s.detach(), drawn.get(name)) for name, s in self._scores.items()]
        grow_parameters(network.model, self._added, scores)
        self._scores = dict(zip(self._scores, self._added.values(), strict=True))
        self._masks.grow(expansion, self._scores)
        self._network = network

    def usage(self) -> Usage:
        """Weights that a learned task computes with are taken."""
        return self._masks.usage("a smaller c")

    def tensors(self) -> dict[str, Tensor]:
        """The masks of each learned task, packed, and its small tensors."""
        return {**self._masks.tensors(), **self._small.tensors()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a saved state."""
        tasks = sorted(tasks_in(tensors, "mask"))
        state = restored(tensors, {**self._masks.blank(tasks), **self._small.blank(tasks, self._own())})
        self._masks.load(state, tasks)
        self._small.load(state, tasks)

    def memory(self) -> Memory:
        """Masks; on top each task's small tensors."""
        masks = self._masks.num_bytes()
        return Memory(masks, masks + self._small.num_bytes())

    def _chosen(self, name: str, module: nn.Module, own: Tensor) -> Tensor:
        """What a module computes with in the place of its own tensor."""
        if name not in self._scores:
            return self._small.in_place_of(name, module, own)
        if (masked := self._masks.masked(name, own)) is not None:
            return masked
        scores = self._scores[name]
        straight = scores - scores.detach()  # zero, with the gradient of the scores
        return torch.mul(own, best(scores.detach(), self._method.c).to(own.dtype) + straight)

    def _own(self) -> dict[str, Tensor]:
        """What is small, so that each task keeps its own."""
        state = self._network.state
        return {name: state[name].detach() for name in self._names}


def _drawn(weight: Tensor) -> Tensor:
    """First scores of a weight."""
    return nn.init.kaiming_uniform_(torch.empty_like(weight.detach()), a=math.sqrt(5))
