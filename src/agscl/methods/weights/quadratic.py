"""One quadratic engine for EWC, SI, RWalk and MAS: importance, anchor, and the penalty's gradient in closed form.

The penalty never enters the loss: its gradient is added to the task's before each step, so a method can read the
clean gradient first, and no autograd graph is built for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from agscl.methods.freezing import freeze
from agscl.methods.method import Memory, Network, RunningTask, Step, StepHooks, Usage, num_bytes
from agscl.tensors import prefixed, under


class QuadraticPenalty:
    r"""The penalty :math:`s \left(\sum_i A_i (w_i - w^*_i)^2 + c\right)` on the weights that tasks have in common.

    A sum of penalties with anchors of their own, :math:`\sum_t F_t (w - w_t)^2`, has this form too, with
    :math:`A = \sum_t F_t`, :math:`w^* = \sum_t F_t w_t / A` and a constant: it is kept exactly, in the memory of one.
    Heads that serve one finished task are taken out of training instead. Running statistics of norm layers are not
    weights: as in the papers, they go on learning.

    Args:
        network: The network.
        strength: The factor s; ``inf`` freezes weights of positive importance exactly, whatever the optimizer.

    Attributes:
        importance: Importance of every penalised weight, by parameter name; empty before the first task is learned.
    """

    def __init__(self, network: Network, strength: float) -> None:
        self._network, self._strength = network, strength
        self.importance: dict[str, Tensor] = {}
        self._anchor: dict[str, Tensor] = {}
        self._constant = torch.zeros((), dtype=torch.float64)

    @contextmanager
    def holding(self, task: RunningTask) -> Iterator[StepHooks]:
        """Add the penalty's gradient to the task's before each step; with ``strength=inf`` freeze instead."""
        hard = math.isinf(self._strength)
        masks = {name: important > 0 for name, important in self.importance.items()} if hard else {}
        with freeze(self._network, task, {n: mask for n, mask in masks.items() if mask.any()}) as held:

            def before_step(step: Step) -> None:
                held.before_step(step)
                if 0 < self._strength < math.inf:
                    self._add_gradient(step.scale)

            yield StepHooks(before_step, held.after_step)

    def _add_gradient(self, scale: float | Tensor) -> None:
        parameters = {name: self._network.parameters[name] for name in self.importance}
        grads = {name: p.grad for name, p in parameters.items() if p.grad is not None}
        if not grads:
            return
        away = torch._foreach_sub([parameters[n].detach() for n in grads], [self._anchor[n] for n in grads])
        torch._foreach_mul_(away, [self.importance[n] for n in grads])
        if isinstance(scale, Tensor):
            torch._foreach_mul_(away, scale)
        factor = 2 * self._strength * (1.0 if isinstance(scale, Tensor) else scale)
        torch._foreach_add_(list(grads.values()), away, alpha=factor)

    @torch.no_grad()
    def value(self) -> Tensor:
        """The penalty at the current weights, float64, shape ``()``."""
        total = self._constant.clone()
        for name, importance in self.importance.items():
            away = self._network.parameters[name].detach() - self._anchor[name]
            total += (importance.double() * away.double().square()).sum().to(total.device)
        return self._strength * total if total != 0 else total

    def add(self, importance: Mapping[str, Tensor]) -> None:
        """Add a penalty with the current weights as its anchor to those that are there."""
        for name, new in importance.items():
            weight = self._network.parameters[name].detach()
            old = self.importance.get(name, torch.zeros_like(new))
            anchor = self._anchor.get(name, weight)
            total = old + new
            share = torch.where(total > 0, new / total, 1.0)
            apart = (weight - anchor).double().square()
            self._constant += (old.double() * share.double() * apart).sum().to(self._constant.device)
            self.importance[name], self._anchor[name] = total, torch.lerp(anchor, weight, share)

    def replace(self, importance: Mapping[str, Tensor]) -> None:
        """Make this importance and the current weights the only ones."""
        self.importance = dict(importance)
        self._anchor = {name: self._network.parameters[name].detach().clone() for name in importance}

    def usage(self) -> Usage | None:
        """With ``strength=inf``, weights of positive importance are taken; else every weight goes on learning."""
        if not math.isinf(self._strength):
            return None
        none = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in self._network.common.items()}
        taken = {name: importance > 0 for name, importance in self.importance.items()}
        return Usage(none | taken, "weights", relief="a finite strength")

    def tensors(self) -> dict[str, Tensor]:
        """The whole state by name."""
        return {**prefixed(importance=self.importance, anchor=self._anchor), "constant": self._constant}

    def blank(self, names: Iterable[str]) -> dict[str, Tensor]:
        """What a state that holds these names must look like, for `restored`."""
        saved = set(names)
        known = {name: p for name, p in self._network.common.items() if f"importance.{name}" in saved}
        return {**prefixed(importance=known, anchor=known), "constant": self._constant}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a state that fits."""
        self.importance, self._anchor = under("importance", tensors), under("anchor", tensors)
        self._constant = tensors["constant"]

    def memory(self) -> Memory:
        """Importance is the regularization parameter; the anchor comes on top."""
        importance = num_bytes(self.importance.values())
        return Memory(importance, importance + num_bytes(self._anchor.values()))


def require_finite(importance: Mapping[str, Tensor]) -> None:
    """Refuse an importance that is not finite.

    Raises:
        ValueError: If a value is NaN or infinite; the message names the parameter.
    """
    for name, values in importance.items():
        if not values.isfinite().all():
            raise ValueError(f"the importance of {name!r} is not finite: the task has diverged")
