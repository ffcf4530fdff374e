"""Compact models: without inert nodes the outputs are the same; what cannot be removed is refused by name."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import agscl
from agscl.metrics import node_states, zero_nodes
from agscl.models import MLP, AlexNet32, ConvNet, MultiHead, OmniglotNet, ResNet18
from agscl.nodes import NodeGraph, compact, inert_nodes, removable, trace
from agscl.nodes.slices import fill
from agscl.nodes.surgery.reach import read_nodes, silent_nodes
from laws.node_law import awake
from laws.random_nets import Net, Split, nets
from laws.sequences import MobileNet


def multi_head(trunk: nn.Module) -> nn.Module:
    return MultiHead(trunk, trunk.num_features, [3, 2])


def lite() -> nn.Module:
    from agscl.models import efficientnet_lite0

    return multi_head(efficientnet_lite0())


NETS = {
    "MLP": (lambda: multi_head(MLP(12, (20, 16))), (12,)),
    "6-conv": (lambda: multi_head(ConvNet()), (3, 32, 32)),
    "Omniglot net": (lambda: multi_head(OmniglotNet()), (1, 28, 28)),
    "AlexNet for 32x32": (lambda: multi_head(AlexNet32()), (3, 32, 32)),
    "ResNet-18": (lambda: multi_head(ResNet18()), (3, 16, 16)),
    "MobileNetV2-like": (MobileNet, (3, 8, 8)),
    "EfficientNet-Lite0": (lite, (3, 32, 32)),
}


def silence(model: nn.Module, graph: NodeGraph, share: float = 0.5, seed: int = 0) -> dict[str, Tensor]:
    """Some nodes become inert: nothing comes in, or nothing goes out."""
    generator, state = torch.Generator().manual_seed(seed), dict(model.state_dict())
    silenced = {layer.name: torch.rand(layer.num_nodes, generator=generator) < share for layer in graph.layers}
    for layer in graph.layers:
        nodes = silenced[layer.name].nonzero().flatten()
        fill(layer.incoming, state, nodes[::2], 0.0)
        fill(layer.outgoing, state, nodes[1::2], 0.0)
    return silenced


def outputs(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat(model.eval()(x), dim=1)


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("net", NETS)
def test_without_inert_nodes_the_outputs_are_the_same_and_the_model_is_smaller(net: str) -> None:
    torch.manual_seed(0)
    make, shape = NETS[net]
    model, x = make(), torch.randn(4, *shape)
    graph = trace(model, x[:2], heads="heads")
    silenced = silence(model, graph)
    inert = inert_nodes(model, graph, x[:2])
    assert all(inert[name][nodes].all() for name, nodes in silenced.items())
    small = compact(model, graph, inert, x[:2])
    assert size(small) < 0.6 * size(model)
    whole = outputs(model, x)
    assert (outputs(small, x) - whole).abs().max() <= 1e-5 * whole.abs().max().clamp_min(1)
    again = trace(small, x[:2], heads="heads")
    assert again.num_nodes == graph.num_nodes - sum(int(nodes.sum()) for nodes in inert.values())


@settings(max_examples=40, deadline=None)
@given(nets())
def test_random_nets_lose_what_can_go_and_compute_the_same(net: Net) -> None:
    x = torch.randn(2, 2, 6, 6, generator=torch.Generator().manual_seed(1)).double()
    graph = trace(awake(net), x)
    silence(net, graph)
    small = compact(net, graph, removable(net, graph, inert_nodes(net, graph, x), x), x)
    assert torch.allclose(outputs(small, x), outputs(net, x), rtol=1e-9, atol=1e-12)


def test_a_node_that_still_speaks_is_not_inert_and_removing_it_would_show() -> None:
    model, x = NETS["MLP"][0](), torch.randn(4, 12)
    graph = trace(model, x, heads="heads")
    inert = inert_nodes(model, graph, x)
    assert not any(nodes.any() for nodes in inert.values())
    inert["trunk.layers.1"][0] = True
    assert not torch.allclose(outputs(compact(model, graph, inert, x), x), outputs(model, x), atol=1e-3)


class Biased(nn.Module):
    """A norm layer with a bias behind rows of zeros."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.first, self.norm, self.act = nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), act
        self.heads = nn.ModuleList([nn.Linear(4, 2)])

    def forward(self, x: Tensor) -> list[Tensor]:
        return [head(self.act(self.norm(self.first(x)))) for head in self.heads]


def test_a_constant_that_is_not_zero_is_not_silent() -> None:
    model, x = Biased(nn.ReLU()), torch.randn(4, 3)
    with torch.no_grad():
        model.first.weight[:3] = 0
        model.norm.bias[:3] = torch.tensor([1.0, 0.0, -1.0])
    silent = silent_nodes(model, trace(model, x, heads="heads"), x)["first"]
    assert silent.tolist() == [False, True, True, False]
    sigmoid = Biased(nn.Sigmoid())
    nn.init.zeros_(sigmoid.first.weight)
    assert not silent_nodes(sigmoid, trace(sigmoid, x, heads="heads"), x)["first"].any()


