"""Tables of reinforcement learning in Markdown: measures relative to fine-tuning, and raw scores of every task."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence

from agscl.experiments.groups import Group, groups
from agscl.experiments.kind import scale_of
from agscl.experiments.words import NOTHING, markdown_row, number, seeds, size, with_range
from agscl.metrics.measures import MEASURES

from .comparison import not_measured, summary
from .result import PolicyResult

SHOWN = ("accumulated_reward", "performance", "forgetting", "plasticity", "stability")


def policy_tables(results: Sequence[PolicyResult]) -> str:
    """Two tables of runs of one setting.

    Measures are relative scores (random actions 0, fine-tuning of the same seed 1) with their bootstrap intervals,
    empty where they cannot be measured; scores are means over the seeds.
    """
    together, measures, names = groups(results), summary(results), results[0].names
    head = ("method", "seeds", *(MEASURES[name].title for name in SHOWN), "kept", "computed")
    lines = [f"`{results[0].experiment.preset}`, {len(names)} tasks, {scale_of(results)}:", "", *_head(head)]
    for group in together:
        values = [with_range(measures[group.label].get(name)) for name in SHOWN]
        own = seeds(group.seeds).removeprefix("seeds ").removeprefix("seed ")
        kept = size(max(result.history.tasks[-1].memory_bytes for result in group.results))
        computed = dict.fromkeys(result.environment.get("compute", NOTHING) for result in group.results)
        lines.append(markdown_row((group.label, own, *values, kept, "; ".join(computed))))
    for note in not_measured(results):
        lines += ["", note]
    lines += ["", "Mean score of an episode, right after the task was learned → at the end:", ""]
    lines += _head(("method", *names))
    random = zip(*(result.history.random_scores for result in results), strict=True)
    lines.append(markdown_row(("random actions", *(number(statistics.fmean(scores)) for scores in random))))
    lines += [markdown_row((group.label, *_scores(group))) for group in together]
    return "\n".join([*lines, ""])


def _head(names: Sequence[str]) -> list[str]:
    return [markdown_row(names), markdown_row("---" for _ in names)]


def _scores(group: Group[PolicyResult]) -> Iterator[str]:
    matrices = [result.scores() for result in group.results]
    for task in range(len(group.results[0].names)):
        yield f"{_mean(m[task][task] for m in matrices)} → {_mean(m[-1][task] for m in matrices)}"


def _mean(scores: Iterable[float | None]) -> str:
    return number(statistics.fmean(score for score in scores if score is not None))
