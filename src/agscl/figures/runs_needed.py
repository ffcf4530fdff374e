"""Which methods, with which hyper-parameters, a figure needs on a preset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from agscl.methods import AGSCL, MAS, AnyMethod, FineTuning

MethodsNeeded = Callable[[Mapping[str, AnyMethod]], Sequence[AnyMethod]]
"""From a preset's tuned methods to those that a figure needs."""

FACTORS = (0.01, 0.1, 1.0, 10.0)
"""Times the tuned lambda: what figure 6(c) varies it over."""

RHOS = (0.0, 0.1, 0.3, 0.5, 1.0)
"""What the ablation of rho tries."""

WAYS: Sequence[Literal["epoch", "step", "gradient"]] = ("epoch", "step", "gradient")


def all_tuned(tuned: Mapping[str, AnyMethod]) -> Sequence[AnyMethod]:
    """Every method that the preset has values for."""
    return list(tuned.values())


def ags_cl_alone(tuned: Mapping[str, AnyMethod]) -> Sequence[AnyMethod]:
    """AGS-CL as tuned."""
    return [_ags_cl(tuned)]


def with_and_without(tuned: Mapping[str, AnyMethod]) -> Sequence[AnyMethod]:
    """AGS-CL with and without its re-initialisations, figure 6(b)."""
    full = _ags_cl(tuned)
    return [full, replace(full, rho=0.0, cut=False)]


def strengths(tuned: Mapping[str, AnyMethod]) -> Sequence[AnyMethod]:
    """AGS-CL whole and without its parts, and MAS, over lambda; fine-tuning, which plasticity compares with."""
    full = _ags_cl(tuned)
    variants = [replace(full, rho=rho, cut=cut) for cut in (True, False) for rho in (full.rho, 0.0)]
    ags_cl = [replace(variant, lam=full.lam * factor) for variant in variants for factor in FACTORS]
    mas = tuned.get("mas")
    others = [MAS(lam=mas.lam * factor) for factor in FACTORS] if isinstance(mas, MAS) else []
    return [FineTuning(), *ags_cl, *others]


def rhos(tuned: Mapping[str, AnyMethod]) -> Sequence[AnyMethod]:
    """AGS-CL over rho."""
    return [replace(_ags_cl(tuned), rho=rho) for rho in RHOS]


def proximal_steps(tuned: Mapping[str, AnyMethod]) -> Sequence[AnyMethod]:
    """AGS-CL with the proximal step after every epoch, after every step, and with gradients in its place."""
    return [replace(_ags_cl(tuned), proximal=way) for way in WAYS]


def _ags_cl(tuned: Mapping[str, AnyMethod]) -> AGSCL:
    method = tuned.get("ags-cl")
    if not isinstance(method, AGSCL):
        raise ValueError("this figure is about AGS-CL, for which the preset has no values")
    return method
