"""Training on the active sub-network equals training the whole network, up to the order of summation."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import agscl
from agscl.guard.active import ActiveNetwork
from agscl.guard.sparse_backward import spared
from agscl.models import ConvNet, MultiHead
from laws.sequences import MLP, OPTIMIZERS, TASKS, MobileNet, tasks


class Residual(nn.Module):
    """A stem, a block with a skip connection and batch norm, a hidden layer; no dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norm, self.fc = nn.BatchNorm2d(8), nn.Linear(8 * 16, 12)
        self.heads = nn.ModuleList([nn.Linear(12, 2) for _ in range(TASKS)])

    def forward(self, x: Tensor) -> list[Tensor]:
        h = F.relu(self.stem(x))
        h = F.max_pool2d(F.relu(h + self.norm(self.conv(h))), 2)
        h = F.relu(self.fc(h.flatten(1)))
        return [head(h) for head in self.heads]


def conv_net() -> nn.Module:
    trunk = ConvNet(size=8)
    return MultiHead(trunk, trunk.num_features, [2] * TASKS)


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], float]] = {
    "MLP": (MLP, (12,), 12.0),
    "6-conv": (conv_net, (3, 8, 8), 30.0),
    "residual": (Residual, (3, 8, 8), 12.0),
    "MobileNetV2-like": (MobileNet, (3, 8, 8), 16.0),
}


def without_dropout(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def learn_all(net: str, optimizer: str, lam: float, *, live: bool) -> tuple[dict[str, Tensor], list[float], float]:
    """Three tasks; the state afterwards, all losses, and the largest share of nodes that was left out."""
    torch.manual_seed(0)
    make, shape, mu = NETS[net]
    model, losses, left_out = without_dropout(make()).double(), [], 0.0
    method = agscl.AGSCL(mu=mu * (0.7 if "sgd" in optimizer else 1.0), lam=lam, rho=0.3)
    guard = agscl.protect(model, method, example_inputs=torch.zeros(2, *shape).double(), heads="heads")
    for task, (single, y) in enumerate(tasks(shape)[:3]):
        x = single.double()
        own = OPTIMIZERS[optimizer](model.parameters())
        model.train()
        with guard.attach(own, steps_per_epoch=3, live=live):
            for step in range(12):
                batch = slice(16 * (step % 3), 16 * (step % 3) + 16)
                own.zero_grad()
                loss = F.cross_entropy(model(x[batch])[task], y[batch])
                loss.backward()
                own.step()
                losses.append(loss.item())
                left_out = max(left_out, left_out_now(model) / guard.graph.num_nodes)
        guard.consolidate([x], lambda batch, task=task: model(batch)[task])
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}, losses, left_out


def left_out_now(model: nn.Module) -> int:
    """Nodes that the model does without at the moment."""
    active = getattr(model.__dict__.get("forward"), "compute", None)
    return sum(int(nodes.sum()) for nodes in active.dropped.values()) if isinstance(active, ActiveNetwork) else 0


@pytest.mark.parametrize(
    ("net", "optimizer", "lam"),
    [
        ("MLP", "adam", 40.0),
        ("MLP", "adamw with weight decay", math.inf),
        ("6-conv", "adam", math.inf),
        ("residual", "adam", 40.0),
        ("residual", "sgd with momentum", math.inf),
        ("residual", "adamw with weight decay", 40.0),
        ("MobileNetV2-like", "adam", math.inf),
        ("MobileNetV2-like", "sgd with momentum", 40.0),
    ],
)
def test_live_training_equals_dense_training(net: str, optimizer: str, lam: float) -> None:
    state, losses, left_out = learn_all(net, optimizer, lam, live=True)
    expected, dense_losses, none = learn_all(net, optimizer, lam, live=False)
    assert none == 0 < left_out
    assert losses == pytest.approx(dense_losses, rel=1e-7)
    for name, tensor in expected.items():
        assert torch.allclose(state[name].double(), tensor.double(), rtol=1e-6, atol=1e-8), name


def test_a_state_loaded_in_the_middle_wakes_its_nodes() -> None:
    torch.manual_seed(0)
    model, x = MLP(), torch.randn(6, 12)
    awake = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    guard = agscl.protect(model, agscl.AGSCL(mu=1, lam=1), example_inputs=x, heads="heads")
    with torch.no_grad():
        model.fc1.weight[:12] = 0
        model.fc1.bias[:12] = 0
    optimizer = OPTIMIZERS["adam"](model.parameters())
    with guard.attach(optimizer, steps_per_epoch=5, live=True):
        asleep = model(x)
        assert left_out_now(model) == 12
        model.load_state_dict(awake)
        again = model(x)
        assert left_out_now(model) == 0
    assert "forward" not in model.__dict__
    assert all(map(torch.equal, again, model(x)))
    assert not torch.equal(asleep[0], again[0])


