"""Buffers that training changes: those that outputs depend on must be running statistics that can be held."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .activity import random_states, set_random_states
from .graph import NodeGraph
from .surgery.copies import plain_copy, random_inputs
from .tracing.call import TraceError
from .tracing.calls import few_samples, form_of, tensors_in
from .tracing.trace import arguments, eval_mode

_STATISTICS = ("running_mean", "running_var")


@torch.no_grad()
def require_held_statistics(model: nn.Module, graph: NodeGraph, example_inputs: Any) -> None:
    """Refuse a model with a buffer that training changes, outputs depend on, and nothing can hold.

    A copy is run once in training mode on random inputs like the example's; the model is left as it is.

    Args:
        model: The traced model.
        graph: Its node graph.
        example_inputs: A batch for ``model(*example_inputs)``; a single tensor stands for itself. Two samples are used.

    Raises:
        TraceError: If there is such a buffer; the message names it.

    >>> from agscl import trace
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    >>> require_held_statistics(model, trace(model, torch.ones(2, 3)), torch.ones(2, 3))
    """
    pieces = [piece for layer in graph.layers for piece in layer.statistics] + [*graph.rest]
    buffers = dict(model.named_buffers())
    statistics = {name for name in [*(piece.parameter for piece in pieces), *graph.shared] if name in buffers}
    for name in sorted(statistics):
        owner, _, local = name.rpartition(".")
        if not owner or local not in _STATISTICS:
            raise TraceError(
                f"cannot hold the running statistic {name!r}: let a norm layer, or a module of its own with "
                "running_mean and running_var, keep it"
            )
    states = random_states(model)
    try:
        moving = _moving(model, example_inputs, statistics | set(graph.ignored))
    finally:
        set_random_states(model, states)
    if moving:
        raise TraceError(
            f"training changes the buffer {moving[0]!r}, which the outputs depend on and no norm layer keeps, so that "
            "earlier tasks would change; leave its module out (ignore=...), or keep it still in training"
        )


def _moving(model: nn.Module, example_inputs: Any, known: set[str]) -> list[str]:
    """Buffers besides the known that a forward pass in training mode changes, and with them outputs in eval mode."""
    trial = plain_copy(model)
    form, values = form_of(trial, *arguments(example_inputs))
    drawn = random_inputs(few_samples(values), torch.Generator().manual_seed(0))

    def outputs() -> list[Tensor]:
        args, kwargs = form.arguments([value.clone() if isinstance(value, Tensor) else value for value in drawn])
        torch.manual_seed(0)
        return tensors_in(trial(*args, **kwargs))

    own = {name: buffer.clone() for name, buffer in trial.named_buffers()}
    with eval_mode(trial):
        before = outputs()
        trial.train()
        try:
            outputs()
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError):
            return []  # it cannot be trained on these inputs alone, by a norm over a single value, say
        trial.eval()
        trained = {name: buffer.clone() for name, buffer in trial.named_buffers()}
        changed = [name for name in own if name not in known and not torch.equal(own[name], trained[name])]
        moving = []
        for name in changed:
            for other, value in own.items():
                trial.get_buffer(other).copy_(trained[other] if other == name else value)
            if not all(torch.equal(one, other) for one, other in zip(before, outputs(), strict=True)):
                moving.append(name)
        return moving
