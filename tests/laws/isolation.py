"""The law of task gates: answers of a learned task depend on nothing that may still change."""

import torch
from torch import Tensor, nn
from torch.optim import SGD

import agscl

HUGE = 1e15


def push_all(guard: agscl.Guard, model: nn.Module, seed: int) -> dict[str, Tensor]:
    """Push every weight very far within a task, as an optimizer may; returns which positions have moved, by name."""
    generator = torch.Generator().manual_seed(seed)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = SGD(model.parameters(), lr=1.0)
    with guard.attach(optimizer, steps_per_epoch=1):
        for p in model.parameters():
            p.grad = HUGE * torch.randn(p.shape, generator=generator, dtype=p.dtype) if p.requires_grad else None
        optimizer.step()
    return {name: p.detach() != before[name] for name, p in model.named_parameters()}


def fill_moved(model: nn.Module, moved: dict[str, Tensor], value: float) -> None:
    """Put a value wherever a weight has moved."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.masked_fill_(moved[name], value)


def answers(guard: agscl.Guard, model: nn.Module, tasks: int, x: Tensor) -> list[Tensor]:
    """Logits of each of the first tasks, in eval mode."""
    result = []
    for task in range(tasks):
        guard.use_task(task)
        with torch.no_grad():
            result.append(model.eval()(x)[task].clone())
    return result
