"""Kinds of layers: every table is built from one row, and widened layers keep the bits of what they were."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import agscl
from agscl.guard.sparse_backward import is_sparable, spared
from agscl.nodes.layers import CLOSED_FORMS, KINDS, PRODUCTS, WIDENED, kind_of
from agscl.nodes.layers.widened import Widened, make_plain, widen
from agscl.nodes.rules import MODULES
from agscl.nodes.surgery.copies import replace_tensors

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(3, 4), (5, 3)),
    "linear on sequences, without bias": (nn.Linear(3, 4, bias=False), (2, 5, 3)),
    "signals": (nn.Conv1d(3, 4, 2, stride=2), (2, 3, 9)),
    "images": (nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), (2, 3, 5, 5)),
    "depthwise": (nn.Conv2d(3, 6, 3, groups=3), (2, 3, 5, 5)),
    "volumes": (nn.Conv3d(3, 4, 2), (2, 3, 3, 3, 3)),
}


def test_every_kind_is_traced_and_every_class_has_one_kind() -> None:
    types = [module for kind in KINDS for module in kind.types]
    assert len(types) == len(set(types))
    assert all(MODULES[module] is kind.rule for kind in KINDS for module in kind.types)
    assert all(wide in PRODUCTS for wide in WIDENED.values())


class Doubled(nn.Linear):
    """A subclass that computes something else."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        return 2 * super().forward(input)


def test_a_subclass_is_of_its_bases_kind_but_nothing_takes_its_forwards_place() -> None:
    assert kind_of(Doubled(3, 4)) is kind_of(nn.Linear(3, 4))
    assert Doubled not in CLOSED_FORMS
    assert not is_sparable(Doubled(3, 4))
    assert kind_of(nn.ReLU()).rule is None


def test_training_with_active_nodes_only_leaves_a_layer_its_own_forward() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(Doubled(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.randn(5, 3)
    method = agscl.AGSCL(mu=0, lam=float("inf"), rho=0)
    guard = agscl.protect(model, method, example_inputs=x)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with guard.attach(optimizer, steps_per_epoch=1):
        model(x).sum().backward()
        optimizer.step()
    guard.consolidate([x], model)
    assert any((omega > 0).any() for omega in guard.importance.values())
    expected = model(x)
    with guard.attach(optimizer, steps_per_epoch=1, live=True):
        assert torch.allclose(model(x), expected)


@pytest.mark.parametrize("layer", [nn.Conv3d(2, 3, 2, padding=1), nn.Linear(2, 3)])
def test_spared_layers_compute_the_same_with_gradients_for_the_free_rows_alone(layer: nn.Module) -> None:
    x = torch.randn(4, *([2, 3, 3, 3] if isinstance(layer, nn.Conv3d) else [2]), requires_grad=True)
    output = spared(layer, torch.tensor([1]), None)(x)
    assert torch.equal(output, layer(x))
    upstream = torch.randn_like(output)
    found = torch.autograd.grad(output, [layer.weight, layer.bias], upstream)
    for gradient, expected in zip(
        found, torch.autograd.grad(layer(x), [layer.weight, layer.bias], upstream), strict=True
    ):
        assert torch.allclose(gradient[1], expected[1], atol=1e-5)
        assert not gradient[[0, 2]].any()


def grow(layer: nn.Module, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Widen a layer by an input and an output, a channel if it is depthwise, at random places between the old ones.

    What is new is random, but for what new inputs give to old outputs: zero.

    Returns:
        Where the old outputs and the old inputs are among the new.
    """
    filters = layer.out_channels // layer.groups if getattr(layer, "groups", 1) > 1 else 0
    old = {name: parameter.detach() for name, parameter in layer.named_parameters()}
    num_rows, num_columns = len(old["weight"]), old["weight"].shape[1] * getattr(layer, "groups", 1)
    columns = torch.randperm(num_columns + 1, generator=generator)[:-1].sort().values
    rows = torch.randperm(num_rows + 1, generator=generator)[:-1].sort().values
    if filters:
        rows = (filters * columns[:, None] + torch.arange(filters)).flatten()
    new = {
        name: torch.randn(num_rows + (filters or 1), *tensor.shape[1:], generator=generator)
        for name, tensor in old.items()
    }
    if not filters:
        wide = torch.randn(num_rows + 1, num_columns + 1, *old["weight"].shape[2:], generator=generator)
        wide[rows] = wide[rows].index_fill(1, torch.arange(num_columns + 1), 0.0).index_copy(1, columns, old["weight"])
        new["weight"] = wide
    else:
        new["weight"][rows] = old["weight"]
    if "bias" in old:
        new["bias"][rows] = old["bias"]
    replace_tensors(layer, new)
    widen(layer, WIDENED[type(layer)], rows, columns)
    return rows, columns


@settings(max_examples=25)
@given(st.sampled_from(sorted(LAYERS)), st.integers(1, 3), st.integers(0, 2**16))
def test_a_widened_layer_keeps_the_bits_of_its_old_outputs_and_computes_what_a_plain_one_does(
    name: str, times: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    layer, dim = copy.deepcopy(LAYERS[name][0]), -1 if name.startswith("linear") else 1
    x = torch.randn(LAYERS[name][1], generator=generator)
    output = layer(x)
    for _ in range(times):
        before = output
        rows, columns = grow(layer, generator)
        sizes = list(x.shape)
        sizes[dim] += 1
        x = torch.randn(sizes, generator=generator).index_copy(dim, columns, x)
        output = layer(x)
        assert torch.equal(output.index_select(dim, rows), before)
    assert isinstance(layer, Widened)
    make_plain(layer)
    assert type(layer) is type(LAYERS[name][0])
    assert not list(layer.buffers())
    assert torch.allclose(layer(x), output, atol=1e-5)


def test_closed_forms_hold_for_widened_layers() -> None:
    layer = nn.Linear(3, 4)
    grow(layer, torch.Generator().manual_seed(0))
    x = torch.randn(6, 4)
    output = layer(x)
    (gradient,) = torch.autograd.grad(F.softplus(output).sum(), output, retain_graph=True)
    sums = dict(CLOSED_FORMS[type(layer)](layer, x, gradient, torch.square))
    for name, parameter in layer.named_parameters():
        each = [torch.autograd.grad(F.softplus(layer(x[i : i + 1])).sum(), parameter)[0] ** 2 for i in range(6)]
        assert torch.allclose(sums[name], torch.stack(each).sum(0), atol=1e-5)
