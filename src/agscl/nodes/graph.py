"""The node graph: for every node what comes into it, what goes out of it, and where it can be watched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, fx

from .tracing.calls import Origin


@dataclass(frozen=True)
class Slice:
    """Positions of one tensor that belong to the nodes of a layer.

    Attributes:
        parameter: Name in ``model.state_dict()``.
        dim: Dimension along which the positions count.
        index: Positions of each node, int64, shape ``(num_nodes, k)``; ``[[0, 1, 2], [3, 4, 5]]`` for two nodes whose
            activations a flatten spreads over three columns each.
    """

    parameter: str
    dim: int
    index: Tensor

    @cached_property
    def positions(self) -> Tensor | slice:
        """The positions of all nodes; as a Python slice, which copies nothing, where they are 0, 1, 2, ..."""
        flat = self.index.flatten()
        return slice(len(flat)) if torch.equal(flat, torch.arange(len(flat), device=flat.device)) else flat


@dataclass(frozen=True)
class Reading:
    """An operation whose output holds the activations of the nodes of a layer.

    Attributes:
        output: Which output of the graph's probe it is.
        keep: Dimensions of that output that tell nodes apart; the mean goes over the others.
        index: Positions of each node in the flattened kept dimensions, int64, shape ``(num_nodes, k)``.
    """

    output: int
    keep: tuple[int, ...]
    index: Tensor


@dataclass(frozen=True)
class NodeLayer:
    """Nodes that share their producers and consumers: the neurons or channels of one layer, or heads of attention.

    Attributes:
        name: The first producer's module name.
        num_nodes: How many nodes there are.
        incoming: What comes into each node: weight rows, bias, norm affine. Together its group vector.
        outgoing: What leaves it: columns of the weights that read it, those of heads included.
        statistics: Running statistics that belong to it.
        readings: Where its activation is measured.
        kind: "nodes", or "stream" for a residual stream that a norm ties: one node, which every task uses.
    """

    name: str
    num_nodes: int
    incoming: tuple[Slice, ...]
    outgoing: tuple[Slice, ...]
    statistics: tuple[Slice, ...] = ()
    readings: tuple[Reading, ...] = ()
    kind: Literal["nodes", "stream"] = "nodes"


@dataclass(frozen=True)
class Head:
    """A module that only consumes nodes and makes the model's outputs.

    Attributes:
        name: Name of the module, or of the list or dict of heads.
        tasks: Parameter names of each task's head, in order; empty if all tasks share the one head.
        parameters: All its parameter names.
    """

    name: str
    tasks: tuple[tuple[str, ...], ...]
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class NodeGraph:
    """All nodes of a model. ``print(graph)`` shows them.

    >>> from agscl import trace
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> graph = trace(model, torch.ones(2, 3))
    >>> graph.num_nodes, [layer.name for layer in graph.layers], [head.name for head in graph.heads]
    (4, ['0'], ['2'])
    >>> [piece.parameter for piece in graph.layers[0].incoming + graph.layers[0].outgoing]
    ['0.weight', '0.bias', '2.weight']

    Attributes:
        layers: The layers of nodes, in the order of computation.
        heads: The heads, which are no nodes.
        shared: Names in the state that no node owns, such as the affine pair of a norm layer on the input or a learned
            scale behind the heads. All tasks depend on them, so that they stay once a task is learned.
        unreached: Parameters that the traced forward never uses.
        probe: fx graph that maps the tensors of a call of the model to the activations named by the readings; behind
            them, what the model gives.
        origin: Which call was traced, and how.
        constants: Tensors that the probe uses and the model does not hold, by name.
        plastic: Largest share of the weights, heads apart, that can go on learning once a task is learned and frozen
            hard: what comes into nodes, and into streams from nodes.
        users: By parameter, the modules in whose forward it is used, where that is not its owner's alone.
        rest: Positions that no node owns of tensors of which nodes own others, such as the model's input's share of
            a norm layer behind a concatenation: ``index`` has shape ``(1, k)``. They are shared as well.
        ignored: Names in the state of ignored modules, and of what flows into them; frozen once a task is learned.
    """

    layers: tuple[NodeLayer, ...]
    heads: tuple[Head, ...]
    shared: tuple[str, ...]
    unreached: tuple[str, ...]
    probe: fx.Graph
    rest: tuple[Slice, ...] = ()
    ignored: tuple[str, ...] = ()
    origin: Origin | None = None
    constants: Mapping[str, Tensor] = field(default_factory=dict)
    plastic: float = 1.0
    users: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """Pickled without the modules that have run the probe: these hold the model."""
        self.probe.owning_module = None
        return dict(vars(self))

    @property
    def num_nodes(self) -> int:
        """Number of nodes in all layers."""
        return sum(layer.num_nodes for layer in self.layers)

    @property
    def streams(self) -> tuple[NodeLayer, ...]:
        """The layers that are residual streams."""
        return tuple(layer for layer in self.layers if layer.kind == "stream")

    @property
    def num_tasks(self) -> int | None:
        """Number of tasks that have a head of their own; `None` if all share one."""
        counts = [len(head.tasks) for head in self.heads if head.tasks]
        return min(counts) if counts else None

    @property
    def head_parameters(self) -> frozenset[str]:
        """Names of the parameters of all heads."""
        return frozenset(name for head in self.heads for name in head.parameters)

    def head_of(self, task: int) -> frozenset[str]:
        """Names of the parameters of the head (or heads) that serve a task."""
        return frozenset(name for head in self.heads for name in (head.tasks[task] if head.tasks else head.parameters))

    def own_heads(self, tasks: Iterable[int]) -> frozenset[str]:
        """Names of the parameters of the heads that serve one of the tasks and no other."""
        return frozenset(name for task in tasks for head in self.heads if head.tasks for name in head.tasks[task])

    def __str__(self) -> str:
        lines = [f"{self.num_nodes} nodes in {len(self.layers)} layers"]
        for layer in self.layers:
            lines.append(f"{layer.name}: {'a stream' if layer.kind == 'stream' else f'{layer.num_nodes} nodes'}")
            lines.append(f"    in   {', '.join(map(_positions, layer.incoming))}")
            lines.append(f"    out  {', '.join(map(_positions, layer.outgoing))}")
        for title, names in [
            ("heads", [head.name for head in self.heads]),
            ("shared by all nodes", [*self.shared, *map(_positions, self.rest)]),
            ("ignored, frozen once a task is learned", self.ignored),
            ("never used by the forward", self.unreached),
        ]:
            if names:
                lines.append(f"{title}: {', '.join(names)}")
        if self.plastic < 1:
            lines.append(
                f"at most {self.plastic:.0%} of the weights can go on learning after the first task is frozen: streams "
                "and what is shared stay as they are"
            )
        return "\n".join(lines)


def _positions(piece: Slice) -> str:
    span = ":, " * piece.dim + f"{int(piece.index.min())}..{int(piece.index.max())}"
    times = f" ({piece.index.shape[1]} a node)" if piece.index.shape[1] > 1 else ""
    return f"{piece.parameter}[{span}]{times}"
