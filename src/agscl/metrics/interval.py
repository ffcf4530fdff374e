"""A mean with its uncertainty: no number without its interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

_QUANTILES = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""97.5 % quantiles of Student's t distribution for 1 to 30 degrees of freedom."""


class Interval(NamedTuple):
    """A mean, and half the width of its 95 % confidence interval; NaN for a single value."""

    mean: float
    half_width: float


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean of independent runs with its 95 % interval, by Student's t distribution.

    Beyond 31 values the quantile of 30 degrees of freedom is used, which is slightly wide.

    Raises:
        ValueError: If there are no values.
    """
    if not values:
        raise ValueError("no values to take the mean of")
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Interval(mean, math.nan)
    quantile = _QUANTILES[min(len(values) - 1, len(_QUANTILES)) - 1]
    return Interval(mean, quantile * statistics.stdev(values) / math.sqrt(len(values)))
