"""EWC, SI, RWalk and MAS equal the same methods written with the penalty in the loss, and obey their laws."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import agscl
from agscl.methods import Method
from laws.sequences import OPTIMIZERS
from methods.oracles import in_loss

CLASSES = (2, 4, 3)
"""Heads of unequal sizes."""

PAIRS: dict[str, tuple[Method, Callable[[], Any]]] = {
    "ewc": (agscl.EWC(lam=30.0), lambda: in_loss.EWC(30.0)),
    "ewc online": (agscl.EWC(lam=30.0, online=True, decay=0.7), lambda: in_loss.EWC(30.0, "online", 0.7)),
    "ewc running mean": (agscl.EWC(lam=30.0, merge="running-mean"), lambda: in_loss.EWC(30.0, "mean")),
    "si": (agscl.SI(c=2.0), lambda: in_loss.SI(2.0)),
    "rwalk": (agscl.RWalk(lam=3.0, interval=4), lambda: in_loss.RWalk(3.0, interval=4)),
    "mas": (agscl.MAS(lam=2.0), lambda: in_loss.MAS(2.0)),
}

FREE: dict[str, Method] = {
    "ewc": agscl.EWC(lam=0.0),
    "si": agscl.SI(c=0.0),
    "rwalk": agscl.RWalk(lam=0.0),
    "mas": agscl.MAS(lam=0.0),
}

HARD: dict[str, Method] = {
    "ewc": agscl.EWC(lam=math.inf),
    "si": agscl.SI(c=math.inf),
    "rwalk": agscl.RWalk(lam=math.inf),
    "mas": agscl.MAS(lam=math.inf),
}


class Net(nn.Module):
    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3) if norm else nn.Identity()
        self.fc = nn.Linear(12, 5)
        self.heads = nn.ModuleList([nn.Linear(5, classes) for classes in CLASSES])

    def forward(self, x: Tensor) -> list[Tensor]:
        h = F.relu(self.fc(F.relu(self.norm(self.conv(x))).flatten(1)))
        return [head(h) for head in self.heads]


def net(norm: bool = False) -> Net:
    torch.manual_seed(0)
    return Net(norm).double()


def problems(samples: int = 20) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    xs = [torch.randn(samples, 1, 4, 4, generator=generator, dtype=torch.float64) for _ in CLASSES]
    return [(x, torch.randint(0, c, (samples,), generator=generator)) for x, c in zip(xs, CLASSES, strict=True)]


DATA = problems()


def guard_of(model: nn.Module, method: Method) -> agscl.Guard:
    return agscl.protect(model, method, example_inputs=DATA[0][0][:2], heads="heads")


def train(model: nn.Module, guard: agscl.Guard, task: int, optimizer: Any, steps: int = 9) -> list[dict[str, Tensor]]:
    (x, y), gradients = DATA[task], []
    model.train()
    with guard.attach(optimizer, steps_per_epoch=3):
        for part in list(torch.arange(len(x)).split(8)) * (steps // 3):
            optimizer.zero_grad()
            F.cross_entropy(model(x[part])[task], y[part]).backward()
            optimizer.step()
            gradients.append({n: p.grad.clone() for n, p in in_loss.trunk(model).items() if p.grad is not None})
    return gradients


def consolidate(model: nn.Module, guard: agscl.Guard, task: int, batch: int = 7) -> None:
    x, y = DATA[task]
    guard.consolidate(list(zip(x.split(batch), y.split(batch), strict=True)), lambda b: model(b[0])[task])


def importance(guard: agscl.Guard) -> dict[str, Tensor]:
    prefix = "method.importance."
    return {n.removeprefix(prefix): t for n, t in guard.state_dict().items() if n.startswith(prefix)}


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", PAIRS)
def test_method_equals_its_in_loss_reference_over_tasks(name: str, optimizer: str) -> None:
    method, make_reference = PAIRS[name]
    ours, theirs, reference = net(), net(), make_reference()
    guard = guard_of(ours, method)
    for task in range(len(CLASSES)):
        gradients = train(ours, guard, task, OPTIMIZERS[optimizer](ours.parameters()))
        value = guard.penalty()
        wanted_gradients, wanted_value = in_loss.learn(theirs, reference, task, DATA[task], OPTIMIZERS[optimizer])
        assert value is not None
        assert (value > 0) == (task > 0)
        close(value, wanted_value)
        consolidate(ours, guard, task)
        for found, expected in zip(gradients, wanted_gradients, strict=True):
            for parameter, gradient in expected.items():
                close(found[parameter], gradient)
        for found_weight, expected_weight in zip(ours.parameters(), theirs.parameters(), strict=True):
            close(found_weight.detach(), expected_weight.detach())
        for parameter, expected_importance in reference.importance().items():
            close(importance(guard)[parameter], expected_importance)


@pytest.mark.parametrize("name", [name for name in PAIRS if name not in ("si", "rwalk")])
def test_penalty_value_equals_that_of_the_reference_far_from_the_anchors(name: str) -> None:
    method, make_reference = PAIRS[name]
    model, reference = net(), make_reference()
    guard = guard_of(model, method)
    for task in range(2):
        twin = copy.deepcopy(model)
        train(model, guard, task, torch.optim.SGD(model.parameters(), lr=0.1))
        in_loss.learn(twin, reference, task, DATA[task], OPTIMIZERS["sgd with momentum"])
        with torch.no_grad():
            for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
                ours.copy_(theirs)
        consolidate(model, guard, task)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(7), dtype=p.dtype))
    value = guard.penalty()
    assert value is not None
    close(value, reference.penalty(model).detach())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", FREE)
def test_zero_strength_equals_fine_tuning_bit_for_bit(name: str, optimizer: str) -> None:
    models = [net(norm=True), net(norm=True)]
    for model, method in zip(models, (FREE[name], agscl.FineTuning()), strict=True):
        guard = guard_of(model, method)
        for task in range(len(CLASSES)):
            train(model, guard, task, OPTIMIZERS[optimizer](model.parameters()))
            consolidate(model, guard, task)
    for ours, theirs in zip(models[0].state_dict().values(), models[1].state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", HARD)
def test_infinite_strength_does_not_move_important_weights(name: str, optimizer: str) -> None:
    model = net()
    guard = guard_of(model, HARD[name])
    shared = OPTIMIZERS[optimizer](model.parameters())
    train(model, guard, 0, shared)
    consolidate(model, guard, 0)
    before, rated = in_loss.copied(model), importance(guard)
    train(model, guard, 1, shared)
    assert sum(int((omega > 0).sum()) for omega in rated.values()) > 20
    for parameter, weights in in_loss.copied(model).items():
        important = rated[parameter] > 0
        assert torch.equal(weights[important], before[parameter][important])
    assert guard.penalty() == 0


@pytest.mark.parametrize("name", PAIRS)
def test_a_stronger_penalty_holds_important_weights_closer(name: str) -> None:
    distance = []
    kinds: dict[str, Callable[[float], Method]] = {
        "ewc": agscl.EWC, "ewc online": lambda lam: agscl.EWC(lam, online=True),
        "ewc running mean": lambda lam: agscl.EWC(lam, merge="running-mean"),
        "si": agscl.SI, "rwalk": agscl.RWalk, "mas": agscl.MAS,
    }  # fmt: skip
    for lam in (0.0, 1.0, 20.0):
        model = net()
        guard = guard_of(model, kinds[name](lam))
        train(model, guard, 0, torch.optim.SGD(model.parameters(), lr=0.05))
        consolidate(model, guard, 0)
        before, rated = in_loss.copied(model), importance(guard)
        train(model, guard, 1, torch.optim.SGD(model.parameters(), lr=0.05))
        distance.append(sum(float((rated[n] * (w - before[n]) ** 2).sum()) for n, w in in_loss.copied(model).items()))
    assert distance[0] > distance[1] > distance[2]


@pytest.mark.parametrize("name", PAIRS)
def test_heads_of_unseen_and_of_finished_tasks_are_left_alone(name: str) -> None:
    model = net()
    guard = guard_of(model, PAIRS[name][0])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    for task in range(2):
        heads = [[p.detach().clone() for p in head.parameters()] for head in model.heads]
        train(model, guard, task, optimizer)
        consolidate(model, guard, task)
        for other, before in enumerate(heads):
            same = all(torch.equal(a, b) for a, b in zip(before, model.heads[other].parameters(), strict=True))
            assert same == (other != task)
    assert not any(parameter.startswith("heads") for parameter in importance(guard))


@pytest.mark.parametrize("name", PAIRS)
def test_importance_pass_changes_nothing_but_the_importance(name: str) -> None:
    model = net(norm=True)
    guard = guard_of(model, PAIRS[name][0])
    train(model, guard, 0, torch.optim.SGD(model.parameters(), lr=0.1))
    model.norm.eval()
    model.zero_grad()
    state = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    random = torch.get_rng_state()
    consolidate(model, guard, 0)
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(state[key], tensor) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", PAIRS)
def test_a_resumed_run_goes_on_bit_for_bit_even_in_the_middle_of_a_task(name: str) -> None:
    whole, first = net(), net()
    guards = [guard_of(whole, PAIRS[name][0]), guard_of(first, PAIRS[name][0])]
    for model, guard in zip((whole, first), guards, strict=True):
        train(model, guard, 0, torch.optim.SGD(model.parameters(), lr=0.1))
        consolidate(model, guard, 0)
    sgd = torch.optim.SGD(whole.parameters(), lr=0.1)
    train(whole, guards[0], 1, sgd, steps=9)
    train(first, guards[1], 1, torch.optim.SGD(first.parameters(), lr=0.1), steps=3)
    second = net()
    second.load_state_dict(first.state_dict())
    resumed = guard_of(second, PAIRS[name][0])
    resumed.load_state_dict(guards[1].state_dict())
    train(second, resumed, 1, torch.optim.SGD(second.parameters(), lr=0.1), steps=6)
    for model, guard in ((whole, guards[0]), (second, resumed)):
        consolidate(model, guard, 1)
    states = [guard.state_dict() for guard in (guards[0], resumed)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("name", ["ewc", "si", "rwalk", "mas"])
def test_closure_gives_the_same_weights_as_a_plain_step(name: str) -> None:
    plain, closed = net(), net()
    for model in (plain, closed):
        guard = guard_of(model, PAIRS[name][0])
        for task in range(2):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
            x, y = DATA[task]

            def closure(model=model, task=task, optimizer=optimizer, x=x, y=y) -> Tensor:  # type: ignore[no-untyped-def]
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x)[task], y)
                loss.backward()
                return loss

            with guard.attach(optimizer, steps_per_epoch=1):
                for _ in range(3):
                    if model is closed:
                        optimizer.step(closure)
                    else:
                        closure()
                        optimizer.step()
            consolidate(model, guard, task)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), closed.parameters(), strict=True))


@pytest.mark.parametrize("name", ["ewc", "si", "rwalk", "mas"])
def test_scaled_gradients_of_a_fused_optimizer_are_understood(name: str) -> None:
    plain, scaled = net().float(), net().float()
    for model in (plain, scaled):
        guard = agscl.protect(model, PAIRS[name][0], example_inputs=torch.zeros(2, 1, 4, 4), heads="heads")
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=model is scaled)
        for task in range(2):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
            x, y = DATA[task][0].float(), DATA[task][1]
            with guard.attach(optimizer, steps_per_epoch=1):
                for _ in range(3):
                    optimizer.zero_grad()
                    scaler.scale(F.cross_entropy(model(x)[task], y)).backward()
                    scaler.step(optimizer)
                    scaler.update()
            guard.consolidate([(x, y)], lambda b, model=model, task=task: model(b[0])[task])  # type: ignore[misc]
    for a, b in zip(plain.parameters(), scaled.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_separate_penalties_are_kept_exactly_in_the_memory_of_one() -> None:
    model = net()
    guard = guard_of(model, agscl.EWC(lam=1.0))
    sizes = []
    for task in range(len(CLASSES)):
        train(model, guard, task, torch.optim.SGD(model.parameters(), lr=0.1))
        consolidate(model, guard, task)
        sizes.append((guard.memory_bytes(), guard.memory_bytes(regularization_only=True)))
    weights = sum(p.numel() * p.element_size() for p in in_loss.trunk(model).values())
    assert sizes == [(2 * weights, weights)] * 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: agscl.EWC(lam=-1.0), r"lam must be in \[0, inf\), not -1"),
        (lambda: agscl.EWC(lam=math.nan), "lam must be in"),
        (lambda: agscl.EWC(lam=1.0, online=True, decay=1.5), r"decay must be in \[0, 1\]"),
        (lambda: agscl.EWC(lam=1.0, decay=0.5), "online=True only"),
        (lambda: agscl.EWC(lam=1.0, fisher="diagonal"), "fisher must be one of empirical, sampled, exact, batched"),  # type: ignore[arg-type]
        (lambda: agscl.EWC(lam=1.0, merge="mean"), "merge must be 'sum' or 'running-mean'"),  # type: ignore[arg-type]
        (lambda: agscl.EWC(lam=1.0, merge="running-mean", online=True), "not both"),
        (lambda: agscl.SI(c=-0.1), "c must be in"),
        (lambda: agscl.SI(c=1.0, xi=0.0), r"xi must be in \(0, inf\)"),
        (lambda: agscl.RWalk(lam=-1.0), "lam must be in"),
        (lambda: agscl.RWalk(lam=1.0, alpha=0.0), r"alpha must be in \(0, 1\]"),
        (lambda: agscl.RWalk(lam=1.0, interval=0), "interval must be in"),
        (lambda: agscl.MAS(lam=-2.0), "lam must be in"),
    ],
)
def test_values_out_of_range_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("batches", [[DATA[0][0]], [(DATA[0][0],)], [(DATA[0][0], DATA[0][0])]])
def test_missing_labels_are_refused_by_the_empirical_fisher_and_fine_for_the_others(batches: list[Any]) -> None:
    inputs = (lambda b: b[0]) if isinstance(batches[0], tuple) else (lambda b: b)
    for method in (agscl.EWC(lam=1.0), agscl.EWC(lam=1.0, fisher="batched")):
        model = net()
        guard = guard_of(model, method)
        train(model, guard, 0, torch.optim.SGD(model.parameters(), lr=0.1))
        with pytest.raises(ValueError, match=r"needs labels: give batches as pairs \(inputs, labels\)"):
            guard.consolidate(batches, lambda b, model=model: model(inputs(b))[0])  # type: ignore[misc]
    for method in (agscl.EWC(lam=1.0, fisher="sampled"), agscl.EWC(lam=1.0, fisher="exact"), agscl.MAS(lam=1.0)):
        model = net()
        guard = guard_of(model, method)
        train(model, guard, 0, torch.optim.SGD(model.parameters(), lr=0.1))
        guard.consolidate(batches, lambda b, model=model: model(inputs(b))[0])  # type: ignore[misc]


def test_a_refused_importance_pass_leaves_the_guard_as_it_was() -> None:
    model = net()
    guard = guard_of(model, agscl.EWC(lam=1.0))
    train(model, guard, 0, torch.optim.SGD(model.parameters(), lr=0.1))
    state = guard.state_dict()
    x, y = DATA[0]
    for batches in ([], [(x, y + 2)], [(x * math.nan, y)]):
        with pytest.raises(ValueError, match=r"no data|numbers below 2|not finite"):
            guard.consolidate(batches, lambda b: model(b[0])[0])
    assert state.keys() == guard.state_dict().keys()


def test_a_state_of_another_model_is_refused() -> None:
    model = net()
    guard = guard_of(model, agscl.EWC(lam=1.0))
    train(model, guard, 0, torch.optim.SGD(model.parameters(), lr=0.1))
    consolidate(model, guard, 0)
    state = guard.state_dict()
    state["method.importance.fc.weight"] = torch.zeros(2, 2)
    with pytest.raises(ValueError, match="has shape"):
        guard.load_state_dict(state)
    del state["method.importance.fc.weight"]
    with pytest.raises(ValueError, match="missing or unknown"):
        guard.load_state_dict(state)
