"""The law of the node graph: zeroing what comes into a node equals zeroing what goes out of it."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves, tree_map

from agscl.nodes import NodeGraph, NodeLayer, Slice
from agscl.nodes.surgery.copies import tensors_of
from agscl.nodes.tracing.trace import arguments


def awake(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model in eval mode and double precision with every parameter and statistic away from its default."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point() and tensor.ndim < 2:
            noise = torch.rand(tensor.shape, generator=generator)
            tensor.data = (noise + 0.5) if name.endswith(("var", "weight")) else noise - 0.3
    return model.double().eval()


def zeroed(state: dict[str, Tensor], slices: Iterable[Slice], node: int) -> dict[str, Tensor]:
    """A copy of the state in which one node's positions are zero."""
    copy = dict(state)
    for piece in slices:
        copy[piece.parameter] = copy[piece.parameter].index_fill(piece.dim, piece.index[node], 0.0)
    return copy


def outputs(model: nn.Module, state: dict[str, Tensor], x: Tensor) -> Tensor:
    """All outputs in one row a sample."""
    with torch.no_grad():
        result = functional_call(model, state, (x,))
    parts = result if isinstance(result, list | tuple) else [result]
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def violations(model: nn.Module, graph: NodeGraph, x: Tensor, most: int = 10**9) -> list[str]:
    """Nodes that break the law, at most `most` of each layer looked at."""
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    return [
        f"{layer.name}[{node}]"
        for layer in graph.layers
        for node in _chosen(layer, most)
        if not torch.allclose(
            outputs(model, zeroed(state, layer.incoming, node), x),
            outputs(model, zeroed(state, layer.outgoing, node), x),
            rtol=1e-9,
            atol=1e-12,
        )
    ]


def leaks(model: nn.Module, graph: NodeGraph, x: Tensor, most: int = 10**9) -> list[str]:
    """Nodes that are not cut off although all that leaves them is zero: what comes into them still matters."""
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    generator = torch.Generator().manual_seed(0)

    def changed(slices: Iterable[Slice], node: int) -> dict[str, Tensor]:
        copy = dict(state)
        for piece in slices:
            index = [slice(None)] * copy[piece.parameter].ndim
            index[piece.dim] = piece.index[node]
            noise = torch.rand(copy[piece.parameter][tuple(index)].shape, generator=generator, dtype=torch.float64)
            copy[piece.parameter] = copy[piece.parameter].clone()
            copy[piece.parameter][tuple(index)] += noise
        return copy

    return [
        f"{layer.name}[{node}]"
        for layer in graph.layers
        for node in _chosen(layer, most)
        if not torch.allclose(
            outputs(model, zeroed(changed(layer.incoming + layer.statistics, node), layer.outgoing, node), x),
            outputs(model, zeroed(state, layer.outgoing, node), x),
            rtol=1e-9,
            atol=1e-12,
        )
    ]


def influential(model: nn.Module, graph: NodeGraph, x: Tensor, most: int = 10**9) -> int:
    """How many of the nodes looked at change the outputs when they are cut off."""
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    whole = outputs(model, state, x)
    return sum(
        not torch.equal(whole, outputs(model, zeroed(state, layer.outgoing, node), x))
        for layer in graph.layers
        for node in _chosen(layer, most)
    )


def broken_laws(model: nn.Module, graph: NodeGraph, inputs: Any, most: int = 6) -> list[str]:
    """How a model breaks the two laws for sets of nodes, on random weights in double precision.

    Half of a layer's nodes, or its only one: zero what comes in, or zero what goes out, and all outputs are the same
    (zero); once nothing goes out, what comes in does not matter (cut). At most `most` layers are looked at.
    """
    generator = torch.Generator().manual_seed(0)
    model = model.double().eval()
    for tensor in [tensor for tensor in tensors_of(model).values() if tensor.is_floating_point()]:
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        tensor.data = noise / max(1, tensor[0].numel()) ** 0.5 if tensor.ndim > 1 else noise.abs() + 0.5
    args, named = tree_map(lambda x: x.double() if x.is_floating_point() else x, arguments(inputs))
    state = {name: tensor.detach() for name, tensor in tensors_of(model).items()}

    def answer(changed: dict[str, Tensor]) -> Tensor:
        with torch.no_grad():
            result = functional_call(model, changed, args, named)
        return torch.cat([leaf.flatten() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)])

    broken, whole, changed = [], answer(state), False
    order = torch.randperm(len(graph.layers), generator=generator)[:most].tolist()
    for layer in [graph.layers[number] for number in order]:
        nodes = torch.randperm(layer.num_nodes, generator=generator)[: max(1, layer.num_nodes // 2)]
        cut = _scaled(state, layer.outgoing, nodes, 0.0)
        expected = answer(cut)
        changes = {"zero": _scaled(state, layer.incoming, nodes, 0.0), "cut": _scaled(cut, layer.incoming, nodes, 1.5)}
        far = {law: float((answer(other) - expected).abs().max()) for law, other in changes.items()}
        broken += [f"{layer.name}: {law}" for law, size in far.items() if not size <= 1e-9 * float(whole.abs().max())]
        changed |= not torch.equal(expected, whole)
    return broken if changed else [*broken, "nothing changes at all"]


def _scaled(state: dict[str, Tensor], slices: Iterable[Slice], nodes: Tensor, factor: float) -> dict[str, Tensor]:
    """A copy of the state in which all that belongs to the chosen nodes is multiplied."""
    copy = dict(state)
    for piece in slices:
        chosen, whole = piece.index[nodes].flatten(), copy[piece.parameter]
        part = whole.index_select(piece.dim, chosen) * factor
        copy[piece.parameter] = whole.index_copy(piece.dim, chosen, part)
    return copy


def _chosen(layer: NodeLayer, most: int) -> list[int]:
    return torch.linspace(0, layer.num_nodes - 1, min(most, layer.num_nodes)).long().unique().tolist()
