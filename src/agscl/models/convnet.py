"""The convolutional network of the paper's CIFAR experiments."""

from __future__ import annotations

from torch import Tensor, nn

from .mlp import scaled


class ConvNet(nn.Module):
    """Six 3x3 convolutions in three blocks, and one fully connected layer.

    Each block: two convolutions with ReLU, 2x2 max pooling, dropout. Widths 32, 64, 128; 256 features.

    Source: Jung et al. (2020), section 4.1 and its official code.

    Args:
        channels: Channels of the input images.
        size: Height and width of the input images; a multiple of 8.
        width: Factor of all widths.

    Raises:
        ValueError: If the size is not a multiple of 8.

    Attributes:
        num_features: Width of the output.

    Example:
        >>> from torch import zeros
        >>> ConvNet(width=0.25)(zeros(1, 3, 32, 32)).shape
        torch.Size([1, 64])
    """

    def __init__(self, channels: int = 3, size: int = 32, *, width: float = 1.0) -> None:
        super().__init__()
        if size < 1 or size % 8:
            raise ValueError(f"image size must be a multiple of 8 (three poolings by 2), got {size}")
        low, middle, high, self.num_features = scaled((32, 64, 128, 256), width)
        self.blocks = nn.Sequential(_block(channels, low), _block(low, middle), _block(middle, high))
        self.fc = nn.Linear(high * (size // 8) ** 2, self.num_features)
        self.act = nn.ReLU()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Features of shape ``(B, num_features)`` of images ``(B, channels, size, size)``."""
        features: Tensor = self.drop(self.act(self.fc(self.blocks(x).flatten(1))))
        return features


def _block(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
    )
