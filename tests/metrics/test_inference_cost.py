"""What an answer costs: against torch's own counter, on the model and on one that was built smaller."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from agscl.metrics import dead_nodes, inference_cost
from agscl.models import MLP, ConvNet, MultiHead, OmniglotNet
from agscl.nodes import trace


def counted(model, x, task=0):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x, task)
    return counter.get_total_flops()


def cost(model, x, task=0):
    graph = trace(model, torch.cat([x, x]), heads="heads")
    return inference_cost(model, graph.layers, dead_nodes(graph.layers, model.state_dict()), lambda: model(x, task))


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (MultiHead(MLP(12, (7, 5)), 5, [3, 2]), (1, 12)),
        (MultiHead(ConvNet(3, 16), 256, [4, 2]), (1, 3, 16, 16)),
        (MultiHead(OmniglotNet(1, 28), 64 * 16, [4]), (1, 1, 28, 28)),
    ],
)
def test_a_full_model_costs_what_torch_counts(model, shape):
    x = torch.randn(shape)
    model.eval()
    found = cost(model, x)
    assert found.flops == counted(model, x)
    unused = sum(p.numel() for head in model.heads[1:] for p in head.parameters())
    assert found.parameters == sum(p.numel() for p in model.parameters()) - unused


@given(st.integers(0, 6), st.integers(0, 4))
def test_dead_nodes_cost_what_a_smaller_model_would(first, second):
    model = MultiHead(MLP(12, (7, 5)), 5, [3])
    smaller = MultiHead(MLP(12, (7 - first, 5 - second)), 5 - second, [3])
    layers = [layer for layer in model.trunk.layers if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        for layer, dead in zip(layers, (first, second), strict=True):
            layer.weight[:dead], layer.bias[:dead] = 0, 0
    x = torch.randn(1, 12)
    found = cost(model, x)
    assert found == (counted(smaller, x), sum(p.numel() for p in smaller.parameters()))


def test_counting_leaves_no_hook_behind():
    model = MultiHead(MLP(12, (7, 5)), 5, [3])
    cost(model, torch.randn(1, 12))
    assert not any(module._forward_hooks for module in model.modules())
