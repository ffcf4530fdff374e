"""Keeping weights still: masked gradients, restored weights, parameters out of training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, Optimizer, RAdam, RMSprop

from .method import Network, RunningTask, StepHooks

_STILL_AT_ZERO_GRADIENT = (SGD, Adam, AdamW, NAdam, RAdam, Adamax, RMSprop, Adagrad, Adadelta)


def moves_at_zero_gradient(optimizer: Optimizer) -> bool:
    """Whether an optimizer may move a weight whose gradient is zero: weight decay, momentum of old, unknown rules.

    >>> weights = [nn.Parameter(torch.ones(2))]
    >>> moves_at_zero_gradient(SGD(weights)), moves_at_zero_gradient(SGD(weights, weight_decay=0.1))
    (False, True)
    """
    decays = any(group.get("weight_decay", 0) != 0 for group in optimizer.param_groups)
    return decays or bool(optimizer.state) or type(optimizer) not in _STILL_AT_ZERO_GRADIENT


def stays_at_zero(optimizer: Optimizer) -> bool:
    """Whether an optimizer without memory of a weight leaves it at zero if that, too, is its gradient."""
    return type(optimizer) in _STILL_AT_ZERO_GRADIENT


@contextmanager
def freeze(network: Network, task: RunningTask, masks: Mapping[str, Tensor]) -> Iterator[StepHooks]:
    """Keep weights exactly still while one task is learned, whatever the optimizer does.

    Frozen positions get no gradient; they are restored after a step only where the optimizer would move them all the
    same. Parameters that are frozen as a whole, and heads of learned tasks, leave training within the context.

    Args:
        network: The network.
        task: The task to be learned.
        masks: By parameter name, a bool tensor that broadcasts to it; true positions stay.
    """
    whole = {name for name, mask in masks.items() if mask.all()} | network.graph.own_heads(task.learned)
    part = {name: mask for name, mask in masks.items() if name not in whole}
    mask_gradients = gradient_mask(network, part)
    restore = restoration(network, part if moves_at_zero_gradient(task.optimizer) else {})
    with untrained(network.parameters[name] for name in whole):
        yield StepHooks(before_step=lambda step: mask_gradients(), after_step=lambda step: restore())


def gradient_mask(network: Network, masks: Mapping[str, Tensor]) -> Callable[[], None]:
    """A function that takes the gradient away from frozen positions, wherever there is one."""
    parameters = [network.parameters[name] for name in masks]
    free = [(~mask).to(p.dtype) for p, mask in zip(parameters, masks.values(), strict=True)]

    @torch.no_grad()
    def apply() -> None:
        pairs = [(p.grad, mask) for p, mask in zip(parameters, free, strict=True) if p.grad is not None]
        if pairs:
            torch._foreach_mul_([grad for grad, _ in pairs], [mask for _, mask in pairs])

    return apply


def restoration(network: Network, masks: Mapping[str, Tensor], *, to_zero: bool = False) -> Callable[[], None]:
    """A function that restores positions to their current values, or to zero: ``w * free + kept``.

    It is exact for finite weights: -0.0 is kept in free positions, and adding it leaves every number as it is,
    +0.0 and -0.0 included.
    """
    weights = [network.parameters[name].detach() for name in masks]
    free = [(~mask).to(w.dtype) for w, mask in zip(weights, masks.values(), strict=True)]
    kept = [] if to_zero else [torch.where(mask, w, -0.0) for w, mask in zip(weights, masks.values(), strict=True)]

    @torch.no_grad()
    def apply() -> None:
        if weights:
            torch._foreach_mul_(weights, free)
        if kept:
            torch._foreach_add_(weights, kept)

    return apply


@contextmanager
def untrained(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Take parameters out of training: they need no backward pass, and without a gradient no optimizer moves them."""
    chosen = [p for p in parameters if p.requires_grad]
    for parameter in chosen:
        parameter.requires_grad_(False)
        parameter.grad = None
    try:
        yield
    finally:
        for parameter in chosen:
            parameter.requires_grad_(True)
