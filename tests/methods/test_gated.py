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
from agscl.methods.subnetworks.weight_masks import pack
from agscl.nodes import removable
from laws.isolation import answers, fill_moved, push_all
from laws.node_law import awake
from laws.random_nets import Net, nets
from laws.sequences import MLP, OPTIMIZERS, MobileNet, learn, logits, protected, tasks

OUT = {"fc2.weight", *(f"heads.{task}.weight" for task in range(4))}
"""What leaves the nodes of the MLP of these tests."""
PACKED = agscl.PackNet(train_epochs=2)
X = torch.randn(3, 2, 6, 6, generator=torch.Generator().manual_seed(1)).double()


def with_three_heads(net: Net) -> nn.Module:
    net.heads.append(nn.Linear(6, 2))
    return awake(net)


def with_random_gates(net: nn.Module, method: Method, seed: int) -> agscl.Guard:
    """A guard that has learned two tasks with random nodes or weights, and gains and small tensors if it keeps any."""
    generator = torch.Generator().manual_seed(seed)
    guard = agscl.protect(net, method, example_inputs=X[:2], heads="heads")
    state = guard.state_dict()
    by_weight = isinstance(method, agscl.PackNet | agscl.WSN)
    weights = masked_weights(guard, net) if by_weight else {}
    for task in range(2):
        for name, weight in weights.items():
            state[f"method.mask.{task}.{name}"] = pack(torch.rand(weight.shape, generator=generator) < 0.5)
        for layer in guard.graph.layers if not by_weight else ():
            used = torch.rand(layer.num_nodes, generator=generator) < 0.6
            if isinstance(method, agscl.HAT):
                state[f"method.gate.{task}.{layer.name}"] = used
            else:
                gain = torch.rand(layer.num_nodes, generator=generator) + 0.5
                state[f"method.gain.{task}.{layer.name}"] = torch.where(used, gain, 0.0).double()
        for name in small_tensors(guard, net) if isinstance(method, agscl.GatedAGSCL | agscl.WSN) else []:
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


def masked_weights(guard: agscl.Guard, net: nn.Module) -> dict[str, Tensor]:
    """The weights that PackNet and WSN mask: parameters of two dimensions and more outside the heads."""
    heads = guard.graph.head_parameters
    named = [(name, p) for name, p in net.named_parameters() if p.ndim > 1 and not name.startswith("wsn_scores")]
    return {name: p for name, p in named if name not in heads}


@pytest.mark.parametrize(
    "method", [agscl.GatedAGSCL(begin=1, end=1), agscl.HAT(), PACKED, agscl.WSN()], ids=lambda method: method.name
)
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


@pytest.mark.parametrize("method", [agscl.GatedAGSCL(begin=1, end=1), agscl.HAT()], ids=lambda method: method.name)
@settings(max_examples=6, deadline=None)
@given(net=nets(), seed=st.integers(0, 2**16))
def test_the_network_of_a_task_is_its_own_nodes_and_answers_alike(net: Net, method: Method, seed: int) -> None:
    model = with_three_heads(net)
    guard = with_random_gates(model, method, seed)
    expected = answers(guard, model, 2, X)
    for task in range(2):
        whole, small = guard.extract(task, compact=False).eval(), guard.extract(task)
        assert torch.equal(whole(X)[task], expected[task])
        torch.testing.assert_close(small(X)[task], expected[task])
        unused = {name: ~used for name, used in guard.uses[task].items()}
        without = agscl.nodes.compact(whole, guard.graph, removable(whole, guard.graph, unused, X[:2]), X[:2])
        assert sum(p.numel() for p in small.parameters()) <= sum(p.numel() for p in without.parameters())


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


