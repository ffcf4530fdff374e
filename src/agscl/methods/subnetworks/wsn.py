"""WSN: winning subnetworks, Kang et al., "Forget-free continual learning with winning subnetworks" (ICML 2022)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

import torch
from torch import Tensor, nn

from agscl.methods.freezing import freeze
from agscl.methods.method import (
    Learned,
    Memory,
    Network,
    Protection,
    RunningTask,
    StepHooks,
    Usage,
    check_range,
    restored,
)

from .kept import TaskTensors, add_parameters, tasks_in
from .replaced_tensors import replace_tensors_in_forward, require_no_ignored

PREFIX = "wsn_scores"
"""What the names of the scores' parameters begin with, one a masked weight."""

_BIT = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8)


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


class WinningSubnetworks(Protection):
    """WSN on one network. It keeps each learned task's mask, and its own small tensors."""

    def __init__(self, method: WSN, network: Network) -> None:
        self._method, self._network = method, network
        heads = network.graph.head_parameters
        weights = {n: p.detach() for n, p in network.common.items() if p.ndim > 1 and n not in heads}
        first = (nn.init.kaiming_uniform_(torch.empty_like(w), a=math.sqrt(5)) for w in weights.values())
        self._added = add_parameters(network.model, PREFIX, first)
        self._scores = dict(zip(weights, self._added.values(), strict=True))
        self._names = [name for name in {**network.common, **network.buffers} if name not in weights]
        self._fixed = [name for name in network.in_common if name not in network.common]
        self._small, self._masks = TaskTensors("kept"), TaskTensors("mask")
        self._shown: dict[str, Tensor] = {}
        replace_tensors_in_forward(network.model, [*self._scores, *self._names], self._chosen, network.graph.users)

    @contextmanager
    def holding(self, task: RunningTask) -> Iterator[StepHooks]:
        """Freeze what earlier tasks compute with."""
        task.require_held(self._added)
        fixed = {name: torch.ones_like(self._network.parameters[name], dtype=torch.bool) for name in self._fixed}
        with freeze(self._network, task, {**self._used(), **(fixed if task.learned else {})}) as held:
            self._shown, self._small.shown = {}, {}
            yield held

    def finish(self, learned: Learned) -> None:
        """Keep the task's mask and its small tensors."""
        masks = {name: pack(best(scores.detach(), self._method.c)) for name, scores in self._scores.items()}
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
        self._shown = {name: unpack(bits, self._scores[name].shape) for name, bits in self._masks.shown.items()}

    def usage(self) -> Usage:
        """Weights that a learned task computes with are taken."""
        taken = {name: torch.zeros_like(scores, dtype=torch.bool) for name, scores in self._scores.items()}
        share = {name: int(best(scores.detach(), self._method.c).sum()) for name, scores in self._scores.items()}
        tasks = dict.fromkeys(self._masks.kept, share)
        return Usage(taken | self._used(), "weights", tasks, relief="a smaller c")

    def tensors(self) -> dict[str, Tensor]:
        """The masks of each learned task, packed, and its small tensors."""
        return {**self._masks.tensors(), **self._small.tensors()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a saved state."""
        tasks = sorted(tasks_in(tensors, "mask"))
        like = {name: pack(torch.empty_like(s, dtype=torch.bool)) for name, s in self._scores.items()}
        state = restored(tensors, {**self._masks.blank(tasks, like), **self._small.blank(tasks, self._own())})
        self._masks.load(state, tasks)
        self._small.load(state, tasks)
        self._shown = {}

    def memory(self) -> Memory:
        """Masks; on top each task's small tensors."""
        masks = self._masks.num_bytes()
        return Memory(masks, masks + self._small.num_bytes())

    def _chosen(self, name: str, module: nn.Module, own: Tensor) -> Tensor:
        """What a module computes with in the place of its own tensor."""
        if name not in self._scores:
            return self._small.in_place_of(name, module, own)
        if name in self._shown:
            return own * self._shown[name].to(own.dtype)
        scores = self._scores[name]
        straight = scores - scores.detach()  # zero, with the gradient of the scores
        return torch.mul(own, best(scores.detach(), self._method.c).to(own.dtype) + straight)

    def _own(self) -> dict[str, Tensor]:
        """What is small, so that each task keeps its own."""
        state = self._network.state
        return {name: state[name].detach() for name in self._names}

    def _used(self) -> dict[str, Tensor]:
        """Which weights an earlier task computes with, by parameter name."""
        kept = self._masks.kept.values()
        return {
            name: reduce(torch.logical_or, [unpack(packed[name], scores.shape) for packed in kept])
            for name, scores in self._scores.items()
            if kept
        }


def best(scores: Tensor, share: float) -> Tensor:
    """Which entries are among the best, as many as the share says, at least one: bool, of the scores' shape.

    >>> best(torch.tensor([0.1, 0.9, 0.5, 0.2]), share=0.5)
    tensor([False,  True,  True, False])
    """
    count = max(1, round(share * scores.numel()))
    mask = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    return mask.index_fill(0, scores.flatten().topk(count, sorted=False).indices, True).view(scores.shape)


def pack(mask: Tensor) -> Tensor:
    """A bool tensor as bits, uint8, shape ``(ceil(numel / 8),)``.

    >>> pack(torch.tensor([True, False, True]))
    tensor([5], dtype=torch.uint8)
    """
    flat = mask.flatten().to(torch.uint8)
    padded = torch.cat([flat, flat.new_zeros(-len(flat) % 8)])
    return (padded.view(-1, 8) * _BIT.to(mask.device)).sum(1, dtype=torch.uint8)


def unpack(bits: Tensor, shape: torch.Size) -> Tensor:
    """The bool tensor that `pack` packed."""
    flat = (bits.unsqueeze(1) & _BIT.to(bits.device)).ne(0).flatten()
    return flat[: shape.numel()].view(shape)
