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


class Scaled(nn.Module):
    """A scale and a shift from one table, seen through views, and a learned sign through a sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.table, self.gate = nn.Parameter(torch.rand(2 * channels)), nn.Parameter(torch.rand(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = self.table.chunk(2)
        return F.relu(x * scale.view(1, -1, 1, 1) + shift[None, :, None, None]) * torch.sigmoid(self.gate)


class Moved(nn.Module):
    """Channels in other places: by a list in a buffer, rolled, flipped, and shifted by padding."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.order: Tensor
        self.register_buffer("order", torch.arange(channels).flip(0).roll(2))
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.conv(x[:, self.order])).roll(1, dims=1)
        return F.pad(h, (0, 0, 0, 0, 1, -1)).flip(1).index_select(1, self.order)


class InPlace(nn.Module):
    """A sum that is written in place, and not bound again."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        h = x.clone()
        h.add_(self.conv(x))
        self.act(h)
        return h


class Blurred(nn.Module):
    """A fixed filter between convolutions whose kernel is the transpose and a part of one parameter."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.filter: Tensor
        self.register_buffer("filter", torch.rand(1, 1, 3, 3).repeat(2 * channels - 1, 1, 1, 1))
        self.weight = nn.Parameter(torch.randn(channels, 2 * channels))

    def forward(self, x: Tensor) -> Tensor:
        h = F.conv2d(x, self.weight.t()[1:, :, None, None])
        return F.conv2d(F.relu(h), self.filter, padding=1, groups=len(self.filter))


class Constants(nn.Module):
    """What makes a constant of zero: a sigmoid, a norm without an affine pair, a border of ones."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.norm, self.pad = (
            nn.Conv2d(channels, 4, 3),
            nn.BatchNorm2d(4, affine=False),
            nn.ConstantPad2d(1, 1.0),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.pad(F.relu(self.norm(torch.sigmoid(self.conv(x)))))


SPECIAL: list[Block] = [
    _same(Scaled), _same(Moved), _same(InPlace), lambda channels: (Blurred(channels), 2 * channels - 1),
    lambda channels: (Constants(channels), 4),
]  # fmt: skip
"""Blocks for which a node is cut off by what leaves it, but need not be zero where what comes in is zero."""


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


class NetWithInput(Net):
    """A net that joins the input with its features before a norm, filter, slope or scale, and scales its outputs."""

    def __init__(self, blocks: list[Block], join: str, seed: int) -> None:
        super().__init__(blocks, "mean", seed)
        self.join, self.logit_scale = join, nn.Parameter(torch.tensor(1.5))
        channels = self.hidden.in_features + 2
        self.hidden = nn.Linear(channels, 6)
        self.filter = nn.Conv2d(channels, channels, 1, groups=channels)
        self.norm, self.layer_norm, self.group_norm = (
            nn.BatchNorm2d(channels),
            nn.LayerNorm(channels),
            nn.GroupNorm(1, channels),
        )
        self.slope, self.scale = nn.PReLU(channels), nn.Parameter(torch.rand(channels, 1, 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        h = self.blocks(torch.relu(self.stem(x)))
        h = torch.cat([F.adaptive_avg_pool2d(x, 2), F.adaptive_avg_pool2d(h, 2)], dim=1)
        if self.join == "scale":
            h = h * self.scale
        elif self.join == "layer_norm":
            h = self.layer_norm(h.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        elif self.join != "nothing":
            h = getattr(self, self.join)(h)
        h = F.leaky_relu(self.hidden(h.mean((2, 3))))
        return [head(h) * self.logit_scale for head in self.heads]


def special_nets() -> st.SearchStrategy[Net]:
    """Networks with what is rarely seen: views of parameters, writing in place, constants, the input among features."""
    blocks = st.lists(st.sampled_from([*SPECIAL, *BLOCKS]), max_size=3)
    joins = st.sampled_from(["nothing", "scale", "norm", "layer_norm", "group_norm", "filter", "slope"])
    return st.builds(NetWithInput, blocks, joins, st.integers(0, 2**16))


def nets() -> st.SearchStrategy[Net]:
    """Networks of up to four random blocks."""
    return st.builds(
        Net,
        st.lists(st.sampled_from(BLOCKS), max_size=4),
        st.sampled_from(["mean", "view", "flatten"]),
        st.integers(0, 2**16),
    )
