"""Which nodes an output depends on: forwards from what is not zero, backwards from the heads.

The words for nodes without effect:

- *zero*: all that comes into it is exactly zero (`agscl.metrics.zero_nodes`);
- *dead*: zero, and no task needs it: its importance is zero as well (`agscl.metrics.node_states`, ``nodes.parquet``);
- *silent*: its activation is exactly zero for every input (`silent_nodes`). A zero node is silent unless something
  behind it makes another constant of zero: a sigmoid, say, or a batch norm without an affine pair;
- *unread*: nothing that is needed reads it with a weight that is not zero (`read_nodes` gives the others);
- *inert*: silent or unread, so that no output depends on it (`inert_nodes`);
- *removable*: inert, and the shapes of tensors allow that it goes (`agscl.nodes.removable`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from agscl.nodes.activity import Activity
from agscl.nodes.graph import NodeGraph, Slice
from agscl.nodes.slices import fill, mark
from agscl.nodes.tracing.trace import Arguments, arguments, eval_mode

from .copies import plain_copy, random_inputs


def inert_nodes(
    model: nn.Module, graph: NodeGraph, example_inputs: Any, tasks: Iterable[int] | None = None
) -> dict[str, Tensor]:
    """Nodes whose contribution to the outputs is exactly zero, whatever the inputs: silent ones and unread ones.

    >>> from agscl import trace
    >>> model, x = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)), torch.ones(2, 2)
    >>> state = model.state_dict()
    >>> state["0.weight"][0], state["0.bias"][0] = 0.0, 0.0  # silent
    >>> state["2.weight"][:, 1] = 0.0  # unread
    >>> inert_nodes(model, trace(model, x), x)
    {'0': tensor([ True,  True, False])}

    Args:
        model: The traced model, with its present weights, in eval mode or to be used in it.
        graph: Its nodes.
        example_inputs: A batch for ``model(*example_inputs)``; a single tensor stands for itself.
        tasks: The tasks whose outputs count; all by default.

    Returns:
        By layer, bool, shape ``(num_nodes,)``.
    """
    plain = plain_copy(model)
    silent = silent_nodes(plain, graph, example_inputs)
    read = read_nodes(graph, dict(plain.state_dict()), tasks)
    return {name: silent[name] | ~read[name] for name in silent}


@torch.no_grad()
def silent_nodes(model: nn.Module, graph: NodeGraph, example_inputs: Any) -> dict[str, Tensor]:
    """Nodes whose activation is exactly zero for every input.

    All weights that come into such a node are zero, or come from silent nodes; then its activation is a constant in
    eval mode, and it is looked whether that constant is zero. Arguments as in `inert_nodes`.
    """
    trial = plain_copy(model)
    state = dict(trial.state_dict())
    generator = torch.Generator().manual_seed(0)
    inputs = random_inputs(arguments(example_inputs), generator)
    silent = no_nodes(graph)
    while True:
        constant: dict[str, Tensor] = {}
        for layer in graph.layers:
            matrices = [piece for piece in layer.incoming if state[piece.parameter].ndim > 1]  # they read inputs
            constant[layer.name] = all_zero(matrices or layer.incoming, state)
        if any(nodes.any() for nodes in constant.values()):
            zero = zero_readings(trial, graph, inputs)
            constant = {name: nodes & zero[name] for name, nodes in constant.items()}
        if _equal(constant, silent):
            return silent
        silent = constant
        for layer in graph.layers:
            fill(layer.outgoing, state, silent[layer.name], 0.0)


@torch.no_grad()
def read_nodes(graph: NodeGraph, state: Mapping[str, Tensor], tasks: Iterable[int] | None = None) -> dict[str, Tensor]:
    """Nodes that reach an output of the tasks (all by default): by layer, bool, shape ``(num_nodes,)``.

    Something that is needed reads them with a weight that is not zero.
    """
    ignored: frozenset[str] = frozenset()
    if tasks is not None:
        ignored = graph.head_parameters - frozenset(name for task in tasks for name in graph.head_of(task))
    read = no_nodes(graph)
    while True:
        reading = {name: tensor != 0 for name, tensor in state.items() if name not in ignored}
        for layer in graph.layers:
            fill([piece for piece in layer.incoming if piece.parameter in reading], reading, ~read[layer.name], False)
        reached = {layer.name: _touched(layer.outgoing, reading) for layer in graph.layers}
        if _equal(reached, read):
            return read
        read = reached


def all_zero(slices: Sequence[Slice], state: Mapping[str, Tensor]) -> Tensor:
    """Nodes for which all of the slices are exactly zero: bool, shape ``(num_nodes,)``."""
    return ~_touched(slices, {piece.parameter: state[piece.parameter].detach() != 0 for piece in slices})


def zero_readings(model: nn.Module, graph: NodeGraph, inputs: Arguments) -> dict[str, Tensor]:
    """Nodes whose activation is zero on all of these inputs, in eval mode: by layer, bool, shape ``(num_nodes,)``."""
    activity = Activity(model, graph)
    with eval_mode(model):
        activity.observe(*inputs)
    return {name: mean == 0 for name, mean in activity.means().items()}


@torch.no_grad()
def sealed_nodes(graph: NodeGraph, state: Mapping[str, Tensor], frozen: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of the frozen nodes that read nothing which learns, so that no gradient need go through them.

    Frozen are, by layer, nodes that nothing moves: bool, shape ``(num_nodes,)``. There are none of them if parts of the
    model learn that no node owns and no head is.
    """
    pieces = [piece for layer in graph.layers for piece in layer.incoming]
    pieces = [piece for piece in (*pieces, *graph.rest) if piece.parameter in state]
    made = mark(((piece, torch.ones_like(piece.index[:, 0], dtype=torch.bool)) for piece in pieces), state)
    owned = (
        {name for (name, _), mask in made.items() if mask.all()}
        | graph.head_parameters
        | {*graph.shared, *graph.ignored}
    )
    if any(tensor.requires_grad and name not in owned for name, tensor in state.items()):
        return {name: torch.zeros_like(nodes) for name, nodes in frozen.items()}
    sealed = {name: nodes.clone() for name, nodes in frozen.items()}
    while True:
        reading = {name: torch.zeros_like(tensor, dtype=torch.bool) for name, tensor in state.items()}
        for layer in graph.layers:
            fill(layer.outgoing, reading, ~sealed[layer.name], True)
        reading = {name: mask & (state[name] != 0) for name, mask in reading.items()}
        remaining = {layer.name: sealed[layer.name] & ~_touched(layer.incoming, reading) for layer in graph.layers}
        if _equal(remaining, sealed):
            return sealed
        sealed = remaining


def _touched(slices: Sequence[Slice], marked: Mapping[str, Tensor]) -> Tensor:
    """Nodes with a marked entry in one of the slices: bool, shape ``(num_nodes,)``."""
    touched = [torch.zeros_like(slices[0].index[:, 0], dtype=torch.bool)]
    for piece in [piece for piece in slices if piece.parameter in marked]:
        entries = marked[piece.parameter].movedim(piece.dim, 0)
        touched.append(entries.reshape(len(entries), -1).any(dim=1)[piece.index].any(dim=1))
    return torch.stack(touched).any(dim=0)


def no_nodes(graph: NodeGraph) -> dict[str, Tensor]:
    """None of the nodes: by layer, bool, shape ``(num_nodes,)``."""
    return {layer.name: torch.zeros_like(layer.incoming[0].index[:, 0], dtype=torch.bool) for layer in graph.layers}


def _equal(nodes: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(nodes[name], others[name]) for name in nodes)
