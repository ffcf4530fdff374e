"""Mistakes that other implementations of these methods made, each by its name."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import agscl
from agscl.methods import Method
from laws.sequences import MLP, OPTIMIZERS, learn, logits, protected, tasks

SHAPE = (3, 2, 2)
DATA = tasks(SHAPE)
PENALISED: dict[str, Method] = {
    "ewc": agscl.EWC(lam=100.0),
    "ewc online": agscl.EWC(lam=100.0, online=True),
    "si": agscl.SI(c=5.0),
    "rwalk": agscl.RWalk(lam=5.0),
    "mas": agscl.MAS(lam=5.0),
}


def mlp() -> MLP:
    torch.manual_seed(0)
    return MLP()


def after(method: Method, count: int) -> tuple[MLP, agscl.Guard]:
    model = mlp()
    guard = protected(model, method, SHAPE)
    for task in range(count):
        learn(guard, model, task, DATA[task], OPTIMIZERS["adam"])
    return model, guard


def fisher(guard: agscl.Guard) -> Tensor:
    return guard.state_dict()["method.importance.fc1.weight"]


def one_step(model: nn.Module, guard: agscl.Guard, task: int) -> None:
    optimizer, (x, y) = torch.optim.SGD(model.parameters(), lr=1e-2), DATA[task]
    with guard.attach(optimizer, steps_per_epoch=1):
        F.cross_entropy(model(x)[task], y).backward()
        optimizer.step()


def test_importance_of_the_last_batch_alone() -> None:
    """SequeL: every batch overwrote the importance of the one before."""
    values = []
    for chosen in (slice(None), slice(0, 32), slice(32, None)):
        model = mlp()
        guard = protected(model, agscl.EWC(lam=1.0), SHAPE)
        one_step(model, guard, 0)
        x, y = DATA[0][0][chosen], DATA[0][1][chosen]
        guard.consolidate(list(zip(x.split(16), y.split(16), strict=True)), lambda b, model=model: model(b[0])[0])  # type: ignore[misc]
        values.append(fisher(guard))
    torch.testing.assert_close(values[0], (values[1] * 32 + values[2] * 16) / 48)


def test_only_the_previous_task_is_protected() -> None:
    """SequeL: a new task's importance replaced that of all before."""
    _, one = after(agscl.EWC(lam=0.0), 1)
    _, two = after(agscl.EWC(lam=0.0), 2)
    assert (fisher(two) >= fisher(one)).all()
    assert (fisher(two) > fisher(one)).any()


def test_partial_batches_count_too_much() -> None:
    """Official AGS-CL code: every batch counted as 20 samples, whatever its size."""
    model = mlp()
    guard, (x, y) = protected(model, agscl.EWC(lam=1.0, fisher="batched"), SHAPE), DATA[0]
    parts = list(zip(x[:25].split(20), y[:25].split(20), strict=True))
    one_step(model, guard, 0)
    guard.consolidate(parts, lambda b: model(b[0])[0])
    expected = torch.zeros_like(model.fc1.weight)
    for part, labels in parts:
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(part)[0], labels), [model.fc1.weight])
        expected += len(part) / 25 * gradient**2
    torch.testing.assert_close(fisher(guard), expected)


@pytest.mark.parametrize("name", PENALISED)
def test_penalty_is_always_zero(name: str) -> None:
    """Avalanche #1099, #728, #730: (online) EWC never had a penalty."""
    model, guard = after(PENALISED[name], 1)
    assert guard.penalty() == 0
    with torch.no_grad():
        model.fc2.weight.add_(0.1)
    value = guard.penalty()
    assert value is not None
    assert value > 0


@pytest.mark.parametrize("name", PENALISED)
def test_method_is_identical_to_fine_tuning(name: str) -> None:
    """Avalanche #734: SI did nothing."""
    weights = [after(method, 2)[0].fc1.weight for method in (PENALISED[name], agscl.FineTuning())]
    assert not torch.equal(*weights)


@pytest.mark.parametrize("name", PENALISED)
def test_a_resumed_run_has_no_penalty(name: str) -> None:
    """Mammoth: Fisher, checkpoint and omega were not part of what was saved."""
    model, guard = after(PENALISED[name], 1)
    twin = mlp()
    restored = protected(twin, PENALISED[name], SHAPE)
    twin.load_state_dict(model.state_dict())
    restored.load_state_dict(guard.state_dict())
    for learner, protection in ((model, guard), (twin, restored)):
        learn(protection, learner, 1, DATA[1], OPTIMIZERS["adam"])
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    value = restored.penalty()
    assert value is not None
    assert value >= 0


