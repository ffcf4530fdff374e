"""AOPC and pruning: against the formula written out, and by what pruning does to outputs."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from agscl.metrics import aopc, prediction_curve, pruning_order
from agscl.models import MLP, ConvNet, MultiHead
from agscl.nodes import trace

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=12)
RATIOS = [0.0, 0.25, 0.5, 1.0]


def mlp():
    model = MultiHead(MLP(6, (8, 4)), 4, [3, 2])
    return model, trace(model, torch.zeros(2, 6), heads="heads")


@given(SCORES)
def test_aopc_is_the_mean_drop_so_far(scores):
    expected = [np.mean([scores[0] - scores[k] for k in range(steps + 1)]) for steps in range(len(scores))]
    assert aopc(scores) == pytest.approx(expected, abs=1e-12)


def test_orders_are_opposite_and_random_is_a_permutation():
    importance = {"a": torch.tensor([0.0, 3.0, 1.0, 2.0])}
    assert pruning_order(importance, "highest")["a"].tolist() == [1, 3, 2, 0]
    assert pruning_order(importance, "lowest")["a"].tolist() == [0, 2, 3, 1]
    drawn = pruning_order(importance, "random", torch.Generator().manual_seed(3))["a"]
    assert sorted(drawn.tolist()) == [0, 1, 2, 3]
    assert drawn.equal(pruning_order(importance, "random", torch.Generator().manual_seed(3))["a"])


def test_pruned_nodes_are_silent_and_the_model_is_given_back():
    model, graph = mlp()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ranking = pruning_order({layer.name: torch.rand(layer.num_nodes) for layer in graph.layers}, "lowest")
    x, silent = torch.randn(20, 6), []

    def score():
        silent.append(int((model.trunk.layers[:2](x) == 0).all(dim=0).sum()))
        return model(x, 0).mean().item()

    curve = prediction_curve(model, graph.layers, ranking, score, RATIOS)
    assert silent == [0, 2, 4, 8]
    assert curve[0] == pytest.approx(model(x, 0).mean().item())
    assert curve[-1] == pytest.approx(model.heads[0].bias.mean().item())
    assert all(before[name].equal(tensor) for name, tensor in model.state_dict().items())


def test_a_model_is_given_back_when_the_score_fails():
    model, graph = mlp()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ranking = pruning_order({layer.name: torch.rand(layer.num_nodes) for layer in graph.layers}, "highest")
    with pytest.raises(ZeroDivisionError):
        prediction_curve(model, graph.layers, ranking, lambda: 1 / 0, [1.0])
    assert all(before[name].equal(tensor) for name, tensor in model.state_dict().items())


def test_a_normalised_convolution_can_be_pruned_away():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)).eval()
    graph = trace(model, torch.zeros(2, 3, 8, 8), heads="4")
    ranking = pruning_order({layer.name: torch.rand(layer.num_nodes) for layer in graph.layers}, "highest")
    curve = prediction_curve(model, graph.layers, ranking, lambda: model(torch.randn(1, 3, 8, 8)).sum().item(), [1.0])
    assert curve == [pytest.approx(model[4].bias.sum().item())]


def test_nodes_that_matter_hurt_first():
    model = MultiHead(ConvNet(3, 8), 256, [2])
    graph = trace(model, torch.zeros(2, 3, 8, 8), heads="heads")
    with torch.no_grad():
        model.heads[0].weight[:, 128:] = 0
    importance = {layer.name: torch.ones(layer.num_nodes) for layer in graph.layers}
    importance[graph.layers[-1].name][128:] = 0
    model.eval()
    x = torch.randn(4, 3, 8, 8)
    full = model(x, 0).detach()

    def closeness():
        return -(model(x, 0) - full).norm().item()

    last = graph.layers[-1:]
    hurt = prediction_curve(model, last, pruning_order(importance, "highest"), closeness, [0, 0.5])
    spared = prediction_curve(model, last, pruning_order(importance, "lowest"), closeness, [0, 0.5])
    assert aopc(hurt)[-1] > 0 == aopc(spared)[-1]


@pytest.mark.parametrize("ratios", [[0.5, 0.1], [-0.1], [1.2]])
def test_ratios_that_do_not_ascend_in_range_are_refused(ratios):
    model, graph = mlp()
    with pytest.raises(ValueError, match="ascend"):
        prediction_curve(model, graph.layers, {}, lambda: 0.0, ratios)
