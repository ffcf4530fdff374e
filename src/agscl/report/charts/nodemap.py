"""The node map: every node of every layer as a cell, in the colour of the task that first needed it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from markupsafe import Markup

from agscl.report.blocks import Table

from .axes import task_ticks
from .colours import task_colour
from .svg import add, drawing, markup, write

if TYPE_CHECKING:
    from polars import DataFrame

NEVER = -1
"""First task of a node that no task needs."""


@dataclass(frozen=True)
class LayerStates:
    """What the nodes of one layer are after each task.

    Attributes:
        name: Name of the layer.
        states: ``states[task][node]``: "frozen", "dead" or "free".
        importance: Of each node after the last task.
        used: ``used[task][node]``: whether the task uses it; empty where that is not known.
    """

    name: str
    states: Sequence[Sequence[str]]
    importance: Sequence[float]
    used: Sequence[Sequence[bool]] = ()

    @cached_property
    def first(self) -> list[int]:
        """The task that first made each node important; `NEVER` if none did."""
        by_node = zip(*self.states, strict=True)
        return [states.index("frozen") if "frozen" in states else NEVER for states in by_node]

    @property
    def tasks(self) -> list[list[int]]:
        """The tasks that use each node; empty where that is not known."""
        return [[task for task, used in enumerate(by_task) if used] for by_task in zip(*self.used, strict=True)]

    @property
    def dead(self) -> list[list[int]]:
        """Positions of the dead nodes after each task."""
        return [[node for node, state in enumerate(states) if state == "dead"] for states in self.states]

    @property
    def in_words(self) -> str:
        """How many nodes are what in the end."""
        return ", ".join(f"{number} {state}" for state, number in self.counts(-1).items())

    @property
    def filled(self) -> str:
        """Since which task all, or else half, of the nodes are frozen; nothing if fewer are."""
        frozen = [self.counts(task)["frozen"] / len(self.importance) for task in range(len(self.states))]
        for share, words in ((1.0, "all"), (0.5, "half of them")):
            if frozen[-1] >= share:
                return f"{words} frozen since task {min(n for n, each in enumerate(frozen, 1) if each >= share)}"
        return ""

    @property
    def importance_in_words(self) -> list[str]:
        """The importance of each node with three digits, which the page's script shows."""
        return [f"{value:.3g}" for value in self.importance]

    def counts(self, task: int) -> dict[str, int]:
        """How many nodes are frozen, free and dead after a task."""
        return {state: list(self.states[task]).count(state) for state in ("frozen", "free", "dead")}

    def counted(self, task: int) -> str:
        """The counts after a task in words, and how many nodes the task itself uses, old and new."""
        told = " / ".join(map(str, self.counts(task).values()))
        if not self.used:
            return told
        new = sum(users[:1] == [task] for users in self.tasks)
        return f"{told}; uses {sum(self.used[task])}, {new} new"

    def cells(self, columns: int) -> Markup:
        """Every node as a cell, in reading order.

        A cell is a line without length and with square ends, one step of a path: ``M3.5 0.5h0`` is node 3.
        """
        nodes, tasks = len(self.importance), len(self.states)
        told = f"{self.name}: {nodes} nodes, {self.in_words} after the last task"
        root = drawing(-(-nodes // columns), told, width=columns)
        add(root, "path", d=_dots(range(nodes), columns), class_="cell free")
        add(root, "path", d=_dots(self.dead[-1], columns), class_="cell dead")
        for task in sorted(set(self.first) - {NEVER}):
            frozen = [node for node, first in enumerate(self.first) if first == task]
            colour = task_colour(task, tasks)
            add(root, "path", d=_dots(frozen, columns), class_="cell", stroke=colour, data_task=task)
        return markup(root)

    def history(self) -> Markup:
        """A bar after each task: frozen nodes from below, by the task that first needed them, then free, then dead."""
        tasks, nodes = len(self.states), len(self.importance)
        root = drawing(nodes, f"{self.name}: nodes in use after each task", width=tasks)
        root.set("preserveAspectRatio", "none")
        for task, states in enumerate(self.states):
            frozen = Counter(first for state, first in zip(states, self.first, strict=True) if state == "frozen")
            bottom = nodes
            for first, count in sorted(frozen.items()):
                bottom -= count
                add(root, "rect", x=task, y=bottom, width=0.92, height=count, fill=task_colour(first, tasks))
            add(root, "rect", x=task, y=0, width=0.92, height=self.counts(task)["dead"], class_="area dead")
        return markup(root)


@dataclass(frozen=True)
class NodeMap:
    """The nodes of one run.

    Attributes:
        title: Which run it is.
        tasks: Names of the tasks.
        columns: Cells in a row of a map.
        key: Colours of the tasks.
        layers: All layers, in the order of the table.
        values: Counts of each layer after each task.
    """

    template: ClassVar[str] = "nodemap.html"
    title: str
    tasks: Sequence[str]
    columns: int
    key: Markup
    layers: Sequence[LayerStates]
    values: Table


def layer_states(nodes: DataFrame) -> list[LayerStates]:
    """The layers of a run's table of nodes.

    Raises:
        ValueError: If a layer has not every node after every task.
    """
    tasks = nodes["after"].n_unique()
    layers = []
    for (name,), table in nodes.sort("after", "node", maintain_order=True).group_by("layer", maintain_order=True):
        count = table["node"].n_unique()
        if len(table) != tasks * count:
            raise ValueError(f"the table of nodes is damaged: layer {name!r} lacks nodes after some task")
        states = table["state"].to_list()
        rows = [states[start : start + count] for start in range(0, len(states), count)]
        used = table["used"].to_list() if "used" in table.columns else []
        uses = [used[start : start + count] for start in range(0, len(used), count)]
        layers.append(LayerStates(str(name), rows, table["importance"].to_list()[-count:], uses))
    return layers


def node_map(title: str, layers: Sequence[LayerStates], tasks: Sequence[str]) -> NodeMap:
    """The map of one run with at least one layer."""
    largest = max(len(layer.importance) for layer in layers)
    columns = next((width for width in (40, 60, 80) if largest <= 10 * width), 160)
    rows = [[f"{task + 1} {name}", *(layer.counted(task) for layer in layers)] for task, name in enumerate(tasks)]
    head = ["after", *(layer.name for layer in layers)]
    values = Table("Nodes frozen / free / dead after each task", head, rows)
    return NodeMap(title, tasks, columns, _key(len(tasks)), layers, values)


def _dots(nodes: Sequence[int], columns: int) -> str:
    return "".join(f"M{node % columns}.5 {node // columns}.5h0" for node in nodes)


def _key(tasks: int) -> Markup:
    """The colours of all tasks with the numbers that there is room for."""
    side = min(360 / tasks, 30.0)
    root = drawing(28, f"Colours of tasks 1 to {tasks}, from dark to light")
    for task in range(tasks):
        add(root, "rect", x=side * task, y=0, width=side - min(side / 10, 1), height=14, fill=task_colour(task, tasks))
    for number in task_ticks(tasks):
        write(root, side * (number - 0.5), 26, str(number), class_="tick", text_anchor="middle")
    return markup(root)
