"""A refusal names the cure, and the cure works."""

import math
import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import agscl

HARD = agscl.AGSCL(mu=1, lam=math.inf)
X = torch.randn(6, 12)


class LogSoftmax(nn.Module):
    """The network of pytorch's MNIST example."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(12, 8), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.fc2(F.relu(self.fc1(x))), 1)


class EachHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.heads = nn.Linear(12, 8), nn.ModuleList([nn.Linear(8, 2), nn.Linear(8, 2)])

    def forward(self, x: Tensor) -> list[Tensor]:
        h = F.relu(self.fc(x))
        return [torch.special.erf(head(h)) for head in self.heads]


@pytest.mark.parametrize(
    ("model", "head"),
    [
        (LogSoftmax(), "fc2"),
        (EachHead(), "heads"),
        (nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3), nn.LogSoftmax(1)), "2"),
    ],
    ids=["function", "list", "module"],
)
def test_an_unknown_operation_on_the_outputs_names_the_head_and_naming_it_works(model: nn.Module, head: str) -> None:
    with pytest.raises(agscl.TraceError, match=re.escape(f"if {head!r} makes the model's outputs, say heads={head!r}")):
        agscl.protect(model, HARD, example_inputs=X)
    guard = agscl.protect(model, HARD, example_inputs=X, heads=head)
    optimizer = torch.optim.Adam(model.parameters())
    with guard.attach(optimizer, steps_per_epoch=1):
        out = model(X)
        (out[0] if isinstance(out, list) else out).square().mean().backward()
        optimizer.step()
    guard.consolidate([X], lambda x: out[0] if isinstance(out := model(x), list) else out)
    assert guard.task == 1


def test_a_head_that_was_named_is_not_advised_again() -> None:
    class Inside(LogSoftmax):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.fc2(torch.special.erf(self.fc1(x)))
            return out

    with pytest.raises(agscl.TraceError) as caught:
        agscl.protect(Inside(), HARD, example_inputs=X, heads="fc2")
    assert "heads=" not in str(caught.value)


@pytest.mark.parametrize("heads", ["heads", "module.heads"])
def test_heads_of_a_wrapped_model_have_either_name(heads: str) -> None:
    class Net(EachHead):
        def forward(self, x: Tensor) -> list[Tensor]:
            h = F.relu(self.fc(x))
            return [head(h) for head in self.heads]

    guard = agscl.protect(nn.DataParallel(Net()), HARD, example_inputs=X, heads=heads)
    assert guard.graph.num_tasks == 2


def test_a_task_given_to_forward_is_traced_with_and_without_a_default() -> None:
    class ByTask(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.heads = nn.Linear(12, 8), nn.ModuleList([nn.Linear(8, 2), nn.Linear(8, 2)])

        def forward(self, x: Tensor, task: int) -> Tensor:
            out: Tensor = self.heads[task](F.relu(self.fc(x)))
            return out

    model = ByTask()
    guard = agscl.protect(model, HARD, example_inputs=(X, 0), heads="heads")
    old = None
    for task in range(2):
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        with guard.attach(optimizer, steps_per_epoch=1):
            F.cross_entropy(model(X, task), torch.arange(6) % 2).backward()
            optimizer.step()
        guard.consolidate([X], lambda x, task=task: model(x, task))
        old = model(X, 0).detach() if old is None else old
    assert torch.equal(model.eval()(X, 0), old)
