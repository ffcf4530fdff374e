"""A network that two processes train together, each on its own shard and from its own seed."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn import functional as F
from torch.nn.parallel import DataParallel, DistributedDataParallel

import agscl
from agscl import processes
from agscl.methods import METHODS, Method

TASKS, STEPS, SAMPLES, FEATURES = 3, 4, 40, 6
SIZES = (26, 14)
"""How many of a task's samples each process has."""

HARD = agscl.AGSCL(mu=2, lam=math.inf)

OF_EACH: dict[str, Method] = {
    "ags-cl": agscl.AGSCL(mu=2, lam=10), "ewc": agscl.EWC(lam=10), "si": agscl.SI(c=1), "rwalk": agscl.RWalk(lam=1),
    "mas": agscl.MAS(lam=1), "hat": agscl.HAT(smax=50.0), "wsn": agscl.WSN(c=0.5), "lwf": agscl.LwF(),
    "gated-ags-cl": agscl.GatedAGSCL(begin=1, end=2),
}  # fmt: skip
SETTINGS: dict[str, Method] = {
    **{name: OF_EACH[name] if name in OF_EACH else method() for name, method in METHODS.items()},
    "cpr": agscl.CPR(agscl.EWC(lam=10), beta=0.5),
    "ags-cl, hard": HARD,
    "ags-cl, at each step": agscl.AGSCL(mu=2, lam=10, proximal="step"),
    "ewc, hard": agscl.EWC(lam=math.inf),
    "ewc, exact": agscl.EWC(lam=10, fisher="exact"),
    "ewc, batched": agscl.EWC(lam=10, fisher="batched"),
    "ewc, sampled": agscl.EWC(lam=10, fisher="sampled"),
}
"""Every method of the registry, and the ways in which some can be set."""


class Net(nn.Module):
    """A layer with BatchNorm, one without, and a head per task."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(FEATURES, 12), nn.BatchNorm1d(12), nn.Linear(12, 10)
        self.heads = nn.ModuleList([nn.Linear(10, 2) for _ in range(TASKS)])
        for bias in (self.norm.bias, self.second.bias):
            bias.data[:5] = -50.0  # silent nodes, which no task needs and AGS-CL draws anew

    def forward(self, x: Tensor) -> list[Tensor]:
        h = F.relu(self.second(F.relu(self.norm(self.first(x)))))
        return [head(h) for head in self.heads]


Batch = tuple[Tensor, Tensor]
Turn = Callable[[nn.Module], nn.Module]


def data(task: int) -> Batch:
    """All samples of a task."""
    generator = torch.Generator().manual_seed(task)
    x = torch.randn(SAMPLES, FEATURES, generator=generator)
    return x, (x[:, task] > 0).long()


def shard(rank: int, task: int) -> list[Batch]:
    """One process's batches of a task."""
    x, y = (tensor.split(SIZES)[rank] for tensor in data(task))
    return list(zip(x.chunk(STEPS), y.chunk(STEPS), strict=True))


def as_it_is(net: nn.Module) -> nn.Module:
    return net


def on_card(net: nn.Module) -> nn.Module:
    return net.to("cuda")


def synchronised_on_card(net: nn.Module) -> nn.Module:
    return nn.SyncBatchNorm.convert_sync_batchnorm(net).to("cuda")


def wrapped(net: nn.Module, **options: Any) -> DistributedDataParallel:
    return DistributedDataParallel(net, find_unused_parameters=True, **options)


