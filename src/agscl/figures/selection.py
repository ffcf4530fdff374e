"""Which runs a figure is made from, which of them may stand side by side, and what tables and captions say of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from agscl.experiments.groups import Group, R, by_preset, by_setting, groups
from agscl.experiments.kind import AnyResult, scale_of
from agscl.experiments.records import IncompleteRun, StoredRun, SupervisedRun
from agscl.experiments.supervised.result import Result
from agscl.experiments.words import ONE_SEED, options, seeds, value_of_option

if TYPE_CHECKING:
    from polars import DataFrame


def finished(runs: Iterable[StoredRun], only: str | None = None) -> list[SupervisedRun]:
    """The runs that a figure may use: complete ones of task sequences, of one method alone where `only` names it.

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


def columns(group: Group[Result]) -> dict[str, object]:
    """What every row of a figure's table says about the runs behind it."""
    return {"options": options(group.options), "seeds": " ".join(map(str, group.seeds))}


def table_of(rows: Iterable[Mapping[str, object]]) -> DataFrame:
    """The table of a figure; a column that a row lacks is empty there."""
    import polars

    return polars.DataFrame(list(rows), infer_schema_length=None)


def provenance(results: Sequence[AnyResult]) -> Iterator[str]:
    """A line for each setting: how much of which preset was run, by which methods with which hyper-parameters.

    Methods have the names that commands and configurations give them.
    """
    for alike in by_setting(results):
        entries = groups(alike)
        methods = []
        for method in dict.fromkeys(group.method for group in entries):
            same = [group for group in entries if group.method == method]
            values = {name: [value_of_option(group.options[name]) for group in same] for name in same[0].options}
            shown = options({name: "|".join(dict.fromkeys(tried)) for name, tried in values.items()})
            of_seeds = " or ".join(dict.fromkeys(seeds(group.seeds) for group in same))
            methods.append(f"{f'{method} {shown}'.rstrip()} ({of_seeds})")
        single = list(dict.fromkeys(group.method for group in entries if len(group.seeds) == 1))
        alone = f" {ONE_SEED.capitalize()}: {', '.join(single)}." if single else ""
        yield f"{alike[0].experiment.preset}: {scale_of(alike)}. {'; '.join(methods)}.{alone}"


def left_out(runs: Sequence[StoredRun]) -> Iterator[str]:
    """A line that names the runs which are not complete, if there are any."""
    incomplete = [run for run in runs if isinstance(run, IncompleteRun)]
    if incomplete:
        shown = ", ".join(f"{run.folder.path} ({run.learned} of {run.tasks or '?'} tasks)" for run in incomplete)
        yield f"Incomplete, left out: {shown}."
