"""What the user has frozen with ``requires_grad=False`` is never touched, and hard freezing stays exact beside it."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

import agscl
from agscl.methods import CPR, EWC, HAT, MAS, SI, WSN, FineTuning, LwF, Method, RWalk, SingleTask
from laws.sequences import OPTIMIZERS, learn, logits, protected, tasks

SHAPE = (3, 6, 6)


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.fc = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 16)
        self.heads = nn.ModuleList([nn.Linear(16, 2) for _ in range(4)])

    def forward(self, x: Tensor) -> list[Tensor]:
        h = F.relu(self.fc(F.relu(self.bn(self.conv(x))).mean((2, 3))))
        return [head(h) for head in self.heads]


METHODS: dict[str, Method] = {
    "hard": agscl.AGSCL(mu=10, lam=math.inf),
    "soft": agscl.AGSCL(mu=10, lam=400),
    "every step": agscl.AGSCL(mu=10, lam=4, proximal="step", rho=1.0),
    "gradient": agscl.AGSCL(mu=10, lam=4, proximal="gradient"),
    "cpr": CPR(agscl.AGSCL(mu=10, lam=math.inf), beta=0.1),
    "ewc": EWC(lam=10.0), "mas": MAS(lam=10.0), "si": SI(c=1.0), "rwalk": RWalk(lam=1.0), "hat": HAT(), "wsn": WSN(),
    "gated": agscl.GatedAGSCL(begin=1, end=3), "packnet": agscl.PackNet(train_epochs=2), "gpm": agscl.GPM(),
    "lwf": LwF(), "single": SingleTask(), "fine-tuning": FineTuning(),
}  # fmt: skip
PARTS = ("conv", "bn", "conv.bias", "fc", "fc.weight")


def freeze(model: nn.Module, part: str) -> dict[str, Tensor]:
    """Take a part out of training; what it holds now."""
    chosen = {name: p for name, p in model.named_parameters() if f"{name}.".startswith(f"{part}.")}
    for parameter in chosen.values():
        parameter.requires_grad_(False)
    return {name: parameter.clone() for name, parameter in chosen.items()}


@pytest.mark.parametrize("part", ["conv", "bn", "fc.weight"])
@pytest.mark.parametrize("name", METHODS)
def test_no_method_touches_what_the_user_has_frozen(name: str, part: str) -> None:
    torch.manual_seed(0)
    model = Normed()
    frozen = freeze(model, part)
    guard = protected(model, METHODS[name], SHAPE)
    for task, data in enumerate(tasks(SHAPE)[:2]):
        learn(guard, model, task, data, OPTIMIZERS["adam"])
    found = dict(model.named_parameters())
    assert all(torch.equal(found[name], weight) and not found[name].requires_grad for name, weight in frozen.items())


@pytest.mark.parametrize("only_trained", [False, True])
@pytest.mark.parametrize("mu", [1.0, 11.0])
@pytest.mark.parametrize("part", PARTS)
def test_hard_freezing_is_exact_beside_frozen_members(part: str, mu: float, only_trained: bool) -> None:
    torch.manual_seed(1)
    model = Normed()
    if part == "fc.weight":  # units that are silent at first and cannot be cut off, since the next weight is frozen
        model.bn.bias.data[:4] = -9.0
    frozen = freeze(model, part)
    guard = protected(model, agscl.AGSCL(mu=mu, lam=math.inf, rho=1.0), SHAPE)
    references: list[Tensor] = []
    for task, (x, y) in enumerate(tasks(SHAPE)[:3]):
        learn(
            guard,
            model,
            task,
            (x, y),
            lambda parameters: Adam([p for p in parameters if p.requires_grad or not only_trained], lr=1e-2),
        )
        for old, reference in enumerate(references):
            assert torch.equal(logits(model, old, tasks(SHAPE)[old][0]), reference)
        references.append(logits(model, task, tasks(SHAPE)[task][0]))
    found = dict(model.named_parameters())
    assert all(torch.equal(found[name], weight) for name, weight in frozen.items())
