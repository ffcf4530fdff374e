"""CPR is a term beside another method: a guard with it can do all that a guard without it can."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import agscl
from agscl.guard.active import ActiveNetwork
from agscl.methods import METHODS, Method
from laws.sequences import MLP, MobileNet, protected, tasks

SHAPE = (3, 2, 2)
EVERY: dict[str, Method] = {
    "ags-cl": agscl.AGSCL(mu=12.0, lam=40.0),
    "ewc": agscl.EWC(lam=5.0),
    "si": agscl.SI(c=1.0),
    "rwalk": agscl.RWalk(lam=1.0),
    "mas": agscl.MAS(lam=1.0),
    "hat": agscl.HAT(smax=20.0),
    "lwf": agscl.LwF(),
    "wsn": agscl.WSN(),
    "gated-ags-cl": agscl.GatedAGSCL(begin=1, end=2),
    "packnet": agscl.PackNet(train_epochs=1),
    "gpm": agscl.GPM(),
    "fine-tuning": agscl.FineTuning(),
    "joint": agscl.Joint(),
    "single-task": agscl.SingleTask(),
}
HARD = agscl.AGSCL(mu=12.0, lam=math.inf)


def dropped(model: nn.Module) -> dict[str, Tensor]:
    """Nodes that the model does without at the moment."""
    active = getattr(model.__dict__.get("forward"), "compute", None)
    return dict(active.dropped) if isinstance(active, ActiveNetwork) else {}


def refusal(action: Any) -> str:
    try:
        action()
    except ValueError as error:
        return str(error)
    return ""


def attached(model: nn.Module, guard: agscl.Guard, task: int, *, live: bool) -> Iterator[Any]:
    """Learn a task, and all that can be seen of the guard meanwhile."""
    x, y = tasks(SHAPE)[task]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with guard.attach(optimizer, steps_per_epoch=3, live=live):
        for step in range(18):
            batch = slice(16 * (step % 3), 16 * (step % 3) + 16)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[batch])[task], y[batch])
            extra = guard.extra_loss((x[batch], y[batch]), lambda given: model(given[0]))
            (loss if extra is None else loss + extra).backward()
            optimizer.step()
            yield {"loss": loss.detach()}
            yield dropped(model)
            yield guard.has_extra_loss
        yield state_of(guard)
    guard.consolidate([(x, y)], lambda given: model(given[0])[task])


def state_of(guard: agscl.Guard) -> dict[str, Tensor]:
    """The guard's state, but for the name of its method."""
    return {name: tensor for name, tensor in guard.state_dict().items() if name != "about"}


def story(method: Method) -> Iterator[Any]:
    """All that can be seen of a guard and its model over three tasks, with an expansion and a saved state."""
    torch.manual_seed(0)
    model = MLP()
    guard = protected(model, method, SHAPE)
    for task in range(3):
        guard.use_task(task)
        inactive_can_go = refusal(lambda: next(attached(model, guard, task, live=True)))  # noqa: B023
        yield inactive_can_go
        yield from attached(model, guard, task, live=not inactive_can_go)
        yield refusal(lambda: guard.expand(layer="fc1", nodes=2))
        yield guard.importance
        yield {"penalty": torch.tensor(math.nan) if (value := guard.penalty()) is None else value}
        yield guard.memory_bytes(), guard.memory_bytes(regularization_only=True), guard.graph.num_nodes
        yield guard.has_extra_loss
        guard.load_state_dict(guard.state_dict())
        yield state_of(guard)
        yield {name: tensor.clone() for name, tensor in model.state_dict().items()}
        for learned in range(task + 1):
            guard.use_task(learned)
            yield dict(enumerate(model.eval()(tasks(SHAPE)[0][0])))
        model.train()


def same(first: Any, second: Any) -> bool:
    if not isinstance(first, dict):
        return bool(first == second)
    equal = (torch.equal(first[name].nan_to_num(), second[name].nan_to_num()) for name in first)
    return first.keys() == second.keys() and all(equal)


def test_the_laws_are_about_every_method() -> None:
    assert EVERY.keys() == METHODS.keys()


@pytest.mark.parametrize("name", [*EVERY, "hard"])
def test_all_that_a_guard_can_do_it_does_bit_for_bit_the_same_with_cpr_of_strength_zero(name: str) -> None:
    method = HARD if name == "hard" else EVERY[name]
    plain, projected = list(story(method)), list(story(agscl.CPR(method, 0.0)))
    assert [number for number, pair in enumerate(zip(plain, projected, strict=True)) if not same(*pair)] == []


@pytest.mark.parametrize("method", [EVERY["ags-cl"], HARD])
def test_cpr_of_ags_cl_leaves_out_inactive_nodes_and_takes_new_ones(method: Method) -> None:
    torch.manual_seed(0)
    model = MLP()
    guard = protected(model, agscl.CPR(method, 0.5), SHAPE)
    left_out = [seen for task in range(2) for seen in attached(model, guard, task, live=True) if isinstance(seen, dict)]
    assert any(nodes.any() for seen in left_out if "fc1" in seen for nodes in seen.values())
    guard.expand(layer="fc1", nodes=2)
    assert len(guard.importance["fc1"]) == 26


def test_the_term_of_a_network_with_new_nodes_is_that_of_its_new_outputs() -> None:
    torch.manual_seed(0)
    model, x = MobileNet(), torch.randn(6, 3, 8, 8)
    guard = protected(model, agscl.CPR(HARD, 0.5), (3, 8, 8))
    guard.expand(layer=guard.graph.layers[0].name, nodes=2)
    model.eval()
    with guard.attach(torch.optim.SGD(model.parameters(), lr=0.1), steps_per_epoch=1):
        term = guard.extra_loss((x,), lambda given: model(given[0]))
    log_p = model(x)[0].log_softmax(1)
    assert term is not None
    torch.testing.assert_close(term, 0.5 * (math.log(2) + (log_p.exp() * log_p).sum(1).mean()))
