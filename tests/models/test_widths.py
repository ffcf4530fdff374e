"""Networks of other widths: every layer grows by the same factor."""

import pytest
import torch

from agscl.benchmarks.options import LoadOptions
from agscl.experiments import preset_named
from agscl.models import AlexNet32, ConvNet, OmniglotNet
from agscl.models.mlp import scaled


def test_widths_are_rounded_and_never_empty():
    assert scaled((64, 3, 1), 0.5) == (32, 2, 1)
    assert scaled((64, 3, 1), 0.01) == (1, 1, 1)


@pytest.mark.parametrize(("network", "channels", "size"), [(ConvNet, 3, 32), (OmniglotNet, 1, 28), (AlexNet32, 3, 32)])
def test_every_layer_grows_by_the_factor(network, channels, size):
    plain, half = network(channels, size), network(channels, size, width=0.5)
    shapes = [[p.shape[0] for name, p in net.named_parameters() if name.endswith("weight")] for net in (plain, half)]
    assert shapes[1] == [width // 2 for width in shapes[0]]
    assert half(torch.zeros(2, channels, size, size)).shape == (2, half.num_features)


def test_a_preset_builds_its_network_at_any_width():
    preset = preset_named("digits")
    sequence = preset.sequence(0, LoadOptions(tasks=2))
    assert preset.model(sequence, 0.25).heads[0].in_features == 50
    with pytest.raises(ValueError, match="pretrained and has one width, got width 2"):
        preset_named("cub200-lite").model(sequence, 2.0)
