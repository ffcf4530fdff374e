"""The registry of measures: title, unit, better direction, formula and source of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """How a number reads.

    Attributes:
        title: For a table's head or an axis.
        higher_is_better: Whether more is better; `None` where neither is.
        unit: "share" for a number in [0, 1] that is shown in percent, "ratio" for one around 1, "relative score" for
            one on the scale from random actions (0) to the reference (1), or a real unit.
        formula: In LaTeX; `R` is the accuracy matrix, `A*` the reference, `A` the matrix of relative scores.
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


_PAPER, _PAPER_RL = "Jung et al. (2020), section 4.1", "Jung et al. (2020), section 4.2"
_LOPEZ_PAZ, _CHAUDHRY = "Lopez-Paz & Ranzato (2017)", "Chaudhry et al. (2018)"
_RELATIVE, _WORLD, _CORA = "relative score", "Wolczyk et al. (2021), section 4", "Powers et al. (2022), section 4"

MEASURES: Mapping[str, Measure] = {
    "average_accuracy": Measure("average accuracy", True, "share", r"\frac1T \sum_j R_{Tj}", f"{_LOPEZ_PAZ}, ACC"),
    "learning_accuracy": Measure(
        "learning accuracy", True, "share", r"\frac1T \sum_i R_{ii}", "Riemer et al. (2019), LA"
    ),
    "forgetting": Measure(
        "forgetting", False, "share", r"\frac1{T-1} \sum_{j<T} (\max_{l<T} R_{lj} - R_{Tj})", f"{_CHAUDHRY}, F"
    ),
    "backward_transfer": Measure(
        "backward transfer", True, "share", r"\frac1{T-1} \sum_{i<T} (R_{Ti} - R_{ii})", f"{_LOPEZ_PAZ}, BWT"
    ),
    "forward_transfer": Measure(
        "forward transfer", True, "share", r"\frac1{T-1} \sum_{i \ge 2} (R_{i-1,i} - b_i)", f"{_LOPEZ_PAZ}, FWT"
    ),
    "plasticity": Measure("plasticity", True, "ratio", r"\frac1T \sum_i R_{ii} / A^*_i", f"{_PAPER}, P"),
    "stability": Measure("stability", True, "ratio", r"\frac1T \sum_j R_{Tj} / \max_{i \ge j} R_{ij}", f"{_PAPER}, S"),
    "intransigence": Measure(
        "intransigence", False, "share", r"\frac1T \sum_k (A^*_k - R_{kk})", f"{_CHAUDHRY}, I, mean over tasks"
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
    "accumulated_reward": Measure("accumulated reward", True, _RELATIVE, r"\sum_j A_j(t)", f"{_PAPER_RL}, figure 7(a)"),
    "performance": Measure("performance", True, _RELATIVE, r"\frac1T \sum_j A_{Tj}", _WORLD),
    "reward_forgetting": Measure("forgetting", False, _RELATIVE, r"\frac1T \sum_i (A_{ii} - A_{Ti})", _WORLD),
    "reward_plasticity": Measure(
        "plasticity", True, _RELATIVE, r"\frac1T \sum_i A_{ii}", f"{_PAPER_RL}, mean over tasks"
    ),
    "reward_stability": Measure(
        "stability",
        True,
        _RELATIVE,
        r"\frac1T \sum_j A_{Tj} / \max_{j \le i \le T} A_{ij}",
        f"{_PAPER_RL}, mean over tasks",
    ),
    "reward_transfer": Measure(
        "forward transfer",
        True,
        _RELATIVE,
        r"\frac1T \sum_i (\text{AUC}_i - \text{AUC}^\text{ref}_i) / (1 - \text{AUC}^\text{ref}_i)",
        _WORLD,
    ),
    "isolated_forgetting": Measure(
        "isolated forgetting", False, "ratio", r"(r_{i,j-1} - r_{ij}) / |r_i|_\text{max}", _CORA
    ),
    "isolated_transfer": Measure(
        "zero-shot forward transfer", True, "ratio", r"(r_{ij} - r_{i,j-1}) / |r_i|_\text{max}", _CORA
    ),
}
"""Every number that tables, figures and reports show, by the name that records use.

Where the same word means another formula for policies, `POLICY_MEASURES` says under which name theirs is here.
"""

POLICY_MEASURES: Mapping[str, str] = {
    "accumulated_reward": "accumulated_reward",
    "performance": "performance",
    "forgetting": "reward_forgetting",
    "plasticity": "reward_plasticity",
    "stability": "reward_stability",
    "forward_transfer": "reward_transfer",
}
"""Names in `MEASURES` by the names that tables of policies use."""
