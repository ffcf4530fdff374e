"""Optional packages, imported when they are needed and missed in one clear line."""

from __future__ import annotations

import importlib
from typing import Any


class MissingExtraError(ValueError):
    """An optional package is not installed."""


def require(module: str, *, extra: str) -> Any:
    """Import an optional module.

    Args:
        module: Name of the module.
        extra: Name of the extra that brings its package.

    Raises:
        MissingExtraError: If it is not installed; says which extra to install.

    Example:
        >>> require("math", extra="demo").sqrt(4.0)
        2.0
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(f"{package} is needed here: pip install 'agscl[{extra}]'") from error
