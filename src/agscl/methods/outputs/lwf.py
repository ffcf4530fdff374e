"""LwF: learning without forgetting, Li and Hoiem (ECCV 2016), with one head per task."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from agscl.methods.functional import call_with
from agscl.methods.method import (
    Forward,
    Learned,
    LossTerm,
    Memory,
    Network,
    Protection,
    RunningTask,
    StepHooks,
    check_range,
    num_bytes,
    restored,
)
from agscl.methods.space import LogUniform, OneOf, Space
from agscl.nodes.tracing.trace import eval_mode

from .all_heads import current_outputs, outputs_of


@dataclass(frozen=True)
class LwF:
    r"""Learning without forgetting: old heads keep answering new data as they did before.

    :math:`\lambda \sum_t -\langle p_t', \log \hat p_t'\rangle`, equations (2) and (3): the cross-entropy between the
    softened outputs of the old and the current model on every learned task's head; the sum over tasks, the mean over
    samples. Add ``guard.extra_loss(batch, forward)`` to the loss. It calls ``forward`` twice: under ``no_grad`` with
    the old weights in place, and for the current outputs; a loop that has these already may return them whenever
    gradients are enabled, and then only the old forward comes on top of its own.

    Attributes:
        lam: Strength of the distillation.
        temperature: Softens both outputs.
    """

    name: ClassVar[str] = "lwf"
    space: ClassVar[Space] = {"lam": LogUniform(0.1, 10.0), "temperature": OneOf((1.0, 2.0, 4.0))}  # 1 or 2; 1 or 2
    lam: float = 1.0
    temperature: float = 2.0

    def __post_init__(self) -> None:
        largest = torch.finfo(torch.float32).max
        check_range("lam", self.lam, low=0, high=largest)
        check_range("temperature", self.temperature, low=0, high=largest, open_low=True)

    def protect(self, network: Network) -> Distillation:
        """A protection of the network, with nothing learned yet."""
        return Distillation(self, network)


class Distillation(Protection, LossTerm):
    """LwF on one network: the distillation loss, and a copy of the model after the last task, which it needs.

    Attributes:
        weights: The copy by name, without heads not yet learned.
    """

    def __init__(self, method: LwF, network: Network) -> None:
        self._method, self._network = method, network
        self.weights: dict[str, Tensor] = {}
        self.loss_terms = (self,)

    def applies(self, task: RunningTask | None) -> bool:
        """From the second task on, unless ``lam=0``."""
        return task is not None and bool(task.learned) and self._method.lam > 0

    def value(self, network: Network, task: RunningTask, batch: Any, forward: Forward) -> Tensor:
        """The term, shape ``()``: the sum over heads of learned tasks."""
        with torch.no_grad(), eval_mode(network.model):
            answers = call_with(network.model, self.weights, forward, batch)
        outputs = current_outputs(network, forward, batch)
        heads = task.learned[-1:] if network.graph.num_tasks is None else task.learned
        pairs = [(outputs_of(network.graph, outputs, t), outputs_of(network.graph, answers, t)) for t in heads]
        losses = [distillation(new, old, self._method.temperature) for new, old in pairs]
        return self._method.lam * torch.stack(losses).sum()

    def holding(self, task: RunningTask) -> AbstractContextManager[StepHooks]:
        """Nothing is held: the loss is all there is."""
        return nullcontext(StepHooks())

    def finish(self, learned: Learned) -> None:
        """Copy the model."""
        graph, state = self._network.graph, self._network.state
        unseen = graph.head_parameters - {name for task in learned.tasks for name in graph.head_of(task)}
        self.weights = {name: t.detach().clone() for name, t in state.items() if name not in unseen}

    def tensors(self) -> dict[str, Tensor]:
        """The copy, by name."""
        return dict(self.weights)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take a saved state."""
        state = self._network.state
        self.weights = restored(tensors, {name: tensor for name, tensor in state.items() if name in tensors})

    def memory(self) -> Memory:
        """The old model is what regularizes."""
        size = num_bytes(self.weights.values())
        return Memory(size, size)


def distillation(logits: Tensor, old_logits: Tensor, temperature: float) -> Tensor:
    """Cross-entropy between the softened old and new outputs, mean over samples, shape ``()``; equations (2) and (3).

    Args:
        logits: Shape ``(B, classes)``.
        old_logits: Same shape.
        temperature: Softens both.

    >>> distillation(torch.zeros(1, 2), torch.tensor([[5.0, -5.0]]), temperature=2.0)
    tensor(0.6931)
    """
    return cross_entropy(logits / temperature, (old_logits / temperature).softmax(1))
