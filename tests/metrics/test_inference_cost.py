"""What an answer costs: against torch's own counter, on the model and on one that was built smaller."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from agscl.metrics import inference_cost, zero_nodes
from agscl.models import MLP, ConvNet, MultiHead, OmniglotNet
from agscl.nodes import trace


def counted(model, x, task=0):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x, task)
    return counter.get_total_flops()


def cost(model, x, task=0):
    graph = trace(model, torch.cat([x, x]), heads="heads")
    return inference_cost(model, graph.layers, zero_nodes(graph.layers, model.state_dict()), lambda: model(x, task))


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
def test_without_zero_nodes_a_model_costs_what_a_smaller_one_would(first, second):
    model = MultiHead(MLP(12, (7, 5)), 5, [3])
    smaller = MultiHead(MLP(12, (7 - first, 5 - second)), 5 - second, [3])
    layers = [layer for layer in model.trunk.layers if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        for layer, zero in zip(layers, (first, second), strict=True):
            layer.weight[:zero], layer.bias[:zero] = 0, 0
    x = torch.randn(1, 12)
    found = cost(model, x)
    assert found == (counted(smaller, x), sum(p.numel() for p in smaller.parameters()))


def test_transposed_convolutions_and_functional_layers_cost_what_torch_counts():
    class Functional(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.weight = torch.nn.ConvTranspose2d(2, 3, 2, stride=2), torch.nn.Parameter(torch.randn(4, 3))

        def forward(self, x):
            return torch.nn.functional.linear(self.up(x).mean((2, 3)), self.weight)

    model, x = Functional(), torch.randn(1, 2, 4, 4)
    expected = 2 * 16 * model.up.weight.numel() + 2 * model.weight.numel()
    parameters = sum(p.numel() for p in model.parameters())
    assert inference_cost(model, (), {}, lambda: model(x)) == (expected, parameters)
    (layer,) = trace(model, torch.cat([x, x])).layers
    removed = {layer.name: torch.tensor([True, False, False])}
    expected = 2 * 16 * 2 * model.up.weight.numel() // 3 + 2 * model.weight.numel()
    assert inference_cost(model, [layer], removed, lambda: model(x)) == (expected, 2 * parameters // 3)


def test_counting_leaves_no_hook_behind():
    model = MultiHead(MLP(12, (7, 5)), 5, [3])
    cost(model, torch.randn(1, 12))
    assert not any(module._forward_hooks for module in model.modules())
