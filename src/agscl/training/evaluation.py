"""Loss and accuracy of a model on one task, exactly, example by example."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from agscl.benchmarks.task import Batch, Examples
from agscl.models import MultiHead
from agscl.runs.machine import PLAIN, Machine

from .joint import joined_logits

EVALUATION_BATCH = 1024
"""Examples evaluated at once: no gradients are kept, so batches can be large."""


@dataclass(frozen=True)
class LossAndAccuracy:
    """Mean cross-entropy and share of correct answers over a set of examples."""

    loss: float
    accuracy: float


@torch.no_grad()
def evaluate(
    model: MultiHead, examples: Examples, task: int, *, joint: bool = False, machine: Machine = PLAIN
) -> LossAndAccuracy:
    """Evaluate one task's head in eval mode; the model is left in eval mode.

    Args:
        model: The model.
        examples: What it answers.
        task: Number of the task.
        joint: The examples are those of all tasks up to this one; labels count on from task to task.
        machine: Where and how the model computes.

    Raises:
        ValueError: If there are no examples or a label has no output.
    """
    require_examples(examples, task)
    model.eval()
    sums = torch.zeros(2, dtype=torch.float64)
    for batch in map(machine.place, examples.batches(EVALUATION_BATCH)):
        with machine.autocast():
            logits = answers(model, batch, task, joint=joint)
        logits, labels = logits.float(), batch[1]
        require_labels(labels, logits.shape[1])
        loss_sum = cross_entropy(logits, labels, reduction="sum")
        num_correct = (logits.argmax(dim=1) == labels).sum()
        sums += torch.stack([loss_sum.double(), num_correct.double()]).cpu()
    loss, correct = (sums / len(examples)).tolist()
    return LossAndAccuracy(loss, correct)


def answers(model: MultiHead, batch: Batch, task: int, *, joint: bool) -> Tensor:
    """Logits for a batch: of the task's head, the only one computed, or of each example's own head."""
    inputs, labels = batch
    if not joint:
        logits: Tensor = model(inputs, task)
        return logits
    outputs = model(inputs)[: task + 1]
    require_labels(labels, sum(logits.shape[1] for logits in outputs))
    return joined_logits(outputs, labels)


def batch_loss(logits: Tensor, labels: Tensor, *, checked: bool = True) -> Tensor:
    """Mean cross-entropy of a batch; a `ValueError` if a label has no output, unless that is not checked."""
    if checked:
        require_labels(labels, logits.shape[1])
    return cross_entropy(logits, labels)


def require_examples(examples: Examples, task: int) -> None:
    """Refuse an empty set, with a `ValueError`."""
    if len(examples) == 0:
        raise ValueError(f"task {task} has no examples: every part of a task (train, validation, test) needs some")


def require_labels(labels: Tensor, num_classes: int) -> None:
    """Refuse labels that the head has no output for, with a `ValueError`."""
    low, high = (int(bound) for bound in labels.aminmax())
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"labels from {low} to {high} do not fit a head of {num_classes} classes: "
            f"labels of a task count from 0 to {num_classes - 1}"
        )
