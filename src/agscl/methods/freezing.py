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
    """Whether an optimizer without memory may move a weight whose gradient is zero: weight decay, unknown rules.

    >>> weights = [nn.Parameter(torch.ones(2))]
    >>> moves_at_zero_gradient(SGD(weights)), moves_at_zero_gradient(SGD(weights, weight_decay=0.1))
    (False, True)
    """
    decays = any(group.get("weight_decay", 0) != 0 for group in optimizer.param_groups)
    return decays or type(optimizer) not in _STILL_AT_ZERO_GRADIENT


def stays_at_zero(optimizer: Optimizer) -> bool:
    """Whether an optimizer without memory of a weight leaves it at zero if that, too, is its gradient."""
    return type(optimizer) in _STILL_AT_ZERO_GRADIENT


@contextmanager
def freeze(network: Network, task: RunningTask, masks: Mapping[str, Tensor]) -> Iterator[StepHooks]:
    """Keep weights exactly still while one task is learned, whatever optimizers and others do to them.

    Frozen positions get no gradient. They are restored after a step where an optimizer would move them all the same,
    or where something else has written to their parameters since, and in any case at the end of the context.
    Parameters that are frozen as a whole, and heads of learned tasks, leave training within the context. Weights that
    the user has frozen are kept as well, should they be trained after all.

    Args:
        network: The network.
        task: The task to be learned.
        masks: By parameter name, a bool tensor that broadcasts to it; true positions stay.
    """
    names = {name for name, mask in masks.items() if mask.all()} | network.graph.own_heads(task.learned)
    whole = [network.parameters[name] for name in sorted(names)]
    part = {network.parameters[name]: mask for name, mask in masks.items() if name not in names}
    kept, kept_whole = Kept(part), Kept({p: torch.tensor(True, device=p.device) for p in whole})
    strange = task.wrapped or not all(map(stays_at_zero, task.optimizers))
    moving, written, begun = strange, False, False

    def before_step(step: Step) -> None:
        nonlocal moving, written, begun
        moving |= not begun and any(optimizer.state for optimizer in task.optimizers)  # momentum from before
        written, begun = written or kept.written(), True
        kept.mask_gradients()
        for parameter in whole:
            parameter.grad = None

    def after_step(step: Step) -> None:
        nonlocal written
        if moving or written or any(map(moves_at_zero_gradient, task.optimizers)):
            kept.restore()
        if strange or kept_whole.written():
            kept_whole.restore_all()
        kept.look()
        written = False

    with untrained(whole):
        try:
            yield StepHooks(before_step, after_step)
        finally:
            kept.restore_all()
            kept_whole.restore_all()


@contextmanager
def keep_buffers(network: Network, task: RunningTask) -> Iterator[None]:
    """Put the buffers of ignored modules back at the end of the context, once a task relies on them."""
    names = network.buffers.keys() & {*network.graph.ignored} if task.learned else ()
    kept = {name: network.buffers[name].clone() for name in names}
    try:
        yield
    finally:
        for name, values in kept.items():
            network.buffers[name].detach().copy_(values)


class Kept:
    """Positions of parameters whose values are kept, to be put back whenever something has moved them.

    Args:
        masks: By parameter, a bool tensor that broadcasts to it; true positions are kept.

    >>> weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> kept = Kept({weight: torch.tensor([True, False])})
    >>> weight.data = weight.data + 5
    >>> kept.written(), kept.restore(), weight.tolist()
    (True, None, [1.0, 7.0])
    """

    def __init__(self, masks: Mapping[nn.Parameter, Tensor]) -> None:
        self._masks = dict(masks)
        self._free = [(~mask).to(p.dtype) for p, mask in self._masks.items()]
        self._values = [torch.where(mask, p.detach(), -0.0) for p, mask in self._masks.items()]
        self.look()

    def look(self) -> None:
        """Take what is written to the parameters by now for seen."""
        self._seen = self._now()

    def written(self) -> bool:
        """Whether a parameter was written to since the last look; writes through ``p.data`` in place leave no sign."""
        return self._seen != self._now()

    @torch.no_grad()
    def mask_gradients(self) -> None:
        """Set the gradients of the kept positions to zero."""
        pairs = [(p.grad, free) for p, free in zip(self._masks, self._free, strict=True) if p.grad is not None]
        if pairs:
            torch._foreach_mul_([grad for grad, _ in pairs], [free for _, free in pairs])

    @torch.no_grad()
    def restore(self) -> None:
        """Put the kept positions back: ``w * free + kept``, exact for finite weights, but for the sign of zeros.

        In free positions -0.0 is kept, and adding it leaves every number as it is, +0.0 and -0.0 included.
        """
        if self._masks:
            weights = [p.detach() for p in self._masks]  # the present ones: an optimizer may have replaced ``p.data``
            torch._foreach_mul_(weights, self._free)
            torch._foreach_add_(weights, self._values)

    @torch.no_grad()
    def restore_all(self) -> None:
        """Put the kept positions back whatever is there now, to the bit."""
        for (parameter, mask), values in zip(self._masks.items(), self._values, strict=True):
            parameter.copy_(torch.where(mask, values, parameter))
        self.look()

    def _now(self) -> list[tuple[int, int]]:
        return [(parameter._version, parameter.data_ptr()) for parameter in self._masks]


def zeroing(network: Network, masks: Mapping[str, Tensor]) -> Callable[[], None]:
    """A function that sets positions to zero; what the user has frozen (``requires_grad=False``) is left alone.

    Args:
        network: The network.
        masks: By parameter name, a bool tensor that broadcasts to it.
    """
    weights = {p: masks[name] for name in masks if (p := network.parameters[name]).requires_grad}
    free = [(~mask).to(p.dtype) for p, mask in weights.items()]

    @torch.no_grad()
    def apply() -> None:
        if weights:
            torch._foreach_mul_([p.detach() for p in weights], free)

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
