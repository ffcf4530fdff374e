"""Importance of nodes: their average activation, accumulated over tasks, equation (8)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from agscl.methods.method import Learned, Network
from agscl.nodes import Activity
from agscl.nodes.slices import fill, gather


def average_activation(network: Network, learned: Learned) -> dict[str, Tensor]:
    """Mean activation of every node over a task's data, by layer, each of shape ``(num_nodes,)``.

    The model must be in eval mode. Every sample counts the same, whatever batch it comes in.

    Raises:
        ValueError: If there is no data, or an activation is not finite.
    """
    activity = Activity(network.model, network.graph)
    handle = network.model.register_forward_pre_hook(lambda _, *given: activity.observe(*given), with_kwargs=True)
    try:
        for batch in learned.batches:
            learned.predict(batch)
    finally:
        handle.remove()
    means = activity.means()
    if odd := [name for name, mean in means.items() if not mean.isfinite().all()]:
        raise ValueError(f"the activations of {odd[0]!r} are not finite: the task has diverged")
    return means


def require_needed(
    network: Network, activations: dict[str, Tensor], important: Mapping[str, Tensor], learned: Learned
) -> None:
    """Count as needed, in place, silent nodes that cannot be cut off: a weight that leaves them is frozen by the user.

    Such a weight stays as it is. If it is not zero and leads to a node or head that a task needs, the node behind it
    must not begin to act later: it gets the smallest positive activation. The same holds for what leads to it in turn.

    Args:
        network: The network.
        activations: Average activation by layer, shape ``(num_nodes,)``.
        important: By layer, which nodes earlier tasks need: bool, shape ``(num_nodes,)``.
        learned: The task just learned.
    """
    graph = network.graph
    heads = frozenset(name for task in learned.tasks for name in graph.head_of(task))
    fixed = {n: p.detach() != 0 for n, p in network.parameters.items() if not p.requires_grad}
    leaving = {n.name: [p for p in n.outgoing if p.parameter in fixed] for n in graph.layers}
    leaving = {name: pieces for name, pieces in leaving.items() if pieces}
    changed = bool(leaving)
    while changed:
        changed = False
        needed = {name: important[name] | (activations[name] > 0) for name in activations}
        into = {piece.parameter: fixed[piece.parameter].clone() for pieces in leaving.values() for piece in pieces}
        for name in into.keys() & (graph.head_parameters - heads):
            into[name].zero_()
        for layer in graph.layers:
            fill([piece for piece in layer.incoming if piece.parameter in into], into, ~needed[layer.name], False)
        for name, pieces in leaving.items():
            missed = gather(pieces, into).any(dim=1) & ~needed[name]
            activations[name][missed] = torch.finfo(activations[name].dtype).tiny
            changed |= bool(missed.any())


def accumulate(importance: Tensor, activation: Tensor, eta: float) -> Tensor:
    r"""``omega <- eta * omega + activation``, equation (8); a node once important never falls back to zero.

    Args:
        importance: Importance so far, shape ``(num_nodes,)``.
        activation: Average activation on the new task, same shape.
        eta: Discount of the past.

    >>> accumulate(torch.tensor([2.0, 0.0, 0.0]), torch.tensor([1.0, 3.0, 0.0]), eta=0.5)
    tensor([2., 3., 0.])
    """
    updated = eta * importance + activation
    return torch.where(importance > 0, updated.clamp_min(torch.finfo(updated.dtype).tiny), updated)
