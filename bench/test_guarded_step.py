"""What a guarded optimizer step costs against the same step unguarded, one thread."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from ratios import ratio, say
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

import agscl
from agscl.methods import Method
from agscl.models import MLP, ConvNet, MultiHead
from agscl.nodes.slices import fill

METHODS: dict[str, Method] = {
    "soft": agscl.AGSCL(mu=10, lam=400),
    "hard": agscl.AGSCL(mu=10, lam=math.inf),
    "every step": agscl.AGSCL(mu=0.1, lam=400, proximal="step"),
}


def conv_net() -> MultiHead:
    trunk = ConvNet()
    return MultiHead(trunk, trunk.num_features, [10, 10])


def mlp() -> MultiHead:
    trunk = MLP(784, (256, 256))
    return MultiHead(trunk, trunk.num_features, [10, 10])


RATE = 1e-6
"""So low that the batch is not memorised: vanishing gradients are denormal numbers, which are slow."""

CASES = [
    pytest.param(conv_net, (256, 3, 32, 32), 2, 7, 1.02, id="6-conv, batch 256"),
    pytest.param(mlp, (64, 784), 100, 15, 1.25, id="784-256-256-10, batch 64"),
]


def loop(model: nn.Module, optimizer: Adam, x: Tensor, y: Tensor, steps: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(x, 1), y).backward()
            optimizer.step()

    return run


def after_one_task(model: MultiHead, method: Method, x: Tensor, y: Tensor) -> agscl.Guard:
    guard = agscl.protect(model, method, example_inputs=x[:2], heads="heads")
    optimizer = Adam(model.parameters(), lr=1e-3)
    with guard.attach(optimizer, steps_per_epoch=1):
        F.cross_entropy(model(x, 0), y).backward()
        optimizer.step()
    for layer in guard.graph.layers:  # every other node dies
        fill(layer.incoming, model.state_dict(), torch.arange(layer.num_nodes) % 2 == 0, 0.0)
    guard.consolidate([x], lambda batch: model(batch, 0))
    return guard


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("make", "shape", "steps", "rounds", "limit"), CASES)
def test_guarded_step_against_plain_step(
    make: Callable[[], MultiHead], shape: tuple[int, ...], steps: int, rounds: int, limit: float, method: str
) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, y = torch.randn(shape), torch.randint(10, (shape[0],))
    guarded = make()
    guard = after_one_task(guarded, METHODS[method], x, y)
    plain = copy.deepcopy(guarded)
    own, other = Adam(guarded.parameters(), lr=RATE), Adam(plain.parameters(), lr=RATE)
    with guard.attach(own, steps_per_epoch=steps):
        measured = ratio(loop(guarded, own, x, y, steps), loop(plain, other, x, y, steps), rounds)
    say(f"\nguarded / plain step, {method}: {measured:.3f} (limit {limit})")
    if method != "every step":
        assert measured <= limit
