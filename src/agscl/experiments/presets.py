"""Presets: tasks, network, training, and each method's tuned hyper-parameters, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod

from agscl.benchmarks.digits import digits, permuted_digits
from agscl.benchmarks.task import TaskSequence
from agscl.methods import AGSCL, EWC, HAT, MAS, SI, WSN, AnyMethod, FineTuning, Joint, LwF, RWalk, SingleTask
from agscl.models import MLP, MultiHead
from agscl.training import Training


@dataclass(frozen=True)
class Preset:
    """All of an experiment but the method and the seed.

    Attributes:
        description: One line.
        sequence: The tasks drawn by a seed.
        model: An untrained network for them.
        training: How each task is trained.
        methods: Tuned methods by name; those compared when no method is chosen.
        baselines: Other tuned methods by name; `agscl compare` runs these too.
        threads: CPU threads while it runs (small networks are fastest on one); `None` leaves PyTorch's choice.
    """

    description: str
    sequence: Callable[[int], TaskSequence]
    model: Callable[[TaskSequence], MultiHead]
    training: Training
    methods: Mapping[str, AnyMethod]
    threads: int | None = None
    baselines: Mapping[str, AnyMethod] = field(default_factory=dict)

    @property
    def tuned(self) -> dict[str, AnyMethod]:
        """All tuned methods by name."""
        return {**self.methods, **self.baselines}


def preset_named(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ValueError: If there is none.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; there are: {', '.join(PRESETS)}")
    return PRESETS[name]


def _mlp(*widths: int) -> Callable[[TaskSequence], MultiHead]:
    def build(sequence: TaskSequence) -> MultiHead:
        return MultiHead(MLP(prod(sequence.input_shape), widths), widths[-1], sequence.num_classes)

    return build


def _baselines() -> dict[str, AnyMethod]:
    """The baselines of the digits presets, each with the best of a few values for seed 0."""
    methods = (EWC(lam=1000.0), SI(c=3.0), RWalk(lam=10.0), MAS(lam=1.0), HAT(), LwF(), WSN(), Joint(), SingleTask())
    return {method.name: method for method in methods}


PRESETS: Mapping[str, Preset] = {
    "digits": Preset(
        description="5 tasks of 2 digits each; scikit-learn's 8x8 images",
        sequence=digits,
        model=_mlp(200, 200, 200),
        training=Training(epochs=40, batch_size=32),
        methods={"ags-cl": AGSCL(mu=10.0, lam=400.0), "fine-tuning": FineTuning()},
        threads=1,
        baselines=_baselines(),
    ),
    "permuted-digits": Preset(
        description="10 tasks of all 10 digits, each with its own order of the pixels; the same images",
        sequence=permuted_digits,
        model=_mlp(400, 400),
        training=Training(epochs=40, batch_size=64),
        methods={"ags-cl": AGSCL(mu=10.0, lam=40.0), "fine-tuning": FineTuning()},
        threads=1,
    ),
}
