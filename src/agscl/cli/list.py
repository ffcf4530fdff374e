"""``agscl list``: presets, and methods with their options."""

from __future__ import annotations

import argparse
from dataclasses import MISSING, fields
from typing import Any

from agscl.experiments import outside, preset_named
from agscl.experiments.codec import method_class
from agscl.experiments.kinds import preset_names
from agscl.methods import METHODS

from .console import Output, table


def run(arguments: argparse.Namespace) -> int:
    """Show both tables, or write them as JSON; returns 0."""
    presets, output = [_preset(name) for name in preset_names()], Output()
    methods = {name: _options(name) for name in [*METHODS, *outside.offered(outside.METHODS)]}
    if arguments.json:
        output.data({"presets": presets, "methods": methods})
        return 0
    cells = [
        [row["name"], row["error"], "", ""]
        if "error" in row
        else [row["name"], row["description"], ", ".join(row["needs"]), ", ".join(row["tuned"])]
        for row in presets
    ]
    output.show(table(["preset", "tasks", "needs", "tuned methods"], cells, left=4, whole=True))
    rows = []
    for name, options in methods.items():
        lines = [f"--method.{key} {value}" for key, value in options.items()] or ["none"]
        lines = [options["error"]] if "error" in options else lines
        rows += [[head, line] for head, line in zip([name, *[""] * len(lines)], lines, strict=False)]
    output.show(table(["method", "options and defaults"], rows, left=2))
    return 0


def _options(name: str) -> dict[str, str]:
    """Options of a method with their defaults, or why it cannot be loaded."""
    try:
        kind = method_class(name)
    except ValueError as error:
        return {"error": str(error)}
    return {field.name: "(needed)" if field.default is MISSING else str(field.default) for field in fields(kind)}


def _preset(name: str) -> dict[str, Any]:
    """A preset, or why it cannot be loaded."""
    try:
        preset = preset_named(name)
    except ValueError as error:
        return {"name": name, "error": str(error)}
    about = {"description": preset.description, "needs": list(preset.needs), "tuned": list(preset.tuned)}
    return {"name": name, **about}