@dataclass
class Training:
    """A network in one of two processes, and its guard."""

    rank: int
    net: nn.Module
    model: nn.Module
    guard: agscl.Guard
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam

    @staticmethod
    def begin(
        rank: int, method: Method, *, order: str = "guard first", turn: Turn = as_it_is, **options: Any
    ) -> "Training":
        """Seeds differ between the processes: nothing is the same that is not made the same."""
        torch.manual_seed(100 + rank)
        net, x = turn(Net()), torch.randn(2, FEATURES)
        x = x.to(next(net.parameters()).device)
        if order == "guard first":
            guard = agscl.protect(net, method, example_inputs=x, heads="heads")
            return Training(rank, net, wrapped(net, **options), guard)
        model = wrapped(net, **options)
        around = model if order == "around the wrapper" else net
        return Training(rank, net, model, agscl.protect(around, method, example_inputs=x, heads="heads"))

    def train(
        self, task: int, *, live: bool = False, bare: bool = False, optimizer: Any = None, epochs: int = 2
    ) -> None:
        """Train a task; what a method adds to the loss computes with the bare model or with the wrapper."""
        self.net.train()
        again = self.net if bare else self.model
        optimizer = optimizer or self.optimizer(self.net.parameters(), lr=0.01, weight_decay=0.01)
        batches = self.batches(task)
        with self.guard.attach(optimizer, steps_per_epoch=STEPS, live=live):
            for batch in batches * epochs:
                optimizer.zero_grad()
                loss = F.cross_entropy(self.model(batch[0])[task], batch[1])
                extra = self.guard.extra_loss(batch, lambda given: again(given[0]))
                (loss if extra is None else loss + extra).backward()
                optimizer.step()

    def consolidate(self, task: int, *, bare: bool = False) -> None:
        model = self.net if bare else self.model
        self.guard.consolidate(self.batches(task), lambda batch: model(batch[0])[task])

    def batches(self, task: int) -> list[Batch]:
        """This process's batches; inputs stay on the processor where the wrapper moves them."""
        device = next(self.net.parameters()).device
        moves = bool(getattr(self.model, "device_ids", None))
        return [(x if moves else x.to(device), y.to(device)) for x, y in shard(self.rank, task)]

    def state(self) -> dict[str, Tensor]:
        """Copies of everything that has to be the same in all processes."""
        parts = {"net": self.net.state_dict(), "guard": self.guard.state_dict()}
        return {
            f"{part}.{name}": tensor.clone().cpu()
            for part, tensors in parts.items()
            for name, tensor in tensors.items()
        }


def learned(rank: int, method: str, order: str, **options: Any) -> dict[str, Any]:
    """The state after every task; for the last one also before it was consolidated."""
    training = Training.begin(rank, SETTINGS[method], order=order, **options)
    after, before = [], {}
    for task in range(TASKS):
        training.train(task, bare=order == "guard first")
        before = training.state()
        torch.manual_seed(task if rank == 0 else 77)
        training.consolidate(task, bare=order == "guard first")
        after.append(training.state())
    return {"before": before, "after": after}


ZERO: Any = partial(ZeroRedundancyOptimizer, optimizer_class=torch.optim.AdamW)


def frozen(
    rank: int, method: Method, *, live: bool = False, optimizer: Any = torch.optim.AdamW, **options: Any
) -> list[Tensor]:
    """Logits of the first task, after each task."""
    training, logits = Training.begin(rank, method, **options), []
    training.optimizer = optimizer
    for task in range(TASKS):
        training.train(task, live=live)
        training.consolidate(task)
        training.guard.use_task(0)
        training.net.eval()
        x = data(0)[0].to(next(training.net.parameters()).device)
        logits.append(training.net(x)[0].detach().cpu())
        if task + 1 < TASKS:
            training.guard.use_task(task + 1)
    return logits


def one_without_data(rank: int, method: Method) -> dict[str, Any]:
    """The first process has all samples, in one batch too many for the other's."""
    training = Training.begin(rank, method)
    training.train(0)
    before = training.state()
    torch.manual_seed(5 if rank == 0 else 77)
    batches = [*shard(0, 0), *shard(1, 0)] if rank == 0 else []
    training.guard.consolidate(batches, lambda batch: training.model(batch[0])[0])
    return {"before": before, "after": [training.state()]}


