"""Ignored modules and heads of any kind keep the promise of hard freezing, or are refused in one line."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW

import agscl
from agscl.methods import HAT, WSN, Method, SingleTask
from agscl.nodes import TraceError

HARD = agscl.AGSCL(mu=5, lam=math.inf)
X = torch.randn(48, 5, 12, generator=torch.Generator().manual_seed(0))


class Ignored(nn.Module):
    """A model of a linear layer, a part that cannot be traced, and a trunk."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.embed, self.norm, self.part = nn.Linear(12, 8), nn.LayerNorm(8), part
        self.trunk = nn.Linear(8, 16)
        self.heads = nn.ModuleList([nn.Linear(16, 2) for _ in range(3)])

    def forward(self, x: Tensor) -> list[Tensor]:
        h = F.relu(self.trunk(self.part(self.norm(self.embed(x))).mean(1)))
        return [head(h) for head in self.heads]


class Odd(nn.Module):
    """Statistics of its own, batch norm, and an operation without a rule."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.bn = nn.Linear(8, 8), nn.BatchNorm1d(5)
        self.register_buffer("mean", torch.zeros(8))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.mean.lerp_(x.mean((0, 1)), 0.1)
                self.seen += 1
        return torch.special.erf(self.bn(self.fc(x - self.mean)))


PARTS: dict[str, Callable[[], nn.Module]] = {
    "attention": lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True),
    "statistics": Odd,
}


def drifts(guard: agscl.Guard, model: Any, answer: Callable[[int], Tensor], tasks: int = 3) -> list[bool]:
    """Whether old answers are other bits after each later task, learned with decay and gradients of zeros."""
    references, found = list[Tensor](), []
    for task in range(tasks):
        labels = (X[:, task % 5, task] > 0).long()
        optimizer = AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
        model.train()
        with guard.attach(optimizer, steps_per_epoch=3):
            for _ in range(6):
                optimizer.zero_grad(set_to_none=False)
                F.cross_entropy(answer(task), labels).backward()
                optimizer.step()
        guard.consolidate([X], lambda _, task=task: answer(task))
        model.eval()
        for old, reference in enumerate(references):
            guard.use_task(old)
            found.append(not torch.equal(answer(old), reference))
        guard.use_task(task)
        references.append(answer(task).detach())
        if task + 1 < tasks:
            guard.use_task(task + 1)
    return found


@pytest.mark.parametrize("method", [HARD, HAT()])
@pytest.mark.parametrize("part", PARTS)
def test_an_ignored_module_learns_with_the_first_task_and_is_frozen_then(part: str, method: Method) -> None:
    torch.manual_seed(0)
    model = Ignored(PARTS[part]())
    guard = agscl.protect(model, method, example_inputs=X[:2], heads="heads", ignore=("part",))
    before = {name: tensor.clone() for name, tensor in model.part.state_dict().items()}
    assert {f"part.{name}" for name in before if "num_batches" not in name} <= {*guard.graph.ignored}
    assert {"embed.weight", "norm.weight"} <= {*guard.graph.ignored}
    assert [layer.name for layer in guard.graph.layers] == ["trunk"]
    assert "never used" not in str(guard.graph)
    assert not any(drifts(guard, model, lambda task: model(X)[task]))
    assert any(not torch.equal(tensor, before[name]) for name, tensor in model.part.state_dict().items())


@pytest.mark.parametrize("method", [SingleTask(), WSN(), agscl.GatedAGSCL()])
def test_methods_that_replace_tensors_refuse_ignored_modules(method: Method) -> None:
    with pytest.raises(ValueError, match=r"ignored 'embed\.bias' may be read past them; leave ignore= out"):
        agscl.protect(Ignored(Odd()), method, example_inputs=X[:2], heads="heads", ignore=("part",))


def test_a_weight_that_an_ignored_module_shares_with_a_node_is_refused() -> None:
    model = Ignored(Odd())
    model.trunk = nn.Linear(8, 8)
    model.heads = nn.ModuleList([nn.Linear(8, 2)])
    model.trunk.weight = model.part.fc.weight
    with pytest.raises(TraceError, match=r"weight' is used in an ignored module and outside; ignore both"):
        agscl.protect(model, HARD, example_inputs=X[:2], heads="heads", ignore=("part",))


def deep(inputs: int = 16) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 8), nn.ReLU(), nn.Linear(8, 2))


class Headed(nn.Module):
    """A trunk and heads of any kind."""

    def __init__(self, heads: nn.Module) -> None:
        super().__init__()
        self.fc, self.heads = nn.Linear(60, 16), heads

    def forward(self, x: Tensor) -> list[Tensor]:
        h = F.relu(self.fc(x.flatten(1)))
        heads = self.heads.values() if isinstance(self.heads, nn.ModuleDict) else self.heads
        return [head(h) for head in heads]


@pytest.mark.parametrize("heads", [None, "heads"])
@pytest.mark.parametrize("kind", [nn.ModuleList, lambda heads: nn.ModuleDict({str(k): h for k, h in enumerate(heads)})])
def test_deep_heads_are_recognised_as_one_a_task(kind: Callable[[list[nn.Module]], nn.Module], heads: Any) -> None:
    torch.manual_seed(0)
    model = Headed(kind([deep(), nn.Linear(16, 2), deep()]) if heads else kind([deep() for _ in range(3)]))
    guard = agscl.protect(model, HARD, example_inputs=X[:2], heads=heads)
    assert guard.graph.num_tasks == 3
    assert [layer.name for layer in guard.graph.layers] == ["fc"]
    assert not any(drifts(guard, model, lambda task: model(X)[task]))


def test_blocks_with_early_exits_are_no_deep_heads() -> None:
    class Exits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([nn.ModuleList([nn.Linear(60, 60), nn.Linear(60, 2)]) for _ in range(3)])

        def forward(self, x: Tensor) -> list[Tensor]:
            h, found = x.flatten(1), []
            for trunk, leave in self.blocks:
                h = F.relu(trunk(h))
                found.append(leave(h))
            return found

    graph = agscl.trace(Exits(), X[:2])
    assert [layer.num_nodes for layer in graph.layers] == [60, 60, 60]
    assert graph.num_tasks is None


def tied() -> nn.Module:
    heads = nn.ModuleList([nn.Linear(16, 2), nn.Linear(16, 2)])
    heads[1].weight = heads[0].weight
    return heads


@pytest.mark.parametrize("heads", [lambda: nn.ModuleList([nn.Linear(16, 2)] * 2), tied])
def test_heads_that_are_one_module_or_share_a_weight_are_refused_in_one_line(heads: Callable[[], nn.Module]) -> None:
    message = r"'heads.1' and 'heads.0' have 'weight' in common.*give each task a head of its own"
    with pytest.raises(TraceError, match=message) as caught:
        agscl.protect(Headed(heads()), HARD, example_inputs=X[:2], heads="heads")
    assert "\n" not in str(caught.value)


class Apart(nn.Module):
    """Heads that are attributes of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.head0, self.head1 = nn.Linear(60, 16), nn.Linear(16, 2), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> list[Tensor]:
        h = F.relu(self.fc(x.flatten(1)))
        return [self.head0(h), self.head1(h)]


@pytest.mark.parametrize("heads", [None, ("head0", "head1")])
def test_hard_freezing_says_that_heads_which_are_no_list_are_shared_by_all_tasks(heads: Any) -> None:
    with pytest.warns(UserWarning, match=r"all tasks share the heads head0, head1.*one ModuleList") as caught:
        agscl.protect(Apart(), HARD, example_inputs=X[:2], heads=heads)
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)
