"""Per-sample gradients in closed form equal those of one sample at a time, for every kind of layer."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import transformers as hf
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models import VisionTransformer
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from agscl.methods import Learned, Network
from agscl.methods.weights.fisher import KINDS, fisher_diagonal
from agscl.methods.weights.mas import sensitivity
from agscl.nodes import NodeGraph
from agscl.nodes.layers import convolution

Predict = Callable[[Any], Tensor]


def network(model: nn.Module) -> Network:
    graph = NodeGraph(layers=(), heads=(), shared=(), unreached=(), probe=fx.Graph())
    return Network(model, graph, dict(model.named_parameters()))


def learned(batches: Sequence[Any], predict: Predict) -> Learned:
    return Learned((0,), batches, predict)


def awake(model: nn.Module) -> nn.Module:
    """In eval mode and double precision, with norm layers away from their defaults."""
    generator = torch.Generator().manual_seed(3)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point() and tensor.ndim < 2:
            noise = torch.rand(tensor.shape, generator=generator)
            tensor.data = noise + 0.5 if name.endswith(("var", "weight")) else noise - 0.3
    return model.double().eval()


def one_at_a_time(model: nn.Module, predict: Predict, batches: Sequence[Any], value: Any, of: Any) -> dict[str, Tensor]:
    """Mean over samples of ``of(gradient)``, with a backward pass for each sample."""
    parameters = dict(model.named_parameters())
    sums, samples = {name: torch.zeros_like(p) for name, p in parameters.items()}, 0
    for x, y in batches:
        for i in range(len(x)):
            for weight, loss in value(predict((x[i : i + 1], y[i : i + 1])), y[i]):
                gradients = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, allow_unused=True)
                for name, gradient in zip(parameters, gradients, strict=True):
                    sums[name] += weight * (0 if gradient is None else of(gradient))
            samples += 1
    return {name: total / samples for name, total in sums.items()}


def own_label(logits: Tensor, y: Tensor) -> list[tuple[float, Tensor]]:
    return [(1.0, -logits.log_softmax(1)[0, y])]


def every_label(logits: Tensor, y: Tensor) -> list[tuple[float, Tensor]]:
    log = logits.log_softmax(1)[0]
    return [(p, -value) for p, value in zip(log.exp().tolist(), log, strict=True)]


def squared_length(logits: Tensor, y: Tensor) -> list[tuple[float, Tensor]]:
    return [(1.0, (logits**2).sum())]


def agree(model: nn.Module, shape: tuple[int, ...], classes: int = 3, samples: int = 7) -> None:
    model = awake(model)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(samples, *shape, generator=generator, dtype=torch.float64)
    y = torch.randint(0, classes, (samples,), generator=generator)
    batches = list(zip(x.split(4), y.split(4), strict=True))

    def predict(batch: Any) -> Tensor:
        result: Tensor = model(batch[0])
        return result

    found = fisher_diagonal(network(model), learned(batches, predict), "empirical")
    expected = one_at_a_time(model, predict, batches, own_label, torch.square)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-9, atol=1e-12, msg=name)
    found = sensitivity(network(model), learned(batches, predict))
    for name, values in one_at_a_time(model, predict, batches, squared_length, torch.abs).items():
        torch.testing.assert_close(found[name], values, rtol=1e-9, atol=1e-12, msg=name)


class Twice(nn.Module):
    """One layer called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.out = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.layer(torch.tanh(self.layer(x)))))


class Tied(nn.Module):
    """Two layers with one weight, and a bias that is used once more on the side."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.b(torch.tanh(self.a(x))))) + self.out.bias**2


class Own(nn.Module):
    """Parameters without a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.weight = nn.Parameter(torch.ones(5)), nn.Parameter(torch.randn(3, 5))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x * self.scale, self.weight)


class Folded(nn.Module):
    """Positions moved into the batch dimension, where a layer cannot tell samples apart."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.out = nn.Linear(3, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.layer(x.reshape(-1, 3))).reshape(len(x), -1, 4)
        return self.out(h.mean(1))


class Shifted(nn.Linear):
    """A subclass that computes something else."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.weight.sum()


