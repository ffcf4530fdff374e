"""``agscl compare``: methods over several seeds as one table, run now on a preset or recorded before."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from agscl.experiments import PolicyResult, Result, method_from_options
from agscl.experiments.codec import method_class
from agscl.experiments.groups import by_seed, environment_in_words, environments, groups
from agscl.experiments.kind import AnyExperiment, AnyResult, scale_of
from agscl.experiments.kinds import Choice, preset_names
from agscl.experiments.policies.comparison import not_measured, summary
from agscl.experiments.policies.presets import PolicyPreset
from agscl.experiments.records import IncompleteRun, PolicyRun, SupervisedRun, read_runs
from agscl.experiments.supervised.comparison import COSTS, REFERENCE, Row, aggregate
from agscl.experiments.words import NOTHING, ONE_SEED, hundredfold, seeds, with_interval, with_range
from agscl.methods import AGSCL, AnyMethod
from agscl.metrics import MEASURES, POLICY_MEASURES, Interval, Range
from agscl.runs import RunFolder
from agscl.runs.export import check_ending, export
from agscl.sweeps.folder import reported_in

from .console import Output, table
from .progress import run_all
from .run import (
    choice_of,
    experiments_with,
    folder_for,
    held,
    method_options_in,
    overrides_from,
    require_no_data,
    tuned_by,
)
from .text import title

STATISTICS = {"mean": "mean ± 95 % interval", "iqm": "interquartile mean [95 % bootstrap interval]"}

SHOWN = ("average_accuracy", "forgetting", "plasticity", "stability", *COSTS)
"""Measures of a supervised run in the terminal; files have all."""

COMPARED = "average_accuracy"
"""The measure that methods are tested in."""


@dataclass(frozen=True)
class Comparison:
    """Methods side by side.

    Attributes:
        title: What is compared, and by which statistic.
        heads: Heads of the columns.
        cells: A row a method, as it is to be read.
        records: A row a method with all digits, by name.
        notes: What the numbers are of, line by line.
    """

    title: str
    heads: Sequence[str]
    cells: Sequence[Sequence[str]]
    records: Sequence[Mapping[str, object]]
    notes: Sequence[str]


def run(arguments: argparse.Namespace) -> int:
    """Run the methods or read their runs, show the table, and write it where the arguments say.

    Returns:
        0, or 1 if a run failed.
    """
    if arguments.export is not None:
        check_ending(arguments.export)
    first = arguments.what[0]
    if len(arguments.what) > 1 or (first not in preset_names() and Path(first).is_dir()):
        return _compare_recorded(arguments)
    return _run_and_compare(arguments)


def _compare_recorded(arguments: argparse.Namespace) -> int:
    """Compare recorded runs; incomplete ones are named and left out."""
    runs = read_runs(reported_in(map(Path, arguments.what)))
    results = [run.result for run in runs if isinstance(run, SupervisedRun | PolicyRun)]
    if len({type(result) for result in results}) > 1:
        raise ValueError("some of these runs learned data sets, some policies: give those of one kind")
    if not results:
        raise ValueError("no finished run of a sequence of tasks among these: nothing to compare")
    output, baseline = Output(), arguments.baseline
    if not baseline and isinstance(results[0], Result):
        names = [group.label for group in groups(results)]
        baseline = next((name for name in names if name == AGSCL.name), names[0]) if len(names) > 1 else None
    incomplete = [
        f"INCOMPLETE {run.folder.path}: {run.learned} of {run.tasks or '?'} tasks, left out"
        for run in runs
        if isinstance(run, IncompleteRun)
    ]
    _show(output, results, arguments, baseline, incomplete)
    return 0


def _run_and_compare(arguments: argparse.Namespace) -> int:
    """Run each method of a preset with each seed, and compare the results."""
    if arguments.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {arguments.seeds}")
    choice = choice_of(arguments.what[0], arguments)
    if arguments.export is not None:
        require_no_data(arguments.export, [choice])
    experiments, folder = _experiments(choice, arguments), folder_for(arguments, choice.name)

    def folder_of(experiment: AnyExperiment) -> RunFolder:
        return RunFolder(folder.path / experiment.method_name / f"seed-{experiment.seed}")

    with held(folder):
        results, failures = run_all(experiments, folder_of, arguments, resume=arguments.resume)
    output, finished = Output(), {result.method for result in results}
    remarks = [
        *(f"FAILED {one.experiment.method_name} seed {one.experiment.seed}: {one.reason}" for one in failures),
        f"run folders: {folder.path}",
    ]
    if not isinstance(choice.preset, PolicyPreset) or REFERENCE in finished:
        _show(output, results, arguments, arguments.baseline if arguments.baseline in finished else None, remarks)
    else:
        _show(output, [], arguments, None, remarks)
    return int(bool(failures))


def _require_means(arguments: argparse.Namespace) -> None:
    if arguments.statistic != "mean" or arguments.baseline is not None:
        raise ValueError("--statistic and --baseline are for data sets; policies are compared by their means")


def _experiments(choice: Choice, arguments: argparse.Namespace) -> list[AnyExperiment]:
    """Every method with every seed; refuses a table that cannot be made of them."""
    best = tuned_by(arguments)
    tuned = choice.preset.tuned if best is None else best.methods
    names = list(dict.fromkeys(arguments.methods.split(","))) if arguments.methods is not None else list(tuned)
    methods = _methods(names, method_options_in(arguments), tuned, choice.name)
    if isinstance(choice.preset, PolicyPreset):
        _require_means(arguments)
        if REFERENCE not in names:
            raise ValueError(f"scores are relative to {REFERENCE}: add it to --methods")
    elif arguments.baseline is not None and arguments.baseline not in names:
        raise ValueError(f"--baseline {arguments.baseline} is not among the methods: {', '.join(names)}")
    return experiments_with(choice, methods, range(arguments.seeds), overrides_from(arguments), best)


def _methods(
    names: Sequence[str], options: Mapping[str, str], tuned: Mapping[str, AnyMethod], preset: str
) -> list[AnyMethod]:
    """The methods of those names, with the preset's values where it has any, and the options of the command line."""
    own = options_of(names, options, preset)
    methods = []
    for name in names:
        try:
            methods.append(method_from_options(name, own[name], tuned))
        except ValueError as error:
            if name in tuned:
                raise
            raise ValueError(
                f"{preset} has no tuned method {name!r}: {error} (--method.{name}.OPTION VALUE)"
            ) from error
    return methods


