"""Which colour and marker is which method."""

from __future__ import annotations

from collections.abc import Collection

from agscl.report.benchmark import Benchmark
from agscl.report.charts import swatch
from agscl.report.parts import Key


def key(benchmark: Benchmark, styles: Collection[int] | None = None) -> Key:
    """The key of a chart: of all methods of a benchmark, or of those with the given styles."""
    shown = [(style, entry.label) for style, entry in enumerate(benchmark.entries) if styles is None or style in styles]
    return Key([(swatch(style), label) for style, label in shown])
