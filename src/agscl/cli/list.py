"""``agscl list``: presets, and methods with their options."""

from __future__ import annotations

import argparse
from dataclasses import MISSING, fields
from typing import Any

from agscl.experiments import outside, preset_named
from agscl.experiments.codec import method_class
from agscl.experiments.kinds import preset_names
from agscl.methods import METHODS, Space, space_of

from .console import Output, table


def run(arguments: argparse.Namespace) -> int:
    """Show both tables, or write them as JSON; returns 0."""
    presets, output = [_preset(name) for name in preset_names()], Output()
    names = [*METHODS, *outside.offered(outside.METHODS)]
    methods, spaces = {name: _options(name) for name in names}, {name: _space(name) for name in names}
    if arguments.json:
        described = {name: {o: found.described() for o, found in space.items()} for name, space in spaces.items()}
        output.data({"presets": presets, "methods": methods, "spaces": described})
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
        space = spaces[name]
        lines = [(f"--method.{key} {value}", str(space.get(key, ""))) for key, value in options.items()]
        lines = [(options["error"], "")] if "error" in options else lines or [("none", "")]
        rows += [[head, *line] for head, line in zip([name, *[""] * len(lines)], lines, strict=False)]
    output.show(table(["method", "options and defaults", "searched by a sweep"], rows, left=3))
    return 0


def _space(name: str) -> Space:
    """What a sweep searches of a method; empty if it can search nothing of it."""
    try:
        return space_of(method_class(name))
    except ValueError:
        return {}


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
