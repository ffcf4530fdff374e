"""The score on each task while all tasks are learned: a panel a task, a line a method."""

from __future__ import annotations

from collections.abc import Mapping

from agscl.experiments.groups import Group
from agscl.experiments.policies.comparison import begin
from agscl.experiments.policies.result import PolicyResult
from agscl.metrics.reinforcement import bootstrap_mean
from agscl.report.blocks import Figure, with_range
from agscl.report.charts.curves import Curve, curve_chart
from agscl.report.policies import PolicyBenchmark

from .legend import key
from .rewards import values_table
from .section import Section


def section(benchmark: PolicyBenchmark) -> Section:
    """Raw scores over agent steps."""
    panels = [_panel(benchmark, task, name) for task, name in enumerate(benchmark.tasks)]
    return Section("scores", "Score on each task", panels, wide=True)


def _panel(benchmark: PolicyBenchmark, task: int, name: str) -> Figure:
    curves = [_curve(style, entry, task) for style, entry in enumerate(benchmark.entries)]
    first = benchmark.results[0]
    learned = begin(first, task), begin(first, task + 1)
    random = bootstrap_mean([result.history.random_scores[task] for result in benchmark.results]).value
    title = f"{task + 1}  {name}"
    told = "; ".join(f"{curve.label} ends at {with_range(curve.points[-1][1])}" for curve in curves)
    return Figure(
        title=title,
        drawing=curve_chart(
            f"Score on {name} over agent steps, random actions {random:.1f}. {told}.",
            curves,
            end=begin(first, len(benchmark.tasks)),
            shaded=learned,
            level=random,
        ),
        caption=f"Mean score of an episode. Shaded: {name} is being learned; dotted: random actions. Bands are 95 % "
        "bootstrap intervals.",
        values=values_table(f"Mean score of an episode of {name}", curves),
        key=key(benchmark),
    )


def _curve(style: int, entry: Group[PolicyResult], task: int) -> Curve:
    """The mean over the seeds at every time that all of them have."""
    runs = [_scores(result, task) for result in entry.results]
    times = sorted(set.intersection(*(set(run) for run in runs)))
    return Curve(style, entry.label, [(time, bootstrap_mean([run[time] for run in runs])) for time in times])


def _scores(result: PolicyResult, task: int) -> Mapping[int, float]:
    """Scores on a task by agent steps; of several at one time, the last."""
    return {e.time: e.score for e in result.history.evaluations if e.task == task}