def test_a_share_of_what_is_left_never_takes_the_last_node() -> None:
    torch.manual_seed(0)
    model, data = MLP(width=12), tasks((12,))
    guard = protected(model, agscl.GatedAGSCL(first=0.75, more=0.6, begin=1, end=1, left=True), (12,))
    used = {name: torch.zeros(12, dtype=torch.bool) for name in ("fc1", "fc2")}
    for task in range(4):
        guard.use_task(task)
        opened = Watched(model, guard, 2, task, data[task]).open[-1]
        taken = [int(nodes.sum()) for nodes in used.values()]
        assert opened == ([9, 9] if task == 0 else [count + 6 * (12 - count) // 10 for count in taken])
        used = {name: nodes | guard.uses[task][name] for name, nodes in used.items()}
        assert not any(nodes.all() for nodes in used.values())


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


def test_every_task_begins_with_gains_of_the_given_size_and_they_speed_its_weights_up() -> None:
    """By the chain rule: the same function of weights times a gain has gradients times the gain."""
    torch.manual_seed(0)
    model, data = MLP(width=10), tasks((12,))
    guard = protected(model, agscl.GatedAGSCL(first=0.5, begin=1, end=1, gain=1.5), (12,))
    plain = MLP(width=10)
    plain.load_state_dict({n: t * (1.5 if n in OUT else 1.0) for n, t in model.state_dict().items() if "gain" not in n})
    x, y = data[0]
    torch.testing.assert_close(model(x)[0], plain(x)[0])
    for each in (model, plain):
        F.cross_entropy(each(x)[0], y).backward()
    for name in ("fc2.weight", "heads.0.weight"):
        torch.testing.assert_close(model.get_parameter(name).grad, 1.5 * plain.get_parameter(name).grad)
    Watched(model, guard, 2, 0, data[0])
    guard.use_task(1)
    with guard.attach(torch.optim.Adam(model.parameters()), steps_per_epoch=1):
        assert all((p == 1.5).all() for name, p in model.named_parameters() if "node_gain" in name)


def one_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, data: tuple[Tensor, Tensor], task: int) -> Any:
    """Train three steps; yields after each."""
    for part in torch.arange(48).split(16):
        optimizer.zero_grad()
        F.cross_entropy(model(data[0][part])[task], data[1][part]).backward()
        optimizer.step()
        yield


def copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def test_averaged_weights_are_those_of_the_last_epoch_once_the_budget_is_reached() -> None:
    """Against the sum written out: all alike at first, then the last one counts a third, an epoch's length."""
    torch.manual_seed(0)
    model, data = MLP(width=10), tasks((12,))[0]
    guard = protected(model, agscl.GatedAGSCL(first=0.5, begin=1, end=2), (12,))
    optimizer, seen = torch.optim.Adam(model.parameters(), lr=1e-2), []
    with guard.attach(optimizer, steps_per_epoch=3):
        for epoch in range(4):
            for _ in one_epoch(model, optimizer, data, 0):
                seen.append(copied(model))
                with guard.averaged(), guard.averaged():
                    shown = copied(model)
                assert same(copied(model), seen[-1])
                assert epoch >= 2 or same(shown, seen[-1])
    shares = [(2 / 3) ** 3 / 3] * 3 + [(2 / 3) ** 2 / 3, 2 / 3 / 3, 1 / 3]
    for name, average in shown.items():
        expected = sum(share * each[name] for share, each in zip(shares, seen[6:], strict=True))
        torch.testing.assert_close(average, expected)
    guard.consolidate([data], lambda batch: model(batch[0])[0])
    after = copied(model)
    with guard.averaged():
        assert same(copied(model), after)


def test_averages_leave_the_bits_of_frozen_weights_alone() -> None:
    """Signs of zeros, too: what a loop copies there and loads later is what learned tasks compute with."""
    torch.manual_seed(0)
    model, data = MLP(width=10), tasks((12,))
    with torch.no_grad():
        model.fc1.weight[:, 0] = -0.0
    blank = [(x * (torch.arange(12) > 0), y) for x, y in data]  # so that it learns nothing there
    guard = protected(model, agscl.GatedAGSCL(first=0.5, begin=1, end=1), (12,))
    for task in range(2):
        guard.use_task(task)
        before, optimizer = copied(model), torch.optim.SGD(model.parameters(), lr=0.1)
        with guard.attach(optimizer, steps_per_epoch=3):
            for _ in range(3):
                for _ in one_epoch(model, optimizer, blank[task], task):
                    pass
            with guard.averaged():
                best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        model.load_state_dict(best)
        if task == 0:
            guard.consolidate([blank[task]], lambda batch: model(batch[0])[0])
    gains = guard.state_dict()
    frozen = [gains[f"method.gain.0.{name}"] != 0 for name in ("fc1", "fc2")]
    assert same_bits(best["fc1.weight"][frozen[0]], before["fc1.weight"][frozen[0]])
    assert best["fc1.weight"][frozen[0]][:, 0].signbit().all()
    both = frozen[1][:, None] & frozen[0]
    assert same_bits(best["fc2.weight"][both], before["fc2.weight"][both])
    assert not torch.equal(best["fc2.weight"], before["fc2.weight"])


def same_bits(left: Tensor, right: Tensor) -> bool:
    return torch.equal(left.view(torch.int32), right.view(torch.int32))


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return all(torch.equal(left[name], right[name]) for name in left | right)


def test_an_average_goes_on_from_a_saved_state() -> None:
    shown, state, weights = [], None, {}
    for epochs in (4, 3, 1):  # in one go, and with a stop after the third
        torch.manual_seed(0)
        model, data = MLP(width=10), tasks((12,))[0]
        guard = protected(model, agscl.GatedAGSCL(first=0.5, begin=1, end=1), (12,))
        if epochs == 1:
            assert any(".average." in name for name in state)
            model.load_state_dict(weights)
            guard.load_state_dict(state)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with guard.attach(optimizer, steps_per_epoch=3):
            for _ in range(epochs):
                for _ in one_epoch(model, optimizer, data, 0):
                    pass
            with guard.averaged():
                shown.append(copied(model))
        state, weights = guard.state_dict(), model.state_dict()
    assert same(shown[0], shown[2])
    assert not same(shown[0], shown[1])


def test_new_nodes_begin_with_the_gain_and_an_average_begins_anew() -> None:
    torch.manual_seed(0)
    model, data = MLP(width=10), tasks((12,))[0]
    guard = protected(model, agscl.GatedAGSCL(first=1.0, begin=1, end=1, gain=1.5), (12,))
    for width in (10, 13):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with guard.attach(optimizer, steps_per_epoch=3):
            for _ in range(3):
                for _ in one_epoch(model, optimizer, data, 0):
                    pass
            before = copied(model)
            with guard.averaged():
                assert not same(copied(model), before)
                assert model.fc1.weight.shape[0] == width
        if width == 10:
            guard.expand(layer="fc1", nodes=3)
            before = copied(model)
            assert before["node_gain_0"][10:].tolist() == [1.5] * 3
            with guard.averaged():
                assert same(copied(model), before)


def test_what_averaged_would_undo_is_refused_inside_it() -> None:
    torch.manual_seed(0)
    model, data = MLP(width=10), tasks((12,))[0]
    guard = protected(model, agscl.GatedAGSCL(first=0.5, begin=1, end=1), (12,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with guard.attach(optimizer, steps_per_epoch=3):
        for _ in range(2):
            for _ in one_epoch(model, optimizer, data, 0):
                pass
        with guard.averaged(), pytest.raises(ValueError, match=r"train after the averaged\(\) block"):
            next(one_epoch(model, optimizer, data, 0))
    with guard.averaged():
        with pytest.raises(ValueError, match=r"consolidate after the averaged\(\) block"):
            guard.consolidate([data], lambda batch: model(batch[0])[0])
        with pytest.raises(ValueError, match=r"save the guard after the averaged\(\) block"):
            guard.state_dict()
        with pytest.raises(ValueError, match=r"save the guard after the averaged\(\) block"):
            guard.save("nowhere")
        with pytest.raises(ValueError, match=r"load a state after the averaged\(\) block"):
            guard.load_state_dict({})
        with pytest.raises(ValueError, match=r"expand after the averaged\(\) block"):
            guard.expand(layer="fc1", nodes=1)
        with (
            pytest.raises(ValueError, match=r"attach after the averaged\(\) block"),
            guard.attach(optimizer, steps_per_epoch=3),
        ):
            pass


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
        assert [capacity.new[task][name] for task in range(2)] == [int(used[0].sum()), int((used[1] & ~used[0]).sum())]
        assert all(torch.equal(guard.uses[task][name], used[task]) for task in range(2))
    assert f"task 1 uses {sum(capacity.tasks[1].values())} of them" in str(capacity)
    assert f", {sum(capacity.new[1].values())} new" in str(capacity)


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
        ({"gain": 0.0}, r"gain must be in \(0, 100\]"),
        ({"gain": float("inf")}, r"gain must be in \(0, 100\]"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        agscl.GatedAGSCL(**values)
