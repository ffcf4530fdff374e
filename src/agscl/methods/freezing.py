"""Keeping weights still: masked gradients, restored weights, parameters out of training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, Optimizer, RAdam, RMSprop

from .method import Network, Training

_STILL_AT_ZERO_GRADIENT = (SGD, Adam, AdamW, NAdam, RAdam, Adamax, RMSprop, Adagrad, Adadelta)


def moves_at_zero_gradient(optimizer: Optimizer) -> bool:
    """Whether an optimizer may move a weight whose gradient is zero: weight decay, momentum of old, unknown rules."""
    decays = any(group.get("weight_decay", 0) != 0 for group in optimizer.param_groups)
    return decays or bool(optimizer.state) or type(optimizer) not in _STILL_AT_ZERO_GRADIENT


def stays_at_zero(optimizer: Optimizer) -> bool:
    """Whether an optimizer without memory of a weight leaves it at zero if that, too, is its gradient."""
    return type(optimizer) in _STILL_AT_ZERO_GRADIENT


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


class Untrained:
    """Parameters taken out of training: they need no backward pass, and without a gradient no optimizer moves them."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._parameters = [p for p in parameters if p.requires_grad]
        for parameter in self._parameters:
            parameter.requires_grad_(False)
            parameter.grad = None

    def release(self) -> None:
        """Let them be trained again."""
        for parameter in self._parameters:
            parameter.requires_grad_(True)


class Freeze:
    """Keeps weights exactly still while one task is learned, whatever the optimizer does.

    Frozen positions get no gradient; they are put back after a step only where the optimizer would move them all the
    same. Parameters that are frozen as a whole, and heads of learned tasks, leave training.

    Args:
        network: The network.
        training: The task to be learned.
        frozen: By parameter name, a bool tensor that broadcasts to it; true positions stay.
    """

    def __init__(self, network: Network, training: Training, frozen: Mapping[str, Tensor]) -> None:
        whole = {name for name, mask in frozen.items() if mask.all()} | network.graph.own_heads(training.learned)
        part = {name: mask for name, mask in frozen.items() if name not in whole}
        self._untrained = Untrained(network.parameters[name] for name in whole)
        self._mask = GradientMask(network, part)
        self._restore = Restoration(network, part if moves_at_zero_gradient(training.optimizer) else {})

    def before_step(self) -> None:
        """Take the gradient away."""
        self._mask.apply()

    def after_step(self) -> None:
        """Put back what the optimizer moved."""
        self._restore.apply()

    def end(self) -> None:
        """Let everything be trained again."""
        self._untrained.release()
