"""A small encoder with a residual stream, learned with every exact method."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import agscl
from agscl.methods.method import Method


class Encoder(nn.Module):
    """torch's own encoder, whose attention reads a weight of a module that is never called."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 4, 12, batch_first=True, dropout=0.0, norm_first=True)
        self.embed, self.trunk = nn.Linear(3, 8), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.heads = nn.ModuleList([nn.Linear(8, 2) for _ in range(3)])

    def forward(self, x: Tensor) -> list[Tensor]:
        features = self.trunk(self.embed(x)).mean(1)
        return [head(features) for head in self.heads]


X = torch.randn(12, 5, 3, generator=torch.Generator().manual_seed(0))

EXACT = [
    agscl.AGSCL(mu=2.0, lam=math.inf, rho=1.0, proximal="step"),
    agscl.AGSCL(mu=2.0, lam=1.0, rho=1.0, proximal="step"),
    agscl.HAT(),
    agscl.GatedAGSCL(begin=1, end=3),
    agscl.PackNet(),
    agscl.WSN(),
]


def trained(method: Method, tasks: int) -> tuple[nn.Module, agscl.Guard, list[Tensor]]:
    """A small encoder that has learned tasks, with the logits of each."""
    torch.manual_seed(0)
    net, kept = Encoder(), []
    guard = agscl.protect(net, method, example_inputs=X[:2], heads="heads")
    for task in range(tasks):
        step(net, guard, task, steps=12)
        guard.consolidate([X], predict=lambda batch, task=task: net(batch)[task])
        guard.use_task(task)
        kept.append(logits(net, task, X))
        guard.use_task(min(task + 1, 2))
    return net, guard, kept


def step(net: nn.Module, guard: agscl.Guard, task: int, steps: int, rate: float = 0.02) -> None:
    labels = (X[:, 0, task] > 0).long()
    optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
    with guard.attach(optimizer, steps_per_epoch=4):
        net.train()
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(net(X)[task], labels).backward()
            optimizer.step()


@torch.no_grad()
def logits(net: nn.Module, task: int, x: Tensor) -> Tensor:
    net.eval()
    return net(x)[task]
