"""The convolutional network of the paper's Omniglot experiment."""

from __future__ import annotations

from torch import Tensor, nn

from .mlp import scaled

WIDTH = 64


class OmniglotNet(nn.Module):
    """Four 3x3 convolutions of 64 channels without padding, 2x2 max pooling behind each pair.

    Source: Jung et al. (2020), section 4.1 ("4 convolution layers as in [31]"), as in the code of UCL (Ahn et
    al., 2019): 28x28 images give 4 x 4 x 64 = 1,024 features, on which the heads sit directly.

    Args:
        channels: Channels of the input images.
        size: Height and width of the input images, at least 16.
        width: Factor of the number of channels.

    Raises:
        ValueError: If the images are too small.

    Attributes:
        num_features: Width of the output.

    Example:
        >>> from torch import zeros
        >>> OmniglotNet()(zeros(1, 1, 28, 28)).shape
        torch.Size([1, 1024])
    """

    def __init__(self, channels: int = 1, size: int = 28, *, width: float = 1.0) -> None:
        super().__init__()
        side = ((size - 4) // 2 - 4) // 2
        if side < 1:
            raise ValueError(f"images of {size} pixels are too small, at least 16 are needed")
        (inner,) = scaled((WIDTH,), width)
        self.blocks = nn.Sequential(_block(channels, inner), _block(inner, inner))
        self.num_features = inner * side**2

    def forward(self, x: Tensor) -> Tensor:
        """Features of shape ``(B, num_features)`` of images ``(B, channels, size, size)``."""
        features: Tensor = self.blocks(x).flatten(1)
        return features


def _block(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, kernel_size=3),
        nn.ReLU(),
        nn.Conv2d(width, width, kernel_size=3),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )
