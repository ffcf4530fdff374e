"""How well policies learn and keep games, relative to random actions and to fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from agscl.experiments import PolicyResult
from agscl.experiments.groups import Group, by_seed
from agscl.experiments.policies.comparison import ALONE, REFERENCE, by_task, not_measured, summary
from agscl.experiments.words import NOTHING, ONE_SEED, seeds
from agscl.figures.rewards import reward_curve
from agscl.metrics.interval import Range
from agscl.report.blocks import ARROWS, Figure, Note, Section, Table, heading, shown
from agscl.report.chapters import Benchmark, Entry
from agscl.report.charts.lines import Line, over_steps

Measured = Sequence[tuple[Entry[PolicyResult], Mapping[str, Range]]]
"""Each measure of each method by name."""

_BY_TASK = {
    "plasticity": "Plasticity of each task: how well it was learned, relative to fine-tuning (1)",
    "stability": "Stability of each task: what is left at the end of its best score (1: all)",
}


def section(benchmark: Benchmark[PolicyResult]) -> Section:
    """The table of measures, the sum of the rewards over time, and every task's own measures."""
    reference = by_seed(benchmark.results, REFERENCE)
    if not reference:
        return Section("rewards", "Measures", [Note(_missing(benchmark, "No run"))], wide=True)
    measured = list(zip(benchmark.entries, summary(benchmark.results).values(), strict=True))
    compared = []
    for entry in benchmark.entries:
        results = tuple(result for result in entry.results if result.experiment.seed in reference)
        if results:
            compared.append((entry, Group[PolicyResult](entry.title, results)))
    parts: list[Figure | Table] = [_measures(benchmark, measured, {entry.title: len(g.seeds) for entry, g in compared})]
    rewards = [measures["accumulated_reward"].value for _, measures in measured if "accumulated_reward" in measures]
    if not all(map(math.isnan, rewards)):
        parts.append(
            over_steps(
                "Accumulated reward",
                [Line(entry.look, list(reward_curve(group, reference).items())) for entry, group in compared],
                "Sum of the relative scores over the tasks learned so far; tasks that are not measured count 0. "
                + benchmark.over_seeds("bands are 95 % bootstrap intervals"),
            )
        )
    tasks_of = [(entry.title, by_task(group, reference)) for entry, group in compared]
    for name, caption in _BY_TASK.items():
        rows = [[title, *(shown(getattr(task, name)) for task in tasks)] for title, tasks in tasks_of]
        parts.append(Table(caption, ["method", *benchmark.tasks], rows))
    return Section("rewards", "Measures", parts, wide=True)


def _measures(benchmark: Benchmark[PolicyResult], measured: Measured, counted: Mapping[str, int]) -> Table:
    """The headline; `counted` says of how many seeds each method's numbers are."""
    names = list(dict.fromkeys(name for _, measures in measured for name in measures))
    rows = [
        [entry.title, str(counted.get(entry.title, 0)), *(shown(measures.get(name)) for name in names)]
        for entry, measures in measured
    ]
    several = any(number > 1 for number in counted.values())
    how = ": mean over the seeds [95 % bootstrap interval]" if several else ""
    caption = f"Relative scores (random actions 0, {REFERENCE} 1){how}"
    return Table(caption, ["method", "seeds", *map(heading, names)], rows, list(_notes(benchmark, measured)))


def _notes(benchmark: Benchmark[PolicyResult], measured: Measured) -> Iterator[str]:
    yield (
        f"{ARROWS} Accumulated reward is the sum over all tasks at the end, where 1 is "
        f"the most that {REFERENCE} ever got on a task; for the others 1 is what it got right after learning the task. "
        "Where it hardly beat random actions, small changes of the score are large relative ones."
    )
    yield from not_measured(benchmark.results)
    if any(math.isnan(measure.value) for _, measures in measured for measure in measures.values()):
        yield f"{NOTHING}: there is no task on which it can be measured in every seed."
    if single := [entry.title for entry in benchmark.entries if len(entry.results) == 1]:
        yield f"{ONE_SEED.capitalize()}: {', '.join(single)}."
    given = {result.experiment.seed for result in benchmark.results}
    if lacking := given - by_seed(benchmark.results, REFERENCE).keys():
        yield _missing(benchmark, f"Not counted here: {seeds(lacking)}, without a run")
    if not any(entry.group.method == ALONE for entry in benchmark.entries):
        yield f"Forward transfer compares with {ALONE} of the same seed; there is no such run among these."
    evaluations = [evaluation for result in benchmark.results for evaluation in result.history.evaluations]
    capped, played = sum(e.capped for e in evaluations), sum(e.episodes for e in evaluations)
    if capped:
        longest = benchmark.results[0].experiment.training.max_episode
        yield (
            f"{capped:,} of {played:,} evaluated episodes were cut off after {longest:,} agent steps; "
            "what they had scored until then counts."
        )


def _missing(benchmark: Benchmark[PolicyResult], which: str) -> str:
    return (
        f"{which} of {REFERENCE} with the same seed, which scores are relative to: run "
        f"agscl run {benchmark.name} --method {REFERENCE} and report it together with these runs."
    )
