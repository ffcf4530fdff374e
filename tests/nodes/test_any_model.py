"""Any model: both front ends, attention, streams, and the law on what people use."""

import importlib

import pytest
import torch
from torch import Tensor, nn

from agscl.nodes import Activity, NodeGraph, TraceError, trace
from agscl.nodes.tracing.calls import Origin, form_of
from laws import zoo
from laws.node_law import awake, broken_laws, violations

by_hand = importlib.import_module("agscl.nodes.tracing.trace")

FAST = [
    ("torch", "MultiheadAttention"), ("torch", "TransformerEncoder, norm first"), ("torch", "Transformer"),
    ("torch", "GRU"), ("torch", "LSTM, several layers, both ways"), ("torchvision", "vit"), ("torchvision", "swin v2"),
    ("timm", "vit, norm of queries and keys"), ("timm", "beit"), ("timm", "mixer"), ("transformers", "BERT"),
    ("transformers", "GPT-2"), ("transformers", "Llama"), ("transformers", "ViT"),
]  # fmt: skip


def exported(model: nn.Module, inputs: object) -> NodeGraph:
    """The graph that torch.export gives, also where torch.fx could follow."""
    form, values = form_of(model, *by_hand.arguments(inputs))
    with by_hand.eval_mode(model), torch.no_grad():
        return by_hand._by_export(model, values, Origin(form, None, {}, ()))


@pytest.mark.parametrize(("family", "name"), FAST)
def test_models_with_attention_or_memory_trace_and_obey_the_law(family: str, name: str) -> None:
    make, inputs = zoo.FAMILIES[family][name]
    torch.manual_seed(0)
    model = make()
    graph = trace(model, inputs)
    assert len(graph.heads) == 1
    assert not graph.unreached
    assert not broken_laws(model, graph, inputs)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "densenet", "shufflenet_v2_x0_5", "vgg11_bn"])
def test_both_front_ends_find_the_same_nodes_in_convolutional_nets(name: str) -> None:
    make, inputs = zoo.TORCHVISION[name]
    model = make()
    one, other = trace(model, inputs), exported(model, inputs)
    assert [layer.name for layer in one.layers] == [layer.name for layer in other.layers]
    for layer, same in zip(one.layers, other.layers, strict=True):
        for kind in ("incoming", "outgoing", "statistics"):
            mine = {(piece.parameter, piece.dim): piece.index for piece in getattr(layer, kind)}
            its = {(piece.parameter, piece.dim): piece.index for piece in getattr(same, kind)}
            assert mine.keys() == its.keys()
            assert all(torch.equal(index, its[place]) for place, index in mine.items())
    assert one.heads == other.heads


@pytest.mark.parametrize("name", zoo.REFUSED)
def test_what_cannot_be_protected_is_refused_by_name_in_one_line(name: str) -> None:
    (make, inputs), message = zoo.REFUSED[name]
    with pytest.raises(TraceError, match=message) as caught:
        trace(make(), inputs)
    assert "\n" not in str(caught.value)


def test_a_head_is_a_node_with_its_queries_keys_values_and_its_columns_of_the_output() -> None:
    make, inputs = zoo.TIMM["vit"]
    stream, heads, hidden, *_ = trace(make(), inputs).layers
    assert (stream.kind, heads.kind, hidden.kind) == ("stream", "nodes", "nodes")
    assert (stream.num_nodes, heads.num_nodes, hidden.num_nodes) == (1, 3, 192)
    rows, _ = heads.incoming
    assert rows.index[1].tolist() == [*range(16, 32), *range(64, 80), *range(112, 128)]
    (columns,) = heads.outgoing
    assert (columns.parameter, columns.dim) == ("blocks.0.attn.proj.weight", 1)
    assert columns.index[1].tolist() == [*range(16, 32)]
    positions = {piece.parameter: piece for piece in stream.incoming}
    assert {"cls_token", "pos_embed", "norm.weight", "blocks.1.mlp.fc2.weight"} <= positions.keys()
    assert (positions["pos_embed"].dim, positions["pos_embed"].index.shape) == (2, (1, 48))


def test_queries_that_share_keys_and_values_are_one_node() -> None:
    make, inputs = zoo.TRANSFORMERS["Llama"]
    heads = trace(make(), inputs).layers[1]
    rows = {piece.parameter.rpartition("self_attn.")[2]: piece.index for piece in heads.incoming}
    assert rows["q_proj.weight"].tolist() == [[*range(16)], [*range(16, 32)]]
    assert rows["k_proj.weight"].tolist() == rows["v_proj.weight"].tolist() == [[*range(8)], [*range(8, 16)]]


