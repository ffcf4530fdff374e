"""Gated AGS-CL: answers of learned tasks stand on frozen weights alone; budget, schedule and gains hold."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import agscl
from laws.isolation import HUGE, answers, fill_moved, push_all
from laws.node_law import awake
from laws.random_nets import Net, nets

X = torch.randn(3, 2, 6, 6, generator=torch.Generator().manual_seed(1)).double()


def with_three_heads(net: Net, shared: bool = False) -> nn.Module:
    net.heads.append(nn.Linear(6, 2))
    return awake(net)


def with_random_gates(net: nn.Module, seed: int) -> agscl.Guard:
    """A guard that has learned two tasks, each with random nodes, gains, and small tensors of its own."""
    generator = torch.Generator().manual_seed(seed)
    guard = agscl.protect(net, agscl.GatedAGSCL(begin=1, end=1), example_inputs=X[:2], heads="heads")
    state = guard.state_dict()
    small = [name for name in {**dict(net.named_parameters()), **dict(net.named_buffers())} if kept(guard, name)]
    for task in range(2):
        for layer in guard.graph.layers:
            used = torch.rand(layer.num_nodes, generator=generator) < 0.6
            gain = torch.rand(layer.num_nodes, generator=generator) + 0.5
            state[f"method.gain.{task}.{layer.name}"] = torch.where(used, gain, 0.0).double()
        for name in small:
            own = net.state_dict()[name]
            noise = torch.rand(own.shape, generator=generator).to(own.dtype)
            state[f"method.kept.{task}.{name}"] = own + noise if own.is_floating_point() else own.clone()
    state |= {"learned": torch.tensor([0, 1]), "task": torch.tensor(2), "method.begun": torch.tensor(False)}
    guard.load_state_dict(state)
    return guard


def kept(guard: agscl.Guard, name: str) -> bool:
    """Whether each task keeps a tensor of its own: small ones that tasks have in common."""
    model, graph = guard._network.model, guard.graph
    tensor = model.state_dict()[name]
    return name not in graph.own_heads(range(3)) and not name.startswith("node_gain") and tensor.ndim < 2


@settings(max_examples=40, deadline=None)
@given(net=nets(), seed=st.integers(0, 2**16))
def test_answers_do_not_change_under_any_change_of_what_is_not_frozen(net: Net, seed: int) -> None:
    model = with_three_heads(net)
    guard = with_random_gates(model, seed)
    before = answers(guard, model, 2, X)
    guard.use_task(2)
    moved = push_all(guard, model, seed)
    assert all(map(torch.equal, answers(guard, model, 2, X), before))
    for value in (float("nan"), float("inf"), -(HUGE**9)):
        fill_moved(model, moved, value)
        found = answers(guard, model, 2, X)
        assert all(map(torch.equal, found, before)), value
        assert all(tensor.isfinite().all() for tensor in found)
