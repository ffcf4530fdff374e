"""Gated AGS-CL: answers of learned tasks stand on frozen weights alone; budget, schedule and gains hold."""

import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import agscl
from agscl.methods import Method
from laws.isolation import answers, fill_moved, push_all
from laws.node_law import awake
from laws.random_nets import Net, nets
from laws.sequences import MLP, OPTIMIZERS, MobileNet, learn, logits, protected, tasks

PACKED = agscl.PackNet(train_epochs=2)
X = torch.randn(3, 2, 6, 6, generator=torch.Generator().manual_seed(1)).double()


def with_three_heads(net: Net) -> nn.Module:
    net.heads.append(nn.Linear(6, 2))
    return awake(net)


def with_random_gates(net: nn.Module, method: Method, seed: int) -> agscl.Guard:
    """A guard that has learned two tasks, each with random nodes, and gains and small tensors if it keeps some."""
    generator = torch.Generator().manual_seed(seed)
    guard = agscl.protect(net, method, example_inputs=X[:2], heads="heads")
    state = guard.state_dict()
    for task in range(2):
        for layer in guard.graph.layers:
            used = torch.rand(layer.num_nodes, generator=generator) < 0.6
            if isinstance(method, agscl.HAT):
                state[f"method.gate.{task}.{layer.name}"] = used
            else:
                gain = torch.rand(layer.num_nodes, generator=generator) + 0.5
                state[f"method.gain.{task}.{layer.name}"] = torch.where(used, gain, 0.0).double()
        for name in small_tensors(guard, net) if isinstance(method, agscl.GatedAGSCL) else []:
            own = net.state_dict()[name]
            noise = torch.rand(own.shape, generator=generator).to(own.dtype)
            state[f"method.kept.{task}.{name}"] = own + noise if own.is_floating_point() else own.clone()
    state |= {"learned": torch.tensor([0, 1]), "task": torch.tensor(2)}
    del state["about"]  # it says which weights a state belongs to
    guard.load_state_dict(state)
    return guard


def small_tensors(guard: agscl.Guard, net: nn.Module) -> list[str]:
    """What each task keeps of its own: small tensors that tasks have in common."""
    others = guard.graph.own_heads(range(3))
    return [n for n, t in net.state_dict().items() if t.ndim < 2 and n not in others and not n.startswith("node_gain")]


@pytest.mark.parametrize("method", [agscl.GatedAGSCL(begin=1, end=1), agscl.HAT()], ids=["gated-ags-cl", "hat"])
@settings(max_examples=15, deadline=None)
@given(net=nets(), seed=st.integers(0, 2**16))
def test_answers_do_not_change_under_any_change_of_what_is_not_frozen(net: Net, method: Method, seed: int) -> None:
    model = with_three_heads(net)
    guard = with_random_gates(model, method, seed)
    before = answers(guard, model, 2, X)
    guard.use_task(2)
    moved = push_all(guard, model, seed)
    assert all(map(torch.equal, answers(guard, model, 2, X), before))
    for value in (float("nan"), float("inf"), -1e37):
        fill_moved(model, moved, value)
        found = answers(guard, model, 2, X)
        assert all(map(torch.equal, found, before)), value
        assert all(tensor.isfinite().all() for tensor in found)


def test_a_weight_between_nodes_of_two_tasks_goes_on_learning() -> None:
    """Also one into an old node, where AGS-CL pins zero for ever."""
    torch.manual_seed(0)
    model = MLP(width=4)
    guard = protected(model, agscl.GatedAGSCL(), (12,))
    first, second = torch.tensor([1.0, 1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0, 1.0])
    gains = {"method.gain.0.fc1": first, "method.gain.0.fc2": first, "method.gain.1.fc1": second}
    gains["method.gain.1.fc2"] = second + torch.tensor([1.0, 0.0, 0.0, 0.0])
    own = {name: model.state_dict()[name] for name in ("fc1.bias", "fc2.bias")}
    small = {f"method.kept.{task}.{name}": tensor for task in (0, 1) for name, tensor in own.items()}
    learned = {"learned": torch.tensor([0, 1]), "task": torch.tensor(2)}
    state = {**guard.state_dict(), **gains, **small, **learned}
    del state["about"]  # it says which weights a state belongs to
    guard.load_state_dict(state)
    moved = push_all(guard, model, 0)
    assert all(moved[name].all() for name in own)  # each task keeps its own
    assert not moved["fc1.weight"].any()  # an input belongs to every task
    expected = torch.tensor([[0, 0, 0, 0], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]]).bool()
    assert torch.equal(moved["fc2.weight"], expected)
    assert [bool(moved[f"heads.{task}.weight"].any()) for task in range(4)] == [False, False, True, True]


