"""Sparsity and used capacity against a count over the rows of each layer's weights."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from agscl.metrics import sparsity, used_capacity
from agscl.models import MLP, MultiHead
from agscl.nodes import trace

WIDTHS = (5, 3)
FATES = st.lists(st.sampled_from(["moves", "stays", "dead", "revived", "dies"]), min_size=8, max_size=8)


def network():
    return MultiHead(MLP(4, WIDTHS), WIDTHS[-1], [2, 2])


def graph(model):
    return trace(model, torch.zeros(2, 4), heads="heads")


def rows(model):
    """Views of every hidden neuron's weights and bias, layer by layer."""
    linears = [module for module in model.trunk.modules() if isinstance(module, nn.Linear)]
    return [(layer.weight.data[unit], layer.bias.data[unit]) for layer in linears for unit in range(layer.out_features)]


def live(fates):
    """A model before and after a task in which each neuron met the given fate."""
    before = network()
    for (weight, bias), fate in zip(rows(before), fates, strict=True):
        if fate in ("dead", "revived"):
            weight.zero_(), bias.zero_()
    after = copy.deepcopy(before)
    for (weight, bias), fate in zip(rows(after), fates, strict=True):
        if fate in ("moves", "revived"):
            bias.add_(1)
        if fate == "dies":
            weight.zero_(), bias.zero_()
    return before, after


@given(FATES)
def test_used_capacity_counts_the_nodes_that_stay_and_live(fates):
    before, after = live(fates)
    share = used_capacity(graph(before).layers, before.state_dict(), after.state_dict())
    assert share == pytest.approx(fates.count("stays") / len(fates))


def test_a_change_of_one_weight_is_seen():
    before = network()
    after = copy.deepcopy(before)
    rows(after)[0][0][3] += 1e-6
    assert used_capacity(graph(before).layers, before.state_dict(), after.state_dict()) == pytest.approx(7 / 8)


def test_heads_are_no_nodes():
    before = network()
    after = copy.deepcopy(before)
    after.heads[0].weight.data.add_(1)
    assert used_capacity(graph(before).layers, before.state_dict(), after.state_dict()) == 1


@given(st.lists(st.lists(st.sampled_from([0.0, 1e-30, 0.5, 7.0]), min_size=1, max_size=5), min_size=1, max_size=4))
def test_sparsity_is_the_share_of_exact_zeros_over_all_layers(layers):
    importance = {f"layer{number}": torch.tensor(values) for number, values in enumerate(layers)}
    expected = np.mean([value == 0 for values in layers for value in values])
    assert sparsity(importance) == pytest.approx(expected)
