"""Hard freezing: after any number of later tasks every earlier task's logits are bit-identical."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import agscl
from agscl.metrics import sparsity, used_capacity
from agscl.models import ConvNet, MultiHead
from laws.sequences import MLP, OPTIMIZERS, TASKS, MobileNet, learn, logits, protected, tasks


class ResNet(nn.Module):
    """torchvision's ResNet-18, narrow, with a head per task."""

    def __init__(self) -> None:
        super().__init__()
        torchvision = pytest.importorskip("torchvision")
        self.trunk = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [2, 2, 2, 2])
        self.trunk.fc = nn.Identity()
        self.heads = nn.ModuleList([nn.Linear(512, 2) for _ in range(TASKS)])

    def forward(self, x: Tensor) -> list[Tensor]:
        h = self.trunk(x)
        return [head(h) for head in self.heads]


def conv_net() -> nn.Module:
    trunk = ConvNet()
    return MultiHead(trunk, trunk.num_features, [2] * TASKS)


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], float, int]] = {
    "MLP": (MLP, (3, 2, 2), 10.0, 8),
    "6-conv": (conv_net, (3, 32, 32), 24.0, 2),
    "ResNet-18": (ResNet, (3, 32, 32), 40.0, 2),
    "MobileNetV2-like": (MobileNet, (3, 8, 8), 16.0, 8),
}


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    return NETS[name][0]()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("net", NETS)
def test_old_logits_are_bit_identical_after_later_tasks(net: str, optimizer: str) -> None:
    _, shape, mu, epochs = NETS[net]
    model = make(net)
    mu *= 0.7 if "sgd" in optimizer else 1.0  # its gradients are not normalised: nodes die sooner
    guard = protected(model, agscl.AGSCL(mu=mu, lam=math.inf), shape)
    references, x = [], torch.randn(8, *shape)
    count = 3 if net in ("ResNet-18", "6-conv") else TASKS
    for task, data in enumerate(tasks(shape)[:count]):
        learn(guard, model, task, data, OPTIMIZERS[optimizer], epochs=epochs)
        for old, reference in enumerate(references):
            assert torch.equal(logits(model, old, x), reference)
        references.append(logits(model, task, x))
        assert 0 < sparsity(guard.importance) < 1


@pytest.mark.parametrize("net", ["MLP", "MobileNetV2-like"])
def test_the_promise_is_not_empty_because_nodes_are_free_and_later_tasks_take_them(net: str) -> None:
    _, shape, mu, epochs = NETS[net]
    model = make(net)
    guard = protected(model, agscl.AGSCL(mu=mu, lam=math.inf, rho=1.0), shape)
    free, used = [], []
    for task, data in enumerate(tasks(shape)):
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        learn(guard, model, task, data, OPTIMIZERS["adam"], epochs=epochs)
        free.append(sparsity(guard.importance))
        used.append(used_capacity(guard.graph.layers, before, model.state_dict()))
        assert used[-1] < 1
    assert 0 < free[0] < 1
    assert free[-1] < free[0]
    assert free == sorted(free, reverse=True)
    assert used[0] == 0
    assert used == sorted(used)
    assert used[-1] > used[1]


@pytest.mark.parametrize("missing", ["freezing", "cutting"])
def test_the_promise_needs_both_freezing_and_cutting(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, shape, mu, epochs = NETS["MLP"]
    model, x = make("MLP"), torch.randn(8, *shape)
    name = "frozen_nodes" if missing == "freezing" else "zero_init"
    idle = (lambda *_: {}) if missing == "freezing" else (lambda *_: None)
    monkeypatch.setattr(f"agscl.methods.agscl.method.{name}", idle)
    monkeypatch.setattr("agscl.methods.agscl.method.AdaptiveGroupSparsity.require_intact", lambda *_: None)
    guard = protected(model, agscl.AGSCL(mu=mu, lam=math.inf, rho=1.0), shape)
    first, second, *_ = tasks(shape)
    learn(guard, model, 0, first, OPTIMIZERS["adam"], epochs=epochs)
    reference = logits(model, 0, x)
    with pytest.raises(ValueError, match="task 0 off by"):  # the guard notices by itself
        learn(guard, model, 1, second, OPTIMIZERS["adam"], epochs=epochs)
    assert not torch.equal(logits(model, 0, x), reference)