def head(width: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(width, 3))


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3, bias=False)), (4,)),
    "linear on sequences": (lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.LayerNorm(6), head(30)), (5, 4)),
    "layer norm on images": (lambda: nn.Sequential(nn.LayerNorm([2, 4, 4]), head(32)), (2, 4, 4)),
    "in-place activation": (
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 3)),
        (1, 4, 4),
    ),
    "batch norm": (
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(), head(12)), (1, 4, 4),
    ),
    "batch norm on features": (lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)), (4,)),
    "batch norm on signals": (lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), head(16)), (2, 6)),
    "batch norm without affine": (
        lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3, affine=False), head(12)), (1, 4, 4),
    ),
    "group norm": (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), head(16)), (1, 4, 4)),
    "depthwise": (lambda: nn.Sequential(nn.Conv2d(4, 4, 3, groups=4, padding=1), head(64)), (4, 4, 4)),
    "volumes": (lambda: nn.Sequential(nn.Conv3d(1, 2, 2), head(2 * 8)), (1, 3, 3, 3)),
    "transposed": (lambda: nn.Sequential(nn.ConvTranspose2d(2, 3, 2), head(75)), (2, 4, 4)),
    "attention": (lambda: nn.Sequential(nn.Linear(4, 8), Attention(), head(40)), (5, 4)),
    "called twice": (Twice, (5,)),
    "tied": (Tied, (5,)),
    "own parameters": (Own, (5,)),
    "folded positions": (Folded, (4, 3)),
    "subclass": (lambda: nn.Sequential(Shifted(4, 3)), (4,)),
    "parametrised": (lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 6)), nn.Linear(6, 3)), (4,)),
}  # fmt: skip


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.attend(x, x, x, need_weights=False)[0]
        return result


@pytest.mark.parametrize("name", MODELS)
def test_layers_of_every_kind_agree_with_one_sample_at_a_time(name: str) -> None:
    torch.manual_seed(0)
    make, shape = MODELS[name]
    agree(make(), shape)


@st.composite
def convolutions(draw: st.DrawFn) -> nn.Conv2d:
    padding = draw(st.sampled_from([0, 1, (1, 0), "same", "valid"]))
    return nn.Conv2d(
        2,
        4,
        draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        stride=1 if padding == "same" else draw(st.integers(1, 3)),
        padding=padding,
        dilation=draw(st.integers(1, 2)),
        groups=draw(st.sampled_from([1, 2])),
        padding_mode=draw(st.sampled_from(["zeros", "circular", "reflect", "replicate"])),
        bias=draw(st.booleans()),
    )


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, activation="gelu", norm_first=True)
    trunk = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return nn.Sequential(nn.Linear(3, 8), trunk, nn.Flatten(), nn.Linear(8 * 4, 3))


def vit() -> nn.Module:
    sizes = {"img_size": 8, "patch_size": 4, "in_chans": 1, "embed_dim": 8, "depth": 1, "num_heads": 2}
    return VisionTransformer(**sizes, num_classes=3, init_values=0.5, qkv_bias=True)


