"""Methods and presets of other packages: entry points ``agscl.methods`` and ``agscl.presets``, loaded when needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

METHODS, PRESETS = "agscl.methods", "agscl.presets"
"""Groups of entry points."""


@cache
def offered(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """The entry points of a group by name; nothing is imported yet."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in entry_points(group=group):
        found[entry.name] = (*found.get(entry.name, ()), entry)
    return found


def load(group: str, name: str) -> Any:
    """What another package offers under a name.

    Raises:
        ValueError: If two packages offer it, or it cannot be imported; names the package.
    """
    entries = offered(group)[name]
    packages = sorted({entry.dist.name if entry.dist else entry.value for entry in entries})
    if len({entry.value for entry in entries}) > 1:
        raise ValueError(f"{name!r} of {group} is offered by several packages: {', '.join(packages)}")
    try:
        return entries[0].load()
    except Exception as error:  # whatever a stranger's module raises
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name!r} of the package {packages[0]} cannot be loaded: {reason}") from error


def load_method(name: str) -> type[Any]:
    """A method's class from another package.

    Raises:
        ValueError: If it cannot be loaded, or is no frozen dataclass of its own name that can protect.
    """
    kind = load(METHODS, name)
    if not isinstance(kind, type) or not is_dataclass(kind) or not callable(getattr(kind, "protect", None)):
        raise ValueError(f"{name!r} of {METHODS} is no dataclass with a method protect")
    if not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined] # every dataclass has them
        raise ValueError(f"{name!r} of {METHODS} must be a frozen dataclass")
    if getattr(kind, "name", None) != name or "name" in {field.name for field in fields(kind)}:
        raise ValueError(f"{name!r} of {METHODS} must have the class variable name = {name!r}")
    return kind
