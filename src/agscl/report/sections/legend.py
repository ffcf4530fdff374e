"""Which colour and marker is which method."""

from __future__ import annotations

from collections.abc import Collection

from agscl.report.benchmark import Benchmark
from agscl.report.blocks import Key
from agscl.report.charts.charts import swatch
from agscl.report.policies import PolicyBenchmark


def key(benchmark: Benchmark | PolicyBenchmark, styles: Collection[int] | None = None) -> Key:
    """The key of a chart: of all methods of a benchmark, or of those with the given styles."""
    labels = [entry.label for entry in benchmark.entries]
    return Key([(swatch(style), label) for style, label in enumerate(labels) if styles is None or style in styles])
