"""States of nodes, and capacity layer by layer: against a count over rows."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from agscl.metrics import node_states, sparsity, sparsity_by_layer, used_capacity, used_capacity_by_layer
from agscl.models import MLP, MultiHead
from agscl.nodes import trace

FATES = st.lists(st.sampled_from(["frozen", "dead", "free"]), min_size=8, max_size=8)


def network(fates):
    """A model with layers of 5 and 3 nodes with the given states, its layers, and the importance of its nodes."""
    model = MultiHead(MLP(4, (5, 3)), 3, [2])
    linears = [layer for layer in model.trunk.layers if isinstance(layer, torch.nn.Linear)]
    rows = [(layer, unit) for layer in linears for unit in range(layer.out_features)]
    for (layer, unit), fate in zip(rows, fates, strict=True):
        if fate == "dead":
            layer.weight.data[unit], layer.bias.data[unit] = 0, 0
    layers = trace(model, torch.zeros(2, 4), heads="heads").layers
    omega = torch.tensor([0.5 if fate == "frozen" else 0.0 for fate in fates]).split([5, 3])
    return model, layers, {layer.name: part for layer, part in zip(layers, omega, strict=True)}


@given(FATES)
def test_a_node_is_frozen_dead_or_free(fates):
    model, layers, importance = network(fates)
    states = node_states(layers, importance, model.state_dict())
    assert [state for layer in layers for state in states[layer.name]] == fates


@given(FATES)
def test_the_whole_is_the_mean_of_its_layers_weighted_by_nodes(fates):
    model, layers, importance = network(fates)
    after = {name: tensor + (name.endswith("layers.1.bias")) for name, tensor in model.state_dict().items()}
    for by_layer, whole in (
        (sparsity_by_layer(importance), sparsity(importance)),
        (
            used_capacity_by_layer(layers, model.state_dict(), after),
            used_capacity(layers, model.state_dict(), after),
        ),
    ):
        total = sum(layer.num_nodes * by_layer[layer.name] for layer in layers)
        assert abs(total / 8 - whole) < 1e-12
