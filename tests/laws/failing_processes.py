"""One of two processes does something wrong: what both are told, and where they are once they have gone on."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn import functional as F

import agscl
from agscl.methods import Learned, MeasuredPenalty, Method, Network, average
from laws.many_processes import FEATURES, HARD, STEPS, Batch, Training, data, shard, wrapped


def told(act: Callable[[], Any]) -> str:
    """The message of the error that comes."""
    try:
        act()
    except (ValueError, OSError) as error:
        return str(error)
    return "nothing was refused"


Story = Callable[[Training, bool], str]
"""Something goes wrong in one process alone, which is told so; returns the message."""


def attached(training: Training, steps_per_epoch: int = STEPS, parameters: Any = None) -> str:
    optimizer = torch.optim.SGD(parameters or training.net.parameters(), lr=0.1)

    def act() -> None:
        with training.guard.attach(optimizer, steps_per_epoch=steps_per_epoch):
            pass

    return told(act)


def consolidated(training: Training, batches: Any) -> str:
    return told(lambda: training.guard.consolidate(batches, lambda batch: training.model(batch[0])[0]))


def nothing(training: Training, alone: bool) -> str:
    return "nothing was refused"


def other_steps_per_epoch(training: Training, alone: bool) -> str:
    return attached(training, steps_per_epoch=3 if alone else 4)


def an_empty_loader(training: Training, alone: bool) -> str:
    return attached(training, steps_per_epoch=0 if alone else 4)


def another_optimizer(training: Training, alone: bool) -> str:
    return attached(training, parameters=[nn.Parameter(torch.ones(1))] if alone else None)


def another_learning_rate(training: Training, alone: bool) -> str:
    optimizer = torch.optim.SGD(training.net.parameters(), lr=0.2 if alone else 0.1)

    def act() -> None:
        with training.guard.attach(optimizer, steps_per_epoch=STEPS):
            pass

    return told(act)


def another_task(training: Training, alone: bool) -> str:
    training.guard.use_task(1 if alone else 0)
    message = attached(training)
    training.guard.use_task(0)
    return message


def other_weights(training: Training, alone: bool) -> str:
    weight = training.net.second.weight.data
    kept = weight.clone()
    weight[3, 4] += 1e-6 * alone
    message = attached(training)
    weight.copy_(kept)
    return message


def another_guard_state(training: Training, alone: bool) -> str:
    state = training.guard.state_dict()
    other = {**state, "method.importance.first": state["method.importance.first"] + 1}
    training.guard.load_state_dict(other if alone else state)
    message = attached(training)
    training.guard.load_state_dict(state)
    return message


def attached_and_not(training: Training, alone: bool) -> str:
    training.train(0)
    return attached(training) if alone else told(lambda: training.consolidate(0))


def no_steps(training: Training, alone: bool) -> str:
    return told(lambda: training.consolidate(0))


def a_lost_batch(training: Training, alone: bool) -> str:
    def batches() -> Iterator[Batch]:
        first, *others = shard(training.rank, 0)
        yield first
        if alone:
            raise OSError("the disk is gone")
        yield from others

    training.train(0)
    return consolidated(training, batches())


def infinite_inputs(training: Training, alone: bool) -> str:
    training.train(0)
    return consolidated(training, [(x * (math.inf if alone else 1.0), y) for x, y in shard(training.rank, 0)])


def no_data_at_all(training: Training, alone: bool) -> str:
    training.train(0)
    return consolidated(training, [])


def wrong_labels(training: Training, alone: bool) -> str:
    training.train(0)
    return consolidated(training, [(x, y + 9 * alone) for x, y in shard(training.rank, 0)])


def consolidated_within(training: Training, alone: bool) -> str:
    training.train(0)
    other = torch.optim.SGD(training.net.parameters(), lr=0.1)

    def act() -> None:
        with training.guard.attach(other, steps_per_epoch=STEPS):
            training.guard.consolidate([], predict=lambda batch: batch)

    state = training.guard.state_dict()
    message = told(act)
    training.guard.load_state_dict(state)
    return message


def trained_apart(training: Training, alone: bool) -> str:
    training.model, kept = training.net, training.model
    message = told(lambda: training.train(0))
    training.model = kept
    return message


STORIES: dict[str, Story] = {
    story.__name__: story
    for story in (
        nothing, other_steps_per_epoch, an_empty_loader, another_optimizer, another_learning_rate, another_task,
        other_weights, another_guard_state, attached_and_not, no_steps, a_lost_batch, infinite_inputs, no_data_at_all,
        consolidated_within, trained_apart, wrong_labels,
    )
}  # fmt: skip


def fails(rank: int, story: str) -> tuple[str, dict[str, Tensor]]:
    """The message, and the state after the task is learned in spite of it."""
    method: Method = agscl.EWC(lam=1) if story == "wrong_labels" else HARD
    training = Training.begin(rank, method)
    message = STORIES[story](training, rank == 1)
    if training.guard.state_dict()["steps"] == 0:
        training.train(0)
    torch.manual_seed(3 + rank)
    training.consolidate(0)
    return message, training.state()


def a_step_more(rank: int) -> str:
    training = Training.begin(rank, HARD)
    optimizer = torch.optim.SGD(training.net.parameters(), lr=0.1)
    with training.guard.attach(optimizer, steps_per_epoch=STEPS):
        training.model(data(0)[0])[0].sum().backward()
        for _ in range(1 + rank):
            optimizer.step()
    return told(lambda: training.consolidate(0))


def not_a_number(rank: int) -> str:
    """Of a loss in one process; what is averaged is none in either."""
    training = Training.begin(rank, HARD)
    optimizer = torch.optim.SGD(training.net.parameters(), lr=0.1)

    def act() -> None:
        with training.guard.attach(optimizer, steps_per_epoch=STEPS):
            for factor in (1.0, math.nan if rank else 1.0):
                optimizer.zero_grad()
                (training.model(data(0)[0])[0].sum() * factor).backward()
                optimizer.step()

    return told(act)


def uneven_steps(rank: int) -> str:
    """One process runs out of batches, and the wrapper trains on with what the other has."""
    training = Training.begin(rank, HARD)
    optimizer, model = torch.optim.SGD(training.net.parameters(), lr=0.1), training.model
    with training.guard.attach(optimizer, steps_per_epoch=STEPS), model.join():
        for x, y in shard(rank, 0)[: STEPS - rank]:
            optimizer.zero_grad()
            F.cross_entropy(model(x)[0], y).backward()
            optimizer.step()
    return told(lambda: training.consolidate(0))


def not_synchronised(rank: int) -> str:
    """Gradients are accumulated without the wrapper's exchange, and then not exchanged."""
    training = Training.begin(rank, HARD)
    optimizer, (x, y) = torch.optim.SGD(training.net.parameters(), lr=0.1), shard(rank, 0)[0]

    def act() -> None:
        with training.guard.attach(optimizer, steps_per_epoch=STEPS), training.model.no_sync():
            F.cross_entropy(training.model(x)[0], y).backward()
            optimizer.step()

    return told(act)


