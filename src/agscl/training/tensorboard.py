"""A logger of curves for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from agscl.extras import require
from agscl.runs.events import Logger

from .curves import Curves
from .events import Event

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter


@contextmanager
def tensorboard(folder: Path) -> Iterator[Logger[Event]]:
    """Log curves for TensorBoard within the context.

    Args:
        folder: Where; made by the first event.

    Raises:
        MissingExtraError: If tensorboard is not installed.
    """
    require("tensorboard", extra="tensorboard")
    with closing(_TensorBoard(folder)) as curves:
        yield curves


class _TensorBoard(Curves):
    """Curves in a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def begin(self, purge: int | None) -> None:
        """Begin; curves of a life that was lost are dropped from ``purge`` on."""
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer = SummaryWriter(str(self._folder), purge_step=purge)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write the points at once."""
        assert self._writer is not None
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
