"""Numbers, seeds and hyper-parameters in words: one wording for the terminal, for figures and for pages.

A terminal shows the text as it is; pages and figures pass numbers through `typeset`. How much of a preset was run is
said by `agscl.experiments.kind.AnyResult.scale_in_words`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import groupby

from agscl.metrics.interval import Interval, Range

NOTHING = "-"
"""Shown where there is no value."""

ONE_SEED = "one seed, so no interval"
"""Said where a number stands alone because one run cannot give an interval."""

KILO = 1000


def number(value: float | None, digits: int = 1, *, signed: bool = False) -> str:
    """A number with separated thousands; zero has no sign unless every number has one.

    >>> number(1234.56), number(-0.01), number(0.2, signed=True), number(None)
    ('1,234.6', '0.0', '+0.2', '-')
    """
    if value is None or math.isnan(value):
        return NOTHING
    return f"{value:{'+' if signed else ''}z,.{digits}f}"  # z: what is rounded to zero is not -0.0


def with_interval(value: Interval | None, digits: int = 1, *, signed: bool = False) -> str:
    """A mean, and half the width of its interval if it has any.

    >>> with_interval(Interval(12.34, 0.5)), with_interval(Interval(12.34, math.nan))
    ('12.3 ± 0.5', '12.3')
    """
    if value is None:
        return NOTHING
    known = value.half_width > 0  # NaN for one seed, 0 where all seeds agree
    return number(value.mean, digits, signed=signed) + (f" ± {number(value.half_width, digits)}" if known else "")


def with_range(value: Range | None, digits: int = 2) -> str:
    """A value, and the two ends of its interval if it has any.

    >>> with_range(Range(0.5, 0.25, 1))
    '0.50 [0.25, 1.00]'
    """
    if value is None:
        return NOTHING
    middle, low, high = (number(part, digits) for part in value)
    known = value.high > value.low  # NaN for one seed, equal where all seeds agree
    return f"{middle} [{low}, {high}]" if known else middle


def hundredfold(value: Interval) -> Interval:
    """A share as percent."""
    return Interval(100 * value.mean, 100 * value.half_width)


def percent(value: Interval | float | None, digits: int = 1) -> str:
    """A share in percent, with its interval if it has one.

    >>> percent(0.345), percent(Interval(0.345, 0.01)), percent(None)
    ('34.5', '34.5 ± 1.0', '-')
    """
    return NOTHING if value is None else with_interval(hundredfold(_interval(value)), digits)


def size(value: Interval | float, digits: int = 1) -> str:
    """A number of bytes, with its interval if it has one, in the decimal unit that keeps it short.

    >>> size(12), size(12_345), size(3_000_000, 0), size(Interval(2e6, 1e5))
    ('12 B', '12.3 kB', '3 MB', '2.0 ± 0.1 MB')
    """
    count, units = _interval(value), ("B", "kB", "MB", "GB", "TB")
    digits_of = [0, *[digits] * (len(units) - 1)]  # there are no parts of a byte
    short = (p for p in range(len(units)) if round(count.mean / KILO**p, digits_of[p]) < KILO)
    power = next(short, len(units) - 1)
    scaled = Interval(count.mean / KILO**power, count.half_width / KILO**power)
    return f"{with_interval(scaled, digits_of[power])} {units[power]}"


def duration(value: Interval | float) -> str:
    """Seconds, with their interval if they have one, in minutes or hours if there are many.

    >>> duration(90), duration(150), duration(9_000)
    ('90.0 s', '2.5 min', '2.5 h')
    """
    time = _interval(value)
    unit, length = next((u, s) for u, s in (("h", 3600), ("min", 60), ("s", 1)) if time.mean >= 2 * s or s == 1)
    return f"{with_interval(Interval(time.mean / length, time.half_width / length))} {unit}"


def spans(numbers: Iterable[int], most: int | None = None) -> str:
    """Different numbers as ranges, only the first few where there may be many.

    >>> spans([7, 0, 1, 2]), spans([0, 2, 4, 6], most=3)
    ('0-2, 7', '0, 2, 4, ...')
    """
    runs = [[n for _, n in run] for _, run in groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0])]
    shown = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return ", ".join(shown if most is None or len(shown) <= most else [*shown[:most], "..."])


def seeds(numbers: Iterable[int]) -> str:
    """Seeds as ranges, each once.

    >>> seeds([3]), seeds([0, 1, 2, 7])
    ('seed 3', 'seeds 0-2, 7')
    """
    different = set(numbers)
    return f"seed{'s' if len(different) != 1 else ''} {spans(different)}"


def value_of_option(value: object) -> str:
    """The value of a hyper-parameter, without digits that say nothing."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def options(values: Mapping[str, object]) -> str:
    """Hyper-parameters by name.

    >>> options({"mu": 10.0, "lam": 400.0, "proximal": "epoch"})
    'mu=10 lam=400 proximal=epoch'
    """
    return " ".join(f"{name}={value_of_option(value)}" for name, value in values.items())


def markdown_row(cells: Iterable[str]) -> str:
    """Cells as a row of a table in Markdown.

    >>> markdown_row(["ewc", "61.0"])
    '| ewc | 61.0 |'
    """
    return f"| {' | '.join(cells)} |"


def typeset(numbers: str) -> str:
    """Numbers as they are printed on a page or in a figure: with a minus sign instead of a hyphen.

    >>> typeset("-0.5 [-1.0, 0.0]"), typeset(NOTHING)
    ('−0.5 [−1.0, 0.0]', '-')
    """  # noqa: RUF002
    return numbers if numbers == NOTHING else numbers.replace("-", "\N{MINUS SIGN}")


def _interval(value: Interval | float) -> Interval:
    """A number that has no interval as one that has."""
    return value if isinstance(value, Interval) else Interval(value, math.nan)
