"""Which runs a figure is made from, which of them may stand side by side, and what all tables say of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from agscl.experiments.groups import Group, R, by_preset, groups
from agscl.experiments.records import StoredRun, SupervisedRun
from agscl.experiments.supervised.result import Result
from agscl.experiments.words import options
from agscl.methods import AGSCL

if TYPE_CHECKING:
    from polars import DataFrame

FULL = "AGS-CL"
WITHOUT_CUT = "without (I.1)"
WITHOUT_DRAW = "without (I.2)"
WITHOUT_BOTH = "without re-initialisation"


def finished(runs: Iterable[StoredRun], only: str | None = None) -> list[SupervisedRun]:
    """The runs that a figure may use: those of task sequences that are complete, and of the only method if it has one.

    Raises:
        ValueError: If there is none.
    """
    supervised = [run for run in runs if isinstance(run, SupervisedRun)]
    if not supervised:
        raise ValueError("no finished run of a sequence of tasks among these: nothing to draw")
    used = [run for run in supervised if only in (None, run.result.method)]
    if not used:
        raise ValueError(
            f"this figure is about {only}, and none of these runs is one: agscl run PRESET --method {only}"
        )
    return used


def groups_by_preset(results: Iterable[Result]) -> dict[str, list[Group[Result]]]:
    """By preset, its groups.

    Raises:
        ValueError: If runs of a preset differ in more than method and seed.
    """
    return {preset: groups(alike) for preset, alike in by_preset(results).items()}


def one_each(results: Iterable[Result]) -> dict[str, list[Group[Result]]]:
    """By preset, one group for each method.

    Raises:
        ValueError: If a method comes with several settings, or groups cannot be made (`agscl.experiments.groups`).
    """
    by_name = groups_by_preset(results)
    for preset, entries in by_name.items():
        require_one_each(preset, entries)
    return by_name


def require_one_each(preset: str, entries: Sequence[Group[R]]) -> None:
    """Refuse several settings of one method."""
    for group in entries:
        if group.label != group.method:
            labels = ", ".join(other.label for other in entries if other.method == group.method)
            raise ValueError(f"{preset} has several settings of one method ({labels}): give runs of one of them")


def require_alike(preset: str, entries: Sequence[Group[Result]], varied: Iterable[str]) -> None:
    """Refuse groups of one method that differ in other hyper-parameters than the figure varies.

    A rho of 0 is AGS-CL without (I.2) and differs from no other.
    """
    fixed = dict.fromkeys(name for group in entries for name in group.options if name not in set(varied))
    for method in dict.fromkeys(group.method for group in entries):
        for name in fixed:
            values = {group.options.get(name) for group in entries if group.method == method}
            values -= {0.0} if name == "rho" else set()
            if len(values) > 1:
                shown = ", ".join(sorted(map(str, values)))
                raise ValueError(f"{preset} has {method} with different {name} ({shown}): give runs with one of them")


def variant_of(group: Group[Result]) -> str:
    """The variant of AGS-CL, by its re-initialisations, that a group is; the method's name if it is another method."""
    method = group.results[0].experiment.method
    if not isinstance(method, AGSCL):
        return group.method
    if method.cut:
        return FULL if method.rho > 0 else WITHOUT_DRAW
    return WITHOUT_CUT if method.rho > 0 else WITHOUT_BOTH


def columns(group: Group[Result]) -> dict[str, object]:
    """What every row of a figure's table says about the runs behind it."""
    return {"options": options(group.options), "seeds": " ".join(map(str, group.seeds))}


def table_of(rows: Iterable[Mapping[str, object]]) -> DataFrame:
    """The table of a figure; a column that a row lacks is empty there."""
    import polars

    return polars.DataFrame(list(rows), infer_schema_length=None)
