"""ResNet-18 for 32x32 images."""

from __future__ import annotations

from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512)


class ResNet18(nn.Module):
    """Eight residual blocks of two 3x3 convolutions with batch normalisation.

    The stem is one 3x3 convolution without pooling, as is usual for CIFAR.

    Source: He et al. (2016), sections 3.3 and 4.2.

    Args:
        channels: Channels of the input images, of any height and width from 8 up.

    Attributes:
        num_features: Width of the output.

    Example:
        >>> from torch import zeros
        >>> ResNet18()(zeros(1, 3, 32, 32)).shape
        torch.Size([1, 512])
    """

    num_features = WIDTHS[-1]

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_normalised(channels, WIDTHS[0], kernel=3, stride=1), nn.ReLU())
        inputs = (WIDTHS[0], *WIDTHS[:-1])
        self.blocks = nn.Sequential(
            *(
                block
                for stage, (narrow, wide) in enumerate(zip(inputs, WIDTHS, strict=True))
                for block in (Block(narrow, wide, stride=2 if stage else 1), Block(wide, wide, stride=1))
            )
        )
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        """Features of shape ``(B, 512)`` of images ``(B, channels, H, W)``."""
        features: Tensor = self.pool(self.blocks(self.stem(x))).flatten(1)
        return features


class Block(nn.Module):
    """Two convolutions whose result is added to the input.

    Args:
        narrow: Channels of the input.
        wide: Channels of the output.
        stride: Stride of the first convolution; where it is not 1, the input is projected to fit.
    """

    def __init__(self, narrow: int, wide: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *_normalised(narrow, wide, kernel=3, stride=stride),
            nn.ReLU(),
            *_normalised(wide, wide, kernel=3, stride=1),
        )
        fits = stride == 1 and narrow == wide
        self.skip = nn.Identity() if fits else nn.Sequential(*_normalised(narrow, wide, kernel=1, stride=stride))
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(B, wide, H / stride, W / stride)`` of images ``(B, narrow, H, W)``."""
        result: Tensor = self.act(self.residual(x) + self.skip(x))
        return result


def _normalised(narrow: int, wide: int, *, kernel: int, stride: int) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    convolution = nn.Conv2d(narrow, wide, kernel, stride=stride, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(wide)
