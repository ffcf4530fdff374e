"""Networks of torchvision and timm as trunks: the classifier removed, the features returned."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from agscl.extras import require

from .efficientnet import efficientnet_lite0
from .trunk import Trunk

EXAMPLE_SIDE = 224
FEATURE_DIMS = 2


def library_trunk(name: str, *, pretrained: bool = False, size: int = EXAMPLE_SIDE) -> Trunk:
    """Any network of torchvision or timm by name.

    Args:
        name: ``"torchvision:resnet50"``, ``"timm:resnet26"``, or ``"efficientnet-lite0"``.
        pretrained: Start from the library's ImageNet weights (a download, except for EfficientNet-Lite0).
        size: Side in pixels of images that the network accepts, to find its number of features.

    Raises:
        ValueError: If there is no such network, it has no linear classifier to take off, or its library is
            not installed.

    Example:
        >>> library_trunk("efficientnet-lite0").num_features
        1280
    """
    library, _, network = name.partition(":")
    match library:
        case "torchvision":
            return torchvision_trunk(network, pretrained=pretrained, size=size)
        case "timm":
            return timm_trunk(network, pretrained=pretrained, size=size)
        case "efficientnet-lite0":
            return efficientnet_lite0(pretrained=pretrained)
    raise ValueError(f"a library's network is torchvision:NAME, timm:NAME or efficientnet-lite0, got {name!r}")


def torchvision_trunk(name: str, *, pretrained: bool = False, size: int = EXAMPLE_SIDE) -> Trunk:
    """A classification network of torchvision without its last linear layer.

    Args:
        name: Torchvision's name of the network.
        pretrained: Start from ImageNet weights.
        size: As in `library_trunk`.

    Raises:
        ValueError: As `library_trunk`.
    """
    models = require("torchvision.models", extra="vision")
    if name not in models.list_models(module=models):
        raise ValueError(f"torchvision has no classification network called {name!r}")
    network = models.get_model(name, weights="DEFAULT" if pretrained else None)
    linear = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError(f"torchvision's {name} does not end in a linear layer")
    network.set_submodule(linear[-1], nn.Identity())
    return _measured(name, network, size)


def timm_trunk(name: str, *, pretrained: bool = False, size: int = EXAMPLE_SIDE) -> Trunk:
    """A network of timm without its classifier.

    Args:
        name: timm's name of the network.
        pretrained: Start from timm's default weights.
        size: As in `library_trunk`.

    Raises:
        ValueError: As `library_trunk`.
    """
    timm = require("timm", extra="timm")
    try:
        network = timm.create_model(name, pretrained=pretrained, num_classes=0)
    except RuntimeError as error:
        raise ValueError(f"timm cannot make {name!r}: {error}") from error
    return _measured(name, network, size)


def _measured(name: str, network: nn.Module, size: int) -> Trunk:
    """Find the number of features by looking at those of an example."""
    training = network.training
    with torch.no_grad():
        features: Any = network.eval()(torch.zeros(1, 3, size, size))
    network.train(training)
    if not isinstance(features, Tensor) or features.ndim != FEATURE_DIMS:
        raise ValueError(f"{name} does not give one vector of features for each image")
    return Trunk(network, features.shape[1])
