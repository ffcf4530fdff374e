"""What is measured is what is computed: importance comes from the calls that predict makes, or is refused."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from torch.nn import functional as F

import agscl
from agscl.methods import Learned, Method, Network
from agscl.methods.agscl.importance import average_activation
from agscl.methods.weights.fisher import fisher_diagonal
from laws.random_nets import Net, nets

X, Y = torch.randn(48, 12, generator=torch.Generator().manual_seed(0)), torch.arange(48) % 2
METHOD, METHOD_DRAWN = agscl.AGSCL(mu=1, lam=math.inf), agscl.AGSCL(mu=10, lam=math.inf, rho=0.7)

Predict = Callable[[Any], Tensor]


class Heads(nn.Module):
    """Two heads behind a trunk."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.heads = nn.ModuleList([nn.Linear(width, 2) for _ in range(2)])
        self.fc = nn.Linear(12, width)


class Gated(Heads):
    """Each task has half of the nodes, by an argument or by an attribute of the model."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("gate", torch.stack([torch.arange(8) < 4, torch.arange(8) >= 4]).float())
        self.active = 0

    def forward(self, x: Tensor, task: int | None = 0) -> Tensor:
        task = self.active if task is None else task
        result: Tensor = self.heads[task](F.relu(self.fc(x)) * self.get_buffer("gate")[task])
        return result


class Counted(Gated):
    """The number of the task has no default."""

    def forward(self, x: Tensor, task: int) -> Tensor:  # type: ignore[override]
        return super().forward(x, task)


class Nested(Heads):
    """Inputs in a dict."""

    def forward(self, batch: dict[str, Tensor]) -> list[Tensor]:
        h = F.relu(self.fc(batch["x"]))
        return [head(h) for head in self.heads]


class Optional(Heads):
    """A second input may be left out."""

    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Linear(4, 8)

    def forward(self, x: Tensor, z: Tensor | None = None) -> list[Tensor]:
        h = F.relu(self.fc(x) if z is None else self.fc(x) + self.more(z))
        return [head(h) for head in self.heads]


class Plain(Heads):
    """One hidden layer."""

    def forward(self, x: Tensor) -> list[Tensor]:
        h = F.relu(self.fc(x))
        return [head(h) for head in self.heads]


def trained(model: nn.Module, method: Method, example: Any, predict: Predict, batch: Any, task: int = 0) -> agscl.Guard:
    """A guard with a task that was learned and not consolidated yet."""
    guard = agscl.protect(model, method, example_inputs=example, heads="heads")
    guard.use_task(task)
    learn(guard, model, predict, batch)
    return guard


def learn(guard: agscl.Guard, model: nn.Module, predict: Predict, batch: Any) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with guard.attach(optimizer, steps_per_epoch=5):
        for _ in range(10):
            optimizer.zero_grad()
            F.cross_entropy(predict(batch), Y).backward()
            optimizer.step()


def everything(model: nn.Module, guard: agscl.Guard) -> dict[str, Tensor]:
    """All that consolidate may change."""
    state = {**model.state_dict(), **guard.state_dict(), "random": torch.get_rng_state()}
    return {name: tensor.clone() for name, tensor in state.items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("how", ["argument", "attribute", "no default"])
@pytest.mark.parametrize("task", [0, 1])
def test_importance_is_that_of_the_tasks_own_path_through_the_trunk(how: str, task: int) -> None:
    model = Counted() if how == "no default" else Gated()

    def predict(x: Tensor) -> Tensor:
        model.active = task
        result: Tensor = model(x, None if how == "attribute" else task)
        return result

    guard = trained(model, METHOD, (X[:2], 0) if how == "no default" else X[:2], predict, X, task)
    before = predict(X)
    expected = (F.relu(model.fc(X)) * model.gate[task]).mean(0)  # type: ignore[index]
    guard.consolidate([X[:30], X[30:]], predict)
    assert torch.allclose(guard.importance["fc"], expected, rtol=1e-5)
    assert torch.equal(predict(X), before)


def test_a_path_of_its_own_for_each_task_is_kept_bit_for_bit() -> None:
    model = Gated()
    guard = trained(model, METHOD, X[:2], lambda x: model(x, 0), X)
    guard.consolidate([X], lambda x: model(x, 0))
    first = model(X, 0)
    learn(guard, model, lambda x: model(x, 1), X)
    second = model(X, 1)
    guard.consolidate([X], lambda x: model(x, 1))
    assert torch.equal(model(X, 0), first)
    assert torch.equal(model(X, 1), second)


@pytest.mark.parametrize("samples", [1, 7, 48])
def test_a_dict_of_inputs_counts_its_samples_and_not_its_keys(samples: int) -> None:
    model = Nested()
    example = ({"x": X[:2], "unused": torch.zeros(5)},)
    batches = [{"x": part, "unused": torch.zeros(5)} for part in X.split(samples)]
    guard = trained(model, METHOD, example, lambda batch: model(batch)[0], {"x": X, "unused": torch.zeros(5)})
    expected = F.relu(model.fc(X)).mean(0)
    guard.consolidate(batches, lambda batch: model(batch)[0])
    assert torch.allclose(guard.importance["fc"], expected, rtol=1e-5)


def test_every_call_that_predict_makes_is_measured() -> None:
    model = Plain()

    def predict(x: Tensor) -> Tensor:
        result: Tensor = model(x)[0] - model(-x[:24])[0].mean(0)
        return result

    guard = trained(model, METHOD, X[:2], predict, X)
    before, expected = predict(X), F.relu(model.fc(torch.cat([X, -X[:24]]))).mean(0)
    guard.consolidate([X], predict)
    assert torch.allclose(guard.importance["fc"], expected, rtol=1e-5)
    assert torch.equal(predict(X), before)


class Views(Heads):
    """Many views of each sample go through the trunk as samples."""

    def forward(self, x: Tensor) -> list[Tensor]:
        h = F.relu(self.fc(x.flatten(0, 1))).unflatten(0, (-1, 3)).mean(1)
        return [head(h) for head in self.heads]


def test_a_reading_is_divided_by_its_own_number_of_samples() -> None:
    model, views = Views(), torch.stack([X, 2 * X, -X], dim=1)
    guard = trained(model, METHOD, views[:2], lambda x: model(x)[0], views)
    expected = F.relu(model.fc(views.flatten(0, 1))).mean(0)
    guard.consolidate(views.split(20), lambda x: model(x)[0])
    assert torch.allclose(guard.importance["fc"], expected, rtol=1e-5)


class Wrapper(nn.Module):
    """Calls the model within."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.model(x / 2)[0]
        return result