class Watched:
    """Trains a task step by step; looks at the gains after every epoch."""

    def __init__(
        self, model: nn.Module, guard: agscl.Guard, epochs: int, task: int, data: tuple[Tensor, Tensor]
    ) -> None:
        self.open: list[list[int]] = []
        self.settled: list[bool] = []
        self.outgoing: list[Tensor] = []
        optimizer, steps = torch.optim.Adam(model.parameters(), lr=1e-2), 3
        with guard.attach(optimizer, steps_per_epoch=steps):
            for _ in range(epochs):
                for part in torch.arange(48).split(16):
                    optimizer.zero_grad()
                    F.cross_entropy(model(data[0][part])[task], data[1][part]).backward()
                    optimizer.step()
                gains = [p for name, p in model.named_parameters() if name.startswith("node_gain")]
                self.open.append([int((gain != 0).sum()) for gain in gains])
                self.settled.append(guard.settled)
        guard.consolidate([data], lambda batch: model(batch[0])[task])


def test_new_nodes_are_cut_first_many_then_few_until_the_budget_is_reached_and_old_ones_stay() -> None:
    """The cubic schedule of Zhu and Gupta (2017), counted by hand; gains that are cut stay at zero."""
    torch.manual_seed(0)
    model, data = MLP(width=40), tasks((12,))
    guard = protected(model, agscl.GatedAGSCL(first=0.5, more=0.25, begin=2, end=4), (12,))
    first = Watched(model, guard, 6, 0, data[0])
    # 20 above the budget of 20: after epoch 2 there are 20 (1 - 1/3)^3 = 5.9 left, after epoch 3 20 (1 - 2/3)^3 = 0.7
    assert first.open == [[count, count] for count in (40, 26, 21, 20, 20, 20)]
    assert first.settled == [False, False, False, True, True, True]
    used = {name: gain != 0 for name, gain in ((n, guard.state_dict()[f"method.gain.0.{n}"]) for n in ("fc1", "fc2"))}
    assert all(int(nodes.sum()) <= 20 for nodes in used.values())
    second = Watched(model, guard, 4, 1, data[1])
    for number, name in enumerate(("fc1", "fc2")):
        free = 40 - int(used[name].sum())
        assert [counts[number] for counts in second.open] == [
            40 - free + 10 + round(left * (free - 10)) for left in (1.0, (2 / 3) ** 3, (1 / 3) ** 3, 0.0)
        ]
        assert int((guard.state_dict()[f"method.gain.1.{name}"] != 0).sum()) <= 40 - free + 10


def test_a_task_takes_what_is_left_when_less_than_its_budget_is() -> None:
    torch.manual_seed(0)
    model, data = MLP(width=8), tasks((12,))
    guard = protected(model, agscl.GatedAGSCL(first=0.75, more=0.5, begin=1, end=1), (12,))
    for task in range(4):
        guard.use_task(task)
        opened = Watched(model, guard, 2, task, data[task]).open[-1]
        assert opened == [6, 6] if task == 0 else all(6 <= count <= 8 for count in opened)


def test_the_nodes_that_stay_have_the_largest_products_of_norms_and_gain() -> None:
    torch.manual_seed(0)
    model, data = MLP(width=10), tasks((12,))
    guard = protected(model, agscl.GatedAGSCL(first=0.3, begin=1, end=1), (12,))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    gains = dict(zip(("fc1", "fc2"), (p for n, p in model.named_parameters() if "node_gain" in n), strict=True))
    with torch.no_grad():
        for gain in gains.values():
            gain.copy_(torch.rand(10) - 0.5)
    into = {name: getattr(model, name).weight.square().sum(1) + getattr(model, name).bias.square() for name in gains}
    out = {"fc1": model.fc2.weight.square().sum(0), "fc2": model.heads[0].weight.square().sum(0)}
    need = {name: (into[name] * out[name]).sqrt() * gains[name].abs() for name in gains}
    expected = {name: set(values.argsort(descending=True)[:3].tolist()) for name, values in need.items()}
    with guard.attach(optimizer, steps_per_epoch=1):
        F.cross_entropy(model(data[0][0])[0], data[0][1]).backward()
        optimizer.step()
    assert {name: set(gain.nonzero().flatten().tolist()) for name, gain in gains.items()} == expected


