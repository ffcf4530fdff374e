"""The multi-head module and the trunks: shapes, and which heads are computed."""

import pytest
import torch
from torch import nn

from agscl.models import MLP, ConvNet, MultiHead


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MultiHead(MLP(12, (8, 6)), 6, [2, 3, 4])


def test_a_task_gets_the_logits_of_its_own_head(model):
    x = torch.randn(5, 3, 4)
    assert [tuple(logits.shape) for logits in model(x)] == [(5, 2), (5, 3), (5, 4)]
    for task, logits in enumerate(model(x)):
        assert torch.equal(model(x, task), logits)


def test_only_the_head_asked_for_is_computed(model):
    called = []
    for task, head in enumerate(model.heads):
        head.register_forward_hook(lambda *_, task=task: called.append(task))
    model(torch.randn(5, 12), 1)
    assert called == [1]


def test_only_the_head_asked_for_gets_a_gradient(model):
    model(torch.randn(5, 12), 2).sum().backward()
    assert [head.weight.grad is not None for head in model.heads] == [False, False, True]


@pytest.mark.parametrize("num_classes", [[], [2, 0]])
def test_a_task_without_classes_is_refused(num_classes):
    with pytest.raises(ValueError, match="at least one class"):
        MultiHead(nn.Flatten(), 4, num_classes)


def test_an_mlp_without_layers_is_refused():
    with pytest.raises(ValueError, match="at least one layer"):
        MLP(4, ())


@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 8)])
def test_the_convolutional_trunk_has_256_features(channels, size):
    assert ConvNet(channels, size)(torch.randn(2, channels, size, size)).shape == (2, 256)


def test_the_convolutional_trunk_is_the_papers():
    trunk = ConvNet()
    convolutions = [module for module in trunk.modules() if isinstance(module, nn.Conv2d)]
    assert [conv.out_channels for conv in convolutions] == [32, 32, 64, 64, 128, 128]
    assert trunk.fc.in_features == 2048
    assert [module.p for module in trunk.modules() if isinstance(module, nn.Dropout)] == [
        0.25,
        0.25,
        0.25,
        0.5,
    ]


def test_an_image_size_that_cannot_be_pooled_thrice_is_refused():
    with pytest.raises(ValueError, match="multiple of 8"):
        ConvNet(3, 28)
