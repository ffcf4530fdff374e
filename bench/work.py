"""The same work done three ways: by this trainer, by a loop as one writes it by hand, and by Avalanche.

CIFAR-100's tasks where they are at hand, else noise of the same shape; the paper's 6-conv net, batches of 256, Adam.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

import agscl
from agscl.benchmarks import Cache, LoadOptions, Task, TaskSequence
from agscl.benchmarks.image_set import ImageSet
from agscl.benchmarks.sequences import split_classes
from agscl.benchmarks.split import prepare
from agscl.methods import Method
from agscl.models import ConvNet, MultiHead
from agscl.training import Compute, Learner, Training
from agscl.training.progress import TaskProgress
from agscl.training.task import train

BATCH = 256
EQUAL = Compute(precision="fp32", channels_last="off")
"""What the other two compute in."""
RATE = 1e-4


def sequence(fraction: float, root: Path | None) -> TaskSequence:
    """Ten tasks of ten classes with a share of their examples."""
    options = LoadOptions(fraction=fraction, data_root=root)
    cache = Cache(root)
    images = cache.load("cifar100") if "cifar100" in cache else _noise()
    return split_classes("cifar100", prepare(images, 0, options), 0, 10)


def _noise() -> ImageSet:
    generator, count = torch.Generator().manual_seed(0), 20_000
    pixels = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.arange(count) % 100
    return ImageSet("cifar100", pixels, labels, torch.arange(count) >= count - 2000, tuple(map(str, range(100))))


def network() -> MultiHead:
    """The paper's network for CIFAR-100, with the same weights every time."""
    torch.manual_seed(0)
    trunk = ConvNet()
    return MultiHead(trunk, trunk.num_features, [10] * 10)


def learner(method: Method, compute: Compute = EQUAL) -> Learner:
    """This library's way: one epoch a task."""
    model = network()
    guard = agscl.protect(model, method, example_inputs=torch.zeros(2, 3, 32, 32), heads="heads")
    training = Training(epochs=1, batch_size=BATCH, learning_rate=RATE)
    machine = compute.resolve(model)
    return Learner(model, guard, training, torch.Generator().manual_seed(0), machine=machine)


def unvalidated(task: Task) -> Task:
    """The task with one example for validation: what the others do not do takes no time."""
    (inputs, labels), *_ = task.validation.batches(1)
    return replace(task, validation=_One(inputs, labels))


@dataclass(frozen=True)
class _One:
    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return 1

    def batches(self, batch_size: int, *, generator: torch.Generator | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        yield self.inputs, self.labels


def consolidation(who: Learner, task: Task, index: int) -> Callable[[], None]:
    """What this library does after a task, in halves of a training batch and in the precision of the trainer."""
    rounds = who.guard.rounds and who.machine.dtype == torch.bfloat16

    def predict(batch: tuple[Tensor, Tensor]) -> Tensor:
        with who.machine.autocast() if rounds else nullcontext():
            logits: Tensor = who.model(who.machine.place(batch)[0], index)
        return logits

    return lambda: who.guard.consolidate(list(task.train.batches(BATCH // 2)), predict)


def epoch(who: Learner, task: Task, index: int) -> Callable[[], object]:
    """One epoch of this library: training, validation, the best weights kept."""
    return lambda: train(TaskProgress(who, task, index))


class Plain:
    """The loop as one writes it by hand: data in one tensor, no checks, nothing asked of the device but the losses."""

    def __init__(self, task: Task, index: int) -> None:
        self.model, self.index = network(), index
        self.optimizer = Adam(self.model.parameters(), lr=RATE)
        self.train, self.validation = (next(iter(part.batches(len(part)))) for part in (task.train, task.validation))
        self.best: dict[str, Tensor] = {}

    def epoch(self) -> float:
        """Training, validation, the best weights kept."""
        inputs, labels = self.train
        self.model.train()
        total = torch.zeros(())
        for rows in torch.randperm(len(labels)).split(BATCH):
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(inputs[rows], self.index), labels[rows])
            loss.backward()
            self.optimizer.step()
            total += loss.detach() * len(rows)
        self.model.eval()
        with torch.no_grad():
            correct = (self.model(self.validation[0], self.index).argmax(1) == self.validation[1]).float().mean()
        self.best = copy.deepcopy(self.model.state_dict())
        return total.item() / len(labels) + correct.item()


def avalanche(name: str, tasks: TaskSequence) -> tuple[Any, list[Any]]:
    """Avalanche's strategy of that name, and its experiences: the same data and network, one epoch each."""
    from avalanche.benchmarks import benchmark_from_datasets
    from avalanche.benchmarks.utils import AvalancheDataset, as_classification_dataset
    from avalanche.benchmarks.utils.data_attribute import DataAttribute
    from avalanche.training import supervised
    from torch.utils.data import TensorDataset

    def dataset(task: Task) -> Any:
        inputs, labels = next(iter(task.train.batches(len(task.train))))
        marks = [DataAttribute(labels.tolist(), "targets"), DataAttribute([0] * len(labels), "targets_task_labels")]
        return as_classification_dataset(AvalancheDataset([TensorDataset(inputs, labels)], data_attributes=marks))

    torch.manual_seed(0)
    trunk = ConvNet()
    model = nn.Sequential(trunk, nn.Linear(trunk.num_features, 10))
    strength = {"EWC": {"ewc_lambda": 1.0}, "SynapticIntelligence": {"si_lambda": 1.0}}[name]
    made = getattr(supervised, name)(
        model=model,
        optimizer=Adam(model.parameters(), lr=RATE),
        criterion=nn.CrossEntropyLoss(),
        train_mb_size=BATCH,
        train_epochs=1,
        device="cpu",
        evaluator=None,
        **strength,
    )
    parts = [dataset(task) for task in tasks.tasks]
    return made, list(benchmark_from_datasets(train=parts).train_stream)