def resumed(rank: int, method: str, interrupted: bool) -> dict[str, Tensor]:
    """The state after two tasks; the second is begun anew in its middle, from what the first process has saved."""
    training = Training.begin(rank, SETTINGS[method])
    training.train(0)
    torch.manual_seed(1)
    training.consolidate(0)
    optimizer = torch.optim.Adam(training.net.parameters(), lr=0.01)
    training.train(1, optimizer=optimizer, epochs=1 if interrupted else 2)
    if interrupted:
        saved = [training.net.state_dict(), training.guard.state_dict(), optimizer.state_dict()]
        dist.broadcast_object_list(saved, 0)
        training = Training.begin(rank + 2, SETTINGS[method])
        training.rank = rank
        optimizer = torch.optim.Adam(training.net.parameters(), lr=0.01)
        for part, state in zip((training.net, training.guard, optimizer), saved, strict=True):
            part.load_state_dict(state)
        training.train(1, optimizer=optimizer, epochs=1)
    torch.manual_seed(2)
    training.consolidate(1)
    return training.state()


def expanded(rank: int, method: Method) -> list[dict[str, Tensor]]:
    """The state with new nodes, and after another task."""
    training = Training.begin(rank, method)
    training.train(0)
    training.consolidate(0)
    training.guard.expand(layer="first", nodes=3)
    grown = training.state()
    training.model = wrapped(training.net)
    training.train(1)
    training.consolidate(1)
    return [grown, training.state()]


def unwrapped(rank: int) -> list[list[str]]:
    """Names of parameters in graph and state."""
    found = []
    nested = (
        lambda net: torch.compile(wrapped(net), backend="eager"),
        lambda net: wrapped(torch.compile(DataParallel(net), backend="eager")),
    )
    for around in (wrapped, DataParallel, *nested):
        guard = agscl.protect(around(Net()), agscl.EWC(lam=1), example_inputs=torch.zeros(2, FEATURES), heads="heads")
        found.append(sorted({piece.parameter for layer in guard.graph.layers for piece in layer.incoming}))
    return found


def any_tensor(rank: int) -> dict[str, Tensor]:
    """Tensors of every kind, taken from the first process."""
    torch.manual_seed(rank)
    wide = torch.randn(4, 6)
    tensors = {
        "float": torch.randn(3), "half": torch.randn(3).half(), "bfloat16": torch.randn(2, 2).bfloat16(),
        "number": torch.randn(()), "bool": torch.rand(9) < 0.5, "integer": torch.randint(99, (3,)),
        "bytes": torch.randint(99, (3,), dtype=torch.uint8), "none": torch.empty(0), "transposed": wide.t(),
        "columns": wide[:, ::2], "images": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "odd": torch.tensor([-0.0, math.nan, math.inf]) * (1 - 2 * rank), "double": torch.randn(2, dtype=torch.float64),
    }  # fmt: skip
    processes.from_first(tensors)
    return {name: tensor.clone() for name, tensor in tensors.items()}


def sums(rank: int) -> Any:
    mine = {"a": torch.tensor([1.0, 2.0]) * (rank + 1), "b": torch.full((2, 2), 0.1, dtype=torch.float64)}
    kept = copy.deepcopy(mine)
    result = processes.sum_with_counts(mine, 3 + rank)
    assert all(torch.equal(mine[name], kept[name]) for name in mine), "sums are not changed in place"
    return result


def told_apart(rank: int) -> Any:
    """One bit of one number is enough to tell tensors apart, the kind of a number as well."""
    weight, zero = torch.randn(5, generator=torch.Generator().manual_seed(0)), torch.zeros(2)
    if rank == 1:
        weight.view(torch.int32)[2] ^= 1
        zero = -zero
    facts = {"weight": weight, "zero": zero, "steps": torch.tensor(7 + rank), "same": torch.ones(2)}
    return sorted(processes.differences("here", {**facts, **({"extra": 1} if rank else {})}))
