"""The networks of the paper, those of torchvision and timm, and multi-head modules for many tasks."""

from .alexnet import AlexNet32 as AlexNet32
from .alexnet import alexnet224 as alexnet224
from .convnet import ConvNet as ConvNet
from .efficientnet import efficientnet_lite0 as efficientnet_lite0
from .heads import MultiHead as MultiHead
from .heads import Trunk as Trunk
from .library import library_trunk as library_trunk
from .mlp import MLP as MLP
from .omniglot import OmniglotNet as OmniglotNet
from .resnet import ResNet18 as ResNet18
