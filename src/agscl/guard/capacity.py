"""How full a network is: what learned tasks have taken of each layer, what is free, and a warning when nothing is."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from agscl.methods.method import Network, Usage
from agscl.metrics.capacity import LayerCapacity, zero_nodes
from agscl.nodes import NodeLayer

HEADS = ("frozen", "free", "dead")

SHOWN = 4
"""Most layers that a warning names."""


class CapacityWarning(UserWarning):
    """A layer has no free node left, or is dead: the next tasks will be learned badly."""


@dataclass(frozen=True)
class Capacity:
    """How full a network is. ``print(capacity)`` shows it as a table.

    Attributes:
        layers: Every layer; of a weight-wise method, every parameter whose weights it takes.
        tasks: Of a method that gives each task its part, by task and layer how many of them it uses.
        new: How many of these no task used that was learned before.
    """

    layers: tuple[LayerCapacity, ...]
    tasks: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    new: Mapping[int, Mapping[str, int]] = field(default_factory=dict)

    def __getitem__(self, layer: str) -> LayerCapacity:
        """The layer of that name; raises a `KeyError` if there is none."""
        return {each.name: each for each in self.layers}[layer]

    def __iter__(self) -> Iterator[LayerCapacity]:
        """Layer after layer."""
        return iter(self.layers)

    def __len__(self) -> int:
        """Number of layers."""
        return len(self.layers)

    @property
    def unit(self) -> str:
        """What is counted: "nodes" or "weights"."""
        return self.layers[0].unit if self.layers else "nodes"

    @property
    def total(self) -> LayerCapacity:
        """All layers as one."""
        nodes, frozen, free, dead = (sum(getattr(e, name) for e in self.layers) for name in ("nodes", *HEADS))
        return LayerCapacity("total", nodes, frozen, free, dead, self.unit)

    def __str__(self) -> str:
        rows = [["layer", self.unit, *HEADS]]
        rows += [[e.name, *(f"{n:,}" for n in (e.nodes, e.frozen, e.free, e.dead))] for e in (*self.layers, self.total)]
        first, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
        lines = []
        for name, *numbers in rows:
            cells = (number.rjust(width) for number, width in zip(numbers, widths, strict=True))
            lines.append("  ".join([name.ljust(first), *cells]))
        for place, each in enumerate(self.layers, 1):
            lines[place] += "  full" if each.full else ""
        for task, used in self.tasks.items():
            share, new = sum(used.values()) / max(1, self.total.nodes), sum(self.new[task].values())
            lines.append(f"task {task} uses {sum(used.values()):,} of them ({share:.0%}), {new:,} new")
        return "\n".join(lines)


def capacity_of(network: Network, usage: Usage) -> Capacity:
    """How full a network is, by what its method says that learned tasks take.

    A residual stream, which every task uses, does not count. Nodes into which nothing comes that learns, since the user
    has frozen it all, count as frozen.
    """
    if usage.unit == "weights":
        sizes = [(name, taken.numel(), int(taken.sum())) for name, taken in usage.taken.items()]
        weights = (LayerCapacity(name, size, used, size - used, 0, usage.unit) for name, size, used in sizes)
        return Capacity(tuple(weights), *_counts(usage))
    layers, zero = [], zero_nodes(network.graph.layers, network.state)
    for layer in [layer for layer in network.graph.layers if layer.kind == "nodes"]:
        taken = usage.taken[layer.name] if _learns(network, layer) else torch.ones_like(zero[layer.name])
        frozen, dead = int(taken.sum()), int((zero[layer.name] & ~taken).sum())
        free, idle = layer.num_nodes - frozen - dead, layer.name in usage.idle
        layers.append(LayerCapacity(layer.name, layer.num_nodes, frozen, free, dead, usage.unit, idle))
    return Capacity(tuple(layers), *_counts(usage))


Counts = dict[int, dict[str, int]]


def _counts(usage: Usage) -> tuple[Counts, Counts]:
    """By task and layer, how many it uses, and how many of these no task before it."""
    tasks, new, before = Counts(), Counts(), dict[str, Tensor]()
    for task, uses in usage.uses.items():
        fresh = {name: used & ~before[name] if name in before else used for name, used in uses.items()}
        before = {name: before[name] | used if name in before else used for name, used in uses.items()}
        tasks[task], new[task] = ({n: int(used.sum()) for n, used in each.items()} for each in (uses, fresh))
    return tasks, new


def warn_if_full(network: Network, usage: Usage, task: int, *, grows: bool) -> None:
    """Warn, with what to do, of layers that have nothing free or were dead for a task, and of a task cut short.

    Args:
        network: The network, with the task learned.
        usage: What learned tasks take of it.
        task: Number of the task.
        grows: Whether `Guard.expand` can add nodes.
    """
    learning = {layer.name for layer in network.graph.layers if _learns(network, layer)}
    found = [each for each in capacity_of(network, usage) if usage.unit == "weights" or each.name in learning]
    dead = [each.name for each in found if each.idle or each.dead == each.nodes]
    if dead:
        _warn(
            f"no node of {_listed('layer', dead)} was active on the data of task {task}, so that nothing passes: begin "
            f"again with {usage.revival}, or with a lower learning rate"
        )
    if usage.unfinished:
        _warn(f"task {task} {usage.unfinished}")
    if full := [each.name for each in found if each.full and each.name not in dead]:
        more = f"add nodes with guard.expand(layer={full[0]!r}, nodes=...), or " if grows else ""
        part, whole = ("node", "layer") if usage.unit == "nodes" else ("weight", "parameter")
        what = f"no free {part} is left in {_listed(whole, full)} after task {task}"
        _warn(f"{what}: {more}begin again with {usage.relief}")


def _learns(network: Network, layer: NodeLayer) -> bool:
    return bool(network.trained(layer.incoming))


def _listed(what: str, names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")
    return f"{what} {shown}" if len(names) == 1 else f"{len(names)} {what}s ({shown})"


def _warn(text: str) -> None:
    warnings.warn(text, CapacityWarning, stacklevel=4)
