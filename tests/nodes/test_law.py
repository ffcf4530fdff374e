"""The law: for every node, zeroing what comes in equals zeroing what goes out, in the model's outputs."""

import pytest
import torch
from hypothesis import assume, given, settings
from torch import Tensor, nn

from agscl.nodes import Call, NodeGraph, TraceError, trace
from agscl.nodes.rules import FUNCTIONS, combines
from agscl.nodes.tracing.labels import Label
from laws.node_law import awake, influential, leaks, violations
from laws.random_nets import Net, Residual, nets, special_nets

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


def traced_or_refused(net: Net, x: Tensor) -> NodeGraph:
    """The graph; nets with a layer that reads both nodes and the model's input, which is refused, are left out."""
    try:
        return trace(net, x)
    except TraceError as refusal:
        assume("serves a node in one call and the model's input in another" not in str(refusal))
        raise


@settings(max_examples=60, deadline=None)
@given(special_nets())
def test_what_leaves_a_node_is_all_that_depends_on_what_comes_into_it(net: Net) -> None:
    x = torch.randn(2, 2, 6, 6, generator=torch.Generator().manual_seed(1)).double()
    graph = traced_or_refused(awake(net), x)
    assert not leaks(net, graph, x)


@settings(max_examples=60, deadline=None)
@given(special_nets())
def test_every_position_that_moves_an_output_is_in_a_node_or_a_head_or_shared(net: Net) -> None:
    x = torch.randn(2, 2, 6, 6, generator=torch.Generator().manual_seed(1)).double()
    graph = traced_or_refused(awake(net), x)
    sum(output.square().sum() for output in net(x)).backward()
    owned = {name: torch.zeros_like(parameter, dtype=torch.bool) for name, parameter in net.named_parameters()}
    for piece in [*(piece for layer in graph.layers for piece in layer.incoming), *graph.rest]:
        if piece.parameter in owned:
            owned[piece.parameter].index_fill_(piece.dim, piece.index.flatten(), True)
    for name in [*graph.head_parameters, *graph.shared]:
        owned.get(name, torch.zeros(1)).fill_(True)
    assert "logit_scale" in graph.shared
    for name, parameter in net.named_parameters():
        assert parameter.grad is None or not (parameter.grad[~owned[name]] != 0).any(), name
        assert (parameter.grad is None) == (name in graph.unreached)


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


def test_an_ignored_module_and_what_flows_into_it_are_no_nodes() -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.attention = nn.Linear(3, 4), nn.MultiheadAttention(4, 2, batch_first=True)
            self.last = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.embed(x)
            return self.last(self.attention(h, h, h)[0].mean(1))

    graph = trace(Attends(), torch.randn(2, 5, 3), ignore=("attention",))
    assert graph.num_nodes == 0
    assert {"attention.in_proj_weight", "embed.weight", "embed.bias"} <= {*graph.ignored}
    assert graph.unreached == ()
