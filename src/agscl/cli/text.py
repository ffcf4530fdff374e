"""What any terminal can show of any text. Imports nothing heavy: errors on the command line need it."""

from __future__ import annotations

import codecs
import io
from typing import TextIO

IN_ASCII = {"±": "+/-", "µ": "u", "→": "->", "…": "...", "\N{MINUS SIGN}": "-"}
"""How the symbols in our own words are written where there is ASCII alone."""


def printable(text: str) -> str:
    r"""The text on one line, with what would move the cursor, colour the screen or turn the line around as its code.

    >>> printable("name\x1b[31m\n")
    'name\\x1b[31m\\n'
    """
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def ascii_unless_unicode(stream: TextIO | None) -> None:
    """Make a stream that cannot show all of Unicode write ASCII: a symbol that it lacks must not end a long run."""
    if isinstance(stream, io.TextIOWrapper) and not codecs.lookup(stream.encoding).name.startswith("utf"):
        codecs.register_error("agscl", _in_ascii)
        stream.reconfigure(encoding="ascii", errors="agscl")


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(IN_ASCII.get(x, x.encode("unicode_escape").decode()) for x in letters), error.end


def title(measure: str) -> str:
    """The title of a measure, for the head of a column or row."""
    from agscl.metrics import MEASURES

    return MEASURES[measure].title if measure in MEASURES else measure.replace("_", " ")
