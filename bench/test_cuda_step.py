"""What a guarded step costs on a CUDA card: the paper's 6-conv net, batch 256, wall time until all is computed."""

import copy
import statistics
import time
from collections.abc import Callable

import pytest
import torch
from ratios import say
from torch.nn import functional as F
from torch.optim import Adam

import agscl
from agscl.methods import Method
from agscl.models import ConvNet, MultiHead

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

STEPS, ROUNDS = 50, 9
METHODS: dict[str, Method] = {
    "ags-cl": agscl.AGSCL(mu=10, lam=400),
    "ags-cl, hard": agscl.AGSCL(mu=10, lam=float("inf")),
    "ewc": agscl.EWC(lam=1.0),
    "si": agscl.SI(c=1.0),
    "rwalk": agscl.RWalk(lam=1.0),
    "mas": agscl.MAS(lam=1.0),
    "hat": agscl.HAT(smax=50.0),
    "wsn": agscl.WSN(),
}


def wall(work: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


@pytest.mark.parametrize("name", METHODS)
def test_guarded_step_on_a_card(name: str) -> None:
    torch.manual_seed(0)
    trunk = ConvNet()
    plain = MultiHead(trunk, trunk.num_features, [10, 10]).cuda()
    x, y = torch.randn(256, 3, 32, 32, device="cuda"), torch.randint(10, (256,), device="cuda")
    guarded = copy.deepcopy(plain)
    guard = agscl.protect(guarded, METHODS[name], example_inputs=x[:2], heads="heads")
    optimizers = {model: Adam(model.parameters(), lr=1e-6) for model in (plain, guarded)}

    def steps(model: MultiHead, task: int, count: int = STEPS) -> None:
        for _ in range(count):
            optimizers[model].zero_grad()
            F.cross_entropy(model(x, task), y).backward()
            optimizers[model].step()

    with guard.attach(optimizers[guarded], steps_per_epoch=STEPS):
        steps(guarded, 0, 1)
    guard.consolidate([(x, y)], lambda batch: guarded(batch[0], 0))
    with guard.attach(optimizers[guarded], steps_per_epoch=STEPS):
        steps(guarded, 1), steps(plain, 1)
        times = [(wall(lambda: steps(guarded, 1)), wall(lambda: steps(plain, 1))) for _ in range(ROUNDS)]
    alone = statistics.median(other for _, other in times) / STEPS
    ratio = statistics.median(own / other for own, other in times)
    say(f"{name}: guarded / plain step {ratio:.3f}, plain {1000 * alone:.2f} ms on {torch.cuda.get_device_name()}")
    assert ratio < 1.5
