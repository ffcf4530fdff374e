"""From arguments to a command and an exit code.

0 done, 2 bad input (one line on stderr), 130 interrupted, 75 stopped by SIGTERM and saved.
"""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Sequence

from . import catalogue, compare, data, export, figure, report, run, runs, verify
from .parser import Parser

INTERRUPTED = 130
"""After Ctrl-C."""

TERMINATED = 75
"""After SIGTERM, as when a cluster takes a machine back: run again with --resume (EX_TEMPFAIL)."""

FULL = {errno.ENOSPC, errno.EDQUOT}
"""Errors of a disk that is full, or the user's part of it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parsed = _parser(given).parse_args(given)
    try:
        code: int = parsed.run(parsed)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"agscl: error: {_one_line(error)}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("agscl: interrupted\n")
        return INTERRUPTED
    except Exception as error:
        return _stopped(error)
    return code


def _stopped(error: Exception) -> int:
    """The exit code of a run that a signal ended; any other error goes on."""
    from agscl.training import Stopped

    if not isinstance(error, Stopped):
        raise error
    sys.stderr.write(f"agscl: {error}\n")
    return TERMINATED if error.number == signal.SIGTERM else INTERRUPTED


def _parser(given: Sequence[str]) -> Parser:
    parser = Parser(prog="agscl", description="Continual learning without forgetting: experiments and tools.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    run.add_parser(commands, given)
    runs.add_parser(commands)
    compare.add_parser(commands)
    catalogue.add_parser(commands)
    data.add_parser(commands)
    figure.add_parser(commands)
    report.add_parser(commands)
    verify.add_parser(commands)
    export.add_parser(commands)
    return parser


def _one_line(error: ValueError | OSError) -> str:
    """The error's message, without the control characters that a name in somebody's file may hold."""
    if isinstance(error, OSError) and error.strerror:
        message = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        if error.errno in FULL:
            message += "; make room, then try again (a run goes on with --resume)"
    else:
        message = " ".join(str(error).split())
    return "".join(letter if letter.isprintable() else "?" for letter in message)
