"""What a step under each baseline costs against the same step alone, and an importance pass against training's passes.

The paper's 6-conv net at batch 256, one thread.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from ratios import ratio, say
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam

import agscl
from agscl.methods import Learned, Method, Network
from agscl.methods.fisher import fisher_diagonal
from agscl.methods.mas import sensitivity
from agscl.models import ConvNet, MultiHead

RATE = 1e-6
"""So low that the batch is not memorised: vanishing gradients are denormal numbers, which are slow."""

CASES: list[Any] = [
    pytest.param(agscl.EWC(lam=1.0), 1.03, id="ewc"),
    pytest.param(agscl.SI(c=1.0), 1.03, id="si"),
    pytest.param(agscl.MAS(lam=1.0), 1.03, id="mas"),
    pytest.param(agscl.RWalk(lam=1.0), 1.05, id="rwalk"),
    pytest.param(agscl.HAT(smax=50.0), 1.15, id="hat"),
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


@pytest.mark.parametrize(("method", "limit"), CASES)
def test_guarded_step_against_plain_step(method: Method, limit: float) -> None:
    batch, plain = data(), conv_net()
    model = copy.deepcopy(plain)
    guard = agscl.protect(model, method, example_inputs=batch[0][:2], heads="heads")
    first = Adam(model.parameters(), lr=1e-3)
    with guard.attach(first, steps_per_epoch=1):
        F.cross_entropy(model(batch[0], 0), batch[1]).backward()
        first.step()
    guard.consolidate([(batch[0][:32], batch[1][:32])], lambda given: model(given[0], 0))
    own, other = Adam(model.parameters(), lr=RATE), Adam(plain.parameters(), lr=RATE)
    with guard.attach(own, steps_per_epoch=1000):
        measured = ratio(lambda: step(model, own, batch, guard), lambda: step(plain, other, batch, None), 15)
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
