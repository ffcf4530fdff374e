"""Transformers with a head for each of three tasks, learned one after the other."""

import copy
from collections.abc import Sequence

import torch
import transformers as hf
from torch import Tensor, nn
from torch.nn import functional as F

import agscl
from agscl.methods.method import Method

from .encoders import logits

Task = tuple[Tensor, Tensor]
"""Examples and their labels."""


class Heads(nn.Module):
    """A trunk with a head for each of three tasks."""

    def __init__(self, trunk: nn.Module, width: int, classes: Sequence[int] = (3, 3, 4)) -> None:
        super().__init__()
        self.trunk = trunk
        self.heads = nn.ModuleList(nn.Linear(width, number) for number in classes)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = self.trunk(x)
        if isinstance(self.trunk, hf.PreTrainedModel):
            features = features.last_hidden_state.mean(1)
        return [head(features) for head in self.heads]


def learn(net: nn.Module, optimizer: torch.optim.Optimizer, task: int, data: Task, epochs: int) -> None:
    net.train()
    generator = torch.Generator().manual_seed(task)
    for _ in range(epochs):
        for batch in torch.randperm(len(data[0]), generator=generator).split(32):
            optimizer.zero_grad()
            F.cross_entropy(net(data[0][batch])[task], data[1][batch]).backward()
            optimizer.step()


def accuracy(answers: Tensor, y: Tensor) -> float:
    return float((answers.argmax(1) == y).float().mean())


def accuracies(
    net: nn.Module, method: Method, tasks: list[tuple[Task, Task]], epochs: int
) -> tuple[list[float], nn.Module]:
    """Test accuracy on each task when it was learned, and the net after the first one.

    Every earlier task must keep its logits, bit for bit.
    """
    guard = agscl.protect(net, method, example_inputs=tasks[0][0][0][:2], heads="heads")
    kept, reached, first = [], [], net
    for task, (train, (x, y)) in enumerate(tasks):
        optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
        with guard.attach(optimizer, steps_per_epoch=-(-len(train[0]) // 32)):
            learn(net, optimizer, task, train, epochs)
        guard.consolidate([train[0]], predict=lambda batch, task=task: net(batch)[task])
        guard.use_task(task)
        kept.append(logits(net, task, x))
        reached.append(accuracy(kept[-1], y))
        first = copy.deepcopy(net) if task == 0 else first
        for earlier, answers in enumerate(kept):
            guard.use_task(earlier)
            assert torch.equal(logits(net, earlier, tasks[earlier][1][0]), answers)
        if task + 1 < len(tasks):
            guard.use_task(task + 1)
    return reached, first


def on_frozen_trunk(net: nn.Module, tasks: list[tuple[Task, Task]], epochs: int) -> list[float]:
    """Test accuracy of the later tasks where their heads alone learn."""
    reached = []
    for task, (train, (x, y)) in list(enumerate(tasks))[1:]:
        optimizer = torch.optim.Adam(net.heads[task].parameters(), lr=3e-3)
        learn(net.eval(), optimizer, task, train, epochs)
        reached.append(accuracy(logits(net, task, x), y))
    return reached
