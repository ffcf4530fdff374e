"""Tracing: what the node graph says of known models, what it refuses, and that it leaves the model alone."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agscl.nodes import Call, TraceError, trace
from agscl.nodes.rules import activation
from agscl.nodes.slices import gather, scatter


class TwoHeads(nn.Module):
    """A small convolutional network with a flatten and two heads of different size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)
        self.fc = nn.Linear(12, 5)
        self.heads = nn.ModuleList([nn.Linear(5, 2), nn.Linear(5, 4)])

    def forward(self, x: Tensor, task: int | None = None) -> Tensor | list[Tensor]:
        h = F.relu(self.norm(self.conv(x)))
        h = torch.relu(self.fc(h.view(h.size(0), -1)))
        return [head(h) for head in self.heads] if task is None else self.heads[task](h)


X = torch.randn(2, 1, 4, 4)


def test_slices_of_a_small_network_are_what_one_would_write_by_hand() -> None:
    conv, fc = trace(TwoHeads(), X).layers
    assert (conv.name, conv.num_nodes, fc.name, fc.num_nodes) == ("conv", 3, "fc", 5)
    places = [(piece.parameter, piece.dim) for piece in conv.incoming]
    assert places == [("conv.weight", 0), ("conv.bias", 0), ("norm.weight", 0), ("norm.bias", 0)]
    assert [(piece.parameter, piece.dim) for piece in conv.statistics] == [
        ("norm.running_mean", 0),
        ("norm.running_var", 0),
    ]
    (columns,) = conv.outgoing
    assert (columns.parameter, columns.dim) == ("fc.weight", 1)
    assert columns.index.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert [piece.parameter for piece in fc.outgoing] == ["heads.0.weight", "heads.1.weight"]


def test_heads_are_found_or_named_with_the_same_result() -> None:
    found, named = trace(TwoHeads(), X), trace(TwoHeads(), X, heads="heads")
    assert found.heads == named.heads
    assert found.head_of(1) == {"heads.1.weight", "heads.1.bias"}
    assert found.num_tasks == 2
    assert str(found) == str(named)


def test_a_single_output_layer_is_a_head_that_all_tasks_share() -> None:
    graph = trace(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.randn(2, 3))
    assert [head.name for head in graph.heads] == ["2"]
    assert graph.num_tasks is None
    assert graph.own_heads([0]) == frozenset()


class CallsOneHead(TwoHeads):
    def forward(self, x: Tensor, task: int = 0) -> Tensor:
        return super().forward(x, task)


def test_heads_that_the_forward_does_not_call_read_what_the_called_one_reads() -> None:
    graph = trace(CallsOneHead(), X, heads="heads")
    assert [piece.parameter for piece in graph.layers[1].outgoing] == ["heads.0.weight", "heads.1.weight"]


class EarlyExit(nn.Module):
    """Heads of one list behind different layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 4)
        self.heads = nn.ModuleList([nn.Linear(4, 2), nn.Linear(4, 2)])

    def forward(self, x: Tensor) -> list[Tensor]:
        first = F.relu(self.a(x))
        return [self.heads[0](first), self.heads[1](F.relu(self.b(first)))]


def test_a_head_that_the_forward_calls_reads_only_what_it_is_called_with() -> None:
    a, b = trace(EarlyExit(), torch.randn(2, 3)).layers
    assert {piece.parameter for piece in a.outgoing} == {"b.weight", "heads.0.weight"}
    assert [piece.parameter for piece in b.outgoing] == ["heads.1.weight"]


def test_a_head_that_is_not_called_must_be_built_like_the_called_one() -> None:
    model = CallsOneHead()
    model.heads[1] = nn.Linear(6, 4)
    with pytest.raises(TraceError, match=r"cannot trace 'heads\.1': the forward does not call it.*like 'heads\.0'"):
        trace(model, X, heads="heads")


def test_a_printed_graph_names_layers_parameters_and_heads() -> None:
    text = str(trace(TwoHeads(), X))
    assert "8 nodes in 2 layers" in text
    assert "conv: 3 nodes" in text
    assert "fc.weight[:, 0..11] (4 a node)" in text
    assert "heads: heads" in text


def test_a_skip_connection_makes_one_node_of_several_producers() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            h = F.relu(self.a(x))
            return self.last(F.relu(h + self.b(h)))

    (layer,) = trace(Skip(), torch.randn(2, 3)).layers
    assert {piece.parameter for piece in layer.incoming} == {"a.weight", "a.bias", "b.weight", "b.bias"}
    assert {piece.parameter for piece in layer.outgoing} == {"b.weight", "last.weight"}


def test_tracing_leaves_mode_state_and_random_numbers_alone() -> None:
    model = TwoHeads().train()
    model.norm.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    generator = torch.get_rng_state()
    trace(model, X)
    assert model.training
    assert not model.norm.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)


def test_a_norm_layer_on_the_input_belongs_to_no_node_but_to_all() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    assert trace(model, torch.randn(2, 3)).shared == ("0.bias", "0.running_mean", "0.running_var", "0.weight")


class Squash(nn.Module):
    """An activation that torch.fx sees but no rule knows."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.erf(x)