def test_a_wrappers_call_of_the_model_is_measured() -> None:
    model = Plain()
    wrapper = Wrapper(model)
    guard = trained(model, METHOD, X[:2], wrapper, X)
    expected = F.relu(model.fc(X / 2)).mean(0)
    guard.consolidate([X], wrapper)
    assert torch.allclose(guard.importance["fc"], expected, rtol=1e-5)


class Noisy(Plain):
    """Adds noise to what it gets, in evaluation too."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return super().forward(x + torch.rand_like(x))


def test_a_forward_that_draws_is_measured_with_the_same_draws_and_they_are_taken_once() -> None:
    model = Noisy()
    guard = trained(model, agscl.AGSCL(mu=1, lam=math.inf, rho=0.0), X[:2], lambda x: model(x)[0], X)
    torch.manual_seed(3)
    expected = F.relu(model.fc(X + torch.rand_like(X))).mean(0)
    state = torch.get_rng_state()
    torch.manual_seed(3)
    guard.consolidate([X], lambda x: model(x)[0])
    assert torch.allclose(guard.importance["fc"], expected, rtol=1e-5)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_node_whose_activity_is_too_small_for_float32_is_needed_all_the_same() -> None:
    model = Plain()
    guard = trained(model, agscl.AGSCL(mu=0, lam=math.inf), X[:2], lambda x: model(x)[0], X)
    with torch.no_grad():
        model.fc.weight[0], model.fc.bias[0] = 0.0, 0.0
        model.fc.weight[0, 0] = 1e-45
    x = torch.zeros(4000, 12)
    x[0, 0] = 1.0
    guard.consolidate([x], lambda x: model(x)[0])
    assert guard.importance["fc"][0] > 0


def by_itself(model: Any) -> Predict:
    return lambda batch: model.heads[0](F.relu(model.fc(batch)))


def besides(model: Any) -> Predict:
    return lambda batch: model(batch)[0] + model.heads[0](F.relu(model.fc(batch)))


def in_training_mode(model: Any) -> Predict:
    return lambda batch: model.train()(batch)[0]


def swallowing(model: Any) -> Predict:
    def predict(batch: Tensor) -> Tensor:
        with contextlib.suppress(ValueError):
            model.fc(batch)
        result: Tensor = model(batch)[0]
        return result

    return predict


def failing_later(model: Any) -> Predict:
    seen: list[int] = []

    def predict(batch: Tensor) -> Tensor:
        seen.append(1)
        if len(seen) > 1:
            raise RuntimeError("the disk is gone")
        result: Tensor = model(batch)[0]
        return result

    return predict


REFUSED: dict[str, tuple[Any, Any, Callable[[Any], Predict], str]] = {
    "an input that the example has not": (Optional, X[:2], lambda m: lambda x: m(x, x[:, :4])[0], "'fc'"),
    "an input that only the example has": (Optional, (X[:2], X[:2, :4]), lambda m: lambda x: m(x)[0], "'fc'"),
    "parts of the model by themselves": (Plain, X[:2], by_itself, "calls 'fc' by itself"),
    "parts of the model besides": (Plain, X[:2], besides, "calls 'fc' by itself"),
    "an error that predict swallows": (Plain, X[:2], swallowing, "calls 'fc' by itself"),
    "training mode": (Plain, X[:2], in_training_mode, "training mode"),
    "an error of predict itself": (Plain, X[:2], failing_later, "the disk is gone"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_followed_is_refused_before_anything_changes(name: str) -> None:
    kind, example, make, message = REFUSED[name]
    model = kind()
    fine = (lambda x: model(x, X[:, :4])[0]) if isinstance(example, tuple) else (lambda x: model(x)[0])
    guard = trained(model, agscl.AGSCL(mu=1, lam=math.inf, rho=0.5), example, fine, X)
    model.eval()
    before = everything(model, guard)
    with pytest.raises((ValueError, RuntimeError), match=message):
        guard.consolidate([X, X], make(model))
    model.eval()
    assert same(everything(model, guard), before)
    outputs = fine(X)
    guard.consolidate([X], fine)
    assert torch.equal(fine(X), outputs)
    assert guard.task == 1


class Fickle(Heads):
    """Does something else at every call."""

    calls = 0

    def forward(self, x: Tensor) -> list[Tensor]:
        self.calls += 1
        h = F.relu(self.fc(x * self.calls))
        return [head(h) for head in self.heads]


def test_a_forward_that_does_something_else_at_every_call_is_refused() -> None:
    model = Fickle()
    guard = agscl.protect(model, METHOD, example_inputs=X[:2], heads="heads", check=False)
    learn(guard, model, lambda x: model(x)[0], X)
    with pytest.raises(ValueError, match="must do the same whenever it gets the same"):
        guard.consolidate([X], lambda x: model(x)[0])


class Unwilling(nn.Linear):
    """Cannot be drawn anew a second time."""

    def reset_parameters(self) -> None:
        if hasattr(self, "drawn"):
            raise RuntimeError("no more draws")
        super().reset_parameters()
        self.drawn = True


def test_a_layer_that_fails_to_be_drawn_anew_leaves_everything_as_it_was() -> None:
    model = Plain()
    model.fc = nn.Sequential(nn.Linear(12, 6), nn.ReLU(), Unwilling(6, 8))  # type: ignore[assignment]
    guard = trained(model, agscl.AGSCL(mu=1, lam=math.inf, rho=0.5), X[:2], lambda x: model(x)[0], X)
    before = everything(model, guard)
    with pytest.raises(RuntimeError, match="no more draws"):
        guard.consolidate([X], lambda x: model(x)[0])
    assert same(everything(model, guard), before)


@pytest.mark.parametrize("method", [METHOD_DRAWN, agscl.GatedAGSCL(begin=1, end=1)], ids=["ags-cl", "gated-ags-cl"])
@given(net=nets())
@settings(max_examples=12)
def test_consolidate_keeps_every_bit_of_the_tasks_answers_on_its_own_data(net: Net, method: Method) -> None:
    net = copy.deepcopy(net)  # a method may add parameters
    x = torch.randn(6, 2, 6, 6, generator=torch.Generator().manual_seed(1))
    guard = agscl.protect(net, method, example_inputs=x, heads="heads")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02)
    with guard.attach(optimizer, steps_per_epoch=1):
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(net(x)[0], torch.arange(6) % 2).backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        for layer in guard.graph.layers:  # some nodes never act
            for piece in [piece for piece in layer.incoming if net.get_parameter(piece.parameter).ndim > 1]:
                net.get_parameter(piece.parameter).movedim(piece.dim, 0)[piece.index[0]] = 0.0
        before = net(x)[0]
        guard.consolidate([x[:4], x[4:]], lambda batch: net(batch)[0])
        guard.use_task(0)
        after = net(x)[0]
    assert torch.equal(after, before)


class OfModules(Heads):
    """Every activation is a module's output; the gate of a task in progress is a part of the forward."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.ReLU(), nn.ReLU()
        self.conv, self.open = nn.Conv1d(1, 3, 3, padding=1), torch.ones(8)
        self.fc = nn.Linear(36, 8)

    def forward(self, x: Tensor) -> list[Tensor]:
        h = self.second(self.fc(self.first(self.conv(x.unsqueeze(1))).flatten(1)))
        h = h * self.open if bool((self.open == 0).any()) else h
        return [head(h) for head in self.heads]


