r"""Hyper-parameters and accuracies that others published for the paper's benchmarks, in this library's conventions.

Sources. *AGS-CL*: the README of the official code (sangwon-jung94/AGS-CL). *CPR_CL*: the scripts of csm9493/CPR_CL, a
later code of the same group on the same networks. *CAF*: script_classification.sh of lywang3081/CAF, whose importance
passes are those of CPR_CL. *HAT*: Serra et al. (2018) and joansj/hat. *SI*: Zenke et al. (2017) and
ganguli-lab/pathint. *WSN*: Kang et al. (2022) and ihaeyong/WSN.

What those codes compute differs from what this library computes, so that some values are converted:

- EWC: both have :math:`\frac\lambda2 F d^2`. Theirs squares mean gradients of 20 samples, which near a minimum is a
  20th of the per-sample Fisher used here (measured: an 18th and a 19th), and merges tasks by a running mean:
  ``lam / 20`` and ``"running-mean"``.
- SI: the same penalty; CPR_CL damps with ``xi = 0.01``.
- MAS: theirs has half the penalty, of the length of the outputs instead of its square, summed over 20 samples before
  its magnitude is taken.
- RWalk: theirs does not scale importance to [0, 1], and damps with 0.01. Neither this nor MAS can be converted by a
  formula: the values are divided by what this library's importance is larger by, summed over all weights, as measured
  after 12 epochs of the first task of CIFAR-100 and 40 of Omniglot. They are a place to start from, not tuned values.
- AGS-CL, HAT, LwF, WSN: the same symbols mean the same.

For CUB-200, the published values of AGS-CL depend on what the network was trained on before: the official code, which
starts from ImageNet weights, has :math:`\lambda = 1.5, \mu = 0.5`; CAF has :math:`\lambda = 10^{-4}, \mu = 10^{-3}` for
its own split and network. Do not carry either over to another start: the first may freeze or zero everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agscl.experiments.codec import by_name
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

BATCHED = 20
"""Samples in a batch of the official importance passes."""


def official_ewc(lam: float) -> EWC:
    """EWC as in the official AGS-CL code, CPR_CL and HAT, with their ``lam``."""
    return EWC(lam=lam / BATCHED, merge="running-mean")


def official_mas(lam: float, *, larger: float) -> MAS:
    """About MAS as in CPR_CL, with its ``lam``, where importance here is ``larger`` times theirs."""
    return MAS(lam=lam / 2 / larger)


def official_rwalk(lam: float, *, larger: float) -> RWalk:
    """About RWalk as in CPR_CL, with its ``lam``, where importance here is ``larger`` times theirs."""
    return RWalk(lam=lam / larger)


AGS_CL: Mapping[str, AGSCL] = {
    # The commands in the README of the official code; eta is 0.9 in all of them.
    "cifar100": AGSCL(mu=10.0, lam=400.0, eta=0.9, rho=0.3),
    "cifar100-20": AGSCL(mu=10.0, lam=1600.0, eta=0.9, rho=0.3),  # CAF; for tasks that are superclasses: lam 3200
    "cifar10-100": AGSCL(mu=20.0, lam=7000.0, eta=0.9, rho=0.2),
    "omniglot": AGSCL(mu=7.0, lam=1000.0, eta=0.9, rho=0.5),
    "cub200": AGSCL(mu=0.5, lam=1.5, eta=0.9, rho=0.1),
}
"""AGS-CL by benchmark."""

BASELINES: Mapping[str, Mapping[str, AnyMethod]] = {
    "cifar100": by_name(
        official_ewc(12_000.0),  # CPR_CL, train_cifar.sh
        SI(c=1.0, xi=0.01),  # CPR_CL, train_cifar.sh
        official_mas(3.0, larger=24.0),  # CPR_CL, train_cifar.sh
        official_rwalk(8.0, larger=48.0),  # CPR_CL, train_cifar.sh
        HAT(gamma=0.75, smax=400.0),  # AGS-CL, arguments.py
        GatedAGSCL(first=0.5, more=0.055, begin=10, end=40, gain=1.6),  # found here
        PackNet(prune=0.75, train_epochs=67),  # 0.75 as in the paper; two thirds of the epochs, as there
        GPM(epsilon=0.97, increase=0.003),  # GPM, main_cifar100.py, on AlexNet with SGD
    ),
    "cifar100-short": by_name(
        official_ewc(12_000.0),  # as for cifar100, as the next four
        SI(c=1.0, xi=0.01),
        official_mas(3.0, larger=24.0),
        official_rwalk(8.0, larger=48.0),
        HAT(gamma=0.75, smax=400.0),
        GatedAGSCL(first=0.5, more=0.055, begin=2, end=8, gain=1.6),
        PackNet(prune=0.75, train_epochs=10),
        GPM(epsilon=0.97, increase=0.003),
    ),
    "cifar100-20": by_name(
        official_ewc(10_000.0),  # CAF, as the next three
        SI(c=10.0, xi=0.01),
        official_mas(4.0, larger=24.0),
        official_rwalk(6.0, larger=48.0),
    ),
    "cifar10-100": by_name(
        official_ewc(25_000.0),  # CPR_CL, train_cifar.sh
        SI(c=0.9, xi=0.01),  # CPR_CL, train_cifar.sh
        official_mas(1.0, larger=24.0),  # CPR_CL, train_cifar.sh
        official_rwalk(4.0, larger=48.0),  # CPR_CL, train_cifar.sh
        HAT(gamma=0.75, smax=400.0),  # AGS-CL, arguments.py
    ),
    "omniglot": by_name(
        official_ewc(100_000.0),  # CPR_CL, train_omniglot.sh
        SI(c=8.0, xi=0.01),  # CPR_CL, train_omniglot.sh
        official_mas(10.0, larger=200.0),  # CPR_CL, train_omniglot.sh
        official_rwalk(3_000.0, larger=66.0),  # CPR_CL, train_omniglot.sh
        HAT(gamma=0.75, smax=400.0),  # AGS-CL, arguments.py
    ),
    "cub200": by_name(HAT(gamma=0.75, smax=400.0)),  # AGS-CL, LargeScale_AGS/arguments.py
    "eight": by_name(
        official_ewc(5_000.0),  # HAT, approaches/ewc.py, best of its grid
        HAT(gamma=0.75, smax=400.0),  # HAT, section 4
    ),
    "split-mnist": by_name(SI(c=1.0, xi=0.001)),  # SI, section 5.1
    "permuted-mnist": by_name(
        EWC(lam=200.0),  # found here, on validation examples of a part of MNIST, as the next: docs/experiments.md
        SI(c=5.0, xi=0.1),  # SI, section 5.2, has c = 0.1, which was worse here
    ),
}
"""Other methods by benchmark."""

EVERYWHERE = by_name(
    LwF(lam=2.0, temperature=1.0),  # HAT, approaches/lwf.py: the best of its grid on the eight data sets
    WSN(c=0.5),  # WSN's scripts for CIFAR-100, which have 0.1 and 0.5
    Joint(),
    SingleTask(),
)
"""Methods that are compared on every benchmark, with the values that they were published with on some."""


def compared(ags_cl: AGSCL) -> dict[str, AnyMethod]:
    """What every preset compares: AGS-CL and fine-tuning."""
    return by_name(ags_cl, FineTuning())


def baselines(benchmark: str) -> dict[str, AnyMethod]:
    """Methods with published values for a benchmark, and those that are compared on every one."""
    return {**BASELINES.get(benchmark, {}), **EVERYWHERE}


@dataclass(frozen=True)
class PublishedAccuracy:
    """An average accuracy after the last task that others published, in percent.

    Attributes:
        preset: The benchmark.
        method: The method.
        percent: The figure.
        seeds: Over how many seeds.
        source: Where it stands.
        setting: What differs from the preset here, as far as it is known.
    """

    preset: str
    method: str
    percent: float
    seeds: str
    source: str
    setting: str


_OFFICIAL, _CPR = "README of the official code", "logs of csm9493/CPR_CL"
_AFEC, _AFEC_SETTING = "Wang et al. (2021), AFEC, table 5", "the same network, values tuned by them"
_AS_HERE, _RERUN = "the preset's network and values", "a later code of the same group, the same network"

ACCURACIES = (
    PublishedAccuracy("cifar100", "ags-cl", 64.2, "5", _OFFICIAL, _AS_HERE),
    PublishedAccuracy("cifar100", "fine-tuning", 35.8, "1", _CPR, _RERUN),
    PublishedAccuracy("cifar100", "ags-cl", 59.5, "1", _CPR, _RERUN),
    PublishedAccuracy("cifar100", "ewc", 60.0, "1", _CPR, _RERUN),
    PublishedAccuracy("cifar100", "si", 63.6, "1", _CPR, _RERUN),
    PublishedAccuracy("cifar100", "mas", 63.0, "1", _CPR, _RERUN),
    PublishedAccuracy("cifar100", "rwalk", 59.8, "1", _CPR, _RERUN),
    PublishedAccuracy("cifar100-20", "ags-cl", 70.0, "5", _AFEC, _AFEC_SETTING),
    PublishedAccuracy("cifar100-20", "ewc", 69.2, "5", _AFEC, _AFEC_SETTING),
    PublishedAccuracy("cifar100-20", "si", 69.2, "5", _AFEC, _AFEC_SETTING),
    PublishedAccuracy("cifar100-20", "mas", 69.4, "5", _AFEC, _AFEC_SETTING),
    PublishedAccuracy("cifar100-20", "rwalk", 66.9, "5", _AFEC, _AFEC_SETTING),
    PublishedAccuracy("cifar10-100", "ags-cl", 76.0, "5", _OFFICIAL, _AS_HERE),
    PublishedAccuracy("omniglot", "ags-cl", 82.2, "5", _OFFICIAL, _AS_HERE),
    PublishedAccuracy("omniglot", "ewc", 76.5, "5", _AFEC, "the same network, as far as is known"),
    PublishedAccuracy("cub200-paper", "ags-cl", 82.9, "5", _OFFICIAL, _AS_HERE),
)
"""Average accuracies by benchmark."""
