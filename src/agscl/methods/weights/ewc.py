"""EWC: elastic weight consolidation, Kirkpatrick et al. (PNAS 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from agscl.methods.method import Network, check_range
from agscl.methods.space import LogUniform, Space

from .consolidated_penalty import MeasuredPenalty, Merge, accumulate, average, separate
from .fisher import KINDS, Kind, fisher_diagonal


@dataclass(frozen=True)
class EWC:
    r"""Elastic weight consolidation: :math:`\frac\lambda2 \sum_t \sum_i F_{t,i} (\theta_i - \theta_{t,i})^2`.

    Source: Kirkpatrick et al. (2017), equation (3); one penalty for each task, kept as one. Online: Schwarz et al.,
    "Progress & Compress" (2018), section 3.2: the last weights are the only anchor, and the past Fisher decays.

    Attributes:
        lam: Strength of the penalty; ``inf`` freezes every weight with a positive Fisher information.
        online: Keep one Fisher with the last weights as its anchor instead of one penalty for each task.
        decay: What the past Fisher is multiplied with when a task is added; for ``online`` only.
        merge: ``"sum"`` of the tasks' Fisher, or their ``"running-mean"`` with the last weights as the anchor, as in
            the official AGS-CL code.
        fisher: Which Fisher, see `agscl.methods.weights.fisher.fisher_diagonal`.

    >>> EWC(lam=400.0, decay=0.9)
    Traceback (most recent call last):
    ValueError: decay applies to online=True only
    """

    name: ClassVar[str] = "ewc"
    # published, per sample: 250 to 5000; 1e9 on small networks, whose Fisher vanishes with the training loss
    space: ClassVar[Space] = {"lam": LogUniform(1e2, 1e10)}
    lam: float
    online: bool = False
    decay: float = 1.0
    merge: Literal["sum", "running-mean"] = "sum"
    fisher: Kind = "empirical"

    def __post_init__(self) -> None:
        check_range("lam", self.lam, low=0)
        check_range("decay", self.decay, low=0, high=1)
        if self.fisher not in KINDS:
            raise ValueError(f"fisher must be one of {', '.join(KINDS)}, not {self.fisher!r}")
        if self.merge not in ("sum", "running-mean"):
            raise ValueError(f"merge must be 'sum' or 'running-mean', not {self.merge!r}")
        if self.online and self.merge == "running-mean":
            raise ValueError("merge='running-mean' has no decay to apply; choose it or online=True, not both")
        if self.decay != 1 and not self.online:
            raise ValueError("decay applies to online=True only")

    def protect(self, network: Network) -> MeasuredPenalty:
        """A protection of the network, with nothing learned yet."""
        merge: Merge = partial(accumulate, decay=self.decay) if self.online else separate
        if self.merge == "running-mean":
            merge = average
        return MeasuredPenalty(network, self.lam / 2, partial(fisher_diagonal, kind=self.fisher), merge)