def test_a_node_that_acts_is_seen_in_the_models_own_forward_pass_and_that_is_the_only_one() -> None:
    model, samples, counted = OfModules().eval(), [], list[int]()
    network = Network(model, agscl.trace(model, X[:2], heads="heads"), dict(model.named_parameters()))
    with torch.no_grad():
        model.fc.bias[0] = -50.0
    model.fc.register_forward_pre_hook(lambda _, args: counted.append(len(args[0])))
    found = []
    for once in (False, True):
        found.append(average_activation(network, Learned((0,), X.split(16), lambda x: model(x)[0]), once=once))
        samples.append(sum(counted))
        counted.clear()
    torch.testing.assert_close(found[True], found[False])
    assert found[True]["fc"][0] == 0
    assert samples[False] == 2 * 48
    assert samples[True] <= 48 + 16 + 3 * 2  # the first batch is computed twice, two samples of each other


def test_a_branch_that_the_trace_did_not_take_is_measured_as_it_is() -> None:
    model = OfModules().eval()
    network = Network(model, agscl.trace(model, X[:2], heads="heads"), dict(model.named_parameters()))
    expected = model.second(model.fc(model.first(model.conv(X.unsqueeze(1))).flatten(1))).detach().mean(0)
    model.open = (torch.arange(8) % 2).float()
    found = average_activation(network, Learned((0,), X.split(24), lambda x: model(x)[0]), once=True)
    torch.testing.assert_close(found["fc"], expected * model.open)


