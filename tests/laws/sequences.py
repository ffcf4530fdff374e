"""Small networks and task sequences to learn in tests."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW, Optimizer

import agscl
from agscl.methods import Method

TASKS = 4

OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter]], Optimizer]] = {
    "adam": lambda parameters: Adam(parameters, lr=1e-2),
    "adamw with weight decay": lambda parameters: AdamW(parameters, lr=1e-2, weight_decay=0.1),
    "sgd with momentum": lambda parameters: SGD(parameters, lr=1e-2, momentum=0.9),
}


class MLP(nn.Module):
    """Two hidden layers and a head per task on flat inputs."""

    def __init__(self, inputs: int = 12, width: int = 24) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(inputs, width), nn.Linear(width, width)
        self.heads = nn.ModuleList([nn.Linear(width, 2) for _ in range(TASKS)])

    def forward(self, x: Tensor) -> list[Tensor]:
        h = F.relu(self.fc2(F.relu(self.fc1(x.flatten(1)))))
        return [head(h) for head in self.heads]


class InvertedResidual(nn.Module):
    """MobileNetV2's block with squeeze and excitation: expand, filter depthwise, gate, project, add."""

    def __init__(self, channels: int, expanded: int) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(channels, expanded, 1, bias=False), nn.BatchNorm2d(expanded), nn.ReLU6())
        depthwise = nn.Conv2d(expanded, expanded, 3, padding=1, groups=expanded, bias=False)
        self.filter = nn.Sequential(depthwise, nn.BatchNorm2d(expanded), nn.ReLU6())
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(expanded, 4, 1), nn.ReLU(), nn.Conv2d(4, expanded, 1), nn.Hardsigmoid()
        )
        self.project = nn.Sequential(nn.Conv2d(expanded, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        h = self.filter(self.expand(x))
        return x + self.project(h * self.gate(h))


class MobileNet(nn.Module):
    """A MobileNetV2-like network for small images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.blocks = nn.Sequential(InvertedResidual(8, 16), InvertedResidual(8, 16))
        self.last = nn.Sequential(nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.heads = nn.ModuleList([nn.Linear(16, 2) for _ in range(TASKS)])

    def forward(self, x: Tensor) -> list[Tensor]:
        h = self.last(self.blocks(self.stem(x))).mean((2, 3))
        return [head(h) for head in self.heads]


def tasks(shape: tuple[int, ...], samples: int = 48, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Random two-class problems, one per task, each with its own scale and direction."""
    generator = torch.Generator().manual_seed(seed)
    result = []
    for _ in range(TASKS):
        x = torch.randn(samples, *shape, generator=generator)
        direction = torch.randn(shape, generator=generator)
        result.append((x, ((x * direction).flatten(1).sum(1) > 0).long()))
    return result


def learn(
    guard: agscl.Guard,
    model: nn.Module,
    task: int,
    data: tuple[Tensor, Tensor],
    make_optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
    *,
    epochs: int = 6,
    batch: int = 16,
) -> None:
    """Learn one task in a plain loop, then consolidate."""
    x, y = data
    optimizer = make_optimizer(model.parameters())
    model.train()
    with guard.attach(optimizer, steps_per_epoch=math.ceil(len(x) / batch)):
        for _ in range(epochs):
            for start in range(0, len(x), batch):
                optimizer.zero_grad()
                F.cross_entropy(model(x[start : start + batch])[task], y[start : start + batch]).backward()
                optimizer.step()
    guard.consolidate(zip(x.split(batch), y.split(batch), strict=True), lambda b: model(b[0])[task])


def logits(model: nn.Module, task: int, x: Tensor) -> Tensor:
    """A task's logits in eval mode."""
    model.eval()
    with torch.no_grad():
        result: Tensor = model(x)[task]
    return result


def protected(model: nn.Module, method: Method, shape: tuple[int, ...]) -> agscl.Guard:
    """A guard for a model with a list of heads named ``heads``."""
    return agscl.protect(model, method, example_inputs=torch.zeros(2, *shape), heads="heads")
