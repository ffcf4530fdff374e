"""How many nodes are still free, and how many are in use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agscl.nodes.graph import NodeLayer
from agscl.nodes.slices import gather
from agscl.nodes.surgery.reach import all_zero


def sparsity(importance: Mapping[str, Tensor]) -> float:
    r"""Share of nodes that are unimportant, free to learn later tasks.

    .. math:: |G_0^t| / |G|, \quad G_0^t = \{n : \Omega_n^t = 0\}

    Source: Jung et al. (2020), section 4.1, analysis 2.

    Args:
        importance: Importance of each layer's nodes, shape ``(num_nodes,)`` each, such as `Guard.importance`.

    Example:
        >>> sparsity({"fc1": torch.tensor([0.0, 0.5]), "fc2": torch.tensor([0.0, 0.0])})
        0.75
    """
    values = torch.cat([layer.flatten() for layer in importance.values()])
    return (values == 0).double().mean().item()


def sparsity_by_layer(importance: Mapping[str, Tensor]) -> dict[str, float]:
    """`sparsity` of each layer by its name.

    Example:
        >>> sparsity_by_layer({"fc1": torch.tensor([0.0, 0.5]), "fc2": torch.tensor([0.0, 0.0])})
        {'fc1': 0.5, 'fc2': 1.0}
    """
    return {name: sparsity({name: values}) for name, values in importance.items()}


def used_capacity(layers: Iterable[NodeLayer], before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    r"""Share of nodes whose incoming vector did not change at all while a task was learned: frozen nodes.

    .. math:: |\{n : \|\hat\theta_n^{(t)} - \hat\theta_n^{(t-1)}\|_2 = 0\}| \, / \, |G|

    Nodes that are zero at both times are left out of the count: a zero node is free, not used. A node that no
    example activates gets no gradient and is counted, although nothing froze it: fine-tuning is above 0, too.
    Source: Jung et al. (2020), section 4.1, analysis 2.

    Args:
        layers: The model's nodes, `NodeGraph.layers`.
        before: State dict at the end of the task before (after its re-initialisation).
        after: State dict after learning the task (before its re-initialisation).

    Example:
        >>> from agscl.nodes import trace
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> layers = trace(model, torch.zeros(1, 3), heads="2").layers
        >>> before = model.state_dict()
        >>> used_capacity(layers, before, before | {"0.weight": before["0.weight"] + torch.eye(4)[:, :3]})
        0.25
    """
    frozen = []
    for layer in layers:
        old, new = gather(layer.incoming, before), gather(layer.incoming, after)
        frozen.append((old == new).all(dim=1) & (old != 0).any(dim=1))
    return torch.cat(frozen).double().mean().item()


def used_capacity_by_layer(
    layers: Iterable[NodeLayer], before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> dict[str, float]:
    """`used_capacity` of each layer by its name.

    Example:
        >>> from agscl.nodes import trace
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> layers = trace(model, torch.zeros(1, 3), heads="2").layers
        >>> used_capacity_by_layer(layers, model.state_dict(), model.state_dict())
        {'0': 1.0}
    """
    return {layer.name: used_capacity([layer], before, after) for layer in layers}


def zero_nodes(layers: Iterable[NodeLayer], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """By layer, which nodes have exact zeros for all that comes into them: bool, shape ``(num_nodes,)``.

    `agscl.nodes.surgery.reach` says how they relate to dead, silent and inert ones.

    Example:
        >>> from agscl.nodes import trace
        >>> model = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.ReLU(), torch.nn.Linear(2, 2))
        >>> layers = trace(model, torch.zeros(1, 1), heads="2").layers
        >>> zero_nodes(layers, {"0.weight": torch.tensor([[1.0], [0.0]]), "0.bias": torch.zeros(2)})
        {'0': tensor([False,  True])}
    """
    return {layer.name: all_zero(layer.incoming, state) for layer in layers}


def node_states(
    layers: Iterable[NodeLayer], importance: Mapping[str, Tensor], state: Mapping[str, Tensor]
) -> dict[str, list[str]]:
    """What each node is after a task, by layer: frozen, dead or free.

    Frozen: a task needs it (importance above 0). Dead: none does, and all that comes into it is exactly zero, so
    that it can be removed. Free: the others, ready to learn.

    Args:
        layers: The model's nodes, `NodeGraph.layers`.
        importance: Importance of each layer's nodes, such as `Guard.importance`.
        state: The model's weights by name, such as its state dict.

    Example:
        >>> from agscl.nodes import trace
        >>> model = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
        >>> layers = trace(model, torch.zeros(1, 1), heads="2").layers
        >>> state = {"0.weight": torch.tensor([[1.0], [0.0], [1.0]]), "0.bias": torch.zeros(3)}
        >>> node_states(layers, {"0": torch.tensor([0.5, 0.0, 0.0])}, state)
        {'0': ['frozen', 'dead', 'free']}
    """
    states: dict[str, list[str]] = {}
    for name, zero in zero_nodes(layers, state).items():
        pairs = zip((importance[name] > 0).tolist(), zero.tolist(), strict=True)
        states[name] = ["frozen" if needed else "dead" if is_zero else "free" for needed, is_zero in pairs]
    return states


@dataclass(frozen=True)
class LayerCapacity:
    """How full a layer is.

    Attributes:
        name: The layer; of a weight-wise method, the parameter.
        nodes: How many nodes it has (of a weight-wise method: weights). Each is one of the following.
        frozen: A learned task needs it. It stays as it is; under a penalty it is pulled to where it was.
        free: It learns whatever comes next.
        dead: No task needs it, and all that comes into it is exactly zero: it does not learn unless it is drawn anew.
        unit: What is counted, "nodes" or "weights".
        idle: Whether none of its nodes acted on the data of the task learned last; not known once a state was loaded.
    """

    name: str
    nodes: int
    frozen: int
    free: int
    dead: int
    unit: str = "nodes"
    idle: bool = False

    @property
    def full(self) -> bool:
        """Whether nothing in it can learn what comes next."""
        return self.free == 0


def full_since(tasks: Sequence[Sequence[LayerCapacity]]) -> dict[str, int]:
    """Since which task layers have been full, up to the last task; layers with something free then are left out.

    Args:
        tasks: The layers after each task, task after task.

    Example:
        >>> half, full = LayerCapacity("fc", 4, 2, 2, 0), LayerCapacity("fc", 4, 3, 0, 1)
        >>> full_since([[full], [half], [full], [full]]), full_since([[full], [half]])
        ({'fc': 2}, {})
    """
    since: dict[str, int] = {}
    for task, layers in enumerate(tasks):
        since = {layer.name: since.get(layer.name, task) for layer in layers if layer.full}
    return since
