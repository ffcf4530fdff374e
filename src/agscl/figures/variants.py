"""AGS-CL with and without its re-initialisations, as figures 6(b) and 6(c) compare them."""

from __future__ import annotations

from agscl.experiments.groups import Group
from agscl.experiments.supervised.result import Result
from agscl.methods import AGSCL

FULL = "AGS-CL"
WITHOUT_CUT = "without (I.1)"
WITHOUT_DRAW = "without (I.2)"
WITHOUT_BOTH = "without re-initialisation"


def variant_of(group: Group[Result]) -> str:
    """The variant of AGS-CL that a group is; the method's name if it is another method."""
    method = group.results[0].experiment.method
    if not isinstance(method, AGSCL):
        return group.method
    if method.cut:
        return FULL if method.rho > 0 else WITHOUT_DRAW
    return WITHOUT_CUT if method.rho > 0 else WITHOUT_BOTH
