"""A fresh model for each task: what could be learned of a task without any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from agscl.methods.freezing import untrained
from agscl.methods.method import Learned, Memory, Network, Protection, RunningTask, StepHooks, same_shapes

from .kept import OwnTensors, require_known, tasks_in
from .replaced_tensors import replace_tensors_in_forward


@dataclass(frozen=True)
class SingleTask:
    """Learn each task alone with a fresh model: a reference of the plasticity measure beside fine-tuning.

    Every task begins with the weights that the model had when it was protected, and keeps a model of its own:
    ``guard.use_task(i)`` before task i is answered.
    """

    name: ClassVar[str] = "single-task"

    def protect(self, network: Network) -> SeparateModels:
        """A protection of the network, with nothing learned yet."""
        return SeparateModels(network)


class SeparateModels(Protection):
    """A model for each task. It keeps the first weights and those of every learned task, heads of other tasks aside."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._own = OwnTensors({**network.common, **network.buffers})
        self._first = {name: tensor.detach().clone() for name, tensor in self._common().items()}
        self._begun = torch.tensor(True)
        replace_tensors_in_forward(network.model, self._own.names, self._own.shown)

    @contextmanager
    def holding(self, task: RunningTask) -> Iterator[StepHooks]:
        """Begin with a fresh model, and without what the optimizer remembers of the old one."""
        self._own.show(None)
        heads = self._network.graph.own_heads(task.learned)
        with untrained(self._network.parameters[name] for name in heads):
            if not self._begun:
                with torch.no_grad():
                    for name, tensor in self._common().items():
                        tensor.copy_(self._first[name])
                for parameter in self._network.parameters.values():
                    task.optimizer.state.pop(parameter, None)
                self._begun = torch.tensor(True)
            yield StepHooks()

    def finish(self, learned: Learned) -> None:
        """Keep the task's model."""
        self._own.keep(learned.task)
        self._begun = torch.tensor(False)

    def use_task(self, task: int) -> None:
        """Answer with a learned task's model, or go on with the current one.

        Raises:
            ValueError: If the task is neither learned nor the next.
        """
        require_known(task, self._own.tasks, self._network)
        self._own.show(task)

    def tensors(self) -> dict[str, Tensor]:
        """The models of the learned tasks, the first weights, and whether the current ones are a task in progress."""
        first = {f"first.{name}": tensor for name, tensor in self._first.items()}
        return {**self._own.tensors(), **first, "begun": self._begun}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a saved state.

        Raises:
            ValueError: If a tensor does not fit.
        """
        tasks = sorted(tasks_in(tensors, "kept"))
        expected = {f"first.{name}": tensor for name, tensor in self._first.items()}
        same_shapes(tensors, {**self._own.blank(tasks), **expected, "begun": self._begun})
        self._own.load(tensors, tasks)
        self._first = {name: tensors[f"first.{name}"].to(t, copy=True) for name, t in self._first.items()}
        self._begun = tensors["begun"].clone()

    def memory(self) -> Memory:
        """The models of the learned tasks."""
        return Memory(0, self._own.num_bytes())

    def _common(self) -> dict[str, Tensor]:
        return {**self._network.common, **self._network.buffers}