def apart_later(rank: int) -> str:
    """The gradients are the same at the first step only."""
    training = Training.begin(rank, HARD)
    optimizer = torch.optim.SGD(training.net.parameters(), lr=0.1)
    with training.guard.attach(optimizer, steps_per_epoch=STEPS):
        for x in (data(0)[0], data(0)[0] + rank):
            optimizer.zero_grad()
            training.net.eval()(x)[0].square().sum().backward()
            optimizer.step()
    return told(lambda: training.consolidate(0))


def of_another_size(rank: int) -> str:
    net = nn.Sequential(nn.Linear(FEATURES, 4 + rank), nn.ReLU(), nn.Linear(4 + rank, 2))
    return told(lambda: agscl.protect(net, HARD, example_inputs=torch.zeros(2, FEATURES)))


def another_strength(rank: int) -> str:
    net = nn.Sequential(nn.Linear(FEATURES, 4), nn.ReLU(), nn.Linear(4, 2))
    method = agscl.AGSCL(mu=1, lam=2 + rank)
    return told(lambda: agscl.protect(net, method, example_inputs=torch.zeros(2, FEATURES)))


def another_model(rank: int) -> str:
    """The same tensors, and another way through them."""
    net = nn.Sequential(nn.Linear(FEATURES, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    heads = ["2", "4"] if rank else "4"
    return told(lambda: agscl.protect(net, HARD, example_inputs=torch.zeros(2, FEATURES), heads=heads))


def a_wrapped_part(rank: int) -> str:
    net = nn.Sequential(wrapped(nn.Linear(FEATURES, 4)), nn.ReLU(), nn.Linear(4, 2))
    return told(lambda: agscl.protect(net, HARD, example_inputs=torch.zeros(2, FEATURES)))


def untraceable(rank: int) -> str:
    net = nn.Sequential(nn.Linear(FEATURES, 4), nn.ReLU(), nn.Linear(4, 2))
    inputs = torch.zeros(2, FEATURES - rank)
    return told(lambda: agscl.protect(net, HARD, example_inputs=inputs))


@dataclass(frozen=True)
class Local:
    """A method that forgets the other processes: what it measures is of its own samples only."""

    def protect(self, network: Network) -> MeasuredPenalty:
        return MeasuredPenalty(network, 1.0, self._measure, average)

    def _measure(self, network: Network, given: Learned) -> dict[str, Tensor]:
        size = sum(float(x.square().sum()) for x, _ in given.batches)
        return {name: torch.full_like(parameter, size) for name, parameter in network.common.items()}


def a_local_method(rank: int) -> str:
    training = Training.begin(rank, Local())
    training.train(0)
    return told(lambda: training.consolidate(0))


def sharded(rank: int, kind: str, order: str) -> str:
    """The whole network, or a part of it, is spread over the processes."""
    spread = {"fully_shard": fully_shard, "FSDP": lambda net: FullyShardedDataParallel(net, device_id="cpu")}[kind]
    net, x = nn.Sequential(nn.Linear(FEATURES, 4), nn.ReLU(), nn.Linear(4, 2)), torch.zeros(2, FEATURES)
    if order == "shards first":
        net[0] = spread(net[0])
        return told(lambda: agscl.protect(net, HARD, example_inputs=x))
    guard = agscl.protect(net, HARD, example_inputs=x)
    around = spread(net)

    def act() -> None:
        with guard.attach(torch.optim.SGD(around.parameters(), lr=0.1), steps_per_epoch=1):
            pass

    return told(act)


def left_alone(rank: int) -> str:
    """The process group ends before the task does; it has to be the last case."""
    training = Training.begin(rank, HARD)
    training.train(0)
    dist.destroy_process_group()
    return told(lambda: training.guard.consolidate(shard(rank, 0), lambda batch: training.net(batch[0])[0]))


OTHERS: tuple[Callable[[int], str], ...] = (
    a_step_more, uneven_steps, not_synchronised, apart_later, not_a_number, of_another_size, another_strength,
    another_model, a_wrapped_part, untraceable, a_local_method,
)  # fmt: skip
