"""Networks of torchvision and timm as trunks: the classifier removed, the features returned."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from agscl.extras import require

from .efficientnet import efficientnet_lite0
from .heads import Trunk

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
            trunk = _torchvision(network, pretrained=pretrained)
        case "timm":
            trunk = _timm(network, pretrained=pretrained)
        case "efficientnet-lite0":
            return efficientnet_lite0(pretrained=pretrained)
        case _:
            raise ValueError(f"a library's network is torchvision:NAME, timm:NAME or efficientnet-lite0, got {name!r}")
    training = trunk.training
    with torch.no_grad():
        features: Any = trunk.eval()(torch.zeros(1, 3, size, size))
    trunk.train(training)
    if not isinstance(features, Tensor) or features.ndim != FEATURE_DIMS:
        raise ValueError(f"{network} does not give one vector of features for each image")
    return Trunk(trunk, features.shape[1])


def _torchvision(name: str, *, pretrained: bool) -> nn.Module:
    """A classification network without its last linear layer."""
    models = require("torchvision.models", extra="vision")
    if name not in models.list_models(module=models):
        raise ValueError(f"torchvision has no classification network called {name!r}")
    network: nn.Module = models.get_model(name, weights="DEFAULT" if pretrained else None)
    linear = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError(f"torchvision's {name} does not end in a linear layer")
    network.set_submodule(linear[-1], nn.Identity())
    return network


def _timm(name: str, *, pretrained: bool) -> nn.Module:
    timm = require("timm", extra="timm")
    try:
        network: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=0)
    except RuntimeError as error:
        raise ValueError(f"timm cannot make {name!r}: {error}") from error
    return network
