"""AGS-CL without its parts: what each part is there for."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F

import agscl
from agscl.metrics import sparsity
from agscl.nodes.slices import gather
from laws.sequences import MLP, OPTIMIZERS, learn, protected, tasks

SHAPE = (3, 2, 2)
METHOD = agscl.AGSCL(mu=11, lam=50, rho=0)


def learned(method, num_tasks=1):
    """A model after some tasks, and its guard."""
    torch.manual_seed(0)
    model = MLP()
    guard = protected(model, method, SHAPE)
    for task, data in list(enumerate(tasks(SHAPE)))[:num_tasks]:
        learn(guard, model, task, data, OPTIMIZERS["adam"], epochs=8)
    return model, guard


def outside(model, guard):
    """Weights from unimportant nodes of the first layer into important ones of the second."""
    return model.fc2.weight[guard.importance["fc2"] > 0][:, guard.importance["fc1"] == 0]


def test_without_i1_nothing_is_cut_and_old_tasks_change_with_the_free_nodes():
    model, guard = learned(dataclasses.replace(METHOD, lam=float("inf"), rho=1.0, cut=False))
    assert 0 < sparsity(guard.importance) < 1
    assert (outside(model, guard) != 0).any()
    x = tasks(SHAPE)[0][0]
    before = model(x)[0].detach()
    learn(guard, model, 1, tasks(SHAPE)[1], OPTIMIZERS["adam"], epochs=8)
    assert not torch.equal(model(x)[0], before)


@pytest.mark.parametrize("lam", [50.0, float("inf")])
def test_the_cut_is_what_keeps_free_nodes_out_of_important_ones(lam):
    for cut in (True, False):
        model, guard = learned(dataclasses.replace(METHOD, lam=lam, rho=1.0, cut=cut), num_tasks=2)
        assert (outside(model, guard) == 0).all() == cut


def test_the_gradient_of_the_penalty_is_autograds():
    method = dataclasses.replace(METHOD, proximal="gradient")
    model, guard = learned(METHOD)
    twin = protected(model, method, SHAPE)
    twin.load_state_dict({name: t for name, t in guard.state_dict().items() if name != "about"})  # other weights follow
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    expected = autograd_of_the_penalty(model, guard, method)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with twin.attach(optimizer, steps_per_epoch=1):
        F.cross_entropy(model(tasks(SHAPE)[1][0])[1], tasks(SHAPE)[1][1]).backward()
        clean = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        optimizer.step()
    masked = model.fc2.weight == 0
    for name, pull in expected.items():
        moved = before[name] - 0.1 * (clean[name] + pull)
        moved = torch.where(masked, 0.0, moved) if name == "fc2.weight" else moved
        torch.testing.assert_close(model.state_dict()[name], moved)


def autograd_of_the_penalty(model, guard, method):
    """Written apart from the library: node by node, through autograd."""
    layers = {layer.name: layer for layer in guard.graph.layers}
    anchors = {name[14:]: tensor for name, tensor in guard.state_dict().items() if name.startswith("method.anchor.")}
    copies = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters() if n.startswith("fc")}
    total = torch.tensor(0.0)
    for name in layers:
        rows = torch.cat([copies[f"{name}.weight"], copies[f"{name}.bias"][:, None]], dim=1)
        kept = iter(anchors[name])
        for row, omega in zip(rows, guard.importance[name], strict=True):
            distance = (row - next(kept)).norm() * method.lam * omega if omega > 0 else row.norm() * method.mu
            total = total + distance
    total.backward()
    return {name: copy.grad for name, copy in copies.items()}


def test_with_plain_gradients_nothing_becomes_exactly_zero():
    proximal, _ = learned(METHOD)
    gradient, guard = learned(dataclasses.replace(METHOD, proximal="gradient", cut=False))
    incoming = [layer.incoming for layer in guard.graph.layers]
    zero = [
        [(gather(slices, m.state_dict()) == 0).all(dim=1).any() for slices in incoming] for m in (proximal, gradient)
    ]
    assert any(zero[0])
    assert not any(zero[1])
