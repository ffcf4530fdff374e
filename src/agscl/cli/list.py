"""``agscl list``: presets, and methods with their options."""

from __future__ import annotations

import argparse
from dataclasses import MISSING, fields

from agscl.experiments import outside, preset_named
from agscl.experiments.codec import method_class
from agscl.experiments.kinds import preset_names
from agscl.methods import METHODS

from .console import Output, table


def run(arguments: argparse.Namespace) -> int:
    """Show both tables; returns 0."""
    presets = [_preset(name) for name in preset_names()]
    output = Output()
    output.show(table(["preset", "tasks", "needs", "tuned methods"], presets, left=4, whole=True))
    rows = []
    for name in [*METHODS, *outside.offered(outside.METHODS)]:
        try:
            method = method_class(name)
        except ValueError as error:
            rows.append([name, str(error)])
            continue
        options = [
            f"--method.{field.name} {'(needed)' if field.default is MISSING else field.default}"
            for field in fields(method)
        ]
        rows += [
            [head, option] for head, option in zip([name, *[""] * len(options)], options or ["none"], strict=False)
        ]
    output.show(table(["method", "options and defaults"], rows, left=2))
    return 0


def _preset(name: str) -> list[str]:
    """A row for a preset, or why it cannot be loaded."""
    try:
        preset = preset_named(name)
    except ValueError as error:
        return [name, str(error), "", ""]
    return [name, preset.description, ", ".join(preset.needs), ", ".join(preset.tuned)]
