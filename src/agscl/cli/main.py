"""From arguments to a command and an exit code: 0 done, 2 bad input (one line on stderr), 130 interrupted.

A run that SIGTERM ended, saved, has the code of `agscl.cli.run.TERMINATED`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from . import catalogue, compare, data, figure, report, run, verify
from .parser import Parser


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
        return 130
    return code


def _parser(given: Sequence[str]) -> Parser:
    parser = Parser(prog="agscl", description="Continual learning without forgetting: experiments and tools.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    run.add_parser(commands, given)
    compare.add_parser(commands)
    catalogue.add_parser(commands)
    data.add_parser(commands)
    figure.add_parser(commands)
    report.add_parser(commands)
    verify.add_parser(commands)
    return parser


def _one_line(error: ValueError | OSError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())
