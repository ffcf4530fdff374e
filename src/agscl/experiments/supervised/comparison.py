"""Runs side by side: measures of each, plasticity included where fine-tuning is among them."""

from __future__ import annotations

from collections.abc import Sequence

from agscl.metrics import plasticity

from .result import Result

REFERENCE = "fine-tuning"
"""The method whose accuracy on each new task is what plasticity compares with."""


def compare(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Measures by name for each method, in the order of the runs."""
    reference = next((result for result in results if result.method == REFERENCE), None)
    return {result.method: {**result.measures(), **_plasticity(result, reference)} for result in results}


def _plasticity(result: Result, reference: Result | None) -> dict[str, float]:
    return {} if reference is None else {"plasticity": plasticity(result.accuracy, reference.accuracy)}
