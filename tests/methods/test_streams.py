"""Residual streams: earlier tasks keep every bit, later ones write into the stream with nodes of their own."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
import transformers as hf
from sklearn.datasets import load_digits
from timm.models import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

import agscl
from agscl.methods.masks import frozen_into_streams
from agscl.methods.method import Method, Network
from agscl.nodes import compact, removable
from agscl.nodes.slices import fill
from agscl.nodes.surgery.replaced import replace_tensors_in_forward
from laws import zoo
from laws.encoders import EXACT, Encoder, X, logits, step, trained
from laws.three_tasks import Heads, Task, accuracies


def vit() -> nn.Module:
    trunk = VisionTransformer(
        img_size=8, patch_size=2, in_chans=1, num_classes=0, embed_dim=32, depth=1, num_heads=8, mlp_ratio=2
    )
    return Heads(trunk, 32)


SIZES = {"vocab_size": 17, "num_hidden_layers": 1, "num_attention_heads": 8, "hidden_size": 32}


def bert() -> nn.Module:
    config = hf.BertConfig(**SIZES, intermediate_size=64, max_position_embeddings=16, hidden_dropout_prob=0.0)
    return Heads(hf.BertModel(config, add_pooling_layer=False), 32)


def gpt() -> nn.Module:
    options = {"n_positions": 16, "bos_token_id": 1, "eos_token_id": 2, "use_cache": False}
    return Heads(hf.GPT2Model(hf.GPT2Config(vocab_size=17, n_embd=32, n_layer=1, n_head=8, **options)), 32)


def pixels(images: Tensor) -> Tensor:
    return images.unsqueeze(1) / 8 - 1


def words(images: Tensor) -> Tensor:
    """Sixteen tokens: the mean grey of each square of four pixels."""
    return F.avg_pool2d(images.unsqueeze(1), 2).flatten(1).round().long()


def digits(encode: Callable[[Tensor], Tensor]) -> list[tuple[Task, Task]]:
    """Three tasks of three, three and four digits, each with training and test examples."""
    data = load_digits()
    images, labels = torch.tensor(data.images, dtype=torch.float32), torch.tensor(data.target)
    tasks = []
    for first, last in ((0, 3), (3, 6), (6, 10)):
        chosen = ((labels >= first) & (labels < last)).nonzero().flatten()
        x, y = encode(images[chosen]), labels[chosen] - first
        tasks.append(((x[:320], y[:320]), (x[320:], y[320:])))
    return tasks


@pytest.mark.parametrize(("make", "encode"), [(vit, pixels), (bert, words), (gpt, words)])
def test_transformers_learn_three_tasks_and_forget_no_bit(
    make: Callable[[], nn.Module], encode: Callable[[Tensor], Tensor]
) -> None:
    tasks = digits(encode)
    torch.manual_seed(0)
    plastic, _ = accuracies(make(), agscl.AGSCL(mu=60, lam=math.inf, rho=0.5), tasks, epochs=8)
    torch.manual_seed(0)
    rigid, _ = accuracies(make(), agscl.AGSCL(mu=0, lam=math.inf, rho=0), tasks, epochs=8)
    assert sum(plastic[1:]) > sum(rigid[1:]) + 0.1


@pytest.mark.parametrize("method", [EXACT[0], *EXACT[2:]], ids=lambda method: method.name)
def test_earlier_tasks_keep_their_bits_whatever_becomes_of_what_may_learn(method: Method) -> None:
    net, guard, kept = trained(method, 2)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    step(net, guard, 2, steps=3, rate=1.0)
    moved = [name for name, p in net.named_parameters() if not torch.equal(p.detach(), before[name])]
    assert any(name.startswith("trunk") for name in moved)
    for task, answers in enumerate(kept):
        guard.use_task(task)
        assert torch.equal(logits(net, task, X), answers)


def test_weights_of_later_nodes_may_even_be_infinite() -> None:
    net, guard, kept = trained(EXACT[0], 1)
    late = {name: omega == 0 for name, omega in guard.importance.items()}
    assert sum(int(nodes.sum()) for nodes in late.values()) > 0
    with torch.no_grad():
        for layer in guard.graph.layers:
            for piece in layer.incoming:
                weight = net.state_dict()[piece.parameter]
                weight.index_fill_(piece.dim, piece.index[late[layer.name]].flatten(), math.inf)
    guard.use_task(0)
    assert torch.equal(logits(net, 0, X), kept[0])


@pytest.mark.parametrize("method", EXACT, ids=lambda method: method.name)
def test_a_saved_guard_answers_earlier_tasks_alike(method: Method) -> None:
    net, guard, kept = trained(method, 3)
    torch.manual_seed(1)
    other = Encoder()
    again = agscl.protect(other, method, example_inputs=X[:2], heads="heads")
    other.load_state_dict(net.state_dict())
    again.load_state_dict(guard.state_dict())
    for task, answers in enumerate(kept):
        again.use_task(task)
        guard.use_task(task)
        assert torch.equal(logits(other, task, X), logits(net, task, X))
        if method.name != "ags-cl" or method.hard:
            assert torch.equal(logits(other, task, X), answers)


@pytest.mark.parametrize("make", [Encoder, zoo.TORCH["GRU"][0]], ids=["attention", "recurrence"])
def test_a_weight_replaced_in_the_forward_is_the_weight_computed_with(make: Callable[[], nn.Module]) -> None:
    net = make().eval()
    x = torch.randn(2, 5, net.embed.in_features)
    graph = agscl.trace(net, x)
    names = sorted({piece.parameter for layer in graph.layers for piece in layer.outgoing})
    assert any(name.endswith(("out_proj.weight", "weight_hh_l0")) for name in names)
    for name in names:
        zeroed, replaced = copy.deepcopy(net), copy.deepcopy(net)
        with torch.no_grad():
            zeroed.state_dict()[name].zero_()
        replace_tensors_in_forward(replaced, [name], lambda _, module, own: torch.zeros_like(own), graph.users)
        replaced = copy.deepcopy(replaced)  # a copy has hooks of its own
        expected = torch.cat([out.flatten() for out in _listed(zeroed(x))])
        assert torch.equal(torch.cat([out.flatten() for out in _listed(replaced(x))]), expected)


def _listed(outputs: Tensor | list[Tensor]) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else outputs


def test_a_weight_into_a_stream_is_frozen_where_source_and_stream_are_used() -> None:
    net = Encoder()
    graph = agscl.trace(net, X[:2], heads="heads")
    network = Network(net, graph, dict(net.named_parameters()))
    used = {layer.name: torch.arange(layer.num_nodes) % 2 == 0 for layer in graph.layers}
    frozen = frozen_into_streams(network, used)
    columns = frozen["trunk.layers.0.linear2.weight"].expand(8, 12)
    assert torch.equal(columns, (torch.arange(12) % 2 == 0).expand(8, 12))
    heads = frozen["trunk.layers.1.self_attn.out_proj.weight"].expand(8, 8)
    assert torch.equal(heads, (torch.arange(8) // 2 % 2 == 0).expand(8, 8))
    for name in ("embed.weight", "trunk.layers.0.norm1.weight", "trunk.layers.0.linear2.bias"):
        assert frozen[name].all()


def test_a_stream_is_never_cut_drawn_or_shrunk_and_takes_no_capacity() -> None:
    net = Encoder()
    guard = agscl.protect(net, agscl.AGSCL(mu=1e4, lam=math.inf, rho=1.0), example_inputs=X[:2], heads="heads")
    step(net, guard, 0, steps=4)
    with pytest.warns(agscl.CapacityWarning):
        guard.consolidate([X], predict=lambda batch: net(batch)[0])
    (stream,) = guard.graph.streams
    assert guard.importance[stream.name].tolist() != [0.0]
    assert all(net.state_dict()[name].any() for name in ("embed.weight", "trunk.layers.0.norm1.weight"))
    assert stream.name not in [layer.name for layer in guard.capacity()]


def test_what_a_stream_cannot_do_is_refused_by_name() -> None:
    net, guard, _ = trained(EXACT[0], 1)
    (stream,) = guard.graph.streams
    with pytest.raises(ValueError, match=f"'{stream.name}': it is a residual stream"):
        guard.expand(layer=stream.name, nodes=1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    attached = guard.attach(optimizer, steps_per_epoch=1, live=True)
    with pytest.raises(ValueError, match="live=True is not for a model with a residual stream"), attached:
        pass


def test_hidden_nodes_of_a_transformer_can_be_added_and_removed() -> None:
    net, guard, kept = trained(EXACT[0], 2)
    hidden = next(layer for layer in guard.graph.layers if layer.num_nodes == 12)
    guard.expand(layer=hidden.name, nodes=3)
    for task, answers in enumerate(kept):
        guard.use_task(task)
        assert torch.equal(logits(net, task, X), answers)
    with pytest.raises(ValueError, match="cannot add nodes"):
        guard.expand(layer=next(layer for layer in guard.graph.layers if layer.num_nodes == 4).name, nodes=1)

    guard.use_task(2)
    cut = {layer.name: torch.arange(layer.num_nodes) < 2 for layer in guard.graph.layers if layer.kind == "nodes"}
    going = removable(net, guard.graph, cut, X[:2])
    assert [int(nodes.sum()) for nodes in going.values()] == [0, 2, 0, 2]  # heads stay: the model counts them
    with torch.no_grad():
        for layer in guard.graph.layers:
            fill(layer.outgoing, net.state_dict(), going.get(layer.name, torch.zeros(layer.num_nodes) > 0), 0.0)
    small = compact(net, guard.graph, going, X[:2])
    assert torch.allclose(logits(small, 2, X), logits(net, 2, X), atol=1e-6)
