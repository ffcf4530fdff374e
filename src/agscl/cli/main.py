"""From arguments to a command and an exit code.

Every command is a module with ``run(arguments)``, which returns the exit code and raises a `ValueError` if an argument
or a folder does not fit, an `OSError` if a file cannot be read or written.

0 done, 2 bad input (one line on stderr), 130 interrupted, 75 stopped by SIGTERM or SIGHUP (runs are saved), 141 nobody
reads the output.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from .arguments import parser_for
from .text import ascii_unless_unicode, printable

INTERRUPTED = 130
"""After Ctrl-C."""

TERMINATED = 75
"""After SIGTERM, as when a cluster takes a machine back: run again with --resume (EX_TEMPFAIL)."""

ENDING = ("SIGTERM", "SIGHUP")
"""Signals that ask for the end, besides Ctrl-C."""

UNREAD = 141
"""After the reader of a pipe has gone, as with ``| head``: what a shell says of a program that SIGPIPE ended."""

FULL = {errno.ENOSPC, errno.EDQUOT}
"""Errors of a disk that is full, or the user's part of it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        ascii_unless_unicode(stream)
    try:
        try:
            return _run(sys.argv[1:] if arguments is None else list(arguments))
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where it is known what a closed pipe or a full disk means
    except BrokenPipeError:
        _discard_output()
        return UNREAD
    except (ValueError, OSError) as error:
        sys.stderr.write(f"agscl: error: {_one_line(error)}\n")
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except OSError:
            _discard_output()
        return 2


def _discard_output() -> None:
    """Drop what standard output could not take: Python writes it once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(given: Sequence[str]) -> int:
    arguments = parser_for(given).parse_args(given)
    asked: list[int] = []
    try:
        with _interrupting(asked), warnings.catch_warnings():
            warnings.showwarning = _tell
            code: int = import_module(f".{arguments.command}", __package__).run(arguments)
    except (ValueError, OSError):
        raise  # `main` tells it, and needs no torch for that
    except KeyboardInterrupt:
        sys.stderr.write("agscl: ended by a signal, nothing is half-written\n" if asked else "agscl: interrupted\n")
        return TERMINATED if asked else INTERRUPTED
    except Exception as error:
        from agscl.training import Stopped

        if not isinstance(error, Stopped):
            raise
        sys.stderr.write(f"agscl: {printable(str(error))}\n")
        return INTERRUPTED if error.number == signal.SIGINT else TERMINATED
    return code


@contextmanager
def _interrupting(asked: list[int]) -> Iterator[None]:
    """Let SIGTERM and the end of the terminal be as Ctrl-C within the context, so that all is left tidy.

    Args:
        asked: Gets the number of such a signal.
    """

    def ask(number: int, frame: object) -> None:
        asked.append(number)
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    own = threading.current_thread() is threading.main_thread()  # signals belong to it
    taken = [number for number in numbers if own and signal.getsignal(number) is signal.SIG_DFL]  # not those of nohup
    for number in taken:
        signal.signal(number, ask)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _tell(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as one line."""
    sys.stderr.write(f"agscl: warning: {printable(str(message))}\n")


def _one_line(error: ValueError | OSError) -> str:
    """The error's message, whatever the names in it hold."""
    if isinstance(error, OSError) and error.strerror:
        message = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        advice = "; make room, then try again (a run goes on with --resume)"
        return printable(message + (advice if error.errno in FULL else ""))
    return printable(re.sub(r"\s*\n\s*", " ", str(error).strip()))
