"""A model that is cast, moved, loaded or compiled after protect() is guarded as before, or refused in one line."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

import agscl
from agscl.methods import EWC, HAT, WSN, Method, SingleTask
from laws.sequences import MLP, MobileNet, logits, protected, tasks

SHAPE = (3, 8, 8)
HARD = agscl.AGSCL(mu=9, lam=math.inf)
DATA = tasks(SHAPE)


def learned(guard: agscl.Guard, model: nn.Module, task: int, call: Callable[..., list[Tensor]] | None = None) -> None:
    x, y = DATA[task]
    x, call = x.to(next(model.parameters()).dtype), model if call is None else call
    optimizer = Adam(model.parameters(), lr=1e-2)
    with guard.attach(optimizer, steps_per_epoch=2):
        for _ in range(4):
            optimizer.zero_grad()
            model.train()
            F.cross_entropy(call(x)[task], y).backward()
            optimizer.step()
    guard.consolidate([(x, y)], lambda batch: model(batch[0])[task])


METHODS: dict[str, Method] = {
    "hard": HARD, "soft": agscl.AGSCL(mu=1, lam=4), "ewc": EWC(lam=1.0), "hat": HAT(), "wsn": WSN(),
    "single": SingleTask(),
}  # fmt: skip


@pytest.mark.parametrize("cast", [nn.Module.double, nn.Module.bfloat16])
@pytest.mark.parametrize("name", METHODS)
def test_a_model_that_is_cast_before_it_learns_is_guarded_as_it_is(name: str, cast: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    model = MobileNet()
    guard = protected(model, METHODS[name], SHAPE)
    cast(model)
    x = DATA[0][0].to(next(model.parameters()).dtype)
    learned(guard, model, 0)
    guard.use_task(0)
    reference = logits(model, 0, x)
    guard.use_task(1)
    learned(guard, model, 1)
    guard.use_task(0)
    if name not in ("soft", "ewc"):
        assert torch.equal(logits(model, 0, x), reference)


def test_statistics_of_a_cast_model_are_watched() -> None:
    torch.manual_seed(0)
    model = MobileNet()
    guard = protected(model, HARD, SHAPE)
    learned(guard, model.double(), 0)
    model.train()(5 * DATA[0][0].double())
    with pytest.raises(ValueError, match="were changed outside attach"):
        learned(guard, model, 1)


def assign(model: nn.Module) -> None:
    model.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()}, assign=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: model.double(), "was cast from torch.float32 to torch.float64 after a task was learned"),
        (lambda model: model.half(), "was cast from torch.float32 to torch.float16"),
        (lambda model: model.to("meta"), "moved from cpu to meta after protect|added, removed or replaced"),
        (assign, r"changed after protect\(\): .* was added, removed or replaced.*change weights in place"),
    ],
)
@pytest.mark.parametrize("name", METHODS)
def test_a_learned_model_that_is_changed_is_refused_in_one_line(
    name: str, change: Callable[[nn.Module], object], message: str
) -> None:
    torch.manual_seed(0)
    model = MobileNet()
    guard = protected(model, METHODS[name], SHAPE)
    learned(guard, model, 0)
    change(model)
    with (
        pytest.raises(ValueError, match=message) as caught,
        guard.attach(Adam(model.parameters()), steps_per_epoch=1),
    ):
        pass
    assert "\n" not in str(caught.value)


def in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


@pytest.mark.parametrize("make", [in_place, lambda model: torch.compile(model, backend="eager")])
def test_a_model_that_is_compiled_after_protect_keeps_old_answers(make: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(0)
    model = MLP(inputs=192)
    guard = protected(model, HARD, SHAPE)
    learned(guard, model, 0)
    reference, compiled = logits(model, 0, DATA[0][0]), make(model)
    for task in (1, 2):
        learned(guard, model, task, compiled)
        assert torch.equal(logits(model, 0, DATA[0][0]), reference)
