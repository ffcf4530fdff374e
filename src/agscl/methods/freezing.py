"""Keeping weights and statistics still while others learn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, Optimizer, RAdam, RMSprop

from .inner_forward import computing_with
from .method import Network, RunningTask, Step, StepHooks

_STILL_AT_ZERO_GRADIENT = (SGD, Adam, AdamW, NAdam, RAdam, Adamax, RMSprop, Adagrad, Adadelta)

_STATISTICS = ("running_mean", "running_var")


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
    masks = {name: mask for name, mask in masks.items() if network.parameters[name].requires_grad}
    whole = {name for name, mask in masks.items() if mask.all()} | network.graph.own_heads(task.learned)
    part = {name: mask for name, mask in masks.items() if name not in whole}
    parameters = [network.parameters[name] for name in part]
    free = [(~mask).to(p.dtype) for p, mask in zip(parameters, part.values(), strict=True)]
    restore = restoration(network, part if moves_at_zero_gradient(task.optimizer) else {})

    @torch.no_grad()
    def mask_gradients(step: Step) -> None:
        pairs = [(p.grad, mask) for p, mask in zip(parameters, free, strict=True) if p.grad is not None]
        if pairs:
            torch._foreach_mul_([grad for grad, _ in pairs], [mask for _, mask in pairs])

    with untrained(network.parameters[name] for name in whole):
        yield StepHooks(mask_gradients, after_step=lambda step: restore())


def restoration(network: Network, masks: Mapping[str, Tensor], *, to_zero: bool = False) -> Callable[[], None]:
    """A function that restores positions to their current values, or to zero: ``w * free + kept``.

    Parameters that the user has frozen (``requires_grad=False``) are left alone.
    It is exact for finite weights: -0.0 is kept in free positions, and adding it leaves every number as it is,
    +0.0 and -0.0 included.
    """
    masks = {name: mask for name, mask in masks.items() if network.parameters[name].requires_grad}
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


@contextmanager
def freeze_statistics(model: nn.Module, channels: Mapping[str, Tensor]) -> Iterator[None]:
    """Let channels of norm layers normalise with their current statistics in training too.

    Without it the batch statistics of a new task would reach channels that old tasks rely on, and their running
    statistics would drift although their weights do not.

    A copy of the model that is made meanwhile does the same with tensors of its own.

    Args:
        model: The model.
        channels: By module name, which channels are frozen: bool, shape ``(channels,)``.
    """
    with ExitStack() as stack:
        for name, frozen in channels.items():
            module = model.get_submodule(name)
            kept = {statistic: module.get_buffer(statistic).clone() for statistic in _STATISTICS}
            stack.enter_context(computing_with(module, partial(_partly_still, frozen, kept)))
            stack.callback(_put_back, module, frozen, kept)
        yield


def _partly_still(
    frozen: Tensor,
    kept: Mapping[str, Tensor],
    module: nn.Module,
    plain: Callable[..., Tensor],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Tensor:
    call = partial(plain, *args, **kwargs)
    if not module.training:
        return call()
    own = {name: module.get_buffer(name) for name in _STATISTICS}
    frozen, kept = frozen.to(own[_STATISTICS[0]].device), {name: kept[name].to(tensor) for name, tensor in own.items()}
    learned = {name: tensor.clone() for name, tensor in own.items()}
    output = _with_buffers(module, learned, call)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(torch.where(frozen, kept[name], learned[name]))
    module.training = False
    try:
        still = _with_buffers(module, kept, call)
    finally:
        module.training = True
    shape = [-1 if dim == 1 else 1 for dim in range(output.ndim)]
    return torch.where(frozen.reshape(shape), still, output)


@torch.no_grad()
def _put_back(module: nn.Module, frozen: Tensor, kept: Mapping[str, Tensor]) -> None:
    """Undo what something else than the module's forward has done to frozen statistics."""
    for name, values in kept.items():
        module.get_buffer(name)[frozen] = values[frozen]


def _with_buffers(module: nn.Module, buffers: Mapping[str, Tensor], call: Callable[[], Tensor]) -> Tensor:
    """A call with other buffers in the place of the module's own: autograd keeps those, so its own may change."""
    own = dict(module._buffers)
    module._buffers.update(buffers)
    try:
        return call()
    finally:
        module._buffers.update(own)