def options_of(names: Sequence[str], options: Mapping[str, str], preset: str) -> dict[str, dict[str, str]]:
    """The options of each method: those that it alone has, and those that name it."""
    try:
        fields_of = {name: {field.name for field in fields(method_class(name))} for name in names}
    except ValueError as error:
        unknown = next(name for name in names if f"{name!r}" in str(error))
        raise ValueError(f"{preset} has no tuned method {unknown!r}: {error}") from error
    own: dict[str, dict[str, str]] = {name: {} for name in names}
    for option, value in options.items():
        method, _, plain = option.rpartition(".")
        having = [method] if method in fields_of else [name for name in names if option in fields_of[name]]
        if not having:
            raise ValueError(f"--method.{option}: none of {', '.join(names)} has it")
        if len(having) > 1:
            raise ValueError(f"--method.{option}: {' and '.join(having)} have it; say --method.{having[0]}.{option}")
        own[having[0]][plain] = value
    return own


def _show(
    output: Output,
    results: Sequence[AnyResult],
    arguments: argparse.Namespace,
    baseline: str | None,
    remarks: Sequence[str],
) -> None:
    """Show the comparison of results of one kind, if there are any, and remarks; write it where the arguments say."""
    if not results:
        if arguments.json:
            output.data({"rows": [], "remarks": remarks})
        for remark in [] if arguments.json else remarks:
            output.say(remark)
        return
    if supervised := [result for result in results if isinstance(result, Result)]:
        shown = _of_supervised(supervised, arguments.statistic, baseline)
    else:
        policies = [result for result in results if isinstance(result, PolicyResult)]
        baseline, shown = REFERENCE, _of_policies(policies, arguments)
    notes = [*shown.notes, *environments(results)]
    if arguments.json:
        about = {"title": shown.title, "scale": scale_of(results), "baseline": baseline, "notes": notes}
        output.data({**about, "rows": shown.records, "remarks": remarks})
    else:
        output.show(table(shown.heads, shown.cells, title=shown.title))
        for line in [*notes, *remarks]:
            output.say(line)
    if arguments.export is not None:
        import polars

        numbers = polars.DataFrame(shown.records, infer_schema_length=None)
        scale, against = polars.lit(scale_of(results)), polars.lit(baseline, polars.String)
        computed = {group.label: environment_in_words(group.results) for group in groups(results)}
        environment = polars.Series([computed[str(record["method"])] for record in shown.records])
        numbers = numbers.with_columns(scale=scale, baseline=against, environment=environment)
        export(arguments.export, numbers, shown.heads, shown.cells, [shown.title, *notes])


