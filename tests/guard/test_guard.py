"""The guard works with any optimizer and any loop, and refuses wrong use in one clear line."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

import agscl
from agscl.nodes.slices import gather
from laws.sequences import MLP, OPTIMIZERS, MobileNet, learn, logits, protected, tasks

SHAPE = (3, 2, 2)
HARD = agscl.AGSCL(mu=9, lam=math.inf)
DATA = tasks(SHAPE)


def mlp() -> MLP:
    torch.manual_seed(0)
    return MLP()


def after_one_task(method: agscl.AGSCL = HARD) -> tuple[MLP, agscl.Guard]:
    model = mlp()
    guard = protected(model, method, SHAPE)
    learn(guard, model, 0, DATA[0], OPTIMIZERS["adam"], epochs=8)
    return model, guard


def step(model: nn.Module, optimizer: Optimizer, task: int, part: slice = slice(0, 16)) -> None:
    x, y = DATA[task]
    optimizer.zero_grad()
    F.cross_entropy(model(x[part])[task], y[part]).backward()
    optimizer.step()


EXTRAS: dict[str, dict[str, Any]] = {
    "Adadelta": {}, "Adafactor": {}, "Adagrad": {}, "Adam": {"amsgrad": True}, "AdamW": {}, "Adamax": {},
    "ASGD": {}, "NAdam": {}, "RAdam": {}, "RMSprop": {"momentum": 0.9}, "Rprop": {},
    "SGD": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
}  # fmt: skip


@pytest.mark.parametrize("optimizer", EXTRAS)
def test_hard_freezing_is_exact_with_every_optimizer(optimizer: str) -> None:
    model, guard = after_one_task()
    before, reference = model.fc1.weight.detach().clone(), logits(model, 0, DATA[0][0])
    make = getattr(torch.optim, optimizer)
    learn(guard, model, 1, DATA[1], lambda parameters: make(parameters, lr=1e-2, **EXTRAS[optimizer]))
    assert torch.equal(logits(model, 0, DATA[0][0]), reference)
    assert not torch.equal(model.fc1.weight, before)


def test_hard_freezing_is_exact_when_the_optimizer_brings_momentum_from_before() -> None:
    model = mlp()
    guard, optimizer = protected(model, HARD, SHAPE), torch.optim.Adam(model.parameters(), lr=1e-2)
    learn(guard, model, 0, DATA[0], lambda _: optimizer)
    reference = logits(model, 0, DATA[0][0])
    learn(guard, model, 1, DATA[1], lambda _: optimizer)
    assert torch.equal(logits(model, 0, DATA[0][0]), reference)


def closure_of(model: nn.Module, optimizer: Optimizer, task: int) -> Callable[[], Tensor]:
    def closure() -> Tensor:
        x, y = DATA[task]
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x)[task], y)
        loss.backward()
        return loss

    return closure


@pytest.mark.parametrize("by_name", [False, True])
def test_a_closure_that_zeroes_gradients_does_not_lose_the_protection(by_name: bool) -> None:
    results = []
    for with_closure in (False, True):
        model, guard = after_one_task(agscl.AGSCL(mu=9, lam=math.inf, rho=0.0))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        with guard.attach(optimizer, steps_per_epoch=2):
            for _ in range(4):
                closure = closure_of(model, optimizer, 1)
                if not with_closure:
                    closure()
                    optimizer.step()
                elif by_name:
                    optimizer.step(closure=closure)
                else:
                    optimizer.step(closure)
        results.append(model.state_dict())
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_an_optimizer_that_calls_its_closure_many_times_is_guarded() -> None:
    model, guard = after_one_task()
    reference = logits(model, 0, DATA[0][0])
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=5)
    with guard.attach(optimizer, steps_per_epoch=1):
        optimizer.step(closure_of(model, optimizer, 1))
    assert torch.equal(logits(model, 0, DATA[0][0]), reference)


def test_each_layer_shrinks_by_the_rate_of_its_own_parameter_group() -> None:
    model = mlp()
    guard = protected(model, agscl.AGSCL(mu=1, lam=1), SHAPE)
    groups = [{"params": model.fc1.parameters(), "lr": 1e-3}, {"params": model.fc2.parameters(), "lr": 1e-1}]
    optimizer = torch.optim.SGD([*groups, {"params": model.heads.parameters()}], lr=1e-5)
    before = {layer.name: gather(layer.incoming, model.state_dict()).norm(dim=1) for layer in guard.graph.layers}
    with guard.attach(optimizer, steps_per_epoch=1):
        model(DATA[0][0])[0].sum().backward()
        for parameter in [*model.fc1.parameters(), *model.fc2.parameters()]:
            parameter.grad.zero_()
        optimizer.step()
    for layer, rate in zip(guard.graph.layers, (1e-3, 1e-1), strict=True):
        after = gather(layer.incoming, model.state_dict()).norm(dim=1)
        torch.testing.assert_close(after, (before[layer.name] - rate).clamp_min(0), rtol=1e-4, atol=1e-6)


def test_the_proximal_step_takes_the_rate_that_a_scheduler_has_set() -> None:
    model = mlp()
    guard = protected(model, agscl.AGSCL(mu=1, lam=1), SHAPE)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1)
    (layer, _), norms = guard.graph.layers, []
    with guard.attach(optimizer, steps_per_epoch=1):
        for _ in range(3):
            norms.append(gather(layer.incoming, model.state_dict()).norm(dim=1))
            model(DATA[0][0])[0].sum().backward()
            for parameter in model.fc1.parameters():
                parameter.grad.zero_()
            optimizer.step()
            scheduler.step()
    torch.testing.assert_close(norms[0] - norms[1], torch.full((24,), 0.1), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(norms[1] - norms[2], torch.full((24,), 0.01), rtol=1e-3, atol=1e-5)


def trained(loop: Callable[[nn.Module, Optimizer], None], steps: int = 1, **optimizer: Any) -> nn.Module:
    """Task 1 learned by a loop on a model that has frozen nodes; they are checked to be exact."""
    model, guard = after_one_task(agscl.AGSCL(mu=9, lam=math.inf, rho=0.0))
    reference = logits(model, 0, DATA[0][0])
    model.train()
    made = torch.optim.Adam(model.parameters(), lr=1e-2, **optimizer)
    with guard.attach(made, steps_per_epoch=steps):
        loop(model, made)
    assert torch.equal(logits(model, 0, DATA[0][0]), reference)
    return model


def test_gradients_can_be_accumulated_over_batches() -> None:
    def whole(model: nn.Module, optimizer: Optimizer) -> None:
        step(model, optimizer, 1, slice(0, 48))

    def in_parts(model: nn.Module, optimizer: Optimizer) -> None:
        x, y = DATA[1]
        for part, labels in zip(x.split(16), y.split(16), strict=True):
            (F.cross_entropy(model(part)[1], labels) / 3).backward()
        optimizer.step()

    for first, second in zip(trained(whole).parameters(), trained(in_parts).parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)


def test_gradients_can_be_clipped() -> None:
    def loop(model: nn.Module, optimizer: Optimizer) -> None:
        for _ in range(3):
            x, y = DATA[1]
            optimizer.zero_grad()
            F.cross_entropy(model(x)[1], y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()

    trained(loop)


def test_autocast_works() -> None:
    def loop(model: nn.Module, optimizer: Optimizer) -> None:
        x, y = DATA[1]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(x)[1].float(), y)
        loss.backward()
        optimizer.step()

    trained(loop)


@pytest.mark.parametrize("fused", [False, True])
def test_a_gradient_scaler_works_and_skips_overflown_steps(fused: bool) -> None:
    scale = 2.0**10

    def loop(model: nn.Module, optimizer: Optimizer) -> None:
        scaler, (x, y) = torch.amp.GradScaler("cpu", init_scale=scale), DATA[1]
        for factor in (1.0, math.inf, 1.0):
            optimizer.zero_grad()
            before = [p.detach().clone() for p in model.parameters()]
            scaler.scale(F.cross_entropy(model(x)[1], y) * factor).backward()
            scaler.step(optimizer)
            scaler.update()
            same = all(torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))
            assert same == (factor == math.inf)

    trained(loop, steps=100, fused=fused)


def test_a_skipped_step_does_not_count_towards_the_epoch() -> None:
    model = mlp()
    guard = protected(model, agscl.AGSCL(mu=1e6, lam=1), SHAPE)
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0, fused=True)
    scaler, (x, y) = torch.amp.GradScaler("cpu", init_scale=4.0), DATA[0]
    with guard.attach(optimizer, steps_per_epoch=2):
        for factor in (1.0, math.inf):
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(model(x)[0], y) * factor).backward()
            scaler.step(optimizer)
            scaler.update()
    assert (model.fc1.weight != 0).any()


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
@pytest.mark.parametrize("make", [MLP, MobileNet])
def test_a_compiled_model_is_guarded(make: Callable[[], nn.Module]) -> None:
    shape = SHAPE if make is MLP else (3, 8, 8)
    data = tasks(shape)
    torch.manual_seed(0)
    model = make()
    compiled = torch.compile(model, backend="aot_eager")
    guard = protected(compiled, agscl.AGSCL(mu=9, lam=math.inf), shape)
    learn(guard, compiled, 0, data[0], OPTIMIZERS["adam"])
    reference = logits(model, 0, data[0][0])
    learn(guard, compiled, 1, data[1], OPTIMIZERS["adamw with weight decay"])
    assert torch.equal(logits(model, 0, data[0][0]), reference)


def test_a_frozen_channel_normalises_alike_in_training_and_evaluation() -> None:
    shape = (3, 8, 8)
    model = MobileNet()
    guard = protected(model, agscl.AGSCL(mu=0, lam=math.inf, rho=0.0), shape)
    (x, _), (other, _), *_ = tasks(shape)
    learn(guard, model, 0, tasks(shape)[0], OPTIMIZERS["adam"], epochs=2)
    expected = logits(model, 0, x)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with guard.attach(optimizer, steps_per_epoch=1):
        model.train()
        assert torch.equal(model(x)[0], expected)  # mu=0 left no node free
        model(3 * other)
        assert torch.equal(logits(model, 0, x), expected)
        model.train()
    model(3 * other)
    assert not torch.equal(logits(model, 0, x), expected)  # outside attach() the model is the user's ...
    with (
        pytest.raises(ValueError, match="running statistics that earlier tasks rely on were changed"),
        guard.attach(optimizer, steps_per_epoch=1),
    ):
        pass  # ... but the guard notices


def test_finished_heads_are_out_of_training_while_attached_and_back_afterwards() -> None:
    model, guard = after_one_task()
    with guard.attach(torch.optim.Adam(model.parameters()), steps_per_epoch=1):
        assert [p.requires_grad for p in model.heads[0].parameters()] == [False, False]
        assert all(p.requires_grad for p in model.heads[1].parameters())
    assert all(p.requires_grad for p in model.parameters())


def test_a_saved_state_goes_on_bit_identically_in_the_middle_of_an_epoch() -> None:
    def run(stop: int | None) -> dict[str, Tensor]:
        model, guard = after_one_task(agscl.AGSCL(mu=9, lam=2, rho=0.0))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        with guard.attach(optimizer, steps_per_epoch=3):
            for _ in range(stop or 5):
                step(model, optimizer, 1)
            saved = copy.deepcopy((model.state_dict(), optimizer.state_dict(), guard.state_dict()))
        if stop:
            model, (weights, moments, state) = mlp(), saved
            guard = protected(model, agscl.AGSCL(mu=9, lam=2, rho=0.0), SHAPE)
            model.load_state_dict(weights)
            guard.load_state_dict(state)
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
            optimizer.load_state_dict(moments)
            with guard.attach(optimizer, steps_per_epoch=3):
                for _ in range(5 - stop):
                    step(model, optimizer, 1)
        guard.consolidate([DATA[1]], lambda b: model(b[0])[1])
        return {**model.state_dict(), **guard.state_dict()}

    whole, resumed = run(None), run(2)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_learning_on_leaves_a_loaded_state_alone() -> None:
    model, guard = after_one_task()
    saved, weights = guard.state_dict(), copy.deepcopy(model.state_dict())
    other = mlp()
    other.load_state_dict(weights)
    second = protected(other, HARD, SHAPE)
    second.load_state_dict(saved)
    before = {name: tensor.clone() for name, tensor in saved.items()}
    learn(second, other, 1, DATA[1], OPTIMIZERS["adam"])
    assert all(torch.equal(saved[name], before[name]) for name in saved)


def test_consolidate_leaves_modes_and_running_statistics_alone() -> None:
    shape = (3, 8, 8)
    model, (x, y) = MobileNet(), tasks(shape)[0]
    guard = protected(model, agscl.AGSCL(mu=0, lam=1, rho=0.0), shape)
    optimizer = torch.optim.Adam(model.parameters())
    with guard.attach(optimizer, steps_per_epoch=1):
        F.cross_entropy(model(x)[0], y).backward()
        optimizer.step()
    model.last[1].eval()
    modes = [module.training for module in model.modules()]
    buffers, generator = {n: b.clone() for n, b in model.named_buffers()}, torch.get_rng_state()
    guard.consolidate([x], lambda b: model(b)[0])
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())
    assert torch.equal(torch.get_rng_state(), generator)


def attach_twice(model: MLP, guard: agscl.Guard) -> None:
    optimizer = torch.optim.Adam(model.parameters())
    with guard.attach(optimizer, steps_per_epoch=1), guard.attach(optimizer, steps_per_epoch=1):
        pass


def attach_incomplete(model: MLP, guard: agscl.Guard) -> None:
    with guard.attach(torch.optim.Adam(model.fc1.parameters()), steps_per_epoch=1):
        pass


def attach_to_empty_loader(model: MLP, guard: agscl.Guard) -> None:
    with guard.attach(torch.optim.Adam(model.parameters()), steps_per_epoch=0):
        pass


def consolidate_inside(model: MLP, guard: agscl.Guard) -> None:
    optimizer = torch.optim.Adam(model.parameters())
    with guard.attach(optimizer, steps_per_epoch=1):
        step(model, optimizer, 1)
        guard.consolidate([DATA[1]], lambda b: model(b[0])[1])


def replace_a_layer(model: MLP, guard: agscl.Guard) -> None:
    model.fc2 = nn.Linear(24, 24)
    with guard.attach(torch.optim.Adam(model.parameters()), steps_per_epoch=1):
        pass


def train_unguarded(model: MLP, guard: agscl.Guard) -> None:
    step(model, torch.optim.Adam(model.parameters()), 1)
    with guard.attach(torch.optim.Adam(model.parameters()), steps_per_epoch=1):
        pass


def nan_gradient(model: MLP, guard: agscl.Guard) -> None:
    optimizer = torch.optim.Adam(model.parameters())
    with guard.attach(optimizer, steps_per_epoch=1):
        (model(DATA[1][0])[1].sum() * math.nan).backward()
        optimizer.step()


def wrong_head(model: MLP, guard: agscl.Guard) -> None:
    optimizer = torch.optim.Adam(model.parameters())
    with guard.attach(optimizer, steps_per_epoch=1):
        step(model, optimizer, 2)


def relearn(model: MLP, guard: agscl.Guard) -> None:
    guard.use_task(0)
    with guard.attach(torch.optim.Adam(model.parameters()), steps_per_epoch=1):
        pass


@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        (attach_twice, "attached already"),
        (attach_incomplete, r"does not hold 'fc2.weight'; give it model.parameters\(\)"),
        (attach_to_empty_loader, "steps_per_epoch must be at least 1, not 0: is the loader empty"),
        (consolidate_inside, r"consolidate after the attach\(\) block"),
        (lambda _, guard: guard.consolidate([], print), "nothing was learned yet"),
        (replace_a_layer, r"changed after protect\(\): 'fc2.bias'"),
        (train_unguarded, r"earlier tasks rely on were changed outside attach\(\)"),
        (nan_gradient, "gradient of 'fc1.weight' is not finite at step 0"),
        (wrong_head, r"no gradient reached the head of task 1.*call use_task\(\)"),
        (relearn, "task 0 is learned already"),
        (lambda _, guard: guard.use_task(4), "no task 4: the model has heads for 4 tasks"),
        (lambda _, guard: guard.use_task(-1), "no task -1"),
        (lambda _, guard: guard.load_state_dict({}), "no state of a guard"),
    ],
)
def test_wrong_use_is_refused_and_changes_nothing(misuse: Callable[..., None], message: str) -> None:
    model, guard = after_one_task()
    state = {name: tensor.clone() for name, tensor in guard.state_dict().items()}
    with pytest.raises(ValueError, match=message) as caught:
        misuse(model, guard)
    assert "\n" not in str(caught.value)
    after = guard.state_dict()
    assert all(torch.equal(after[name], state[name]) for name in state if name not in ("steps", "task"))
    assert guard._running is None


def test_an_empty_loader_at_consolidation_is_refused_and_changes_nothing() -> None:
    model = mlp()
    guard, optimizer = protected(model, HARD, SHAPE), torch.optim.Adam(model.parameters())
    with guard.attach(optimizer, steps_per_epoch=1):
        step(model, optimizer, 0)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match="no data to measure importance on"):
        guard.consolidate([], lambda b: model(b)[0])
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    guard.consolidate([DATA[0][0]], lambda b: model(b)[0])
    assert guard.task == 1


def test_a_state_of_another_model_is_refused() -> None:
    _, guard = after_one_task()
    other = agscl.protect(MLP(width=12), HARD, example_inputs=torch.zeros(2, 12), heads="heads")
    with pytest.raises(ValueError, match=r"does not belong to this guard: '.*' has shape"):
        other.load_state_dict(guard.state_dict())


def test_more_tasks_than_heads_are_refused() -> None:
    model = mlp()
    guard = protected(model, agscl.FineTuning(), SHAPE)
    for task, data in enumerate(DATA):
        learn(guard, model, task, data, OPTIMIZERS["adam"], epochs=1)
    with (
        pytest.raises(ValueError, match="task 4 has no head: the model has heads for 4 tasks"),
        guard.attach(torch.optim.Adam(model.parameters()), steps_per_epoch=1),
    ):
        pass


def test_tasks_may_come_in_any_order() -> None:
    model = mlp()
    guard = protected(model, HARD, SHAPE)
    references = {}
    for task in (2, 0, 3):
        guard.use_task(task)
        learn(guard, model, task, DATA[task], OPTIMIZERS["adam"])
        assert all(torch.equal(logits(model, old, DATA[old][0]), r) for old, r in references.items())
        references[task] = logits(model, task, DATA[task][0])
    assert guard.task == 4
