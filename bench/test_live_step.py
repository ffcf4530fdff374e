"""What a training step on the live sub-network costs against the dense step, by the share of dead and of frozen nodes.

The paper's 6-conv net at batch 256, one thread, AGS-CL with hard freezing.
"""

import math

import pytest
import torch
from ratios import ratio, say
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam

import agscl
from agscl.models import ConvNet, MultiHead
from agscl.nodes.slices import fill

RATE = 1e-6
"""So low that the batch is not memorised: vanishing gradients are denormal numbers, which are slow."""

SHARES = [0.0, 0.25, 0.5, 0.75]
LIMITS = {(0.5, 0.0): 0.55, (0.0, 1.0): 0.45}
"""Most that a step may cost of the dense one, by the shares of dead and frozen nodes."""

CASES = [(dead, 0.0) for dead in SHARES] + [(0.0, frozen) for frozen in [*SHARES[1:], 1.0]] + [(0.25, 0.5), (0.5, 0.25)]


def conv_net() -> MultiHead:
    trunk = ConvNet()
    return MultiHead(trunk, trunk.num_features, [10, 10])


def step(model: MultiHead, optimizer: Adam, x: Tensor, y: Tensor, task: int = 1) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(x, task), y).backward()
    optimizer.step()


def after_one_task(dead: float, frozen: float, x: Tensor, y: Tensor) -> tuple[MultiHead, agscl.Guard]:
    """A net and its guard, with such shares of dead and of frozen nodes in every layer."""
    model = conv_net()
    guard = agscl.protect(model, agscl.AGSCL(mu=0, lam=math.inf, rho=0), example_inputs=x[:2], heads="heads")
    optimizer = Adam(model.parameters(), lr=RATE)
    with guard.attach(optimizer, steps_per_epoch=2):
        step(model, optimizer, x[:2], y[:2], task=0)
    fresh = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for layer in guard.graph.layers:
        fill(layer.incoming, model.state_dict(), shares(layer.num_nodes) >= frozen, 0.0)
        for piece in layer.incoming:  # so that the others are certain to be active
            if piece.parameter.endswith("bias"):
                model.state_dict()[piece.parameter][piece.index[shares(layer.num_nodes) < frozen].flatten()] = 1.0
    guard.consolidate([x], lambda batch: model(batch, 0))
    for layer in guard.graph.layers:
        free = (shares(layer.num_nodes) >= frozen) & (shares(layer.num_nodes) < 1 - dead)
        for piece in layer.incoming:
            positions = piece.index[free].flatten()
            model.state_dict()[piece.parameter].index_copy_(
                piece.dim, positions, fresh[piece.parameter].index_select(piece.dim, positions)
            )
    return model, guard


def shares(count: int) -> Tensor:
    """Where each node stands between 0 and 1, in a mixed order."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0)) / count


@pytest.mark.parametrize(("dead", "frozen"), CASES)
def test_live_step_against_dense_step(dead: float, frozen: float) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, y = torch.randn(256, 3, 32, 32), torch.randint(10, (256,))
    model, guard = after_one_task(dead, frozen, x[:8], y[:8])
    dense = conv_net()
    own, other = Adam(model.parameters(), lr=RATE), Adam(dense.parameters(), lr=RATE)
    with guard.attach(own, steps_per_epoch=1000, live=True):
        measured = ratio(lambda: step(model, own, x, y), lambda: step(dense, other, x, y), 7)
    say(f"\n{dead:4.0%} dead, {frozen:4.0%} frozen: live / dense step {measured:.3f}")
    assert measured <= LIMITS.get((dead, frozen), 1.03)
