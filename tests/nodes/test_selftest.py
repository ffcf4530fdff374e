"""The self-test of a node graph: silent where the graph is true, by name where it is not, and without a trace."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import agscl
from agscl.nodes import NodeGraph, TraceError
from agscl.nodes.rules import activation
from agscl.nodes.selftest import require_lawful
from laws.random_nets import Net, nets

IMAGES = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))


@given(net=nets())
@settings(max_examples=15)
def test_true_graphs_of_random_nets_pass(net: Net) -> None:
    require_lawful(net, agscl.trace(net, IMAGES, heads="heads"), IMAGES)


def droppable(graph: NodeGraph) -> list[tuple[int, str, int]]:
    """What a wrong rule may forget: slices that come into a layer's nodes or leave them."""
    return [
        (number, role, place)
        for number, layer in enumerate(graph.layers)
        for role in ("incoming", "outgoing")
        for place in range(len(getattr(layer, role)))
    ]


def without(graph: NodeGraph, number: int, role: str, place: int) -> tuple[NodeGraph, str]:
    """The graph without one slice of a layer, and the name of its parameter."""
    layer = graph.layers[number]
    pieces = getattr(layer, role)
    wrong: Any = replace(layer, **{role: pieces[:place] + pieces[place + 1 :]})
    layers = (*graph.layers[:number], wrong, *graph.layers[number + 1 :])
    return replace(graph, layers=layers), pieces[place].parameter


class Deep(nn.Module):
    """Convolutions with a norm, a skip and a gate, and linear layers behind a flatten."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.norm = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv, self.gate = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 1)
        self.slope, self.fc = nn.PReLU(6), nn.Linear(6 * 16, 8)
        self.heads = nn.ModuleList([nn.Linear(8, 2), nn.Linear(8, 3)])

    def forward(self, x: Tensor) -> list[Tensor]:
        h = self.norm(self.stem(x)).relu()
        h = self.slope(h + self.conv(h)) * torch.sigmoid(self.gate(F.avg_pool2d(h, 8)))
        h = F.relu(self.fc(F.max_pool2d(h, 2).flatten(1)))
        return [head(h) for head in self.heads]


@given(data=st.data())
@settings(max_examples=25)
def test_a_graph_that_forgets_something_is_refused_by_name(data: st.DataObject) -> None:
    model = Deep()
    graph = agscl.trace(model, IMAGES, heads="heads")
    number, role, place = data.draw(st.sampled_from(droppable(graph)))
    wrong, name = without(graph, number, role, place)
    with pytest.raises(TraceError, match=r"node \d+ of") as error:
        require_lawful(model, wrong, IMAGES)
    assert repr(graph.layers[number].name) in str(error.value)
    assert role == "outgoing" or repr(name) in str(error.value)


class Scaled(nn.Module):
    """Scales channels by a learned factor."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(5))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.factor


def test_what_a_rule_of_the_users_own_forgets_is_shared_and_held() -> None:
    model = nn.Sequential(nn.Linear(3, 5), Scaled(), nn.ReLU(), nn.Linear(5, 2))
    arguments: dict[str, Any] = {"example_inputs": torch.randn(2, 3), "rules": {Scaled: activation}}
    graph = agscl.trace(model, **arguments)
    assert graph.shared == ("1.factor",)
    agscl.protect(model, agscl.AGSCL(mu=1, lam=10), **arguments)


class Written(nn.Module):
    """Writes into a part of a tensor, and does not use what the writing gives."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.more = nn.Linear(3, 5), nn.Linear(3, 5)
        self.heads = nn.ModuleList([nn.Linear(5, 2)])

    def forward(self, x: Tensor) -> list[Tensor]:
        h = self.fc(x)
        h[:, 1:].add_(self.more(x)[:, 1:])
        return [head(F.relu(h)) for head in self.heads]


def test_a_write_into_a_part_of_a_tensor_is_followed() -> None:
    guard = agscl.protect(Written(), agscl.AGSCL(mu=1, lam=10), example_inputs=torch.randn(2, 3), heads="heads")
    made = {p.parameter: p.index.flatten().tolist() for layer in guard.graph.layers for p in layer.incoming[2:]}
    assert made["more.weight"] == made["more.bias"] == [1, 2, 3, 4]


def test_a_constant_activation_other_than_zero_is_no_fault() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.Sigmoid(), nn.Linear(5, 2))
    agscl.protect(model, agscl.AGSCL(mu=1, lam=10), example_inputs=torch.zeros(2, 3))


@pytest.mark.parametrize("broken", [False, True])
def test_the_self_test_leaves_bits_modes_statistics_and_generators_alone(broken: bool) -> None:
    model = Deep()
    graph = agscl.trace(model, IMAGES, heads="heads")
    graph = without(graph, 0, "outgoing", 0)[0] if broken else graph
    model.norm.eval()
    weights, places = {n: t.clone() for n, t in model.state_dict().items()}, [p.data_ptr() for p in model.parameters()]
    versions, inputs = [p._version for p in model.parameters()], IMAGES.clone()
    modes, state = [module.training for module in model.modules()], torch.get_rng_state()
    try:
        require_lawful(model, graph, IMAGES)
    except TraceError:
        assert broken
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert places == [p.data_ptr() for p in model.parameters()]
    assert versions == [p._version for p in model.parameters()]
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(IMAGES, inputs)


def test_without_the_check_nothing_is_tried() -> None:
    calls = []
    model = Deep()
    model.register_forward_hook(lambda *_: calls.append(1))
    agscl.protect(model, agscl.FineTuning(), example_inputs=IMAGES, heads="heads", check=False)
    assert len(calls) == 1  # the trace looks whether the hook changes what the model gives
    agscl.protect(model, agscl.FineTuning(), example_inputs=IMAGES, heads="heads")
    assert len(calls) > 2