def _of_supervised(results: Sequence[Result], statistic: str, baseline_name: str | None) -> Comparison:
    """Runs of data sets: every measure with its interval, and tests against a baseline."""
    rows = aggregate(results)
    baseline = next((row for row in rows if row.method == baseline_name), None)
    if baseline is None and baseline_name is not None:
        names = ", ".join(row.method for row in rows)
        raise ValueError(f"there is no row {baseline_name!r} to compare with; there are: {names}")
    heads = ["method", "seeds", *(f"{title(name)} %" if MEASURES[name].in_percent else title(name) for name in SHOWN)]
    notes = [scale_of(results)]
    if baseline is not None:
        against = f"against {baseline.method}"
        heads.insert(3, against)
        explained = "mean difference in accuracy (points) on the seeds that both have, its 95 % t interval, p of the"
        notes.insert(0, f"{against}: {explained} sign-flip test (never below 2 / 2^seeds)")
    if single := [row.method for row in rows if len(row.seeds) == 1]:
        notes.append(f"{ONE_SEED}: {', '.join(single)}")
    if not any("plasticity" in row.values for row in rows):
        notes.append(f"no plasticity: it compares with {REFERENCE} of the same seed, which is not among these runs")
    lines = [_line(row, statistic, baseline) for row in rows]
    numbers = {len(row.seeds) for row in rows}
    over = "seeds" if len(numbers) > 1 else f"{min(numbers)} seed{'' if numbers == {1} else 's'}"
    return Comparison(
        title=f"{results[0].experiment.preset}: {STATISTICS[statistic]} over {over}",
        heads=heads,
        cells=[cells for cells, _ in lines],
        records=[record for _, record in lines],
        notes=notes,
    )


def _line(row: Row, statistic: str, baseline: Row | None) -> tuple[list[str], dict[str, object]]:
    """A method as cells, and with all digits: each measure that it has, and the difference to the baseline."""
    values = row.robust if statistic == "iqm" else row.measures
    cells = [row.method, str(len(row.seeds)), *(_cell(name, values.get(name)) for name in SHOWN)]
    record = _record(row.method, row.seeds, values)
    if baseline is not None:
        difference = None if row is baseline else row.against(baseline, COMPARED)
        cells.insert(3, NOTHING)
        if difference is not None:
            p_value = "" if math.isnan(difference.p_value) else f" (p={difference.p_value:.2g})"
            cells[3] = with_interval(hundredfold(difference.interval), signed=True) + p_value
            record |= {**_with_ends("difference", difference.interval), "p_value": difference.p_value}
    return cells, record


def _cell(name: str, value: Interval | Range | None) -> str:
    factor, digits = (100, 1) if MEASURES[name].in_percent else (1, 0)
    if isinstance(value, Range):
        return with_range(Range(*(factor * part for part in value)), digits)
    return NOTHING if value is None else with_interval(Interval(*(factor * part for part in value)), digits)


def _record(label: str, own: Sequence[int], values: Mapping[str, Interval | Range]) -> dict[str, object]:
    """A row with all digits, of a method with its own seeds."""
    record: dict[str, object] = {"method": label, "seeds": " ".join(map(str, own))}
    for name, value in values.items():
        record |= _with_ends(name, value)
    return record


def _with_ends(name: str, value: Interval | Range) -> dict[str, object]:
    """A value and the ends of its interval, by the names that files use."""
    if isinstance(value, Interval):
        value = Range(value.mean, value.mean - value.half_width, value.mean + value.half_width)
    return {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}


def _of_policies(results: Sequence[PolicyResult], arguments: argparse.Namespace) -> Comparison:
    """Runs of reinforcement learning: scores relative to fine-tuning, means with their bootstrap intervals."""
    _require_means(arguments)
    preset = results[0].experiment.preset
    if not by_seed(results, REFERENCE):
        raise ValueError(f"scores are relative to {REFERENCE}: add its runs (agscl run {preset} --method {REFERENCE})")
    measures, policies = summary(results), groups(results)
    names = list(dict.fromkeys(name for of_method in measures.values() for name in of_method))
    used = seeds(seed for group in policies for seed in group.seeds)
    notes = [f"{scale_of(results)}; {used}", *not_measured(results)]
    if single := [group.label for group in policies if len(group.seeds) == 1]:
        notes.append(f"{ONE_SEED}: {', '.join(single)}")
    lines = [(group.label, group.seeds, measures[group.label]) for group in policies]
    return Comparison(
        title=f"{preset}: random actions 0, {REFERENCE} 1; mean [95 % bootstrap interval]",
        heads=["method", "seeds", *(MEASURES[POLICY_MEASURES[name]].title for name in names)],
        cells=[[name, str(len(own)), *(with_range(of.get(measure)) for measure in names)] for name, own, of in lines],
        records=[_record(*line) for line in lines],
        notes=notes,
    )
