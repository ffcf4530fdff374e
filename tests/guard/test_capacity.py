"""A guard says how full its network is, and warns when nothing is left to learn with."""

import math
import warnings

import pytest
import torch
from torch import Tensor, nn

import agscl
from agscl.methods import Method
from agscl.nodes.slices import gather
from laws.sequences import MLP, OPTIMIZERS, learn, protected, tasks

SHAPE = (3, 2, 2)
DATA = tasks(SHAPE)


def learned(method: Method, number: int = 1, epochs: int = 8) -> tuple[MLP, agscl.Guard]:
    torch.manual_seed(0)
    model = MLP()
    guard = protected(model, method, SHAPE)
    for task in range(number):
        learn(guard, model, task, DATA[task], OPTIMIZERS["adam"], epochs=epochs)
    return model, guard


def vectors(model: nn.Module, guard: agscl.Guard) -> dict[str, Tensor]:
    return {layer.name: gather(layer.incoming, dict(model.state_dict())) for layer in guard.graph.layers}


def capacity(guard: agscl.Guard) -> agscl.Capacity:
    found = guard.capacity()
    assert found is not None
    return found


@pytest.mark.parametrize("mu", [0.0, 9.0, 30.0, 200.0])
def test_frozen_nodes_are_those_that_stay_and_dead_ones_those_that_are_zero(mu: float) -> None:
    model, guard = learned(agscl.AGSCL(mu=mu, lam=math.inf))
    found, before = capacity(guard), vectors(model, guard)
    learn(guard, model, 1, DATA[1], lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1), epochs=1)
    after = vectors(model, guard)
    for layer in found:
        zero = (before[layer.name] == 0).all(dim=1)
        still = (before[layer.name] == after[layer.name]).all(dim=1) & ~zero
        assert (layer.frozen, layer.dead) == (int(still.sum()), int(zero.sum()))
        assert layer.nodes == layer.frozen + layer.free + layer.dead == len(zero)
        assert layer == found[layer.name]
    assert found.total.nodes == 48


def test_all_nodes_are_free_before_anything_is_learned() -> None:
    _, guard = learned(agscl.AGSCL(mu=9, lam=1), number=0)
    assert [(layer.frozen, layer.free, layer.dead) for layer in capacity(guard)] == [(0, 24, 0)] * 2


@pytest.mark.parametrize("lam", [4.0, math.inf])
def test_a_full_layer_is_warned_of_and_the_advice_makes_room(lam: float) -> None:
    with pytest.warns(
        agscl.CapacityWarning, match=r"no free node is left in 2 layers \('fc1', 'fc2'\) after task 0"
    ) as said:
        _, guard = learned(agscl.AGSCL(mu=0, lam=lam))
    assert "larger mu" in str(said[0].message)
    assert "guard.expand(layer='fc1', nodes=...)" in str(said[0].message)
    assert said[0].filename.endswith("sequences.py"), "the warning points to the call of consolidate"
    guard.expand(layer="fc1", nodes=3)
    guard.expand(layer="fc2", nodes=2)
    assert [(layer.frozen, layer.free) for layer in capacity(guard)] == [(24, 3), (24, 2)]


def test_a_network_with_free_nodes_is_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, guard = learned(agscl.AGSCL(mu=9, lam=math.inf, rho=1.0))
    assert all(layer.free for layer in capacity(guard))


@pytest.mark.parametrize("proximal", ["epoch", "step"])
def test_a_dead_network_is_warned_of(proximal: str) -> None:
    with pytest.warns(agscl.CapacityWarning, match=r"no node of 2 layers .* active on the data of task 0.*smaller mu"):
        learned(agscl.AGSCL(mu=300, lam=math.inf, proximal=proximal))


def test_a_layer_whose_needed_nodes_are_silent_on_a_later_task_is_dead_for_it() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(1, 2)
            self.heads = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])

        def forward(self, x: Tensor) -> list[Tensor]:
            h = torch.relu(self.fc(x))
            return [head(h) for head in self.heads]

    net = Net()
    with torch.no_grad():
        net.fc.weight.fill_(1.0)
        net.fc.bias.zero_()
    guard = agscl.protect(net, agscl.AGSCL(mu=0, lam=math.inf), example_inputs=torch.zeros(2, 1), heads="heads")
    for task, match in enumerate(("no free node is left in layer 'fc'", "no node of layer 'fc' was active")):
        optimizer, x = torch.optim.SGD(net.parameters(), lr=1e-6), torch.ones(4, 1) * (1 - 2 * task)
        with guard.attach(optimizer, steps_per_epoch=1):
            net(x)[task].square().sum().backward()
            optimizer.step()
        with pytest.warns(agscl.CapacityWarning, match=match):
            guard.consolidate([x], lambda x, task=task: net(x)[task])


