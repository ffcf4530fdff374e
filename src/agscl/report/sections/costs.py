"""What protection costs: bytes that are kept, and time."""

from __future__ import annotations

from collections.abc import Sequence

from agscl.experiments import PolicyResult, Result
from agscl.experiments.words import duration, size, with_interval
from agscl.figures.palette import Look
from agscl.metrics import MEASURES
from agscl.metrics.interval import Interval, mean_interval
from agscl.report.blocks import Figure, Section, Table
from agscl.report.chapters import Benchmark
from agscl.report.charts.bars import bar_chart

_COUNTED = {
    "regularization_bytes": "As figure 6(a) of the AGS-CL paper counts: importance and the like, no copies of weights.",
    "memory_bytes": "All that is kept from one task to the next beside the model, copies of weights included.",
}


def supervised(benchmark: Benchmark[Result]) -> Section:
    """Memory in both ways of counting, and wall time."""
    tasks = [[result.history.tasks for result in entry.results] for entry in benchmark.entries]
    paces = [[sum(t.seconds for t in run) / max(sum(t.epochs for t in run), 1) for run in runs] for runs in tasks]
    return _section(benchmark, "an epoch of training", [duration(mean_interval(pace)) for pace in paces])


def policies(benchmark: Benchmark[PolicyResult]) -> Section:
    """The same of reinforcement learning; steps a second are those of training, evaluations aside."""
    tasks = [[result.history.tasks for result in entry.results] for entry in benchmark.entries]
    paces = [
        [sum(t.steps for t in run) / max(sum(t.training_seconds for t in run), 1e-9) for run in runs] for runs in tasks
    ]
    return _section(benchmark, "agent steps a second", [with_interval(mean_interval(pace), 0) for pace in paces])


def _section(benchmark: Benchmark[Result] | Benchmark[PolicyResult], pace: str, paces: Sequence[str]) -> Section:
    looks = [entry.look for entry in benchmark.entries]
    runs = [[result.history.tasks for result in entry.results] for entry in benchmark.entries]
    figures = []
    for name, caption in _COUNTED.items():
        kept = [mean_interval([float(getattr(tasks[-1], name)) for tasks in same]) for same in runs]
        title = f"{MEASURES[name].title.capitalize()} after the last task"
        figures.append(_bars(title, looks, kept, list(map(size, kept)), caption))
    seconds = [mean_interval([sum(task.seconds for task in tasks) for tasks in same]) for same in runs]
    texts = list(map(duration, seconds))
    caption = (
        "Training, consolidation and evaluation. Runs that shared a machine slowed each other down. "
        + benchmark.over_seeds("± half the width of the 95 % interval")
    )
    figures.append(_bars("Wall time of the whole sequence", looks, seconds, texts, caption, (pace, paces)))
    return Section("costs", "Memory and time", figures, wide=True)


def _bars(
    title: str,
    looks: Sequence[Look],
    values: Sequence[Interval],
    texts: Sequence[str],
    caption: str,
    *more: tuple[str, Sequence[str]],
) -> Figure:
    """A bar for each method; its values as a table, with more columns of a head and cells each."""
    bars = list(zip(looks, values, texts, strict=True))
    told = "; ".join(f"{look.title} {text}" for look, _, text in bars)
    head, columns = zip(("method", [look.title for look in looks]), (title, texts), *more, strict=True)
    rows = list(zip(*columns, strict=True))
    return Figure(title, bar_chart(f"{title}: {told}.", bars), caption, Table(title, head, rows))
