"""A sweep on the page: its table, and for each method the accuracy over its strength, all trials as points."""

from __future__ import annotations

import math
from collections.abc import Sequence

from agscl.experiments.words import number, options, percent, typeset
from agscl.figures.palette import Look, looks
from agscl.methods.space import LogUniform, OneOf, SearchRange
from agscl.sweeps.plan import Searched
from agscl.sweeps.record import HEADS, SweepRecord
from agscl.sweeps.trial import Trial, best_of

from .blocks import Figure, Note, Section, Table
from .charts.axes import Frame, frame, plain, span, ticks
from .charts.marks import colour_class, marker
from .charts.svg import add, drawing, markup, write

STRIP = 16
"""Height of the strip below the points, where trials without a score are."""


def sections(record: SweepRecord) -> list[Section]:
    """The sections of a sweep: what is reported, and what was tried."""
    reported = Note("The values are still being chosen: nothing is reported yet.")
    known = looks(method.name for method in record.plan.sweep.methods)
    rows = [[known[row.method].title, *map(typeset, row.cells()[1:])] for row in record.report]
    table = Table(record.title, HEADS, rows, record.notes)
    figures = [
        _figure(record, method, known[method.name])
        for method in record.plan.sweep.methods
        if method.ranges and record.of(method.name)
    ]
    tried = [Section("trials", "Accuracy over strength, all trials", figures, wide=True)] if figures else []
    return [Section("chosen", "Chosen values", [table if record.report else reported], wide=True), *tried]


def _figure(record: SweepRecord, method: Searched, look: Look) -> Figure:
    """All trials of a method over its strength: those with a score as points, the others below."""
    trials, (option, found) = record.of(method.name), next(iter(method.space.items()))
    title = f"{look.title}: validation accuracy (%) over {option}"
    scored = [100 * trial.score for trial in trials if trial.score is not None]
    low, high = (_place(found, end) for end in found.ends)
    area = frame((low, high), span(scored or [0.0, 100.0]), height=200 + STRIP)
    area = Frame(area.x, type(area.y)(area.y.low, area.y.high, area.y.start - STRIP, area.y.end), area.height)
    root = drawing(area.height, f"{title}: {_told(trials)}.")
    area.axes(root, option, [], ticks(area.y.low, area.y.high))
    for value in _ticks(found):
        write(root, area.x(_place(found, value)), area.height - 21, _named(value), class_="tick", text_anchor="middle")
    best = best_of(trials)
    for trial in trials:
        x, below = area.x(_place(found, trial.values[option])), area.y.start + STRIP / 2
        if trial.score is not None:
            marker(root, look, x, area.y(100 * trial.score), 5 if trial is best else 3)
        elif trial.state == "pruned":
            add(root, "path", d=f"M{x:.1f},{below - 4:.1f}V{below + 4:.1f}", class_=f"whisker {colour_class(look)}")
        else:
            cross = f"M{x - 3:.1f},{below - 3:.1f}l6,6m0,-6l-6,6"
            add(root, "path", d=cross, class_=f"whisker {colour_class(look)}")
    caption = "Mean over the tuning seeds after all of their tasks; the chosen one is large. Below: | pruned, × failed."  # noqa: RUF001
    return Figure(title, markup(root), caption, _values(title, trials))


def _values(title: str, trials: Sequence[Trial]) -> Table:
    rows = [
        [number(trial.number + 1, 0), typeset(options(trial.values)), trial.state, percent(trial.score), trial.reason]
        for trial in trials
    ]
    return Table(title, ["trial", "values", "ended", "validation %", "why"], rows)


def _told(trials: Sequence[Trial]) -> str:
    """What is drawn, for those who cannot see it."""
    scored, best = [trial for trial in trials if trial.score is not None], best_of(trials)
    said = f"{len(scored)} of {len(trials)} trials have a score"
    return said if best is None else f"{said}, the best {percent(best.score)} with {options(best.values)}"


def _place(found: SearchRange, value: object) -> float:
    """The place of a value along its range."""
    if isinstance(found, OneOf):
        return float(found.values.index(value))
    return math.log10(float(str(value))) if isinstance(found, LogUniform) else float(str(value))


def _ticks(found: SearchRange) -> Sequence[object]:
    """Values that are named below the points."""
    if isinstance(found, OneOf):
        return found.values
    low, high = (_place(found, end) for end in found.ends)
    if not isinstance(found, LogUniform):
        return ticks(low, high)
    if high - low < 1:
        return found.ends
    powers = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
    return [10.0**power for power in powers[:: -(-len(powers) // 6)]]


def _named(value: object) -> str:
    return plain(value) if isinstance(value, float) else str(value)
