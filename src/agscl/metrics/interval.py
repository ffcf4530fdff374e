"""A mean with its uncertainty: no number without its interval, and none where one run cannot give any."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_QUANTILES = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""97.5 % quantiles of Student's t distribution for 1 to 30 degrees of freedom."""

RESAMPLES = 10_000
"""Bootstrap samples: the ends of an interval are then reproducible to about a hundredth of its width."""

EXACT_PAIRS = 16
"""Up to this number of pairs, all sign flips are tried; beyond, `RESAMPLES` are drawn."""


class Interval(NamedTuple):
    """A mean, and half the width of its 95 % confidence interval; NaN for a single value."""

    mean: float
    half_width: float


class Range(NamedTuple):
    """A value and the two ends of its 95 % interval, which need not lie evenly; NaN for a single value."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """How two methods differ on the same seeds.

    Attributes:
        interval: Mean difference with its 95 % t interval.
        p_value: Of the sign-flip test; NaN for fewer than two pairs.
        pairs: How many seeds both have.
    """

    interval: Interval
    p_value: float
    pairs: int


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean of independent runs with its 95 % interval, by Student's t distribution.

    Beyond 31 values the quantile of 30 degrees of freedom is used, which is slightly wide.

    Raises:
        ValueError: If there are no values.

    Example:
        >>> mean_interval([1.0, 2.0, 3.0])
        Interval(mean=2.0, half_width=2.4843...)
    """
    if not values:
        raise ValueError("no values to take the mean of")
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Interval(mean, math.nan)
    quantile = _QUANTILES[min(len(values) - 1, len(_QUANTILES)) - 1]
    return Interval(mean, quantile * statistics.stdev(values) / math.sqrt(len(values)))


def interquartile_mean(values: Sequence[float]) -> float:
    """Mean of what is left when a quarter of the values (rounded down) is cut off at either end.

    Less moved by an outlier than the mean, less coarse than the median; fewer than four values lose none.
    Source: Agarwal et al. (2021), "IQM".

    Raises:
        ValueError: If there are no values.

    Example:
        >>> interquartile_mean([0.0, 2.0, 4.0, 100.0])
        3.0
    """
    if not values:
        raise ValueError("no values to take the mean of")
    return _trimmed(torch.tensor(values, dtype=torch.float64)).item()


def iqm_interval(values: Sequence[float]) -> Range:
    """Interquartile mean of independent runs with its 95 % interval, see `bootstrap`.

    Raises:
        ValueError: If there are no values.

    Example:
        >>> iqm_interval([1.0, 2.0, 3.0, 4.0])
        Range(value=2.5, low=1.0, high=4.0)
    """
    return bootstrap(values, _trimmed)


def bootstrap(values: Sequence[float], statistic: Callable[[Tensor], Tensor]) -> Range:
    """A statistic of independent runs with its 95 % percentile bootstrap interval; the same at every call.

    With few runs the interval is too narrow: trust the t interval there.
    Source: Efron & Tibshirani (1993), section 13.3; Agarwal et al. (2021).

    Args:
        values: One value a run.
        statistic: Of values along the last dimension, shape ``(..., runs)`` to ``(...)``.

    Raises:
        ValueError: If there are no values.

    Example:
        >>> bootstrap([1.0, 2.0], lambda runs: runs.sum(dim=-1))
        Range(value=3.0, low=2.0, high=4.0)
    """
    if not values:
        raise ValueError("no values to take the mean of")
    runs = torch.tensor(values, dtype=torch.float64)
    value = statistic(runs).item()
    if len(runs) == 1:
        return Range(value, math.nan, math.nan)
    drawn = torch.randint(len(runs), (RESAMPLES, len(runs)), generator=torch.Generator().manual_seed(0))
    low, high = torch.quantile(statistic(runs[drawn]), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Range(value, low, high)


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Whether one method beats another on the same seeds, in one order: mean of first minus second, two-sided test.

    The sign-flip test asks how often a mean difference as large comes about if each pair might as well be the other
    way round. It assumes no distribution; with n pairs no p-value is below 2 / 2^n, so that five seeds cannot reach
    0.05. Source: Fisher (1935), section 21.

    Raises:
        ValueError: If the lengths differ or are 0.

    Args:
        first: One value a seed.
        second: The same seeds in the same order.

    Example:
        >>> paired_difference([2.0, 3.0, 4.0], [1.0, 2.0, 3.0])
        Difference(interval=Interval(mean=1.0, half_width=0.0), p_value=0.25, pairs=3)
    """
    if len(first) != len(second):
        raise ValueError(f"pairs need as many values on both sides, got {len(first)} and {len(second)}")
    differences = [one - other for one, other in zip(first, second, strict=True)]
    interval, count = mean_interval(differences), len(differences)
    if count == 1:
        return Difference(interval, math.nan, count)
    if count <= EXACT_PAIRS:
        signs = torch.tensor(list(itertools.product((1.0, -1.0), repeat=count)), dtype=torch.float64)
    else:
        drawn = torch.randint(2, (RESAMPLES, count), generator=torch.Generator().manual_seed(0))
        signs = torch.cat([torch.ones(1, count), 2.0 * drawn - 1]).double()
    means = (signs @ torch.tensor(differences, dtype=torch.float64)).abs()
    return Difference(interval, (means >= means[0] * (1 - 1e-12)).double().mean().item(), count)


def _trimmed(values: Tensor) -> Tensor:
    """Mean along the last dimension without a quarter of the values at either end."""
    cut = values.shape[-1] // 4
    kept = values.sort(dim=-1).values[..., cut : values.shape[-1] - cut]
    return kept.mean(dim=-1)
