"""``agscl list``: presets, and methods with their options."""

from __future__ import annotations

import argparse
from dataclasses import MISSING, fields

from agscl.experiments import PRESETS
from agscl.methods import METHODS

from .console import Output, table


def run(arguments: argparse.Namespace) -> int:
    """Show both tables; returns 0."""
    presets = [
        [name, preset.description, ", ".join(preset.needs), ", ".join(preset.tuned)] for name, preset in PRESETS.items()
    ]
    output = Output()
    output.show(table(["preset", "tasks", "needs", "tuned methods"], presets, left=4, whole=True))
    rows = []
    for name, method in METHODS.items():
        options = [
            f"--method.{field.name} {'(needed)' if field.default is MISSING else field.default}"
            for field in fields(method)
        ]
        rows += [
            [head, option] for head, option in zip([name, *[""] * len(options)], options or ["none"], strict=False)
        ]
    output.show(table(["method", "options and defaults"], rows, left=2))
    return 0
