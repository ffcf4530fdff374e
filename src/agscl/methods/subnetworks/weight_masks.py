"""What methods share that give each task weights of its own: a mask of each weight and task, one bit an entry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce

import torch
from torch import Tensor

from agscl.methods.method import Network, Usage
from agscl.nodes import Expansion

from .kept import TaskTensors

_BIT = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8)


class WeightMasks:
    """Which weights each learned task computes with, saved as ``mask.{task}.{name}``.

    Args:
        weights: The masked weights, or parameters of their shapes, by name.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights
        self._packed = TaskTensors("mask")
        self._shown: dict[str, Tensor] = {}

    def keep(self, task: int, masks: Mapping[str, Tensor]) -> None:
        """Keep a task's masks: bool, of the weights' shapes."""
        self._packed.keep(task, {name: pack(mask) for name, mask in masks.items()})

    def show(self, task: int, network: Network) -> None:
        """Answer with a learned task's weights from now on, or with all; raises as `TaskTensors.show` does."""
        self._packed.show(task, network)
        self._shown = self._unpacked(self._packed.shown)

    def hide(self) -> None:
        """Answer with all weights."""
        self._packed.shown, self._shown = {}, {}

    def masked(self, name: str, own: Tensor) -> Tensor | None:
        """A weight without what the shown task has no part in, whatever stands there; `None` if no task is shown."""
        return torch.where(self._shown[name], own, 0.0) if name in self._shown else None

    def taken(self) -> dict[str, Tensor]:
        """Which weights a learned task computes with, by name; empty if there is no task."""
        uses = self._uses().values()
        return {n: reduce(torch.logical_or, [used[n] for used in uses]) for n in self._weights if uses}

    def usage(self, relief: str) -> Usage:
        """What learned tasks take; the relief is that of `Usage`."""
        return Usage(self._none() | self.taken(), "weights", self._uses(), relief=relief)

    def grow(self, expansion: Expansion, weights: Mapping[str, Tensor]) -> None:
        """Go on with the weights of a network with new nodes; no learned task computes with what is new in them."""
        packed = TaskTensors("mask")
        for task, masks in self._uses().items():
            packed.keep(task, {name: pack(expansion.grown(name, mask)) for name, mask in masks.items()})
        self._weights, self._packed, self._shown = weights, packed, {}

    def tensors(self) -> dict[str, Tensor]:
        """The masks, packed, to be saved."""
        return self._packed.tensors()

    def blank(self, tasks: Iterable[int]) -> dict[str, Tensor]:
        """What a state with these tasks must look like, for `restored`."""
        return self._packed.blank(tasks, {name: pack(mask) for name, mask in self._none().items()})

    def load(self, state: Mapping[str, Tensor], tasks: Iterable[int]) -> None:
        """Take a state that fits; all weights answer."""
        self._packed.load(state, tasks)
        self._shown = {}

    def num_bytes(self) -> int:
        """Size of the masks."""
        return self._packed.num_bytes()

    def _uses(self) -> dict[int, dict[str, Tensor]]:
        return {task: self._unpacked(packed) for task, packed in self._packed.kept.items()}

    def _unpacked(self, packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: unpack(bits, self._weights[name].shape) for name, bits in packed.items()}

    def _none(self) -> dict[str, Tensor]:
        return {name: torch.zeros_like(weight, dtype=torch.bool) for name, weight in self._weights.items()}


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
