"""AlexNet twice: small, for 32x32 images, and as torchvision has it, for photographs."""

from __future__ import annotations

from torch import Tensor, nn

from .heads import Trunk
from .library import library_trunk
from .mlp import scaled


class AlexNet32(nn.Module):
    """Three convolutions (64, 128, 256 channels) and two fully connected layers of 2,048.

    Source: Serra et al. (2018), HAT, whose sequence of eight data sets and network the paper takes over.

    Args:
        channels: Channels of the input images.
        size: Height and width of the input images, at least 30.
        width: Factor of all widths.

    Raises:
        ValueError: If the images are too small.

    Attributes:
        num_features: Width of the output.

    Example:
        >>> from torch import zeros
        >>> AlexNet32(width=0.125)(zeros(1, 3, 32, 32)).shape
        torch.Size([1, 256])
    """

    def __init__(self, channels: int = 3, size: int = 32, *, width: float = 1.0) -> None:
        super().__init__()
        first, second = size // 8, size // 10
        side = size
        for kernel in (first, second, 2):
            side = (side - kernel + 1) // 2
        if second < 1 or side < 1:
            raise ValueError(f"images of {size} pixels are too small for AlexNet")
        low, middle, high, self.num_features = scaled((64, 128, 256, 2048), width)
        self.convolutions = nn.Sequential(
            _block(channels, low, kernel=first, drop=0.2),
            _block(low, middle, kernel=second, drop=0.2),
            _block(middle, high, kernel=2, drop=0.5),
        )
        self.layers = nn.Sequential(
            nn.Flatten(),
            *_layer(high * side**2, self.num_features),
            *_layer(self.num_features, self.num_features),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features of shape ``(B, num_features)`` of images ``(B, channels, size, size)``."""
        features: Tensor = self.layers(self.convolutions(x))
        return features


def alexnet224(*, pretrained: bool = True) -> Trunk:
    """AlexNet for 224x224 photographs, 4,096 features, as in the paper's CUB-200 experiment.

    Torchvision's ImageNet weights are a download of 233 MB, kept by torch.

    Args:
        pretrained: Start from torchvision's ImageNet weights (a download of 233 MB, kept by torch).
    """
    return library_trunk("torchvision:alexnet", pretrained=pretrained)


def _block(channels: int, width: int, *, kernel: int, drop: float) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, kernel_size=kernel), nn.ReLU(), nn.Dropout(drop), nn.MaxPool2d(2))


def _layer(inputs: int, outputs: int) -> tuple[nn.Linear, nn.ReLU, nn.Dropout]:
    return nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(0.5)