def test_importance_is_measured_on_any_number_of_samples_and_tokens() -> None:
    make, inputs = zoo.TRANSFORMERS["BERT"]
    model = make().eval()
    activity = Activity(model, trace(model, inputs))
    activity.observe((), {"input_ids": torch.randint(5, 60, (3, 11))})
    assert all((mean > 0).all() for mean in activity.means().values())


def test_importance_is_measured_on_calls_of_another_form() -> None:
    make, inputs = zoo.TRANSFORMERS["BERT"]
    model = make().eval()
    activity = Activity(model, trace(model, inputs, heads="classifier"))
    ids = torch.randint(5, 60, (2, 7))
    with activity.watching():
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
        model(input_ids=ids, labels=torch.zeros(2, dtype=torch.long))
    assert all((mean > 0).all() for mean in activity.means().values())


class Nested(nn.Module):
    """Takes nested inputs and decides by their values, as torch.fx cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, batch: dict[str, tuple[Tensor, Tensor]], *, scale: float = 1.0) -> dict[str, Tensor]:
        one, other = batch["pair"]
        if one.shape[0] != other.shape[0]:
            raise ValueError("sizes differ")
        return {"logits": self.last(torch.relu(self.first(one + other))) * scale}


def test_inputs_and_outputs_may_be_nested() -> None:
    model = awake(Nested())
    batch = {"pair": (torch.randn(2, 3).double(), torch.randn(2, 3).double())}
    graph = trace(model, {"batch": batch, "scale": 2.0})
    assert [layer.name for layer in graph.layers] == ["first"]
    activity = Activity(model, graph)
    activity.observe((), {"batch": {"pair": (torch.randn(5, 3).double(), torch.randn(5, 3).double())}, "scale": 2.0})
    assert activity.means()["first"].shape == (4,)


class Views(nn.Module):
    """Weights in the forms that people use them in: transposed, in halves, as rows of a larger one."""

    def __init__(self) -> None:
        super().__init__()
        self.packed, self.back = nn.Parameter(torch.randn(8, 3)), nn.Parameter(torch.randn(4, 5))
        self.scale, self.table = nn.Parameter(torch.rand(10) + 0.5), nn.Parameter(torch.randn(7, 5))
        self.register_buffer("rows", torch.tensor([6, 0, 3]))
        self.last = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.packed.chunk(2)
        gated = torch.relu(nn.functional.linear(x, one)) * nn.functional.linear(x, other)
        h = (gated @ self.back) * self.scale[5:] * self.scale[None, :5]
        return self.last(h + self.table[self.rows].mean(0))


@pytest.mark.parametrize("front_end", [trace, exported])
def test_views_of_parameters_belong_to_the_nodes_that_they_serve(front_end: object) -> None:
    model, x = awake(Views()), torch.randn(6, 3).double()
    graph = front_end(model, x)
    gate, hidden = graph.layers
    assert (gate.num_nodes, hidden.num_nodes) == (4, 5)
    (rows,) = gate.incoming
    assert rows.index.tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]
    owned = {piece.parameter: piece.index.tolist() for piece in hidden.incoming}
    assert owned["scale"] == [[0, 5], [1, 6], [2, 7], [3, 8], [4, 9]]
    assert owned["table"] == [[0], [1], [2], [3], [4]]
    assert not violations(model, graph, x)


def test_features_beside_the_heads_outputs_are_refused() -> None:
    class Features(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.head = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            features = self.trunk(x).relu()
            return features, self.head(features)

    with pytest.raises(TraceError, match=r"nodes made by 'trunk.weight' are an output of the model and 'head.weight'"):
        trace(Features(), torch.randn(2, 4))


def test_a_hidden_state_that_does_not_begin_at_zero_is_refused() -> None:
    class Begins(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.start, self.memory = nn.Parameter(torch.randn(1, 1, 4)), nn.GRU(3, 4, batch_first=True)
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.memory(x, self.start.expand(-1, x.shape[0], -1).contiguous())[0][:, -1])

    with pytest.raises(TraceError, match="does not begin at zero"):
        trace(Begins(), torch.randn(2, 5, 3))
