"""The law: for every node, zeroing what comes in equals zeroing what goes out, in the model's outputs."""

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from agscl.nodes import Call, TraceError, trace
from agscl.nodes.rules import FUNCTIONS, combines
from agscl.nodes.tracing.labels import Label
from laws.node_law import awake, influential, violations
from laws.random_nets import Net, Residual, nets

torchvision = pytest.importorskip("torchvision")

MODELS = {
    "alexnet": 64, "vgg11_bn": 32, "resnet18": 32, "resnet50": 32, "densenet121": 32, "mobilenet_v2": 32,
    "mobilenet_v3_small": 32, "efficientnet_b0": 32, "googlenet": 32, "squeezenet1_1": 32, "resnext50_32x4d": 32,
    "shufflenet_v2_x1_0": 32, "mnasnet0_5": 32, "regnet_y_400mf": 32, "convnext_tiny": 32,
}  # fmt: skip


def torchvision_model(name: str) -> nn.Module:
    torch.manual_seed(0)
    extra = {"init_weights": False} if name == "googlenet" else {}
    return awake(getattr(torchvision.models, name)(weights=None, num_classes=5, **extra))


@pytest.mark.parametrize("name", MODELS)
def test_torchvision_models_trace_and_obey_the_law(name: str) -> None:
    model, x = torchvision_model(name), torch.randn(1, 3, MODELS[name], MODELS[name]).double()
    graph = trace(model, x)
    assert len(graph.heads) == 1
    assert not violations(model, graph, x, most=1)


@settings(max_examples=60, deadline=None)
@given(nets())
def test_random_nets_obey_the_law(net: Net) -> None:
    x = torch.randn(2, 2, 6, 6, generator=torch.Generator().manual_seed(1)).double()
    graph = trace(awake(net), x)
    assert [head.name for head in graph.heads] == ["heads"]
    assert not violations(net, graph, x)


def test_the_law_says_something_because_nodes_do_influence_the_outputs() -> None:
    net = Net([lambda channels: (Residual(channels), channels)], "mean", seed=3)
    x = torch.randn(2, 2, 6, 6).double()
    graph = trace(awake(net), x)
    assert influential(net, graph, x) >= graph.num_nodes - 3


def skip_without_ties(call: Call) -> Label:
    """A wrong rule for sums: keeps the first operand's units and forgets the other's."""
    return next(label for label in call.labels if isinstance(label, Label))


def test_the_law_fails_when_skip_connections_do_not_tie_nodes() -> None:
    model, x = torchvision_model("resnet18"), torch.randn(1, 3, 32, 32).double()
    sums = {function: skip_without_ties for function, rule in FUNCTIONS.items() if rule is combines}
    assert violations(model, trace(model, x, rules=sums), x, most=2)
    assert not violations(model, trace(model, x), x, most=2)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(2, 3, 3), (2, 2, 7)),
        (nn.Conv3d(2, 3, 2), (2, 2, 4, 4, 4)),
        (nn.ConvTranspose1d(2, 3, 2), (2, 2, 7)),
        (nn.ConvTranspose3d(2, 3, 2), (2, 2, 3, 3, 3)),
    ],
)
def test_convolutions_of_other_dimensions_obey_the_law(layer: nn.Module, shape: tuple[int, ...]) -> None:
    spatial = (1,) * (len(shape) - 2)
    kind = {1: nn.Conv1d, 3: nn.Conv3d}[len(spatial)]
    pool = {1: nn.AdaptiveAvgPool1d, 3: nn.AdaptiveMaxPool3d}[len(spatial)](1)
    model = awake(nn.Sequential(layer, nn.ReLU(), kind(3, 4, 1), nn.SiLU(), pool, nn.Flatten(), nn.Linear(4, 2)))
    x = torch.randn(shape).double()
    graph = trace(model, x)
    assert graph.num_nodes == 7
    assert not violations(model, graph, x)


class Normed(nn.Module):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(3, 4), norm, nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.norm(self.first(x))))


@pytest.mark.parametrize("norm", [nn.LayerNorm(4), nn.RMSNorm(4)])
def test_what_is_normalised_together_is_one_node(norm: nn.Module) -> None:
    model, x = awake(Normed(norm)), torch.randn(5, 3).double()
    graph = trace(model, x)
    assert [layer.num_nodes for layer in graph.layers] == [1]
    assert not violations(model, graph, x)


class DoubleGate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.scale = nn.Linear(3, 8), nn.Parameter(torch.rand(4))
        self.glu, self.last = nn.GLU(), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.glu(self.first(x)) * self.scale)


def test_gated_units_and_learned_scales_belong_to_the_node() -> None:
    model, x = awake(DoubleGate()), torch.randn(5, 3).double()
    graph = trace(model, x)
    (layer,) = graph.layers
    assert layer.num_nodes == 4
    assert {piece.parameter for piece in layer.incoming} == {"first.weight", "first.bias", "scale"}
    assert not violations(model, graph, x)


class Mixes(nn.Module):
    """A layer over positions behind a layer over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.channels, self.positions, self.last = nn.Linear(3, 4), nn.Linear(5, 6), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.positions(self.channels(x).transpose(1, 2))))


def test_channels_that_one_weight_reads_at_their_positions_are_one_node() -> None:
    model, x = awake(Mixes()), torch.randn(2, 5, 3).double()
    graph = trace(model, x)
    assert [layer.num_nodes for layer in graph.layers] == [1, 6]
    assert not violations(model, graph, x)


def test_an_operation_without_a_rule_is_refused_by_name_with_the_way_out() -> None:
    class Sorts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.experts, self.last = nn.Linear(3, 4), nn.Sequential(nn.Linear(4, 4)), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.embed(x)
            return self.last(h + self.experts(h).topk(4).values)

    with pytest.raises(TraceError, match=r"topk.*rules="):
        trace(Sorts(), torch.randn(2, 5, 3))
