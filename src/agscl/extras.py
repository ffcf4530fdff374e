"""Optional packages, imported when they are needed and missed in one clear line."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
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
    with needing(extra):
        return importlib.import_module(module)


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """Import optional packages in the block.

    Args:
        extra: Name of the extra that brings them.

    Raises:
        MissingExtraError: If one is not installed; says which extra to install.

    Example:
        >>> with needing("demo"):
        ...     import no_such_package
        Traceback (most recent call last):
        agscl.extras.MissingExtraError: no_such_package is needed here: pip install 'agscl[demo]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "a package").partition(".")[0]
        raise MissingExtraError(f"{package} is needed here: pip install 'agscl[{extra}]'") from error
