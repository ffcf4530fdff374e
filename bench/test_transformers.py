"""What guarding a transformer costs: its step against the same step unguarded, and tracing, one thread."""

import math

import pytest
import timm
import torch
from ratios import ratio, say, seconds
from test_guarded_step import RATE, loop
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

import agscl
from agscl.methods import Method
from agscl.nodes.slices import fill

METHODS: dict[str, Method] = {
    "hard": agscl.AGSCL(mu=10, lam=math.inf),
    "gated": agscl.GatedAGSCL(),
    "hat": agscl.HAT(),
}
SIZES = {"img_size": 32, "patch_size": 4, "embed_dim": 192, "depth": 4, "num_heads": 3, "num_classes": 0}


class TwoHeads(nn.Module):
    """A ViT of four layers with a head for each of two tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = timm.models.VisionTransformer(**SIZES)
        self.heads = nn.ModuleList([nn.Linear(192, 10), nn.Linear(192, 10)])

    def forward(self, x: Tensor, task: int = 0) -> Tensor:
        answer: Tensor = self.heads[task](self.trunk(x))
        return answer


@pytest.mark.parametrize("name", METHODS)
def test_guarded_step_of_a_vit_of_four_layers_against_the_plain_step(name: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, y = torch.randn(64, 3, 32, 32), torch.randint(10, (64,))
    guarded, plain = TwoHeads(), TwoHeads()
    guard = agscl.protect(guarded, METHODS[name], example_inputs=x[:2], heads="heads")
    optimizer = Adam(guarded.parameters(), lr=1e-3)
    with guard.attach(optimizer, steps_per_epoch=1):
        F.cross_entropy(guarded(x, 0), y).backward()
        optimizer.step()
    for layer in [layer for layer in guard.graph.layers if layer.kind == "nodes"]:  # every other node is left over
        fill(layer.incoming, guarded.state_dict(), torch.arange(layer.num_nodes) % 2 == 0, 0.0)
    guard.consolidate([x[:8]], lambda batch: guarded(batch, 0))
    guard.use_task(1)
    own, other = Adam(guarded.parameters(), lr=RATE), Adam(plain.parameters(), lr=RATE)
    with guard.attach(own, steps_per_epoch=1000):
        measured = ratio(loop(guarded, own, x, y, 1), loop(plain, other, x, y, 1), 9)
    say(f"\nguarded / plain step of a ViT of 4 layers, {name}: {measured:.3f} (limit 1.05)")
    assert measured <= 1.05


@pytest.mark.parametrize(("name", "limit"), [("resnet18", 5), ("vit_tiny_patch16_224", 30)])
def test_tracing_takes_seconds(name: str, limit: float) -> None:
    torch.set_num_threads(1)
    model, x = timm.create_model(name), torch.randn(2, 3, 224, 224)
    measured = seconds(lambda: agscl.trace(model, x))
    say(f"\ntracing {name}: {measured:.1f} s (limit {limit} s)")
    assert measured <= limit
