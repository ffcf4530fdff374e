"""What the user has frozen with ``requires_grad=False`` is never touched, and hard freezing stays exact beside it."""

import copy
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


ANSWERS = ("hard", "cpr", "hat", "wsn", "single")
"""Methods that promise every earlier answer, bit for bit."""

FREEZING: dict[str, dict[int, str]] = {
    "thawed": {0: "freeze", 1: "thaw"},
    "thawed inside": {0: "freeze", 1: "thaw inside"},
    "frozen": {1: "freeze"},
    "frozen and thawed": {1: "freeze", 2: "thaw"},
}
"""What the user does to a part before, or within, the training of a task."""


def learn_thawing(guard: agscl.Guard, model: nn.Module, task: int, *, thaw: bool) -> None:
    x, y = tasks(SHAPE)[task]
    optimizer = OPTIMIZERS["adamw with weight decay"](model.parameters())
    with guard.attach(optimizer, steps_per_epoch=2):
        model.requires_grad_(True) if thaw else None
        for _ in range(4):
            optimizer.zero_grad()
            loss = F.cross_entropy(model.train()(x)[task], y)
            if loss.requires_grad:  # else all that is left to learn has been frozen
                loss.backward()
            optimizer.step()
    guard.consolidate([(x, y)], lambda batch: model(batch[0])[task])


def assert_answers_are_kept(guard: agscl.Guard, model: nn.Module, references: list[Tensor]) -> None:
    """All earlier answers are the same, and the newest joins them."""
    task = guard.task - 1
    for old in range(task + 1):
        guard.use_task(old)
        answer = logits(model, old, tasks(SHAPE)[old][0])
        references.append(answer) if old == task else None
        assert torch.equal(answer, references[old])
    guard.use_task(task + 1)


@pytest.mark.parametrize("story", FREEZING)
@pytest.mark.parametrize("part", ["conv", "fc.weight", "heads.1", "heads"])
@pytest.mark.parametrize("name", METHODS)
def test_what_is_frozen_may_be_thawed_and_frozen_between_and_within_tasks(name: str, part: str, story: str) -> None:
    torch.manual_seed(0)
    model = Normed()
    if FREEZING[story].get(0):
        freeze(model, part)
    guard, references = protected(model, METHODS[name], SHAPE), list[Tensor]()
    for task in range(3):
        event = FREEZING[story].get(task)
        if event == "thaw":
            model.requires_grad_(True)
        elif event == "freeze":
            freeze(model, part)
        learn_thawing(guard, model, task, thaw=event == "thaw inside")
        if name in ANSWERS:
            assert_answers_are_kept(guard, model, references)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("part", [*PARTS, "heads.0", "heads.1"])
def test_live_nodes_and_new_ones_are_exact_beside_frozen_members(part: str, live: bool) -> None:
    torch.manual_seed(0)
    model, references = Normed(), list[Tensor]()
    frozen = freeze(model, part)
    guard = protected(model, agscl.AGSCL(mu=11.0, lam=math.inf, rho=1.0), SHAPE)
    for task in range(3):
        x, y = tasks(SHAPE)[task]
        optimizer = OPTIMIZERS["adamw with weight decay"](model.parameters())
        with guard.attach(optimizer, steps_per_epoch=2, live=live):
            for _ in range(6):
                optimizer.zero_grad()
                F.cross_entropy(model.train()(x)[task], y).backward()
                optimizer.step()
        guard.consolidate([(x, y)], lambda batch, task=task: model(batch[0])[task])
        assert_answers_are_kept(guard, model, references)
        if task == 0:
            guard.expand(layer="fc", nodes=3)
            frozen = {name: dict(model.named_parameters())[name].detach().clone() for name in frozen}
            assert torch.equal(logits(model, 0, x), references[0])
    found = dict(model.named_parameters())
    assert all(torch.equal(found[name], weight) and not found[name].requires_grad for name, weight in frozen.items())


def test_a_frozen_backbone_is_as_it_was_whatever_the_optimizer_holds() -> None:
    for only_trained in (False, True):
        torch.manual_seed(0)
        model = Normed()
        frozen = copy.deepcopy(freeze(model, "conv"))
        guard = protected(model, agscl.AGSCL(mu=10, lam=math.inf), SHAPE)
        trained = [p for p in model.parameters() if p.requires_grad or not only_trained]
        learn(guard, model, 0, tasks(SHAPE)[0], lambda _, trained=trained: Adam(trained, lr=1e-2))
        assert all(torch.equal(model.get_parameter(name), weight) for name, weight in frozen.items())