def test_a_warning_that_is_an_error_leaves_the_task_learned() -> None:
    model = MLP()
    guard = protected(model, agscl.AGSCL(mu=0, lam=1), SHAPE)
    warnings.simplefilter("error")
    with pytest.raises(agscl.CapacityWarning):
        learn(guard, model, 0, DATA[0], OPTIMIZERS["adam"], epochs=1)
    assert guard.task == 1


def test_what_the_user_has_frozen_counts_as_frozen_and_is_not_warned_of() -> None:
    model = MLP()
    model.fc1.requires_grad_(False)
    guard = protected(model, agscl.AGSCL(mu=9, lam=math.inf, rho=1.0), SHAPE)
    assert (capacity(guard)["fc1"].frozen, capacity(guard)["fc1"].free) == (24, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learn(guard, model, 0, DATA[0], lambda p: torch.optim.Adam([w for w in p if w.requires_grad], lr=1e-2))


def test_gated_methods_say_what_each_task_uses() -> None:
    _, guard = learned(agscl.HAT(), number=2)
    found = capacity(guard)
    gates = {name: tensor for name, tensor in guard.state_dict().items() if ".gate." in name}
    for task in range(2):
        assert found.tasks[task] == {name: int(gates[f"method.gate.{task}.{name}"].sum()) for name in ("fc1", "fc2")}
    both = {name: gates[f"method.gate.0.{name}"] | gates[f"method.gate.1.{name}"] for name in ("fc1", "fc2")}
    assert {layer.name: layer.frozen for layer in found} == {name: int(mask.sum()) for name, mask in both.items()}


def test_wsn_counts_weights() -> None:
    model, guard = learned(agscl.WSN(c=0.25), number=2, epochs=1)
    found = capacity(guard)
    assert found.unit == "weights"
    assert {layer.name: layer.nodes for layer in found} == {"fc1.weight": 288, "fc2.weight": 576}
    assert found.tasks == {task: {"fc1.weight": 72, "fc2.weight": 144} for task in range(2)}
    before = {layer.name: model.get_parameter(layer.name).detach().clone() for layer in found}
    learn(guard, model, 2, DATA[2], lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.1), epochs=1)
    for layer in found:
        assert layer.frozen == int((model.get_parameter(layer.name) == before[layer.name]).sum())


@pytest.mark.parametrize("method", [agscl.EWC(lam=math.inf), agscl.SI(c=math.inf), agscl.MAS(lam=math.inf)])
def test_hard_penalties_count_the_weights_that_stay(method: Method) -> None:
    model, guard = learned(method, epochs=2)
    before = {name: p.detach().clone() for name, p in model.named_parameters() if not name.startswith("heads")}
    found = capacity(guard)
    learn(guard, model, 1, DATA[1], lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.1), epochs=2)
    moved = {name: int((model.get_parameter(name) != old).sum()) for name, old in before.items()}
    assert {layer.name for layer in found} == before.keys()
    assert all(moved[layer.name] <= layer.free == layer.nodes - layer.frozen for layer in found)


@pytest.mark.parametrize("method", [agscl.EWC(lam=3), agscl.LwF(), agscl.FineTuning(), agscl.SingleTask()])
def test_methods_without_a_notion_of_capacity_say_so(method: Method) -> None:
    _, guard = learned(method, epochs=1)
    assert guard.capacity() is None
    assert "no notion of capacity" in str(guard)


def test_a_guard_prints_method_tasks_capacity_and_memory() -> None:
    _, guard = learned(agscl.AGSCL(mu=0, lam=math.inf))
    assert str(guard).splitlines() == [
        "AGSCL(mu=0, lam=inf, eta=0.9, rho=0.3, proximal='epoch', cut=True)",
        "learned: 0; next: task 1",
        "layer  nodes  frozen  free  dead",
        "fc1       24      24     0     0  full",
        "fc2       24      24     0     0  full",
        "total     48      48     0     0",
        f"memory: {guard.memory_bytes()} bytes beside the weights",
    ]
    assert repr(guard) == f"<Guard of {guard._method}: 1 tasks learned, task 1 is next>"


def test_buffers_that_a_cast_replaces_are_still_watched() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6)
            self.heads = nn.ModuleList([nn.Linear(6, 2), nn.Linear(6, 2)])

        def forward(self, x: Tensor) -> list[Tensor]:
            h = torch.relu(self.norm(self.conv(x))).mean((2, 3))
            return [head(h) for head in self.heads]

    net = Net()
    guard = protected(net, agscl.AGSCL(mu=0, lam=math.inf), SHAPE)
    net.double()
    x, y = DATA[0]
    learn(guard, net, 0, (x.double(), y), OPTIMIZERS["adam"], epochs=1)
    net.train()(5 * x.double())
    with (
        pytest.raises(ValueError, match="running statistics that earlier tasks rely on"),
        guard.attach(torch.optim.Adam(net.parameters()), steps_per_epoch=1),
    ):
        pass
