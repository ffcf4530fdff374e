"""Expansion: a full network gets new nodes, keeps every bit of what it knew, and learns on."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import agscl
from agscl.methods import Method
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


class Convolutions(nn.Module):
    """Two layers of images, signals or volumes."""

    def __init__(self, first: nn.Module, second: nn.Module, scaled: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.scaled = first, second, scaled
        self.heads = nn.ModuleList([nn.Linear(8, 2) for _ in range(2)])

    def forward(self, x: Tensor) -> list[Tensor]:
        h = F.relu(self.first(x))
        h = F.relu(self.second(h / h.shape[1] if self.scaled else h)).flatten(2).mean(2)
        return [head(h) for head in self.heads]


def depthwise(dims: int, transposed: bool = False) -> nn.Module:
    plain = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
    last = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[dims - 1] if transposed else plain
    return nn.Sequential(plain(3, 4, 1), nn.ReLU(), last(4, 8, 3, groups=4))


CONVOLUTIONS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    **{
        f"{kind.__name__}": (lambda kind=kind: Convolutions(kind(3, 8, 3), kind(8, 8, 3)), dims)  # type: ignore[misc]
        for kinds in [(nn.Conv1d, nn.Conv2d, nn.Conv3d), (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)]
        for dims, kind in enumerate(kinds, 1)
    },
    "Conv2d of size one": (lambda: Convolutions(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)), 2),
    "depthwise Conv2d": (lambda: Convolutions(depthwise(2), nn.Conv2d(8, 8, 1)), 2),
    "depthwise Conv3d": (lambda: Convolutions(depthwise(3), nn.Conv3d(8, 8, 1)), 3),
    "depthwise ConvTranspose2d": (lambda: Convolutions(depthwise(2, transposed=True), nn.Conv2d(8, 8, 1)), 2),
}
LAYOUTS = {1: [torch.contiguous_format], 2: [torch.contiguous_format, torch.channels_last]}
LAYOUTS[3] = [torch.contiguous_format, torch.channels_last_3d]


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_every_convolution_grows_in_every_layout_without_changing_a_bit(name: str) -> None:
    make, dims = CONVOLUTIONS[name]
    for layout in LAYOUTS[dims]:
        torch.manual_seed(0)
        model: nn.Module = make().to(memory_format=layout)  # type: ignore[call-overload]
        xs = [torch.randn(batch, 3, *[6] * dims).contiguous(memory_format=layout) for batch in (1, 9)]
        guard = agscl.protect(model, agscl.AGSCL(mu=1, lam=10), example_inputs=xs[1], heads="heads")
        before = all_logits(model, xs)
        for layer in [layer.name for layer in guard.graph.layers]:
            for nodes in (3, 1):
                guard.expand(layer=layer, nodes=nodes)
                assert all(map(torch.equal, all_logits(model, xs), before))
        for parameter in [parameter for parameter in model.parameters() if parameter.ndim == dims + 2]:
            assert parameter.is_contiguous(memory_format=layout)


def test_a_net_whose_outputs_would_change_is_refused_and_stays_as_it_is() -> None:
    model = Convolutions(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), scaled=True)
    guard = agscl.protect(model, agscl.AGSCL(mu=1, lam=10), example_inputs=torch.zeros(2, 3, 6, 6), heads="heads")
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match="cannot add nodes to 'first': the outputs would change"):
        guard.expand(layer="first", nodes=2)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert guard.graph.num_nodes == 16


def test_the_refusal_names_what_can_grow_from_the_table() -> None:
    model = Convolutions(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1, groups=2))
    guard = agscl.protect(model, agscl.AGSCL(mu=1, lam=10), example_inputs=torch.zeros(2, 3, 6, 6), heads="heads")
    with pytest.raises(
        ValueError, match=r"Linear, .*ConvTranspose3d \(plain or depthwise\), BatchNorm1d.*InstanceNorm"
    ):
        guard.expand(layer="second", nodes=2)


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


BY_TASK: dict[str, Method] = {
    "gated-ags-cl": agscl.GatedAGSCL(first=0.5, more=0.25, begin=1, end=2), "hat": agscl.HAT(gamma=1.0, smax=20.0),
    "packnet": agscl.PackNet(train_epochs=2), "wsn": agscl.WSN(c=0.5),
}  # fmt: skip
NETS_GROWN = ("MLP", "channels last")


@pytest.mark.parametrize("net", NETS_GROWN)
@pytest.mark.parametrize("name", BY_TASK)
def test_tasks_with_networks_of_their_own_keep_every_bit_when_layers_grow(name: str, net: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    (make, shape), method = NETS[net], BY_TASK[name]
    model, data = make(), tasks(shape)
    guard = protected(model, method, shape)
    growing = [layer.name for layer in guard.graph.layers if layer.kind == "nodes"][-2:]
    x, old = torch.randn(5, *shape), list[Tensor]()
    for task in range(2):
        guard.use_task(task)
        learn(guard, model, task, data[task], OPTIMIZERS["adamw with weight decay"], epochs=4)
        for layer in growing[task % 2 :][:1]:
            before = logits(model, task + 1, x)
            guard.expand(layer=layer, nodes=3)
            # a task that WSN has not learned computes with the best share of all weights
            assert torch.equal(logits(model, task + 1, x), before) or name == "wsn"
        guard.use_task(task)
        old.append(logits(model, task, x))
        for earlier in range(task + 1):
            guard.use_task(earlier)
            assert torch.equal(logits(model, earlier, x), old[earlier])
    assert guard.verify().identical
    guard.save(tmp_path / "guard")
    twin = make()
    other = protected(twin, method, shape)
    other.load(tmp_path / "guard")
    for task in range(2):
        other.use_task(task)
        assert torch.equal(logits(twin, task, x), old[task])
    for each, of in ((guard, model), (other, twin)):
        each.use_task(2)
        torch.manual_seed(1)
        learn(each, of, 2, data[2], OPTIMIZERS["adam"], epochs=4)
    assert all(torch.equal(tensor, twin.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in guard.state_dict().items())


def test_budgets_refer_to_the_new_width_and_later_tasks_use_the_new_nodes() -> None:
    torch.manual_seed(0)
    model, data = MLP(width=8), tasks((12,))
    guard = protected(model, agscl.GatedAGSCL(first=1.0, more=0.5, begin=1, end=2), (12,))
    learn(guard, model, 0, data[0], OPTIMIZERS["adam"])
    guard.expand(layer="fc2", nodes=24)
    capacity = guard.capacity()
    assert capacity is not None
    assert (capacity["fc2"].nodes, capacity["fc2"].free >= 24, capacity.tasks[0]["fc2"] <= 8) == (32, True, True)
    learn(guard, model, 1, data[1], OPTIMIZERS["adam"])
    used = guard.state_dict()["method.gain.1.fc2"] != 0
    assert used[8:].any()
    assert int(used.sum()) <= 8 + 16
    assert not (guard.state_dict()["method.gain.0.fc2"] != 0)[8:].any()


def test_a_task_in_progress_goes_on_without_the_new_nodes_once_it_has_cut() -> None:
    torch.manual_seed(0)
    model, data = MLP(width=8), tasks((12,))
    guard = protected(model, agscl.GatedAGSCL(first=0.5, begin=1, end=1), (12,))
    for _ in range(2):
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        with guard.attach(optimizer, steps_per_epoch=1):
            for _ in range(2):
                optimizer.zero_grad()
                F.cross_entropy(model(data[0][0])[0], data[0][1]).backward()
                optimizer.step()
        before = logits(model, 0, data[0][0])
        guard.expand(layer="fc1", nodes=4)
        assert torch.equal(logits(model, 0, data[0][0]), before)
    guard.consolidate([data[0]], lambda batch: model(batch[0])[0])
    assert int((guard.state_dict()["method.gain.0.fc1"] != 0).sum()) <= 4


def test_what_cannot_grow_is_refused_and_nothing_changes() -> None:
    model = MLP()
    guard = protected(model, agscl.AGSCL(mu=1, lam=1), (12,))
    with pytest.raises(ValueError, match="there is no layer 'fc9'; there are: fc1, fc2"):
        guard.expand(layer="fc9", nodes=1)
    with pytest.raises(ValueError, match="nodes must be at least 1, not 0"):
        guard.expand(layer="fc1", nodes=0)
    with pytest.raises(ValueError, match=r"cannot take new nodes; AGS-CL, .*WSN and fine-tuning can"):
        protected(model, agscl.EWC(lam=1.0), (12,)).expand(layer="fc1", nodes=1)
    normed = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2))
    guard = agscl.protect(normed, agscl.AGSCL(mu=1, lam=1), example_inputs=torch.zeros(2, 3))
    with pytest.raises(ValueError, match="'0': it is a residual stream, which is one node"):
        guard.expand(layer="0", nodes=1)
    assert guard.graph.num_nodes == 1
