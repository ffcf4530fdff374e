"""The engines by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from agscl.experiments.codec import unknown

from .engine import Engine, EngineOptions, local_engine
from .ray_engine import ray_engine

ENGINES: Mapping[str, Callable[[EngineOptions], AbstractContextManager[Engine]]] = {
    "local": local_engine,
    "ray": ray_engine,
}
"""Within the context they take runs, and nothing of them outlives it."""


def engine_named(name: str, options: EngineOptions) -> AbstractContextManager[Engine]:
    """An engine of that name; a `ValueError` lists the names if there is none."""
    if name not in ENGINES:
        raise ValueError(unknown("engine", name, list(ENGINES)))
    return ENGINES[name](options)