def test_inactive_nodes_of_a_saved_state_are_those_of_the_next_attach_alone() -> None:
    torch.manual_seed(0)
    model, x = MLP(), torch.randn(6, 12)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    guard = agscl.protect(model, agscl.AGSCL(mu=1, lam=1), example_inputs=x, heads="heads")
    with torch.no_grad():
        model.fc1.weight[:12] = 0
        model.fc1.bias[:12] = 0
    optimizer = OPTIMIZERS["adam"](model.parameters())
    with guard.attach(optimizer, steps_per_epoch=5, live=True):
        model(x)
        saved = guard.state_dict()
    assert saved["live.fc1"].sum() == 12
    guard.load_state_dict(saved)
    with guard.attach(optimizer, steps_per_epoch=5, live=False):
        model.load_state_dict(weights)
    with guard.attach(optimizer, steps_per_epoch=5, live=True):
        model(x)
        assert left_out_now(model) == 0


def test_a_refused_attach_leaves_a_resumed_task_where_it_was() -> None:
    torch.manual_seed(0)
    model, (x, y) = MLP(), tasks((12,))[0]
    guard = agscl.protect(model, agscl.AGSCL(mu=1, lam=1), example_inputs=x[:2], heads="heads")
    optimizer = OPTIMIZERS["adam"](model.parameters())
    with guard.attach(optimizer, steps_per_epoch=5, live=True):
        for _ in range(2):
            F.cross_entropy(model(x)[0], y).backward()
            optimizer.step()
        saved = guard.state_dict()
    guard.load_state_dict(saved)
    handle = model.fc1.register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match="has forward hooks"), guard.attach(optimizer, steps_per_epoch=5, live=True):
        pass
    handle.remove()
    with guard.attach(optimizer, steps_per_epoch=5, live=True):
        model(x)
        resumed = guard.state_dict()
    assert resumed.keys() == saved.keys()
    assert all(torch.equal(resumed[name], saved[name]) for name in saved)


def test_nodes_that_a_gradient_or_momentum_would_wake_are_active() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 12)
    for act, momentum, expected in [(nn.ReLU(), False, 3), (nn.ReLU(), True, 0), (nn.Tanh(), False, 0)]:
        model = nn.Sequential(nn.Linear(12, 8), act, nn.Linear(8, 2))
        guard = agscl.protect(model, agscl.AGSCL(mu=1, lam=1), example_inputs=x)
        optimizer = OPTIMIZERS["sgd with momentum"](model.parameters())
        if momentum:
            model(x).sum().backward()
            optimizer.step()
        with torch.no_grad():
            model[0].weight[:3] = 0
            model[0].bias[:3] = 0
        with guard.attach(optimizer, steps_per_epoch=5, live=True):
            model(x)
            assert left_out_now(model) == expected


def test_hooks_inside_the_model_are_refused_because_they_would_see_other_shapes() -> None:
    model, x = MLP(), torch.randn(6, 12)
    guard = agscl.protect(model, agscl.AGSCL(mu=1, lam=1), example_inputs=x, heads="heads")
    handle = model.fc1.register_forward_hook(lambda *_: None)
    optimizer = OPTIMIZERS["adam"](model.parameters())
    with (
        pytest.raises(ValueError, match=r"'fc1' has forward hooks.*attach without live=True"),
        guard.attach(optimizer, steps_per_epoch=1, live=True),
    ):
        pass
    handle.remove()
    with guard.attach(optimizer, steps_per_epoch=1, live=True):
        model(x)


@pytest.mark.parametrize("free", [(True, False, True), (False, False, False), (True, True, True)])
@pytest.mark.parametrize("layer", [nn.Linear(4, 3), nn.Conv1d(4, 3, 2), nn.Conv2d(4, 3, 3, padding=1, stride=2)])
def test_spared_gradients_are_autograds_where_they_are_wanted_and_zero_elsewhere(
    layer: nn.Module, free: tuple[bool, ...]
) -> None:
    shape = {nn.Linear: (5, 4), nn.Conv1d: (5, 4, 6), nn.Conv2d: (5, 4, 7, 7)}[type(layer)]
    x, dim = torch.randn(shape, requires_grad=True), -1 if isinstance(layer, nn.Linear) else 1
    rows, columns = torch.tensor(free), torch.tensor([True, False, True, True])
    output = spared(layer, rows.nonzero().flatten(), columns.nonzero().flatten())(x)
    assert torch.equal(output, layer(x))
    upstream = torch.randn_like(output)
    wanted = [layer.weight, layer.bias, x]
    expected = torch.autograd.grad(layer(x), wanted, upstream * spread(rows, output, dim))
    if not any(free):
        assert not output.requires_grad
        return
    of_weight, of_bias, of_x = torch.autograd.grad(output, wanted, upstream)
    assert torch.allclose(of_weight, expected[0], atol=1e-5)
    assert torch.allclose(of_bias, expected[1], atol=1e-5)
    assert torch.allclose(of_x, expected[2] * spread(columns, x, dim), atol=1e-5)


def spread(mask: Tensor, like: Tensor, dim: int) -> Tensor:
    return mask.reshape([-1 if d == dim % like.ndim else 1 for d in range(like.ndim)])
