"""Gated AGS-CL: every task keeps the nodes that it uses, and whatever no task uses together goes on learning.

Not from the paper: AGS-CL (Jung et al., NeurIPS 2020) with the gates of HAT (Serra et al., ICML 2018) on its nodes. It
forgets nothing, like AGS-CL with hard freezing, but holds far less still.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

import torch
from torch import Tensor, nn

from agscl.methods.agscl.importance import average_activation
from agscl.methods.agscl.reinit import check_initialisers, initial_tensors
from agscl.methods.average import WeightAverage
from agscl.methods.freezing import freeze
from agscl.methods.method import (
    Expandable,
    Learned,
    Memory,
    Network,
    RunningTask,
    Step,
    StepHooks,
    Usage,
    check_range,
    restored,
)
from agscl.methods.space import LogUniform, Space, Uniform
from agscl.nodes import Expansion, NodeLayer
from agscl.nodes.slices import gather, lay_out, scatter
from agscl.nodes.surgery.replaced import replace_tensors_in_forward
from agscl.processes import from_first
from agscl.tensors import prefixed, under

from .gates import NodePlaces, frozen_by_each, gated_layers, used_by_any
from .kept import TaskTensors, add_parameters, grow_parameters, require_no_ignored, tasks_in

PREFIX = "node_gain"
"""What the names of the gains' parameters begin with, one a layer."""


@dataclass(frozen=True)
class GatedAGSCL:
    r"""AGS-CL with gates: exact, and plastic for as long as there are weights that no task relies on.

    Every node has a gain that multiplies what leaves it. While a task is learned, all nodes that earlier tasks use are
    there for it, and of the others it keeps a budget: from epoch ``begin`` to epoch ``end`` the least needed new nodes
    are cut, their gain set to 0, first many, then few (the share above the budget falls as :math:`(1-x)^3`). A node is
    needed as much as the product of the norms of its incoming and its outgoing weights and of its gain. A node whose
    average activation on the task's data is 0, AGS-CL's importance (equation 8), is cut when the task is over.

    A learned task keeps its gains, its biases and what else is one-dimensional, norm layers with their statistics
    included; ``guard.use_task(i)`` before task i is answered. A weight is frozen only if one task uses both of its
    ends: then the task's outputs stay what they were, bit for bit. All other weights go on learning, also those into
    nodes of earlier tasks, where they begin at zero: every task starts from intact features. What comes into unused
    nodes is drawn anew by its layer's own initialiser.

    The gains are parameters of the model: make the optimizer after ``protect``. A loop that keeps the best weights of a
    task, or lowers the learning rate on a plateau, does so only while ``guard.settled``, and best of all within
    ``guard.averaged()``: with the average of the weights over about the last epoch, which answers better than they.

    Attributes:
        first: Share of each layer's nodes that the first task may use.
        more: Share of each layer's nodes that every further task may use on top, while there are any.
        begin: The epoch of a task after which new nodes are first cut, from 1.
        end: The epoch after which the budget is reached; a task that ends before keeps more,
            with an `agscl.CapacityWarning`.
        gain: What every gain is when a task begins. Weights act times a gain and are moved by the optimizer as before,
            so that a gain of 2 doubles how fast they learn, as well as the signal, which PyTorch's default
            initialisation lets fade from layer to layer: with :math:`\sqrt6` it would keep its variance (He et al.,
            2015). On CIFAR-100 at 15 epochs, 1.6 is worth about four points, and 3 is too much
            (``docs/gated-ags-cl.md``). Leave it at 1 for a pretrained network, whose features it would change.
        left: Let `more` be a share of those nodes of each layer that no task uses yet, rounded down. Below 1 it never
            takes the last one, so that the number of tasks need not be known.
    """

    name: ClassVar[str] = "gated-ags-cl"
    # the presets have 0.4 and 0.5, 0.055 to 0.15, and 1 and 1.6
    space: ClassVar[Space] = {
        "first": Uniform(0.2, 0.7),
        "more": LogUniform(0.02, 0.3),
        "gain": Uniform(1.0, 2.0),
    }
    first: float = 0.5
    more: float = 0.1
    begin: int = 2
    end: int = 8
    gain: float = 1.0
    left: bool = False

    def __post_init__(self) -> None:
        check_range("first", self.first, low=0, high=1, open_low=True)
        check_range("more", self.more, low=0, high=1)
        check_range("begin", self.begin, low=1)
        check_range("end", self.end, low=self.begin)
        check_range("gain", self.gain, low=0, high=100, open_low=True)

    def protect(self, network: Network) -> GatedNodes:
        """A protection of the network; the model gets the gains as parameters.

        Raises:
            ValueError: If it has some already, or a layer cannot be re-initialised.
        """
        check_initialisers(network.model, network.graph)
        require_no_ignored(network)
        return GatedNodes(self, network)

    def excess(self, epoch: int) -> float:
        """Share of the new nodes above the budget that are still there after an epoch of the task.

        >>> method = GatedAGSCL(begin=2, end=5)
        >>> [round(method.excess(epoch), 2) for epoch in range(1, 7)]
        [1.0, 0.42, 0.12, 0.02, 0.0, 0.0]
        """
        done = (epoch - self.begin + 1) / (self.end - self.begin + 1)
        return (1 - min(max(done, 0.0), 1.0)) ** 3


