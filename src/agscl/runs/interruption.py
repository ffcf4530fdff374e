"""Signals that end a run wait for the end of the step, so that it can be saved first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Ctrl-C, what a cluster or a service sends, and the end of the terminal."""


class Stopped(Exception):  # noqa: N818 - an end that was asked for, no error
    """A run that ended because a signal asked for it.

    Attributes:
        number: Of the signal.
    """

    def __init__(self, number: int, what: str) -> None:
        super().__init__(number, what)  # both, so that a worker process can send it
        self.number = number

    def __str__(self) -> str:
        return str(self.args[1])


@dataclass
class Interruption:
    """Whether a signal asked for the end.

    >>> interruption = Interruption()
    >>> with interruption.watching():
    ...     signal.raise_signal(signal.SIGTERM)  # waits
    >>> interruption.number == signal.SIGTERM
    True

    Attributes:
        number: Of the signal; `None` while there was none.
    """

    number: int | None = field(default=None, init=False)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Take `SIGNALS` within the context; a second one ends the process at once.

        The end of the terminal is left alone where it is ignored, as ``nohup`` does.
        """
        if threading.current_thread() is not threading.main_thread():
            yield  # signals belong to the main thread
            return
        taken = [n for n in SIGNALS if n in SIGNALS[:2] or signal.getsignal(n) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._ask) for number in taken}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            raise KeyboardInterrupt
        self.number = number

    def check(self, what: str) -> None:
        """Stop here if the end was asked for.

        Raises:
            Stopped: If it was.
        """
        if self.number is not None:
            raise Stopped(self.number, what)
