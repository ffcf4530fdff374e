"""Inference cost: parameters that are alive, and the floating point operations on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from agscl.nodes.graph import NodeLayer, Slice
from agscl.nodes.slices import gather, lay_out


class InferenceCost(NamedTuple):
    """Cost of one answer.

    Attributes:
        flops: Floating point operations of the linear and convolution layers for one sample: two for each weight
            at each position of the output, biases not counted (as `torch.utils.flop_counter` does).
        parameters: Numbers that it takes to compute it.
    """

    flops: int
    parameters: int


def dead_nodes(layers: Iterable[NodeLayer], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """By layer, which nodes have only zeros as incoming weights: bool, shape ``(num_nodes,)``.

    Args:
        layers: The model's nodes, `NodeGraph.layers`.
        state: The model's weights by name, such as its state dict.

    Example:
        >>> from agscl.nodes import trace
        >>> model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> layers = trace(model, torch.zeros(1, 1), heads="2").layers
        >>> weights = {"0.weight": torch.tensor([[1.0], [0.0]]), "0.bias": torch.zeros(2)}
        >>> dead_nodes(layers, weights)["0"].tolist()
        [False, True]
    """
    return {layer.name: (gather(layer.incoming, state) == 0).all(dim=1) for layer in layers}


def inference_cost(
    model: nn.Module, layers: Sequence[NodeLayer], dead: Mapping[str, Tensor], answer: Callable[[], Any]
) -> InferenceCost:
    """Cost of one answer without dead nodes: without their incoming weights and those that read them.

    Args:
        model: Any traced model.
        layers: Its nodes, `NodeGraph.layers`.
        dead: By layer, which nodes are removed; see `dead_nodes`. All false: the cost of the full model.
        answer: Calls the model on one sample, such as ``lambda: model(x[:1], task)``; only what it uses is counted.

    Example:
        >>> from agscl.nodes import trace
        >>> model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.zeros(1, 3)
        >>> layers = trace(model, x, heads="2").layers
        >>> for weights in (model[0].weight, model[0].bias):
        ...     _ = weights.data[1:].zero_()  # three of four nodes are dead
        >>> inference_cost(model, layers, dead_nodes(layers, model.state_dict()), lambda: model(x))
        InferenceCost(flops=10, parameters=8)
    """
    with _positions(model) as positions, torch.no_grad():
        answer()
    alive = _alive(dict(model.named_parameters()), layers, dead)
    used = [name for name in alive if name.rpartition(".")[0] in positions]
    flops = sum(
        2 * count * alive[f"{name}.weight"]
        for name, count in positions.items()
        if isinstance(model.get_submodule(name), nn.Linear | _ConvNd)
    )
    return InferenceCost(flops, sum(alive[name] for name in used))


@contextmanager
def _positions(model: nn.Module) -> Iterator[dict[str, int]]:
    """How many positions each module with parameters of its own computes, over all its calls in the context."""
    positions: dict[str, int] = {}
    names = {
        module: name
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    }

    def count(module: nn.Module, inputs: Any, output: Tensor) -> None:
        channels = output.shape[-1] if isinstance(module, nn.Linear) else output.shape[1]
        positions[names[module]] = positions.get(names[module], 0) + output.numel() // channels

    handles = [module.register_forward_hook(count) for module in names]
    try:
        yield positions
    finally:
        for handle in handles:
            handle.remove()


def _alive(parameters: Mapping[str, Tensor], layers: Sequence[NodeLayer], dead: Mapping[str, Tensor]) -> dict[str, int]:
    """How many numbers of each parameter neither make nor read a dead node."""
    pieces: list[tuple[Slice, Tensor]] = [
        (piece, dead[layer.name]) for layer in layers for piece in layer.incoming + layer.outgoing
    ]
    removed: dict[str, Tensor] = {name: torch.tensor(False) for name in parameters}
    for (name, _), mask in lay_out(pieces, parameters, False).items():
        removed[name] = removed[name] | mask.cpu()
    return {
        name: parameter.numel() - int(removed[name].broadcast_to(parameter.shape).sum())
        for name, parameter in parameters.items()
    }
