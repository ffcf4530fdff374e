"""The networks of the paper and of the 32x32 benchmarks: sizes, and that all of them can be protected."""

import pytest
import torch

from agscl.models import AlexNet32, MultiHead, OmniglotNet, ResNet18, efficientnet_lite0
from agscl.nodes import trace

SMALL = {
    "omniglot": (OmniglotNet, (1, 28, 28), 1024, 111_424),
    "alexnet": (AlexNet32, (3, 32, 32), 2048, 6_503_872),
    "resnet": (ResNet18, (3, 32, 32), 512, 11_168_832),
}


@pytest.mark.parametrize("name", SMALL)
def test_features_and_parameters_are_as_published(name):
    make, shape, features, parameters = SMALL[name]
    model = make()
    assert model(torch.randn(2, *shape)).shape == (2, features)
    assert model.num_features == features
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize("name", SMALL)
def test_nodes_are_found_in_every_layer(name):
    make, shape, features, _ = SMALL[name]
    model = MultiHead(make(), features, [3, 4]).eval()
    graph = trace(model, torch.randn(2, *shape), heads="heads")
    rows = {"omniglot": 4 * 64, "alexnet": 64 + 128 + 256 + 2 * 2048, "resnet": 64 * 3 + 128 * 3 + 256 * 3 + 512 * 3}
    assert sum(layer.num_nodes for layer in graph.layers) == rows[name]


def test_nodes_are_found_across_depthwise_convolutions_and_skips():
    trunk = efficientnet_lite0()
    model = MultiHead(trunk, trunk.num_features, [5]).eval()
    graph = trace(model, torch.randn(2, 3, 64, 64), heads="heads")
    wide = [16 * 6, 24 * 6, 24 * 6, 40 * 6, 40 * 6, *[80 * 6] * 3, *[112 * 6] * 3, *[192 * 6] * 4]
    joined = [32, 16, 24, 40, 80, 112, 192, 320, 1280]
    assert sum(layer.num_nodes for layer in graph.layers) == sum(wide) + sum(joined)


def test_other_image_sizes_are_possible_within_reason():
    assert OmniglotNet(3, 20)(torch.randn(2, 3, 20, 20)).shape == (2, 64 * 4)
    assert AlexNet32(1, 64)(torch.randn(2, 1, 64, 64)).shape == (2, 2048)
    with pytest.raises(ValueError, match="at least 16"):
        OmniglotNet(1, 15)
    with pytest.raises(ValueError, match="too small for AlexNet"):
        AlexNet32(3, 8)