def test_new_connections_into_used_nodes_begin_at_zero_and_unused_nodes_are_drawn_anew() -> None:
    torch.manual_seed(0)
    model, data = MLP(width=20), tasks((12,))
    guard = protected(model, agscl.GatedAGSCL(first=0.5, begin=1, end=2), (12,))
    Watched(model, guard, 4, 0, data[0])
    used = {name: guard.state_dict()[f"method.gain.0.{name}"] != 0 for name in ("fc1", "fc2")}
    into_used = model.fc2.weight[used["fc2"]]
    assert (into_used[:, ~used["fc1"]] == 0).all()
    assert (into_used[:, used["fc1"]] != 0).any()
    drawn = model.fc2.weight[~used["fc2"]]
    bound = 20**-0.5  # PyTorch's own initialiser of a linear layer
    assert (drawn != 0).all()
    assert drawn.abs().max() <= bound
    assert drawn.std() > 0.8 * bound / 3**0.5


def test_a_learned_task_answers_from_the_intact_features_when_the_next_one_begins() -> None:
    """Gains are ones again, so what an old head reads is what it was up to gains and biases: nothing new flows in."""
    torch.manual_seed(0)
    model, data = MLP(width=20), tasks((12,))
    guard = protected(model, agscl.GatedAGSCL(first=0.5, begin=1, end=2), (12,))
    Watched(model, guard, 4, 0, data[0])
    guard.use_task(0)
    before = logits(model, 0, data[0][0])
    guard.use_task(1)
    with torch.no_grad():
        for name, gain in zip(
            ("fc1", "fc2"), (p for n, p in model.named_parameters() if "node_gain" in n), strict=True
        ):
            kept = guard.state_dict()[f"method.gain.0.{name}"]
            gain.copy_(torch.where(kept != 0, kept, 1.0))
        model.heads[0].weight.masked_fill_(guard.state_dict()["method.gain.0.fc2"] == 0, 0.0)
    torch.testing.assert_close(logits(model, 0, data[0][0]), before)


@pytest.mark.parametrize("method", [agscl.GatedAGSCL(begin=1, end=2), agscl.HAT(), agscl.WSN(), PACKED], ids=str)
def test_a_model_that_was_cast_keeps_the_small_tensors_that_it_learned_with(method: Method) -> None:
    """Casting replaces buffers and what parameters hold: what a task keeps must be what is there by then."""
    torch.manual_seed(0)
    model, data = MobileNet(), [(x.double(), y) for x, y in tasks((3, 8, 8))]
    guard = protected(model, method, (3, 8, 8))
    model.double()
    for task in range(2):
        guard.use_task(task)
        learn(guard, model, task, data[task], OPTIMIZERS["adam"], epochs=3)
        if task == 0:
            answer = logits(model, 0, data[0][0])
    guard.use_task(0)
    assert torch.equal(logits(model, 0, data[0][0]), answer)


def test_capacity_says_which_nodes_are_taken_and_what_each_task_uses() -> None:
    torch.manual_seed(0)
    model, data = MLP(width=20), tasks((12,))
    guard = protected(model, agscl.GatedAGSCL(first=0.5, more=0.2, begin=1, end=2), (12,))
    for task in range(2):
        Watched(model, guard, 3, task, data[task])
    capacity, state = guard.capacity(), guard.state_dict()
    assert capacity is not None
    for name in ("fc1", "fc2"):
        used = [state[f"method.gain.{task}.{name}"] != 0 for task in range(2)]
        assert capacity[name].frozen == int((used[0] | used[1]).sum()) <= 14
        assert capacity[name].free == 20 - capacity[name].frozen
        assert torch.equal(guard.importance[name] > 0, used[0] | used[1])
        assert [capacity.tasks[task][name] for task in range(2)] == [int(nodes.sum()) for nodes in used]


def test_a_task_that_ends_before_its_budget_is_reached_says_so() -> None:
    torch.manual_seed(0)
    model, data = MLP(width=8), tasks((12,))
    guard = protected(model, agscl.GatedAGSCL(begin=1, end=4), (12,))
    with pytest.warns(agscl.CapacityWarning, match=r"task 0 ended after epoch 3, before .* \(end=4\).*smaller end"):
        Watched(model, guard, 3, 0, data[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "no free node")
        Watched(model, guard, 4, 1, data[1])


def test_a_gated_model_refuses_live_training_by_name() -> None:
    model = MLP()
    guard = protected(model, agscl.GatedAGSCL(), (12,))
    with (
        pytest.raises(ValueError, match=r"masks or gates weights in the forward, .* attach without it"),
        guard.attach(torch.optim.Adam(model.parameters()), steps_per_epoch=1, live=True),
    ):
        pass


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"first": 0.0}, r"first must be in \(0, 1\]"),
        ({"more": 1.5}, r"more must be in \[0, 1\]"),
        ({"begin": 0}, "begin must be in"),
        ({"begin": 4, "end": 3}, "end must be in"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        agscl.GatedAGSCL(**values)
