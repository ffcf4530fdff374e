"""Presets: tasks, network, training, and each method's tuned hyper-parameters, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod

from agscl.benchmarks.digits import digits, permuted_digits
from agscl.benchmarks.options import LoadOptions
from agscl.benchmarks.sequences import (
    EIGHT,
    cifar10_100,
    cifar100,
    cub200,
    eight,
    omniglot,
    permuted_mnist,
    split_mnist,
)
from agscl.benchmarks.task import TaskSequence
from agscl.experiments import outside
from agscl.experiments.codec import by_name
from agscl.experiments.kind import AnyPreset
from agscl.methods import (
    AGSCL,
    EWC,
    GPM,
    HAT,
    MAS,
    SI,
    WSN,
    AnyMethod,
    FineTuning,
    GatedAGSCL,
    Joint,
    LwF,
    PackNet,
    RWalk,
    SingleTask,
)
from agscl.models import MLP, AlexNet32, ConvNet, MultiHead, OmniglotNet, Trunk, alexnet224, efficientnet_lite0
from agscl.models.mlp import scaled
from agscl.training import Training

from .published import AGS_CL, baselines, compared

Sequence = Callable[[int, LoadOptions], TaskSequence]
Network = MLP | ConvNet | OmniglotNet | AlexNet32 | Trunk
Build = Callable[[TaskSequence, float], MultiHead]


@dataclass(frozen=True)
class Preset(AnyPreset):
    """A preset of data sets.

    Attributes:
        sequence: The tasks drawn by a seed, as much of them as the options say.
        model: An untrained network with a head for each of them, all its widths multiplied with a factor; a pretrained
            network refuses all but 1.
        training: How each task is trained.
        data: Names of the data sets it needs.
    """

    description: str
    sequence: Sequence
    model: Build
    training: Training
    methods: Mapping[str, AnyMethod]
    data: tuple[str, ...] = ()
    threads: int | None = None
    baselines: Mapping[str, AnyMethod] = field(default_factory=dict)

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of its data sets."""
        return self.data


def supervised_preset(name: str) -> Preset:
    """The preset of that name; a `ValueError` lists the names if there is none."""
    if name in SUPERVISED_PRESETS:
        return SUPERVISED_PRESETS[name]
    if name in outside.offered(outside.PRESETS) and isinstance(preset := outside.load(outside.PRESETS, name), Preset):
        return preset
    raise ValueError(f"unknown preset {name!r} of data sets; there are: {', '.join(SUPERVISED_PRESETS)}")


SEVEN = tuple(name for name in EIGHT if name != "facescrub")


def _headed(build: Callable[[TaskSequence, float], Network]) -> Build:
    """A network with a head for each task."""

    def headed(sequence: TaskSequence, width: float = 1.0) -> MultiHead:
        network = build(sequence, width)
        return MultiHead(network, network.num_features, sequence.num_classes)

    return headed


def _mlp(*widths: int) -> Build:
    return _headed(lambda sequence, width: MLP(prod(sequence.input_shape), scaled(widths, width)))


def _of_images(network: type[ConvNet | OmniglotNet | AlexNet32]) -> Build:
    return _headed(lambda sequence, width: network(sequence.input_shape[0], sequence.input_shape[1], width=width))


def _augmented(sequence: Sequence) -> Sequence:
    return lambda seed, options: sequence(seed, replace(options, augment=True))


def _as_pretrained(build: Callable[[], Trunk]) -> Build:
    def pretrained(sequence: TaskSequence, width: float) -> Trunk:
        if width != 1:
            raise ValueError(f"the preset's network is pretrained and has one width, got width {width:g}")
        return build()

    return _headed(pretrained)


def _alexnet() -> Trunk:
    try:
        return alexnet224(pretrained=True)
    except OSError as error:
        raise ValueError(
            f"AlexNet's ImageNet weights could not be downloaded ({error}); the preset cub200-lite needs no download"
        ) from error


CONV_NET, OMNIGLOT_NET, ALEX_NET_32 = _of_images(ConvNet), _of_images(OmniglotNet), _of_images(AlexNet32)
ALEX_NET_224 = _as_pretrained(_alexnet)
EFFICIENT_NET = _as_pretrained(lambda: efficientnet_lite0(pretrained=True))

PAPER = Training(epochs=100, batch_size=256, learning_rate=1e-3)
"""Everywhere but on CUB-200: the defaults of the official code's arguments.py."""

CUB = Training(
    # Jung et al. (2020) by their official code, LargeScale_AGS: SGD with momentum 0.9 in main.py, 40 epochs of batches
    # of 64 with rate 0.005, a tenth of it from epoch 31 on. It has no validation examples and keeps the last weights.
    epochs=40,
    batch_size=64,
    learning_rate=0.005,
    optimizer="sgd",
    momentum=0.9,
    milestones=(30,),
    decay=10.0,
)


# What a sweep chose, 12 trials a method on the first three tasks of four seeds: results/digits/best.json.
DIGITS_AGS_CL = AGSCL(mu=1.15, lam=64.0, rho=0.2)

