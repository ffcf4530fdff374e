"""Masks of what must not move while a task is learned: frozen nodes, their statistics, connections that stay zero."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor

from agscl.nodes import Slice
from agscl.nodes.slices import lay_out, mark

from .method import Network

FREE = 2**31
"""Stands for "not important yet" where the tasks since which nodes are important are compared."""


def frozen_nodes(network: Network, important: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Which positions of each parameter belong to important nodes.

    Args:
        network: The network.
        important: By layer, bool, shape ``(num_nodes,)``.

    Returns:
        By parameter name, a bool tensor that broadcasts to it; parameters with none are left out.
    """
    layers = [layer for layer in network.graph.layers if layer.kind == "nodes"]
    pieces = ((piece, important[layer.name]) for layer in layers for piece in layer.incoming)
    masks = merged(lay_out(pieces, network.parameters, False))
    into = frozen_into_streams(network, important)
    return {name: (masks | into)[name] | into.get(name, masks.get(name, False)) for name in masks | into}


def frozen_into_streams(network: Network, important: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Which positions of what comes into residual streams stay: all but the weights from nodes that are not important.

    So later tasks go on writing into a stream, with new heads and hidden nodes. Arguments and result as `frozen_nodes`.
    """
    layers, parameters = network.graph.layers, network.parameters
    into = lay_out(((p, important[s.name]) for s in network.graph.streams for p in s.incoming), parameters, False)
    out = lay_out(((p, important[layer.name]) for layer in layers for p in layer.outgoing), parameters, True)
    for (name, dim), mask in into.items():
        for read in [read for (other, _), read in out.items() if other == name]:
            into[name, dim] = mask = mask & read  # noqa: PLW2901
    return merged(into)


def frozen_for_all(network: Network) -> dict[str, Tensor]:
    """All positions of parameters that no node owns but every task depends on: whole ones, and the rest of others.

    Those of ignored modules are among them.
    """
    graph = network.graph
    shared = [name for name in (*graph.shared, *graph.ignored) if name in network.parameters]
    rest = mark(((piece, _all(piece)) for piece in graph.rest if piece.parameter in network.parameters), network.state)
    parts = merged(
        {
            (name, dim): mask.reshape([-1 if d == dim else 1 for d in range(network.parameters[name].ndim)])
            for (name, dim), mask in rest.items()
        }
    )
    return parts | {name: torch.tensor(True, device=network.parameters[name].device) for name in shared}


def _all(piece: Slice) -> Tensor:
    return torch.ones_like(piece.index[:, 0], dtype=torch.bool)


def frozen_channels(network: Network, important: Mapping[str, Tensor], learned: Iterable[int]) -> dict[str, Tensor]:
    """Which channels of each norm layer keep their statistics: those of important nodes and of finished heads.

    Returns:
        By module name, bool, shape ``(channels,)``; modules with none are left out.
    """
    layers, learned = network.graph.layers, tuple(learned)
    laid = merged(
        lay_out(((p, important[layer.name]) for layer in layers for p in layer.statistics), network.buffers, False)
    )
    whole = [f"{name.rpartition('.')[0]}.running_mean" for name in network.graph.own_heads(learned)]
    common = (*network.graph.shared, *network.graph.ignored) if learned else ()
    whole += [name for name in common if name.rpartition(".")[2] == "running_mean"]
    rest = [piece for piece in network.graph.rest if learned and piece.parameter in network.buffers]
    held = merged(mark(((piece, _all(piece)) for piece in rest), network.buffers))
    laid = united(laid, held)
    laid |= {n: torch.ones_like(network.buffers[n], dtype=torch.bool) for n in whole if n in network.buffers}
    return {name.rpartition(".")[0]: mask for name, mask in laid.items()}


def masked_connections(network: Network, since: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Which weights are masked, zero for ever: those into a node from one that became important later, or never.

    Into a residual stream all may learn: there gates keep what came later apart.

    Args:
        network: The network.
        since: By layer, the task since which each node is important, `FREE` for those that are not.

    Returns:
        By parameter name, a bool tensor that broadcasts to it; parameters with none are left out.
    """
    layers = network.graph.layers
    nodes = [layer for layer in layers if layer.kind == "nodes"]
    into = lay_out(((p, since[layer.name]) for layer in nodes for p in layer.incoming), network.parameters, FREE)
    out = lay_out(((p, since[layer.name]) for layer in layers for p in layer.outgoing), network.parameters, -1)
    return merged(
        {
            (name, dim): source > target
            for (name, dim), source in out.items()
            for place, target in into.items()
            if place[0] == name
        }
    )


def frozen_between(network: Network, used: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What earlier tasks compute with: weights between used nodes, from inputs to them, from them to a shared head.

    Args:
        network: The network.
        used: By layer, which nodes an earlier task uses: bool, shape ``(num_nodes,)``.

    Returns:
        By parameter name, a bool tensor that broadcasts to it; parameters with none are left out.
    """
    layers, parameters = network.graph.layers, network.parameters
    into = lay_out(((p, used[layer.name]) for layer in layers for p in layer.incoming), parameters, True)
    out = lay_out(((p, used[layer.name]) for layer in layers for p in layer.outgoing), parameters, True)
    frozen: dict[str, Tensor] = {}
    for (name, _), mask in (*into.items(), *out.items()):
        frozen[name] = frozen[name] & mask if name in frozen else mask
    shared = {name for head in network.graph.heads if not head.tasks for name in head.parameters}
    whole = {n: torch.tensor(True, device=parameters[n].device) for n in shared - frozen.keys()}
    common = {name: mask for name, mask in frozen.items() if name in network.in_common and mask.any()}
    return united({**common, **whole}, frozen_for_all(network))


def united(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Masks by name, true where one of two is: bool tensors that broadcast to the named ones.

    >>> united({"weight": torch.tensor([True, False])}, {"weight": torch.tensor([False, False])})
    {'weight': tensor([ True, False])}
    """
    both = {name: first[name] | second[name] for name in first.keys() & second.keys()}
    return {**first, **second, **both}


def small_parameters(network: Network, besides: Collection[str]) -> dict[str, Tensor]:
    """All positions of the parameters that tasks have in common besides the named ones: biases, norm layers.

    For methods that learn these in the first task alone. What the user has frozen is among them, should it be thawed.
    """
    return {n: torch.tensor(True, device=p.device) for n, p in network.in_common.items() if n not in besides}


def all_channels(network: Network, learned: Iterable[int]) -> dict[str, Tensor]:
    """All channels of the norm layers that learned tasks compute with: all but those in heads of other tasks.

    Returns:
        By module name, bool, shape ``(channels,)``.
    """
    graph, learned = network.graph, set(learned)
    others = graph.own_heads(task for task in range(graph.num_tasks or 0) if task not in learned)
    open_ones = {name.rpartition(".")[0] for name in others}
    means = {name.rpartition(".")[0]: t for name, t in network.buffers.items() if name.endswith("running_mean")}
    return {name: torch.ones_like(t, dtype=torch.bool) for name, t in means.items() if name not in open_ones}


def merged(masks: Mapping[tuple[str, int], Tensor]) -> dict[str, Tensor]:
    """Masks of the same tensor along several dimensions as one; empty ones are left out."""
    merged: dict[str, Tensor] = {}
    for (name, _), mask in masks.items():
        merged[name] = merged[name] | mask if name in merged else mask
    return {name: mask for name, mask in merged.items() if mask.any()}