class Reads(nn.Module):
    """A transformer on ids, made of the input's numbers."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk, self.out = trunk, nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        ids = (x * 3).long().clamp(0, 8)
        mask = torch.ones_like(ids)
        mask[:, -1] = x[:, 0] > 0
        return self.out(self.trunk(ids, attention_mask=mask).last_hidden_state[:, 0])


def bert() -> nn.Module:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
    return Reads(hf.BertModel(hf.BertConfig(vocab_size=9, **sizes), add_pooling_layer=False))


def gpt() -> nn.Module:
    sizes = {"n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 2, "bos_token_id": 1, "eos_token_id": 2}
    return Reads(hf.GPT2Model(hf.GPT2Config(vocab_size=9, use_cache=False, **sizes)))


@pytest.mark.parametrize(("make", "shape"), [(encoder, (4, 3)), (vit, (1, 8, 8)), (bert, (4,)), (gpt, (4,))])
def test_transformers_agree_with_one_sample_at_a_time(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    agree(make(), shape)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # only slower, says torch
@settings(max_examples=25, deadline=None)
@given(conv=convolutions())
def test_convolutions_of_any_shape_agree_with_one_sample_at_a_time(conv: nn.Conv2d) -> None:
    agree(nn.Sequential(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(2), head(16)), (2, 6, 6), samples=5)


@settings(max_examples=25, deadline=None)
@given(conv=convolutions(), magnitude=st.sampled_from([torch.square, torch.abs]))
def test_convolutions_give_the_same_sums_as_groups_and_unfolded(conv: nn.Conv2d, magnitude: Any) -> None:
    generator, conv = torch.Generator().manual_seed(0), conv.double()
    x = torch.randn(5, 2, 9, 8, generator=generator, dtype=torch.float64)
    x = F.pad(x, conv._reversed_padding_repeated_twice)
    shape = F.conv2d(x, conv.weight, None, conv.stride, 0, conv.dilation, conv.groups).shape
    g = torch.randn(shape, generator=generator, dtype=torch.float64)
    grouped, unfolded = (form(conv, x, g, magnitude) for form in (convolution._as_groups, convolution._unfolded))
    torch.testing.assert_close(grouped, unfolded, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [*MODELS])
def test_a_model_that_computes_in_bfloat16_gives_sums_as_precise_as_its_gradients(name: str) -> None:
    torch.manual_seed(0)
    make, shape = MODELS[name]
    model = awake(make()).float()
    batch = torch.randn(40, *shape), torch.randint(0, 3, (40,))

    def rounded(batch: Any) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            outputs: Tensor = model(batch[0])
            return outputs

    for measure in (lambda *given: fisher_diagonal(*given, "empirical"), sensitivity):
        plain = measure(network(model), learned([batch], lambda batch: model(batch[0])))
        found = measure(network(model), learned([batch], rounded))
        for parameter, values in plain.items():
            assert found[parameter].dtype == torch.float32
            assert (found[parameter] - values).norm() < 0.1 * values.norm(), parameter


def test_certain_answers_in_bfloat16_have_a_gradient_still() -> None:
    """A probability of 0.9997 is 1 in bfloat16, and nothing would be left of its gradient."""
    model = nn.Linear(1, 2, bias=False)
    model.weight.data = torch.tensor([[8.0], [0.0]])
    batch = torch.ones(3, 1), torch.zeros(3, dtype=torch.int64)
    found = fisher_diagonal(network(model), learned([batch], lambda batch: model(batch[0]).bfloat16()), "empirical")
    expected = torch.full((2, 1), torch.tensor(-8.0).sigmoid().item() ** 2)
    torch.testing.assert_close(found["weight"], expected, rtol=0.02, atol=0)


def small() -> tuple[nn.Module, list[tuple[Tensor, Tensor]], Predict]:
    torch.manual_seed(0)
    model = awake(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), head(12)))
    x, y = torch.randn(13, 1, 4, 4, dtype=torch.float64), torch.randint(0, 3, (13,))
    return model, [(x, y)], lambda batch: model(batch[0])


def test_exact_fisher_is_the_expectation_over_all_labels() -> None:
    model, batches, predict = small()
    found = fisher_diagonal(network(model), learned(batches, predict), "exact")
    for name, values in one_at_a_time(model, predict, batches, every_label, torch.square).items():
        torch.testing.assert_close(found[name], values, rtol=1e-9, atol=1e-12)


def test_sampled_fisher_tends_to_the_exact_one() -> None:
    model, batches, predict = small()
    torch.manual_seed(0)
    many = [(batches[0][0].repeat(800, 1, 1, 1), batches[0][1].repeat(800))]
    sampled = fisher_diagonal(network(model), learned(many, predict), "sampled")
    exact = fisher_diagonal(network(model), learned(batches, predict), "exact")
    for name, values in exact.items():
        assert (sampled[name] - values).abs().sum() < 0.05 * values.sum()


def test_batched_fisher_squares_the_mean_gradient_of_every_batch() -> None:
    model, [(x, y)], predict = small()
    parameters = dict(model.named_parameters())
    parts = list(zip(x.split(5), y.split(5), strict=True))
    found = fisher_diagonal(network(model), learned(parts, predict), "batched")
    expected = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for part, labels in parts:
        gradients = torch.autograd.grad(F.cross_entropy(model(part), labels), list(parameters.values()))
        for name, gradient in zip(parameters, gradients, strict=True):
            expected[name] += len(part) * gradient**2 / len(x)
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-9, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(1, 13), min_size=1, max_size=13), kind=st.sampled_from(KINDS[:3]))
def test_fisher_does_not_depend_on_the_batches_of_the_importance_pass(sizes: list[int], kind: Any) -> None:
    model, [(x, y)], predict = small()
    torch.manual_seed(5)
    whole = fisher_diagonal(network(model), learned([(x, y)], predict), kind)
    parts, start = [], 0
    for size in [*sizes, 13]:
        parts.append((x[start : start + size], y[start : start + size]))
        start += size
    split = fisher_diagonal(network(model), learned([p for p in parts if len(p[0])], predict), kind)
    for name, values in whole.items():
        torch.testing.assert_close(split[name], values, rtol=1e-9, atol=1e-12)


def test_batched_fisher_shrinks_as_batches_grow() -> None:
    model, [(x, y)], predict = small()
    totals = []
    for size in (1, 4, 13):
        parts = list(zip(x.split(size), y.split(size), strict=True))
        fisher = fisher_diagonal(network(model), learned(parts, predict), "batched")
        totals.append(sum(float(values.sum()) for values in fisher.values()))
    assert totals[0] > totals[1] > totals[2]


def test_general_layers_refuse_batches_that_cannot_be_taken_apart() -> None:
    model = awake(Own())
    batch = (torch.randn(4, 5, dtype=torch.float64), torch.zeros(4, dtype=torch.int64), "name")
    with pytest.raises(ValueError, match="batches of tensors in tuples, lists or dicts, not str"):
        fisher_diagonal(network(model), learned([batch], lambda b: model(b[0])), "empirical")
    short = (batch[0], batch[1], torch.zeros(1))
    with pytest.raises(ValueError, match="one entry a sample"):
        fisher_diagonal(network(model), learned([short], lambda b: model(b[0])), "empirical")


def test_outputs_that_are_no_logits_are_refused() -> None:
    model = awake(nn.Sequential(nn.Linear(4, 3)))
    batch = (torch.randn(4, 2, 4, dtype=torch.float64), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"logits of shape \(B, classes\), not \(4, 2, 3\)"):
        fisher_diagonal(network(model), learned([batch], lambda b: model(b[0])), "empirical")
