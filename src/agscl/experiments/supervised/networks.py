"""Networks by name: the library's, torchvision's and timm's; and one that fits where none is named."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from math import prod

import torch
from torch import nn

from agscl.benchmarks.task import TaskSequence
from agscl.extras import MissingExtraError, require
from agscl.models import MLP, AlexNet32, ConvNet, MultiHead, OmniglotNet, ResNet18, efficientnet_lite0, library_trunk
from agscl.models.mlp import scaled

WIDTHS = (400, 400)
"""Neurons of the layers of ``mlp``."""
IMAGE_DIMS = 3
SMALL, MEDIUM = 16, 96
"""Sides of images in pixels: up to the first an MLP fits, up to the second the paper's convolutional network."""

Shape = Sequence[int]
Build = Callable[[Shape, float], nn.Module]


def _square(network: Callable[..., nn.Module]) -> Build:
    def build(shape: Shape, width: float) -> nn.Module:
        if len(shape) != IMAGE_DIMS or shape[1] != shape[2]:
            raise ValueError(f"needs square images, these are {'x'.join(map(str, shape))}: resnet18 takes any")
        return network(shape[0], shape[1], width=width)

    return build


def _resnet18(shape: Shape, width: float) -> nn.Module:
    _require_plain(width)
    if len(shape) != IMAGE_DIMS or min(shape[1:]) < 8:  # noqa: PLR2004
        raise ValueError(f"needs images of 8 pixels at least, these are {'x'.join(map(str, shape))}")
    return ResNet18(shape[0])


def _efficientnet(shape: Shape, width: float) -> nn.Module:
    _require_plain(width)
    return efficientnet_lite0(pretrained=False)


OWN: Mapping[str, Build] = {
    "mlp": lambda shape, width: MLP(prod(shape), scaled(WIDTHS, width)),
    "convnet": _square(ConvNet),
    "omniglot-net": _square(OmniglotNet),
    "alexnet32": _square(AlexNet32),
    "resnet18": _resnet18,
    "efficientnet-lite0": _efficientnet,
}
"""The library's networks."""


def fitting(shape: Shape) -> str:
    """Name of a network that fits inputs of a shape, where none is named.

    >>> fitting((20,)), fitting((1, 8, 8)), fitting((3, 64, 64)), fitting((3, 224, 224))
    ('mlp', 'mlp', 'convnet', 'resnet18')
    """
    if len(shape) != IMAGE_DIMS or min(shape[1:]) < 8 or max(shape[1:]) <= SMALL:  # noqa: PLR2004
        return "mlp"
    return "convnet" if shape[1] == shape[2] <= MEDIUM and shape[1] % 8 == 0 else "resnet18"


def canonical(name: str) -> str:
    """The full name of a network: of the library's, or ``torchvision:NAME`` or ``timm:NAME``.

    A plain name is looked for in the library, then in torchvision, then in timm.

    Raises:
        ValueError: If there is no such network; names those that are alike.
    """
    library, colon, plain = name.partition(":")
    if name in OWN:
        return name
    known = {package: names for package in ("torchvision", "timm") if (names := _names(package)) is not None}
    if colon:
        if library not in ("torchvision", "timm"):
            raise ValueError(f"a network is one of {', '.join(OWN)}, torchvision:NAME or timm:NAME, not {name!r}")
        if library not in known:
            raise MissingExtraError(f"{library} is needed here: pip install 'agscl[{_EXTRA[library]}]'")
        found = name if plain in known[library] else None
    else:
        plain = name
        found = next((f"{package}:{name}" for package, names in known.items() if name in names), None)
    if found is None:
        alike = difflib.get_close_matches(plain, [*OWN, *(other for names in known.values() for other in names)], 3)
        hint = f"did you mean {' or '.join(alike)}?" if alike else f"there are {', '.join(OWN)}, and all of timm's"
        raise ValueError(f"no network is called {name!r}: {hint}")
    return found


_EXTRA = {"torchvision": "vision", "timm": "timm"}


def _names(package: str) -> Sequence[str] | None:
    """Names of a package's networks; `None` if it is not installed."""
    try:
        if package == "timm":
            return list(require("timm", extra="timm").list_models())
        models = require("torchvision.models", extra="vision")
        return list(models.list_models(module=models))
    except MissingExtraError:
        return None


def _require_plain(width: float) -> None:
    if width != 1:
        raise ValueError(f"has one width, so no --width {width:g}")


def headed(name: str) -> Callable[[TaskSequence, float], MultiHead]:
    """What builds a network of that full name with a head for each task; raises a `ValueError` if it does not fit."""

    def build(sequence: TaskSequence, width: float = 1.0) -> MultiHead:
        shape = sequence.input_shape
        try:
            if name in OWN:
                trunk = OWN[name](shape, width)
            else:
                _require_plain(width)
                if len(shape) != IMAGE_DIMS or shape[0] != IMAGE_DIMS or shape[1] != shape[2]:
                    raise ValueError(f"needs square colour images, these are {'x'.join(map(str, shape))}")
                trunk = library_trunk(name, size=shape[1])
            training = trunk.training
            with torch.no_grad():
                trunk.eval()(torch.zeros(1, *shape))
            trunk.train(training)
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"network {name}: {reason}") from error
        return MultiHead(trunk, int(getattr(trunk, "num_features")), sequence.num_classes)  # noqa: B009 - no type has it

    return build
