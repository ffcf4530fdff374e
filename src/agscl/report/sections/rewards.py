"""How well policies learn and keep games, relative to random actions and to fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from agscl.experiments.policies.comparison import ALONE, REFERENCE, TaskMeasures, by_task, not_measured, summary
from agscl.experiments.policies.result import PolicyResult
from agscl.figures.rewards import OVER_TIME, data
from agscl.metrics.interval import Range
from agscl.report.blocks import NOTHING, Figure, Note, Table, with_range
from agscl.report.charts.curves import Curve, curve_chart
from agscl.report.policies import PolicyBenchmark

from .legend import key
from .section import Section

Measures = Mapping[str, Mapping[str, Range]]
"""By label of an entry, each measure by name."""

_SHOWN = {
    "accumulated_reward": "accumulated reward\N{NO-BREAK SPACE}↑",
    "performance": "performance\N{NO-BREAK SPACE}↑",
    "forgetting": "forgetting\N{NO-BREAK SPACE}↓",
    "plasticity": "plasticity\N{NO-BREAK SPACE}↑",
    "stability": "stability\N{NO-BREAK SPACE}↑",
    "forward_transfer": "forward transfer\N{NO-BREAK SPACE}↑",
}


def section(benchmark: PolicyBenchmark) -> Section:
    """The table of measures, the sum of the rewards over time, and every task's own measures."""
    if not benchmark.references:
        return Section("rewards", "Measures", [Note(_missing(benchmark, "No run"))], wide=True)
    found = summary(benchmark.results)
    parts: list[Figure | Table] = [_measures(benchmark, found), *_by_task(benchmark)]
    if any("accumulated_reward" in own and not math.isnan(own["accumulated_reward"].value) for own in found.values()):
        parts.insert(1, _over_time(benchmark))
    return Section("rewards", "Measures", parts, wide=True)


def _missing(benchmark: PolicyBenchmark, which: str) -> str:
    return (
        f"{which} of {REFERENCE} with the same seed, which scores are relative to: run "
        f"agscl run {benchmark.name} --method {REFERENCE} and report it together with these runs."
    )


def _measures(benchmark: PolicyBenchmark, found: Measures) -> Table:
    names = [name for name in _SHOWN if any(name in measures for measures in found.values())]
    rows = [
        [entry.label, _seeds(benchmark, entry.label), *(_shown(found[entry.label].get(name)) for name in names)]
        for entry in benchmark.entries
    ]
    caption = f"Relative scores (random actions 0, {REFERENCE} 1): mean over the seeds [95 % bootstrap interval]"
    return Table(caption, ["method", "seeds", *(_SHOWN[name] for name in names)], rows, list(_notes(benchmark, found)))


def _seeds(benchmark: PolicyBenchmark, label: str) -> str:
    """How many seeds count: those that have fine-tuning."""
    entry = next(entry for entry in benchmark.entries if entry.label == label)
    compared = benchmark.compared(entry)
    return str(len(compared.seeds)) if compared is not None else "0"


def _notes(benchmark: PolicyBenchmark, found: Measures) -> Iterator[str]:
    yield (
        "↑ higher is better, ↓ lower is better. Accumulated reward is the sum over all tasks at the end, where 1 is "
        f"the most that {REFERENCE} ever got on a task; for the others 1 is what it got right after learning the task. "
        "Where it hardly beat random actions, small changes of the score are large relative ones."
    )
    yield from not_measured(benchmark.results)
    if any(math.isnan(measures.value) for own in found.values() for measures in own.values()):
        yield f"{NOTHING}: there is no task on which it can be measured in every seed."
    single = [entry.label for entry in benchmark.entries if len(entry.results) == 1]
    if single:
        yield f"One seed, so no interval: {', '.join(single)}."
    seeds = {result.experiment.seed for result in benchmark.results}
    if lacking := sorted(seeds - benchmark.references.keys()):
        yield _missing(benchmark, f"Seeds {', '.join(map(str, lacking))} do not count here. They have no run")
    if not any(entry.method == ALONE for entry in benchmark.entries):
        yield f"Forward transfer compares with {ALONE} of the same seed; there is no such run among these."
    yield from _cut_off(benchmark)


def _cut_off(benchmark: PolicyBenchmark) -> Iterator[str]:
    evaluations = [evaluation for result in benchmark.results for evaluation in result.history.evaluations]
    capped, played = sum(e.capped for e in evaluations), sum(e.episodes for e in evaluations)
    if capped:
        longest = benchmark.results[0].experiment.training.max_episode
        yield (
            f"{capped:,} of {played:,} evaluated episodes were cut off after {longest:,} agent steps; "
            "what they had scored until then counts."
        )


def _over_time(benchmark: PolicyBenchmark) -> Figure:
    table = data(_compared(benchmark))
    table = table.filter(table["panel"] == OVER_TIME)
    columns = [table[name] for name in ("method", "time", "mean", "low", "high")]
    points: dict[str, list[tuple[int, Range]]] = {}
    for method, time, *value in zip(*columns, strict=True):
        points.setdefault(method, []).append((time, Range(*value)))
    curves = [Curve(style, e.label, points[e.label]) for style, e in enumerate(benchmark.entries) if e.label in points]
    title = "Accumulated reward"
    told = "; ".join(f"{curve.label} ends at {curve.points[-1][1].value:.2f}" for curve in curves)
    end = max(time for curve in curves for time, _ in curve.points)
    return Figure(
        title=title,
        drawing=curve_chart(f"{title}. {told}.", curves, end=end),
        caption="Sum of the relative scores over the tasks learned so far; tasks that are not measured count 0. Mean "
        "over the seeds; bands are 95 % bootstrap intervals.",
        values=values_table(title, curves),
        key=key(benchmark, {curve.style for curve in curves}),
    )


def values_table(title: str, curves: list[Curve]) -> Table:
    """What is drawn, a row for each time."""
    columns = [dict(curve.points) for curve in curves]
    times = sorted({time for column in columns for time in column})
    rows = [[f"{time:,}", *(_shown(column.get(time)) for column in columns)] for time in times]
    return Table(title, ["agent steps", *(curve.label for curve in curves)], rows)


def _by_task(benchmark: PolicyBenchmark) -> Iterator[Table]:
    compared = [entry for entry in map(benchmark.compared, benchmark.entries) if entry is not None]
    found = [(entry.label, by_task(entry, benchmark.references)) for entry in compared]
    for what, measure in _BY_TASK.items():
        rows = [[label, *(_shown(measure(task)) for task in tasks)] for label, tasks in found]
        yield Table(what, ["method", *benchmark.tasks], rows)


_BY_TASK: dict[str, Callable[[TaskMeasures], Range]] = {
    "Plasticity of each task: how well it was learned, relative to fine-tuning (1)": lambda task: task.plasticity,
    "Stability of each task: what is left at the end of its best score (1: all)": lambda task: task.stability,
}


def _compared(benchmark: PolicyBenchmark) -> list[PolicyResult]:
    return [result for result in benchmark.results if result.experiment.seed in benchmark.references]


def _shown(value: Range | None) -> str:
    return NOTHING if value is None or math.isnan(value.value) else with_range(value)