def test_an_unknown_operation_is_refused_and_a_rule_of_ones_own_helps() -> None:
    model, x = nn.Sequential(nn.Linear(3, 4), Squash(), nn.Linear(4, 2)), torch.randn(2, 3)
    with pytest.raises(TraceError, match=r"'1'.*special_erf.*no rule.*rules=.*ignore=\('1',\)"):
        trace(model, x)
    assert trace(model, x, rules={Squash: activation}).num_nodes == 4
    assert trace(model, x, rules={torch.special.erf: activation}).num_nodes == 4


def test_a_rule_that_fails_without_a_word_is_named_by_the_kind_of_its_error() -> None:
    def rule(call: Call) -> None:
        raise ValueError

    with pytest.raises(TraceError, match="'1': Squash: ValueError; give a rule"):
        trace(nn.Sequential(nn.Linear(3, 4), Squash(), nn.Linear(4, 2)), torch.randn(2, 3), rules={Squash: rule})


def test_what_flows_into_an_ignored_module_is_no_node() -> None:
    model = nn.Sequential(nn.Linear(3, 4), Squash(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    graph = trace(model, torch.randn(2, 3), ignore=("1",))
    assert [layer.name for layer in graph.layers] == ["2"]
    assert [head.name for head in graph.heads] == ["4"]
    assert graph.ignored == ("0.bias", "0.weight")
    assert "ignored, frozen once a task is learned: 0.bias, 0.weight" in str(graph)


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) if x.sum() > 0 else -self.a(x)


@pytest.mark.parametrize(
    ("model", "x", "message"),
    [
        (Branches(), torch.randn(2, 3), "torch.export cannot follow the forward of Branches"),
        (nn.Sequential(nn.Linear(3, 4), nn.Softmax(1), nn.Linear(4, 2)), torch.randn(2, 3), "'2'.*softmax of nodes"),
        (nn.Linear(3, 4), torch.randn(2, 5), "example inputs do not fit"),
    ],
)
def test_what_cannot_be_traced_is_refused_in_one_line(model: nn.Module, x: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        trace(model, x)
    assert "\n" not in str(caught.value)


def test_unknown_heads_are_refused_with_the_names_that_exist() -> None:
    with pytest.raises(ValueError, match="no module 'haeds'; its parts are conv, norm, fc, heads"):
        trace(TwoHeads(), X, heads="haeds")


def test_a_parametrized_weight_is_refused() -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(TraceError, match=r"its weight is computed .*; make it a plain .*\.remove_parametrizations"):
        trace(model, torch.randn(2, 3))


def test_the_functional_interface_is_traced_like_modules() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(4))
            self.last = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(F.relu(F.linear(x, self.weight, self.bias)))

    (layer,) = trace(Functional(), torch.randn(2, 3)).layers
    assert [piece.parameter for piece in layer.incoming] == ["weight", "bias"]


def test_a_user_rule_can_write_in_the_ledger() -> None:
    class Scale(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.ones(channels))

        def forward(self, x: Tensor) -> Tensor:
            return torch.special.erf(x) * self.factor

    def scale(call: Call) -> object:
        ids = call.along(call.label, -1, call.module.factor.numel())
        call.ledger.enter(call.ledger.incoming, call.place(call.module.factor, 0), ids)
        return activation(call)

    model = nn.Sequential(nn.Linear(3, 4), Scale(4), nn.Linear(4, 2))
    (layer,) = trace(model, torch.randn(2, 3), rules={Scale: scale}).layers
    assert [piece.parameter for piece in layer.incoming] == ["0.weight", "0.bias", "1.factor"]


class Concatenated(nn.Module):
    """Many branches that one layer reads."""

    def __init__(self) -> None:
        super().__init__()
        self.branches, self.last = nn.ModuleList(nn.Linear(3, 4) for _ in range(12)), nn.Linear(48, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.cat([F.relu(branch(x)) for branch in self.branches], dim=1))


def test_every_trace_of_a_model_reads_activations_in_the_same_order() -> None:
    def read() -> list[str]:
        return [str(source) for source in trace(model, torch.randn(2, 3)).probe.output_node().args[0]]

    model = Concatenated()
    assert all(read() == read() for _ in range(5))


def test_group_vectors_come_back_where_they_were_taken_from() -> None:
    model = TwoHeads()
    state = model.state_dict()
    for layer in trace(model, X).layers:
        for slices in (layer.incoming, layer.outgoing):
            rows = gather(slices, state)
            assert rows.shape[0] == layer.num_nodes
            scatter(slices, state, 2 * rows)
            assert torch.equal(gather(slices, state), 2 * rows)
