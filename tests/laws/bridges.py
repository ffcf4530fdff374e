"""What every bridge to another library's loop is held to: a net, tasks, and the loop by hand that it must equal."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW, Optimizer

import agscl
from agscl.methods import Method

from .sequences import TASKS, logits, tasks

SHAPE, BATCH, EPOCHS = (6,), 10, 2
DATA = tasks(SHAPE, samples=36)
"""Four batches an epoch, the last one partial."""

HARD = agscl.AGSCL(mu=9, lam=math.inf)


class Net(nn.Module):
    """A norm layer and a head per task."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.norm, self.fc2 = nn.Linear(*SHAPE, 16), nn.BatchNorm1d(16), nn.Linear(16, 12)
        self.heads = nn.ModuleList([nn.Linear(12, 2) for _ in range(TASKS)])

    def forward(self, x: Tensor) -> list[Tensor]:
        h = F.relu(self.fc2(F.relu(self.norm(self.fc1(x)))))
        return [head(h) for head in self.heads]


def optimizer(parameters: Iterable[nn.Parameter]) -> Optimizer:
    return AdamW(parameters, lr=1e-2, weight_decay=0.1)


def fresh(method: Method = HARD) -> tuple[Net, agscl.Guard]:
    torch.manual_seed(0)
    net = Net()
    return net, agscl.protect(net, method, example_inputs=torch.zeros(2, *SHAPE), heads="heads")


def batches(task: int, size: int = BATCH) -> list[tuple[Tensor, Tensor]]:
    x, y = DATA[task]
    return list(zip(x.split(size), y.split(size), strict=True))


def consolidate(net: Net, guard: agscl.Guard, task: int) -> None:
    torch.manual_seed(task)
    guard.consolidate(batches(task), lambda batch: net(batch[0])[task])
    net.train()


def by_hand(
    method: Method = HARD,
    *,
    accumulate: int = 1,
    clip: float | None = None,
    num_tasks: int = 2,
    max_steps: int = -1,
    whole_windows: bool = True,
) -> Net:
    """The same tasks in a plain loop.

    Args:
        method: How they are protected.
        accumulate: Over how many batches gradients are added up.
        clip: Norm to which gradients are clipped.
        num_tasks: How many tasks.
        max_steps: Most steps for a task.
        whole_windows: Whether losses are divided by `accumulate` even where fewer batches are left.
    """
    net, guard = fresh(method)
    for task in range(num_tasks):
        adam, data, steps = optimizer(net.parameters()), batches(task), 0
        per_epoch = math.ceil(len(data) / accumulate)
        with guard.attach(adam, steps_per_epoch=per_epoch if max_steps < 0 else min(per_epoch, max_steps)):
            while steps != max_steps and steps < EPOCHS * per_epoch:
                window = data[steps % per_epoch * accumulate :][:accumulate]
                for x, y in window:
                    share = accumulate if whole_windows else len(window)
                    (F.cross_entropy(net(x)[task], y) / share).backward()
                if clip is not None:
                    nn.utils.clip_grad_norm_(net.parameters(), clip)
                adam.step()
                adam.zero_grad()
                steps += 1
        consolidate(net, guard, task)
    return net


def learn_in(
    library: Callable[[Net, agscl.Guard, int], None], method: Method = HARD, num_tasks: int = 2
) -> tuple[Net, agscl.Guard]:
    """Let a library's own trainer learn the tasks; every old answer must keep its bits.

    Args:
        library: Trains one task, with the bridge.
        method: How it is protected.
        num_tasks: How many tasks.
    """
    net, guard = fresh(method)
    answers: list[Tensor] = []
    for task in range(num_tasks):
        library(net, guard, task)
        consolidate(net, guard, task)
        assert [torch.equal(old, logits(net, n, DATA[n][0])) for n, old in enumerate(answers)] == [True] * task
        assert guard.verify().identical
        answers.append(logits(net, task, DATA[task][0]))
        assert not any(torch.equal(answers[-1], old) for old in answers[:-1])
        net.train()
    return net, guard


def assert_same_bits(one: nn.Module, other: nn.Module) -> None:
    left, right = one.state_dict(), other.state_dict()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []
    assert left.keys() == right.keys()
