"""Small tasks in memory, a small model, and a logger that remembers."""

from dataclasses import dataclass, field

import pytest
import torch

import agscl
from agscl.benchmarks.task import Task, TaskSequence
from agscl.models import MLP, MultiHead
from agscl.training import Learner, Training


@dataclass(frozen=True)
class InMemory:
    inputs: torch.Tensor
    labels: torch.Tensor

    def __len__(self):
        return len(self.labels)

    def batches(self, batch_size, *, generator=None):
        order = torch.arange(len(self)) if generator is None else torch.randperm(len(self), generator=generator)
        for chosen in order.split(batch_size) if len(self) else ():
            yield self.inputs[chosen], self.labels[chosen]


@dataclass
class Remember:
    events: list = field(default_factory=list)

    def emit(self, event):
        self.events.append(event)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


def examples(count, num_classes, seed):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 6, generator=generator)
    scores = inputs @ torch.randn(6, num_classes, generator=generator)
    return InMemory(inputs, scores.argmax(dim=1))


@pytest.fixture
def make_examples():
    return examples


@pytest.fixture(scope="session")
def in_memory():
    return InMemory


@pytest.fixture
def sequence():
    tasks = tuple(
        Task(f"t{number}", classes, *(examples(count, classes, 10 * number) for count in (50, 23, 31)))
        for number, classes in enumerate([2, 3, 2])
    )
    return TaskSequence("small", tasks, (6,))


@pytest.fixture
def make_learner(sequence):
    def make(training=None, method=None, tasks=sequence):
        torch.manual_seed(0)
        model = MultiHead(MLP(6, (10, 8)), 8, tasks.num_classes)
        guard = agscl.protect(model, method or agscl.FineTuning(), example_inputs=torch.zeros(2, 6), heads="heads")
        generator = torch.Generator().manual_seed(1)
        return Learner(model, guard, training or Training(epochs=3, batch_size=16), generator, [Remember()])

    return make
