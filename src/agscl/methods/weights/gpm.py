"""GPM: Saha, Garg and Roy, "Gradient projection memory for continual learning" (ICLR 2021), on any model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from agscl.methods.freezing import freeze, freeze_statistics
from agscl.methods.masks import all_channels, small_parameters
from agscl.methods.method import (
    Learned,
    Memory,
    Network,
    Protection,
    RunningTask,
    Step,
    StepHooks,
    check_range,
    num_bytes,
    restored,
)
from agscl.methods.space import OneOf, Space, Uniform

from .representation import input_covariances, is_projectable


@dataclass(frozen=True)
class GPM:
    r"""Gradient projection memory: weights move only across the directions in which old tasks' inputs lie.

    For each linear and convolutional layer the memory :math:`M` holds a basis of the space that its inputs span (of
    patches, for convolutions), as much of it as gives a share :math:`\epsilon` of their squared norm (equations 5 and
    9). Gradients lose their part in it, :math:`\nabla W - (\nabla W) M M^\top` (equations 6 and 7). Unless the
    optimizer is SGD without weight decay, for which that is the same, what it adds to the weights loses its part too.

    It is not exact: what the basis leaves out (:math:`1 - \epsilon`) changes old answers. Biases and norm layers,
    statistics included, are frozen after the first task; the paper's networks have no biases. For convolutions with
    groups there is a memory for each group.

    Attributes:
        epsilon: Share of the squared norm that the first task's bases keep.
        increase: What epsilon grows by with every further task, up to 1, as in the official code.
        samples: About how many samples of a task, spread evenly over its data, the bases are made from.
    """

    name: ClassVar[str] = "gpm"
    space: ClassVar[Space] = {
        "epsilon": Uniform(0.9, 0.995),  # the paper: 0.95 to 0.99
        "increase": OneOf((0.0, 0.001, 0.003)),
    }
    epsilon: float = 0.97
    increase: float = 0.003
    samples: int = 125

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_range("epsilon", self.epsilon, low=0, high=1)
        check_range("increase", self.increase, low=0, high=1)
        check_range("samples", self.samples, low=1)

    def protect(self, network: Network) -> GradientProjection:
        """A protection of the network, with nothing learned yet.

        Raises:
            ValueError: If a weight of the network is of another kind than linear or convolutional.
        """
        return GradientProjection(self, network)


class GradientProjection(Protection):
    """GPM on one network. It keeps a basis for the inputs of each layer."""

    def __init__(self, method: GPM, network: Network) -> None:
        self._method, self._network = method, network
        unused = set(network.graph.unreached)
        self._weights = {n: p for n, p in network.common.items() if p.ndim > 1 and n not in unused}
        modules = {name: network.model.get_submodule(name.rpartition(".")[0]) for name in self._weights}
        for name, module in modules.items():
            if not is_projectable(module, name.rpartition(".")[2]):
                raise ValueError(
                    f"GPM projects weights of linear and convolutional layers, and {name!r} of {type(module).__name__} "
                    "is none; freeze it with requires_grad_(False), or use another method"
                )
        self._groups = {name: getattr(module, "groups", 1) for name, module in modules.items()}
        self._bases = {n: p.detach().new_zeros(self._groups[n], p[0].numel(), 0) for n, p in self._weights.items()}

    @contextmanager
    def holding(self, task: RunningTask) -> Iterator[StepHooks]:
        """Project gradients, and what the optimizer adds; hold biases and norm layers after the first task."""
        network = self._network
        small = small_parameters(network, self._weights.keys()) if task.learned else {}
        channels = all_channels(network, task.learned) if task.learned else {}
        known = {name: p for name, p in self._weights.items() if self._bases[name].numel()}
        before: dict[str, Tensor] = {}
        with freeze(network, task, small) as held, freeze_statistics(network.model, channels):

            @torch.no_grad()
            def before_step(step: Step) -> None:
                held.before_step(step)
                for name, parameter in known.items():
                    if parameter.grad is not None:
                        parameter.grad.copy_(self._across(name, parameter.grad))
                if not all(map(_adds_gradients, task.optimizers)):
                    before.update({name: parameter.detach().clone() for name, parameter in known.items()})

            @torch.no_grad()
            def after_step(step: Step) -> None:
                held.after_step(step)
                for name, old in before.items():
                    known[name].copy_(old + self._across(name, known[name] - old))

            yield StepHooks(before_step, after_step)

    def _across(self, name: str, change: Tensor) -> Tensor:
        """A change of a weight without its part in the space of old inputs, equations (6) and (7)."""
        rows = _rows(change, self._groups[name])
        basis = self._bases[name].to(rows)
        return (rows - (rows @ basis) @ basis.mT).view_as(change)

    def finish(self, learned: Learned) -> None:
        """Add the directions of the task's inputs to the memory."""
        method, names = self._method, {name: self._groups[name] for name in self._weights}
        epsilon = min(method.epsilon + method.increase * (len(learned.tasks) - 1), 1.0)
        covariances = input_covariances(self._network, learned, names, method.samples)
        for name, parts in covariances.items():
            old = self._bases[name]
            self._bases[name] = _stacked(
                [extended(m, c, epsilon) for m, c in zip(old.double(), parts, strict=True)]
            ).to(old)

    def tensors(self) -> dict[str, Tensor]:
        """The basis of each layer, shape ``(groups, inputs, directions)``; groups with fewer have columns of zeros."""
        return {f"basis.{name}": basis for name, basis in self._bases.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a saved state."""
        like = {}
        for name, basis in self._bases.items():
            found = tensors.get(f"basis.{name}", basis)
            width = min(found.shape[-1] if found.ndim else 0, basis.shape[1])
            like[f"basis.{name}"] = basis.new_empty((*basis.shape[:2], width))
        state = restored(tensors, like)
        self._bases = {name: state[f"basis.{name}"] for name in self._bases}

    def memory(self) -> Memory:
        """The bases."""
        size = num_bytes(self._bases.values())
        return Memory(size, size)


def extended(basis: Tensor, covariance: Tensor, epsilon: float) -> Tensor:
    r"""A basis with as many new directions as the inputs need: equations (8) and (9), and (5) for the first task.

    The new ones are the leading left singular vectors of :math:`\hat R = R - M M^\top R`: eigenvectors of
    :math:`\hat R \hat R^\top`, for which :math:`R R^\top` suffices. They are the fewest, k, with
    :math:`\|M M^\top R\|^2 + \|\hat R_k\|^2 \geq \epsilon \|R\|^2`.

    Args:
        basis: Orthonormal columns, float64, shape ``(inputs, directions)``; columns of zeros are dropped.
        covariance: :math:`R R^\top`, float64, shape ``(inputs, inputs)``.
        epsilon: Share of the squared norm that the new basis is to keep.

    >>> extended(torch.zeros(2, 0).double(), torch.tensor([[9.0, 0.0], [0.0, 1.0]]).double(), epsilon=0.9).abs()
    tensor([[1.],
            [0.]], dtype=torch.float64)
    """
    basis = basis[:, basis.any(dim=0)]
    across = torch.eye(len(covariance), dtype=basis.dtype, device=basis.device) - basis @ basis.mT
    rest = across @ covariance @ across
    total = covariance.trace()
    values, vectors = torch.linalg.eigh((rest + rest.mT) / 2)
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    reached = total - rest.trace() + torch.cat([values.new_zeros(1), values.cumsum(0)])
    enough = reached >= epsilon * total * (1 - ROUNDING)
    free = len(covariance) - basis.shape[1]
    count = min(int(enough.long().argmax()) if bool(enough.any()) else free, free)
    count = min(count, int((values > total * ROUNDING).sum()))
    joined: Tensor = torch.linalg.qr(torch.cat([basis, vectors[:, :count]], dim=1))[0]
    return joined


ROUNDING = 1e-12
"""Shares of the squared norm below this are rounding errors of float64."""


def _adds_gradients(optimizer: Optimizer) -> bool:
    """Whether what an optimizer adds to a weight is a sum of gradients, so that projected gradients suffice."""
    return type(optimizer) is SGD and all(group["weight_decay"] == 0 for group in optimizer.param_groups)


def _rows(weight: Tensor, groups: int) -> Tensor:
    """A weight as matrices, shape ``(groups, outputs of each, inputs of each)``."""
    return weight.reshape(groups, weight.shape[0] // groups, -1)


def _stacked(bases: list[Tensor]) -> Tensor:
    """Bases of the groups of a layer as one tensor, with columns of zeros where one has fewer."""
    width = max(basis.shape[1] for basis in bases)
    return torch.stack([nn.functional.pad(basis, (0, width - basis.shape[1])) for basis in bases])