DIGITS_BASELINES = by_name(
    EWC(lam=3.29e8),  # so strong because the Fisher information vanishes with the training loss
    SI(c=40.0, xi=0.01),
    RWalk(lam=9.39),
    MAS(lam=0.726),
    HAT(gamma=0.48, smax=99.4),
    LwF(lam=1.13, temperature=2.0),
    WSN(c=0.0779),
    GatedAGSCL(first=0.466, more=0.0288, begin=5, end=20, gain=1.36),
    PackNet(prune=0.556, train_epochs=25),
    GPM(epsilon=0.915, increase=0.0),
    Joint(),
    SingleTask(),
)

CIFAR100 = Preset(
    description="10 tasks of 10 classes",
    sequence=partial(cifar100, shuffle_classes=False),  # consecutive classes, as in the official code
    model=CONV_NET,
    training=PAPER,
    methods=compared(AGS_CL["cifar100"]),
    data=("cifar100",),
    baselines=baselines("cifar100"),
)

CUB200 = Preset(
    description="10 tasks of 20 birds; AlexNet from ImageNet; the official split",
    sequence=_augmented(cub200),  # classes are shuffled, as in the official code
    model=ALEX_NET_224,
    training=CUB,
    methods=compared(AGS_CL["cub200"]),
    data=("cub200",),
    baselines=baselines("cub200"),
)

EIGHT_SETS = Preset(
    description="8 data sets, a task each, all as 32x32 colour images",
    sequence=eight,
    model=ALEX_NET_32,
    training=PAPER,
    methods=compared(AGS_CL["cifar100"]),  # not published for this benchmark
    data=EIGHT,
    baselines=baselines("eight"),
)

SUPERVISED_PRESETS: Mapping[str, Preset] = {
    "digits": Preset(
        description="5 tasks of 2 digits each; scikit-learn's 8x8 images",
        sequence=digits,
        model=_mlp(200, 200, 200),
        training=Training(epochs=40, batch_size=32),
        methods=compared(DIGITS_AGS_CL),
        threads=1,
        baselines=DIGITS_BASELINES,
    ),
    "permuted-digits": Preset(
        description="10 tasks of all 10 digits, each with its own order of the pixels; the same images",
        sequence=permuted_digits,
        model=_mlp(400, 400),
        training=Training(epochs=40, batch_size=64),
        methods={"ags-cl": AGSCL(mu=10.0, lam=40.0), "fine-tuning": FineTuning()},
        threads=1,
        baselines=baselines("permuted-digits"),
    ),
    "split-mnist": Preset(
        description="5 tasks of 2 digits each",
        sequence=split_mnist,
        model=_mlp(256, 256),  # this and the training: Zenke et al. (2017), section 5.1
        training=Training(epochs=10, batch_size=64),
        methods=compared(AGSCL(mu=10.0, lam=400.0)),  # not published: as on digits
        data=("mnist",),
        baselines=baselines("split-mnist"),
    ),
    "permuted-mnist": Preset(
        description="10 tasks of all 10 digits, each with its own order of the pixels",
        sequence=permuted_mnist,
        model=_mlp(2000, 2000),  # this and the training: Zenke et al. (2017), section 5.2
        training=Training(epochs=20, batch_size=256),
        methods=compared(AGSCL(mu=10.0, lam=40.0)),  # not published: as on permuted digits
        data=("mnist",),
        baselines=baselines("permuted-mnist"),
    ),
    "cifar100": CIFAR100,
    "cifar100-short": replace(
        CIFAR100,
        description="the same 10 tasks of 10 classes in 15 epochs each: for comparisons on small machines",
        training=replace(PAPER, epochs=15),
        baselines=baselines("cifar100-short"),
    ),
    "cifar100-20": replace(
        CIFAR100,
        description="20 tasks of 5 classes",
        sequence=partial(cifar100, num_tasks=20, shuffle_classes=False),
        methods=compared(AGS_CL["cifar100-20"]),
        baselines=baselines("cifar100-20"),
    ),
    "cifar10-100": Preset(
        description="CIFAR-10, then 10 tasks of 10 classes of CIFAR-100",
        sequence=partial(cifar10_100, shuffle_classes=False),
        model=CONV_NET,
        training=PAPER,
        methods=compared(AGS_CL["cifar10-100"]),
        data=("cifar10", "cifar100"),
        baselines=baselines("cifar10-100"),
    ),
    "omniglot": Preset(
        description="50 alphabets, a task each, 14 to 55 characters",
        sequence=omniglot,
        model=OMNIGLOT_NET,
        training=PAPER,
        methods=compared(AGS_CL["omniglot"]),
        data=("omniglot",),
        baselines=baselines("omniglot"),
    ),
    "cub200": CUB200,
    "cub200-paper": replace(
        CUB200,
        description="the same with 80 % of the images for training, as the paper has it",
        sequence=_augmented(partial(cub200, split="paper")),
    ),
    "cub200-lite": replace(
        CUB200,  # AGS-CL's values are published for AlexNet only
        description="the same birds; EfficientNet-Lite0, whose ImageNet weights come as a package",
        model=EFFICIENT_NET,
        baselines=baselines("cub200-lite"),
    ),
    "eight": EIGHT_SETS,
    "seven": replace(
        EIGHT_SETS,  # the baselines' values are published for all eight
        description="the same without FaceScrub, whose images are hard to come by",
        sequence=partial(eight, sets=SEVEN),
        data=SEVEN,
    ),
}