@settings(max_examples=40, deadline=None)
@given(nets(), st.integers(0, 2**16))
def test_in_random_nets_dead_nodes_are_zero_and_zero_ones_silent_and_silent_ones_inert(net: Net, seed: int) -> None:
    x = torch.randn(2, 2, 6, 6, generator=torch.Generator().manual_seed(1)).double()
    graph = trace(awake(net), x)
    silence(net, graph, seed=seed)
    state, generator = net.state_dict(), torch.Generator().manual_seed(seed)
    importance = {layer.name: torch.randint(2, (layer.num_nodes,), generator=generator) for layer in graph.layers}
    zero, silent = zero_nodes(graph.layers, state), silent_nodes(net, graph, x)
    inert, read = inert_nodes(net, graph, x), read_nodes(graph, state)
    left = removable(net, graph, inert, x)
    assert any(nodes.any() for nodes in zero.values())
    for name, states in node_states(graph.layers, importance, state).items():
        dead = torch.tensor([word == "dead" for word in states])
        assert torch.equal(dead, zero[name] & (importance[name] == 0))
        assert (silent[name] | ~zero[name]).all()
        assert torch.equal(inert[name], silent[name] | ~read[name])
        assert (inert[name] | ~left[name]).all()


@pytest.mark.parametrize("behind", [nn.Sigmoid(), nn.BatchNorm1d(4, affine=False)])
def test_a_zero_node_is_not_silent_where_something_makes_another_constant_of_zero(behind: nn.Module) -> None:
    model, x = nn.Sequential(nn.Linear(3, 4), behind, nn.Linear(4, 2)), torch.randn(4, 3)
    graph = trace(awake(model).float(), x)
    with torch.no_grad():
        model[0].weight[0], model[0].bias[0] = 0.0, 0.0
    assert zero_nodes(graph.layers, model.state_dict())["0"].tolist() == [True, False, False, False]
    assert not inert_nodes(model, graph, x)["0"].any()


def test_the_earlier_names_are_still_there() -> None:
    assert agscl.nodes.dead_nodes is inert_nodes
    assert agscl.metrics.dead_nodes is zero_nodes


def test_what_is_read_counts_from_the_heads_of_the_tasks_asked_for() -> None:
    model, x = multi_head(MLP(3, (4, 4))), torch.randn(2, 3)
    graph = trace(model, x, heads="heads")
    with torch.no_grad():
        model.heads[0].weight[:, 1:] = 0
        model.trunk.layers[3].weight[0, 2:] = 0
    first, second = graph.layers
    read = read_nodes(graph, model.state_dict(), [0])
    assert read[second.name].tolist() == [True, False, False, False]
    assert read[first.name].tolist() == [True, True, False, False]
    assert all(nodes.all() for nodes in read_nodes(graph, model.state_dict()).values())


def test_layers_that_the_forward_counts_are_refused_by_name() -> None:
    net = Net([lambda channels: (Split(channels), channels)], "mean", seed=0)
    x = torch.randn(2, 2, 6, 6)
    graph = trace(net, x)
    drop = {layer.name: torch.arange(layer.num_nodes) == 0 for layer in graph.layers}
    left = removable(net, graph, drop, x)
    unfit = [name for name, nodes in left.items() if not nodes.any()]
    assert "hidden" not in unfit
    with pytest.raises(ValueError, match=rf"cannot remove nodes of '{unfit[0]}'.*relies on their number"):
        compact(net, graph, drop, x)


def test_a_layer_keeps_one_node_and_groups_go_as_wholes() -> None:
    torch.manual_seed(0)
    grouped = nn.Sequential(nn.Conv2d(2, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=4), nn.ReLU(), nn.Conv2d(8, 3, 1))
    model, x = nn.Sequential(grouped, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)), torch.randn(2, 2, 6, 6)
    graph = trace(model, x)
    inputs, made, last = graph.layers
    drop = {inputs.name: torch.tensor([True, True, False, False])}
    drop |= {made.name: torch.tensor([1, 1, 1, 0, 1, 0, 0, 0]) > 0, last.name: torch.tensor([True] * 3)}
    left = removable(model, graph, drop, x)
    assert left[inputs.name].tolist() == [True, False, False, False]
    assert left[made.name].tolist() == [True, True] + [False] * 6
    assert left[last.name].tolist() == [False, True, True]
    small = compact(model, graph, left, x)
    assert (small[0][2].groups, small[0][2].in_channels, small[0][2].out_channels) == (3, 6, 6)
    with pytest.raises(ValueError, match="channels of a grouped convolution go by whole groups"):
        compact(model, graph, drop, x)
