"""The quadratic methods written the long way: penalties in the loss, samples one at a time, nothing shared.

Heads belong to one task each and are left out, since nothing trains them once their task is over.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Weights = dict[str, Tensor]


def trunk(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if not name.startswith("heads")}


def copied(model: nn.Module) -> Weights:
    return {name: p.detach().clone() for name, p in trunk(model).items()}


def one_at_a_time(model: nn.Module, task: int, x: Tensor, value: Callable[[Tensor, int], Tensor]) -> list[Weights]:
    """The gradient of ``value(logits, sample)`` for each sample alone."""
    model.eval()
    found = []
    for sample in range(len(x)):
        model.zero_grad()
        value(model(x[sample : sample + 1])[task], sample).backward()
        found.append({n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in trunk(model).items()})
    model.zero_grad()
    model.train()
    return found


class Reference:
    """No penalty."""

    def penalty(self, model: nn.Module) -> Tensor:
        return torch.zeros((), dtype=torch.float64)

    def begin(self, model: nn.Module) -> None:
        pass

    def observe(self, model: nn.Module, gradient: Weights, before: Weights) -> None:
        pass

    def finish(self, model: nn.Module, task: int, x: Tensor, y: Tensor) -> None:
        pass


class EWC(Reference):
    """A list of penalties, one a task; or one with decay, or one with the mean importance."""

    def __init__(self, lam: float, mode: str = "separate", decay: float = 1.0) -> None:
        self.lam, self.mode, self.decay = lam, mode, decay
        self.terms: list[tuple[Weights, Weights]] = []

    def penalty(self, model: nn.Module) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for fisher, anchor in self.terms:
            for name, p in trunk(model).items():
                total = total + self.lam / 2 * (fisher[name] * (p - anchor[name]) ** 2).sum()
        return total

    def fisher(self, model: nn.Module, task: int, x: Tensor, y: Tensor) -> Weights:
        grads = one_at_a_time(model, task, x, lambda logits, i: -logits.log_softmax(1)[0, y[i]])
        return {name: sum(g[name] ** 2 for g in grads) / len(x) for name in trunk(model)}

    def finish(self, model: nn.Module, task: int, x: Tensor, y: Tensor) -> None:
        new = self.fisher(model, task, x, y)
        if self.mode == "separate":
            self.terms.append((new, copied(model)))
            return
        old = self.terms[0][0] if self.terms else {name: torch.zeros_like(f) for name, f in new.items()}
        if self.mode == "online":
            merged = {name: self.decay * old[name] + f for name, f in new.items()}
        else:
            merged = {name: (old[name] * task + f) / (task + 1) for name, f in new.items()}
        self.terms = [(merged, copied(model))]

    def importance(self) -> Weights:
        return {name: sum(fisher[name] for fisher, _ in self.terms) for name in self.terms[0][0]}


class LastAnchor(Reference):
    """Penalties of the form ``lam * sum(importance * (w - last)**2)``."""

    def __init__(self, lam: float) -> None:
        self.lam = lam
        self.omega: Weights = {}
        self.last: Weights = {}

    def penalty(self, model: nn.Module) -> Tensor:
        weights = trunk(model)
        parts = [(omega * (weights[n] - self.last[n]) ** 2).sum() for n, omega in self.omega.items()]
        return self.lam * sum(parts, torch.zeros((), dtype=torch.float64))

    def importance(self) -> Weights:
        return self.omega


class MAS(LastAnchor):
    def finish(self, model: nn.Module, task: int, x: Tensor, y: Tensor) -> None:
        grads = one_at_a_time(model, task, x, lambda logits, i: (logits**2).sum())
        for name in trunk(model):
            new = sum(g[name].abs() for g in grads) / len(x)
            self.omega[name] = self.omega.get(name, 0.0) + new
        self.last = copied(model)


class SI(LastAnchor):
    def __init__(self, c: float, xi: float = 0.1) -> None:
        super().__init__(c)
        self.xi = xi

    def begin(self, model: nn.Module) -> None:
        self.start = copied(model)
        self.path = {name: torch.zeros_like(p) for name, p in self.start.items()}

    def observe(self, model: nn.Module, gradient: Weights, before: Weights) -> None:
        for name, p in copied(model).items():
            self.path[name] -= gradient[name] * (p - before[name])

    def finish(self, model: nn.Module, task: int, x: Tensor, y: Tensor) -> None:
        for name, p in copied(model).items():
            new = self.path[name].clamp(min=0) / ((p - self.start[name]) ** 2 + self.xi)
            self.omega[name] = self.omega.get(name, 0.0) + new
        self.last = copied(model)


class RWalk(LastAnchor):
    def __init__(self, lam: float, alpha: float = 0.9, interval: int = 10, epsilon: float = 1e-7) -> None:
        super().__init__(lam)
        self.alpha, self.interval, self.epsilon = alpha, interval, epsilon
        self.fisher: Weights = {}
        self.score: Weights = {}

    def begin(self, model: nn.Module) -> None:
        self.origin = copied(model)
        self.saved = {name: torch.zeros_like(p) for name, p in self.origin.items()}
        self.total = {name: torch.zeros_like(p) for name, p in self.origin.items()}
        self.steps = 0

    def observe(self, model: nn.Module, gradient: Weights, before: Weights) -> None:
        for name, p in copied(model).items():
            self.saved[name] -= gradient[name] * (p - before[name])
            old = self.fisher.get(name, torch.zeros_like(p))
            self.fisher[name] = self.alpha * gradient[name] ** 2 + (1 - self.alpha) * old
        self.steps += 1
        if self.steps % self.interval == 0:
            self.update(model)

    def update(self, model: nn.Module) -> None:
        for name, p in copied(model).items():
            divergence = self.fisher[name] * (p - self.origin[name]) ** 2 / 2
            self.total[name] += (self.saved[name] / (divergence + self.epsilon)).clamp(min=0)
        self.origin = copied(model)
        self.saved = {name: torch.zeros_like(p) for name, p in self.origin.items()}

    def finish(self, model: nn.Module, task: int, x: Tensor, y: Tensor) -> None:
        self.update(model)
        new = unit_interval(self.total)
        self.score = {n: (self.score[n] + s) / 2 if task else s for n, s in new.items()}
        fisher = unit_interval(self.fisher)
        self.omega = {name: fisher[name] + self.score[name] for name in fisher}
        self.last = copied(model)


def unit_interval(values: Weights) -> Weights:
    everything = torch.cat([v.flatten() for v in values.values()])
    low, high = everything.min(), everything.max()
    return {name: (v - low) / (high - low) for name, v in values.items()}


def learn(
    model: nn.Module,
    reference: Reference,
    task: int,
    data: tuple[Tensor, Tensor],
    make_optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
    *,
    epochs: int = 3,
    batch: int = 8,
) -> tuple[list[Weights], Tensor]:
    """Learn a task with the penalty in the loss; returns the trunk's gradients of every step, and the last penalty."""
    x, y = data
    optimizer, gradients = make_optimizer(model.parameters()), []
    reference.begin(model)
    model.train()
    for _ in range(epochs):
        for part in torch.arange(len(x)).split(batch):
            weights = trunk(model)
            loss = F.cross_entropy(model(x[part])[task], y[part])
            clean = dict(
                zip(weights, torch.autograd.grad(loss, list(weights.values()), retain_graph=True), strict=True)
            )
            optimizer.zero_grad()
            (loss + reference.penalty(model)).backward()
            gradients.append({name: p.grad.clone() for name, p in weights.items() if p.grad is not None})
            before = copied(model)
            optimizer.step()
            reference.observe(model, clean, before)
    penalty = reference.penalty(model).detach()
    reference.finish(model, task, x, y)
    return gradients, penalty
