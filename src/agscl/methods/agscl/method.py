"""AGS-CL: adaptive group sparsity, Jung, Ahn, Cha and Moon (NeurIPS 2020), Algorithm 1 on any node graph."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from agscl.methods.freezing import Freeze, Restoration
from agscl.methods.frozen_statistics import FrozenStatistics
from agscl.methods.masks import FREE, frozen_channels, frozen_for_all, frozen_nodes, severed_connections
from agscl.methods.method import (
    Learned,
    Memory,
    Network,
    Protection,
    Step,
    Training,
    check_range,
    num_bytes,
    same_shapes,
)
from agscl.nodes import Expansion, NodeLayer
from agscl.nodes.slices import gather, scatter

from .growth import grown_anchor
from .importance import accumulate, average_activation
from .penalty import drift_penalty, sparsity_penalty
from .proximal import attract, shrink
from .reinit import check_initialisers, rand_init, zero_init


@dataclass(frozen=True)
class AGSCL:
    """Adaptive group sparsity (Jung et al., NeurIPS 2020).

    Attributes:
        mu: Strength of the group Lasso that zeroes nodes which no task needs, term (a) of equation (2).
        lam: Strength of the pull of important nodes to what they learned, term (b); ``inf`` freezes them exactly.
        eta: Discount of past importance, equation (8).
        rho: Probability that an unimportant node is drawn anew after a task, (I.2); 0 is without it.
        proximal: Take the proximal step (7) after every epoch, as in the paper, or after every optimizer step.
            "gradient" is for ablations: it adds the penalty's gradient to the loss's instead, so that nothing
            becomes exactly zero or stays exactly where it was.
        cut: Zero what leaves an unimportant node and keep it zero, (I.1). False is for ablations: earlier tasks then
            change with the nodes that learn later ones.
    """

    name: ClassVar[str] = "ags-cl"
    mu: float
    lam: float
    eta: float = 0.9
    rho: float = 0.3
    proximal: Literal["epoch", "step", "gradient"] = "epoch"
    cut: bool = True

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
            ValueError: If a value is out of range; the message says which range.
        """
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
            ValueError: If a layer cannot be drawn anew although `rho` asks for it.
        """
        if self.rho > 0:
            check_initialisers(network.model, network.graph)
        return AdaptiveGroupSparsity(self, network)


class AdaptiveGroupSparsity(Protection):
    """AGS-CL on one network.

    What it keeps between tasks: importance and the task since which each node is important (both one number a
    node), and, unless freezing is hard, the group vectors of important nodes as anchors.
    """

    def __init__(self, method: AGSCL, network: Network) -> None:
        self._method, self._network = method, network
        layers = network.graph.layers
        device = {layer.name: layer.incoming[0].index.device for layer in layers}
        self._importance = {layer.name: torch.zeros(layer.num_nodes, device=device[layer.name]) for layer in layers}
        self._since = {
            name: torch.full_like(omega, FREE, dtype=torch.int64) for name, omega in self._importance.items()
        }
        self._anchors = {layer.name: gather(layer.incoming, network.state)[:0] for layer in layers}
        self._digest = torch.zeros(32, dtype=torch.uint8)

    def begin(self, training: Training) -> None:
        """Lay out masks and anchors for one task.

        Raises:
            ValueError: If frozen weights changed since the last task was taken over.
        """
        self._check_digest(training.learned)
        network, important = self._network, self._important()
        frozen = frozen_for_all(network) if training.learned else {}
        frozen |= frozen_nodes(network, important) if self._method.hard else {}
        severs = self._method.cut and not self._method.hard
        severed = severed_connections(network, self._since) if severs else {}
        self._freeze = Freeze(network, training, frozen)
        self._sever = Restoration(network, severed, to_zero=True)
        self._norms = FrozenStatistics(network.model, frozen_channels(network, important, training.learned))
        self._training = training

    def before_step(self, step: Step) -> None:
        """Frozen weights get no gradient."""
        if self._method.proximal == "gradient":
            self._add_gradient(step.scale)
        self._freeze.before_step()

    def after_step(self, step: Step) -> None:
        """Frozen weights stay, severed connections stay zero."""
        self._freeze.after_step()
        self._sever.apply()
        if self._method.proximal == "step":
            self._take_proximal_step()

    def after_epoch(self) -> None:
        """The proximal step (5), as the paper takes it."""
        if self._method.proximal == "epoch":
            self._take_proximal_step()

    def end(self) -> None:
        """Give the model back as it was."""
        self._freeze.end()
        self._norms.release()
        del self._freeze, self._sever, self._norms, self._training

    def finish(self, learned: Learned) -> None:
        """Update importance (8), then re-initialise: first (I.1), then (I.2).

        Raises:
            ValueError: If there is no data, an activation is not finite, or frozen weights have changed.
        """
        self._check_digest(learned.tasks[:-1])
        activation = average_activation(self._network, learned)
        for name, mean in activation.items():
            if not mean.isfinite().all():
                raise ValueError(f"the activations of {name!r} are not finite: the task has diverged")
        self._importance = {
            n: accumulate(self._importance[n], mean, self._method.eta) for n, mean in activation.items()
        }
        for name, omega in self._importance.items():
            self._since[name][(omega > 0) & (self._since[name] == FREE)] = len(learned.tasks)
        free = {name: omega == 0 for name, omega in self._importance.items()}
        if self._method.cut:
            zero_init(self._network, free, learned.task)
        rand_init(self._network, free, self._method.rho)
        if not self._method.hard:
            self._anchors = {layer.name: self._important_rows(layer) for layer in self._network.graph.layers}
        self._digest = self._digest_of_frozen(learned.tasks)

    @torch.no_grad()
    def penalty(self) -> Tensor:
        """Terms (a) and (b) of equation (2) at the present weights, shape ``()``; hard-frozen nodes cannot drift."""
        terms = []
        for layer in self._network.graph.layers:
            rows, omega = gather(layer.incoming, self._network.parameters), self._importance[layer.name]
            terms.append(sparsity_penalty(rows[omega == 0], self._method.mu))
            if not self._method.hard:
                anchor, rows, omega = self._anchors[layer.name], rows[omega > 0], omega[omega > 0]
                terms.append(drift_penalty(rows, anchor, omega, self._method.lam))
        return torch.stack(terms).sum()

    def importance(self) -> dict[str, Tensor]:
        """Omega of equation (8) by layer, each of shape ``(num_nodes,)``."""
        return dict(self._importance)

    def require_expandable(self, learned: tuple[int, ...]) -> None:
        """New nodes are welcome.

        Raises:
            ValueError: If frozen weights have changed.
        """
        self._check_digest(learned)

    def expand(self, network: Network, expansion: Expansion, learned: tuple[int, ...]) -> None:
        """New nodes are unimportant; anchors of what could read them get zeros."""
        for layer in self._network.graph.layers:
            anchor, omega = self._anchors[layer.name], self._importance[layer.name]
            important = (omega > 0) & (not self._method.hard)
            self._anchors[layer.name] = grown_anchor(self._network, layer, anchor, important, expansion)
        name = expansion.layer
        count = expansion.num_new
        self._importance[name] = torch.cat([self._importance[name], self._importance[name].new_zeros(count)])
        self._since[name] = torch.cat([self._since[name], self._since[name].new_full((count,), FREE)])
        self._network = network
        self._digest = self._digest_of_frozen(learned) if learned else self._digest

    def left_alone(self) -> dict[str, Tensor]:
        """Unimportant nodes: the proximal step leaves zeros at zero."""
        return {name: ~important for name, important in self._important().items()}

    def frozen(self) -> dict[str, Tensor]:
        """Important nodes, if freezing is hard."""
        return self._important() if self._method.hard else {}

    def tensors(self) -> dict[str, Tensor]:
        """Importance, age and anchors by layer, and the digest of what is frozen."""
        books = {"importance": self._importance, "since": self._since, "anchor": self._anchors}
        state = {f"{book}.{name}": tensor for book, tensors in books.items() for name, tensor in tensors.items()}
        return {**state, "digest": self._digest}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a saved state.

        Raises:
            ValueError: If a tensor does not fit.
        """
        same_shapes(tensors, {**self.tensors(), **self._anchors_for(tensors)})
        for name, omega in self._importance.items():
            self._importance[name] = tensors[f"importance.{name}"].to(omega, copy=True)
            self._since[name] = tensors[f"since.{name}"].to(self._since[name], copy=True)
            self._anchors[name] = tensors[f"anchor.{name}"].to(self._anchors[name], copy=True)
        self._digest = tensors["digest"].clone()

    def memory(self) -> Memory:
        """Importance is the regularization parameter; ages and anchors come on top."""
        return Memory(num_bytes(self._importance.values()), num_bytes(self.tensors().values()))

    @torch.no_grad()
    def _take_proximal_step(self) -> None:
        rates = self._training.rates(self._network.parameters)
        for layer in self._network.graph.layers:
            rate = next((rates[p.parameter] for p in layer.incoming if p.parameter in rates), None)
            if rate is not None:
                rows = gather(layer.incoming, self._network.parameters)
                scatter(layer.incoming, self._network.parameters, self._proximal(layer.name, rows, rate))

    def _proximal(self, name: str, rows: Tensor, rate: float) -> Tensor:
        """Equation (7): free nodes shrink, important ones are attracted (or, frozen hard, stay)."""
        important = self._importance[name] > 0
        result = torch.where(important[:, None], rows, shrink(rows, rate * self._method.mu))
        if not self._method.hard:
            threshold = rate * self._method.lam * self._importance[name][important]
            result[important] = attract(rows[important], self._anchors[name], threshold)
        return result

    def _add_gradient(self, scale: float | Tensor) -> None:
        """Add the gradient of both penalties to the loss's."""
        parameters = self._network.parameters
        for layer in self._network.graph.layers:
            grads = {piece.parameter: _gradient(parameters[piece.parameter]) for piece in layer.incoming}
            pull = self._pull(layer.name, gather(layer.incoming, parameters))
            scatter(layer.incoming, grads, gather(layer.incoming, grads) + scale * pull)

    def _pull(self, name: str, rows: Tensor) -> Tensor:
        """Gradient of equation (2)'s penalties by group vector; 0 where they have none, at zero and at the anchor."""
        important = self._importance[name] > 0
        pull = self._method.mu * normalize(rows, dim=1)
        pull[important] = 0.0
        if not self._method.hard:
            strength = self._method.lam * self._importance[name][important]
            pull[important] = strength[:, None] * normalize(rows[important] - self._anchors[name], dim=1)
        return pull

    def _important(self) -> dict[str, Tensor]:
        return {name: omega > 0 for name, omega in self._importance.items()}

    def _important_rows(self, layer: NodeLayer) -> Tensor:
        return gather(layer.incoming, self._network.state)[self._importance[layer.name] > 0]

    def _anchors_for(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What anchors must look like for the importance in a saved state."""
        shapes: dict[str, Tensor] = {}
        for name, anchor in self._anchors.items():
            omega = tensors.get(f"importance.{name}", self._importance[name])
            rows = 0 if self._method.hard else int((omega > 0).sum())
            shapes[f"anchor.{name}"] = anchor.new_empty(rows, anchor.shape[1])
        return shapes

    def _check_digest(self, learned: tuple[int, ...]) -> None:
        if learned and not torch.equal(self._digest, self._digest_of_frozen(learned)):
            raise ValueError(
                "weights or running statistics that earlier tasks rely on were changed outside attach(); load the "
                "weights that belong to this guard's state, or protect the model anew"
            )

    def _digest_of_frozen(self, tasks: tuple[int, ...]) -> Tensor:
        """SHA-256 of all that hard freezing promises not to move; zeros if nothing is promised."""
        if not self._method.hard:
            return torch.zeros(32, dtype=torch.uint8)
        network = self._network
        names = sorted(network.graph.own_heads(tasks) | set(network.graph.shared))
        rows = [gather(layer.incoming + layer.statistics, network.state) for layer in network.graph.layers]
        frozen = [found[omega > 0] for found, omega in zip(rows, self._importance.values(), strict=True)]
        digest = hashlib.sha256()
        for tensor in [*frozen, *(network.state[name].detach() for name in names)]:
            digest.update(tensor.cpu().flatten().view(torch.uint8).numpy().tobytes())
        return torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)


def _gradient(parameter: nn.Parameter) -> Tensor:
    """The gradient itself, or zeros that go nowhere for a parameter without one."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
