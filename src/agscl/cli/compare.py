"""``agscl compare``: methods over several seeds as one table, run now on a preset or recorded before."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agscl.experiments import PRESETS, PolicyResult, Result, experiment_of, preset_named
from agscl.experiments.groups import by_seed, groups
from agscl.experiments.kind import AnyExperiment
from agscl.experiments.policies.comparison import not_measured, summary
from agscl.experiments.policies.presets import POLICY_PRESETS
from agscl.experiments.records import IncompleteRun, PolicyRun, SupervisedRun, read_runs
from agscl.experiments.supervised.comparison import COSTS, REFERENCE, Row, aggregate
from agscl.experiments.words import NOTHING, ONE_SEED, hundredfold, seeds, with_interval, with_range
from agscl.methods import AGSCL
from agscl.metrics import MEASURES, Interval, Range
from agscl.runs import RunFolder
from agscl.runs.export import check_ending, export

from .console import Output, table
from .progress import run_all
from .run import folder_for, overrides_from
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
        scale: How much of the preset was run.
        baseline: The method that others are measured against, if there is one.
    """

    title: str
    heads: Sequence[str]
    cells: Sequence[Sequence[str]]
    records: Sequence[Mapping[str, object]]
    notes: Sequence[str]
    scale: str
    baseline: str | None


def run(arguments: argparse.Namespace) -> int:
    """Run the methods or read their runs, show the table, and write it where the arguments say.

    Returns:
        0, or 1 if a run failed.

    Raises:
        ValueError: If an argument does not fit, there is no finished run, or runs differ in more than method and seed.
        OSError: If a folder or file cannot be read or written.
    """
    if arguments.export is not None:
        check_ending(arguments.export)
    first = arguments.what[0]
    if len(arguments.what) > 1 or (first not in PRESETS and Path(first).is_dir()):
        return _compare_recorded(arguments)
    return _run_and_compare(arguments)


def _compare_recorded(arguments: argparse.Namespace) -> int:
    """Compare recorded runs; incomplete ones are named and left out."""
    runs = read_runs(map(Path, arguments.what))
    supervised = [run.result for run in runs if isinstance(run, SupervisedRun)]
    policies = [run.result for run in runs if isinstance(run, PolicyRun)]
    if supervised and policies:
        raise ValueError("some of these runs learned data sets, some policies: give those of one kind")
    if not supervised and not policies:
        raise ValueError("no finished run of a sequence of tasks among these: nothing to compare")
    output = Output()
    if policies:
        _show(_of_policies(policies, arguments), output, arguments.export)
    else:
        names = [group.label for group in groups(supervised)]
        default = next((name for name in names if name == AGSCL.name), names[0]) if len(names) > 1 else None
        _show(_of_supervised(supervised, arguments.statistic, arguments.baseline or default), output, arguments.export)
    for run in runs:
        if isinstance(run, IncompleteRun):
            output.say(f"INCOMPLETE {run.folder.path}: {run.learned} of {run.tasks or '?'} tasks, left out")
    return 0


def _run_and_compare(arguments: argparse.Namespace) -> int:
    """Run each method of a preset with each seed, and compare the results."""
    (preset,) = arguments.what
    if arguments.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {arguments.seeds}")
    folder = folder_for(arguments, preset)

    def folder_of(experiment: AnyExperiment) -> RunFolder:
        return RunFolder(folder.path / experiment.method_name / f"seed-{experiment.seed}")

    results, failures = run_all(_experiments(preset, arguments), folder_of, arguments, resume=arguments.resume)
    output = Output()
    supervised = [result for result in results if isinstance(result, Result)]
    policies = [result for result in results if isinstance(result, PolicyResult)]
    if supervised:
        tested = arguments.baseline if arguments.baseline in {result.method for result in supervised} else None
        _show(_of_supervised(supervised, arguments.statistic, tested), output, arguments.export)
    if by_seed(policies, REFERENCE):
        _show(_of_policies(policies, arguments), output, arguments.export)
    for failure in failures:
        output.say(f"FAILED {failure.experiment.method_name} seed {failure.experiment.seed}: {failure.reason}")
    output.say(f"run folders: {folder.path}")
    return int(bool(failures))


def _experiments(preset: str, arguments: argparse.Namespace) -> list[AnyExperiment]:
    """Every method with every seed; refuses a table that cannot be made of them."""
    tuned = preset_named(preset).tuned
    names = list(dict.fromkeys(arguments.methods.split(","))) if arguments.methods is not None else list(tuned)
    for name in names:
        if name not in tuned:
            raise ValueError(f"{preset} has no tuned method {name!r}; it has: {', '.join(tuned)}")
    if preset in POLICY_PRESETS:
        _require_means(arguments)
        if REFERENCE not in names:
            raise ValueError(f"scores are relative to {REFERENCE}: add it to --methods")
    elif arguments.baseline is not None and arguments.baseline not in names:
        raise ValueError(f"--baseline {arguments.baseline} is not among the methods: {', '.join(names)}")
    overrides = overrides_from(arguments)
    return [experiment_of(preset, tuned[name], seed, overrides) for name in names for seed in range(arguments.seeds)]


def _show(comparison: Comparison, output: Output, file: Path | None) -> None:
    """Show a comparison, and write it to the file if there is one."""
    output.show(table(comparison.heads, comparison.cells, title=comparison.title))
    for note in comparison.notes:
        output.say(note)
    if file is not None:
        import polars

        numbers = polars.DataFrame(comparison.records, infer_schema_length=None)
        numbers = numbers.with_columns(
            scale=polars.lit(comparison.scale), baseline=polars.lit(comparison.baseline, polars.String)
        )
        export(file, numbers, comparison.heads, comparison.cells, [comparison.title, *comparison.notes])


