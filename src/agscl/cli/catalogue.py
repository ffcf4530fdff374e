"""``agscl list``: what can be run."""

from __future__ import annotations

import argparse
from dataclasses import MISSING, Field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .parser import Commands


def add_parser(commands: Commands) -> None:
    """Add the command."""
    description = "List the presets, and the methods with their options."
    parser = commands.add_parser("list", help="list presets and methods", description=description)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code; imports what is heavy."""
    from rich.console import Console
    from rich.table import Table

    from agscl.experiments import PRESETS
    from agscl.experiments.policies.presets import POLICY_PRESETS
    from agscl.methods import METHODS

    presets = Table()
    presets.add_column("preset", no_wrap=True)
    for heading in ("tasks", "needs data", "tuned methods"):
        presets.add_column(heading)
    for name, preset in PRESETS.items():
        presets.add_row(name, preset.description, ", ".join(preset.data), ", ".join(preset.tuned))
    presets.add_section()
    for name, rl_preset in POLICY_PRESETS.items():
        presets.add_row(name, rl_preset.description, "no (extra rl)", ", ".join(rl_preset.tuned))
    methods = Table("method", "options and defaults")
    for name, kind in METHODS.items():
        methods.add_row(name, "\n".join(_option(field) for field in fields(kind)) or "none")
    Console().print(presets, methods)
    return 0


def _option(field: Field[Any]) -> str:
    return f"--method.{field.name} " + ("(needed)" if field.default is MISSING else f"{field.default}")
