"""What each number is: its title, its unit, which direction is better, its formula and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """How a number reads.

    Attributes:
        title: For a table's head or an axis.
        higher_is_better: Whether more is better; `None` where neither is.
        unit: "share" for a number in [0, 1] that is shown in percent, "ratio" for one around 1, or a real unit.
        formula: In LaTeX; `R` is the accuracy matrix, `A*` the reference.
        source: Who defined it.
    """

    title: str
    higher_is_better: bool | None
    unit: str
    formula: str
    source: str

    @property
    def in_percent(self) -> bool:
        """Whether the number is shown in percent."""
        return self.unit in ("share", "ratio")


_PAPER = "Jung et al. (2020), section 4.1"

MEASURES: Mapping[str, Measure] = {
    "average_accuracy": Measure(
        "average accuracy", True, "share", r"\frac1T \sum_j R_{Tj}", "Lopez-Paz & Ranzato (2017), ACC"
    ),
    "learning_accuracy": Measure(
        "learning accuracy", True, "share", r"\frac1T \sum_i R_{ii}", "Riemer et al. (2019), LA"
    ),
    "forgetting": Measure(
        "forgetting",
        False,
        "share",
        r"\frac1{T-1} \sum_{j<T} (\max_{l<T} R_{lj} - R_{Tj})",
        "Chaudhry et al. (2018), F",
    ),
    "backward_transfer": Measure(
        "backward transfer",
        True,
        "share",
        r"\frac1{T-1} \sum_{i<T} (R_{Ti} - R_{ii})",
        "Lopez-Paz & Ranzato (2017), BWT",
    ),
    "forward_transfer": Measure(
        "forward transfer",
        True,
        "share",
        r"\frac1{T-1} \sum_{i \ge 2} (R_{i-1,i} - b_i)",
        "Lopez-Paz & Ranzato (2017), FWT",
    ),
    "plasticity": Measure("plasticity", True, "ratio", r"\frac1T \sum_i R_{ii} / A^*_i", f"{_PAPER}, P"),
    "stability": Measure("stability", True, "ratio", r"\frac1T \sum_j R_{Tj} / \max_{i \ge j} R_{ij}", f"{_PAPER}, S"),
    "intransigence": Measure(
        "intransigence",
        False,
        "share",
        r"\frac1T \sum_k (A^*_k - R_{kk})",
        "Chaudhry et al. (2018), I, mean over tasks",
    ),
    "sparsity": Measure("sparsity", None, "share", r"|G_0^t| / |G|", f"{_PAPER}, analysis 2"),
    "used_capacity": Measure(
        "used capacity",
        None,
        "share",
        r"|\{n : \|\hat\theta_n^{(t)} - \hat\theta_n^{(t-1)}\|_2 = 0\}| / |G|",
        f"{_PAPER}, analysis 2",
    ),
    "regularization_bytes": Measure(
        "regularization bytes", False, "bytes", "regularization parameters alone", f"{_PAPER}, analysis 1"
    ),
    "memory_bytes": Measure(
        "memory bytes", False, "bytes", "all that is kept between tasks, copies of weights too", "this library"
    ),
    "seconds": Measure("seconds", False, "s", "wall time of training, consolidation and evaluation", "this library"),
    "flops": Measure("inference FLOPs", False, "FLOP", "two for each weight kept, at each position", "this library"),
    "parameters": Measure(
        "parameters alive", False, "1", "parameters that neither make nor read a removed node", "this library"
    ),
    "aopc": Measure(
        "AOPC", None, "share", r"\frac1{L+1} \sum_{k=0}^L (f(0) - f(k))", "Samek et al. (2017), equation (12)"
    ),
}
"""Every number that tables, figures and reports show, by the name that records use."""
