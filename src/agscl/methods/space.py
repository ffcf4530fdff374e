"""Search spaces: from which values a sweep chooses a method's hyper-parameters. They live with the methods.

A method declares its own as the class variable ``space``, a range for each option that is worth a search, the strength
of the protection first; one without options needs none. Ranges span published values, and those that were found to
work on small networks.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeAlias


class SearchRange(ABC):
    """Where an option's value is searched."""

    @property
    @abstractmethod
    def ends(self) -> tuple[object, object]:
        """Two values of it, as far apart as may be."""

    @abstractmethod
    def described(self) -> dict[str, object]:
        """The range as JSON."""


@dataclass(frozen=True)
class LogUniform(SearchRange):
    """Any number between two, each order of magnitude as likely as another.

    Attributes:
        low: The least, above 0.
        high: The largest.

    Raises:
        ValueError: If that is no range.

    >>> print(LogUniform(0.01, 1000))
    0.01 to 1000, log-uniform
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < math.inf:
            raise ValueError(f"a log-uniform range needs 0 < low < high, both finite, not {self.low} and {self.high}")

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest."""
        return self.low, self.high

    def described(self) -> dict[str, object]:
        """The range as JSON."""
        return {"kind": "log-uniform", "low": self.low, "high": self.high}

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}, log-uniform"


@dataclass(frozen=True)
class Uniform(SearchRange):
    """Any number between two, all equally likely.

    Attributes:
        low: The least.
        high: The largest.

    Raises:
        ValueError: If that is no range.

    >>> print(Uniform(0.5, 0.9))
    0.5 to 0.9, uniform
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"a uniform range needs low < high, both finite, not {self.low} and {self.high}")

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest."""
        return self.low, self.high

    def described(self) -> dict[str, object]:
        """The range as JSON."""
        return {"kind": "uniform", "low": self.low, "high": self.high}

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}, uniform"


@dataclass(frozen=True)
class OneOf(SearchRange):
    """One of a few values.

    Attributes:
        values: At least two, all different: numbers, texts or truth values.

    Raises:
        ValueError: If there are fewer, or one twice.

    >>> print(OneOf((1.0, 2.0, 4.0)))
    one of 1, 2, 4
    """

    values: tuple[float | int | str | bool, ...]

    def __post_init__(self) -> None:
        if len(set(self.values)) < 2 or len(set(self.values)) < len(self.values):  # noqa: PLR2004
            raise ValueError(f"a choice needs two different values at least, and none twice, not {self.values}")

    @property
    def ends(self) -> tuple[object, object]:
        """The first and the last."""
        return self.values[0], self.values[-1]

    def described(self) -> dict[str, object]:
        """The range as JSON."""
        return {"kind": "choice", "values": list(self.values)}

    def __str__(self) -> str:
        return "one of " + ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in self.values)


Space: TypeAlias = Mapping[str, SearchRange]
"""Ranges by the option's name, the strength of the protection first."""


def space_of(kind: type[Any]) -> Space:
    """The search space of a method's class; empty if the method has no options.

    Raises:
        ValueError: If it has options and no search space, or one of something else.

    >>> from agscl import EWC
    >>> print(space_of(EWC)["lam"])
    100 to 1e+10, log-uniform
    """
    options = {field.name for field in fields(kind)}
    space = getattr(kind, "space", None)
    if space is None and not options:
        return {}
    name = getattr(kind, "name", kind.__name__)
    if not isinstance(space, Mapping) or not all(isinstance(found, SearchRange) for found in space.values()):
        raise ValueError(
            f"{name} has no search space: its class needs a class variable space, such as "
            "{'lam': agscl.methods.LogUniform(1, 1e4)}"
        )
    if strange := [option for option in space if option not in options]:
        raise ValueError(f"the search space of {name} has {strange[0]!r}, which is none of its options")
    return space
