"""The score on each task while all tasks are learned: a panel a task, a line a method."""

from __future__ import annotations

from agscl.experiments import PolicyResult
from agscl.experiments.policies.comparison import begin
from agscl.metrics.reinforcement import bootstrap_mean
from agscl.report.blocks import Section
from agscl.report.chapters import Benchmark, Entry
from agscl.report.charts.lines import Line, over_steps


def section(benchmark: Benchmark[PolicyResult]) -> Section:
    """Raw scores over agent steps."""
    first = benchmark.results[0]
    panels = [
        over_steps(
            f"{task + 1}  {name}",
            [_line(entry, task) for entry in benchmark.entries],
            f"Mean score of an episode. Shaded: {name} is being learned; dotted: random actions. "
            + benchmark.over_seeds("bands are 95 % bootstrap intervals"),
            values=f"Mean score of an episode of {name}",
            shaded=(begin(first, task), begin(first, task + 1)),
            level=bootstrap_mean([result.history.random_scores[task] for result in benchmark.results]).value,
        )
        for task, name in enumerate(benchmark.tasks)
    ]
    return Section("scores", "Score on each task", panels, wide=True)


def _line(entry: Entry[PolicyResult], task: int) -> Line:
    """The mean over the seeds at every time that all of them have; of several evaluations at one time, the last."""
    runs = [{e.time: e.score for e in result.history.evaluations if e.task == task} for result in entry.results]
    times = sorted(set.intersection(*(set(run) for run in runs)))
    return Line(entry.look, [(time, bootstrap_mean([run[time] for run in runs])) for time in times])
