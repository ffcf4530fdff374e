"""AGS-CL with and without its re-initialisations, as figures 6(b) and 6(c) compare them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agscl.experiments.groups import Group, by_preset, groups
from agscl.experiments.supervised.result import Result
from agscl.methods import AGSCL

FULL = "AGS-CL"
WITHOUT_CUT = "without (I.1)"
WITHOUT_DRAW = "without (I.2)"
WITHOUT_BOTH = "without re-initialisation"
VARIANTS = (FULL, WITHOUT_CUT, WITHOUT_DRAW, WITHOUT_BOTH)


def variant_of(method: AGSCL) -> str:
    """Which of `VARIANTS` a method is."""
    if method.cut:
        return FULL if method.rho > 0 else WITHOUT_DRAW
    return WITHOUT_CUT if method.rho > 0 else WITHOUT_BOTH


def grouped(results: Iterable[Result]) -> dict[str, list[Group[Result]]]:
    """By preset, its groups.

    Raises:
        ValueError: If runs of a preset differ in more than method and seed.
    """
    return {preset: groups(own) for preset, own in by_preset(results).items()}


def ags_cl(group: Group[Result]) -> AGSCL | None:
    """The method of a group, if it is AGS-CL."""
    method = group.results[0].experiment.method
    return method if isinstance(method, AGSCL) else None


def require_alike(preset: str, groups: Sequence[Group[Result]], varied: Iterable[str]) -> None:
    """Refuse groups of one method that differ in other hyper-parameters than the figure varies.

    A rho of 0 is AGS-CL without (I.2) and differs from no other.

    Raises:
        ValueError: If they do; the message names the hyper-parameter.
    """
    varied = set(varied)
    for method in dict.fromkeys(group.method for group in groups):
        options = [group.options for group in groups if group.method == method]
        for name in dict.fromkeys(name for own in options for name in own if name not in varied):
            values = {own.get(name) for own in options} - ({0.0} if name == "rho" else set())
            if len(values) > 1:
                shown = ", ".join(sorted(map(str, values)))
                raise ValueError(f"{preset} has {method} with different {name} ({shown}): give runs with one of them")
