"""A second opinion: Torch-Pruning finds the same groups of coupled channels."""

import pytest
import torch
from torch import nn

from agscl.nodes import trace

torchvision = pytest.importorskip("torchvision")
tp = pytest.importorskip("torch_pruning")


def our_groups(model: nn.Module, x: torch.Tensor) -> set[frozenset[str]]:
    """For every layer of nodes the modules whose weights come into them or norm them."""
    return {
        frozenset(piece.parameter.rpartition(".")[0] for piece in layer.incoming) for layer in trace(model, x).layers
    }


def their_groups(model: nn.Module, x: torch.Tensor, head: nn.Module) -> set[frozenset[str]]:
    """The same, by Torch-Pruning: modules whose outputs must be pruned together."""
    dependencies = tp.DependencyGraph().build_dependency(model, example_inputs=x)
    names = {module: name for name, module in model.named_modules()}
    kinds = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
    groups = set()
    for group in dependencies.get_all_groups(ignored_layers=[head], root_module_types=[nn.Conv2d, nn.Linear]):
        members = [
            item.dep.target.module for item in group if "out" in item.dep.handler.__name__
            if isinstance(item.dep.target.module, kinds)
        ]  # fmt: skip
        groups.add(frozenset(names[module] for module in members))
    return groups


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "head"),
    [("alexnet", "classifier.6"), ("vgg11_bn", "classifier.6"), ("resnet18", "fc"), ("mobilenet_v2", "classifier.1")],
)
def test_groups_agree_with_torch_pruning(name: str, head: str) -> None:
    model = getattr(torchvision.models, name)(weights=None).eval()
    x = torch.randn(1, 3, 64, 64)
    assert our_groups(model, x) == their_groups(model, x, model.get_submodule(head))
