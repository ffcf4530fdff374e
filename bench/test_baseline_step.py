"""What a step under each baseline costs against the same step alone, and an importance pass against training's passes.

The paper's 6-conv net at batch 256, one thread. A method that works in the optimizer's hooks alone is timed there: the
rest of the step is the same, and two steps on a busy machine differ by more than such a method costs.
"""

import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from ratios import ratio, say, seconds
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam

import agscl
from agscl.methods import Learned, Method, Network
from agscl.methods.weights.fisher import fisher_diagonal
from agscl.methods.weights.mas import sensitivity
from agscl.models import ConvNet, MultiHead

RATE = 1e-6
"""So low that the batch is not memorised: vanishing gradients are denormal numbers, which are slow."""

IN_HOOKS: list[Any] = [
    pytest.param(agscl.EWC(lam=1.0), 1.03, id="ewc"),
    pytest.param(agscl.SI(c=1.0), 1.03, id="si"),
    pytest.param(agscl.MAS(lam=1.0), 1.03, id="mas"),
    pytest.param(agscl.RWalk(lam=1.0), 1.05, id="rwalk"),
]

IN_FORWARD: list[Any] = [
    pytest.param(agscl.HAT(smax=50.0), 1.15, id="hat"),
    pytest.param(agscl.GatedAGSCL(), 1.05, id="gated-ags-cl"),
    pytest.param(agscl.PackNet(), 1.05, id="packnet"),
    pytest.param(agscl.GPM(), 1.1, id="gpm"),
    pytest.param(agscl.LwF(), 1.5, id="lwf"),
    pytest.param(agscl.WSN(), 1.15, id="wsn"),
]


def conv_net() -> MultiHead:
    trunk = ConvNet()
    return MultiHead(trunk, trunk.num_features, [10, 10])


def data() -> tuple[Tensor, Tensor]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return torch.randn(256, 3, 32, 32), torch.randint(10, (256,))


def step(model: MultiHead, optimizer: Adam, batch: tuple[Tensor, Tensor], guard: agscl.Guard | None) -> None:
    optimizer.zero_grad()
    outputs = model(batch[0])
    loss = F.cross_entropy(outputs[1], batch[1])
    extra = guard.extra_loss(batch, again(model, outputs)) if guard is not None else None
    (loss if extra is None else loss + extra).backward()
    optimizer.step()


def again(model: MultiHead, outputs: list[Tensor]) -> Callable[[Any], list[Tensor]]:
    """The outputs that are there; another forward pass only for earlier weights."""
    return lambda batch: outputs if torch.is_grad_enabled() else model(batch[0])


def after_one_task(model: MultiHead, method: Method, batch: tuple[Tensor, Tensor]) -> agscl.Guard:
    guard = agscl.protect(model, method, example_inputs=batch[0][:2], heads="heads")
    optimizer = Adam(model.parameters(), lr=1e-3)
    with guard.attach(optimizer, steps_per_epoch=1):
        F.cross_entropy(model(batch[0], 0), batch[1]).backward()
        optimizer.step()
    guard.consolidate([(batch[0][:32], batch[1][:32])], lambda given: model(given[0], 0))
    return guard


@pytest.mark.parametrize(("method", "limit"), IN_HOOKS)
def test_step_with_the_guards_hooks_against_the_step_without_them(method: Method, limit: float) -> None:
    batch, model = data(), conv_net()
    guard = after_one_task(model, method, batch)
    optimizer, clock = Adam(model.parameters(), lr=RATE), [0.0]

    def start(*_: Any) -> None:
        clock[0] -= time.process_time()

    def stop(*_: Any) -> None:
        clock[0] += time.process_time()

    optimizer.register_step_pre_hook(start)
    optimizer.register_step_post_hook(start)
    ratios = []
    with guard.attach(optimizer, steps_per_epoch=5):
        optimizer.register_step_pre_hook(stop)
        optimizer.register_step_post_hook(stop)
        for _ in range(8):
            clock[0] = 0.0
            whole = seconds(lambda: step(model, optimizer, batch, None))
            ratios.append(whole / (whole - clock[0]))
    measured = statistics.median(ratios[1:])
    say(f"\n{type(method).__name__} step / plain step: {measured:.4f} (limit {limit})")
    assert measured <= limit


@pytest.mark.parametrize(("method", "limit"), IN_FORWARD)
def test_guarded_step_against_plain_step(method: Method, limit: float) -> None:
    batch, plain = data(), conv_net()
    model = copy.deepcopy(plain)
    guard = after_one_task(model, method, batch)
    own, other = Adam(model.parameters(), lr=RATE), Adam(plain.parameters(), lr=RATE)
    with guard.attach(own, steps_per_epoch=1000):
        measured = ratio(lambda: step(model, own, batch, guard), lambda: step(plain, other, batch, None), 11)
    say(f"\n{type(method).__name__} step / plain step: {measured:.3f} (limit {limit})")
    assert measured <= limit


@pytest.mark.parametrize("measure", ["empirical", "sampled", "mas"])
def test_importance_pass_against_a_forward_and_backward_pass(measure: str) -> None:
    batch, model = data(), conv_net().eval()
    graph = agscl.trace(model, batch[0][:2], heads="heads")
    network = Network(model, graph, dict(model.named_parameters()), dict(model.named_buffers()))
    learned = Learned((0,), [batch], lambda given: model(given[0], 0))

    def importance() -> None:
        with torch.no_grad():
            if measure == "mas":
                sensitivity(network, learned)
            else:
                fisher_diagonal(network, learned, measure)  # type: ignore[arg-type]

    def plain() -> None:
        model.zero_grad()
        F.cross_entropy(model(batch[0], 0), batch[1]).backward()

    measured = ratio(importance, plain, 7)
    say(f"\n{measure} importance pass / forward and backward pass: {measured:.2f} (limit 3)")
    assert measured <= 3