@pytest.mark.parametrize("name", PENALISED)
def test_every_step_takes_a_second_forward_pass(name: str) -> None:
    """Avalanche: RWalk computed each batch's gradient a second time."""
    model, guard = after(PENALISED[name], 1)
    calls = []
    model.register_forward_hook(lambda *_: calls.append("forward"))
    model.fc2.register_full_backward_hook(lambda *_: calls.append("backward"))
    one_step(model, guard, 1)
    assert calls == ["forward", "backward"]


def test_a_model_is_kept_for_every_past_task() -> None:
    """clarena: EWC's memory grew by a copy of the backbone with every task."""
    assert after(agscl.EWC(lam=1.0), 1)[1].memory_bytes() == after(agscl.EWC(lam=1.0), 3)[1].memory_bytes()


class WithNorm(nn.Module):
    """Batch norm and dropout in front of heads of unequal sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm, self.drop = nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)
        self.heads = nn.ModuleList([nn.Linear(8, classes) for classes in (2, 5, 2, 3)])

    def forward(self, x: Tensor) -> list[Tensor]:
        h = self.drop(F.relu(self.norm(self.fc(x.flatten(1)))))
        return [head(h) for head in self.heads]


EVERY: dict[str, Method] = {
    **PENALISED,
    "ewc sampled": agscl.EWC(lam=1.0, fisher="sampled"),
    "ewc exact": agscl.EWC(lam=1.0, fisher="exact"),
    "ewc batched": agscl.EWC(lam=1.0, fisher="batched"),
    "hat": agscl.HAT(),
    "wsn": agscl.WSN(),
    "gpm": agscl.GPM(),
    "lwf": agscl.LwF(),
}


@pytest.mark.parametrize("name", EVERY)
def test_importance_pass_updates_batch_norm(name: str) -> None:
    """Avalanche #723, FACIL: importance was measured in training mode, with dropout on and statistics drifting."""
    torch.manual_seed(0)
    model = WithNorm()
    guard = protected(model, EVERY[name], SHAPE)
    model.train()
    one_step(model, guard, 0)
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    guard.consolidate([DATA[0]], lambda b: model(b[0])[0])
    assert all(torch.equal(state[key], tensor) for key, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("name", EVERY)
def test_heads_of_unequal_sizes_crash(name: str) -> None:
    """Avalanche #954, #1047, #722, FACIL #44: regularizers failed when heads differ or are new."""
    torch.manual_seed(0)
    model = WithNorm()
    guard = protected(model, EVERY[name], SHAPE)
    unseen = copy.deepcopy(model.heads[3].state_dict())
    for task in range(3):
        x, y = DATA[task]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        guard.use_task(task)
        with guard.attach(optimizer, steps_per_epoch=1):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x)[task], y)
            extra = guard.extra_loss((x, y), lambda b: model(b[0]))
            (loss if extra is None else loss + extra).backward()
            optimizer.step()
        guard.consolidate([(x, y)], lambda b, task=task: model(b[0])[task])  # type: ignore[misc]
    assert all(torch.equal(unseen[key], tensor) for key, tensor in model.heads[3].state_dict().items())


def test_validation_loss_contains_the_penalty() -> None:
    """Official AGS-CL code: baselines chose models by the penalised loss, AGS-CL by the plain one."""
    for method in EVERY.values():
        model, guard = after(method, 1)
        guard.use_task(1)
        x, y = DATA[1]
        plain = F.cross_entropy(logits(model, 1, x), y)
        assert guard.extra_loss((x, y), lambda b, model=model: model(b[0])) is None  # type: ignore[misc]
        assert torch.equal(F.cross_entropy(logits(model, 1, x), y), plain)


def test_si_scales_importance_by_a_learning_rate_or_forgets_to_reset_the_path() -> None:
    """Avalanche #824: SI not aligned with the paper; the path integral begins anew with every task."""
    model, guard = after(agscl.SI(c=1.0), 2)
    state: dict[str, Any] = guard.state_dict()
    assert all(not tensor.any() for name, tensor in state.items() if name.startswith("method.saved."))
    for name, parameter in model.named_parameters():
        if not name.startswith("heads"):
            assert torch.equal(state[f"method.origin.{name}"], parameter)
