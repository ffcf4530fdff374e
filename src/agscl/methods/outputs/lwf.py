"""LwF: learning without forgetting, Li and Hoiem (ECCV 2016), with one head per task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from agscl.methods.method import Learned, Memory, Network, Protection, Training, check_range, num_bytes, same_shapes

from .all_heads import outputs_of, outputs_with, present_outputs


@dataclass(frozen=True)
class LwF:
    r"""Learning without forgetting: old heads keep answering new data as they did before.

    :math:`\lambda \sum_t -\langle p_t', \log \hat p_t'\rangle`, equations (2) and (3): the cross-entropy between the
    softened outputs of the old and the present model on every learned task's head; the sum over tasks, the mean over
    samples. Add ``guard.extra_loss(batch, forward)`` to the loss. It calls ``forward`` twice: under ``no_grad`` with
    the old weights in place, and for the present outputs; a loop that has these already may return them whenever
    gradients are enabled, and then only the old forward comes on top of its own.

    Attributes:
        lam: Strength of the distillation.
        temperature: Softens both outputs.
    """

    name: ClassVar[str] = "lwf"
    lam: float = 1.0
    temperature: float = 2.0

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
            ValueError: If a value is out of range.
        """
        largest = torch.finfo(torch.float32).max
        check_range("lam", self.lam, low=0, high=largest)
        check_range("temperature", self.temperature, low=0, high=largest, open_low=True)

    def protect(self, network: Network) -> Distillation:
        """A protection of the network, with nothing learned yet."""
        return Distillation(self, network)


class Distillation(Protection):
    """LwF on one network. It keeps a copy of the model after the last task, without heads not yet learned."""

    def __init__(self, method: LwF, network: Network) -> None:
        self._method, self._network = method, network
        self._old: dict[str, Tensor] = {}
        self._tasks: tuple[int, ...] = ()

    def begin(self, training: Training) -> None:
        """Take note of the tasks to keep."""
        self._tasks = training.learned

    def end(self) -> None:
        """Nothing is distilled outside training."""
        self._tasks = ()

    @property
    def has_extra_loss(self) -> bool:
        """From the second task on."""
        return bool(self._tasks) and self._method.lam > 0

    def extra_loss(self, batch: Any, forward: Callable[[Any], Any]) -> Tensor | None:
        """The distillation loss; `None` before the second task and with ``lam=0``.

        Raises:
            ValueError: If the outputs are not those of all heads.
        """
        if not self.has_extra_loss:
            return None
        with torch.no_grad(), _eval_mode(self._network.model):
            answers = outputs_with(self._network, self._old, forward, batch)
        outputs = present_outputs(self._network, forward, batch)
        shared = self._network.graph.num_tasks is None
        losses = [self._loss(outputs, answers, task) for task in (self._tasks[-1:] if shared else self._tasks)]
        return self._method.lam * torch.stack(losses).sum()

    def finish(self, learned: Learned) -> None:
        """Copy the model."""
        graph, state = self._network.graph, self._network.state
        unseen = graph.head_parameters - {name for task in learned.tasks for name in graph.head_of(task)}
        self._old = {name: t.detach().clone() for name, t in state.items() if name not in unseen}

    def tensors(self) -> dict[str, Tensor]:
        """The copy, by name."""
        return dict(self._old)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a saved state.

        Raises:
            ValueError: If a tensor does not fit.
        """
        live = self._network.state
        same_shapes(tensors, {name: tensor for name, tensor in live.items() if name in tensors})
        self._old = {name: tensor.to(live[name], copy=True) for name, tensor in tensors.items()}

    def memory(self) -> Memory:
        """The old model is what regularizes."""
        size = num_bytes(self._old.values())
        return Memory(size, size)

    def _loss(self, outputs: Any, answers: Any, task: int) -> Tensor:
        network, temperature = self._network, self._method.temperature
        old, new = (outputs_of(network.graph, given, task) / temperature for given in (answers, outputs))
        return cross_entropy(new, old.softmax(1))


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules() if module.training]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