class GatedNodes(Expandable):
    """Gated AGS-CL on one network. It keeps each learned task's gains and its own small tensors."""

    def __init__(self, method: GatedAGSCL, network: Network) -> None:
        self._method = method
        heads = network.graph.head_parameters
        like = next(iter(network.parameters.values())).detach()
        gains = (like.new_full((layer.num_nodes,), method.gain) for layer in gated_layers(network.graph))
        self._added = add_parameters(network.model, PREFIX, gains)
        self._look_at(network)
        weights = {n for n, p in network.common.items() if p.ndim > 1 and n not in heads}
        self._own = [name for name in (*network.common, *network.buffers) if name not in weights]
        self._gains, self._small = TaskTensors("gain"), TaskTensors("kept")
        self._importance = {name: torch.zeros_like(gain.detach()) for name, gain in self._gain.items()}
        self._shown_nodes: dict[str, Tensor] = {}
        self._begun, self._epoch = torch.tensor(True), -1  # unknown until a task is learned
        self._cut_short: int | None = None  # epochs of the task learned last, if they were too few; not saved
        replaced = sorted({*self._own, *self._places.names})
        replace_tensors_in_forward(network.model, replaced, self._computed, network.graph.users)

    def _look_at(self, network: Network) -> None:
        """Take over a network and the gains that it has."""
        self._network, self._layers = network, gated_layers(network.graph)
        self._gain = {layer.name: p for layer, p in zip(self._layers, self._added.values(), strict=True)}
        self._places = NodePlaces(network.graph, network.state)
        self.average: WeightAverage = WeightAverage({**network.parameters, **self._added})

    @property
    def unsettled(self) -> bool:
        """Whether the task in progress has not reached its budget of nodes."""
        return self._epoch < self._method.end

    @contextmanager
    def holding(self, task: RunningTask) -> Iterator[StepHooks]:
        """Begin with all nodes, and freeze what earlier tasks use together; average once the budget is reached."""
        self._begin(task)
        used = used_by_any(self._uses(), self._gain)
        opened = {name: (gain.detach() != 0).to(gain.dtype) for name, gain in self._gain.items()}
        budgets = {name: self._budget(name, old) for name, old in used.items()}
        self._gains.shown, self._small.shown = {}, {}
        self._epoch = task.first_step // task.steps_per_epoch
        with freeze(self._network, task, self._frozen()) as held:

            def before_step(step: Step) -> None:
                self.average.require_hidden()
                held.before_step(step)

            def after_step(step: Step) -> None:
                held.after_step(step)
                torch._foreach_mul_(list(self._gain.values()), list(opened.values()))

            def after_epoch() -> None:
                self._epoch += 1
                if self._method.begin <= self._epoch <= self._method.end:
                    for layer in self._layers:
                        keep = self._kept_nodes(layer, task.task, used[layer.name], *budgets[layer.name])
                        opened[layer.name].mul_(keep)
                        self._gain[layer.name].mul_(keep)

            def after_all(step: Step) -> None:
                self.average.take(step.number - self._method.end * task.steps_per_epoch, task.steps_per_epoch)

            yield StepHooks(before_step, torch.no_grad()(after_step), torch.no_grad()(after_epoch), after_all)

    def _begin(self, task: RunningTask) -> None:
        """Begin with all nodes, or go on where the task stopped."""
        task.require_held(self._added)
        if not task.first_step:
            self.average.forget()
        if not self._begun:
            with torch.no_grad():
                for gain in self._gain.values():
                    gain.fill_(self._method.gain)
            task.forget(self._gain.values())
            self._begun = torch.tensor(True)

    def _uses(self) -> list[dict[str, Tensor]]:
        """For each learned task, by layer, which nodes it uses: the residual streams always."""
        like = next(iter(self._gain.values()))
        streams = {s.name: like.new_ones(s.num_nodes, dtype=torch.bool) for s in self._network.graph.streams}
        return [{name: gain != 0 for name, gain in gains.items()} | streams for gains in self._gains.kept.values()]

    def _taken(self) -> dict[str, Tensor]:
        """By layer, which nodes a learned task uses."""
        like = next(iter(self._gain.values())).detach()
        streams = {stream.name: like.new_empty(stream.num_nodes) for stream in self._network.graph.streams}
        return used_by_any(self._uses(), {**self._gain, **streams})

    def _budget(self, name: str, used: Tensor) -> tuple[int, int]:
        """How many nodes of a layer no task uses, and how many of them the task may."""
        free, method = int((~used).sum()), self._method
        if free < used.numel() and method.left:
            return free, int(method.more * free)
        share = method.more if self._gains.kept else method.first
        return free, min(free, max(round(share * used.numel()), int(free == used.numel())))

    def _kept_nodes(self, layer: NodeLayer, task: int, used: Tensor, free: int, budget: int) -> Tensor:
        """Which nodes of a layer stay after the epoch: those in use, and the most needed others; 1 or 0 each."""
        count = budget + round(self._method.excess(self._epoch) * (free - budget))
        other_heads = self._network.graph.head_parameters - self._network.graph.head_of(task)
        outgoing = [piece for piece in layer.outgoing if piece.parameter not in other_heads]
        state, gain = self._network.state, self._gain[layer.name]
        norms = (gather(pieces, state).norm(dim=1) for pieces in (layer.incoming, outgoing))
        need = torch.where(used, -1.0, reduce(torch.mul, norms, gain.detach().abs()))
        chosen = torch.zeros_like(need).index_fill_(0, need.topk(count).indices, 1.0)
        return torch.where(used, 1.0, chosen)

    def finish(self, learned: Learned) -> None:
        """Cut the nodes that never fire, keep the task's gains and small tensors, and re-initialise what is free."""
        activation = average_activation(self._network, learned, once=True)
        fresh = initial_tensors(self._network)
        from_first(fresh)
        for name, gain in self._gain.items():
            alive = (activation[name] > 0) & (gain.detach() != 0)
            new = torch.where(alive, activation[name].to(gain.dtype), 0.0)
            self._importance[name] = torch.maximum(self._importance[name], new)
            gain.detach().mul_(alive)
        self._gains.keep(learned.task, {name: gain.detach() for name, gain in self._gain.items()})
        self._small.keep(learned.task, self._small_tensors())
        self._reinitialise(fresh)
        self._cut_short = self._epoch if 0 <= self._epoch < self._method.end else None
        self._begun, self._epoch = torch.tensor(False), -1
        self.average.forget()

    @torch.no_grad()
    def _reinitialise(self, fresh: Mapping[str, Tensor]) -> None:
        """Zero the free weights into nodes in use, and draw what comes into the others."""
        network, frozen = self._network, self._frozen()
        layers, state = network.graph.layers, network.state
        used = self._taken()
        for layer in self._layers:
            pieces = network.trained(layer.incoming)
            rows = gather(pieces, state)
            scatter(pieces, state, torch.where(used[layer.name][:, None], rows, gather(pieces, fresh)))
        weights = {n: p for n, p in network.common.items() if p.ndim > 1 and n in self._places.entering}
        into = lay_out(((p, used[layer.name]) for layer in layers for p in layer.incoming), network.parameters, False)
        for (name, _), rows in into.items():
            if name in weights:
                free = rows if name not in frozen else rows & ~frozen[name]
                weights[name].detach().masked_fill_(free, 0.0)

    def _frozen(self) -> dict[str, Tensor]:
        """Weights whose two ends one and the same task uses, by parameter name; no small tensor is among them."""
        frozen = frozen_by_each(self._network, self._uses())
        return {name: mask for name, mask in frozen.items() if name not in self._own}

    def _small_tensors(self) -> dict[str, Tensor]:
        """The current values of what each task keeps for itself besides its gains."""
        state = self._network.state
        return {name: state[name].detach() for name in self._own}

    def usage(self) -> Usage:
        """Nodes that a learned task uses are taken; weights into them still learn, from nodes of other tasks."""
        uses = {t: {name: gain != 0 for name, gain in gains.items()} for t, gains in self._gains.kept.items()}
        last = uses[list(uses)[-1]] if uses else {}
        idle = [name for name, nodes in last.items() if not nodes.any()]
        taken = self._taken()
        unfinished = (
            ""
            if self._cut_short is None
            else (
                f"ended after epoch {self._cut_short}, before its nodes were cut to the budget "
                f"(end={self._method.end}), and keeps more: take a smaller end, or train longer"
            )
        )
        relief, revival = "a smaller first or more", "a larger first or more"
        return Usage(taken, uses=uses, idle=idle, unfinished=unfinished, relief=relief, revival=revival)

    @property
    def exact(self) -> bool:
        """Each task keeps what it computes with."""
        return True

    @property
    def by_task(self) -> bool:
        """It is: each task has a part of its own."""
        return True

    def use_task(self, task: int) -> None:
        """Answer with a learned task's gains, or go on with the current ones."""
        self._gains.show(task, self._network)
        self._small.show(task, self._network)
        self._shown_nodes = {name: gain != 0 for name, gain in self._gains.shown.items()}

    def expand(self, network: Network, expansion: Expansion, learned: tuple[int, ...]) -> None:
        """No learned task uses the new nodes; a task in progress that has cut already goes on without them."""
        gains = {name: gain.detach() for name, gain in self._gain.items()}
        grown = [expansion.of_nodes(n, gain, self._method.gain * float(gain.all())) for n, gain in gains.items()]
        grow_parameters(network.model, self._added, grown)
        self._look_at(network)
        self._gains.grow(lambda name, gain: expansion.of_nodes(name, gain, 0.0))
        self._small.grow(expansion.grown)
        self._importance = {name: expansion.of_nodes(name, omega, 0.0) for name, omega in self._importance.items()}

    def importance(self) -> dict[str, Tensor]:
        """Largest average activation on a task that uses the node, by layer: ``(num_nodes,)``; 0 where none does."""
        return dict(self._importance)

    def tensors(self) -> dict[str, Tensor]:
        """Gains and small tensors of each learned task, importance; average and whether there is a task in progress."""
        importance = {f"importance.{name}": omega for name, omega in self._importance.items()}
        average = prefixed(average=self.average.tensors())
        return {**self._gains.tensors(), **self._small.tensors(), **importance, **average, "begun": self._begun}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a saved state."""
        tasks = sorted(tasks_in(tensors, "gain"))
        importance = {f"importance.{name}": omega for name, omega in self._importance.items()}
        blanks = {**self._gains.blank(tasks, self._importance), **self._small.blank(tasks, self._small_tensors())}
        average = prefixed(average=self.average.blank(under("average", tensors)))
        state = restored(tensors, {**blanks, **importance, **average, "begun": self._begun})
        self._gains.load(state, tasks)
        self._small.load(state, tasks)
        self._importance = {name: state[f"importance.{name}"] for name in self._importance}
        self._begun = state["begun"]
        self.average.load(under("average", state))

    def memory(self) -> Memory:
        """Gains; on top each task's small tensors."""
        gains = self._gains.num_bytes()
        return Memory(gains, gains + self._small.num_bytes())

    def _computed(self, name: str, module: nn.Module, own: Tensor) -> Tensor:
        """What a module computes with in the place of its own tensor: times gains, nothing of nodes that are cut."""
        shown = self._gains.shown
        tensor = self._small.in_place_of(name, module, own)
        if not shown:
            return self._places.scaled(name, tensor, self._gain)
        return self._places.switched_off(name, self._places.scaled(name, tensor, shown), self._shown_nodes)
