"""AGS-CL against the plain reference, and the laws of its parts."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import agscl
from agscl.metrics import sparsity
from agscl.nodes.slices import gather
from laws.sequences import MLP, OPTIMIZERS, learn, protected, tasks

SHAPE = (3, 2, 2)


def mlp(seed: int = 0) -> MLP:
    torch.manual_seed(seed)
    return MLP()


def reference_of(model: MLP):  # the module lies beside this file, which pytest does not put on the path
    spec = importlib.util.spec_from_file_location("reference", Path(__file__).with_name("reference.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    layers = [(layer.weight, layer.bias) for layer in (model.fc1, model.fc2)]
    return module.Reference(layers, [(head.weight, head.bias) for head in model.heads])


@pytest.mark.parametrize(("mu", "lam"), [(10.0, 5.0), (10.0, 400.0), (0.0, 3.0), (9.0, 0.0)])
def test_weights_and_importance_equal_the_plain_reference_over_several_tasks(mu: float, lam: float) -> None:
    model = mlp().double()
    reference = reference_of(model)
    method = agscl.AGSCL(mu=mu, lam=lam, eta=0.9, rho=0.0)
    guard = agscl.protect(model, method, example_inputs=torch.zeros(2, *SHAPE).double(), heads="heads")
    for task, (x, y) in enumerate((x.double(), y) for x, y in tasks(SHAPE)):
        learn(guard, model, task, (x, y), OPTIMIZERS["adam"], epochs=8)
        reference.learn(task, x.flatten(1), y, mu=mu, lam=lam, eta=0.9, lr=1e-2, epochs=8, batch=16)
        for layer, (weight, bias), omega in zip((model.fc1, model.fc2), reference.layers, reference.omega, strict=True):
            torch.testing.assert_close(layer.weight, weight, rtol=1e-6, atol=1e-7)
            torch.testing.assert_close(layer.bias, bias, rtol=1e-6, atol=1e-7)
            torch.testing.assert_close(guard.importance["fc1" if layer is model.fc1 else "fc2"], omega)


def test_importance_is_the_exact_mean_whatever_the_batches() -> None:
    model, (x, y) = mlp(), tasks(SHAPE)[0]
    guards = [protected(model, agscl.AGSCL(mu=1, lam=1, rho=0.0), SHAPE) for _ in range(2)]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for guard, batch in zip(guards, (48, 7), strict=True):
        model.load_state_dict(state)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        with guard.attach(optimizer, steps_per_epoch=1):
            F.cross_entropy(model(x)[0], y).backward()
            optimizer.step()
        guard.consolidate(x.split(batch), lambda b: model(b)[0])
    expected = F.relu(model.fc1(x.flatten(1))).mean(0)
    for guard in guards:
        torch.testing.assert_close(guard.importance["fc1"], expected)


def test_a_node_read_at_several_places_counts_the_mean_over_them() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 4)
            self.heads = nn.ModuleList([nn.Linear(4, 2)])

        def forward(self, x: Tensor) -> list[Tensor]:
            h = F.relu(self.a(x))
            return [head(F.relu(h + self.b(h))) for head in self.heads]

    model, x = Skip(), torch.randn(20, 3)
    guard = agscl.protect(model, agscl.AGSCL(mu=0, lam=0, rho=0), example_inputs=x[:2])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with guard.attach(optimizer, steps_per_epoch=1):
        model(x)[0].sum().backward()
        optimizer.step()
    first = F.relu(model.a(x))
    expected = (first.mean(0) + F.relu(first + model.b(first)).mean(0)) / 2
    guard.consolidate([x], lambda b: model(b)[0])
    torch.testing.assert_close(guard.importance["a"], expected)


def consolidated(rho: float, *, lam: float = 50.0) -> tuple[MLP, agscl.Guard, dict[str, Tensor]]:
    """A model after one task with free and important nodes, and its weights before consolidation."""
    model, (x, y) = mlp(), tasks(SHAPE)[0]
    guard = protected(model, agscl.AGSCL(mu=11, lam=lam, rho=rho), SHAPE)
    optimizer = OPTIMIZERS["adam"](model.parameters())
    with guard.attach(optimizer, steps_per_epoch=3):
        for _ in range(8):
            for part, labels in zip(x.split(16), y.split(16), strict=True):
                optimizer.zero_grad()
                F.cross_entropy(model(part)[0], labels).backward()
                optimizer.step()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    guard.consolidate([x], lambda b: model(b)[0])
    assert 0 < sparsity(guard.importance) < 1
    return model, guard, before


def test_zero_init_cuts_free_nodes_from_the_next_layer_and_the_head_just_learned_only() -> None:
    model, guard, before = consolidated(rho=0.0)
    state = model.state_dict()
    free = {name: omega == 0 for name, omega in guard.importance.items()}
    assert (state["fc2.weight"][:, free["fc1"]] == 0).all()
    assert (state["heads.0.weight"][:, free["fc2"]] == 0).all()
    for name in ("heads.1.weight", "heads.2.weight", "fc1.weight"):
        assert torch.equal(state[name], before[name])
    assert torch.equal(state["fc2.weight"][:, ~free["fc1"]], before["fc2.weight"][:, ~free["fc1"]])


def test_rand_init_redraws_what_comes_into_free_nodes_and_nothing_else() -> None:
    model, guard, before = consolidated(rho=1.0)
    free = guard.importance["fc2"] == 0
    zeroed = before["fc2.weight"].clone()
    zeroed[:, guard.importance["fc1"] == 0] = 0
    assert torch.equal(model.fc2.weight[~free], zeroed[~free])
    redrawn = model.fc2.weight[free]
    assert (redrawn != 0).all()
    assert redrawn.abs().max() <= 1 / math.sqrt(24)  # nn.Linear draws from U(-1/sqrt(inputs), 1/sqrt(inputs))


def test_rho_is_the_share_of_free_nodes_that_are_redrawn() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 4000), nn.ReLU(), nn.Linear(4000, 2))
    guard = agscl.protect(model, agscl.AGSCL(mu=1e6, lam=1, rho=0.3), example_inputs=torch.zeros(2, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    with guard.attach(optimizer, steps_per_epoch=1):
        model(torch.ones(2, 2)).sum().backward()
        optimizer.step()
    assert (model[0].weight == 0).all()
    guard.consolidate([torch.ones(2, 2)], model)
    assert abs((model[0].weight != 0).any(dim=1).double().mean().item() - 0.3) < 0.05


def test_redrawn_channels_get_a_fresh_norm_layer() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    guard = agscl.protect(model, agscl.AGSCL(mu=1e6, lam=1, rho=1.0), example_inputs=torch.zeros(2, 1, 2, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    with guard.attach(optimizer, steps_per_epoch=1):
        model(torch.randn(8, 1, 2, 2)).sum().backward()
        optimizer.step()
    guard.consolidate([torch.randn(8, 1, 2, 2)], model)
    assert model[1].weight.tolist() == [1.0] * 4
    assert model[1].running_mean.tolist() == [0.0] * 4
    assert (model[0].weight != 0).all()


def test_masked_connections_stay_zero_for_ever_also_with_soft_freezing() -> None:
    model, guard, _ = consolidated(rho=1.0)
    important, free = guard.importance["fc2"] > 0, guard.importance["fc1"] == 0
    for task, data in list(enumerate(tasks(SHAPE)))[1:]:
        learn(guard, model, task, data, OPTIMIZERS["adamw with weight decay"], epochs=3)
        assert (model.fc2.weight[important][:, free] == 0).all()


def test_soft_freezing_pulls_important_nodes_exactly_to_their_anchor_when_lam_is_large() -> None:
    model, guard, _ = consolidated(rho=0.0, lam=1e6)
    layers = {layer.name: layer for layer in guard.graph.layers}
    anchor = gather(layers["fc1"].incoming, model.state_dict())[guard.importance["fc1"] > 0]
    important = guard.importance["fc1"] > 0
    learn(guard, model, 1, tasks(SHAPE)[1], OPTIMIZERS["adam"])
    assert torch.equal(gather(layers["fc1"].incoming, model.state_dict())[important], anchor)


def test_the_proximal_step_can_follow_every_optimizer_step() -> None:
    weights = []
    for method, epoch in (("step", 3), ("epoch", 1)):
        model, (x, y) = mlp(), tasks(SHAPE)[0]
        guard = protected(model, agscl.AGSCL(mu=5, lam=1, proximal=method), SHAPE)
        optimizer = OPTIMIZERS["adam"](model.parameters())
        with guard.attach(optimizer, steps_per_epoch=epoch):
            for part, labels in zip(x.split(16), y.split(16), strict=True):
                optimizer.zero_grad()
                F.cross_entropy(model(part)[0], labels).backward()
                optimizer.step()
        weights.append(model.fc1.weight.detach().clone())
    assert torch.equal(*weights)


def test_zero_strengths_equal_fine_tuning_bit_for_bit_within_a_task() -> None:
    models = []
    for method in (agscl.AGSCL(mu=0, lam=0), agscl.FineTuning()):
        model = mlp()
        guard = protected(model, method, SHAPE)
        optimizer, (x, y) = OPTIMIZERS["adam"](model.parameters()), tasks(SHAPE)[0]
        with guard.attach(optimizer, steps_per_epoch=3):
            for part, labels in zip(x.split(16), y.split(16), strict=True):
                optimizer.zero_grad()
                F.cross_entropy(model(part)[0], labels).backward()
                optimizer.step()
        models.append(model)
    for first, second in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(first, second)


def test_the_penalty_is_equation_two() -> None:
    model, guard, _ = consolidated(rho=0.0)
    anchor = {name: p.detach().clone() for name, p in model.named_parameters()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    expected, state = 0.0, model.state_dict()
    for name in ("fc1", "fc2"):
        weight, bias, omega = state[f"{name}.weight"], state[f"{name}.bias"], guard.importance[name]
        for node in range(len(bias)):
            theta = torch.cat([weight[node], bias[node : node + 1]])
            old = torch.cat([anchor[f"{name}.weight"][node], anchor[f"{name}.bias"][node : node + 1]])
            drift = 50.0 * omega[node] * (theta - old).norm()
            expected += float(drift if omega[node] > 0 else 11 * theta.norm())
    assert float(guard.penalty()) == pytest.approx(expected, rel=1e-5)


def test_only_important_nodes_cost_memory_and_hard_freezing_keeps_no_anchor() -> None:
    _, soft, _ = consolidated(rho=0.0)
    _, hard, _ = consolidated(rho=0.0, lam=math.inf)
    nodes = soft.graph.num_nodes
    assert soft.memory_bytes(regularization_only=True) == hard.memory_bytes(regularization_only=True) == 4 * nodes
    assert hard.memory_bytes() == 4 * nodes + 8 * nodes + 32
    important = {name: int((omega > 0).sum()) for name, omega in soft.importance.items()}
    assert soft.memory_bytes() == hard.memory_bytes() + 4 * (important["fc1"] * 13 + important["fc2"] * 25)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mu": -1}, r"mu must be in \[0, inf\), not -1"),
        ({"mu": math.nan}, "mu must be in"),
        ({"mu": math.inf}, "mu must be finite"),
        ({"lam": -0.1}, "lam must be in"),
        ({"eta": 0.0}, r"eta must be in \(0, 1\], not 0.0"),
        ({"eta": 1.1}, "eta must be in"),
        ({"rho": 1.5}, r"rho must be in \[0, 1\], not 1.5"),
        ({"proximal": "batch"}, "proximal must be 'epoch', 'step' or 'gradient', not 'batch'"),
    ],
)
def test_values_out_of_range_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        agscl.AGSCL(**{"mu": 1, "lam": 1, **values})


def test_a_layer_that_cannot_be_drawn_anew_is_refused_unless_rho_is_zero() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.last = nn.Parameter(torch.randn(4, 3)), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(F.relu(F.linear(x, self.weight)))

    with pytest.raises(ValueError, match=r"no reset_parameters\(\).*rho=0"):
        agscl.protect(Functional(), agscl.AGSCL(mu=1, lam=1), example_inputs=torch.zeros(2, 3))
    agscl.protect(Functional(), agscl.AGSCL(mu=1, lam=1, rho=0), example_inputs=torch.zeros(2, 3))
