"""Random networks for property tests: blocks of every kind, chosen by hypothesis."""

from collections.abc import Callable

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F


class Residual(nn.Module):
    """``relu(x + norm(conv(x)))``"""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.conv(x)))


class Dense(nn.Module):
    """``cat(x, conv(x))``"""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, torch.relu(self.conv(x))], dim=1)


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(channels, 2, 1), nn.Conv2d(2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))


class Split(nn.Module):
    """Two halves, one of them through a convolution, shuffled together."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.half = channels // 2
        self.conv = nn.Conv2d(self.half, self.half, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.split([self.half, x.shape[1] - self.half], dim=1)
        return torch.cat((F.silu(self.conv(left)), right), 1)


class Radix(nn.Module):
    """Channels in two sets, summed: the split attention of ResNeSt without the attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2 * channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.conv(x))
        return h.reshape(h.shape[0], 2, -1, h.shape[2], h.shape[3]).sum(dim=1)


class Twice(nn.Module):
    """One convolution used twice."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.relu(self.conv(x)))


Block = Callable[[int], tuple[nn.Module, int]]


def _plain(channels: int) -> tuple[nn.Module, int]:
    return nn.Sequential(nn.Conv2d(channels, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU()), 5


def _grouped(channels: int) -> tuple[nn.Module, int]:
    return nn.Sequential(nn.Conv2d(channels, 6, 1), nn.ReLU(), nn.Conv2d(6, 4, 3, padding=1, groups=2)), 4


def _many_groups(channels: int) -> tuple[nn.Module, int]:
    return nn.Sequential(nn.Conv2d(channels, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=4)), 8


def _depthwise(channels: int) -> tuple[nn.Module, int]:
    conv = nn.Conv2d(channels, 2 * channels, 3, padding=1, groups=channels)
    return nn.Sequential(conv, nn.Hardswish(), nn.Conv2d(2 * channels, 4, 1)), 4


def _transposed(channels: int) -> tuple[nn.Module, int]:
    return nn.Sequential(nn.ConvTranspose2d(channels, 4, 2), nn.ELU(), nn.AvgPool2d(2, 1)), 4


def _group_norm(channels: int) -> tuple[nn.Module, int]:
    return nn.Sequential(nn.Conv2d(channels, 6, 3, padding=1), nn.GroupNorm(3, 6), nn.GELU()), 6


def _instance_norm(channels: int) -> tuple[nn.Module, int]:
    return nn.Sequential(nn.Conv2d(channels, 4, 1), nn.InstanceNorm2d(4, affine=True), nn.Tanh()), 4


def _rest(channels: int) -> tuple[nn.Module, int]:
    return nn.Sequential(nn.Dropout(0.5), nn.MaxPool2d(3, 1, 1), nn.PReLU(channels), nn.ZeroPad2d(1)), channels


class Resized(nn.Module):
    """Up by interpolation, down by pooling and by a mean over pairs of rows."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up, self.down = nn.Upsample(scale_factor=2, mode="bilinear"), nn.LPPool2d(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.down(self.up(F.interpolate(x, size=(8, 6))))
        return h.view(h.shape[0], h.shape[1], 4, 2, -1).mean(dim=3)


def _same(kind: type[nn.Module]) -> Block:
    return lambda channels: (kind(channels), channels)


BLOCKS: list[Block] = [
    _plain, _grouped, _many_groups, _depthwise, _transposed, _group_norm, _instance_norm, _rest,
    _same(Residual), _same(Gate), _same(Split), _same(Radix), _same(Twice), _same(Resized),
    lambda channels: (Dense(channels), channels + 3),
]  # fmt: skip


class Net(nn.Module):
    """A stem, blocks, one of several ways to flatten, a hidden layer and two heads."""

    def __init__(self, blocks: list[Block], flatten: str, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.stem, channels, chain = nn.Conv2d(2, 4, 3, padding=1), 4, []
            for block in blocks:
                module, channels = block(channels)
                chain.append(module)
            self.blocks, self.flatten = nn.Sequential(*chain), flatten
            self.pool = nn.AdaptiveAvgPool2d(2)
            self.hidden = nn.Linear(channels if flatten == "mean" else 4 * channels, 6)
            self.heads = nn.ModuleList([nn.Linear(6, 2), nn.Linear(6, 3)])

    def forward(self, x: Tensor) -> list[Tensor]:
        h = self.blocks(torch.relu(self.stem(x)))
        if self.flatten == "mean":
            h = h.mean((2, 3))
        elif self.flatten == "view":
            h = self.pool(h).permute(0, 2, 3, 1).reshape(x.size(0), -1)
        else:
            h = torch.flatten(self.pool(h), 1)
        h = F.leaky_relu(self.hidden(h))
        return [head(h) for head in self.heads]


def nets() -> st.SearchStrategy[Net]:
    """Networks of up to four random blocks."""
    return st.builds(
        Net,
        st.lists(st.sampled_from(BLOCKS), max_size=4),
        st.sampled_from(["mean", "view", "flatten"]),
        st.integers(0, 2**16),
    )
