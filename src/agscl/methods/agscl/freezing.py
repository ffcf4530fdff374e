"""What must not move while a task is learned: frozen nodes, zeros that stay zero, finished heads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, Optimizer, RAdam, RMSprop

from agscl.methods.method import Network
from agscl.nodes.slices import lay_out

FREE = 2**31
"""Stands for "not important yet" where the tasks since which nodes are important are compared."""

_STILL_AT_ZERO_GRADIENT = (SGD, Adam, AdamW, NAdam, RAdam, Adamax, RMSprop, Adagrad, Adadelta)


def frozen_nodes(network: Network, important: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Which positions of each parameter belong to important nodes.

    Args:
        network: The network.
        important: By layer, bool, shape ``(num_nodes,)``.

    Returns:
        By parameter name, a bool tensor that broadcasts to it; parameters with none are left out.
    """
    layers = network.graph.layers
    pieces = ((piece, important[layer.name]) for layer in layers for piece in layer.incoming)
    return _merged(lay_out(pieces, network.parameters, False))


def frozen_for_all(network: Network) -> dict[str, Tensor]:
    """All positions of the parameters that no node owns but every node depends on."""
    shared = [name for name in network.graph.shared if name in network.parameters]
    return {name: torch.tensor(True, device=network.parameters[name].device) for name in shared}


def frozen_channels(network: Network, important: Mapping[str, Tensor], learned: Iterable[int]) -> dict[str, Tensor]:
    """Which channels of each norm layer keep their statistics: those of important nodes and of finished heads.

    Returns:
        By module name, bool, shape ``(channels,)``; modules with none are left out.
    """
    layers, learned = network.graph.layers, tuple(learned)
    laid = _merged(
        lay_out(((p, important[layer.name]) for layer in layers for p in layer.statistics), network.buffers, False)
    )
    whole = [f"{name.rpartition('.')[0]}.running_mean" for name in network.graph.own_heads(learned)]
    whole += network.graph.shared if learned else ()
    laid |= {n: torch.ones_like(network.buffers[n], dtype=torch.bool) for n in whole if n in network.buffers}
    return {name.rpartition(".")[0]: mask for name, mask in laid.items()}


def severed_connections(network: Network, since: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Which weights stay zero for ever: those into a node from one that became important later, or never.

    Args:
        network: The network.
        since: By layer, the task since which each node is important, `FREE` for those that are not.

    Returns:
        By parameter name, a bool tensor that broadcasts to it; parameters with none are left out.
    """
    layers = network.graph.layers
    into = lay_out(((p, since[layer.name]) for layer in layers for p in layer.incoming), network.parameters, FREE)
    out = lay_out(((p, since[layer.name]) for layer in layers for p in layer.outgoing), network.parameters, -1)
    return _merged(
        {
            (name, dim): source > target
            for (name, dim), source in out.items()
            for place, target in into.items()
            if place[0] == name
        }
    )


def _merged(masks: Mapping[tuple[str, int], Tensor]) -> dict[str, Tensor]:
    """Masks of the same tensor along several dimensions as one; empty ones are left out."""
    merged: dict[str, Tensor] = {}
    for (name, _), mask in masks.items():
        merged[name] = merged[name] | mask if name in merged else mask
    return {name: mask for name, mask in merged.items() if mask.any()}


def moves_at_zero_gradient(optimizer: Optimizer) -> bool:
    """Whether an optimizer may move a weight whose gradient is zero: weight decay, momentum of old, unknown rules."""
    decays = any(group.get("weight_decay", 0) != 0 for group in optimizer.param_groups)
    return decays or bool(optimizer.state) or type(optimizer) not in _STILL_AT_ZERO_GRADIENT


class GradientMask:
    """Takes the gradient away from frozen positions."""

    def __init__(self, network: Network, frozen: Mapping[str, Tensor]) -> None:
        self._parameters = [network.parameters[name] for name in frozen]
        self._free = [(~mask).to(network.parameters[name].dtype) for name, mask in frozen.items()]

    @torch.no_grad()
    def apply(self) -> None:
        """Mask the gradients that are there."""
        pairs = [(p.grad, m) for p, m in zip(self._parameters, self._free, strict=True) if p.grad is not None]
        if pairs:
            torch._foreach_mul_([grad for grad, _ in pairs], [mask for _, mask in pairs])


class Restoration:
    """Puts positions back to given values: ``w * free + kept``, exact for finite weights."""

    def __init__(self, network: Network, frozen: Mapping[str, Tensor], *, to_zero: bool = False) -> None:
        self._weights = [network.parameters[name].detach() for name in frozen]
        self._free = [(~mask).to(w.dtype) for w, mask in zip(self._weights, frozen.values(), strict=True)]
        # Adding -0.0 leaves every number as it is, +0.0 and -0.0 included.
        masks = zip(self._weights, frozen.values(), strict=True)
        self._kept = [] if to_zero else [torch.where(mask, w, -0.0) for w, mask in masks]

    @torch.no_grad()
    def apply(self) -> None:
        """Put them back."""
        if self._weights:
            torch._foreach_mul_(self._weights, self._free)
        if self._kept:
            torch._foreach_add_(self._weights, self._kept)


class FinishedHeads:
    """Heads of learned tasks, taken out of training: no gradient, so no optimizer touches them."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._parameters = [p for p in parameters if p.requires_grad]
        for parameter in self._parameters:
            parameter.requires_grad_(False)
            parameter.grad = None

    def release(self) -> None:
        """Let them be trained again."""
        for parameter in self._parameters:
            parameter.requires_grad_(True)
