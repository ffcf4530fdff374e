"""The engine that a command line asks for."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager

from agscl.sweeps.engine import Engine, EngineOptions
from agscl.sweeps.engines import engine_named


def engine_of(arguments: argparse.Namespace) -> AbstractContextManager[Engine]:
    """The engine of the options; a `ValueError` if there is none of that name, or an option is not for it."""
    options = EngineOptions(
        jobs=arguments.jobs,
        data_root=arguments.data_root,
        address=arguments.address,
        cpus=arguments.trial_cpus,
        gpus=arguments.trial_gpus,
    )
    return engine_named(arguments.engine, options)
