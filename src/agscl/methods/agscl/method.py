"""AGS-CL: adaptive group sparsity, Jung, Ahn, Cha and Moon (NeurIPS 2020), Algorithm 1 on any node graph."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from agscl.methods.digest import digest_of, frozen_tensors, require_unchanged
from agscl.methods.freezing import freeze, freeze_statistics, keep_buffers, zeroing
from agscl.methods.masks import (
    FREE,
    frozen_channels,
    frozen_for_all,
    frozen_into_streams,
    frozen_nodes,
    masked_connections,
    united,
)
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
    num_bytes,
    restored,
)
from agscl.methods.space import LogUniform, OneOf, Space
from agscl.methods.user_frozen import columns_of, require_needed
from agscl.nodes import Expansion
from agscl.nodes.slices import gather, scatter

from .ablations import add_penalty_gradient
from .gates import StreamGates
from .importance import accumulate, average_activation
from .penalty import drift_penalty, sparsity_penalty
from .proximal import attract, shrink
from .reinit import check_initialisers, draw, rand_init, zero_init
from .state import NodeState, penalised


@dataclass(frozen=True)
class AGSCL:
    """Adaptive group sparsity (Jung et al., NeurIPS 2020).

    Attributes:
        mu: Strength of the group Lasso that zeroes nodes which no task needs, term (a) of equation (2).
        lam: Strength of the pull of important nodes to what they learned, term (b); ``inf`` freezes them exactly.
        eta: Discount of past importance, equation (8).
        rho: Probability that an unimportant node is re-initialised after a task, (I.2); 0 is without it.
        proximal: Take the proximal step (7) after every epoch, as in the paper, or after every optimizer step.
            "gradient" is for ablations: it adds the penalty's gradient to the loss's instead, so that nothing
            becomes exactly zero or stays exactly where it was.
        cut: Zero what leaves an unimportant node and keep it zero, (I.1). False is for ablations: earlier tasks then
            change with the nodes that learn later ones.

    >>> AGSCL(mu=10, lam=math.inf).hard
    True
    """

    name: ClassVar[str] = "ags-cl"
    space: ClassVar[Space] = {
        "lam": LogUniform(1.0, 1e4),  # published: 1.5 (CUB-200) to 7000
        "mu": LogUniform(0.5, 50.0),  # 0.5 (CUB-200) to 20
        "rho": OneOf((0.1, 0.2, 0.3, 0.5)),
    }
    mu: float
    lam: float
    eta: float = 0.9
    rho: float = 0.3
    proximal: Literal["epoch", "step", "gradient"] = "epoch"
    cut: bool = True

    def __post_init__(self) -> None:
        check_range("mu", self.mu, low=0)
        check_range("lam", self.lam, low=0)
        check_range("eta", self.eta, low=0, high=1, open_low=True)
        check_range("rho", self.rho, low=0, high=1)
        if self.proximal not in ("epoch", "step", "gradient"):
            raise ValueError(f"proximal must be 'epoch', 'step' or 'gradient', not {self.proximal!r}")
        if math.isinf(self.mu):
            raise ValueError("mu must be finite, not inf: every node would be zero")

    @property
    def hard(self) -> bool:
        """Whether important nodes are frozen exactly."""
        return math.isinf(self.lam)

    def protect(self, network: Network) -> AdaptiveGroupSparsity:
        """A protection of the network, with nothing learned yet.

        Raises:
            ValueError: If a layer cannot be re-initialised although `rho` asks for it.
        """
        if self.rho > 0:
            check_initialisers(network.model, network.graph)
        shared = [head.name for head in network.graph.heads if not head.tasks]
        if self.hard and len(shared) > 1:
            warnings.warn(
                f"lam=inf does not keep old answers here: all tasks share the heads {', '.join(shared)}, which go on "
                "learning; where each is one task's, put them into one ModuleList and name that (heads='heads')",
                stacklevel=4,
            )
        return AdaptiveGroupSparsity(self, network)


class AdaptiveGroupSparsity(Expandable):
    """AGS-CL on one network.

    What it keeps between tasks: importance and the task since which each node is important (both one number a
    node), and, unless freezing is hard, the group vectors of important nodes as anchors.
    """

    def __init__(self, method: AGSCL, network: Network) -> None:
        self._method, self._network = method, network
        self._state = NodeState(network)
        self._gates = StreamGates(network)
        self._digest = torch.zeros(32, dtype=torch.uint8)
        self._idle: list[str] = []  # of the last `finish`; not saved

    @contextmanager
    def holding(self, task: RunningTask) -> Iterator[StepHooks]:
        """Learn a task: freeze, keep masked connections at zero, and take the proximal step (5) after every epoch."""
        self.require_intact(task.learned)
        method, network, important = self._method, self._network, self._state.important()
        masks = frozen_for_all(network) if task.learned else {}
        masks = united(masks, (frozen_nodes if method.hard else frozen_into_streams)(network, important))
        masked = masked_connections(network, self._state.since) if method.cut and not method.hard else {}
        mask_connections = zeroing(network, masked)
        channels = frozen_channels(network, important, task.learned)
        statistics = freeze_statistics(network.model, channels)
        self._gates.show(None, self._state.since)
        with keep_buffers(network, task), freeze(network, task, masks) as held, statistics:

            def before_step(step: Step) -> None:
                if method.proximal == "gradient":
                    add_penalty_gradient(network, self._state, method.mu, method.lam, step.scale)
                held.before_step(step)

            def after_step(step: Step) -> None:
                held.after_step(step)
                mask_connections()

            def after_all(step: Step) -> None:
                if method.proximal == "step":
                    self._take_proximal_step(task)

            def after_epoch() -> None:
                if method.proximal == "epoch":
                    self._take_proximal_step(task)

            yield StepHooks(before_step, after_step, after_epoch, after_all)

    @torch.no_grad()
    def _take_proximal_step(self, task: RunningTask) -> None:
        """Equation (7): free nodes shrink, important ones are attracted (or, frozen hard, stay); streams do neither."""
        parameters, rates = self._network.parameters, task.rates(self._network.parameters)
        for layer in penalised(self._network):
            trained = self._network.trained(layer.incoming)
            rate = next((rates[piece.parameter] for piece in trained if piece.parameter in rates), None)
            if rate is not None:
                rows, omega = gather(trained, parameters), self._state.importance[layer.name]
                important = omega > 0
                result = torch.where(important[:, None], rows, shrink(rows, rate * self._method.mu))
                if not self._method.hard:
                    threshold = rate * self._method.lam * omega[important]
                    anchors = columns_of(trained, layer.incoming, self._state.anchors[layer.name], parameters)
                    result[important] = attract(rows[important], anchors, threshold).to(rows.dtype)
                scatter(trained, parameters, result)

    def finish(self, learned: Learned) -> None:
        """Update importance (8), then re-initialise: first (I.1), then (I.2)."""
        self.require_intact(learned.tasks[:-1])
        method, network, state = self._method, self._network, self._state
        activations = average_activation(network, learned)
        self._idle = [name for name, activation in activations.items() if not activation.any()]
        require_needed(network, activations, state.important(), learned)
        for stream in network.graph.streams:  # every task uses it
            activations[stream.name].clamp_min_(torch.finfo(activations[stream.name].dtype).tiny)
        drawn = draw(network, method.rho)  # what can fail is behind us: from here on the network changes
        for name, activation in activations.items():
            state.importance[name] = omega = accumulate(state.importance[name], activation, method.eta)
            state.since[name][(omega > 0) & (state.since[name] == FREE)] = len(learned.tasks)
        if method.cut:
            zero_init(network, state.free(), learned.task)
        rand_init(network, state.free(), method.rho, drawn)
        if not method.hard:
            important = state.important()
            for layer in penalised(network):
                state.anchors[layer.name] = gather(layer.incoming, network.state)[important[layer.name]]
        self._gates.order = list(learned.tasks)
        self._gates.show(None, state.since)
        self._digest = digest_of(self._promised(learned.tasks)) if method.hard else self._digest

    @torch.no_grad()
    def penalty(self) -> Tensor:
        """Terms (a) and (b) of equation (2) at the current weights, shape ``()``; hard-frozen nodes cannot drift."""
        terms = []
        for layer in penalised(self._network):
            trained, parameters = self._network.trained(layer.incoming), self._network.parameters
            if not trained:
                continue
            rows, omega = gather(trained, parameters), self._state.importance[layer.name]
            terms.append(sparsity_penalty(rows[omega == 0], self._method.mu))
            if not self._method.hard:
                anchor = columns_of(trained, layer.incoming, self._state.anchors[layer.name], parameters)
                terms.append(drift_penalty(rows[omega > 0], anchor, omega[omega > 0], self._method.lam))
        return torch.stack(terms).sum() if terms else torch.zeros(())

    @property
    def exact(self) -> bool:
        """With hard freezing, the cut, and a head for each task."""
        return self._method.hard and self._method.cut and self._network.graph.num_tasks is not None

    def importance(self) -> dict[str, Tensor]:
        """Omega of equation (8) by layer, each of shape ``(num_nodes,)``."""
        return dict(self._state.importance)

    def usage(self) -> Usage:
        """Important nodes are taken."""
        return Usage(self._state.important(), idle=self._idle, relief="a larger mu", revival="a smaller mu")

    def unpenalised_nodes(self) -> dict[str, Tensor]:
        """Unimportant nodes: the proximal step leaves zeros at zero."""
        return self._of_nodes(self._state.free())

    def frozen_nodes(self) -> dict[str, Tensor]:
        """Important nodes, if freezing is hard."""
        return self._of_nodes(self._state.important()) if self._method.hard else {}

    def _of_nodes(self, chosen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The chosen nodes but for the streams, into which weights go on learning."""
        streams = {layer.name for layer in self._network.graph.streams}
        return {name: nodes & (name not in streams) for name, nodes in chosen.items()}

    def show_all(self) -> None:
        """Answer with all nodes."""
        self._gates.show(None, self._state.since)

    @property
    def by_task(self) -> bool:
        """It is where nodes that write into a stream are gated off."""
        return bool(self._network.graph.streams)

    def use_task(self, task: int) -> None:
        """Answer a learned task without the nodes that became important after it, where they share a stream."""
        self._gates.show(task, self._state.since)

    def require_intact(self, learned: tuple[int, ...]) -> None:
        """Refuse a network whose frozen weights have changed; without hard freezing nothing is promised."""
        if learned and self._method.hard:
            require_unchanged(self._digest, self._promised(learned))

    def _promised(self, tasks: tuple[int, ...]) -> list[Tensor]:
        """All that must not move, with hard freezing."""
        return frozen_tensors(self._network, self._state.important(), tasks)

    def expand(self, network: Network, expansion: Expansion, learned: tuple[int, ...]) -> None:
        """New nodes are unimportant."""
        self._state.grow(self._network, expansion)
        self._network = network
        self._gates.adapt(network)
        self._digest = digest_of(self._promised(learned)) if learned and self._method.hard else self._digest

    def tensors(self) -> dict[str, Tensor]:
        """Importance, age and anchors by layer, and the digest of what is frozen."""
        return {**self._state.tensors(), **self._gates.tensors(), "digest": self._digest}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a saved state."""
        expected = self._state.blank(tensors, anchored=not self._method.hard)
        state = restored(tensors, {**expected, **self._gates.blank(tensors), "digest": self._digest})
        self._state.load(state)
        self._gates.load(state)
        self._digest = state["digest"]

    def memory(self) -> Memory:
        """Importance is the regularization parameter; ages and anchors come on top."""
        return Memory(num_bytes(self._state.importance.values()), num_bytes(self.tensors().values()))
