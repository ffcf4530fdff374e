"""A fresh model for each task: what could be learned of a task without any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from agscl.methods.freezing import freeze
from agscl.methods.method import Learned, Memory, Network, Protection, RunningTask, StepHooks, restored
from agscl.nodes.surgery.replaced import replace_tensors_in_forward
from agscl.tensors import prefixed, under

from .kept import TaskTensors, require_no_ignored, tasks_in


@dataclass(frozen=True)
class SingleTask:
    """Learn each task alone with a fresh model: a reference of the plasticity measure beside fine-tuning.

    Every task begins with the weights that the model had when it was protected, and keeps a model of its own:
    ``guard.use_task(i)`` before task i is answered.
    """

    name: ClassVar[str] = "single-task"

    def protect(self, network: Network) -> SeparateModels:
        """A protection of the network, with nothing learned yet."""
        require_no_ignored(network)
        return SeparateModels(network)


class SeparateModels(Protection):
    """A model for each task. It keeps the first weights and those of every learned task, heads of other tasks aside."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._first = {name: tensor.clone() for name, tensor in self._own().items()}
        self._models = TaskTensors("kept")
        self._begun = torch.tensor(True)
        replace_tensors_in_forward(network.model, self._first, self._models.in_place_of, network.graph.users)

    @contextmanager
    def holding(self, task: RunningTask) -> Iterator[StepHooks]:
        """Begin with a fresh model, and without what the optimizer remembers of the old one."""
        self._models.shown = {}
        if not self._begun:
            with torch.no_grad():
                for name, tensor in {**self._network.common, **self._network.buffers}.items():
                    tensor.copy_(self._first[name])
            task.forget(self._network.parameters.values())
            self._begun = torch.tensor(True)
        with freeze(self._network, task, {}) as held:
            yield held

    def finish(self, learned: Learned) -> None:
        """Keep the task's model."""
        self._models.keep(learned.task, self._own())
        self._begun = torch.tensor(False)

    @property
    def exact(self) -> bool:
        """Each task has a network of its own."""
        return True

    @property
    def by_task(self) -> bool:
        """It is: each task has a part of its own."""
        return True

    def use_task(self, task: int) -> None:
        """Answer with a learned task's model, or go on with the current one."""
        self._models.show(task, self._network)

    def tensors(self) -> dict[str, Tensor]:
        """The models of the learned tasks, the first weights, and whether the current ones are a task in progress."""
        return {**self._models.tensors(), **prefixed(first=self._first), "begun": self._begun}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a saved state."""
        tasks = sorted(tasks_in(tensors, "kept"))
        models, first = self._models.blank(tasks, self._first), prefixed(first=self._first)
        state = restored(tensors, {**models, **first, "begun": self._begun})
        self._models.load(state, tasks)
        self._first, self._begun = under("first", state), state["begun"]

    def memory(self) -> Memory:
        """The models of the learned tasks."""
        return Memory(0, self._models.num_bytes())

    def _own(self) -> dict[str, Tensor]:
        """All that a task's model is made of, what the user has frozen included, since it may learn later."""
        network = self._network
        return {name: tensor.detach() for name, tensor in {**network.in_common, **network.buffers}.items()}
