"""Expansion: a full network gets new nodes, keeps every bit of what it knew, and learns on."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import agscl
from agscl.models import ConvNet, MultiHead, OmniglotNet
from laws.sequences import MLP, OPTIMIZERS, MobileNet, learn, logits, protected, tasks


class ChannelsLast(nn.Module):
    """Positions before channels behind the flatten, so that new columns lie between old ones."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Linear(6 * 16, 10)
        self.heads = nn.ModuleList([nn.Linear(10, 2) for _ in range(4)])

    def forward(self, x: Tensor) -> list[Tensor]:
        h = F.adaptive_avg_pool2d(F.relu(self.norm(self.conv(x))), 4).permute(0, 2, 3, 1)
        h = F.relu(self.fc(h.reshape(h.shape[0], -1)))
        return [head(h) for head in self.heads]


def multi_head(trunk: nn.Module) -> nn.Module:
    return MultiHead(trunk, trunk.num_features, [2] * 4)


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "MLP": (MLP, (12,)),
    "6-conv": (lambda: multi_head(ConvNet(size=16)), (3, 16, 16)),
    "Omniglot net": (lambda: multi_head(OmniglotNet()), (1, 28, 28)),
    "channels last": (ChannelsLast, (3, 8, 8)),
    "MobileNetV2-like": (MobileNet, (3, 8, 8)),
}


def all_logits(model: nn.Module, xs: list[Tensor]) -> list[Tensor]:
    model.eval()
    with torch.no_grad():
        return [out for x in xs for out in model(x)]


@pytest.mark.parametrize("net", NETS)
def test_every_layer_grows_without_changing_a_bit(net: str) -> None:
    torch.manual_seed(0)
    make, shape = NETS[net]
    model = make()
    guard = protected(model, agscl.AGSCL(mu=1, lam=10), shape)
    xs = [torch.randn(batch, *shape) for batch in (1, 5, 64)]
    before, count = all_logits(model, xs), guard.graph.num_nodes
    for nodes in (3, 1):
        for layer in [layer.name for layer in guard.graph.layers]:
            guard.expand(layer=layer, nodes=nodes)
            count += nodes
            assert guard.graph.num_nodes == count
            assert sum(len(omega) for omega in guard.importance.values()) == count
    assert all(map(torch.equal, all_logits(model, xs), before))


def fill_up(model: nn.Module, guard: agscl.Guard, data: list[tuple[Tensor, Tensor]]) -> None:
    """Learn two tasks that need every node."""
    for task in (0, 1):
        learn(guard, model, task, data[task], OPTIMIZERS["adam"], epochs=10)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_full_net_learns_a_new_task_better_with_new_nodes_and_forgets_no_bit(optimizer: str) -> None:
    losses = {}
    for nodes in (0, 32):
        torch.manual_seed(0)
        model, data = MLP(width=6), tasks((12,), samples=64)
        guard = protected(model, agscl.AGSCL(mu=0, lam=math.inf, rho=0), (12,))
        fill_up(model, guard, data)
        assert all((omega > 0).all() for omega in guard.importance.values())
        x = torch.randn(9, 12)
        old = [logits(model, task, x) for task in (0, 1)]
        for layer in ("fc1", "fc2") if nodes else ():
            guard.expand(layer=layer, nodes=nodes)
        assert all(map(torch.equal, [logits(model, task, x) for task in (0, 1)], old))
        learn(guard, model, 2, data[2], OPTIMIZERS[optimizer], epochs=40)
        assert all(map(torch.equal, [logits(model, task, x) for task in (0, 1)], old))
        losses[nodes] = F.cross_entropy(logits(model, 2, data[2][0]), data[2][1]).item()
    assert losses[32] < 0.7 * losses[0]


def test_soft_anchors_and_a_saved_state_survive_an_expansion() -> None:
    torch.manual_seed(0)
    data = tasks((12,))

    def expanded(model: nn.Module) -> agscl.Guard:
        return protected(model, agscl.AGSCL(mu=2, lam=1e6, rho=0), (12,))

    model = MLP()
    guard = expanded(model)
    learn(guard, model, 0, data[0], OPTIMIZERS["adam"])
    x = torch.randn(5, 12)
    old = logits(model, 0, x)
    guard.expand(layer="fc1", nodes=4)
    assert guard.penalty() is not None
    twin = MLP()
    other = expanded(twin)
    other.expand(layer="fc1", nodes=4)
    other.load_state_dict(guard.state_dict())
    twin.load_state_dict(model.state_dict())
    learn(guard, model, 1, data[1], OPTIMIZERS["adam"])
    learn(other, twin, 1, data[1], OPTIMIZERS["adam"])
    assert torch.allclose(logits(model, 0, x), old, atol=0.05)
    for name, tensor in model.state_dict().items():
        assert torch.equal(twin.state_dict()[name], tensor)


def test_what_cannot_grow_is_refused_and_nothing_changes() -> None:
    model = MLP()
    guard = protected(model, agscl.AGSCL(mu=1, lam=1), (12,))
    with pytest.raises(ValueError, match="there is no layer 'fc9'; there are: fc1, fc2"):
        guard.expand(layer="fc9", nodes=1)
    with pytest.raises(ValueError, match="nodes must be at least 1, not 0"):
        guard.expand(layer="fc1", nodes=0)
    with pytest.raises(ValueError, match="cannot take new nodes; AGS-CL and fine-tuning can"):
        protected(model, agscl.EWC(lam=1.0), (12,)).expand(layer="fc1", nodes=1)
    normed = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2))
    guard = agscl.protect(normed, agscl.AGSCL(mu=1, lam=1), example_inputs=torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"'1' \(LayerNorm\) is none of the modules that grow"):
        guard.expand(layer="0", nodes=1)
    assert guard.graph.num_nodes == 1