def by_hand(model: Any, task: int, kind: str) -> dict[str, Tensor]:
    """Mean over samples of a sample's gradient, squared for EWC, absolute for MAS."""
    sums = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for x, y in zip(X, Y, strict=True):
        outputs = model(x[None], task)
        loss = F.cross_entropy(outputs, y[None]) if kind == "ewc" else outputs.square().sum()
        for name, p in model.named_parameters():
            (gradient,) = torch.autograd.grad(loss, [p], retain_graph=True, allow_unused=True)
            if gradient is not None:
                sums[name] += gradient.square() if kind == "ewc" else gradient.abs()
    return {name: total / len(X) for name, total in sums.items()}


@pytest.mark.parametrize(("kind", "method"), [("ewc", agscl.EWC(lam=1.0)), ("mas", agscl.MAS(lam=1.0))])
def test_gradients_too_are_those_of_the_tasks_own_path(kind: str, method: Method) -> None:
    model = Gated()
    guard = trained(model, method, X[:2], lambda x: model(x, 1), X, task=1)
    expected = by_hand(model, 1, kind)
    guard.consolidate([(X[:20], Y[:20]), (X[20:], Y[20:])], lambda batch: model(batch[0], 1))
    found = guard.state_dict()
    for name in ("fc.weight", "fc.bias"):
        assert torch.allclose(found[f"method.importance.{name}"], expected[name], rtol=1e-4, atol=1e-7)


class Turned(Heads):
    """A trunk that has the samples in its second dimension."""

    def forward(self, x: Tensor) -> list[Tensor]:
        h = F.relu(self.fc(x.transpose(0, 1))).transpose(0, 1).mean(1)
        return [head(h) for head in self.heads]


@pytest.mark.parametrize("samples", [3, 4, 7])
def test_a_layer_whose_first_dimension_is_not_the_samples_is_not_taken_for_one(samples: int) -> None:
    x, y = torch.randn(7, 4, 12, generator=torch.Generator().manual_seed(2)), torch.arange(7) % 2
    model = Turned()
    expected = torch.zeros_like(model.fc.weight)
    for one, label in zip(x, y, strict=True):
        loss = F.cross_entropy(model(one[None])[0], label[None])
        expected += torch.autograd.grad(loss, model.fc.weight)[0].square() / len(x)
    batches = list(zip(x.split(samples), y.split(samples), strict=True))
    network = Network(model, agscl.trace(Plain(), X[:2], heads="heads"), dict(model.named_parameters()))
    found = fisher_diagonal(network, Learned((0,), batches, lambda batch: model(batch[0])[0]), "empirical")
    assert torch.allclose(found["fc.weight"], expected, rtol=1e-4, atol=1e-8)


class Mixed(Heads):
    """Takes from every sample's activations their mean over the batch."""

    def forward(self, x: Tensor) -> list[Tensor]:
        h = F.relu(self.fc(x))
        h = h - h.mean(0, keepdim=True)
        return [head(h) for head in self.heads]


@pytest.mark.parametrize("method", [agscl.EWC(lam=1.0), agscl.MAS(lam=1.0)])
def test_gradients_of_samples_that_depend_on_each_other_are_refused(method: Method) -> None:
    model = Mixed()
    network = Network(model, agscl.trace(Plain(), X[:2], heads="heads"), dict(model.named_parameters()))
    protection = method.protect(network)
    with pytest.raises(ValueError, match="depends on the others in its batch"), torch.no_grad():
        protection.finish(Learned((0,), [(X, Y)], lambda batch: model(batch[0])[0]))
