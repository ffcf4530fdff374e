"""Single-task: every task begins with the same fresh model and keeps its own."""

import copy

import pytest
import torch
from torch import nn

import agscl
from laws.sequences import MLP, OPTIMIZERS, MobileNet, learn, logits, protected, tasks

FLAT, IMAGE = (3, 2, 2), (3, 8, 8)


@pytest.mark.parametrize(("make", "shape"), [(MLP, FLAT), (MobileNet, IMAGE)])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_task_equals_a_model_that_never_saw_another(
    make: type[nn.Module], shape: tuple[int, ...], optimizer: str
) -> None:
    torch.manual_seed(0)
    model, data = make(), tasks(shape)
    first = copy.deepcopy(model)
    guard = protected(model, agscl.SingleTask(), shape)
    shared = OPTIMIZERS[optimizer](model.parameters())
    for task in range(3):
        guard.use_task(task)
        learn(guard, model, task, data[task], lambda _: shared, epochs=3)
    for task in range(3):
        alone = copy.deepcopy(first)
        single = protected(alone, agscl.FineTuning(), shape)
        single.use_task(task)
        learn(single, alone, task, data[task], OPTIMIZERS[optimizer], epochs=3)
        guard.use_task(task)
        assert torch.equal(logits(model, task, data[task][0]), logits(alone, task, data[task][0]))


def test_a_saved_state_answers_and_goes_on_as_the_original() -> None:
    torch.manual_seed(0)
    model, data = MLP(), tasks(FLAT)
    guard = protected(model, agscl.SingleTask(), FLAT)
    for task in range(2):
        learn(guard, model, task, data[task], OPTIMIZERS["adam"])
    twin = MLP()
    restored = protected(twin, agscl.SingleTask(), FLAT)
    twin.load_state_dict(model.state_dict())
    restored.load_state_dict(guard.state_dict())
    for learner, protection in ((model, guard), (twin, restored)):
        learn(protection, learner, 2, data[2], OPTIMIZERS["adam"])
    for task in range(3):
        guard.use_task(task)
        restored.use_task(task)
        assert torch.equal(logits(model, task, data[task][0]), logits(twin, task, data[task][0]))


def test_memory_is_a_model_for_every_learned_task() -> None:
    model, data = MLP(), tasks(FLAT)
    guard = protected(model, agscl.SingleTask(), FLAT)
    weights = sum(p.numel() * 4 for name, p in model.named_parameters() if not name.startswith("heads"))
    for task in range(2):
        learn(guard, model, task, data[task], OPTIMIZERS["adam"], epochs=1)
        assert guard.memory_bytes() == (task + 1) * weights
