"""Tables in Markdown files, written from recorded runs: a number in the text is the number in the record.

A file marks where its tables stand, with run folders relative to itself::

    <!-- runs: cifar100/ags-cl cifar100/ewc -->
    <!-- end of runs -->

What is between the two lines is written anew; all other text stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from agscl.metrics import Interval, mean_interval

from .groups import Group, by_setting, groups
from .kind import scale_of
from .policies.markdown import policy_tables
from .records import PolicyRun, SupervisedRun, read_runs
from .supervised.published import ACCURACIES, PublishedAccuracy
from .supervised.result import Result
from .words import NOTHING, markdown_row, percent, seeds, size, with_interval

PART = re.compile(r"(?P<begin><!-- runs: (?P<folders>[^>\n]+) -->\n).*?(?P<end><!-- end of runs -->)", re.DOTALL)

HEADS = ("method", "seeds", "average accuracy %", "when learned %", "stability S", "forgetting %", "kept", "computed")


def with_tables(text: str, root: Path) -> str:
    """A Markdown text with all of its marked tables written from the runs that they name.

    Args:
        text: The text.
        root: The folder that its run folders are relative to.

    Raises:
        ValueError: If no table is marked, or a folder holds no run or one that is not finished.
        OSError: If a record cannot be read.
    """
    if not PART.search(text):
        raise ValueError("no table is marked: write '<!-- runs: FOLDER... -->' and '<!-- end of runs -->' around it")

    def written(part: re.Match[str]) -> str:
        folders = [root / folder for folder in part["folders"].split()]
        return f"{part['begin']}{tables(folders)}{part['end']}"

    return PART.sub(written, text)


def tables(folders: Iterable[Path]) -> str:
    """Tables for each benchmark among the runs, in Markdown; for data sets with the figures that others published.

    Runs that differ only in what they computed with stand in one table, and its last column says it; those of
    reinforcement learning do not.
    """
    results, policies = [], []
    for run in read_runs(folders):
        match run:
            case SupervisedRun(result=result):
                results.append(result)
            case PolicyRun(result=scored):
                policies.append(scored)
            case _:
                raise ValueError(f"{run.folder.path} is no finished run")
    benchmarks: dict[str, list[Result]] = {}
    for result in results:
        setting = {name: v for name, v in result.experiment.setting().items() if not name.startswith("compute.")}
        benchmarks.setdefault(str(setting), []).append(result)
    parts = [_table(alike) for alike in benchmarks.values()]
    return "\n".join([*parts, *(policy_tables(alike) for alike in by_setting(policies))])


def _table(results: Sequence[Result]) -> str:
    """One benchmark: a line on what was run, a row for each method, and what others published."""
    experiment = results[0].experiment
    by_compute: dict[str, list[Result]] = {}
    for result in results:
        by_compute.setdefault(str(result.experiment.setting()), []).append(result)
    together = [group for alike in by_compute.values() for group in groups(alike)]
    lines = [f"`{experiment.preset}`, {len(results[0].history.tasks)} tasks, {scale_of(results)}:", ""]
    lines += [
        markdown_row(HEADS),
        markdown_row("---" for _ in HEADS),
        *(markdown_row(_row(group)) for group in together),
    ]
    published = [row for row in ACCURACIES if row.preset == experiment.preset]
    if published and not results[0].scale()["scaled_down"]:
        lines += ["", "Published for this benchmark, each in its own setting:", ""]
        lines += [
            markdown_row(("method", "average accuracy %", "seeds", "source", "setting", "meets the interval here"))
        ]
        lines += [markdown_row(["---"] * 6), *(markdown_row(_published(row, together)) for row in published)]
    return "\n".join([*lines, ""])


def _row(group: Group[Result]) -> Iterator[str]:
    measured = [result.measures() for result in group.results]
    yield group.label
    yield seeds(group.seeds).removeprefix("seeds ").removeprefix("seed ")
    for name in ("average_accuracy", "learning_accuracy"):
        yield percent(mean_interval([measures[name] for measures in measured]))
    yield with_interval(mean_interval([measures["stability"] for measures in measured]), 3)
    yield percent(mean_interval([measures["forgetting"] for measures in measured]))
    yield size(max(result.history.tasks[-1].memory_bytes for result in group.results))
    computed = dict.fromkeys(result.environment.get("compute", NOTHING) for result in group.results)
    live = ", live" if group.results[0].experiment.compute.live else ""
    yield f"{'; '.join(computed)}{live}"


def _published(row: PublishedAccuracy, together: Sequence[Group[Result]]) -> Iterator[str]:
    """A published figure, and whether it lies within the interval of the runs of its method."""
    own = next((group for group in together if group.method == row.method), None)
    meets = NOTHING
    if own is not None:
        here: Interval = mean_interval([100 * result.measures()["average_accuracy"] for result in own.results])
        inside = "✓" if abs(here.mean - row.percent) <= here.half_width else "no"
        meets = inside if len(own.results) > 1 else "one seed: not known"
    return iter((row.method, f"{row.percent:.1f}", row.seeds, row.source, row.setting, meets))