def _of_supervised(results: Sequence[Result], statistic: str, baseline_name: str | None) -> Comparison:
    """Runs of data sets: every measure with its interval, and tests against a baseline."""
    rows = aggregate(results)
    baseline = next((row for row in rows if row.method == baseline_name), None)
    if baseline is None and baseline_name is not None:
        names = ", ".join(row.method for row in rows)
        raise ValueError(f"there is no row {baseline_name!r} to compare with; there are: {names}")
    heads = ["method", "seeds", *(f"{title(name)} %" if MEASURES[name].in_percent else title(name) for name in SHOWN)]
    cells = [[row.method, str(len(row.seeds)), *(_cell(row, name, statistic) for name in SHOWN)] for row in rows]
    scale = results[0].scale_in_words()
    notes = [scale]
    if baseline is not None:
        against = f"against {baseline.method}"
        heads.insert(3, against)
        for row, line in zip(rows, cells, strict=True):
            line.insert(3, _difference(row, baseline))
        explained = "mean difference in accuracy (points) on the seeds that both have, its 95 % t interval, p of the"
        notes.insert(0, f"{against}: {explained} sign-flip test (never below 2 / 2^seeds)")
    if single := [row.method for row in rows if len(row.seeds) == 1]:
        notes.append(f"{ONE_SEED}: {', '.join(single)}")
    if not any("plasticity" in row.values for row in rows):
        notes.append(f"no plasticity: it compares with {REFERENCE} of the same seed, which is not among these runs")
    numbers = {len(row.seeds) for row in rows}
    over = "seeds" if len(numbers) > 1 else f"{min(numbers)} seed{'' if numbers == {1} else 's'}"
    return Comparison(
        title=f"{results[0].experiment.preset}: {STATISTICS[statistic]} over {over}",
        heads=heads,
        cells=cells,
        records=[_record(row, statistic, baseline) for row in rows],
        notes=notes,
        scale=scale,
        baseline=baseline_name,
    )


def _cell(row: Row, name: str, statistic: str) -> str:
    if name not in row.values:
        return NOTHING
    factor, digits = (100, 1) if MEASURES[name].in_percent else (1, 0)
    if statistic == "iqm":
        return with_range(Range(*(factor * value for value in row.robust[name])), digits)
    return with_interval(Interval(*(factor * value for value in row.measures[name])), digits)


def _difference(row: Row, baseline: Row) -> str:
    difference = row.against(baseline, COMPARED)
    if row is baseline or difference is None:
        return NOTHING
    p_value = "" if math.isnan(difference.p_value) else f" (p={difference.p_value:.2g})"
    return with_interval(hundredfold(difference.interval), signed=True) + p_value


def _record(row: Row, statistic: str, baseline: Row | None) -> dict[str, object]:
    """Each measure that the row has, with the ends of its interval."""
    record: dict[str, object] = {"method": row.method, "seeds": " ".join(map(str, row.seeds))}
    for name in row.values:
        record |= _with_ends(name, row.robust[name] if statistic == "iqm" else _ends(row.measures[name]))
    difference = None if baseline is None or row is baseline else row.against(baseline, COMPARED)
    if difference is not None:
        record |= {**_with_ends("difference", _ends(difference.interval)), "p_value": difference.p_value}
    return record


def _ends(interval: Interval) -> Range:
    return Range(interval.mean, interval.mean - interval.half_width, interval.mean + interval.half_width)


def _with_ends(name: str, value: Range) -> dict[str, object]:
    return {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}


def _require_means(arguments: argparse.Namespace) -> None:
    if arguments.statistic != "mean" or arguments.baseline is not None:
        raise ValueError("--statistic and --baseline are for data sets; policies are compared by their means")


def _of_policies(results: Sequence[PolicyResult], arguments: argparse.Namespace) -> Comparison:
    """Runs of reinforcement learning: scores relative to fine-tuning, means with their bootstrap intervals."""
    _require_means(arguments)
    preset = results[0].experiment.preset
    if not by_seed(results, REFERENCE):
        raise ValueError(f"scores are relative to {REFERENCE}: add its runs (agscl run {preset} --method {REFERENCE})")
    measures, policies = summary(results), groups(results)
    names = list(dict.fromkeys(name for of_method in measures.values() for name in of_method))
    scale = results[0].scale_in_words()
    notes = [f"{scale}; {seeds(seed for group in policies for seed in group.seeds)}", *not_measured(results)]
    if single := [group.label for group in policies if len(group.seeds) == 1]:
        notes.append(f"{ONE_SEED}: {', '.join(single)}")
    cells, records = [], []
    for group in policies:
        of_method = measures[group.label]
        cells.append([group.label, str(len(group.seeds)), *(with_range(of_method.get(name)) for name in names)])
        record: dict[str, object] = {"method": group.label, "seeds": " ".join(map(str, group.seeds))}
        for name, value in of_method.items():
            record |= _with_ends(name, value)
        records.append(record)
    return Comparison(
        title=f"{preset}: random actions 0, {REFERENCE} 1; mean [95 % bootstrap interval]",
        heads=["method", "seeds", *map(title, names)],
        cells=cells,
        records=records,
        notes=notes,
        scale=scale,
        baseline=REFERENCE,
    )
